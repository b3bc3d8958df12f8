"""Remedial transactions: what is broken is mended although the configuration test fails, and is never gone back to."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from actions.ending import Cause, Ending, Outcome
from actions.journal import Event
from actions.journal_state import frozen
from actions.plan import Ill, Order
from actions.recover import recover
from actions.refusal import refusal
from actions.transaction import transact
from actions.world import World
from config.service import Activation, Service
from tests.kit.scene import Scene
from tests.kit.worlds import WatchedWorld, cells, killed, since_the_intent

BROKEN: Final = b"BAD half of a pair\n"
ILLS: Final = {"web": Ill.DEAD}


@dataclass
class BrokenSet:
    """A component whose certificate fails the configuration test, which names it or does not."""

    scene: Scene
    names: bool = True
    ills: dict[str, Ill] = field(default_factory=lambda: dict(ILLS))
    attended: bool = True
    services: dict[str, Service] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.scene.records():
            self.scene.write(self.path, BROKEN, 0o604)

    @property
    def path(self) -> str:
        return self.scene.certificate("web")

    @property
    def memory(self) -> str:
        return f"{self.scene.root}/web.memory"

    def service(self, **more: Any) -> Service:
        """Return a service that counts how often it is started, and of which nothing else than its test may fail."""
        said = f"cannot load certificate {self.path}: no start line" if self.names else "syntax error in line 3"
        test = f"grep -q GOOD {self.path} || {{ echo '{said}'; exit 1; }}"
        up = f"echo up >> {self.scene.root}/started; cp {self.path} {self.memory}"
        plain = self.scene.service("web")
        return replace(
            plain, test=("/bin/sh", "-c", test), restart=("/bin/sh", "-c", up), start=("/bin/sh", "-c", up), **more
        )

    def order(self) -> Order:
        return replace(self.scene.order(), mends=self.ills)

    def transact(self, world: World | None = None, **more: Any) -> Ending:
        services = {"web": self.service(**more), **self.services}
        context = replace(self.scene.context(world, **services), attended=self.attended)
        with closing(context.journal):
            return transact(context, self.order())

    def refusal(self) -> Cause | None:
        context = replace(self.scene.context(None, web=self.service(), **self.services), attended=self.attended)
        with closing(context.journal):
            found = refusal(context, self.order())
        return None if found is None else found.cause

    @property
    def started(self) -> int:
        try:
            return len(Path(f"{self.scene.root}/started").read_text(encoding="ascii").splitlines())
        except FileNotFoundError:
            return 0

    def looks(self) -> list[tuple[int, int, bytes]]:
        """Return what may not change of the files where nothing is to be done: inode, mode and content."""
        paths = (self.path, self.scene.key("web"))
        return [(os.stat(each).st_ino, os.stat(each).st_mode, Path(each).read_bytes()) for each in paths]


@pytest.fixture
def broken(room: Path) -> BrokenSet:
    return BrokenSet(Scene(f"{room}/scene"))


def test_a_set_that_is_broken_is_replaced_though_the_test_fails_before(broken: BrokenSet) -> None:
    ending = broken.transact()
    assert ending.outcome is Outcome.COMMITTED, ending
    assert broken.scene.memory("web") == broken.scene.read(broken.path) != BROKEN
    (begin,) = (each for each in broken.scene.records() if each.event is Event.BEGIN)
    assert (begin.data["mends"], begin.data["failing"]) == ({"web": "dead"}, True)


def test_a_test_that_fails_with_a_good_set_refuses(broken: BrokenSet) -> None:
    broken.ills.clear()
    before = broken.looks()
    assert broken.transact().cause is Cause.CONFIG_TEST_BEFORE
    assert (broken.looks(), broken.started) == (before, 0)


def test_where_the_test_fails_afterwards_too_everything_is_as_it_was_and_nothing_was_started(room: Path) -> None:
    broken = BrokenSet(Scene(f"{room}/scene", new={"web": b"BAD as well"}))
    before, memory = broken.looks(), broken.scene.memory("web")
    ending = broken.transact()
    assert (ending.outcome, ending.cause) == (Outcome.ROLLED_BACK, Cause.CONFIG_TEST_BEFORE)
    assert "fails with the new files, too" in ending.sentence
    assert (broken.looks(), broken.started, broken.scene.memory("web")) == (before, 0, memory)
    assert broken.scene.beside() == []
    events = [each.event for each in broken.scene.records()]
    assert Event.QUARANTINED not in events, "the candidate may be in order"


@pytest.mark.parametrize(
    ("names", "ill", "outcome"),
    [
        (True, Ill.DEAD, Outcome.COMMITTED),
        (True, Ill.DOUBTFUL, Outcome.COMMITTED),
        (False, Ill.DEAD, Outcome.REFUSED),
        (True, Ill.EXPIRED, Outcome.REFUSED),
    ],
)
def test_with_nobody_attending_the_test_must_name_what_is_broken(
    names: bool, ill: Ill, outcome: Outcome, room: Path
) -> None:
    broken = BrokenSet(Scene(f"{room}/scene"), names, {"web": ill}, attended=False)
    before = broken.looks()
    ending = broken.transact()
    assert ending.outcome is outcome, ending
    if outcome is Outcome.REFUSED:
        assert ending.cause is Cause.CONFIG_TEST_BEFORE
        assert "so a person must ask for it" in ending.sentence
        assert (broken.looks(), broken.started) == (before, 0)


def test_a_person_has_mended_what_the_test_does_not_name(room: Path) -> None:
    broken = BrokenSet(Scene(f"{room}/scene"), names=False, ills={"web": Ill.EXPIRED})
    assert broken.transact().outcome is Outcome.COMMITTED


def test_the_test_of_another_service_is_not_explained_by_this_set(room: Path) -> None:
    broken = BrokenSet(Scene(f"{room}/scene", components=("mail", "web")))
    broken.services["mail"] = replace(broken.scene.service("mail"), test=("/bin/false",))
    before = broken.looks()
    assert broken.transact().cause is Cause.CONFIG_TEST_BEFORE
    assert (broken.looks(), broken.started) == (before, 0)


@pytest.mark.parametrize("attended", [True, False])
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("ills", [{}, ILLS], ids=["good", "broken"])
def test_a_dry_run_refuses_what_the_run_would(room: Path, attended: bool, names: bool, ills: dict[str, Ill]) -> None:
    broken = BrokenSet(Scene(f"{room}/scene"), names, dict(ills), attended)
    before = broken.looks()
    foreseen = broken.refusal()
    assert (broken.looks(), broken.started, broken.scene.records()) == (before, 0, ())
    ending = broken.transact()
    assert (foreseen or Cause.NONE) is ending.cause


# What is broken is never gone back to


def test_where_the_new_set_cannot_be_activated_what_runs_is_left_alone_and_the_old_one_is_not_started(
    broken: BrokenSet,
) -> None:
    memory = broken.scene.memory("web")
    ending = broken.transact(activate=Activation.RELOAD, reload=("/bin/false",))
    assert (ending.outcome, ending.cause) == (Outcome.FROZEN, Cause.ACTIVATION)
    assert (
        "no service starts with the old files, so the new ones stay, and the running service was left alone"
        in ending.sentence
    )
    assert (broken.started, broken.scene.memory("web")) == (0, memory)
    assert b"GOOD" in broken.scene.read(broken.path)
    assert frozen(broken.scene.records())


def test_a_service_that_was_down_for_the_broken_set_is_started_with_the_new_one(broken: BrokenSet) -> None:
    os.unlink(broken.memory)
    ending = broken.transact(activate=Activation.RELOAD, reload=("/bin/false",))
    assert ending.outcome is Outcome.COMMITTED, ending
    assert broken.scene.memory("web") == broken.scene.read(broken.path)


def test_a_mended_service_that_still_does_not_answer_is_not_committed(broken: BrokenSet) -> None:
    os.unlink(broken.memory)
    nothing = ("/bin/true",)
    service = replace(broken.service(), restart=nothing)
    broken.services["web"] = service
    ending = broken.transact()
    assert (ending.outcome, ending.cause) == (Outcome.FROZEN, Cause.NOT_SERVED)
    assert b"GOOD" in broken.scene.read(broken.path), "the new set is whole, the old one is not"


def test_a_dead_set_is_not_gone_back_to_where_there_is_no_test(broken: BrokenSet) -> None:
    failing = f"grep -q GOOD {broken.path} && exit 3; cp {broken.path} {broken.memory}"
    broken.services["web"] = Service(restart=("/bin/sh", "-c", failing))
    ending = broken.transact()
    assert ending.outcome is Outcome.FROZEN
    assert broken.scene.memory("web") != BROKEN
    assert b"GOOD" in broken.scene.read(broken.path)


def test_a_lost_client_is_no_reason_to_go_back_to_a_dead_set(room: Path) -> None:
    broken = BrokenSet(Scene(f"{room}/scene", new={"web": b"GOOD no java"}))
    ending = broken.transact()
    assert (ending.outcome, ending.cause) == (Outcome.FAILED_FORWARD, Cause.CLIENT_LOST)
    assert broken.scene.memory("web") == b"GOOD no java"


def test_what_runs_is_stopped_only_once_the_new_set_has_passed_the_test(room: Path) -> None:
    broken = BrokenSet(Scene(f"{room}/scene", new={"web": b"BAD as well"}, quiesce=True))
    memory = broken.scene.memory("web")
    assert broken.transact().outcome is Outcome.ROLLED_BACK
    assert (broken.started, broken.scene.memory("web")) == (0, memory)
    good = BrokenSet(Scene(f"{room}/another", quiesce=True))
    assert good.transact().outcome is Outcome.COMMITTED
    assert good.started == 1


_SLOW: Final = pytest.mark.slow


@pytest.mark.parametrize(
    ("quiesce", "live", "whole"),
    [
        pytest.param(False, True, True, id="restarted-live"),
        # Before the intent, a transaction is given up by the same steps in all of them.
        pytest.param(False, False, False, id="restarted-at boot since the intent"),
        pytest.param(True, True, False, id="stopped-live since the intent"),
        pytest.param(True, False, False, id="stopped-at boot since the intent"),
        pytest.param(False, False, True, id="restarted-at boot", marks=_SLOW),
        pytest.param(True, True, True, id="stopped-live", marks=_SLOW),
        pytest.param(True, False, True, id="stopped-at boot", marks=_SLOW),
    ],
)
def test_killed_at_any_step_no_service_is_put_onto_the_dead_set(
    quiesce: bool, live: bool, whole: bool, room: Path
) -> None:
    def made(name: object) -> BrokenSet:
        return BrokenSet(Scene(f"{room}/{name}", quiesce=quiesce))

    traced = made("traced")
    world = WatchedWorld(traced.scene.root)
    traced.transact(world)
    wrong: list[str] = []
    for number, cell in enumerate(cells(world.trace if whole else since_the_intent(world.trace))):
        broken = made(number)
        killed(broken.transact, cell)
        context = broken.scene.context(None, web=broken.service())
        with closing(context.journal):
            recover(context, services_run=live)
        held = [data for _, _, data in broken.looks()]
        old, new = held[0] == BROKEN, b"GOOD new" in held[0]
        if not ((old and held[1].startswith(b"old")) or (new and held[1].startswith(b"the new"))):
            wrong.append(f"{cell}: a mixed set")
        if broken.scene.memory("web") == BROKEN:
            wrong.append(f"{cell}: the dead set was activated")
        if broken.scene.beside() and not frozen(broken.scene.records()):
            wrong.append(f"{cell}: left beside: {broken.scene.beside()}")
    assert wrong == []
