"""A change of a trust store that is killed at any step is finished or undone, and its service runs again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import pytest

from actions.backup import state_of
from actions.ending import Outcome
from actions.keytool import Keytool
from actions.plan import Kind, Order, Plan
from actions.transaction_state import TransactionContext
from actions.trust_change import AddAnchors, Deed, RemoveAnchor, Rendered, StoreFile, change_of, render
from actions.validate import Acceptance, Live, LiveView
from actions.world import Standing, World
from config.model import PemBundle, TrustStore
from config.service import Service
from monitor.lab.ca import bundle
from probes.certificate import certificate
from probes.store_content import read_store
from tests.kit.authority import ROOT
from tests.kit.client_stores import OTHER, SECOND, by_keytool
from tests.kit.matrix import played, some
from tests.kit.scene import PATIENT, Scene, broken, torn
from tests.kit.worlds import Cell, Step, StepWorld, WatchedWorld, cells, killed

pytestmark = pytest.mark.server("keytool")

ADD: Final = AddAnchors((certificate(ROOT.der()),))
PLAIN: Final = b"# the vendor's\n" + bundle((OTHER, SECOND))


@dataclass
class StoreScene(Scene):
    """A trust store, and the service that is stopped for each change and holds what it was started with."""

    components: tuple[str, ...] = ("store",)
    before: bytes = PLAIN
    deed: Deed = ADD
    accepts: bytes = ROOT.der()
    """The client accepts while the store has this certificate."""

    def __post_init__(self) -> None:
        if self.disk.names(self.root):
            return
        for each in ("", "/state", "/store"):
            self.disk.make_directory(f"{self.root}{each}")
        self._make(self.certificate("store"), self.before, 0o644)
        self._make(f"{self.root}/store.memory", self.before, 0o600)

    def service(self, component: str) -> Service:
        up = ("/bin/cp", self.certificate(component), f"{self.root}/{component}.memory")
        return Service(up, stop=("/bin/rm", "-f", f"{self.root}/{component}.memory"), start=up, quiesce=True)

    def context(self, world: World | None = None, **services: Service) -> TransactionContext:
        return replace(super().context(world, **services), live=Live(self.look, lambda *_: frozenset()))

    def look(self, components: tuple[str, ...], _now: float) -> LiveView:
        (name,) = components
        held = read_store(self.read(self.certificate(name))).anchors
        return LiveView(accepted=frozenset({Acceptance("portal", "engine")} if self.accepts in held else ()))

    def order(self) -> Order:
        path = self.certificate("store")
        new = rendered(self.before, self.deed)
        store = TrustStore("store", PemBundle(path))
        file = StoreFile(store, path, state_of(*self.disk.read(path)), self.before, read_store(self.before))
        return Order(Plan(Kind.TRUST, ("store",), (change_of(file, new),)), {path: new.data})


@cache
def rendered(before: bytes, deed: Deed) -> Rendered:
    """Return the new store: keytool is slow, and runs before there is a transaction."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "store")
        Path(path).write_bytes(before)
        world = World()
        store = TrustStore("store", PemBundle(path))
        file = StoreFile(store, path, state_of(*world.read(path)), before, read_store(before))
        made = render(file, deed, Keytool("/usr/bin/keytool", world, directory), world.now())
    assert isinstance(made, Rendered), made
    return made


SCENES: Final[Mapping[str, tuple[Callable[[], dict[str, object]], Outcome]]] = {
    "a bundle gets a certificate": (dict, Outcome.COMMITTED),
    "a keystore gets a certificate": (lambda: {"before": by_keytool("jks")}, Outcome.COMMITTED),
    "a keystore in PKCS#12 gets a certificate": (lambda: {"before": by_keytool("pkcs12")}, Outcome.COMMITTED),
    "a keystore loses the certificate that its client needs": (
        lambda: {"before": by_keytool("jks"), "deed": RemoveAnchor("second"), "accepts": SECOND.der()},
        Outcome.ROLLED_BACK,
    ),
}


