"""Whatever call fails, falls short or is interrupted, a transaction and its recovery leave one whole set."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from actions.ending import Ending, Outcome
from actions.journal import JournalError
from actions.plan import Order
from actions.target import state
from actions.transaction import transact
from actions.world import World
from tests.actions.scene import Scene, broken, torn, trace_of
from tests.actions.worlds import KILLED, Fault, Step, StepWorld, fail, in_a_process, intrude, kill, short

_SHARDS: Final = 5
_ERRORS: Final[Mapping[str, Sequence[int]]] = {
    "create": (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOENT),
    "open": (errno.EACCES, errno.EIO, errno.EROFS),
    "write_at": (errno.ENOSPC, errno.EIO),
    "reserve": (errno.ENOSPC,),
    "sync": (errno.EIO, errno.ENOSPC),
    "sync_directory": (errno.EIO, errno.ENOENT),
    "rename": (errno.EXDEV, errno.EBUSY, errno.EROFS, errno.EACCES, errno.ENOSPC),
    "exchange": (errno.EXDEV, errno.EBUSY, errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EINVAL),
    "link": (errno.EXDEV, errno.EIO, errno.EMLINK, errno.EACCES, errno.ENOSPC, errno.EROFS),
    "unlink": (errno.EROFS, errno.EACCES, errno.EBUSY),
    "remove_directory": (errno.EBUSY, errno.EROFS),
    "set_owner": (errno.EPERM, errno.EROFS),
    "set_attributes": (errno.ENOTSUP,),
    "make_directory": (errno.ENOSPC, errno.EACCES, errno.EROFS),
    "truncate": (errno.EIO, errno.ENOSPC),
    "lock": (errno.EIO,),
}
_EVERYTHING_ELSE: Final = (errno.EIO,)
_SWITCHES: Final[Mapping[str, str]] = {"is written in place": "truncate"}
"""The step by which files are switched, where it is another than an exchange."""
_CANNOT_FAIL: Final = frozenset({"now", "monotonic", "sleep", "resolve", "run", "close", "unlock"})
SCENES: Final[Mapping[str, Mapping[str, Any]]] = {
    "commits": {"missing_chain": True, "components": ("mail", "web")},
    "is stopped": {"quiesce": True},
    "is written in place": {"in_place": True},
    "rolls back": {"new": {"web": b"GOOD no java"}, "missing_chain": True},
}


def consistent(scene: Scene, order: Order, ending: Ending) -> list[str]:
    """Return how what the ending says differs from what is on disk."""
    now = [state(World(), change.path) for change in order.plan.changes]
    old = [change.before for change in order.plan.changes]
    new = [change.after for change in order.plan.changes]
    expected = {Outcome.COMMITTED: new, Outcome.ROLLED_BACK: old, Outcome.REFUSED: old}.get(ending.outcome, now)
    wrong = [] if now == expected else [f"{ending.outcome} is not what is on disk"]
    return wrong + ([] if ending.sentence.endswith(".") else [f"no sentence: {ending.sentence}"])


def after_fault(scene: Scene, fault: Fault) -> list[str]:
    order = scene.order()
    try:
        ending = scene.replace(StepWorld(fault))
    except JournalError as error:
        return [*broken(scene, order), *([] if "cannot be opened" in str(error) else [str(error)])]
    wrong = consistent(scene, order, ending)
    wrong += [f"torn: {path}" for path in torn(scene, order)] if not scene.in_place else []
    scene.recover()
    wrong += broken(scene, order)
    return [f"{each} ({ending.sentence})" for each in wrong + ([] if scene.recover() == () else ["recovered twice"])]


@pytest.mark.parametrize("shard", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in range(1, _SHARDS))])
@pytest.mark.parametrize("name", SCENES)
def test_an_error_at_any_step_ends_whole_and_says_what_is_on_disk(name: str, shard: int, room: Path) -> None:
    wrong: list[str] = []
    steps = [each for each in trace_of(Scene(f"{room}/trace", **SCENES[name])) if each.name not in _CANNOT_FAIL]
    for step in steps[shard::_SHARDS]:
        for number in _ERRORS.get(step.name, _EVERYTHING_ELSE):
            scene = Scene(f"{room}/{step.number}-{number}", **SCENES[name])
            wrong += [
                f"{errno.errorcode[number]} at {step}: {each}" for each in after_fault(scene, fail(step.number, number))
            ]
    assert wrong == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("name", SCENES)
def test_a_disk_that_fails_for_good_at_any_step_is_recovered_from_once_it_works(
    name: str, number: int, room: Path
) -> None:
    wrong: list[str] = []
    steps = [each for each in trace_of(Scene(f"{room}/trace", **SCENES[name])) if each.changes]
    for step in [each for each in steps if each.name not in _CANNOT_FAIL][number % 5 :: 5]:
        scene = Scene(f"{room}/{step.number}", **SCENES[name])
        order = scene.order()
        try:
            ending = scene.replace(StepWorld(fail(step.number, number, for_ever=True)))
        except JournalError:
            continue
        wrong += [f"{step}: {each}" for each in consistent(scene, order, ending)]
        scene.recover()
        wrong += [f"{step}: {each} ({ending.sentence})" for each in broken(scene, order)]
    assert wrong == []


@pytest.mark.parametrize("name", SCENES)
def test_a_write_that_takes_only_half_is_gone_on_with(name: str, room: Path) -> None:
    clean = Scene(f"{room}/trace", **SCENES[name])
    trace = trace_of(clean)
    for step in [each for each in trace if each.name == "write_at"]:
        scene = Scene(f"{room}/{step.number}", **SCENES[name])
        order = scene.order()
        scene.replace(StepWorld(short(step.number)))
        assert scene.ends() == clean.ends()
        assert broken(scene, order) == []


@pytest.mark.parametrize("name", SCENES)
def test_a_directory_that_vanishes_at_any_step_and_comes_back_holds_one_whole_set(name: str, room: Path) -> None:
    """Unmounted, say, or moved away: what is said at the end is so once it is there again."""
    wrong: list[str] = []
    steps = [each for each in trace_of(Scene(f"{room}/trace", **SCENES[name])) if each.name not in _CANNOT_FAIL]
    for step in [each for each in steps if each.name != "standing"][::6]:
        scene = Scene(f"{room}/{step.number}", **SCENES[name])
        order = scene.order()
        there, away = f"{scene.root}/web", f"{scene.root}/away"
        ending = scene.replace(StepWorld(intrude(step.number, partial(os.rename, there, away))))
        os.rename(away, there)
        if ending.outcome is Outcome.FROZEN:
            continue
        wrong += [f"{step}: {each}" for each in consistent(scene, order, ending)]
        scene.recover()
        # No service could take up files that were not there.
        wrong += [f"{step}: {each} ({ending.sentence})" for each in broken(scene, order, served=False)]
    assert wrong == []


@pytest.mark.parametrize("shard", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in range(1, 2 * _SHARDS))])
@pytest.mark.parametrize("name", SCENES)
def test_an_error_at_any_step_of_recovery_is_made_up_for_by_the_next(name: str, shard: int, room: Path) -> None:
    switched = [
        each for each in trace_of(Scene(f"{room}/t", **SCENES[name])) if each.name == _SWITCHES.get(name, "exchange")
    ]

    def interrupted(where: str) -> tuple[Scene, Order]:
        scene = Scene(f"{room}/{where}", **SCENES[name])
        order = scene.order()
        world = StepWorld(kill(switched[len(switched) // 2].number, "after"))
        assert in_a_process(partial(scene.replace, world)) == KILLED
        return scene, order

    world, wrong = StepWorld(), []
    interrupted("trace")[0].recover(world)
    cells = [
        (step, number)
        for step in world.trace
        if step.name not in _CANNOT_FAIL
        for number in _ERRORS.get(step.name, _EVERYTHING_ELSE)
    ]
    for step, number in cells[shard :: 2 * _SHARDS]:
        scene, order = interrupted(f"{step.number}-{number}")
        with suppress(OSError, JournalError):
            scene.recover(StepWorld(fail(step.number, number)))
        scene.recover()
        wrong += [f"{errno.errorcode[number]} at {step}: {each}" for each in broken(scene, order)]
    assert wrong == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", SCENES)
def test_a_process_that_is_told_to_end_at_any_step_ends_whole_without_recovery(
    name: str, number: signal.Signals, room: Path
) -> None:
    wrong: list[str] = []
    steps = [each for each in trace_of(Scene(f"{room}/trace", **SCENES[name])) if each.changes]
    for step in steps[number % 8 :: 8]:
        scene = Scene(f"{room}/{step.number}", **SCENES[name])
        order = scene.order()

        def work(scene: Scene = scene, step: Step = step) -> None:
            told: list[int] = []
            signal.signal(number, lambda *_: told.append(number))
            world = StepWorld(intrude(step.number, lambda: os.kill(os.getpid(), number)))
            setting = replace(scene.setting(world), stopping=lambda: bool(told))
            with closing(setting.journal):
                transact(setting, scene.order())
            assert told

        if in_a_process(work):
            wrong.append(f"{step}: the process did not end by itself")
        wrong += [f"{step}: {each}" for each in broken(scene, order)]
    assert wrong == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_process_at_any_step_leaves_what_recovery_makes_whole(
    number: signal.Signals, room: Path
) -> None:
    steps = [each for each in trace_of(Scene(f"{room}/trace")) if each.changes]
    for step in steps[number % 8 :: 8]:
        scene = Scene(f"{room}/{step.number}")
        order = scene.order()
        world = StepWorld(intrude(step.number, lambda: os.kill(os.getpid(), number)))
        assert in_a_process(partial(scene.replace, world)) == -number
        scene.recover()
        assert broken(scene, order) == []
