"""Whether somebody else undoes what was done, as the actor tells it of real files and a journal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pytest

from actions.journal import Event, Record
from actions.journal_state import JournalState
from actions.plan import Change, FileState, Kind, Plan, plan_to_json
from actions.world import World
from config.model import Artefacts, Component, Config
from monitor.actor.contested import contested
from monitor.actor.context import ActorContext
from tests.kit.authority import fresh
from tests.kit.monitors import config_with

ENDED = {"outcome": "committed", "cause": "none", "reason": "the files are in use"}


@dataclass
class ContestBench:
    """What the question needs of a context."""

    config: Config
    world: World
    directory: str
    told: list[Record] = field(default_factory=list)

    def records(self) -> list[Record]:
        return self.told

    def journal_state(self) -> JournalState:
        return JournalState.of(self.told)

    def inbox(self, name: str) -> str:
        return f"{self.directory}/{name}"


def change(path: Path, before: bytes, after: bytes) -> Plan:
    def state(data: bytes) -> FileState:
        return FileState(hashlib.sha256(data).hexdigest(), 0o644, 0, 0)

    return Plan(Kind.REPLACE, ("web",), (Change("web", str(path), state(before), state(after)),), serves=(), served=())


@pytest.mark.parametrize("end", [None, Event.COMMITTED], ids=["under way, or killed", "committed"])
def test_what_a_transaction_has_written_is_nobody_else_s(tmp_path: Path, end: Event | None) -> None:
    """Somebody wrote over what was put in place, once; the next replacement has switched the file."""
    first, second, theirs, third = (fresh().chain_pem() for _ in range(4))
    path = tmp_path / "site.crt"
    path.write_bytes(third)
    world = World()
    now = world.now()
    web = Component("web", Artefacts(certificate=str(path)))
    bench = ContestBench(config_with(components=MappingProxyType({"web": web})), world, str(tmp_path))
    context, records = cast("ActorContext", bench), bench.told
    records += [
        Record(now - 90, "t1", Event.BEGIN, {"plan": plan_to_json(change(path, theirs, first))}),
        Record(now - 80, "t1", Event.COMMITTED, ENDED),
        Record(now - 70, "t2", Event.BEGIN, {"plan": plan_to_json(change(path, theirs, second))}),
        Record(now - 60, "t2", Event.COMMITTED, ENDED),
    ]
    assert contested(context, "web") is not None, "with nothing under way, another has written it"
    records.append(Record(now - 10, "t3", Event.BEGIN, {"plan": plan_to_json(change(path, second, third))}))
    if end is not None:
        records.append(Record(now, "t3", end, ENDED))
    assert contested(context, "web") is None
