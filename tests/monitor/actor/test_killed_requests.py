"""A process that is killed while it makes, withdraws or closes a request loses no key, and leaves none to be read."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from actions.compact import YOUNG, shorter
from actions.csr import CsrOrder, new_key
from actions.journal import Event, Journal, Record, Shorter
from actions.journal_state import JournalState
from actions.transaction_state import TransactionContext
from actions.world import World
from config.load import load
from config.model import Config
from config.vocabulary import RequestKey
from monitor.actor import requests
from monitor.actor.answers import keys_of, pending_keys
from monitor.actor.context import actor_context, journal_path
from monitor.actor.handlers import handle
from monitor.actor.request import Document, Request, Verb
from monitor.actor.requests import clear_keys
from monitor.actor.work import Work
from monitor.lab.servers import write_site
from monitor.state.trust import read_trust_context
from tests.kit.authority import fresh
from tests.kit.matrix import played
from tests.kit.worlds import Cell, Names, Step, StepWorld, WatchedWorld, cells, killed

MAKE = Request(Verb.CSR, components=("web",), csr=CsrOrder(("www.example.com",), key=RequestKey.P256))


class Desk:
    """An actor's directory with requests in it."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        os.makedirs(directory)
        site = write_site(f"{directory}/tls", fresh())
        component = {
            "artefacts": {"certificate": site.certificate, "key": site.key},
            "service": {"test": ["/bin/true"], "restart": ["/bin/true"]},
        }
        actor = {"directory": f"{directory}/actor", "inbox_directory": f"{directory}/inbox"}
        document = {"actor": actor, "components": {"web": component}}
        Path(directory, "certvigil.yaml").write_text(json.dumps(document), encoding="ascii")

    @property
    def spelling(self) -> Names:
        """What stands for the directory in the names of steps."""
        return Names(((self.directory, "DESK"),))

    @property
    def config(self) -> Config:
        config = load(f"{self.directory}/certvigil.yaml", {})
        assert isinstance(config, Config), config
        return config

    @contextmanager
    def work(self, world: World | None = None) -> Iterator[Work]:
        """Give the work of a person, each step of which goes through a world."""
        config = self.config
        with actor_context(read_trust_context(config)[0]) as context:
            if world is not None:
                journal = Journal(world, journal_path(config), config.host)
                transaction = TransactionContext(
                    world, journal, f"{self.directory}/actor", {}, context.transaction.live
                )
                yield Work(replace(context, world=world, transaction=transaction), "somebody")
            else:
                yield Work(context, "somebody")

    def do(self, request: Request, world: World | None = None) -> Document:
        with self.work(world) as work:
            return handle(work, request)

    def files(self) -> list[str]:
        area = Path(self.directory, "actor/requests")
        return sorted(os.listdir(area)) if area.exists() else []

    def faults(self) -> list[str]:
        """Return what is wrong with keys and requests, now and after the next request."""
        wrong: list[str] = []
        area = Path(self.directory, "actor/requests")
        if area.exists() and stat.S_IMODE(area.stat().st_mode) & 0o077:
            wrong.append("others may look into the directory")
        wrong += [f"others may read {each}" for each in self.files() if (area / each).stat().st_mode & 0o077]
        wrong += self._lost()
        made = self.do(MAKE)
        if "csr" not in made:
            return [*wrong, f"no other request can be made: {made}"]
        with self.work() as work:
            waiting = work.context.journal_state().requests
            if work.context.journal_state().spent_keys:
                wrong.append("a key that is done with is still said to be there")
        if self.files() != sorted(f"{each}.pem" for each in waiting):
            wrong.append(f"the keys are not those of the requests: {self.files()}, {sorted(waiting)}")
        return wrong + self._lost()

    def _lost(self) -> list[str]:
        with self.work() as work:
            waiting = work.context.journal_state().requests.values()
            found = {each.public_sha256 for each in keys_of(work.context, waiting)}
            return [f"the key of the request {each.key} is lost" for each in waiting if each.key not in found]


def make(desk: Desk, world: World) -> None:
    assert "csr" in desk.do(MAKE, world)


def cancel(desk: Desk, world: World) -> None:
    with desk.work() as work:
        key = next(iter(work.context.journal_state().requests))
    assert desk.do(Request(Verb.CANCEL, key=key[:16]), world) == {"cancelled": key}


