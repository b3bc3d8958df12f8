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


class JournalPosition(NamedTuple):
    """How far somebody has followed a journal."""

    epoch: str = ""
    sequence: int = 0


_NOWHERE: Final = JournalPosition()


def behind(records: Sequence[Record], place: JournalPosition) -> tuple[Sequence[Record], JournalPosition, bool]:
    """Return what comes behind a place, the place that it leads to, and whether all that was known is to be forgotten.

    That is so where a journal was compacted, or begun anew: then all that it has comes.
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
    """What ended with it."""
    is_news: bool
    """It was not heard before, though the journal may have been told from its beginning."""
    is_first: bool
    """It is of the first time that this journal is told: what of it is news depends on what else is remembered."""


@dataclass(slots=True)
class Follower:
    """Takes in what an actor tells; it may be used for one connection after the other."""

    journal_state: JournalState = field(default_factory=JournalState)
    """What the records so far amount to; another object after each time that all is told anew."""
    caught_up: bool = False
    """All that there was has been told."""
    _place: JournalPosition = _NOWHERE
    _heard: JournalPosition = _NOWHERE
    """The last record that was ever heard."""
    _first: bool = True

    def begin(self) -> Request:
        """Return what is to be asked on another connection."""
        self.caught_up = False
        return Request(Verb.FOLLOW, epoch=self._place.epoch, after=self._place.sequence)

    def forget(self) -> None:
        """Have everything told anew on the next connection."""
        self._place = _NOWHERE

    def take(self, document: Document) -> Heard | None:
        """Take in what the actor says; return the record that it is, if any. Raises ValueError, KeyError, TypeError."""
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
    return Record(
        float(plain["at"]),
        str(plain["transaction"]),
        Event(plain["event"]),
        plain["data"],
        str(plain.get("host", "")),
        str(plain["epoch"]),
        int(plain["sequence"]),
    )
