"""`certvigil audit`: who asked for what, who approved it, and how it ended, as the actor's journal has it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from actions.journal import Event, Journal, JournalError
from actions.plan import Kind
from actions.world import World
from config.model import Config
from config.pattern import is_one_of
from config.text import printable
from monitor.actor.client import NoActor, talking
from monitor.actor.request import Request, Verb
from monitor.actor.workbench import journal_path
from monitor.commands.checked import iso
from monitor.commands.choice import unknown
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.period import PeriodError, period
from monitor.commands.screen import Screen

_UNUSABLE: Final = 4
_PATIENCE: Final = 30.0
_TOLD: Final = frozenset(
    {
        *(Event.PROPOSED, Event.APPROVED, Event.REJECTED, Event.REFUSED, Event.BEGIN, Event.ROLLING_BACK),
        *(Event.COMMITTED, Event.ROLLED_BACK, Event.FAILED_FORWARD, Event.FROZEN, Event.THAWED),
        *(Event.QUARANTINED, Event.RELEASED, Event.RECOVERING, Event.STARTED, Event.WITHDRAWN, Event.UNNEEDED),
        *(Event.KEY_GIVEN_UP, Event.KEY_REINSTATED),
    }
)
"""Records that say who did what; the others are steps on the way."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be shown: where something is named, only what fits it."""

    components: tuple[str, ...] = ()
    """Names or patterns."""
    who: tuple[str, ...] = ()
    """Those who asked, approved or rejected: names or patterns."""
    actions: tuple[str, ...] = ()
    """Of `Kind`."""
    since: str | None = None
    until: str | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A record, with what it leaves to the records before it."""

    record: Mapping[str, Any]
    kind: str
    components: tuple[str, ...]
    by: str
    """On whose behalf; empty where that is not recorded."""

    @property
    def at(self) -> float:
        """Unix time."""
        return float(self.record["at"])


def audit(config_path: str, wish: Wish) -> int:
    """Print the journal, oldest first: with JSON, each record whole on a line of its own."""
    config = loaded(config_path)
    if config is None:
        return _UNUSABLE
    if wrong := unknown(wish.actions, tuple(Kind), "action"):
        return _failed(wrong)
    now = time.time()
    try:
        since, until = period(wish.since, wish.until, now)
        every = list(entries(_records(config)))
    except (PeriodError, JournalError, OSError) as error:
        return _failed(printable(str(error)))
    known = {*config.components, *(name for each in every for name in each.components)}
    if wrong := unknown(wish.components, known, "component"):
        return _failed(wrong)
    chosen = [
        each for each in every if _is_meant(each, wish) and since <= each.at and (until is None or each.at < until)
    ]
    if wish.as_json:
        for each in chosen:
            sys.stdout.write(json.dumps(each.record) + "\n")
        return 0
    told = [each for each in chosen if each.record["event"] in _TOLD]
    if told:
        Screen().table(("when", "what", "transaction or plan", "who", "why"), map(_row, told))
    else:
        Screen().say("the journal is empty" if not every else "no record in the journal fits that")
    return 0


def entries(records: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Yield each of `records`, oldest first, with what its transaction, plan or candidate is known to be about."""
    about: dict[str, Entry] = {}
    for record in records:
        data = record["data"]
        names = [str(each) for each in (record["transaction"], data.get("hash"), data.get("candidate")) if each]
        before = next((about[each] for each in names if each in about), None)
        what = next((each for each in (data.get("plan"), data.get("wish")) if isinstance(each, dict)), data)
        entry = Entry(
            record,
            str(what.get("kind") or (before.kind if before else "")),
            tuple(map(str, what.get("components") or (before.components if before else ()))),
            str(data.get("by") or (before.by if before and record["transaction"] else "")),
        )
        about.update(dict.fromkeys(names, entry))
        yield entry


def _failed(why: str) -> int:
    complain(f"certvigil audit: {why}")
    return _UNUSABLE


def _is_meant(entry: Entry, wish: Wish) -> bool:
    return (
        (not wish.components or any(is_one_of(each, wish.components) for each in entry.components))
        and (not wish.who or is_one_of(entry.by, wish.who))
        and (not wish.actions or entry.kind in wish.actions)
    )


def _records(config: Config) -> Iterator[Mapping[str, Any]]:
    try:
        with talking(config.settings.actor.socket, Request(Verb.FOLLOW), _PATIENCE) as answers:
            for document in answers:
                if "cannot" in document:
                    raise JournalError(document["cannot"])
                if "here" in document:
                    return
                yield document["record"]
    except NoActor:
        with closing(Journal(World(), journal_path(config))) as journal:
            for record in journal.records():
                yield {
                    "at": record.at,
                    "transaction": record.transaction,
                    "event": record.event,
                    "data": dict(record.data),
                    "host": record.host,
                }


def _row(entry: Entry) -> tuple[str, ...]:
    record = entry.record
    data = record["data"]
    keys = ", ".join(str(each)[:16] for each in data.get("keys", ()))
    about = record["transaction"] or str(data.get("hash") or data.get("candidate") or "")[:16] or keys
    said = " ".join(filter(None, (str(record["event"]), entry.kind, ", ".join(entry.components))))
    why = str(data.get("why") or data.get("reason") or "")
    return iso(entry.at) or "", printable(said), printable(about), printable(entry.by), printable(why)
