"""`certvigil audit`: each request, its approval and its ending, from the actor's audit and journal."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from actions.audit import STEPS, Break, ChainEntry, Segment, chain, read, summary
from actions.ending import titled
from actions.journal import Event, Journal, JournalError, birth
from actions.journal_state import JournalState
from actions.plan import Kind
from actions.world import World
from config.immutable import immutable
from config.model import Config
from config.pattern import is_one_of
from config.text import Printable, printable
from monitor.actor.client import NoActor, talking
from monitor.actor.context import audit_directory, journal_path
from monitor.actor.follow import Follower
from monitor.actor.request import Document, Request, Verb
from monitor.audit import AuditEntry, entries
from monitor.commands.choice import unknown, with_members
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.period import PeriodError, period
from monitor.commands.screen import Screen
from monitor.dialect import dated, iso, undated

_UNUSABLE: Final = 4
_PATIENCE: Final = 30.0
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ACTION_OF: Final[Mapping[str, str]] = {
    Event.REQUESTED: "csr",
    Event.REQUEST_WITHDRAWN: "csr",
    Event.OFFERED: "offer",
    Event.OFFER_WITHDRAWN: "offer",
    Event.ROOT_CONFIRMED: "confirm",
    Event.ROOT_GONE: "confirm",
    Event.THAWED: "recover",
    Event.RELEASED: "recover",
    Event.KEY_REINSTATED: "recover",
}
"""The action of an event that is of no transaction and no plan, by the name of its command."""
_ACTIONS: Final = tuple(dict.fromkeys((*map(str, Kind), *_ACTION_OF.values())))
_BROKEN: Final = 2
"""The chain of the audit does not hold."""


@immutable
class AuditQuery:
    """The entries that are to be shown. An empty field admits all."""

    components: tuple[str, ...] = ()
    """Names or patterns."""
    who: tuple[str, ...] = ()
    """Persons who asked, approved or rejected: names or patterns."""
    actions: tuple[str, ...] = ()
    """Of `Kind`, or commands whose records are of no transaction."""
    since: str | None = None
    until: str | None = None
    as_json: bool = False


def audit(config_path: str, query: AuditQuery) -> int:
    """Print the records, oldest first; with JSON, each whole record on its own line."""
    config = loaded(config_path)
    if config is None:
        return _UNUSABLE
    if wrong := unknown(query.actions, _ACTIONS, Printable("action")):
        return _failed(wrong)
    now = time.time()
    try:
        since, until = period(query.since, query.until, now)
        chained = list(chain(_segments(config)))
        written = [each for each in chained if isinstance(each, ChainEntry)]
        every = list(entries(_together(written, list(journal_records(config)))))
    except (PeriodError, JournalError, OSError) as error:
        return _failed(printable(str(error)))
    known = {*config.components, *config.groups, *(name for each in every for name in each.components)}
    if wrong := unknown(query.components, known, Printable("component")):
        return _failed(wrong)
    groups = {name: each.members for name, each in config.groups.items()}
    query = replace(query, components=with_members(query.components, groups))
    chosen = [
        each for each in every if _is_meant(each, query) and since <= each.at and (until is None or each.at < until)
    ]
    if any(isinstance(each, Break) for each in chained):
        complain("certvigil audit: the chain of the audit does not hold; see `certvigil audit --verify`")
    if query.as_json:
        for each in chosen:
            sys.stdout.write(json.dumps(dated(each.record, iso)) + "\n")
        return 0
    told = [each for each in chosen if each.record["event"] not in STEPS]
    if told:
        Screen().table(("when", "event", "transaction or plan", "who", "why"), map(_row, told))
    else:
        Screen().say("nothing is recorded yet" if not every else "no record fits these options")
    return 0


def verify(config_path: str, holds: str) -> int:
    """Print whether the chain of the audit holds, or where it breaks; it must have an entry with the hash `holds`."""
    config = loaded(config_path)
    if config is None:
        return _UNUSABLE
    if holds and not _HASH.fullmatch(holds):
        return _failed(Printable("--holds takes the sha256 of an entry: 64 digits of 0-9 and a-f"))
    try:
        found = list(chain(_segments(config)))
    except (JournalError, OSError) as error:
        return _failed(printable(str(error)))
    written = [each for each in found if isinstance(each, ChainEntry)]
    breaks = [f"{each.where}: {each.why}" for each in found if isinstance(each, Break)]
    if holds and holds not in {each.sha256 for each in written}:
        breaks.append(f"no entry has the sha256 {holds}: it was taken out, or earlier entries were written anew")
    if breaks:
        for each in breaks:
            complain("certvigil audit: {}", printable(each))
        Screen().say("the chain does not hold", style="red")
        return _BROKEN
    if written:
        last = printable(written[-1].sha256)
        Screen().say("the chain holds: entries: {}; the last has the sha256 {}", len(written), last)
    else:
        Screen().say("the chain holds: entries: 0")
    return 0


def _failed(why: Printable) -> int:
    complain("certvigil audit: {}", why)
    return _UNUSABLE


def _is_meant(entry: AuditEntry, query: AuditQuery) -> bool:
    return (
        (not query.components or any(is_one_of(each, query.components) for each in entry.components))
        and (not query.who or _is_by(entry.by, query.who))
        and (not query.actions or not {entry.kind, _ACTION_OF.get(entry.record["event"])}.isdisjoint(query.actions))
    )


def _is_by(by: str, who: Sequence[str]) -> bool:
    """Whether `by`, such as `root (uid 0)`, is one of `who`, where a name alone is enough."""
    return is_one_of(by, who) or by.split(" (", 1)[0] in who


def _together(written: Sequence[ChainEntry], records: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the records of audit and journal, each once: the audit has older records, the journal all steps."""
    journal = birth(str(records[0]["epoch"])) if records else ""
    found: dict[int, Mapping[str, Any]] = {}
    for each in written:
        if birth(each.epoch) != journal:
            yield each.record
        else:
            found[each.sequence] = each.record
    found |= {int(each["sequence"]): each for each in records}
    yield from (found[number] for number in sorted(found))


