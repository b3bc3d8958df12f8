"""Worlds that name their steps, and at one of them die, fail, or let someone else in.

A step is named by what it does and to what, not by its number: how often something is polled depends on the moment.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn

from actions.aside import KEPT_FOR
from actions.process import identify
from actions.world import World
from config.service import Command, Service

KILLED: Final = 77
_STEPS: Final = frozenset(name for name in vars(World) if not name.startswith("_"))
_LOOKS: Final = frozenset(
    {
        "stat",
        "resolve",
        "way",
        "status",
        "read",
        "read_as",
        "names_as",
        "attributes",
        "standing",
        "names",
        "read_at",
        "is_at",
        "is_being_written",
        "synchronised",
        "age",
        "runs",
        "now",
        "monotonic",
        "sleep",
    }
)
_OF_THE_PROCESS: Final = frozenset({"open", "close", "lock", "unlock"})
"""Steps after which only the process itself is another, which a kill ends."""
_OUTSIDE: Final = frozenset({"run", "set_times"})
"""Steps that may change what no look at files finds."""
_ROLES: Final = ("test", "reload", "restart", "stop", "start", "reset", "identity")
_TRANSACTION: Final = re.compile(r"\d{8}t\d{6}-[0-9a-f]{8}")
"""A transaction's name."""
_EVENT: Final = re.compile(rb'"event":"(\w+)"')
"""In a record of the journal."""


class Step(NamedTuple):
    """One call of the port."""

    number: int
    """Its place in the trace, from 0 on, which says nothing about another run."""
    name: str
    about: str
    """The paths, the file that is open, or the command."""
    what: str = ""
    """What it is about, as it is called in every run."""
    time: int = 1
    """Among the steps of that name about the same, from 1 on."""
    left: bool = True
    """Whether something else than before may lie on the disk after it."""

    @property
    def changes(self) -> bool:
        """Whether the world may be another after it; a kill at any other step equals one at the next that does."""
        return self.left and self.name not in _LOOKS | _OF_THE_PROCESS

    def same(self, other: Step) -> bool:
        """Whether it is that step of another run."""
        return (self.name, self.what, self.time) == (other.name, other.what, other.time)

    def __str__(self) -> str:
        return f"{self.name} {self.what} #{self.time}"


class NotReachedError(Exception):
    """A run ended and did not come to a step that it was to come to."""


@dataclass(frozen=True)
class Names:
    """How that which steps are about is called, alike wherever a scene lies and whatever its transaction is called."""

    places: tuple[tuple[str, str], ...] = ()
    """Beginnings of paths and what stands for them."""
    commands: Mapping[Command, str] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)
    """The names of paths."""

    def of(self, about: str, command: Command | None = None) -> str:
        """Return the name of paths or of a command."""
        if command is not None and command in self.commands:
            return self.commands[command]
        if (known := self._known.get(about)) is None:
            known = about
            for place, name in self.places:
                known = known.replace(place, name)
            self._known[about] = known = _TRANSACTION.sub("*", known)
        return known


def names_of(services: Mapping[str, Service], *places: tuple[str, str]) -> Names:
    """Return names by which the commands of services say what they do to which component."""
    commands: dict[Command, str] = {}
    for component, service in services.items():
        for role in _ROLES:
            if (command := getattr(service, role)) is not None:
                commands.setdefault(command, f"{role} {component}")
    return Names(places, commands)


Fault = Callable[[Step, Callable[[], Any], tuple[Any, ...]], Any]


class HastyWorld(World):
    """The real world, in which pauses take no time where that is wanted: both clocks are put forward instead."""

    hastens = False
    ahead = 0.0
    """Seconds."""

    def now(self) -> float:
        return super().now() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def sleep(self, seconds: float) -> None:
        if self.hastens:
            self.ahead += seconds
        else:
            super().sleep(seconds)


