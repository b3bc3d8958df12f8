"""A service as it is declared: the commands by which it is tested, put onto what is on disk, stopped and started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

Command = tuple[str, ...]
"""An argument list whose first element is an absolute path; never given to a shell."""


_KINDS: Final = (".service", ".socket", ".target", ".path", ".timer", ".slice", ".scope", ".mount")


class Activation(StrEnum):
    """How a service takes up new files."""

    RELOAD = "reload"
    RESTART = "restart"


class Job(NamedTuple):
    """What systemd is asked for by a command, and does by itself from then on."""

    systemctl: str
    """The program by which it is asked."""
    verb: str
    unit: str


def job_of(command: Command) -> Job | None:
    """Return what a command asks systemd for; None where it is no `systemctl VERB UNIT`."""
    program, *arguments = command
    words = [each for each in arguments if not each.startswith("-")]
    if os.path.basename(program) != "systemctl" or len(words) != 2:
        return None
    return Job(program, words[0], unit_name(words[1]))


def unit_name(name: str) -> str:
    """Return the whole name of a unit of systemd, of which people leave `.service` out."""
    return name if name.endswith(_KINDS) else f"{name}.service"


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
    unit: str | None = None
    """The unit of systemd that it is, where it is one."""
    identity: Command | None = None
    """Prints what differs from one process of the service to the next."""
    state: Command | None = None
    """Prints what its supervisor knows of it, such as `ActiveState=failed`; LoadState and UnitFileState, too."""
    writes: tuple[str, ...] = ()
    """Directories, beside those of its artefacts, to which its commands write."""

    def __post_init__(self) -> None:
        """Check that the commands that are needed are there."""
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
    def starts_its_server(self) -> bool:
        """Whether its server may be what one of its commands leaves running, rather than a unit of systemd."""
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
        unit=unit,
        writes=writes,
        reset=(systemctl, "reset-failed", unit),
        # InvocationID is of systemd 232; an older one leaves the line out, and the other two still tell.
        identity=(systemctl, "show", "-p", "InvocationID,MainPID,ExecMainStartTimestampMonotonic", unit),
        state=(systemctl, "show", "-p", "LoadState,UnitFileState,ActiveState", unit),
    )