_MARKS: Final = dict.fromkeys(
    ("a keystore gets a certificate", "a keystore in PKCS#12 gets a certificate"), pytest.mark.slow
)
"""What is written is bytes to a transaction, as those of a bundle are; to read a keystore takes long, by design."""


class StoreRooms:
    """New directories, one for each cell."""

    def __init__(self, parent: Path, given: Mapping[str, Any]) -> None:
        self._parent, self._given, self._number = parent, given, 0

    def scene(self) -> StoreScene:
        self._number += 1
        return StoreScene(f"{self._parent}/{self._number}", **self._given, terms=PATIENT)


def change(scene: Scene, world: StepWorld) -> object:
    return scene.replace(world)


def recover(scene: Scene, world: StepWorld) -> object:
    return scene.recover(world)


def traced(scene: Scene, act: Callable[[Scene, StepWorld], object]) -> list[Step]:
    world = WatchedWorld(scene.root)
    act(scene, world)
    return world.trace


def after_recovery(scene: Scene, order: Order) -> list[str]:
    """Return what is wrong before, after, and after a second recovery."""
    wrong = [f"torn: {path}" for path in torn(scene, order)]
    scene.recover()
    wrong += broken(scene, order)
    if again := scene.recover():
        wrong.append(f"recovery went on: {again}")
    return wrong + broken(scene, order)


def _changed(rooms: StoreRooms, outcome: Outcome) -> list[Step]:
    scene = rooms.scene()
    trace = traced(scene, change)
    assert scene.ends() == [outcome]
    return trace


def _played(rooms: StoreRooms, cell: Cell) -> list[str]:
    scene = rooms.scene()
    order = scene.order()
    killed(partial(change, scene), cell)
    return after_recovery(scene, order)


@pytest.mark.parametrize("name", [pytest.param(each, marks=_MARKS.get(each, ())) for each in SCENES])
def test_a_change_killed_at_any_step_is_finished_or_undone(name: str, room: Path) -> None:
    given, outcome = SCENES[name]
    rooms = StoreRooms(room, given())
    assert played(lambda: cells(_changed(rooms, outcome)), partial(_played, rooms)) == []


def _killed_again(rooms: StoreRooms, first: Cell) -> Iterator[str]:
    """Kill a change, and then its recovery after its last step."""
    template = rooms.scene()
    killed(partial(change, template), first)
    share = some(3, str(first))
    for second in filter(lambda each: share.has(str(each)), cells(traced(template, recover))):
        scene = rooms.scene()
        order = scene.order()
        killed(partial(change, scene), first)
        killed(partial(recover, scene), second)
        yield from (f"{second}: {each}" for each in after_recovery(scene, order))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a keystore gets a certificate"])
def test_a_recovery_that_is_killed_as_well_is_finished_by_the_next(name: str, room: Path) -> None:
    given, outcome = SCENES[name]
    rooms = StoreRooms(room, given())

    def telling() -> Iterator[Cell]:
        trace = _changed(rooms, outcome)
        return (each for each in cells(trace) if each.step.name in ("exchange", "run"))

    assert played(telling, lambda first: _killed_again(rooms, first)) == []


@pytest.mark.parametrize(
    ("standing", "why"), [((True, False, False), "read-only"), ((False, True, False), "immutable")]
)
def test_a_store_that_cannot_be_changed_is_refused_before_its_service_is_stopped(
    standing: tuple[bool, bool, bool], why: str, room: Path
) -> None:
    def fault(step: Step, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        return Standing(*standing) if step.name == "standing" else act()

    scene = StoreScene(f"{room}/scene", terms=PATIENT)
    world = StepWorld(fault)
    ending = scene.replace(world)
    assert ending.outcome is Outcome.REFUSED
    assert f"is {why}" in ending.sentence
    assert not [each for each in world.trace if each.name == "run"]
