"""The actor's work without a request: interrupted transactions, late writes, and offers that nobody took.

Whatever a killed process left half done is finished or undone, and files that were replaced are compared once more at
the end of their time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Final

from actions import aside
from actions.backup import BackupError
from actions.ending import Ending, Outcome
from actions.journal import JournalError
from actions.late import Compared, look_again
from actions.recover import left_to_others, recover
from config.text import Log, Printable, harmless, printable
from monitor.actor.context import ActorContext
from monitor.actor.door import Turn
from monitor.actor.offer_list import expire_offers

log: Log = logging.getLogger("certvigil.actor")

LONGEST: Final = 60.0
"""Seconds between two looks at the journal: another process may have replaced something."""
OFFERS: Final = 3600.0
"""Seconds between two looks for offers whose time is over."""
_ACT: Final = Printable("a look for interrupted transactions and for late writes")
_AGAIN: Final = 5.0
"""Seconds until failed work is tried again."""


class Leftovers:
    """Does so on a thread of its own, in its turn among those who act."""

    def __init__(
        self,
        context: Callable[[], AbstractContextManager[ActorContext]],
        turn: Turn,
        stopping: threading.Event,
    ) -> None:
        self._context = context
        self._turn = turn
        self._stopping = stopping
        self._thread: threading.Thread | None = None
        self._offers_seen = -OFFERS
        """Monotonic time at which offers were last looked at."""

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._live, name="leftovers", daemon=True)
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
                log.warning("work without a request failed, and is tried again: %s", printable(str(error)))
                wait = LONGEST
            except Exception:
                log.exception("work without a request failed for no foreseen reason, and is tried again")
                wait = LONGEST

    def attend(self) -> float:
        """Do all due work; return the seconds until the next work. Raises JournalError, BackupError, OSError."""
        with self._context() as context:
            now, journal_state = context.world.now(), context.journal_state()
            kept, half_done = journal_state.aside.values(), bool(journal_state.unfinished)
            old_offers = time.monotonic() - self._offers_seen >= OFFERS
            if not half_done and not old_offers and not any(each.is_due(now) for each in kept):
                return aside.until_due(kept, now, LONGEST)
            with self._turn.taken(_AGAIN, act=_ACT) as had:
                if not had or self._stopping.is_set():
                    return _AGAIN
                if old_offers:
                    self._offers_seen = time.monotonic()
                    expire_offers(context)
                endings = recover(context.transaction) if half_done else ()
                compared = look_again(context.transaction)
        tell_recovered(endings)
        tell(compared)
        return LONGEST if half_done or compared.troubles else _AGAIN


def tell_recovered(endings: Iterable[Ending]) -> None:
    """Write the endings of interrupted transactions to the log; whoever is at work on it still, ends it himself."""
    for ending in endings:
        if not left_to_others(ending):
            well = ending.outcome in {Outcome.COMMITTED, Outcome.SUPERSEDED}
            log.log(logging.INFO if well else logging.ERROR, "recovered: %s", harmless(ending.sentence))


def tell(compared: Compared) -> None:
    """Write late writes, and files that could not be compared, to the log."""
    for each in compared.late:
        log.warning("%s: %s", printable(each.component), harmless(each.sentence))
    for trouble in compared.troubles:
        log.warning("%s", harmless(trouble))
