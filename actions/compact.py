"""Compacting the journal: every record is left out without which `JournalState` stays the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, Final

from actions.journal import Event, Record, Shorter, encode
from actions.journal_state import JournalState
from actions.lock import Busy, acquire
from actions.transaction_state import TransactionContext

ENOUGH: Final = 2**20
"""Bytes of records from which on a journal is compacted."""
YOUNG: Final = 3600.0
"""Seconds for which every record stays: a follower may have been away for a moment."""


def is_due(records: Sequence[Record], size: int) -> bool:
    """Whether a journal of that many bytes is to be compacted: it is large, and has doubled since the last time."""
    last = next((each.data for each in reversed(records) if each.event is Event.COMPACTED), {})
    return size >= max(ENOUGH, 2 * int(last.get("bytes", 0)))


def compact(context: TransactionContext, before: Callable[[Sequence[Record]], None]) -> str | None:
    """Compact the journal; return why that is not done, a sentence, or None where it is.

    No transaction is under way meanwhile: all components are locked. `before` receives all records while no process
    appends; where it raises, the journal stays as it is. Raises JournalError, OSError.
    """
    context.prepare()
    names = {name.removesuffix(".lock") for name in context.world.names(context.locks)} | context.services.keys()
    locks = acquire(context.world, context.locks, names)
    if isinstance(locks, Busy):
        return locks.sentence
    why: list[str] = []

    def choose(records: Sequence[Record]) -> Shorter | None:
        found = shorter(records, context.world.now())
        if isinstance(found, str):
            why.append(found)
            return None
        before(records)
        return found

    try:
        done = context.journal.shorten(choose)
    finally:
        with suppress(OSError):
            locks.release()
    return None if done else why[0]


def shorter(records: Sequence[Record], now: float) -> Shorter | str:
    """Return the shortest journal with the state of `records` at Unix time `now`, or why there is none, a sentence.

    The state decides which records stay, whatever fields it has: the records that made each entry, and then records
    that remove or correct their side effects, until both states are equal. Of a transaction all records stay or none.
    Where the states do not become equal, or a transaction is under way, no record may be left out.
    """
    if not records:
        return "it is empty"
    all_of_them = _Tracked.of(records)
    journal_state = all_of_them.journal_state
    if journal_state.unfinished:
        return f"{', '.join(journal_state.unfinished)} did not end yet"
    # Records from the future stay as well: they show that the clock went back.
    wanted = set(all_of_them.makers()) | {number for number, each in enumerate(records) if each.at > now - YOUNG}
    older = {number for number, each in enumerate(records) if each.event is Event.COMPACTED and each.at <= now}
    while True:
        wanted = _whole(wanted, records) - older
        kept = [records[number] for number in sorted(wanted)]
        note = Record(now, "", Event.COMPACTED, _totals(journal_state, records, kept))
        left = _Tracked.of([*kept, note])
        if left.journal_state == journal_state:
            return Shorter(kept, note)
        others = [entry for entry in all_of_them.last if left.value(entry) != all_of_them.value(entry)]
        missing = {all_of_them.last[entry] for entry in others}
        if missing <= wanted:
            # An earlier record stays for another entry, and makes this one too: so does the record that took it away.
            missing = {all_of_them.removed[entry] for entry in others if entry in all_of_them.removed}
        if missing <= wanted:
            return "the state of the journal would differ without the records that no longer count"
        wanted |= missing


def _totals(journal_state: JournalState, records: Sequence[Record], kept: Sequence[Record]) -> Mapping[str, Any]:
    return {
        "counts": [[*key, count] for key, count in sorted(journal_state.counts.items())],
        "left_out": len(records) - len(kept),
        "bytes": sum(len(encode(each)) for each in kept),
    }


def _whole(wanted: Collection[int], records: Sequence[Record]) -> set[int]:
    """Return these numbers, and the numbers of all other records of their transactions."""
    names = {records[number].transaction for number in wanted} - {""}
    return {number for number, each in enumerate(records) if number in wanted or each.transaction in names}


Entry = tuple[str, Hashable]
"""The name of a field, and a key in it; None for the whole of a field that is no table."""


class _Tracked:
    """A journal state, with the number of the record that made each entry."""

    def __init__(self) -> None:
        self.journal_state = JournalState()
        self.last: dict[Entry, int] = {}
        """The last record that changed an entry, or took it away."""
        self.removed: dict[Entry, int] = {}
        """The last record that took an entry away."""
        self._tables: dict[str, dict[Hashable, Any]] = {each.name: {} for each in fields(JournalState)}
        """Each field after the last record, as immutable values."""
        self._parts: dict[Entry, dict[int, int]] = {}
        """For each entry with several parts: the record that added each part, by the part's identity."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> _Tracked:
        """Return the state that `records` make."""
        tracked = cls()
        for number, record in enumerate(records):
            tracked.take(number, record)
        return tracked

    def take(self, number: int, record: Record) -> None:
        """Take in the next record."""
        self.journal_state.take(record)
        for name, before in self._tables.items():
            found = getattr(self.journal_state, name)
            if found == before or name in _COUNTED:
                continue
            table = found if isinstance(found, Mapping) else {None: found}
            now = self._tables[name] = {key: _still(value) for key, value in table.items()}
            for key in before.keys() | now.keys():
                if key not in now or key not in before or before[key] != now[key]:
                    self._changed((name, key), now.get(key), number)

    def _changed(self, entry: Entry, value: object, number: int) -> None:
        self.last[entry] = number
        if entry[1] not in self._tables[entry[0]]:
            self.removed[entry] = number
        before = self._parts.pop(entry, {})
        if isinstance(value, tuple | frozenset):
            self._parts[entry] = {id(each): before.get(id(each), number) for each in value}

    def value(self, entry: Entry) -> Any:
        """Return the value of an entry; None where there is no such entry."""
        name, key = entry
        return self._tables[name].get(key)

    def makers(self) -> Iterator[int]:
        """Yield the records that made the entries, or the parts of entries with several."""
        for entry, number in self.last.items():
            if entry[1] in self._tables[entry[0]]:
                yield number
                yield from self._parts.get(entry, {}).values()


def _still(value: object) -> Any:
    """Return an immutable copy of a value."""
    if isinstance(value, deque | list):
        return tuple(value)
    if isinstance(value, set):
        return frozenset(value)
    return dict(value) if isinstance(value, dict) else value


_COUNTED: Final = frozenset({"counts"})
"""Fields that the COMPACTED record holds as a whole."""
