"""However often a target changes within a day, the database stays small, and says what is true now."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from config.model import DAY
from config.text import Printable, sentence
from config.vocabulary import Code, Severity
from monitor.metrics import Counters
from monitor.state.events import (
    Decided,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    StateEvent,
)
from monitor.state.target import TargetState
from monitor.store import Degraded, What, counts, history
from monitor.store.database import prepare
from monitor.store.rows import MOST_CHANGES, MOST_PRESENTATIONS
from monitor.store.writer import _REPLACED, RowWriter
from probes.certificate import Certificate
from probes.finding import Finding
from tests.kit.store import EXPIRING, Owner, added, believe, loaded, make_certificate, presented

NOON: Final = 20_000 * DAY + DAY / 2
LOOKS: Final = 1000
"""Looks at a target, five seconds apart: an hour and a half."""
REJECTED: Final = Finding(
    Code.SELF_SIGNED, Severity.CRITICAL, Printable("position 0"), Printable("CN=0 is signed by itself")
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "certvigil.db")


def peer(number: int, size: int = 200) -> Certificate:
    return make_certificate(f"{number}.example", size)


def restless(size: int = 200) -> Iterator[list[StateEvent]]:
    """Yield what is seen of a peer that presents a new certificate at each look."""
    yield [added("peer", NOON), presented("peer", NOON, peer(0)), FindingRaised("peer", NOON, REJECTED)]
    before, found = peer(0), REJECTED
    for number in range(1, LOOKS):
        at, after = NOON + 5 * number, peer(number, size)
        changed = replace(found, detail=sentence("CN={} is signed by itself", number))
        yield [PresentedChanged("peer", at, (before.sha256,), (after,)), FindingChanged("peer", at, found, changed)]
        before, found = after, changed


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, list[str]]:
    """Record what is seen of such a peer once for the tests that only read it, or go on with it."""
    path = tmp_path_factory.mktemp("rows") / "certvigil.db"
    return (path, *recorded(str(path), restless()))


@pytest.fixture
def restless_peer(recorded_once: tuple[Path, int, list[str]], path: str) -> tuple[int, list[str]]:
    """Have that at `path`; return what `recorded` did."""
    origin, left_out, said = recorded_once
    shutil.copy(origin, path)
    return left_out, said


def recorded(path: str, batches: Sequence[Sequence[StateEvent]] | Iterator[list[StateEvent]]) -> tuple[int, list[str]]:
    """Record each batch; return how many changes were left out, and of which targets this was said."""
    prepare(path, 0.0)
    left_out, said = 0, list[str]()
    with closing(RowWriter(path)) as writer:
        for batch in batches:
            written = writer.write(batch)
            left_out += written.left_out
            said += written.restless
    return left_out, said


def rows(path: str) -> tuple[int, int, int, int]:
    found = counts(path)
    assert not isinstance(found, Degraded)
    return found.certificates, found.presentations, found.findings, found.failed_looks


def test_a_peer_with_a_new_certificate_at_each_look_fills_nothing_and_what_it_presents_last_is_known(
    path: str, restless_peer: tuple[int, list[str]]
) -> None:
    left_out, said = restless_peer
    certificates, presentations, findings, _ = rows(path)
    assert presentations == MOST_PRESENTATIONS + 1
    assert findings == MOST_CHANGES + 1
    assert certificates <= MOST_PRESENTATIONS + 1 + _REPLACED
    assert left_out == 2 * (LOOKS - 1) - MOST_PRESENTATIONS - MOST_CHANGES
    assert said == ["peer"], "it is said once"
    model: dict[str, TargetState] = {}
    for event in (event for batch in restless() for event in batch):
        believe(model, event)
    assert loaded(path) == model


def test_large_certificates_take_a_bounded_place_in_the_file(path: str) -> None:
    recorded(path, restless(size=40_000))
    size = sum(os.stat(each).st_size for each in (path, f"{path}-wal") if os.path.exists(each))
    assert size < (MOST_PRESENTATIONS + 2 * _REPLACED) * 40_000 + 20 * 2**20, "and not 40 MB for each thousand looks"
    with closing(sqlite3.connect(path)) as connection:
        pages, page, free = (
            connection.execute(f"PRAGMA {each}").fetchone()[0] for each in ("page_count", "page_size", "freelist_count")
        )
    assert (pages - free) * page < (MOST_PRESENTATIONS + 1 + _REPLACED) * 45_000


def test_history_says_how_many_changes_it_leaves_out(path: str, restless_peer: tuple[int, list[str]]) -> None:
    left_out, _ = restless_peer
    found = history(path, "peer", limit=10_000)
    assert not isinstance(found, Degraded)
    (entry,) = [each for each in found if each.what is What.LEFT_OUT]
    assert entry.sentence.startswith(f"{left_out} more changes on this day, not recorded one by one")
    assert entry.at == NOON + 5 * (LOOKS - 1)


def test_each_day_has_room_for_changes_again(path: str, restless_peer: tuple[int, list[str]]) -> None:
    next_day = [[PresentedChanged("peer", NOON + DAY + 5 * number, (), (peer(LOOKS + number),))] for number in range(3)]
    recorded(path, next_day)
    assert rows(path)[1] == MOST_PRESENTATIONS + 1 + 3


def test_what_comes_and_goes_is_kept_as_often_as_a_day_has_room_and_is_known_as_it_is(path: str) -> None:
    events: list[StateEvent] = [added("peer", NOON)]
    for number in range(500):
        at = NOON + 10 * number
        events += [FindingRaised("peer", at, EXPIRING), LookFailed("peer", at, "timed_out", "no answer")]
        if number < 499:
            events += [FindingCleared("peer", at + 5, EXPIRING, at), LookRecovered("peer", at + 5)]
    recorded(path, [events[start : start + 7] for start in range(0, len(events), 7)])
    _, _, findings, failed = rows(path)
    assert findings + failed == MOST_CHANGES + 2, "and those that are true now"
    state = loaded(path)["peer"]
    assert [each.since for each in state.findings.values()] == [NOON + 4990]
    assert state.failure == ("timed_out", "no answer")


def test_what_was_raised_on_an_earlier_day_is_in_history_however_much_happens_when_it_ends(path: str) -> None:
    old = FindingRaised("peer", NOON - DAY, EXPIRING)
    recorded(
        path, [[added("peer", NOON - DAY), old], *restless(), [FindingCleared("peer", NOON + 9000, EXPIRING, 0.0)]]
    )
    found = history(path, "peer", limit=10_000)
    assert not isinstance(found, Degraded)
    assert [each.at for each in found if each.what is What.CLEARED] == [NOON + 9000]


def test_decisions_about_one_subject_are_bounded_as_well(path: str) -> None:
    decided = [
        Decided("web", NOON + number, "p", "notify", "notify", str(number), ("because",), "") for number in range(1000)
    ]
    left_out, _ = recorded(path, [[added("web", NOON)], *([each] for each in decided)])
    assert left_out == 1000 - MOST_CHANGES


def test_pruning_forgets_the_days_that_are_over(path: str, restless_peer: tuple[int, list[str]]) -> None:
    with closing(RowWriter(path)) as writer:
        writer.prune(NOON + 2 * DAY)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM days").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM certificates").fetchone() == (1,)


def test_what_is_left_out_is_logged_once_and_counted(path: str, caplog: pytest.LogCaptureFixture) -> None:
    owner = Owner(path, limit=10_000)
    owner.store.start()
    for batch in restless():
        owner.publish(*batch)
    assert owner.close()
    assert owner.store.left_out == 2 * (LOOKS - 1) - MOST_PRESENTATIONS - MOST_CHANGES
    assert caplog.text.count("peer changes too often") == 1
    counters = Counters("1", 0.0)
    counters.history_left_out(5)
    counters.history_left_out(7)
    assert b"certvigil_history_changes_left_out_total 7.0" in counters.text()
