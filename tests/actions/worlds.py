"""Worlds that count their steps, and at one of them die, fail, or let someone else in."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn

from actions.world import World

KILLED: Final = 77
_STEPS: Final = frozenset(name for name in vars(World) if not name.startswith("_"))
_LOOKS: Final = frozenset(
    {
        "stat",
        "resolve",
        "read",
        "attributes",
        "standing",
        "names",
        "read_at",
        "is_at",
        "synchronised",
        "now",
        "monotonic",
        "sleep",
    }
)


class Step(NamedTuple):
    """One call of the port."""

    number: int
    name: str
    about: str

    @property
    def changes(self) -> bool:
        """Whether the world may be another after it; a kill at any other step equals one at the next that does."""
        return self.name not in _LOOKS

    def __str__(self) -> str:
        return f"step {self.number} {self.name} {self.about}"


Fault = Callable[[Step, Callable[[], Any], tuple[Any, ...]], Any]


class StepWorld(World):
    """The real world, each step of which passes through a fault."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.trace: list[Step] = []
        self.fault = fault

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(self._take, name, found) if name in _STEPS else found

    def _take(self, name: str, act: Callable[..., Any], *given: Any, **named: Any) -> Any:
        about = " ".join(each if isinstance(each, str) else "" for each in given[:2]).strip()
        step = Step(len(self.trace), name, about)
        self.trace.append(step)
        done = partial(act, *given, **named)
        return done() if self.fault is None else self.fault(step, done, given)


def kill(at: int, when: str) -> Fault:
    """End this process, with nothing tidied up, `before`, `after` or `amid` a step."""

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.number != at:
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
    yield Cell(changing[-1], "after")


_leash: tuple[int, ...] = ()
"""Open for writing in whatever a killed process leaves behind."""


def _half(step: Step, given: tuple[Any, ...]) -> None:
    if step.name == "write_at":
        os.pwrite(given[0], given[2][: len(given[2]) // 2], given[1])
    elif step.name == "run":
        # The command lives on without the one who started it.
        subprocess.Popen(
            given[0], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=_leash
        )


def fail(at: int, number: int, *, for_ever: bool = False) -> Fault:
    """Let a step fail with an errno, and all that change something after it where it is for ever."""

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.number == at or (for_ever and step.number > at and step.changes and step.name not in _NEVER_FAIL):
            raise OSError(number, os.strerror(number), step.about)
        return act()

    return fault


_NEVER_FAIL: Final = frozenset({"run", "close", "unlock", "lock"})


def short(at: int) -> Fault:
    """Let one write take half of what it is given, which is no error."""

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.number == at and step.name == "write_at" and len(given[2]) > 1:
            return os.pwrite(given[0], given[2][: len(given[2]) // 2], given[1])
        return act()

    return fault


def intrude(at: int, deed: Callable[[], None]) -> Fault:
    """Let someone else do something just before a step."""

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.number == at:
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
