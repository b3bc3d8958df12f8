"""A process that is killed before, after or amid any step leaves what recovery makes whole.

The cells are generated from the trace of one clean run, so a new step is covered by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from actions.ending import Outcome
from tests.actions.scene import Scene, broken, torn
from tests.actions.worlds import KILLED, Cell, Step, StepWorld, cells, in_a_process, kill

_SHARDS: Final = 4

SCENES: Final[Mapping[str, tuple[Mapping[str, Any], Outcome]]] = {
    "commits": ({"missing_chain": True}, Outcome.COMMITTED),
    "commits two components": ({"components": ("mail", "web")}, Outcome.COMMITTED),
    "is stopped for the switch": ({"quiesce": True}, Outcome.COMMITTED),
    "is written in place": ({"in_place": True}, Outcome.COMMITTED),
    "fails its test": ({"new": {"web": b"BAD"}, "missing_chain": True}, Outcome.ROLLED_BACK),
    "loses a client": (
        {"components": ("mail", "web"), "new": {"web": b"GOOD no java"}},
        Outcome.ROLLED_BACK,
    ),
}


def traced(scene: Scene, act: Callable[[Scene, StepWorld], object]) -> list[Step]:
    world = StepWorld()
    act(scene, world)
    return world.trace


def replace(scene: Scene, world: StepWorld) -> object:
    return scene.replace(world)


def recover(scene: Scene, world: StepWorld) -> object:
    return scene.recover(world)


def killed_while(act: Callable[[Scene, StepWorld], object], scene: Scene, cell: Cell) -> int:
    return in_a_process(lambda: act(scene, StepWorld(kill(cell.step.number, cell.when))))


class Rooms:
    """New directories, one for each cell."""

    def __init__(self, parent: Path, given: Mapping[str, Any]) -> None:
        self._parent, self._given, self._number = parent, given, 0

    def scene(self) -> Scene:
        self._number += 1
        return Scene(f"{self._parent}/{self._number}", **self._given)


def after_recovery(scene: Scene, order: Any, *, in_place: bool) -> list[str]:
    """Return what is wrong before, after, and after a second recovery."""
    wrong = [] if in_place else [f"torn: {path}" for path in torn(scene, order)]
    scene.recover()
    wrong += broken(scene, order)
    if again := scene.recover():
        wrong.append(f"recovery went on: {again}")
    return wrong + broken(scene, order)


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        pytest.param(name, shard, marks=[pytest.mark.slow] if shard and "components" in SCENES[name][0] else [])
        for name in SCENES
        for shard in range(_SHARDS)
    ],
)
def test_a_transaction_killed_at_any_step_is_finished_or_undone(name: str, shard: int, room: Path) -> None:
    given, outcome = SCENES[name]
    rooms = Rooms(room, given)
    clean = rooms.scene()
    trace = traced(clean, replace)
    assert clean.ends() == [outcome]
    wrong: list[str] = []
    for cell in list(cells(trace))[shard::_SHARDS]:
        scene = rooms.scene()
        order = scene.order()
        assert killed_while(replace, scene, cell) == KILLED, cell
        wrong += [f"{cell}: {each}" for each in after_recovery(scene, order, in_place=scene.in_place)]
    assert wrong == []


def _killed_again(rooms: Rooms, first: Cell, stride: int) -> list[str]:
    """Kill a transaction, then its recovery at every step, then recover."""
    template = rooms.scene()
    killed_while(replace, template, first)
    wrong: list[str] = []
    for second in list(cells(traced(template, recover)))[first.step.number % stride :: stride]:
        scene = rooms.scene()
        order = scene.order()
        assert killed_while(replace, scene, first) == KILLED
        assert killed_while(recover, scene, second) == KILLED, (first, second)
        wrong += [f"{first}, {second}: {each}" for each in after_recovery(scene, order, in_place=scene.in_place)]
    return wrong


def _telling(trace: Sequence[Step]) -> list[Cell]:
    """Return a kill in each phase: amid the switch, the activation, the validation, the rollback, tidying up."""
    renames = [each for each in trace if each.name in ("rename", "exchange") and "manifest" not in each.about]
    runs = [each for each in trace if each.name == "run"]
    return [
        Cell(renames[0], "after"),
        Cell(renames[-1], "after"),
        Cell(runs[-1], "after"),
        Cell(next(each for each in trace if each.name == "unlink" and each.number > renames[0].number), "after"),
    ]


@pytest.mark.parametrize("name", ["commits", "commits two components", "loses a client"])
def test_a_recovery_that_is_killed_as_well_is_finished_by_the_next(name: str, room: Path) -> None:
    rooms = Rooms(room, SCENES[name][0])
    trace = traced(rooms.scene(), replace)
    assert [each for first in _telling(trace) for each in _killed_again(rooms, first, 7)] == []


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(_SHARDS))
@pytest.mark.parametrize("name", SCENES)
def test_no_pair_of_kills_leaves_anything_half_done(name: str, shard: int, room: Path) -> None:
    rooms = Rooms(room, SCENES[name][0])
    trace = traced(rooms.scene(), replace)
    telling = [
        each for each in cells(trace) if each.step.name in ("rename", "exchange", "run", "write_at", "link", "unlink")
    ]
    assert [each for first in telling[shard::_SHARDS] for each in _killed_again(rooms, first, 3)] == []


def test_recovery_killed_at_every_attempt_freezes_rather_than_goes_on_for_ever(room: Path) -> None:
    scene = Scene(f"{room}/scene")
    clean = Scene(f"{room}/clean")
    switched = [each for each in traced(clean, replace) if each.name == "exchange"][-1]
    killed_while(replace, scene, Cell(switched, "after"))
    for _ in range(3):
        test = next(each for each in traced(_copy(scene, room), recover) if each.name == "run")
        assert killed_while(recover, scene, Cell(test, "before")) == KILLED
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.FROZEN
    assert "interrupted 3 times" in ending.sentence
    assert scene.recover() == ()
    assert scene.replace().outcome is Outcome.REFUSED


def _copy(scene: Scene, parent: Path) -> Scene:
    """Return the same state of affairs under another name, to trace what recovery does with it."""
    attempts = sum(each.event.value == "recovering" for each in scene.records())
    copy = Scene(f"{parent}/copy{attempts}")
    clean = Scene(f"{parent}/clean{attempts}")
    switched = [each for each in traced(clean, replace) if each.name == "exchange"][-1]
    killed_while(replace, copy, Cell(switched, "after"))
    return copy


@pytest.mark.parametrize("name", ["commits", "is stopped for the switch", "is written in place", "fails its test"])
def test_before_services_are_started_files_are_put_right_and_services_left_alone(name: str, room: Path) -> None:
    rooms = Rooms(room, SCENES[name][0])
    trace = traced(rooms.scene(), replace)
    wrong = []
    for cell in [
        each for each in cells(trace) if each.step.name in ("rename", "exchange", "run", "link", "sync_directory")
    ]:
        scene = rooms.scene()
        order = scene.order()
        killed_while(replace, scene, cell)
        world = StepWorld()
        scene.recover(world, live=False)
        wrong += [f"{cell}: {each}" for each in broken(scene, order, served=False)]
        wrong += [f"{cell}: ran {each.about}" for each in world.trace if each.name == "run"]
    assert wrong == []
