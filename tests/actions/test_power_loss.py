"""Wherever the power is cut, and again during recovery, what was not on the medium yet makes nothing half done.

Every step of every scene is a moment at which it is cut, and of what was not on the medium any subset is lost. Where
two cuts leave the same on the disk, one is tried. Repeated proofs are slow: "commits", of which "makes a file that was
not there" has all steps, and the recovery of "goes back", which is undone or finished by the same steps.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions import backup
from actions.backup import BackupError
from actions.ending import Outcome
from actions.journal import Event, Journal, Record
from actions.journal_state import frozen
from actions.plan import Kind, Order
from actions.target import state
from actions.transaction import transact
from tests.kit.examples import examples
from tests.kit.power_loss import CutMoment, FilmedWorld, Kept, ModelWorld, VolatileDisk
from tests.kit.scene import Scene, broken

ROOT: Final = "/scene"
_RENAMES: Final = "is undone where names cannot be exchanged"
_GOES_BACK: Final = "goes back"
SCENES: Final[Mapping[str, Mapping[str, Any]]] = {
    "commits": {},
    "commits two components": {"components": ("mail", "web")},
    "makes a file that was not there": {"missing_chain": True},
    "removes a file": {"removed_chain": True},
    "is undone, and a file comes back": {"new": {"web": b"GOOD no java" * 30}, "removed_chain": True},
    "is written in place": {"in_place": True},
    "is stopped for the switch": {"quiesce": True},
    "fails its test": {"new": {"web": b"BAD"}},
    "is undone": {"new": {"web": b"GOOD no java" * 30}, "missing_chain": True},
    "is undone in place": {"new": {"web": b"GOOD no java" * 30}, "in_place": True},
    _RENAMES: {"new": {"web": b"GOOD no java"}},
    _GOES_BACK: {},
}
_CONTAINED: Final = frozenset({"commits"})
"""The scenes of which each step is one of "makes a file that was not there", too."""


class Film(NamedTuple):
    """One clean run."""

    scene: Scene
    order: Order
    outcome: Outcome
    moments: tuple[CutMoment, ...]

    def at(self, disk: VolatileDisk) -> Scene:
        """Return the scene as it is on another disk."""
        return replace(self.scene, disk=ModelWorld(disk))


@cache
def film(name: str) -> Film:
    disk = VolatileDisk(exchanges=name != _RENAMES)
    scene = Scene(ROOT, **SCENES[name], disk=ModelWorld(disk))
    order = scene.order()
    if name == _GOES_BACK:
        order = _back_again(scene)
    disk.sync()
    world = FilmedWorld(disk)
    outcome = transact(scene.context(world), order).outcome
    return Film(scene, order, outcome, world.end())


def _back_again(scene: Scene) -> Order:
    """Replace, and return the order that puts the files of the backup set back."""
    there = scene.order()
    old = {each.path: scene.read(each.path) for each in there.plan.changes}
    assert scene.replace().outcome is Outcome.COMMITTED
    changes = tuple(replace(each, before=each.after, after=each.before or each.after) for each in there.plan.changes)
    plan = replace(there.plan, kind=Kind.ROLLBACK, changes=changes, serves=there.plan.served, served=there.plan.serves)
    return Order(plan, old)


def boot(scene: Scene, order: Order) -> None:
    """Start every service; one whose certificate and key do not belong together stays down."""
    now = [state(scene.disk, each.path) for each in order.plan.changes]
    for component in scene.components:
        mine = [
            (each, found) for each, found in zip(order.plan.changes, now, strict=True) if each.component == component
        ]
        if all(found == each.before for each, found in mine) or all(found == each.after for each, found in mine):
            scene.disk.run(scene.service(component).restart, 1.0)


def after_the_power_is_back(scene: Scene, order: Order, *, at_boot: bool) -> list[str]:
    """Recover as certvigil-recover.service does before services are started, and as the daemon does after it.

    Where there is no such service, the daemon is the first to. Returns what is wrong then.
    """
    if at_boot:
        scene.recover(services_run=False)
        wrong = broken(scene, order, served=False)
    else:
        wrong = []
    boot(scene, order)
    endings = scene.recover()
    wrong += ["recovered twice"] if scene.recover() else []
    wrong += broken(scene, order) + [f"frozen: {why}" for why in frozen(scene.records()).values()]
    return [f"{each} {[ending.sentence for ending in endings]}" for each in wrong + damaged_sets(scene)]


def damaged_sets(scene: Scene) -> list[str]:
    root, wrong = f"{ROOT}/state/backups", []
    for component in scene.components:
        for each in backup.sets(scene.disk, root, component):
            try:
                backup.content(scene.disk, root, each)
            except BackupError as error:
                wrong.append(str(error))
    return wrong


def as_told(of: Film, scene: Scene) -> list[str]:
    """Return what is not as the ending said, after which no loss of power may change it."""
    now = [state(scene.disk, each.path) for each in of.order.plan.changes]
    said = [each.after if of.outcome is Outcome.COMMITTED else each.before for each in of.order.plan.changes]
    return [] if now == said else [f"{of.outcome} is forgotten"]


def subsets(parts: int, seed: str, *, thorough: bool) -> Iterator[Kept]:
    """Return what says of each part whether it is kept: of none, of all, at random, and of each alone or all but it."""
    chance = random.Random(seed)
    yield lambda: False
    yield lambda: True
    for _ in range(8 if thorough else 2):
        yield lambda: chance.random() < 0.5
    for one in range(min(parts, 16) if thorough else 0):
        yield partial(next, iter([each == one for each in range(parts)]))
        yield partial(next, iter([each != one for each in range(parts)]))


def lost(disk: VolatileDisk, kept: Kept) -> VolatileDisk:
    """Return a copy of the disk after the power was cut."""
    copy = disk.copy()
    copy.lose(kept)
    return copy


class Tried:
    """What was on the disks from which recovery was tried, and how."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()

    def first(self, disk: VolatileDisk, *how: bool) -> bool:
        """Whether nothing like it was tried before."""
        size = len(self._seen)
        self._seen.add((disk.lying, how))
        return len(self._seen) > size


