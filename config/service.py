"""A service as it is declared: the commands that test, reload or restart, stop and start it."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Final, NamedTuple

from config.immutable import immutable

Command = tuple[str, ...]
"""An argument list that begins with an absolute path; it is never given to a shell."""


_KINDS: Final = (".service", ".socket", ".target", ".path", ".timer", ".slice", ".scope", ".mount")


PROGRESS: Final = (
    *("Type", "ActiveState", "SubState", "NRestarts"),
    *("InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic", "StateChangeTimestampMonotonic"),
    *("TimeoutStartUSec", "TimeoutStopUSec"),
)
"""Properties of a unit, org.freedesktop.systemd1(5), that tell whether it is still starting."""


class Activation(StrEnum):
    """How a service loads new files."""

    RELOAD = "reload"
    RESTART = "restart"


class Job(NamedTuple):
    """A job that a command gives to systemd, which does it by itself from then on."""

    systemctl: str
    """The path of `systemctl`."""
    verb: str
    unit: str


def job_of(command: Command) -> Job | None:
    """Return the job that a command gives to systemd; None where it is no `systemctl VERB UNIT`."""
    program, *arguments = command
    words = [each for each in arguments if not each.startswith("-")]
    if os.path.basename(program) != "systemctl" or len(words) != 2:
        return None
    return Job(program, words[0], unit_name(words[1]))


def unit_name(name: str) -> str:
    """Return the full name of a systemd unit, also where people leave `.service` out."""
    return name if name.endswith(_KINDS) else f"{name}.service"


@immutable
class Service:
    """The commands of a service, None for absent ones; raises ValueError where a needed command is absent."""

    restart: Command
    test: Command | None = None
    """Succeeds if the service would start with the present files."""
    reload: Command | None = None
    stop: Command | None = None
    start: Command | None = None
    activate: Activation = Activation.RESTART
    timeout: float = 30.0
    """The time limit of each command, in seconds."""
    quiesce: bool = False
    """Whether it is stopped while its files are switched, since it may read them at any moment."""
    reset: Command | None = None
    """Makes the supervisor forget that it gave up; it runs before the restart of a rollback."""
    unit: str | None = None
    """Its systemd unit, if it has one."""
    identity: Command | None = None
    """Prints a text that differs for each process of the service."""
    state: Command | None = None
    """Prints its state in the supervisor, such as `ActiveState=failed`; LoadState and UnitFileState, too."""
    writes: tuple[str, ...] = ()
    """Further directories to which its commands write."""

    def __post_init__(self) -> None:
        """Check that all needed commands are there."""
        if self.activate is Activation.RELOAD and self.reload is None:
            raise ValueError("'activate: reload' without 'reload', expected the command for it")
        if self.quiesce and (self.stop is None or self.start is None):
            raise ValueError("'quiesce' without 'stop' and 'start', expected the commands that stop and start it")
        for command in (
            self.restart,
            self.test,
            self.reload,
            self.stop,
            self.start,
            self.reset,
            self.identity,
            self.state,
        ):
            if command is not None and not (command and command[0].startswith("/")):
                raise ValueError("a command is a list that begins with an absolute path")

    @property
    def progress(self) -> Command | None:
        """Prints how far its unit has come with a start or a reload; None where it has none."""
        if self.unit is None or self.state is None:
            return None
        return (self.state[0], "show", "-p", ",".join(PROGRESS), self.unit)

    @property
    def starts_its_server(self) -> bool:
        """Whether its server may be a process that a command has left running, and no systemd unit."""
        return any(each is not None and job_of(each) is None for each in (self.restart, self.start))


def systemd(
    unit: str,
    *,
    systemctl: str = "/usr/bin/systemctl",
    test: Command | None = None,
    activate: Activation = Activation.RESTART,
    timeout: float = 30.0,
    quiesce: bool = False,
    writes: tuple[str, ...] = (),
) -> Service:
    """Return the service of a systemd unit."""
    return Service(
        restart=(systemctl, "restart", unit),
        test=test,
        reload=(systemctl, "reload", unit),
        stop=(systemctl, "stop", unit),
        start=(systemctl, "start", unit),
        activate=activate,
        timeout=timeout,
        quiesce=quiesce,
        unit=unit,
        writes=writes,
        reset=(systemctl, "reset-failed", unit),
        # InvocationID came with systemd 232. Older versions leave the line out; the other two lines suffice.
        identity=(systemctl, "show", "-p", "InvocationID,MainPID,ExecMainStartTimestampMonotonic", unit),
        state=(systemctl, "show", "-p", "LoadState,UnitFileState,ActiveState", unit),
    )
