"""Where certvigil and somebody else undo each other's changes, it stops after the second time and names the other."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from actions.contest import (
    DAY,
    NEAR,
    PERIOD,
    Committed,
    Contest,
    FileOnDisk,
    OtherWriter,
    commits_of,
    contest,
    contest_sentence,
)
from actions.journal import Event, Record
from actions.journal_state import JournalState
from actions.plan import Change, FileState, Kind, Plan, Serving, plan_to_json
from actions.world import World
from actions.writer import writer_of

NOW = 1_800_000_000.0
CRT, KEY = "/etc/tls/site.crt", "/etc/tls/site.key"


def disk(name: str, served: str | None = None) -> FileOnDisk:
    """Return a set whose bytes, and whose chain unless `served` says otherwise, are called by a name."""
    return FileOnDisk({CRT: f"{name}.crt", KEY: f"{name}.key"}, frozenset({(served or name, "issuing")}))


def change(ago: float, before: str, after: str) -> Committed:
    at = NOW - ago
    return Committed(at - 5, at, disk(before), disk(after))


TWICE = (change(3 * DAY, "old", "new"), change(2 * DAY, "old", "new"))


@pytest.mark.parametrize(
    ("past", "now_on_disk", "changed_ago", "times"),
    [
        pytest.param((), disk("old"), 0, None, id="nothing was ever done"),
        pytest.param(TWICE, disk("new"), 2 * DAY, None, id="what was put in place last is there"),
        pytest.param(TWICE[:1], disk("old"), DAY, None, id="once is not enough"),
        pytest.param(TWICE, disk("old"), DAY / 2, 2, id="the old set came back twice"),
        pytest.param(
            (change(9 * DAY, "a", "b"), change(6 * DAY, "c", "d")),
            disk("e"),
            2 * DAY,
            None,
            id="sets that were never there, days later, are somebody's renewals",
        ),
        pytest.param(
            (change(DAY, "old", "new"), change(DAY / 2, "other", "newer")),
            disk("another"),
            60,
            2,
            id="other sets within a day are not",
        ),
        pytest.param(
            (change(PERIOD + DAY, "old", "new"), change(DAY, "old", "newer")),
            disk("old"),
            60,
            None,
            id="the first time is long past",
        ),
        pytest.param(
            (change(9 * DAY, "old", "a"), change(6 * DAY, "old", "b"), change(3 * DAY, "old", "c")),
            disk("old"),
            DAY,
            3,
            id="three times",
        ),
        pytest.param(
            (change(9 * DAY, "old", "a"), change(6 * DAY, "a", "b"), change(3 * DAY, "b", "c")),
            disk("a"),
            DAY,
            None,
            id="changes of our own in between are none of somebody else",
        ),
        pytest.param(
            (change(9 * DAY, "old", "a"), change(6 * DAY, "a", "b"), change(3 * DAY, "a", "c")),
            disk("b"),
            DAY,
            2,
            id="an earlier one of ours came back twice",
        ),
        pytest.param(
            TWICE,
            disk("their", served="new"),
            60,
            None,
            id="the same certificate in other bytes is the same",
        ),
        pytest.param(TWICE, FileOnDisk({CRT: "old.crt", KEY: "new.key"}), 60, 2, id="one of the files is enough"),
        pytest.param(TWICE, FileOnDisk({CRT: "", KEY: "new.key"}), 1.5 * DAY, 2, id="a file was taken away"),
    ],
)
def test_it_stops_after_the_second_time(
    past: tuple[Committed, ...], now_on_disk: FileOnDisk, changed_ago: float, times: int | None
) -> None:
    found = contest(past, now_on_disk, NOW - changed_ago, NOW)
    assert (found.times if found is not None else None) == times


def test_the_files_that_hold_something_else_are_named() -> None:
    found = contest(TWICE, FileOnDisk({CRT: "old.crt", KEY: "new.key"}), NOW - 60, NOW)
    assert found == Contest(2, NOW - 2 * DAY, (CRT,))


def test_a_set_that_comes_just_after_a_day_is_a_renewal() -> None:
    past = (change(3 * DAY, "old", "a"), change(2 * DAY, "old", "b"))
    assert contest(past, disk("c"), past[-1].at + NEAR, NOW)
    assert contest(past, disk("c"), past[-1].at + NEAR + 1, NOW) is None


def plan(before: str, after: str, component: str = "web") -> Plan:
    def state(name: str) -> FileState:
        return FileState(f"{name}.crt", 0o644, 0, 0)

    return Plan(
        Kind.REPLACE,
        (component,),
        (Change(component, CRT, state(before), state(after)),),
        serves=(Serving("web/443", ((after, "issuing"),)),),
        served=(Serving("web/443", ((before, "issuing"),)),),
    )


def records(*, until: Event = Event.COMMITTED, component: str = "web") -> tuple[Record, ...]:
    end = {"outcome": "committed", "cause": "none", "reason": "", "components": [component]}
    return (
        Record(NOW - 10, "t1", Event.BEGIN, {"plan": plan_to_json(plan("old", "new", component))}),
        Record(NOW - 5, "t1", until, end),
    )


def test_what_was_committed_is_told_by_the_journal() -> None:
    (one,) = commits_of(records(), "web", {"web/443"})
    assert one == Committed(
        NOW - 10,
        NOW - 5,
        FileOnDisk({CRT: "old.crt"}, frozenset({("old", "issuing")})),
        FileOnDisk({CRT: "new.crt"}, frozenset({("new", "issuing")})),
    )


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(records(until=Event.ROLLED_BACK), id="undone"),
        pytest.param(records(component="mail"), id="another component"),
        pytest.param(
            (*records(), Record(NOW, "", Event.THAWED, {"components": ["web"]})), id="an operator said that it is right"
        ),
    ],
)
def test_what_does_not_count_is_no_history(told: tuple[Record, ...]) -> None:
    assert commits_of(told, "web", {"web/443"}) == ()


def is_our_doing(told: tuple[Record, ...], component: str) -> bool:
    return JournalState.of(told).is_our_doing(component)


def test_a_transaction_is_under_way_until_it_ends() -> None:
    assert is_our_doing(records()[:1], "web")
    assert not is_our_doing(records()[:1], "mail")
    for end in (Event.COMMITTED, Event.ROLLED_BACK, Event.FAILED_FORWARD, Event.SUPERSEDED):
        assert not is_our_doing(records(until=end), "web")
    assert is_our_doing(records(until=Event.RECOVERING), "web")


def test_the_files_of_a_frozen_component_are_our_doing_until_it_is_thawed() -> None:
    frozen = records(until=Event.FROZEN)
    assert is_our_doing(frozen, "web")
    assert not is_our_doing((*frozen, Record(NOW, "t1", Event.THAWED, {"components": ["web"]})), "web")


def test_the_sentence_names_the_other_writer_and_how_to_go_on() -> None:
    said = contest_sentence(
        "web", Contest(2, NOW - DAY, (CRT,)), OtherWriter(f"{CRT}\x1b", NOW, "puppet", "site-certificates")
    )
    for word in ("twice", CRT, "puppet", "site-certificates", "2027-01-15", "recover --thaw web", "new candidate"):
        assert word in said
    assert said.isprintable()
    assert "3 times" in contest_sentence("web", Contest(3, NOW, ()), None)


def test_the_writer_of_a_file_is_told_by_its_owner_and_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (0, 0))
    found = writer_of(World(), [str(tmp_path / name) for name in ("first", "second", "missing")])
    assert found is not None
    assert found.owner == pwd.getpwuid(os.getuid()).pw_name
    assert found.at > NOW - 10 * 365 * DAY, "copying keeps the time of the content, which says nothing"
    assert found.package == ""
    assert writer_of(World(), [str(tmp_path / "missing")]) is None


def test_the_package_of_a_file_is_told_where_the_package_manager_knows_it() -> None:
    dpkg = shutil.which("dpkg-query")
    if dpkg is None:
        pytest.skip("there is no dpkg here")
    paths = subprocess.run([dpkg, "-L", "base-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    known = next(each for each in paths if os.path.isfile(each) and not os.path.islink(each))
    found = writer_of(World(), [known])
    assert found == replace(found, package="base-files") if found else False
