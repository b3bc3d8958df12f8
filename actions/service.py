"""A service at work: tested, put onto what is on disk, stopped and started, and how one tells that it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from actions.process import ProcessId
from actions.world import Ran, World
from config.service import Activation, Command, Job, Service, job_of
from config.text import printable

_MAY_BECOME_THE_SERVER: Final = frozenset({"reload", "restart", "start"})
"""Commands after which a process that listens is what they are for."""


@dataclass(frozen=True, slots=True)
class Running:
    """A command of a service under way, as the journal has it."""

    what: str
    """Which command of the service it is, as in its declaration: test, reload, restart, stop, start or reset."""
    command: Command
    limit: float
    """Seconds that it has from its start."""
    process: ProcessId

    @property
    def job(self) -> Job | None:
        """What systemd was asked for, which goes on when the one who asked is gone."""
        return job_of(self.command)

    @property
    def may_become_the_server(self) -> bool:
        """Whether what it leaves listening is not ended with it."""
        return self.what in _MAY_BECOME_THE_SERVER

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, the job as systemd writes it."""
        job = {} if self.job is None else {"job": f"{self.job.unit}/{self.job.verb}"}
        return {"what": self.what, "command": self.command, "limit": self.limit, **self.process.to_json(), **job}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the command of `to_json`; raises KeyError, TypeError or ValueError for anything else."""
        command = tuple(map(str, plain["command"]))
        return cls(str(plain["what"]), command, float(plain["limit"]), ProcessId.from_json(plain))


Begun = Callable[[Running], None]
"""Is told of a command before it does anything; where it raises, the command never does."""


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


Act = Callable[[World, Service, Begun | None], Trouble | None]
"""Has a service do something; returns None where that worked."""


def test(world: World, service: Service, begun: Begun | None = None) -> Trouble | None:  # noqa: PT028 (no test of pytest)
    """Run the service's own test of its configuration; None where it passes or there is none."""
    return _run(world, service, "test", begun)


def stop(world: World, service: Service, begun: Begun | None = None) -> Trouble | None:
    """Stop a service that is to be stopped for the switch; None where that worked or it is not."""
    return _run(world, service, "stop", begun) if service.quiesce else None


def activate(world: World, service: Service, begun: Begun | None = None) -> Trouble | None:
    """Put the service onto what is on disk, as it is declared to."""
    return _run(world, service, "start" if service.quiesce else service.activate, begun)


def _activation(service: Service) -> Command | None:
    return service.reload if service.activate is Activation.RELOAD else service.restart


def activate_again(world: World, service: Service, begun: Begun | None = None) -> Trouble | None:
    """Put the service back onto what is on disk, when what was tried before may have left it dead."""
    reloads = service.activate is Activation.RELOAD and not service.quiesce
    if reloads and activate(world, service, begun) is None:
        return None
    return revive(world, service, begun)


def revive(world: World, service: Service, begun: Begun | None = None) -> Trouble | None:
    """Restart the service, also one that its supervisor has given up on."""
    # It fails where there is nothing to forget.
    _run(world, service, "reset", begun)
    return _run(world, service, "restart", begun)


def begin(world: World, service: Service, begun: Begun | None = None) -> Trouble | None:
    """Start the service where it is down, also one that its supervisor has given up on."""
    # It fails where there is nothing to forget.
    _run(world, service, "reset", begun)
    return _run(world, service, "restart" if service.start is None else "start", begun)


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


def _run(world: World, service: Service, what: str, begun: Begun | None) -> Trouble | None:
    """Run one command of a service, where it has that; `begun` is told of it first."""
    command: Command | None = getattr(service, what)
    if command is None:
        return None

    note = None if begun is None else partial(_note, begun, what, command, service.timeout)
    ran = world.run(command, service.timeout, note, spare_server=what in _MAY_BECOME_THE_SERVER)
    return None if ran.ok else Trouble(ran, service.timeout)


def _note(begun: Begun, what: str, command: Command, limit: float, process: ProcessId) -> None:
    begun(Running(what, command, limit, process))
