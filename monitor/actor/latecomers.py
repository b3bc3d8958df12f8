"""Having an actor compare files that were replaced once more at the end of their time, though nobody asks for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from actions import aside
from actions.backup import BackupError
from actions.journal import JournalError
from actions.late import Compared, look_again
from config.text import printable
from monitor.actor.door import Turn
from monitor.actor.workbench import Workbench

log = logging.getLogger("certvigil.actor")

LONGEST: Final = 60.0
"""Seconds between two looks at the journal: another process may have replaced something."""
_AGAIN: Final = 5.0
"""Seconds until what could not be done is tried again."""


class Latecomers:
    """Compares in time, on a thread of its own, in its turn among those who act."""

    def __init__(
        self,
        bench: Callable[[], AbstractContextManager[Workbench]],
        turn: Turn,
        stopping: threading.Event,
    ) -> None:
        self._bench = bench
        self._turn = turn
        self._stopping = stopping
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._live, name="latecomers", daemon=True)
        self._thread.start()

    def stop(self, within: float) -> None:
        """Wait until it has noticed that the actor stops, `within` seconds at most."""
        if self._thread is not None:
            self._thread.join(within)

    def _live(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                wait = self.attend()
            except (JournalError, BackupError, OSError) as error:
                log.warning("files that were replaced are not compared: %s", printable(str(error)))
                wait = LONGEST
            except Exception:
                log.exception("files that were replaced are not compared, for a reason that was not foreseen")
                wait = LONGEST

    def attend(self) -> float:
        """Do what is due; return in how many seconds there is more to do. Raises JournalError, BackupError, OSError."""
        with self._bench() as bench:
            now = bench.world.now()
            kept = aside.waiting(bench.setting.journal.records()).values()
            if not any(each.is_due(now) for each in kept):
                return aside.until_due(kept, now, LONGEST)
            with self._turn.taken(_AGAIN) as had:
                if not had or self._stopping.is_set():
                    return _AGAIN
                compared = look_again(bench.setting)
        tell(compared)
        return LONGEST if compared.troubles else _AGAIN


def tell(compared: Compared) -> None:
    """Write to the log what somebody wrote too late, and what could not be compared."""
    for each in compared.late:
        log.warning("%s: %s", each.component, each.sentence)
    for trouble in compared.troubles:
        log.warning("%s", trouble)
