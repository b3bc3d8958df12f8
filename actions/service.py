"""A service: how it is tested, put onto what is on disk, stopped and started, and how one tells that it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from actions.world import Command, Ran, World


class Activation(StrEnum):
    """How a service takes up new files."""

    RELOAD = "reload"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Service:
    """Commands, each None where there is none; raises ValueError where what it must do cannot be done with them."""

    restart: Command
    test: Command | None = None
    """Passes where the service would start on the files as they are."""
    reload: Command | None = None
    stop: Command | None = None
    start: Command | None = None
    activate: Activation = Activation.RESTART
    timeout: float = 30.0
    """Seconds for each command."""
    quiesce: bool = False
    """Stopped while its files are switched, since it might read them at any moment."""
    reset: Command | None = None
    """Makes the supervisor forget that it gave up; run before a restart that undoes."""
    identity: Command | None = None
    """Prints what differs from one process of the service to the next."""

    def __post_init__(self) -> None:
        """Check that the commands that are needed are there."""
        if self.activate is Activation.RELOAD and self.reload is None:
            raise ValueError("a service that is activated by reload needs a reload command")
        if self.quiesce and (self.stop is None or self.start is None):
            raise ValueError("a service that is stopped for the switch needs a stop and a start command")
        for command in (self.restart, self.test, self.reload, self.stop, self.start, self.reset, self.identity):
            if command is not None and not (command and command[0].startswith("/")):
                raise ValueError("a command is a list that begins with an absolute path")


def systemd(
    unit: str,
    *,
    systemctl: str = "/usr/bin/systemctl",
    test: Command | None = None,
    activate: Activation = Activation.RESTART,
    timeout: float = 30.0,
    quiesce: bool = False,
) -> Service:
    """Return the service that a unit of systemd is."""
    return Service(
        restart=(systemctl, "restart", unit),
        test=test,
        reload=(systemctl, "reload", unit),
        stop=(systemctl, "stop", unit),
        start=(systemctl, "start", unit),
        activate=activate,
        timeout=timeout,
        quiesce=quiesce,
        reset=(systemctl, "reset-failed", unit),
        # InvocationID is of systemd 232; an older one leaves the line out, and the other two still tell.
        identity=(systemctl, "show", "-p", "InvocationID,MainPID,ExecMainStartTimestampMonotonic", unit),
    )


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


def test(world: World, service: Service) -> Trouble | None:
    """Run the service's own test of its configuration; None where it passes or there is none."""
    return _first_trouble(world, service, (service.test,))


def stop(world: World, service: Service) -> Trouble | None:
    """Stop a service that is to be stopped for the switch; None where that worked or it is not."""
    return _first_trouble(world, service, (service.stop if service.quiesce else None,))


def activate(world: World, service: Service) -> Trouble | None:
    """Put the service onto what is on disk, as it is declared to."""
    if service.quiesce:
        return _first_trouble(world, service, (service.start,))
    reloads = service.activate is Activation.RELOAD
    return _first_trouble(world, service, (service.reload if reloads else service.restart,))


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