def recovery(of: Film, disk: VolatileDisk, *, at_boot: bool) -> tuple[CutMoment, ...]:
    """Return each moment of the recovery of what is on a disk."""
    scene = of.at(disk)
    if not at_boot:
        boot(scene, of.order)
    world = FilmedWorld(disk)
    scene.recover(world, services_run=not at_boot)
    return world.end()


def of_scenes(repeated: frozenset[str]) -> pytest.MarkDecorator:
    """Have a test play each scene; if it is slow also those that prove what another proves."""
    slow = pytest.mark.slow
    return pytest.mark.parametrize(
        "name", [pytest.param(each, marks=slow if each in repeated else ()) for each in SCENES]
    )


in_both_depths = pytest.mark.parametrize("thorough", [False, pytest.param(True, marks=pytest.mark.slow)])


@in_both_depths
@of_scenes(_CONTAINED)
def test_power_lost_at_any_step_leaves_all_old_or_all_new(name: str, thorough: bool) -> None:
    of, tried = film(name), Tried()
    wrong = []
    for moment in of.moments:
        for number, kept in enumerate(subsets(moment.disk.uncertain, moment.about, thorough=thorough)):
            disk, at_boot = lost(moment.disk, kept), number % 3 != 1
            last = moment is of.moments[-1]
            if not tried.first(disk, at_boot, last):
                continue
            scene = of.at(disk)
            found = after_the_power_is_back(scene, of.order, at_boot=at_boot)
            if last:
                found += as_told(of, scene)
            wrong += [f"{moment.about} ({number}): {each}" for each in found]
    assert wrong == []


