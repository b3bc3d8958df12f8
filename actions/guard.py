"""A world in which no command by which a service takes up files is run before these were looked at once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from actions.world import Ran, World
from config.service import Command, Service

_NOT_RUN: Final = 126
"""The exit status that a shell gives for what it found and did not run."""


class Guarded(World):
    """Runs commands in another world, for one service."""

    def __init__(self, world: World, service: Service, check: Callable[[], str]) -> None:
        """Have `check` say, as a sentence, why the service must not take up its files now; empty where it may."""
        self._world = world
        self._activating = {service.reload, service.restart, service.start}
        self._check = check

    def run(self, command: Command, timeout: float, *given: Any, **named: Any) -> Ran:
        """Run a command, unless it activates and the files are not what they should be."""
        if command in self._activating and (why := self._check()):
            return Ran(command, _NOT_RUN, f"not run: {why}")
        return self._world.run(command, timeout, *given, **named)
