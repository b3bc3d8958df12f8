"""Writes rows, in plain SQL over sqlite3, as they are read."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final, NamedTuple

from config.model import DAY
from monitor.notify.outbox import Changes
from monitor.state.events import (
    ActionEnded,
    FileJudged,
    PresentedChanged,
    StateEvent,
    SupportedChanged,
    TargetAdded,
    TargetRemoved,
)
from monitor.store.database import writing
from monitor.store.outbox import alert_row, delivery_row, silence_row
from monitor.store.rows import Ledger, Row, Rows
from monitor.store.text import stored

_CERTIFICATES: Final = "certificates"
_TARGETS: Final = "targets"
_PRESENTATIONS: Final = "presentations"
_FINDINGS: Final = "findings"
_FAILED_LOOKS: Final = "failed_looks"
_ACTIONS: Final = "actions"
_DECISIONS: Final = "decisions"
_DAYS: Final = "days"

_ALERTS: Final = "alerts"
_LETTERS: Final = "deliveries"
_SILENCES: Final = "silences"

_UNREFERRED: Final = "id NOT IN (SELECT value FROM presentations, json_each(presentations.certificates))"
_GIVEN: Final = "(SELECT value FROM json_each(?))"
"""Any number of values, as one JSON array."""

_CERTIFICATES_OF: Final = f"SELECT id, sha256 FROM certificates WHERE sha256 IN {_GIVEN}"  # noqa: S608 (our names)

_ENDS: Final[Mapping[str, tuple[str, ...]]] = {
    _TARGETS: ("removed_at",),
    _PRESENTATIONS: ("until",),
    _FINDINGS: ("superseded_at", "cleared_at"),
    _FAILED_LOOKS: ("superseded_at", "recovered_at"),
}
"""The columns that are NULL in a row that is true now."""

_CURRENT: Final = {
    table: f"SELECT * FROM {table} WHERE target IN {_GIVEN}"  # noqa: S608 (our names)
    + "".join(f" AND {end} IS NULL" for end in _ENDS[table])
    for table in (_PRESENTATIONS, _FINDINGS, _FAILED_LOOKS)
}
"""The rows of targets that are true now."""

_PRUNED: Final[Mapping[str, tuple[str, ...]]] = {
    **_ENDS,
    _LETTERS: ("ended_at",),
    _ACTIONS: ("ended_at",),
    _DECISIONS: ("decided_at",),
}
"""The columns by which a row is too old."""

_WRITTEN: Final = (_CERTIFICATES, _TARGETS, _PRESENTATIONS, _FINDINGS, _FAILED_LOOKS, _ACTIONS, _DECISIONS, _DAYS)
"""The tables of events, in the order in which they are written."""

_NEWEST: Final = "SELECT {}".format(", ".join(f"(SELECT max(id) FROM {table})" for table in _WRITTEN))  # noqa: S608

_VARIABLES: Final = 10_000
"""Values in one statement: SQLite takes three times as many."""
_REPLACED: Final = 100
"""Certificates that perhaps nothing refers to, after which that is looked up, in all presentations."""


class Written(NamedTuple):
    """What was not written of some events."""

    strangers: int
    """Events about targets that are not watched."""
    left_out: int
    """Changes that are not kept, as in `Rows`."""
    restless: tuple[str, ...]
    """The targets of which the first change on a day was left out."""


class RowWriter:
    """The one connection that writes, for one thread. Its methods raise the errors of sqlite3."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection = writing(path)
        self._connection.row_factory = sqlite3.Row
        self._file = _file(path)
        self._statements = _Statements(self._connection)
        self._replaced: set[int] = set()
        """Certificates that perhaps nothing refers to."""

    def is_current(self) -> bool:
        """Whether the file still has its name: SQLite would go on writing to one that was deleted."""
        return _file(self._path) == self._file

    def write(self, events: Sequence[StateEvent]) -> Written:
        """Record `events`, all or none; return what was not written of them."""
        with self._transaction() as connection:
            rows = _recorded(connection, events)
            for event in events:
                rows.apply(event)
            self._save(rows)
            self._replaced |= rows.replaced
            if len(self._replaced) >= _REPLACED:
                _delete(connection, _CERTIFICATES, f"id IN {_GIVEN} AND {_UNREFERRED}", _array(self._replaced))
                self._replaced = set()
        return Written(rows.strangers, rows.left_out, tuple(rows.restless))

    def keep(self, changes: Changes) -> None:
        """Keep the changes of alerts, messages and silences, all or none of them."""
        rows = {
            _ALERTS: [alert_row(about, alert) for about, alert in changes.alerts.items()],
            _LETTERS: [delivery_row(delivery) for delivery in changes.deliveries.values()],
            _SILENCES: [silence_row(identifier, requested) for identifier, requested in changes.silences.items()],
        }
        with self._transaction() as connection:
            for table, those in rows.items():
                kept = [row for row in those if row["content"] is not None]
                gone = [row for row in those if row["content"] is None]
                if kept:
                    connection.executemany(self._statements.replace[table], kept)
                if gone:
                    connection.executemany(self._statements.delete[table], gone)

    def prune(self, before: float) -> None:
        """Delete records that ended before that Unix time, and certificates without a reference."""
        with self._transaction() as connection:
            for table, ends in _PRUNED.items():
                _delete(connection, table, " OR ".join(f"{end} < :before" for end in ends), {"before": before})
            _delete(connection, _DAYS, "day < ?", (before // DAY,))
            _delete(connection, _CERTIFICATES, _UNREFERRED)

    def close(self) -> None:
        """Let go of the file; SQLite moves everything from its log into it, unless someone else still reads."""
        self._connection.close()

    def _save(self, rows: Rows) -> None:
        for table, ledger in zip(_WRITTEN, rows.ledgers, strict=True):
            if ledger.gone:
                _delete(self._connection, table, f"id IN {_GIVEN}", _array(ledger.gone))
            # Ends come first, since a new target may take the name of an old one.
            if ledger.changed:
                self._connection.executemany(self._statements.update[table], ledger.changed.values())
            if ledger.new:
                self._connection.executemany(self._statements.insert[table], ledger.new.values())

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Do all that is done inside the block, or nothing where it raises."""
        # A transaction that first reads and then writes cannot wait for the lock: it would have to begin anew.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            # SQLite has rolled back by itself where the disk is full, for example.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


class _Statements:
    """The statements that write whole rows, by table: their columns are those that the tables have."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.insert: dict[str, str] = {}
        self.replace: dict[str, str] = {}
        self.update: dict[str, str] = {}
        self.delete: dict[str, str] = {}
        for table in (*_WRITTEN, _ALERTS, _LETTERS, _SILENCES):
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            names = ", ".join(f'"{each["name"]}"' for each in columns)
            values = ", ".join(f":{each['name']}" for each in columns)
            key = " AND ".join(_equation(each) for each in columns if each["pk"])
            others = ", ".join(_equation(each) for each in columns if not each["pk"])
            self.insert[table] = f"INSERT INTO {table} ({names}) VALUES ({values})"  # noqa: S608 (our names)
            self.replace[table] = f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({values})"  # noqa: S608
            self.update[table] = f"UPDATE {table} SET {others} WHERE {key}"  # noqa: S608
            self.delete[table] = f"DELETE FROM {table} WHERE {key}"  # noqa: S608


def _equation(column: sqlite3.Row) -> str:
    return f'"{column["name"]}" = :{column["name"]}'


def _delete(
    connection: sqlite3.Connection, table: str, where: str, given: Sequence[object] | Mapping[str, object] = ()
) -> None:
    connection.execute(f"DELETE FROM {table} WHERE {where}", given)  # noqa: S608 (our names)


def _array(values: Iterable[object]) -> tuple[str]:
    return (json.dumps(list(values)),)


def _recorded(connection: sqlite3.Connection, events: Iterable[StateEvent]) -> Rows:
    """Return the records of the targets of `events` that are true now."""
    presented = {each.sha256 for event in events if isinstance(event, PresentedChanged) for each in event.after}
    certificates = list(map(dict, connection.execute(_CERTIFICATES_OF, _array(presented))))
    targets = _watched(connection, {stored(event.target) for event in events})
    watched = _array(row["id"] for row in targets)
    presentations, findings, failed_looks = (
        list(map(dict, connection.execute(sql, watched))) for sql in _CURRENT.values()
    )
    current: Mapping[str, dict[Hashable, Row]] = {
        _CERTIFICATES: {row["sha256"]: row for row in certificates},
        _TARGETS: {row["name"]: row for row in targets},
        _PRESENTATIONS: {row["target"]: row for row in presentations},
        _FINDINGS: {(row["target"], row["code"], row["subject"]): row for row in findings},
        _FAILED_LOOKS: {row["target"]: row for row in failed_looks},
        _DAYS: _days(connection, events),
    }
    newest = connection.execute(_NEWEST).fetchone()
    ledgers = {
        table: Ledger(current.get(table, {}), (last or 0) + 1) for table, last in zip(_WRITTEN, newest, strict=True)
    }
    return Rows(
        certificates=ledgers[_CERTIFICATES],
        targets=ledgers[_TARGETS],
        presentations=ledgers[_PRESENTATIONS],
        findings=ledgers[_FINDINGS],
        failed_looks=ledgers[_FAILED_LOOKS],
        actions=ledgers[_ACTIONS],
        decisions=ledgers[_DECISIONS],
        days=ledgers[_DAYS],
    )


def _days(connection: sqlite3.Connection, events: Iterable[StateEvent]) -> dict[Hashable, Row]:
    """Return the days of these events, with the targets that they are about."""
    about = {(stored(each.target), int(each.at // DAY)) for each in events if not isinstance(each, _NO_CHANGE)}
    days = _array({day for _, day in about})
    found = _named(connection, f"SELECT * FROM days WHERE day IN {_GIVEN}", days, {name for name, _ in about})  # noqa: S608
    return {(row["name"], row["day"]): row for row in found}


_NO_CHANGE: Final = (TargetAdded, TargetRemoved, FileJudged, SupportedChanged, ActionEnded)
"""Events that never end a row which began on the same day, or are few."""


def _watched(connection: sqlite3.Connection, names: Iterable[str | bytes]) -> list[Row]:
    return list(_named(connection, "SELECT * FROM targets WHERE removed_at IS NULL", (), names))


def _named(
    connection: sqlite3.Connection, query: str, given: Sequence[object], names: Iterable[str | bytes]
) -> Iterator[Row]:
    """Yield the rows of a query that have one of these names, which JSON cannot hold: they may be bytes."""
    remaining = iter(names)
    while batch := list(islice(remaining, _VARIABLES)):
        yield from map(
            dict, connection.execute(f"{query} AND name IN ({', '.join('?' * len(batch))})", (*given, *batch))
        )


def _file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