@in_both_depths
@pytest.mark.parametrize("first", ["power", "kill"])
@of_scenes(_CONTAINED | {_GOES_BACK})
def test_power_lost_in_the_recovery_from_a_loss_or_a_kill_leaves_all_old_or_all_new(
    name: str, first: str, thorough: bool
) -> None:
    """After a kill everybody sees what the medium does not have yet: recovery must not build on it."""
    of, strides, tried = film(name), (1, 3) if thorough else (7, 7), Tried()
    wrong = []
    for number, moment in enumerate(of.moments[:: strides[0]]):
        disk, chance = moment.disk.copy(), random.Random(f"{name} {moment.about}")
        if first == "power":
            disk.lose(partial(_toss, chance))
        for again in recovery(of, disk, at_boot=first == "power" and number % 2 == 1)[
            number % strides[1] :: strides[1]
        ]:
            for kept in (lambda: False, partial(_toss, chance)):
                at_boot = _toss(chance)
                if not tried.first(cut := lost(again.disk, kept), at_boot):
                    continue
                found = after_the_power_is_back(of.at(cut), of.order, at_boot=at_boot)
                wrong += [f"{moment.about}, then {again.about}: {each}" for each in found]
    assert wrong == []


def _toss(chance: random.Random) -> bool:
    return chance.random() < 0.5


def _by(tape: list[bool]) -> Kept:
    """Return what keeps as the tape says, and whatever comes after its end."""
    return partial(next, iter(tape), True)


tapes = st.lists(st.booleans(), max_size=40).map(_by)


@settings(deadline=None, max_examples=examples(150))
@given(st.data())
def test_any_subset_lost_at_any_two_moments_leaves_all_old_or_all_new(data: st.DataObject) -> None:
    of = film(data.draw(st.sampled_from(list(SCENES)), "scene"))
    moment = data.draw(st.sampled_from(of.moments), "cut")
    disk = moment.disk.copy()
    disk.lose(data.draw(tapes))
    if data.draw(st.booleans(), "cut again"):
        again = data.draw(st.sampled_from(recovery(of, disk, at_boot=data.draw(st.booleans(), "at boot"))), "again")
        disk = again.disk.copy()
        disk.lose(data.draw(tapes))
    assert after_the_power_is_back(of.at(disk), of.order, at_boot=data.draw(st.booleans(), "then at boot")) == []


def test_the_disk_forgets_names_and_bytes_that_were_not_synced_and_nothing_else() -> None:
    """A model that forgets nothing proves nothing."""
    disk = VolatileDisk()
    world = ModelWorld(disk)
    world.make_directory("/d")
    disk.sync()
    world.write_at(descriptor := world.create("/d/synced"), 0, b"whole")
    world.sync(descriptor)
    world.sync_directory("/d")
    world.create("/d/nameless")
    world.write_at(descriptor, 0, b"WHOLE and more")
    assert world.read("/d/synced")[1] == b"WHOLE and more"
    grown = disk.copy()
    grown.lose(_by([True, False, False]))
    assert ModelWorld(grown).read("/d/synced")[1] == b"whole\0\0\0\0\0\0\0\0\0"
    disk.lose(lambda: False)
    assert world.names("/d") == ("synced",)
    assert world.read("/d/synced")[1] == b"whole"


def test_a_record_that_was_lost_with_the_power_leaves_no_hole_before_another() -> None:
    """One process is killed amid a record, the next writes another behind it, and then the power is cut."""
    disk = VolatileDisk()
    ModelWorld(disk).make_directory("/state")
    disk.sync()

    def written(disk: VolatileDisk, transaction: str) -> tuple[CutMoment, ...]:
        world = FilmedWorld(disk)
        Journal(world, "/state/journal").append(Record(1.0, transaction, Event.STAGED, {"why": "x" * 200}))
        return world.end()

    for killed in written(disk, "first"):
        for cut in written(killed.disk.copy(), "second"):
            for kept in subsets(cut.disk.uncertain, cut.about, thorough=True):
                after = cut.disk.copy()
                after.lose(kept)
                names = [each.transaction for each in Journal(ModelWorld(after), "/state/journal").records()]
                assert names in ([], ["first"], ["second"], ["first", "second"]), (killed.about, cut.about)
