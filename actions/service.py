"""The commands of a service: test, reload, restart, stop and start, and the proof that it was restarted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Self

from actions.process import ProcessId
from actions.world import Ran, World
from config.immutable import immutable
from config.service import Activation, Command, Job, Service, job_of
from config.text import printable

_MAY_BECOME_THE_SERVER: Final = frozenset({"reload", "restart", "start"})
"""Commands that may become the server themselves."""


@immutable
class Running:
    """A command of a service under way, as in the journal."""

    what: str
    """Which command of the service it is, as in its declaration: test, reload, restart, stop, start or reset."""
    command: Command
    limit: float
    """Seconds from its start until it is ended."""
    process: ProcessId

    @property
    def job(self) -> Job | None:
        """The job of systemd, which goes on when the command is gone."""
        return job_of(self.command)

    @property
    def may_become_the_server(self) -> bool:
        """Whether processes of it that listen are not ended with it."""
        return self.what in _MAY_BECOME_THE_SERVER

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the job as systemd writes it."""
        job = {} if self.job is None else {"job": f"{self.job.unit}/{self.job.verb}"}
        return {"what": self.what, "command": self.command, "limit": self.limit, **self.process.to_json(), **job}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the command of `to_json`; raises KeyError, TypeError or ValueError for anything else."""
        command = tuple(map(str, plain["command"]))
        return cls(str(plain["what"]), command, float(plain["limit"]), ProcessId.from_json(plain))


OnBegin = Callable[[Running], None]
"""Receives a command before the command does anything; where it raises, the command never does."""


@immutable
class Trouble:
    """A command of a service failed."""

    ran: Ran
    timeout: float
    of: str = ""
    """The components whose service it is, where a transaction has others, too; printable."""

    @property
    def timed_out(self) -> bool:
        """Whether it was killed at its time limit."""
        return self.ran.status is None

    @property
    def sentence(self) -> str:
        """The result, printable."""
        command = " ".join(self.ran.command)
        how = f"did not end within {self.timeout:g} s" if self.timed_out else f"ended with status {self.ran.status}"
        whose = f"{self.of}: " if self.of else ""
        return f"{whose}`{command}` {how}" + (f": {self.ran.output[-400:]}" if self.ran.output else "")


def commands_of(service: Service) -> tuple[Command, ...]:
    """Return the commands of a transaction without failures, in that order."""
    stopped = (service.stop, service.test, service.start) if service.quiesce else (service.test, _activation(service))
    return tuple(each for each in (service.test, *stopped) if each is not None)


Act = Callable[[World, Service, OnBegin | None], Trouble | None]
"""Has a service act; returns None where that worked."""


def test(world: World, service: Service, begun: OnBegin | None = None) -> Trouble | None:  # noqa: PT028 (no test of pytest)
    """Run the configuration test of the service; None where it passes or there is none."""
    return _run(world, service, "test", begun)


def stop(world: World, service: Service, begun: OnBegin | None = None) -> Trouble | None:
    """Stop a service that must not run during the switch; None where that worked or it may run."""
    return _run(world, service, "stop", begun) if service.quiesce else None


def activate(world: World, service: Service, begun: OnBegin | None = None) -> Trouble | None:
    """Put the service onto the files on disk, by its declared command."""
    return _run(world, service, "start" if service.quiesce else service.activate, begun)


def _activation(service: Service) -> Command | None:
    return service.reload if service.activate is Activation.RELOAD else service.restart


def activate_again(world: World, service: Service, begun: OnBegin | None = None) -> Trouble | None:
    """Put the service back onto the files on disk, where an earlier command may have left it dead."""
    reloads = service.activate is Activation.RELOAD and not service.quiesce
    if reloads and activate(world, service, begun) is None:
        return None
    return revive(world, service, begun)


def revive(world: World, service: Service, begun: OnBegin | None = None) -> Trouble | None:
    """Restart the service, even where its supervisor has given it up."""
    # It fails where the supervisor has no failure to forget.
    _run(world, service, "reset", begun)
    return _run(world, service, "restart", begun)


def begin(world: World, service: Service, begun: OnBegin | None = None) -> Trouble | None:
    """Start a service that is down, even where its supervisor has given it up."""
    # It fails where the supervisor has no failure to forget.
    _run(world, service, "reset", begun)
    return _run(world, service, "restart" if service.start is None else "start", begun)


def may_start(world: World, service: Service, *, stopped: bool, activated: bool) -> str:
    """Return why certvigil must not start a service that is down, as the end of a sentence; empty where it may.

    It may where this transaction `stopped` the service or the service failed, never where a person stopped, disabled or
    masked it. Without a supervisor that tells, it may where this transaction stopped or `activated` it.
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
    """Return the properties of a service by its supervisor; empty where there is none, or it does not answer."""
    if service.state is None:
        return {}
    ran = world.run(service.state, service.timeout)
    pairs = (each.partition("=") for each in ran.output.split(" / ")) if ran.ok else ()
    return {name: value for name, equals, value in pairs if equals}


def identity(world: World, service: Service) -> str | None:
    """Return a value that differs between two processes of the service; None where none is known."""
    if service.identity is None:
        return None
    ran = world.run(service.identity, service.timeout)
    return ran.output if ran.ok and ran.output else None


def _run(world: World, service: Service, what: str, begun: OnBegin | None) -> Trouble | None:
    """Run one command of a service, where it is declared; `begun` receives it first."""
    command: Command | None = getattr(service, what)
    if command is None:
        return None

    note = None if begun is None else partial(_note, begun, what, command, service.timeout)
    ran = world.run(command, service.timeout, note, spare_server=what in _MAY_BECOME_THE_SERVER)
    return None if ran.ok else Trouble(ran, service.timeout)


def _note(begun: OnBegin, what: str, command: Command, limit: float, process: ProcessId) -> None:
    begun(Running(what, command, limit, process))
