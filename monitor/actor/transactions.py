"""The transactions of the journal, put together once from their records: each backup set is asked about all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Final, Self

from actions.journal import ENDED, Event, Record
from actions.plan import plan_from_json
from config.immutable import immutable

_ENDINGS: Final = ENDED | {Event.FROZEN}
_NEW_STAYS: Final = frozenset({Event.COMMITTED, Event.FAILED_FORWARD})


@immutable
class Transactions:
    """The beginnings and ends of transactions, by their names."""

    begun: dict[str, Record] = field(default_factory=dict)
    ended: dict[str, Record] = field(default_factory=dict)
    """The last record of an ending."""
    left: dict[str, Mapping[tuple[str, str], str]] = field(default_factory=dict)
    """Of each that was committed: the SHA-256 that it left in files, hexadecimal, by component and path."""

    new_stays: dict[str, Record] = field(default_factory=dict)
    """The beginning of the last one that put a component onto new files, by component."""

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Return the transactions of these records."""
        found = cls()
        for record in records:
            if record.event is Event.BEGIN:
                found.begun[record.transaction] = record
            elif record.event in _ENDINGS:
                found.ended[record.transaction] = record
            begin = found.begun.get(record.transaction)
            if begin is not None and record.event is Event.COMMITTED:
                found.left[record.transaction] = _left_by(begin)
            if begin is not None and record.event in _NEW_STAYS:
                found.new_stays.update(dict.fromkeys(begin.data["plan"]["components"], begin))
        return found

    def to_be_served(self, component: str) -> frozenset[str]:
        """Return the leaves that the last transaction which put a component onto new files has it serve."""
        begin = self.new_stays.get(component)
        serves = () if begin is None else plan_from_json(begin.data["plan"]).serves
        return frozenset(chain[0] for each in serves for chain in each.chains if chain)


def _left_by(begin: Record) -> Mapping[tuple[str, str], str]:
    plan = plan_from_json(begin.data["plan"])
    stood = {(component, path): digest for component, path, digest in plan.stands}
    return {**stood, **{(each.component, each.path): each.new_sha256 for each in plan.changes}}