class StepWorld(HastyWorld):
    """The real world, each step of which passes through a fault."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.trace: list[Step] = []
        self.fault = fault
        self.spelling = Names()
        self._times: dict[tuple[str, str], int] = {}
        self._files: dict[int, str] = {}
        """What is open, by descriptor."""

    def _take(self, name: str, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        step = self._step(name, given)
        self.trace.append(step)
        done = act() if self.fault is None else self.fault(step, act, given)
        if name in ("create", "open"):
            self._files[done] = step.about
        return done

    def _step(self, name: str, given: tuple[Any, ...]) -> Step:
        command: Command | None = given[0] if name == "run" else None
        if command is not None:
            about = " ".join(command)
        elif given and isinstance(given[0], int):
            about = self._files.get(given[0], "")
        else:
            about = " ".join(each for each in given[:2] if isinstance(each, str))
        what = self.spelling.of(about, command)
        if name == "write_at" and (record := _EVENT.search(given[2])) is not None:
            what += f" {record[1].decode()}"
        self._times[name, what] = time = self._times.get((name, what), 0) + 1
        return Step(len(self.trace), name, about, what, time)

    def took(self, step: Step) -> None:
        """Raise NotReachedError unless it has come to that step of another run."""
        if not any(each.same(step) for each in self.trace):
            raise NotReachedError(step)


def _taken(name: str) -> Callable[..., Any]:
    def take(self: StepWorld, *given: Any, **named: Any) -> Any:
        # The next in line, which is a model of a world for some.
        act = getattr(super(StepWorld, self), name)
        return self._take(name, partial(act, *given, **named), given)

    return take


for _name in _STEPS:
    setattr(StepWorld, _name, _taken(_name))


class LaterWorld(World):
    """The real world, as it will be once what stays linked is to be let go."""

    def now(self) -> float:
        return super().now() + KEPT_FOR + 1


class WatchedWorld(StepWorld):
    """A world that finds out which steps leave anything else behind below some directories.

    A kill after a step that does not is the kill before it: nobody can tell the one from the other.
    """

    def __init__(self, *directories: str) -> None:
        super().__init__(self._watch)
        self._directories = directories
        self._last = _lying(directories)

    def _watch(self, step: Step, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        try:
            return act()
        finally:
            if step.changes and step.name not in _OUTSIDE:
                before, self._last = self._last, _lying(self._directories)
                self.trace[step.number] = step._replace(left=self._last != before)


def _lying(directories: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return everything that lies below directories, of which a kill forgets nothing."""
    found: list[tuple[Any, ...]] = []
    for directory in directories:
        for parent, below, files in os.walk(directory):
            for name in (*below, *files):
                of = os.lstat(path := os.path.join(parent, name))
                data = b""
                if stat.S_ISREG(of.st_mode):
                    with open(path, "rb") as file:
                        data = file.read()
                marks = [(each, os.getxattr(path, each, follow_symlinks=False)) for each in _marks(path)]
                found.append((path, of.st_ino, of.st_mode, of.st_uid, of.st_gid, data, marks))
    return sorted(found)


def _marks(path: str) -> list[str]:
    with suppress(OSError):
        return sorted(os.listxattr(path, follow_symlinks=False))
    return []


def kill(at: Step, when: str) -> Fault:
    """End this process, with nothing tidied up, `before`, `after` or `amid` a step."""

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if not step.same(at):
            return act()
        if when == "after":
            with suppress(OSError):
                act()
        if when == "amid":
            _half(step, given)
        os._exit(KILLED)

    return fault


class Cell(NamedTuple):
    """Where a process is killed."""

    step: Step
    when: str

    def __str__(self) -> str:
        return f"killed {self.when} {self.step}"


def cells(trace: Sequence[Step]) -> Iterator[Cell]:
    """After one step that changes something is before the next, so that "after" adds a cell for the last only."""
    changing = [step for step in trace if step.changes]
    for step in changing:
        yield Cell(step, "before")
        if step.name in ("write_at", "run"):
            yield Cell(step, "amid")
    if changing:
        yield Cell(changing[-1], "after")


def since_the_intent(trace: Sequence[Step]) -> Sequence[Step]:
    """Return the steps from the record on after which the targets are changed."""
    (intent,) = (each for each in trace if each.what.endswith(" intent"))
    return [each for each in trace if each.number >= intent.number]


def killed(work: Callable[[StepWorld], object], cell: Cell) -> None:
    """Do something in a process that is killed there; raises NotReachedError where it ended without."""
    status = in_a_process(lambda: work(StepWorld(kill(cell.step, cell.when))))
    if status == 0:
        raise NotReachedError(cell.step)
    assert status == KILLED, f"{cell}: it ended with {status}"


_leash: tuple[int, ...] = ()
"""Open for writing in whatever a killed process leaves behind."""


def _half(step: Step, given: tuple[Any, ...]) -> None:
    if step.name == "write_at":
        os.pwrite(given[0], given[2][: len(given[2]) // 2], given[1])
    elif step.name == "run":
        # The command lives on without the one who started it, who has noted it before where that is to be.
        left = subprocess.Popen(
            given[0],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=_leash,
            start_new_session=True,
        )
        for begun in filter(None, given[2:3]):
            begun(identify(left.pid))


def fail(at: Step, number: int, *, for_ever: bool = False) -> Fault:
    """Let a step fail with an errno, and all that change something after it where it is for ever."""
    came: list[Step] = []

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.same(at):
            came.append(step)
        if step.same(at) or (for_ever and came and step.name not in _LOOKS | _NEVER_FAIL):
            raise OSError(number, os.strerror(number), step.about)
        return act()

    return fault


_NEVER_FAIL: Final = frozenset({"run", "close", "unlock", "lock"})


def short(at: Step) -> Fault:
    """Let one write take half of what it is given, which is no error."""

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.same(at) and step.name == "write_at" and len(given[2]) > 1:
            return os.pwrite(given[0], given[2][: len(given[2]) // 2], given[1])
        return act()

    return fault


def intrude(at: Step, deed: Callable[[], None]) -> Fault:
    """Let someone else do something just before a step."""

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.same(at):
            deed()
        return act()

    return fault


def in_a_process(work: Callable[[], object]) -> int:
    """Do something in a process forked from this one; returns its exit status once what it left behind has ended."""
    ended, alive = os.pipe()
    with warnings.catch_warnings():
        # The threads of the test runner are not needed in the child, which ends without returning.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _end_with(work, alive)
    os.close(alive)
    try:
        os.read(ended, 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(ended)


def _end_with(work: Callable[[], object], alive: int) -> NoReturn:
    global _leash
    _leash, status = (alive,), 70
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 (nothing may come back into the test that forked)
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
