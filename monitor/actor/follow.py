"""Following the actor: its records, each once, whatever becomes of the connection and of the journal's file."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from actions.journal import Event, Record, birth
from actions.journal_state import JournalState, RecordedEnding
from monitor.actor.request import Document, Request, Verb
from monitor.dialect import undated


class JournalPosition(NamedTuple):
    """How far somebody has followed a journal."""

    epoch: str = ""
    sequence: int = 0


_NOWHERE: Final = JournalPosition()


def behind(records: Sequence[Record], place: JournalPosition) -> tuple[Sequence[Record], JournalPosition, bool]:
    """Return the records behind a place, the place of the last one, and whether to forget all earlier records.

    They are forgotten where a journal was compacted, or begun anew: then all its records come.
    """
    last = JournalPosition(records[-1].epoch, records[-1].sequence) if records else JournalPosition()
    if last.epoch == place.epoch and place.sequence <= last.sequence:
        return records[bisect_right(records, place.sequence, key=lambda each: each.sequence) :], last, False
    return records, last, last.epoch != "" or place != JournalPosition()


_LARGE_FILE: Final = re.compile(r"sha256 [0-9a-f]{64}, ")


def for_daemon(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record, as in `actions.audit.summary`, without the hashes of whole files that were replaced.

    They may be files of private keys, and the hash of such a file is a fact about a secret.
    """
    data = summary["data"]
    match summary["event"]:
        case Event.ASIDE:
            files = [[name, path, aside, ""] for name, path, aside, _ in data["files"]]
        case Event.WRITTEN_LATE:
            files = [[path, aside, ""] for path, aside, _ in data["files"]]
        case _:
            return summary
    large = {"large": _LARGE_FILE.sub("", str(data["large"]))} if "large" in data else {}
    return {**summary, "data": {**data, "files": files, **large}}


class Heard(NamedTuple):
    """A record that was told."""

    record: Record
    ended: RecordedEnding | None
    """The ending that it records, if any."""
    is_news: bool
    """It was not heard before; records that are told again are no news."""
    is_first: bool
    """The journal is told for the first time: then it depends on the database whether the record is news."""


@dataclass(slots=True)
class Follower:
    """Takes the records that an actor tells; it may be used for one connection after the other."""

    journal_state: JournalState = field(default_factory=JournalState)
    """The state of the records so far; another object each time that all is told anew."""
    caught_up: bool = False
    """All that there was has been told."""
    _place: JournalPosition = _NOWHERE
    _heard: JournalPosition = _NOWHERE
    """The last record that was ever heard."""
    _first: bool = True

    @property
    def position(self) -> JournalPosition:
        """How far the journal was told."""
        return self._place

    def begin(self) -> Request:
        """Return the request for a new connection."""
        self.caught_up = False
        return Request(Verb.FOLLOW, epoch=self._place.epoch, after=self._place.sequence)

    def forget(self) -> None:
        """Have everything told anew on the next connection."""
        self._place = _NOWHERE

    def take(self, document: Document) -> Heard | None:
        """Take a document of the actor; return its record, if it has one. Raises ValueError, KeyError, TypeError."""
        if "anew" in document:
            self.journal_state, self.caught_up, self._place = (
                JournalState(),
                False,
                JournalPosition(str(document["anew"])),
            )
        elif "here" in document:
            self._first, self.caught_up = False, True
            self._place = JournalPosition(str(document["epoch"]), int(document["here"]))
        elif "record" in document:
            return self._take(record_of(document["record"]))
        return None

    def _take(self, record: Record) -> Heard:
        if birth(record.epoch) != birth(self._heard.epoch):
            self._first, self._heard = True, JournalPosition(record.epoch)
        is_news = record.sequence > self._heard.sequence
        ended = self.journal_state.take(record)
        self._place = self._place._replace(sequence=record.sequence)
        if is_news:
            self._heard = JournalPosition(record.epoch, record.sequence)
        return Heard(record, ended, is_news, self._first)


def record_of(plain: Mapping[str, Any]) -> Record:
    """Return the record that an actor tells; raises ValueError, KeyError, TypeError."""
    plain = undated(plain)
    return Record(
        float(plain["at"]),
        str(plain["transaction"]),
        Event(plain["event"]),
        plain["data"],
        str(plain.get("host", "")),
        str(plain["epoch"]),
        int(plain["sequence"]),
    )
