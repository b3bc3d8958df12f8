"""A service at work: tested, put onto what is on disk, stopped and started, and how one tells that it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actions.world import Ran, World
from config.service import Activation, Command, Service
from config.text import printable


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


def begin(world: World, service: Service) -> Trouble | None:
    """Start the service where it is down, also one that its supervisor has given up on."""
    if service.reset is not None:
        # It fails where there is nothing to forget.
        world.run(service.reset, service.timeout)
    return _first_trouble(world, service, (service.start or service.restart,))


def may_start(world: World, service: Service, *, stopped: bool, activated: bool) -> str:
    """Say why a service that is down is not to be started by us, as the end of a sentence; empty where it may be.

    It may where we `stopped` it or it failed, never where a person stopped, disabled or masked it. Of one without a
    supervisor that tells, only what we did ourselves is known: that it was stopped, or `activated`.
    """
    shown = supervised(world, service)
    if "ActiveState" not in shown:
        return "" if stopped or activated else "who stopped it is not known"
    for state in (shown.get("LoadState", ""), shown.get("UnitFileState", "")):
        if state.startswith("masked") or state == "disabled":
            return f"its unit is {printable(state)}"
    match shown["ActiveState"]:
        case "failed":
            return ""
        case "inactive" | "deactivating":
            return "" if stopped else "somebody stopped it"
        case state:
            return f"its unit is {printable(state)}"


def supervised(world: World, service: Service) -> dict[str, str]:
    """Return what the supervisor knows of a service, by property; nothing where there is none, or it does not say."""
    if service.state is None:
        return {}
    ran = world.run(service.state, service.timeout)
    pairs = (each.partition("=") for each in ran.output.split(" / ")) if ran.ok else ()
    return {name: value for name, equals, value in pairs if equals}


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
