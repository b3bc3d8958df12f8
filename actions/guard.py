"""The last look at files, immediately before each command by which a service takes them up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from actions.process import ProcessId
from actions.service import Trouble
from actions.transaction_state import TransactionState
from actions.world import ORDINARY, Place, Ran, World
from config.service import Command, Service

_NOT_RUN: Final = 126
"""The exit status that a shell gives for a command that it found and did not run."""


class _DisplacedError(Exception):
    """The files are no longer the files to take up; the message is a sentence."""


def onto_checked(
    state: TransactionState, act: Callable[..., Trouble | None], check: Callable[[Service], str]
) -> Callable[..., Trouble | None]:
    """Return `act` for services with `check` made once more immediately before each activating command.

    Where a command is not run, `displaced` of the state says why; else `activated` is set.
    """

    def guarded(world: World, one: Service, *more: Any) -> Trouble | None:
        def checked() -> str:
            state.displaced = check(one)
            state.activated = state.activated or not state.displaced
            return state.displaced

        return act(Guarded(world, one, checked), one, *more)

    return guarded


class Guarded(World):
    """Another world for one service, in which no activating command is run before a check of the files."""

    def __init__(self, world: World, service: Service, check: Callable[[], str]) -> None:
        """Take a `check` that returns why the service must not take up its files, a sentence; empty where it may."""
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
        place: Place = ORDINARY,
    ) -> Ran:
        """Run a command, unless it activates and the check fails.

        The check is repeated when the command is in the journal, and has done nothing yet.
        """
        if command not in self._activating:
            return self._world.run(command, timeout, begun, spare_server=spare_server, place=place)

        def looked_at(process: ProcessId) -> None:
            if begun is not None:
                begun(process)
            self._look()

        try:
            self._look()
            observed = None if begun is None else looked_at
            return self._world.run(command, timeout, observed, spare_server=spare_server, place=place)
        except _DisplacedError as displaced:
            return Ran(command, _NOT_RUN, f"not run: {displaced}")

    def _look(self) -> None:
        if why := self._check():
            raise _DisplacedError(why)