def _segments(config: Config) -> Iterator[Segment]:
    """Yield the segments of the audit, as this process or else the actor reads them; raises JournalError, OSError."""
    try:
        yield from read(World(), audit_directory(config))
    except PermissionError:
        for document in _told(config, Request(Verb.AUDIT), "end"):
            yield Segment(str(document["segment"]), str(document["data"]).encode("latin-1"))


def _told(config: Config, request: Request, end: str) -> Iterator[Document]:
    """Yield the actor's answers until it says `end`; raises NoActor, JournalError, OSError."""
    with talking(config.settings.actor.socket, request, _PATIENCE) as answers:
        for document in answers:
            if "cannot" in document:
                raise JournalError(document["cannot"])
            if end in document:
                return
            yield document


def journal_records(config: Config) -> Iterator[Mapping[str, Any]]:
    """Yield the records of the journal, as the actor tells them, or else as they are on disk.

    Raises JournalError, OSError.
    """
    try:
        told = _told(config, Request(Verb.FOLLOW), "here")
        yield from (undated(each["record"]) for each in told if "record" in each)
    except NoActor:
        with closing(Journal(World(), journal_path(config))) as journal:
            yield from ({**summary(record), "data": dict(record.data)} for record in journal.records())


def journal_state_of(config: Config) -> JournalState:
    """Return what the records of the journal make, as far as this user may read them; raises JournalError, OSError."""
    follower = Follower()
    try:
        for each in _told(config, follower.begin(), "here"):
            follower.take(each)
    except NoActor:
        state = JournalState()
        with closing(Journal(World(), journal_path(config))) as journal:
            for record in journal.records():
                state.take(record)
        return state
    return follower.journal_state


def _named(data: Mapping[str, Any]) -> str:
    """Return the hash that a record is about: of a plan, a candidate, a key or a root; empty where there is none."""
    return str(next((data[name] for name in ("hash", "candidate", "key", "root") if data.get(name)), ""))


def _row(entry: AuditEntry) -> tuple[Printable, ...]:
    record = entry.record
    data = record["data"]
    keys = ", ".join(str(each)[:16] for each in data.get("keys", ()))
    about = record["transaction"] or _named(data)[:16] or keys
    said = " ".join(filter(None, (str(record["event"]), entry.kind, titled(entry.group, entry.components))))
    why = str(data.get("why") or data.get("reason") or "")
    return iso(entry.at) or Printable(""), printable(said), printable(about), printable(entry.by), printable(why)
