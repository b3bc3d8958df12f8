"""A service at work: tested, put onto what is on disk, stopped and started, and how one tells that it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actions.world import Ran, World
from config.service import Activation, Command, Service


@dataclass(frozen=True, slots=True)
class Trouble:
    """A command of a service did not do what it is for."""

    ran: Ran
    timeout: float

    @property
    def timed_out(self) -> bool:
        """Whether it was killed rather than ended."""
        return self.ran.status is None

    @property
    def sentence(self) -> str:
        """What happened, printable."""
        command = " ".join(self.ran.command)
        how = f"did not end within {self.timeout:g} s" if self.timed_out else f"ended with status {self.ran.status}"
        return f"`{command}` {how}" + (f": {self.ran.output[-400:]}" if self.ran.output else "")


def steps(service: Service) -> tuple[Command, ...]:
    """Return the commands that a transaction runs where nothing goes wrong, in that order."""
    stopped = (service.stop, service.test, service.start) if service.quiesce else (service.test, _activation(service))
    return tuple(each for each in (service.test, *stopped) if each is not None)


def test(world: World, service: Service) -> Trouble | None:
    """Run the service's own test of its configuration; None where it passes or there is none."""
    return _first_trouble(world, service, (service.test,))


def stop(world: World, service: Service) -> Trouble | None:
    """Stop a service that is to be stopped for the switch; None where that worked or it is not."""
    return _first_trouble(world, service, (service.stop if service.quiesce else None,))


def activate(world: World, service: Service) -> Trouble | None:
    """Put the service onto what is on disk, as it is declared to."""
    return _first_trouble(world, service, (service.start if service.quiesce else _activation(service),))


def _activation(service: Service) -> Command | None:
    return service.reload if service.activate is Activation.RELOAD else service.restart


def activate_again(world: World, service: Service) -> Trouble | None:
    """Put the service back onto what is on disk, when what was tried before may have left it dead."""
    if service.activate is Activation.RELOAD and not service.quiesce and activate(world, service) is None:
        return None
    return revive(world, service)


def revive(world: World, service: Service) -> Trouble | None:
    """Restart the service, also one that its supervisor has given up on."""
    if service.reset is not None:
        # It fails where there is nothing to forget.
        world.run(service.reset, service.timeout)
    return _first_trouble(world, service, (service.restart,))


def identity(world: World, service: Service) -> str | None:
    """Return what differs from one process of the service to the next; None where that is not known."""
    if service.identity is None:
        return None
    ran = world.run(service.identity, service.timeout)
    return ran.output if ran.ok and ran.output else None


def _first_trouble(world: World, service: Service, commands: Sequence[Command | None]) -> Trouble | None:
    for command in commands:
        if command is not None:
            ran = world.run(command, service.timeout)
            if not ran.ok:
                return Trouble(ran, service.timeout)
    return None
