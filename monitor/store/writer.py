"""Writes rows, by SQLAlchemy's Core: its ORM takes ten times as long. Importing this loads SQLModel."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from sqlalchemy import Connection, Table, bindparam, delete, insert, or_, select, text, update
from sqlalchemy.dialects import sqlite
from sqlmodel import SQLModel

from config.model import DAY
from monitor.notify.outbox import Changes
from monitor.state.events import (
    ActionEnded,
    IdentityChanged,
    PresentedChanged,
    StateEvent,
    SupportedChanged,
    TargetAdded,
    TargetRemoved,
)
from monitor.store import tables  # noqa: F401 (declares the tables)
from monitor.store.outbox import alert_row, delivery_row, silence_row
from monitor.store.rows import Ledger, Row, Rows
from monitor.store.schema import engine
from monitor.store.text import stored

_TABLES: Final = SQLModel.metadata.tables
_CERTIFICATES: Final = _TABLES["certificates"]
_TARGETS: Final = _TABLES["targets"]
_PRESENTATIONS: Final = _TABLES["presentations"]
_FINDINGS: Final = _TABLES["findings"]
_FAILED_LOOKS: Final = _TABLES["failed_looks"]
_ACTIONS: Final = _TABLES["actions"]
_DECISIONS: Final = _TABLES["decisions"]
_DAYS: Final = _TABLES["days"]

_ALERTS: Final = _TABLES["alerts"]
_LETTERS: Final = _TABLES["deliveries"]
_SILENCES: Final = _TABLES["silences"]

_VARIABLES: Final = 10_000
"""Values in one statement: SQLite takes three times as many."""

_UNREFERRED: Final = text("id NOT IN (SELECT value FROM presentations, json_each(presentations.certificates))")

_CERTIFICATES_OF: Final = "SELECT id, sha256 FROM certificates WHERE sha256 IN (SELECT value FROM json_each(?))"

_ENDS: Final = {
    _TARGETS: (_TARGETS.c.removed_at,),
    _PRESENTATIONS: (_PRESENTATIONS.c.until,),
    _FINDINGS: (_FINDINGS.c.superseded_at, _FINDINGS.c.cleared_at),
    _FAILED_LOOKS: (_FAILED_LOOKS.c.superseded_at, _FAILED_LOOKS.c.recovered_at),
}
"""The columns that are NULL in a row that is true now."""

_CURRENT: Final = {
    table: (
        f"SELECT * FROM {table.name} WHERE target IN (SELECT value FROM json_each(?))"  # noqa: S608 (our names)
        + "".join(f" AND {end.name} IS NULL" for end in _ENDS[table])
    )
    for table in (_PRESENTATIONS, _FINDINGS, _FAILED_LOOKS)
}
"""The rows of targets that are true now."""

_WRITTEN: Final = (_CERTIFICATES, _TARGETS, _PRESENTATIONS, _FINDINGS, _FAILED_LOOKS, _ACTIONS, _DECISIONS, _DAYS)
"""The tables of events, in the order in which they are written."""

_NEWEST: Final = "SELECT {}".format(", ".join(f"(SELECT max(id) FROM {table.name})" for table in _WRITTEN))  # noqa: S608

_DIALECT: Final = sqlite.dialect(paramstyle="named")
# Compiled once and handed to the driver: where Core executes many rows, most of the time goes into their parameters.
_INSERT: Final = {
    table: str(insert(table).compile(dialect=_DIALECT))
    for table in (_CERTIFICATES, _ACTIONS, _DECISIONS, _DAYS, *_ENDS)
}
_UPDATE: Final = {
    table: str(
        update(table)
        .where(table.c.id == bindparam("id"))
        .values({column: bindparam(column.name) for column in table.c if not column.primary_key})
        .compile(dialect=_DIALECT)
    )
    for table in (_DAYS, *_ENDS)
}

_KEEP: Final = {
    table: str(insert(table).prefix_with("OR REPLACE").compile(dialect=_DIALECT))
    for table in (_ALERTS, _LETTERS, _SILENCES)
}
_FORGET: Final = {
    table: str(
        delete(table)
        .where(*(column == bindparam(column.name) for column in table.primary_key))
        .compile(dialect=_DIALECT)
    )
    for table in (_ALERTS, _SILENCES)
}


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
    """The one connection that writes, for one thread. Its methods raise SQLAlchemy's errors."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._engine = engine(path)
        self._connection = self._engine.connect()
        self._file = _file(path)
        self._replaced: set[int] = set()
        """Certificates that perhaps nothing refers to."""

    def is_current(self) -> bool:
        """Whether the file still has its name: SQLite would go on writing to one that was deleted."""
        return _file(self._path) == self._file

    def write(self, events: Sequence[StateEvent]) -> Written:
        """Record `events`, all or none; return what was not written of them."""
        with self._connection.begin():
            rows = _recorded(self._connection, events)
            for event in events:
                rows.apply(event)
            _save(self._connection, rows)
            self._replaced |= rows.replaced
            if len(self._replaced) >= _REPLACED:
                self._connection.execute(
                    delete(_CERTIFICATES).where(_CERTIFICATES.c.id.in_(self._replaced), _UNREFERRED)
                )
                self._replaced = set()
        return Written(rows.strangers, rows.left_out, tuple(rows.restless))

    def keep(self, changes: Changes) -> None:
        """Keep the changes of alerts, messages and silences, all or none of them."""
        rows = {
            _ALERTS: [alert_row(about, alert) for about, alert in changes.alerts.items()],
            _LETTERS: [delivery_row(delivery) for delivery in changes.deliveries.values()],
            _SILENCES: [silence_row(identifier, requested) for identifier, requested in changes.silences.items()],
        }
        with self._connection.begin():
            for table, those in rows.items():
                kept = [row for row in those if row["content"] is not None]
                gone = [
                    {column.name: row[column.name] for column in table.primary_key}
                    for row in those
                    if row["content"] is None
                ]
                if kept:
                    self._connection.exec_driver_sql(_KEEP[table], kept)
                if gone:
                    self._connection.exec_driver_sql(_FORGET[table], gone)

    def prune(self, before: float) -> None:
        """Delete records that ended before that Unix time, and certificates without a reference."""
        with self._connection.begin():
            for table, ends in _ENDS.items():
                self._connection.execute(delete(table).where(or_(*(end < before for end in ends))))
            self._connection.execute(delete(_LETTERS).where(_LETTERS.c.ended_at < before))
            self._connection.execute(delete(_ACTIONS).where(_ACTIONS.c.ended_at < before))
            self._connection.execute(delete(_DECISIONS).where(_DECISIONS.c.decided_at < before))
            self._connection.execute(delete(_DAYS).where(_DAYS.c.day < before // DAY))
            self._connection.execute(delete(_CERTIFICATES).where(_UNREFERRED))

    def close(self) -> None:
        """Let go of the file; SQLite moves everything from its log into it, unless someone else still reads."""
        self._connection.close()
        self._engine.dispose()


def _recorded(connection: Connection, events: Iterable[StateEvent]) -> Rows:
    """Return the records of the targets of `events` that are true now."""
    presented = {each.sha256 for event in events if isinstance(event, PresentedChanged) for each in event.after}
    certificates = connection.exec_driver_sql(_CERTIFICATES_OF, (json.dumps(list(presented)),)).mappings()
    targets = _watched(connection, {stored(event.target) for event in events})
    watched = json.dumps([row["id"] for row in targets])
    presentations, findings, failed_looks = (
        list(map(dict, connection.exec_driver_sql(sql, (watched,)).mappings())) for sql in _CURRENT.values()
    )
    current: Mapping[Table, dict[Hashable, Row]] = {
        _CERTIFICATES: {row["sha256"]: dict(row) for row in certificates},
        _TARGETS: {row["name"]: row for row in targets},
        _PRESENTATIONS: {row["target"]: row for row in presentations},
        _FINDINGS: {(row["target"], row["code"], row["subject"]): row for row in findings},
        _FAILED_LOOKS: {row["target"]: row for row in failed_looks},
        _DAYS: _days(connection, events),
    }
    newest = connection.exec_driver_sql(_NEWEST).one()
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


def _days(connection: Connection, events: Iterable[StateEvent]) -> dict[Hashable, Row]:
    """Return the days of these events, with the targets that they are about."""
    about = {(stored(each.target), int(each.at // DAY)) for each in events if not isinstance(each, _NO_CHANGE)}
    days = {day for _, day in about}
    return {
        (row["name"], row["day"]): dict(row)
        for some in _batches({name for name, _ in about})
        for row in connection.execute(select(_DAYS).where(_DAYS.c.name.in_(some), _DAYS.c.day.in_(days))).mappings()
    }


_NO_CHANGE: Final = (TargetAdded, TargetRemoved, IdentityChanged, SupportedChanged, ActionEnded)
"""Events that never end a row which began on the same day, or are few."""


def _watched(connection: Connection, names: Iterable[object]) -> list[Row]:
    return [
        dict(row)
        for some in _batches(names)
        for row in connection.execute(
            select(_TARGETS).where(_TARGETS.c.name.in_(some), _TARGETS.c.removed_at.is_(None))
        ).mappings()
    ]


def _save(connection: Connection, rows: Rows) -> None:
    for table, ledger in zip(_WRITTEN, rows.ledgers, strict=True):
        if ledger.gone:
            connection.execute(delete(table).where(table.c.id.in_(ledger.gone)))
        # Ends come first, since a new target may take the name of an old one.
        if ledger.changed:
            connection.exec_driver_sql(_UPDATE[table], list(ledger.changed.values()))
        if ledger.new:
            connection.exec_driver_sql(_INSERT[table], list(ledger.new.values()))


def _batches(values: Iterable[object]) -> Iterator[list[object]]:
    remaining = iter(values)
    while batch := list(islice(remaining, _VARIABLES)):
        yield batch


def _file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
