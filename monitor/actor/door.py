"""How many are heard at once, in which order they act, and how much is logged of each: nobody can shut out root."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from config.model import ActorSettings
from config.text import Log, Printable, Shown
from monitor.actor.authority import Role, role_of

log: Log = logging.getLogger("certvigil.actor")

MOST_AT_ONCE: Final = {Role.OPERATOR: 16, Role.DAEMON: 16, Role.STRANGER: 2}
"""Connections of one user; all strangers together count as one user."""
MOST_LINES: Final = 20
"""Lines that one user may cause in the log in a span of `LINES_SPAN` seconds."""
LINES_SPAN: Final = 60.0
_KNOWN_FOR: Final = 10.0
"""Seconds for which it is taken that a name in the settings is the same user's."""
_STRANGERS: Final = -1
_NOTHING: Final = Printable("")


class Door:
    """Counts who is inside, each user apart: a crowd takes the places of nobody but its own user.

    Roles are as known up to ten seconds ago: rights are decided later, by `role_of`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: Counter[int] = Counter()
        self._known: dict[int, tuple[Role, float]] = {}
        self._settings: ActorSettings | None = None

    def enter(self, uid: int, settings: ActorSettings) -> int | None:
        """Return the place that a user takes, which is to be left again; None where all of its places are taken."""
        role = self._role(uid, settings)
        place = _STRANGERS if role is Role.STRANGER else uid
        with self._lock:
            if self._inside[place] >= MOST_AT_ONCE[role]:
                return None
            self._inside[place] += 1
        return place

    def leave(self, place: int) -> None:
        """Give a place back."""
        with self._lock:
            self._inside[place] -= 1

    def _role(self, uid: int, settings: ActorSettings) -> Role:
        now = time.monotonic()
        # A flood may come from many users; a look into the directory of users for each connection would be its aid.
        if self._settings is not settings or len(self._known) > 1000:
            self._known, self._settings = {}, settings
        role, until = self._known.get(uid, (Role.STRANGER, 0.0))
        if now >= until:
            role = role_of(uid, settings)
            self._known[uid] = (role, now + _KNOWN_FOR)
        return role


class Turn:
    """The one turn that acts take: whoever comes `first` has it before all others that wait, however many they are."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = False
        self._first = 0
        self._act = Printable("")

    @property
    def act(self) -> Printable:
        """The act whose turn it is, as it was named; empty where nobody acts."""
        return self._act

    @contextmanager
    def taken(
        self,
        timeout: float | None = None,
        *,
        act: Printable = _NOTHING,
        first: bool = True,
        waits: Callable[[Printable], None] | None = None,
    ) -> Iterator[bool]:
        """Give whether the turn was to be had within `timeout` seconds; None waits for as long as it takes.

        `waits` receives each act that is waited for meanwhile.
        """
        free = self._take(timeout, act, first=first, waits=waits)
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._taken, self._act = False, Printable("")
                    self._changed.notify_all()

    def _take(
        self, timeout: float | None, act: Printable, *, first: bool, waits: Callable[[Printable], None] | None
    ) -> bool:
        end = None if timeout is None else time.monotonic() + timeout
        known = _NOTHING

        def is_free() -> bool:
            return not self._taken and (first or not self._first)

        def is_another() -> bool:
            return waits is not None and self._taken and self._act != known

        with self._changed:
            self._first += first
        try:
            while True:
                with self._changed:
                    left = None if end is None else max(0.0, end - time.monotonic())
                    self._changed.wait_for(lambda: is_free() or is_another(), left)
                    if is_free():
                        self._taken, self._act = True, act
                        return True
                    if waits is None or not is_another():
                        return False
                    known = self._act
                # Without the lock: whoever is told may take long to hear it.
                waits(known)
        finally:
            with self._changed:
                self._first -= first
                self._changed.notify_all()


class BoundedLog:
    """Writes log lines about users, a bounded number for each user, and all lines about operators."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._begun = clock()
        self._written: Counter[int] = Counter()

    def write(self, uid: int, level: int, template: str, *given: Shown, exc_info: BaseException | None = None) -> None:
        """Log a line on behalf of a user, unless too many were already; that there are more is said once."""
        if uid not in {0, os.geteuid()}:
            with self._lock:
                if (now := self._clock()) - self._begun >= LINES_SPAN:
                    self._begun, left_out = now, {each: n - MOST_LINES for each, n in self._written.items()}
                    self._written.clear()
                    for each, number in left_out.items():
                        if number > 0:
                            log.warning("left out %d lines about what uid %d asked for", number, each)
                # However many users take part, this remembers few of them: the others share a count.
                key = uid if uid in self._written or len(self._written) < 100 else _STRANGERS
                self._written[key] += 1
                number = self._written[key]
            if number > MOST_LINES:
                return
            if number == MOST_LINES:
                template += "; further requests of this user within a minute are not logged"
        log.log(level, template, *given, exc_info=exc_info)