def close(desk: Desk, world: World) -> None:
    """Do what follows the commit of an answer: the record of the commit itself closes the request."""
    with desk.work(world) as work:
        clear_keys(work)


def committed(desk: Desk) -> None:
    with desk.work() as work:
        key = next(iter(work.context.journal_state().requests))
        plan = {"kind": "replace", "components": ["web"], "changes": []}
        begun = {"plan": plan, "hash": "0" * 64, "answers": [key], "by": "somebody"}
        ended = {"outcome": "committed", "cause": "none", "reason": "done"}
        journal = work.context.transaction.journal
        for event, data in ((Event.BEGIN, begun), (Event.COMMITTED, ended), (Event.CLOSED, {})):
            journal.append(Record(work.context.world.now(), "t1", event, data))


def _spelled(act: Act, desk: Desk, world: StepWorld) -> None:
    world.spelling = desk.spelling
    act(desk, world)


Act = Callable[[Desk, World], None]
ACTS: dict[str, tuple[int, bool, Act]] = {
    "the first is made": (0, False, make),
    "another is made": (1, False, make),
    "one is cancelled": (2, False, cancel),
    "one is answered": (2, True, close),
}


KEYS = [new_key(RequestKey.P256) for _ in range(8)]


@pytest.mark.parametrize("name", ACTS)
def test_a_kill_at_any_step_loses_no_key_and_leaves_none_to_be_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, is_answered, act = ACTS[name]
    number = iter(range(10_000))
    # A step is named by the file that it is about, in every run alike.
    made_keys = iter(KEYS)
    monkeypatch.setattr(requests, "new_key", lambda _kind: next(made_keys))

    def desk() -> Desk:
        nonlocal made_keys
        made_keys = iter(KEYS)
        made = Desk(f"{tmp_path}/{next(number)}")
        for _ in range(before):
            assert "csr" in made.do(MAKE)
        if is_answered:
            committed(made)
        return made

    def trace() -> list[Step]:
        one = desk()
        world = WatchedWorld(one.directory)
        world.spelling = one.spelling
        act(one, world)
        assert one.faults() == []
        return world.trace

    def play(cell: Cell) -> list[str]:
        one = desk()
        killed(partial(_spelled, act, one), cell)
        return one.faults()

    assert played(lambda: cells(trace()), play) == []


def test_a_request_is_told_only_once_its_key_and_its_record_are_on_the_medium(tmp_path: Path) -> None:
    one = Desk(f"{tmp_path}/desk")
    world = StepWorld()
    make(one, world)
    steps = [(each.name, each.about.rpartition("/")[2]) for each in world.trace if each.changes]
    key = next(each for name, each in steps if name == "create" and each.endswith(".new"))
    order = [
        steps.index(("write_at", key)),
        steps.index(("sync", key)),
        steps.index(("sync_directory", "requests"), steps.index(("sync", key))),
        max(number for number, each in enumerate(steps) if each == ("write_at", "journal.jsonl")),
    ]
    assert order == sorted(order)


def test_keys_stay_where_the_journal_is_lost(tmp_path: Path) -> None:
    one = Desk(f"{tmp_path}/desk")
    assert "csr" in one.do(MAKE)
    (kept,) = one.files()
    os.unlink(journal_path(one.config))
    assert "csr" in one.do(MAKE)
    assert kept in one.files()
    assert len(one.files()) == 2


def test_a_compacted_journal_has_the_same_requests(tmp_path: Path) -> None:
    one = Desk(f"{tmp_path}/desk")
    for _ in range(3):
        assert "csr" in one.do(MAKE)
    committed(one)
    with one.work() as work:
        records = work.context.records()
        short = shorter(records, work.context.world.now() + 2 * YOUNG)
        assert isinstance(short, Shorter), short
        now, then = (JournalState.of(each) for each in (records, (*short.kept, short.note)))
    assert (then.requests, then.spent_keys) == (now.requests, now.spent_keys)
    assert (len(then.requests), len(then.spent_keys)) == (2, 1)


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    one = Desk(f"{tmp_path}/desk")
    key = one.do(MAKE)["csr"]["key"]
    with one.work() as work:
        area = pending_keys(work.context)
    held = area.key(key)
    assert held is not None
    Path(area.directory, f".{key}.new").write_bytes(b"somebody was here")
    with pytest.raises(FileExistsError):
        area.store(held, lambda: None)
    assert Path(area.directory, f".{key}.new").read_bytes() == b"somebody was here"
