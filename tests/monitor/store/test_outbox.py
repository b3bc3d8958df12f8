"""What notifications must not forget, kept in the database."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from config.vocabulary import Severity
from monitor.notify.delivery import DeliveryFate
from monitor.notify.outbox import Changes, OutboxState, no_changes
from monitor.store import Degraded, Store
from monitor.store.database import prepare
from monitor.store.outbox import load_kept
from monitor.store.writer import RowWriter
from tests.kit.outbox import ALERT, DELIVERY, SILENCE
from tests.kit.store import DEADLINE

KEPT = OutboxState({(ALERT.channel, ALERT.key): ALERT}, {DELIVERY.id: DELIVERY}, {SILENCE.id: SILENCE})


def changes(kept: OutboxState) -> Changes:
    return Changes(dict(kept.alerts), dict(kept.deliveries), dict(kept.silences))


def keep(path: str, *those: Changes, prune: float | None = None) -> OutboxState:
    """Keep these one after the other, and return what is loaded then."""
    prepare(path, 0.0)
    writer = RowWriter(path)
    for each in those:
        writer.keep(each)
    if prune is not None:
        writer.prune(prune)
    writer.close()
    found = load_kept(path)
    assert isinstance(found, OutboxState), found
    return found


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    assert keep(str(tmp_path / "certvigil.db"), changes(KEPT)) == KEPT


def test_what_changes_takes_the_place_of_what_was_and_what_is_over_is_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "certvigil.db")
    tried = replace(DELIVERY, attempts=9)
    worse = replace(ALERT, severity=Severity.CRITICAL, acknowledged=None)
    later = Changes({(ALERT.channel, ALERT.key): worse}, {DELIVERY.id: tried}, {SILENCE.id: None})
    assert keep(path, changes(KEPT), later) == OutboxState(
        {(ALERT.channel, ALERT.key): worse}, {DELIVERY.id: tried}, {}
    )
    over = Changes({(ALERT.channel, ALERT.key): None}, {}, {})
    assert keep(path, over).alerts == {}


def test_a_message_that_is_done_with_stays_for_as_long_as_history(tmp_path: Path) -> None:
    path = str(tmp_path / "certvigil.db")
    dead = replace(DELIVERY, id="dead", fate=DeliveryFate.DEAD, ended_at=50.0)
    done = replace(DELIVERY, id="done", fate=DeliveryFate.DELIVERED, ended_at=100.0)
    assert set(keep(path, Changes({}, {each.id: each for each in (DELIVERY, dead, done)}, {})).deliveries) == {
        DELIVERY.id,
        "dead",
    }
    keep(path, prune=75.0)
    assert ids(path) == {DELIVERY.id, "done"}
    keep(path, prune=1000.0)
    assert ids(path) == {DELIVERY.id}


def ids(path: str) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM deliveries")}


def test_messages_come_back_oldest_first(tmp_path: Path) -> None:
    deliveries = {str(number): replace(DELIVERY, id=str(number), at=100.0 - number) for number in range(20)}
    found = keep(str(tmp_path / "certvigil.db"), Changes({}, deliveries, {}))
    assert list(found.deliveries) == [str(number) for number in reversed(range(20))]


def test_a_database_without_sense_is_degraded(tmp_path: Path) -> None:
    path = str(tmp_path / "certvigil.db")
    assert isinstance(load_kept(path), Degraded)
    keep(path, changes(KEPT))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE deliveries SET content = '{}'")
        connection.commit()
    assert isinstance(load_kept(path), Degraded)


def test_the_store_says_when_something_is_kept_and_writes_all_of_it_into_a_new_database(tmp_path: Path) -> None:
    path = str(tmp_path / "certvigil.db")
    store = Store(path, snapshot=lambda: (), on_health=lambda _: None, kept=lambda: KEPT)
    store.load()
    assert store.load_kept() == OutboxState({}, {}, {})
    usable = [store.usable]
    store.start()
    usable.append(store.usable)
    first, second = threading.Event(), threading.Event()
    store.keep(no_changes(), first.set)
    assert first.wait(DEADLINE)
    assert load_kept(path) == KEPT
    for each in tmp_path.glob("certvigil.db*"):
        each.unlink()
    store.keep(Changes({}, {}, {SILENCE.id: SILENCE}), second.set)
    assert second.wait(DEADLINE)
    assert load_kept(path) == KEPT
    assert store.close(DEADLINE)
    assert [*usable, store.usable] == [False, True, False]


def test_what_could_not_be_kept_is_kept_once_that_is_possible(tmp_path: Path) -> None:
    path = str(tmp_path / "certvigil.db")
    keep(path)
    healthy, degraded = threading.Event(), threading.Event()
    store = Store(path, snapshot=lambda: (), on_health=lambda health: (healthy if health is None else degraded).set())
    store.load()
    store.start()
    done = threading.Event()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.keep(changes(KEPT), done.set)
        assert degraded.wait(DEADLINE)
        store.keep(Changes({}, {}, {SILENCE.id: None}))
        assert not done.is_set()
        other.execute("ROLLBACK")
    assert done.wait(DEADLINE)
    assert healthy.wait(DEADLINE)
    assert store.close(DEADLINE)
    found = load_kept(path)
    assert isinstance(found, OutboxState)
    assert found == replace(KEPT, silences={})
