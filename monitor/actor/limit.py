"""The time that a plan for the daemon may take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from monitor.actor.work import Work

LONGEST: Final = 20.0
"""Seconds after which a plan for the daemon is given up, before its next component."""


class TooSlowError(Exception):
    """A plan for the daemon takes too long."""


def limit(work: Work) -> Callable[[], None]:
    """Return a function that raises TooSlowError once a plan for the daemon takes too long.

    The plan holds the turn, for which an operator may wait, and others write the files that it is made from.
    """
    world = work.context.world
    end = world.monotonic() + LONGEST

    def go_on() -> None:
        if not work.attended and world.monotonic() > end:
            raise TooSlowError

    return go_on
