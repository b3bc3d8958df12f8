"""What a journal may leave out: every record without which all that is known is the same."""

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
"""Seconds for which every record stays, whatever it says: those who follow may have been away for a moment."""


def is_due(records: Sequence[Record], size: int) -> bool:
    """Whether a journal of that many bytes is to be compacted: it is large, and was half as large when it last was."""
    last = next((each.data for each in reversed(records) if each.event is Event.COMPACTED), {})
    return size >= max(ENOUGH, 2 * int(last.get("bytes", 0)))


def compact(context: TransactionContext, before: Callable[[Sequence[Record]], None]) -> str | None:
    """Have the journal leave out what counts no more; return why that is not done, a sentence, or None where it is.

    Nothing is under way meanwhile: every component is held. `before` sees all records while nobody appends; where it
    raises, the journal stays as it is. Raises JournalError, OSError.
    """
    context.prepare()
    names = {name.removesuffix(".lock") for name in context.world.names(context.locks)} | context.services.keys()
    locks = acquire(context.world, context.locks, names)
    if isinstance(locks, Busy):
        return f"process {locks.holder} is at work on {locks.component}"
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
    """Return what says the same as `records` at Unix time `now`, or why nothing may be left out, a sentence.

    What stays follows from the account, whatever fields it has: the records that made each of its entries, and then
    those that take away or put right what these would leave behind, until both accounts are equal. Of a transaction all
    records stay or none. Where the accounts do not become equal, or something is under way, nothing may be left out.
    """
    if not records:
        return "it is empty"
    all_of_them = _Tracked.of(records)
    journal_state = all_of_them.journal_state
    if journal_state.unfinished:
        return f"{', '.join(journal_state.unfinished)} did not end yet"
    # What is later than now stays as well: by it is noticed that the clock went back.
    wanted = set(all_of_them.makers()) | {number for number, each in enumerate(records) if each.at > now - YOUNG}
    older = {number for number, each in enumerate(records) if each.event is Event.COMPACTED and each.at <= now}
    while True:
        wanted = _whole(wanted, records) - older
        kept = [records[number] for number in sorted(wanted)]
        note = Record(now, "", Event.COMPACTED, _totals(journal_state, records, kept))
        left = _Tracked.of([*kept, note])
        if left.journal_state == journal_state:
            return Shorter(kept, note)
        missing = {
            number for entry, number in all_of_them.last.items() if left.value(entry) != all_of_them.value(entry)
        }
        if missing <= wanted:
            return "what is known would be another without the records that count no more"
        wanted |= missing


def _totals(journal_state: JournalState, records: Sequence[Record], kept: Sequence[Record]) -> Mapping[str, Any]:
    return {
        "counts": [[*key, count] for key, count in sorted(journal_state.counts.items())],
        "left_out": len(records) - len(kept),
        "bytes": sum(len(encode(each)) for each in kept),
    }


def _whole(wanted: Collection[int], records: Sequence[Record]) -> set[int]:
    """Return these numbers, and those of all records of the same transactions."""
    names = {records[number].transaction for number in wanted} - {""}
    return {number for number, each in enumerate(records) if number in wanted or each.transaction in names}


Entry = tuple[str, Hashable]
"""The name of a field, and what is looked up in it; None for the whole of a field that is no table."""


class _Tracked:
    """An account, with the number of the record that each of its entries is from."""

    def __init__(self) -> None:
        self.journal_state = JournalState()
        self.last: dict[Entry, int] = {}
        """The last record that changed an entry, or took it away."""
        self._tables: dict[str, dict[Hashable, Any]] = {each.name: {} for each in fields(JournalState)}
        """What each field was after the last record, with nothing in it that can change."""
        self._parts: dict[Entry, dict[int, int]] = {}
        """Of each entry that has several parts, the record that brought each, by the part's identity."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> _Tracked:
        """Return what `records` amount to."""
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
        before = self._parts.pop(entry, {})
        if isinstance(value, tuple | frozenset):
            self._parts[entry] = {id(each): before.get(id(each), number) for each in value}

    def value(self, entry: Entry) -> Any:
        """Return an entry's value; None where there is none."""
        name, key = entry
        return self._tables[name].get(key)

    def makers(self) -> Iterator[int]:
        """Yield the records that the entries, and the parts of those that have several, are from."""
        for entry, number in self.last.items():
            if entry[1] in self._tables[entry[0]]:
                yield number
                yield from self._parts.get(entry, {}).values()


def _still(value: object) -> Any:
    """Return a value as it is now."""
    if isinstance(value, deque | list):
        return tuple(value)
    if isinstance(value, set):
        return frozenset(value)
    return dict(value) if isinstance(value, dict) else value


_COUNTED: Final = frozenset({"counts"})
"""Fields that the note has as a whole."""
