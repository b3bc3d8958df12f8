"""A process that is killed before, after or amid any step leaves what recovery makes whole.

The cells are generated from the trace of one clean run, so a new step is covered by itself; each is named by what the
step does and to what. A kill that leaves what the kill before it leaves is no cell. Repeated proofs are slow:

| slow cells | proved by |
|---|---|
| of a scene with one component: three quarters of those that "commits" has by the same name | "commits" |
| of a scene with several components: three quarters | the other quarter, and the scenes with one |
| of a scene in `_CONTAINED`: three quarters | the scene that has each of its steps |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from actions.ending import Outcome
from actions.recover import MOST_ATTEMPTS
from tests.kit.matrix import EVERYTHING, Share, played, some
from tests.kit.scene import PATIENT, Scene, broken, torn
from tests.kit.worlds import Cell, Step, StepWorld, WatchedWorld, cells, killed, since_the_intent

_SHARDS: Final = 4
Act = Callable[[Scene, StepWorld], object]


class KillCase(NamedTuple):
    """A scene, how its replacement ends, and whether it begins unlike that of any other scene."""

    given: Mapping[str, Any]
    outcome: Outcome
    begins: bool = False


SCENES: Final[Mapping[str, KillCase]] = {
    "commits": KillCase({"missing_chain": True}, Outcome.COMMITTED, begins=True),
    "commits two components": KillCase(
        {"components": ("mail", "web"), "group": "both"}, Outcome.COMMITTED, begins=True
    ),
    "commits a group of which a member has the files": KillCase(
        {"components": ("mail", "web"), "group": "both", "has_it": ("mail",)}, Outcome.COMMITTED
    ),
    "is stopped for the switch": KillCase({"quiesce": True}, Outcome.COMMITTED),
    "is written in place": KillCase({"in_place": True}, Outcome.COMMITTED),
    "is written in place, and one file made": KillCase({"in_place": True, "missing_chain": True}, Outcome.COMMITTED),
    "removes a file and the line that names it": KillCase(
        {"lined": True, "removed_chain": True}, Outcome.COMMITTED, begins=True
    ),
    "makes a file and the line that names it, in a group": KillCase(
        {"components": ("console", "portal"), "group": "primary", "lined": True, "missing_chain": True},
        Outcome.COMMITTED,
    ),
    "removes a file, and loses a client": KillCase(
        {
            "components": ("console", "portal"),
            "group": "primary",
            "lined": True,
            "removed_chain": True,
            "new": {"portal": b"GOOD no java"},
        },
        Outcome.ROLLED_BACK,
    ),
    "fails its test": KillCase({"new": {"web": b"BAD"}, "missing_chain": True}, Outcome.ROLLED_BACK),
    "loses a client": KillCase(
        {"components": ("mail", "web"), "group": "both", "new": {"web": b"GOOD no java"}}, Outcome.ROLLED_BACK
    ),
}


_CONTAINED: Final = frozenset({"is written in place"})
"""The scenes of which each step is one of another scene: "is written in place, and one file made"."""


class KillRooms:
    """New directories, one for each cell."""

    def __init__(self, parent: Path, given: Mapping[str, Any]) -> None:
        self._parent, self._given, self._number = parent, given, 0

    def scene(self) -> Scene:
        self._number += 1
        return Scene(f"{self._parent}/{self._number}", **self._given, terms=PATIENT)


class Pair(NamedTuple):
    """Where a transaction is killed, and then its recovery."""

    first: Cell
    second: Cell

    def __str__(self) -> str:
        return f"{self.first}, then recovery {self.second}"


def replace(scene: Scene, world: StepWorld) -> object:
    return scene.replace(world)


def recover(scene: Scene, world: StepWorld) -> object:
    return scene.recover(world)


def traced(scene: Scene, act: Act = replace) -> list[Step]:
    world = WatchedWorld(scene.root)
    act(scene, world)
    return world.trace


def after_recovery(scene: Scene, order: Any) -> list[str]:
    """Return what is wrong before, after, and after a second recovery."""
    wrong = [] if scene.in_place else [f"torn: {path}" for path in torn(scene, order)]
    scene.recover()
    wrong += broken(scene, order)
    if again := scene.recover():
        wrong.append(f"recovery went on: {again}")
    return wrong + broken(scene, order)


def _played(rooms: KillRooms, cell: Cell) -> list[str]:
    scene = rooms.scene()
    order = scene.order()
    killed(partial(replace, scene), cell)
    return after_recovery(scene, order)


def _replaced(rooms: KillRooms, outcome: Outcome) -> list[Step]:
    scene = rooms.scene()
    trace = traced(scene)
    assert scene.ends() == [outcome]
    return trace


def _of_another_scene(name: str, room: Path) -> frozenset[str]:
    """Return the names of cells that "commits" has, too, where a scene is to play only some of these."""
    if name == "commits" or name in _CONTAINED or "components" in SCENES[name].given:
        return frozenset()
    return frozenset(map(str, cells(traced(Scene(f"{room}/commits", **SCENES["commits"].given, terms=PATIENT)))))


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        pytest.param(name, shard, marks=[pytest.mark.slow] if shard and name != "commits" else [])
        for name in SCENES
        for shard in range(_SHARDS)
    ],
)
def test_a_transaction_killed_at_any_step_is_finished_or_undone(name: str, shard: int, room: Path) -> None:
    given, outcome, begins = SCENES[name]
    rooms, share, others = KillRooms(room, given), Share(shard, _SHARDS), _of_another_scene(name, room)

    def chosen() -> Iterator[Cell]:
        trace = _replaced(rooms, outcome)
        for each in cells(trace if begins else since_the_intent(trace)):
            own = bool(others) and str(each) not in others
            if (shard == 0) if own else share.has(str(each)):
                yield each

    wrong = played(chosen, partial(_played, rooms))
    assert wrong == []


def _pairs(rooms: KillRooms, first: Cell) -> Iterator[Pair]:
    template = rooms.scene()
    killed(partial(replace, template), first)
    return (Pair(first, second) for second in cells(traced(template, recover)))


def _killed_twice(rooms: KillRooms, pair: Pair) -> list[str]:
    scene = rooms.scene()
    order = scene.order()
    killed(partial(replace, scene), pair.first)
    killed(partial(recover, scene), pair.second)
    return after_recovery(scene, order)


def _killed_again(rooms: KillRooms, first: Cell, stride: int) -> list[str]:
    """Kill a transaction, then its recovery at one step of so many, then recover."""
    # Before it is in the journal that something began, and after the end, there is nothing to recover.
    share = some(stride, str(first))
    return played(partial(_pairs, rooms, first), partial(_killed_twice, rooms), share, or_none=True)


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


@pytest.mark.parametrize(
    "name", ["commits", "commits two components", "loses a client", "removes a file and the line that names it"]
)
def test_a_recovery_that_is_killed_as_well_is_finished_by_the_next(name: str, room: Path) -> None:
    rooms = KillRooms(room, SCENES[name].given)
    assert played(lambda: _telling(traced(rooms.scene())), lambda first: _killed_again(rooms, first, 7)) == []


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(_SHARDS))
@pytest.mark.parametrize("name", SCENES)
def test_no_pair_of_kills_leaves_anything_half_done(name: str, shard: int, room: Path) -> None:
    rooms = KillRooms(room, SCENES[name].given)

    def firsts() -> Iterator[Cell]:
        trace = traced(rooms.scene())
        chosen = cells(trace if SCENES[name].begins else since_the_intent(trace))
        telling = ("rename", "exchange", "run", "write_at", "link", "unlink")
        return (each for each in chosen if each.step.name in telling)

    assert played(firsts, lambda first: _killed_again(rooms, first, 3), Share(shard, _SHARDS)) == []


def _last_switch(room: str) -> Step:
    return [each for each in traced(Scene(room)) if each.name == "exchange"][-1]


def test_recovery_killed_at_every_attempt_freezes_rather_than_goes_on_for_ever(room: Path) -> None:
    scene = Scene(f"{room}/scene")
    killed(partial(replace, scene), Cell(_last_switch(f"{room}/clean"), "after"))
    for _ in range(MOST_ATTEMPTS):
        test = next(each for each in traced(_copy(scene, room), recover) if each.name == "run")
        killed(partial(recover, scene), Cell(test, "before"))
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.FROZEN
    assert f"interrupted {MOST_ATTEMPTS} times" in ending.sentence
    assert scene.recover() == ()
    assert scene.replace().outcome is Outcome.REFUSED


def _copy(scene: Scene, parent: Path) -> Scene:
    """Return the same state of affairs under another name, to trace what recovery does with it."""
    attempts = sum(each.event.value == "recovering" for each in scene.records())
    copy = Scene(f"{parent}/copy{attempts}")
    killed(partial(replace, copy), Cell(_last_switch(f"{parent}/clean{attempts}"), "after"))
    return copy


@pytest.mark.parametrize("name", ["commits", "is stopped for the switch", "is written in place", "fails its test"])
def test_before_services_are_started_files_are_put_right_and_services_left_alone(name: str, room: Path) -> None:
    rooms = KillRooms(room, SCENES[name].given)

    def chosen() -> Iterator[Cell]:
        telling = ("rename", "exchange", "run", "link", "sync_directory")
        return (each for each in cells(traced(rooms.scene())) if each.step.name in telling)

    def play(cell: Cell) -> list[str]:
        scene = rooms.scene()
        order = scene.order()
        killed(partial(replace, scene), cell)
        world = StepWorld()
        scene.recover(world, services_run=False)
        return broken(scene, order, served=False) + [f"ran {each.what}" for each in world.trace if each.name == "run"]

    assert played(chosen, play) == []


# The matrix itself


def test_a_cell_is_named_by_what_the_step_does_and_to_what(room: Path) -> None:
    names = {str(each) for each in cells(traced(Scene(f"{room}/scene", quiesce=True)))}
    assert {
        "killed before exchange web/.site.crt.*.new web/site.crt #1",
        "killed amid write_at state/journal.jsonl intent #1",
        "killed before write_at state/journal.jsonl switched #2",
        "killed amid run stop web #1",
        "killed before run test web #2",
    } <= names
    assert not any(str(room) in each for each in names)
    assert names == {str(each) for each in cells(traced(Scene(f"{room}/another", quiesce=True)))}


def test_a_kill_that_leaves_what_the_kill_before_it_leaves_is_no_cell(room: Path) -> None:
    trace = traced(Scene(f"{room}/scene"))
    assert not any(each.step.name in ("sync", "sync_directory") for each in cells(trace))
    assert any(each.name == "sync" for each in trace)


def _polling(room: Path, times: Iterator[int]) -> Act:
    """Return what makes a file, after having looked and written as often as the moment wants."""

    def act(_scene: Scene, world: StepWorld) -> object:
        for _ in range(next(times)):
            world.now()
            world.make_directory(f"{room}/polled")
        world.unlink(f"{room}/made")
        return None

    return act


@pytest.mark.parametrize("polls", [3, 0])
def test_a_cell_is_reached_however_often_something_is_polled_before_it(polls: int, room: Path) -> None:
    scene = Scene(f"{room}/scene")
    world = StepWorld()
    (room / "made").touch()
    _polling(room, iter([1]))(scene, world)
    (room / "made").touch()
    killed(partial(_polling(room, iter([polls])), scene), Cell(world.trace[-1], "before"))
    assert (room / "made").exists()


def test_a_cell_that_no_run_comes_to_is_wrong_and_says_so(room: Path) -> None:
    scene = Scene(f"{room}/scene")
    missing = Cell(Step(0, "unlink", "", "web/nothing"), "before")

    def play(cell: Cell) -> list[str]:
        killed(partial(recover, scene), cell)
        return []

    assert played(lambda: [missing], play) == [
        "killed before unlink web/nothing #1: not reached in 5 runs (unlink web/nothing #1)"
    ]


def test_a_matrix_is_generated_again_where_a_cell_is_not_reached(room: Path) -> None:
    """The first trace has a step that no other has; those of the second are played as well."""
    scene = Scene(f"{room}/scene")
    traces = iter([["a", "b"], ["b", "c"], ["b", "c"], ["a", "c"]])
    had: list[str] = []
    reached = iter([False, False, True])

    def play(name: str) -> list[str]:
        if name == "a" and not next(reached):
            killed(partial(recover, scene), Cell(Step(0, "unlink", "", name), "before"))
        had.append(name)
        return []

    assert played(lambda: next(traces), play, EVERYTHING) == []
    assert sorted(had) == ["a", "b", "c"]
