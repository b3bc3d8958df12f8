"""A world in which no command by which a service takes up files is run before these were looked at once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from actions.process import ProcessId
from actions.world import Ran, World
from config.service import Command, Service

_NOT_RUN: Final = 126
"""The exit status that a shell gives for what it found and did not run."""


class _DisplacedError(Exception):
    """The files are no longer those to take up; the message is a sentence."""


class Guarded(World):
    """Runs commands in another world, for one service."""

    def __init__(self, world: World, service: Service, check: Callable[[], str]) -> None:
        """Have `check` say, as a sentence, why the service must not take up its files now; empty where it may."""
        self._world = world
        self._activating = {service.reload, service.restart, service.start}
        self._check = check

    def run(
        self,
        command: Command,
        timeout: float,
        begun: Callable[[ProcessId], None] | None = None,
        *,
        spare_server: bool = False,
    ) -> Ran:
        """Run a command, unless it activates and the files are not what they should be.

        That is looked at once more when the command is in the journal, and has done nothing yet.
        """
        if command not in self._activating:
            return self._world.run(command, timeout, begun, spare_server=spare_server)

        def looked_at(process: ProcessId) -> None:
            if begun is not None:
                begun(process)
            self._look()

        try:
            self._look()
            return self._world.run(command, timeout, None if begun is None else looked_at, spare_server=spare_server)
        except _DisplacedError as displaced:
            return Ran(command, _NOT_RUN, f"not run: {displaced}")

    def _look(self) -> None:
        if why := self._check():
            raise _DisplacedError(why)
