"""The memory of a running daemon: it takes events without ever waiting, and one thread writes them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from config.text import Log, harmless, printable
from monitor.notify.outbox import Changes, OutboxState, no_changes
from monitor.state.events import StateEvent
from monitor.state.target import TargetState
from monitor.store.catchup import differences
from monitor.store.database import claim, prepare, reading, set_aside
from monitor.store.health import Degraded, DegradedReason, degraded
from monitor.store.outbox import load_kept
from monitor.store.reader import current, decisions, load, newest_action
from monitor.store.writer import RowWriter, Written

_GATHER: Final = 0.1
"""Seconds for which more events are awaited, so that many share one transaction."""
_AT_ONCE: Final = 2_000
"""Events in one transaction: bounds the memory that their rows take."""
_BACK_OFF: Final = (0.1, 0.5, 2.0, 10.0)
"""Seconds between attempts; the last one repeats."""
_MISSED: Final = Degraded(
    DegradedReason.BEHIND, "changes could not be recorded one by one; the states of now are being written instead"
)
_log: Final[Log] = logging.getLogger("certvigil.store")


class Store:
    """Records events in the database at `path`, and the states of the targets where events could not be recorded.

    Nothing that befalls the database reaches the caller: events wait, at most `limit` of them; when there are more, or
    the database had to be begun anew, `snapshot` is asked for all states and the database is made to say these.

    The state of notifications is kept in the same way: `kept` returns all of it, for a database begun anew.

    `snapshot`, `kept` and `on_health` are called in the writer's thread (`on_health` also by `load`): the first two
    return a copy that nobody changes, the last is told each time that the database cannot be used, and None when it can
    again.
    States must be changed before the events that say so are recorded, so that no snapshot lacks an earlier event.
    """

    def __init__(
        self,
        path: str,
        *,
        snapshot: Callable[[], Iterable[TargetState]],
        on_health: Callable[[Degraded | None], None],
        kept: Callable[[], OutboxState] = lambda: OutboxState({}, {}, {}),
        clock: Callable[[], float] = time.time,
        limit: int = 100_000,
    ) -> None:
        self._path = path
        self._snapshot = snapshot
        self._everything_kept = kept
        self._on_health = on_health
        self._clock = clock
        self._limit = limit
        self._health: Degraded | None = None
        self._writer: RowWriter | None = None
        self._claim: int | None = None
        """A descriptor."""
        self._had_content = False
        self.left_out = 0
        """Changes of targets that were left out in this run, because too many were on one day."""
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        # The attributes below are shared between threads, under this condition.
        self._changed = threading.Condition()
        self._events: list[StateEvent] = []
        self._behind = False
        self._changes = no_changes()
        self._forgotten = False
        """The kept state is not in the database."""
        self._wait_for_changes: list[Callable[[], None]] = []
        self._prune_before: float | None = None
        self._closing = False

    def load(self) -> Mapping[str, TargetState]:
        """Return the last record of each watched target, by name; nothing where that cannot be read.

        To be called before `start`. An older database is migrated; one that cannot be read is dealt with once writing
        has started.
        """
        result = load(self._path)
        if isinstance(result, Degraded) and result.reason is DegradedReason.OTHER_REVISION:
            try:
                if prepare(self._path, self._clock()):
                    self._say(result)
            except Exception as error:  # noqa: BLE001 (alembic and SQLAlchemy raise too many kinds to name)
                result = degraded(error)
            else:
                result = load(self._path)
        if isinstance(result, Degraded):
            if result.reason is not DegradedReason.MISSING:
                self._behind = True
                self._say(result)
            return {}
        self._had_content = bool(result)
        return result

    def load_kept(self) -> OutboxState:
        """Return the state of notifications; to be called after `load`."""
        result = load_kept(self._path)
        return OutboxState({}, {}, {}) if isinstance(result, Degraded) else result

    @property
    def usable(self) -> bool:
        """Whether a record is probably written soon."""
        return self._thread.is_alive() and self._health is None and not self._closing

    def decisions(self) -> list[tuple[str, str, str]]:
        """Return subject, identity and status of each decision that is recorded, oldest first."""
        found = decisions(self._path)
        return [] if isinstance(found, Degraded) else found

    def newest_action(self) -> float:
        """Return the Unix time of the last transaction that is recorded; to be called after `load`.

        Where nothing is recorded, all that the actor's journal has is news; where that cannot be read, nothing is.
        """
        newest = newest_action(self._path)
        if isinstance(newest, Degraded):
            return 0.0 if newest.reason is DegradedReason.MISSING else self._clock()
        return newest

    def start(self) -> None:
        """Begin to write; best once everything was looked at, which is what the processor is for until then."""
        self._thread.start()

    def record(self, events: Iterable[StateEvent]) -> None:
        """Take `events` to be written soon. Never waits for the database, never raises on its behalf."""
        with self._changed:
            # Once behind, the snapshot will say it.
            if self._behind or self._closing:
                return
            self._events.extend(events)
            self._bound()
            self._changed.notify()

    def keep(self, changes: Changes, done: Callable[[], None] = lambda: None) -> None:
        """Take `changes` to be written soon, then call `done` in the writer's thread; waits no more than `record`."""
        with self._changed:
            self._changes.add(changes)
            self._wait_for_changes.append(done)
            self._changed.notify()

    def prune(self, before: float) -> None:
        """Have records deleted that ended before that Unix time; records that are true now always stay."""
        with self._changed:
            self._prune_before = before
            self._changed.notify()

    def close(self, timeout: float) -> bool:
        """Write the waiting records, close the file, and return whether all of it was done within `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is None:
            return not self._has_work()
        self._thread.join(timeout)
        return not self._thread.is_alive() and not self._has_work()

    def _bound(self) -> None:
        if len(self._events) > self._limit:
            self._events = []
            self._behind = True

    def _run(self) -> None:
        failures = 0
        while self._await_work():
            last = self._closing
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 (whatever it is, it must neither end the writer nor go unsaid)
                self._fail(error)
                if last:
                    break
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, _BACK_OFF[min(failures, len(_BACK_OFF) - 1)])
                failures += 1
            else:
                failures = 0
                self._say(None)
        self._disconnect()

    def _await_work(self) -> bool:
        """Wait for something to do; return False where there will be nothing any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._has_work())
            self._changed.wait_for(lambda: self._closing, _GATHER)
            return self._has_work()

    def _has_work(self) -> bool:
        return (
            bool(self._events or self._changes or self._wait_for_changes)
            or self._behind
            or self._prune_before is not None
        )

    def _work(self) -> None:
        """Write the waiting records; those that could not be written wait again. Raises any error of the database."""
        writer = self._connect()
        self._keep(writer)
        with self._changed:
            events, self._events = self._events, []
            behind, self._behind = self._behind, False
            before = self._prune_before
        try:
            if behind:
                self._say(self._health or _MISSED)
                with reading(self._path) as connection:
                    recorded = current(connection)
                events = list(differences(recorded, self._snapshot(), self._clock()))
            while events:
                written = writer.write(events[:_AT_ONCE])
                del events[:_AT_ONCE]
                self._had_content = True
                self._keep(writer)
                self._note(written)
        except Exception:
            with self._changed:
                self._behind |= behind
                self._events = [] if self._behind else events + self._events
                self._bound()
            raise
        if before is not None:
            writer.prune(before)
            with self._changed:
                if self._prune_before == before:
                    self._prune_before = None

    def _note(self, written: Written) -> None:
        """Log and count what was not written."""
        self.left_out += written.left_out
        if written.strangers:
            _log.warning("%d events were about targets that are not watched", written.strangers)
        for target in written.restless:
            _log.warning(
                "%s changes too often: of its changes today, only the last is recorded from now on", printable(target)
            )

    def _keep(self, writer: RowWriter) -> None:
        """Write the state of notifications; changes that could not be written wait again."""
        with self._changed:
            changes, self._changes = self._changes, no_changes()
            done, self._wait_for_changes = self._wait_for_changes, []
            forgotten, self._forgotten = self._forgotten, False
        if forgotten:
            whole = self._everything_kept()
            changes.add(Changes(dict(whole.alerts), dict(whole.deliveries), dict(whole.silences)))
        try:
            if changes:
                writer.keep(changes)
        except Exception:
            with self._changed:
                changes.add(self._changes)
                self._changes = changes
                self._wait_for_changes = [*done, *self._wait_for_changes]
            raise
        for each in done:
            each()

    def _connect(self) -> RowWriter:
        if self._writer is not None and not self._writer.is_current():
            _log.warning("the database was removed or replaced; it is begun anew")
            self._disconnect()
        if self._writer is None:
            self._claim = claim(self._path)
            created = prepare(self._path, self._clock())
            self._writer = RowWriter(self._path)
            if created:
                self._forgotten = True
                if self._had_content:
                    self._miss()
        return self._writer

    def _miss(self) -> None:
        with self._changed:
            self._events = []
            self._behind = True

    def _fail(self, error: Exception) -> None:
        health = degraded(error)
        if health.reason is DegradedReason.FAILED:
            _log.error("the database failed", exc_info=error)
        self._disconnect()
        if health.reason is DegradedReason.CORRUPT:
            self._miss()
            try:
                set_aside(self._path, "corrupt", self._clock())
            except OSError as unable:
                health = degraded(unable)
        self._say(health)

    def _disconnect(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except Exception as error:  # noqa: BLE001 (a connection that failed may fail to close as well)
                _log.debug("closing the database failed: %s", harmless(degraded(error).detail))
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _say(self, health: Degraded | None) -> None:
        if health == self._health:
            return
        self._health = health
        if health is None:
            _log.info("the database can be used again")
        else:
            _log.warning("the database is degraded (%s): %s", health.reason, harmless(health.detail))
        try:
            self._on_health(health)
        except Exception:  # noqa: BLE001 (an event loop that was closed must not end the writer)
            _log.exception("the report of the database's health failed")
