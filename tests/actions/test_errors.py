"""Whatever call fails, falls short or is interrupted, a transaction and its recovery leave one whole set.

The default run plays each handling at a share of the steps, and the slow tests play all other cells of the shares.
These prove again what others prove:

| slow cell | proved by | since |
|---|---|---|
| a step before the intent in any other scene | "commits" | no target is changed yet: the transaction is given up |
| locking and looking at the journal for a record | the writing of that record | each is a record that is not there |
| another error of a group in `_ERRORS` | the first of the group | nothing in `actions/` tells them apart |
| an error in the recovery of "rolls back" | "commits" | undone, since it was interrupted amid the switch |
| an error in that of "puts a removed file back" | "removes a file" | as well |
| half a write to the same file again | the first | `actions.world.write_all` goes on with it |
| the directory vanishes before a step elsewhere | the next step in it | nothing has looked meanwhile |
| a disk that fails for good with EROFS | EIO at the same steps | nothing tells them apart |
| SIGHUP | SIGTERM | the handler, or the kernel, does the same |
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import pytest

from actions.ending import Ending, Outcome
from actions.journal import JournalError
from actions.plan import Order
from actions.target import state
from actions.transaction import transact
from actions.world import World
from tests.kit.matrix import Share, played
from tests.kit.scene import PATIENT, Scene, broken, torn, trace_of
from tests.kit.worlds import (
    Cell,
    NotReachedError,
    Step,
    StepWorld,
    fail,
    in_a_process,
    intrude,
    killed,
    short,
    since_the_intent,
)

_ERRORS: Final[Mapping[str, Sequence[Sequence[int]]]] = {
    "create": ((errno.ENOSPC, errno.EACCES, errno.EROFS), (errno.ENOENT,)),
    "open": ((errno.EACCES, errno.EIO, errno.EROFS),),
    "write_at": ((errno.ENOSPC, errno.EIO),),
    "reserve": ((errno.ENOSPC,),),
    "sync": ((errno.EIO, errno.ENOSPC),),
    "sync_directory": ((errno.EIO,), (errno.ENOENT,)),
    "rename": ((errno.EXDEV, errno.EBUSY, errno.EROFS, errno.EACCES, errno.ENOSPC),),
    "exchange": ((errno.EXDEV, errno.EBUSY, errno.EROFS, errno.EACCES, errno.ENOSPC), (errno.EINVAL,)),
    "link": ((errno.EXDEV, errno.EMLINK), (errno.EIO, errno.EACCES, errno.ENOSPC, errno.EROFS)),
    "unlink": ((errno.EROFS, errno.EACCES, errno.EBUSY),),
    "remove_directory": ((errno.EBUSY, errno.EROFS),),
    "set_owner": ((errno.EPERM, errno.EROFS),),
    "set_attributes": ((errno.ENOTSUP,),),
    "make_directory": ((errno.ENOSPC, errno.EACCES, errno.EROFS),),
    "truncate": ((errno.EIO, errno.ENOSPC),),
    "lock": ((errno.EIO,),),
}
"""The errors of each step, in groups that are handled alike."""
_EVERYTHING_ELSE: Final = ((errno.EIO,),)
_UNDONE_AS_WELL: Final = frozenset({"rolls back", "puts a removed file back"})
"""The scenes of which the recovery is that of another scene."""
_BEGINS: Final = frozenset({"commits"})
"""The scenes that begin unlike any other scene."""
_SWITCHES: Final[Mapping[str, str]] = {"is written in place": "truncate"}
"""The step by which files are switched, where it is another than an exchange."""
_NOT_TOLD: Final = 71
_CANNOT_FAIL: Final = frozenset({"now", "monotonic", "sleep", "resolve", "run", "close", "unlock"})
SCENES: Final[Mapping[str, Mapping[str, Any]]] = {
    "commits": {"missing_chain": True, "components": ("mail", "web")},
    "removes a file": {"removed_chain": True},
    "puts a removed file back": {"new": {"web": b"GOOD no java"}, "removed_chain": True},
    "is stopped": {"quiesce": True},
    "is written in place": {"in_place": True},
    "rolls back": {"new": {"web": b"GOOD no java"}, "missing_chain": True},
}


by_signals = pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
C = TypeVar("C")


def consistent(scene: Scene, order: Order, ending: Ending) -> list[str]:
    """Return how what the ending says differs from what is on disk."""
    now = [state(World(), change.path) for change in order.plan.changes]
    old = [change.before for change in order.plan.changes]
    new = [change.after for change in order.plan.changes]
    expected = {Outcome.COMMITTED: new, Outcome.ROLLED_BACK: old, Outcome.REFUSED: old}.get(ending.outcome, now)
    wrong = [] if now == expected else [f"{ending.outcome} is not what is on disk"]
    return wrong + ([] if ending.sentence.endswith(".") else [f"no sentence: {ending.sentence}"])


class Fails(NamedTuple):
    """A step and the error with which it fails."""

    step: Step
    number: int

    def __str__(self) -> str:
        return f"{errno.errorcode[self.number]} at {self.step}"


def failures(trace: Sequence[Step], most: int | None = None) -> list[Fails]:
    """Return so many errors of each group at each step."""
    return [
        Fails(step, number)
        for step in trace
        if step.name not in _CANNOT_FAIL
        for group in _ERRORS.get(step.name, _EVERYTHING_ELSE)
        for number in group[:most]
    ]


def representative(trace: Sequence[Step]) -> list[Fails]:
    """Return one error of each group at each step, and of each record those of its bytes."""
    before = ("lock", "is_at", "read_at")
    return failures([each for each in trace if not (each.name in before and each.about.endswith(".jsonl"))], most=1)


def _share(share: Share, cells: Iterable[C]) -> list[C]:
    return [each for each in cells if share.has(str(each))]


def telling(name: str, trace: Sequence[Step]) -> Sequence[Step]:
    """Return the steps of a scene that no other scene has as well."""
    return trace if name in _BEGINS else since_the_intent(trace)


class Part(NamedTuple):
    """The cells of a default run, or a share of all others."""

    others: Share | None = None

    def __str__(self) -> str:
        return "default" if self.others is None else f"others {self.others.number}"

    def of(self, every: Sequence[C], default: Sequence[C]) -> list[C]:
        """Return its cells of `every` cell, where the default run plays `default`."""
        names = set(map(str, default))
        if self.others is None:
            return [each for each in every if str(each) in names]
        return [each for each in every if str(each) not in names and self.others.has(str(each))]


def parts(shares: int) -> pytest.MarkDecorator:
    """Have a test play the default part, and if it is slow each share of the others."""
    others = [pytest.param(Part(Share(each, shares)), marks=pytest.mark.slow) for each in range(shares)]
    return pytest.mark.parametrize("part", [Part(), *others], ids=str)


class ErrorRooms:
    """New directories, one for each cell."""

    def __init__(self, parent: Path, name: str) -> None:
        self._parent, self._given, self._number = parent, SCENES[name], 0

    def scene(self) -> Scene:
        self._number += 1
        return Scene(f"{self._parent}/{self._number}", **self._given, terms=PATIENT)


def after_fault(scene: Scene, cell: Fails) -> list[str]:
    order = scene.order()
    world = StepWorld(fail(cell.step, cell.number))
    try:
        ending = scene.replace(world)
    except JournalError as error:
        world.took(cell.step)
        return [*broken(scene, order), *([] if "cannot be opened" in str(error) else [str(error)])]
    world.took(cell.step)
    wrong = consistent(scene, order, ending)
    wrong += [f"torn: {path}" for path in torn(scene, order)] if not scene.in_place else []
    scene.recover()
    wrong += broken(scene, order)
    return [f"{each} ({ending.sentence})" for each in wrong + ([] if scene.recover() == () else ["recovered twice"])]


@parts(5)
@pytest.mark.parametrize("name", SCENES)
def test_an_error_at_any_step_ends_whole_and_says_what_is_on_disk(name: str, part: Part, room: Path) -> None:
    rooms = ErrorRooms(room, name)

    def cells() -> list[Fails]:
        trace = trace_of(rooms.scene())
        return part.of(failures(trace), _share(Share(0, 4), representative(telling(name, trace))))

    assert played(cells, lambda cell: after_fault(rooms.scene(), cell)) == []


@parts(1)
@pytest.mark.parametrize("number", [errno.ENOSPC, pytest.param(errno.EROFS, marks=pytest.mark.slow), errno.EIO])
@pytest.mark.parametrize("name", SCENES)
def test_a_disk_that_fails_for_good_at_any_step_is_recovered_from_once_it_works(
    name: str, number: int, part: Part, room: Path
) -> None:
    rooms = ErrorRooms(room, name)

    def play(step: Step) -> list[str]:
        scene = rooms.scene()
        order = scene.order()
        world = StepWorld(fail(step, number, for_ever=True))
        try:
            ending = scene.replace(world)
        except JournalError:
            world.took(step)
            return []
        world.took(step)
        wrong = consistent(scene, order, ending)
        scene.recover()
        return [f"{each} ({ending.sentence})" for each in wrong + broken(scene, order)]

    def steps() -> list[Step]:
        trace = trace_of(rooms.scene())
        failing = [each for each in trace if each.changes and each.name not in _CANNOT_FAIL]
        return part.of(_share(Share(number % 5, 5), failing), telling(name, trace))

    assert played(steps, play, or_none=part.others is not None) == []


@parts(1)
@pytest.mark.parametrize("name", SCENES)
def test_a_write_that_takes_only_half_is_gone_on_with(name: str, part: Part, room: Path) -> None:
    rooms = ErrorRooms(room, name)
    clean = rooms.scene()
    trace = trace_of(clean)
    first = {each.about: each for each in reversed(telling(name, trace)) if each.name == "write_at"}
    for step in part.of([each for each in trace if each.name == "write_at"], list(first.values())):
        scene = rooms.scene()
        order = scene.order()
        world = StepWorld(short(step))
        scene.replace(world)
        world.took(step)
        assert scene.ends() == clean.ends()
        assert broken(scene, order) == []


@parts(1)
@pytest.mark.parametrize("name", SCENES)
def test_a_directory_that_vanishes_at_any_step_and_comes_back_holds_one_whole_set(
    name: str, part: Part, room: Path
) -> None:
    """Unmounted, say, or moved away: what is said at the end is so once it is there again."""
    rooms = ErrorRooms(room, name)

    def play(step: Step) -> list[str]:
        scene = rooms.scene()
        order = scene.order()
        there, away = f"{scene.root}/web", f"{scene.root}/away"
        world = StepWorld(intrude(step, partial(os.rename, there, away)))
        ending = scene.replace(world)
        world.took(step)
        os.rename(away, there)
        if ending.outcome is Outcome.FROZEN:
            return []
        wrong = consistent(scene, order, ending)
        scene.recover()
        # No service could take up files that were not there.
        wrong += broken(scene, order, served=False)
        return [f"{each} ({ending.sentence})" for each in wrong]

    def steps() -> list[Step]:
        trace = trace_of(rooms.scene())
        failing = [each for each in trace if each.name not in _CANNOT_FAIL | {"standing"}]
        here = [each for each in telling(name, trace) if each.name == "run" or each.what.startswith("web")]
        return part.of(_share(Share(0, 6), failing), here)

    assert played(steps, play, or_none=part.others is not None) == []


@parts(10)
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each in _UNDONE_AS_WELL else ()) for each in SCENES]
)
def test_an_error_at_any_step_of_recovery_is_made_up_for_by_the_next(name: str, part: Part, room: Path) -> None:
    rooms, switch = ErrorRooms(room, name), _SWITCHES.get(name, "exchange")
    switched = [each for each in trace_of(rooms.scene()) if each.name == switch]
    half = Cell(switched[len(switched) // 2], "after")

    def interrupted() -> tuple[Scene, Order]:
        scene = rooms.scene()
        order = scene.order()
        killed(scene.replace, half)
        return scene, order

    def cells() -> list[Fails]:
        interrupted()[0].recover(world := StepWorld())
        return part.of(failures(world.trace), _share(Share(0, 8), representative(world.trace)))

    def play(cell: Fails) -> list[str]:
        scene, order = interrupted()
        world = StepWorld(fail(cell.step, cell.number))
        with suppress(OSError, JournalError):
            scene.recover(world)
        world.took(cell.step)
        scene.recover()
        return broken(scene, order)

    assert played(cells, play) == []


@parts(1)
@by_signals
@pytest.mark.parametrize("name", SCENES)
def test_a_process_that_is_told_to_end_at_any_step_ends_whole_without_recovery(
    name: str, number: signal.Signals, part: Part, room: Path
) -> None:
    rooms = ErrorRooms(room, name)

    def play(step: Step) -> list[str]:
        scene = rooms.scene()
        order = scene.order()

        def work() -> None:
            told: list[int] = []
            signal.signal(number, lambda *_: told.append(number))
            world = StepWorld(intrude(step, lambda: os.kill(os.getpid(), number)))
            context = replace(scene.context(world), stopping=lambda: bool(told))
            with closing(context.journal):
                transact(context, scene.order())
            if not told:
                os._exit(_NOT_TOLD)

        if (status := in_a_process(work)) == _NOT_TOLD:
            raise NotReachedError(step)
        return (["the process did not end by itself"] if status else []) + broken(scene, order)

    def steps() -> list[Step]:
        trace = trace_of(rooms.scene())
        return part.of(_share(Share(number % 8, 8), (each for each in trace if each.changes)), telling(name, trace))

    assert played(steps, play, or_none=part.others is not None) == []


@by_signals
def test_a_signal_that_ends_the_process_at_any_step_leaves_what_recovery_makes_whole(
    number: signal.Signals, room: Path
) -> None:
    numbers = iter(range(1_000))

    def play(step: Step) -> list[str]:
        scene = Scene(f"{room}/{next(numbers)}")
        order = scene.order()
        world = StepWorld(intrude(step, lambda: os.kill(os.getpid(), number)))
        if (status := in_a_process(partial(scene.replace, world))) == 0:
            raise NotReachedError(step)
        scene.recover()
        return ([] if status == -number else [f"it ended with {status}"]) + broken(scene, order)

    def steps() -> list[Step]:
        return [each for each in trace_of(Scene(f"{room}/{next(numbers)}")) if each.changes]

    assert played(steps, play, Share(number % 8, 8)) == []
