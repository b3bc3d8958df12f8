"""Recovery makes the files a whole set before anything else, however often it is interrupted or a medium fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from actions.ending import Cause, Ending, Outcome
from actions.journal import Event
from actions.journal_state import frozen
from actions.recover import MOST_ATTEMPTS, KeptPaths, NotWhole, recover, thaw
from actions.target import state
from actions.transaction_state import TransactionContext
from actions.validate import Live, Worth
from actions.verdict import Old
from actions.world import World
from tests.kit.scene import Scene, broken
from tests.kit.worlds import KILLED, Fault, Step, StepWorld, in_a_process, intrude


def at(name: str, about: str = "", which: int = 0) -> Callable[[Step], bool]:
    """Return what tells the n-th step of a name, about paths with that end."""
    seen = [-1]

    def is_it(step: Step) -> bool:
        seen[0] += step.name == name and step.about.endswith(about)
        return step.name == name and step.about.endswith(about) and seen[0] == which

    return is_it


def dying(told: Callable[[Step], bool], when: str = "before") -> Fault:
    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if told(step):
            if when == "after":
                act()
            os._exit(KILLED)
        return act()

    return fault


def failing(name: str, number: int, times: int) -> Fault:
    """Let the next steps of a name that write over a file of the set fail, so many times."""
    left, over, changed = [times], [False], [False]

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.name in {"open", "close"}:
            over[0], changed[0] = step.name == "open" and step.about.endswith(("site.key", "site.crt")), False
        changed[0] = changed[0] or step.name == "set_owner"
        if over[0] and changed[0] and step.name == name and left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number), step.about)
        return act()

    return fault


def switched(scene: Scene, files: int) -> None:
    """Leave what a replacement leaves that is killed once so many files were switched."""
    world = StepWorld(dying(at("exchange", which=files - 1), "after"))
    assert in_a_process(partial(scene.replace, world)) == KILLED


def judged(scene: Scene, worth: Worth) -> TransactionContext:
    """Return the setting in which the old set is worth that, and every other is usable."""

    def judge(_components: tuple[str, ...], files: Mapping[str, bytes], _now: float) -> Worth:
        return worth if any(b"old" in each for each in files.values()) else Worth()

    return replace(scene.context(), live=Live(scene.look, scene.judge, worth=judge))


def recovered(context: TransactionContext, *, services_run: bool = True) -> tuple[Ending, ...]:
    with closing(context.journal):
        return recover(context, services_run=services_run)


def lose_the_old(scene: Scene) -> None:
    """Have neither old inodes nor an intact backup set be left; staged files stay."""
    for name in scene.beside():
        path = f"{scene.root}/{name}"
        if b"new" not in Path(path).read_bytes():
            os.unlink(path)
    for each in scene.components:
        for kept in Path(f"{scene.root}/state/backups/{each}").iterdir():
            for copy in kept.glob("0*"):
                copy.write_bytes(b"damaged")


def on_disk(scene: Scene) -> set[str]:
    """Return which sets are on disk."""
    data = (scene.read(scene.key("web")), scene.read(scene.certificate("web")))
    return {"new" if b"new" in each else "old" for each in data}


# Attempts


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_recoveries_killed_before_the_set_is_whole_do_not_count_and_freeze_no_half_pair(
    live: bool, when: str, room: Path
) -> None:
    scene = Scene(f"{room}/s", ("mail", "web"))
    order = scene.order()
    switched(scene, 3)
    for attempt in range(10):
        name = "sync_directory" if attempt % 2 and when == "before" else "exchange"
        ended = in_a_process(partial(scene.recover, StepWorld(dying(at(name), when)), services_run=live))
        assert ended == (KILLED if when == "before" or attempt < 3 else 0)
    assert len(scene.recover(services_run=live)) == (when == "before")
    assert broken(scene, order, served=live) == []
    assert frozen(scene.records()) == {}


def test_recoveries_killed_ten_times_amid_their_commands_still_end_live_on_one_set(room: Path) -> None:
    """After three of them one service went on with the old set, and the new one lay on disk."""
    scene = Scene(f"{room}/s", ("mail", "web"), quiesce=True)
    order = scene.order()
    switched(scene, 3)
    for _ in range(10):
        assert in_a_process(partial(scene.recover, StepWorld(dying(at("run"))))) == KILLED
    assert len(scene.recover()) == 1
    assert broken(scene, order) == []
    assert frozen(scene.records()) == {}


def test_a_recovery_that_is_interrupted_with_a_whole_set_on_disk_counts(room: Path) -> None:
    scene = Scene(f"{room}/s", quiesce=True)
    order = scene.order()
    switched(scene, 1)
    for _ in range(MOST_ATTEMPTS):
        assert in_a_process(partial(scene.recover, StepWorld(dying(at("run"))))) == KILLED
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.FROZEN
    assert f"interrupted {MOST_ATTEMPTS} times" in ending.sentence
    assert [state(World(), each.path) for each in order.plan.changes] == [each.before for each in order.plan.changes]


ROUNDS: Mapping[str, Mapping[str, Any]] = {
    "two components": {"components": ("mail", "web"), "missing_chain": True},
    "removes a file": {"components": ("mail", "web"), "removed_chain": True},
    "written in place": {"in_place": True},
    "stopped for the switch": {"quiesce": True},
    "fails": {"components": ("mail", "web"), "new": {"web": b"GOOD new, no java"}},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ROUNDS)
def test_up_to_ten_recoveries_interrupted_in_a_row_leave_a_whole_set(name: str, seed: int, room: Path) -> None:
    drawn = Random(f"{name}-{seed}")
    scene = Scene(f"{room}/s", **ROUNDS[name])
    order = scene.order()
    story = [_killed_at(drawn.randint(0, 130), scene.replace)]
    lives = [drawn.random() < 0.7 for _ in range(drawn.randint(1, 10))]
    story += [_killed_at(drawn.randint(0, 40), partial(scene.recover, services_run=live)) for live in lives]
    endings = scene.recover()
    now = [state(scene.disk, each.path) for each in order.plan.changes]
    befores, afters = ([getattr(each, side) for each in order.plan.changes] for side in ("before", "after"))
    assert now in (befores, afters), (story, endings)
    if not frozen(scene.records()):
        # One at boot may have ended it: services are started after it.
        assert broken(scene, order, served=all(lives)) == [], (story, endings)
    assert scene.recover() == ()


def _killed_at(number: int, act: Callable[[World], object]) -> str:
    """Kill something at that one of the steps that change something, if it comes to it; returns where, and whether."""
    left = [number]

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        left[0] -= step.changes
        if left[0] < 0:
            os._exit(KILLED)
        return act()

    return f"{number}: {in_a_process(partial(act, StepWorld(fault)))}"


# The old set is of no use


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    "worth", [Worth(Old.SPENT, "it has expired"), Worth(Old.SPENT, "it is revoked"), Worth(Old.BARRED, "given up")]
)
def test_all_new_goes_forward_where_the_old_set_is_of_no_use(worth: Worth, live: bool, room: Path) -> None:
    scene = Scene(f"{room}/s")
    switched(scene, 2)
    (ending,) = recovered(judged(scene, worth), services_run=live)
    assert ending.outcome is (Outcome.COMMITTED if live else Outcome.FAILED_FORWARD)
    assert on_disk(scene) == {"new"}
    assert scene.recover() == ()


def test_all_new_goes_forward_at_boot_where_no_client_accepts_the_old_set_any_more(room: Path) -> None:
    scene = Scene(f"{room}/s")
    switched(scene, 2)

    def judge(components: tuple[str, ...], files: Mapping[str, bytes], now: float) -> Any:
        new = {path: data for path, data in files.items() if b"old" not in data}
        return scene.judge(components, new, now)

    (ending,) = recovered(replace(scene.context(), live=Live(scene.look, judge)), services_run=False)
    assert ending.outcome is Outcome.FAILED_FORWARD
    assert on_disk(scene) == {"new"}


@pytest.mark.parametrize("live", [True, False])
def test_half_a_set_is_completed_where_the_key_of_the_old_was_given_up(live: bool, room: Path) -> None:
    scene = Scene(f"{room}/s")
    switched(scene, 1)
    (ending,) = recovered(judged(scene, Worth(Old.BARRED, "its key was given up")), services_run=live)
    assert ending.outcome is (Outcome.COMMITTED if live else Outcome.FAILED_FORWARD)
    assert on_disk(scene) == {"new"}
    assert scene.beside() == []


@pytest.mark.parametrize("live", [True, False])
def test_half_a_set_is_undone_where_the_old_has_only_expired(live: bool, room: Path) -> None:
    scene = Scene(f"{room}/s")
    switched(scene, 1)
    (ending,) = recovered(judged(scene, Worth(Old.SPENT, "it has expired")), services_run=live)
    assert ending.outcome is Outcome.ROLLED_BACK
    assert on_disk(scene) == {"old"}


def test_a_new_set_that_fails_is_frozen_and_not_undone_where_the_key_of_the_old_was_given_up(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD new, no java"})
    order = scene.order()
    switched(scene, 2)
    (ending,) = recovered(judged(scene, Worth(Old.BARRED, "its key was given up")))
    assert (ending.outcome, ending.cause) == (Outcome.FROZEN, Cause.CLIENT_LOST)
    assert "the old set may not come back (its key was given up), so the new files stay" in ending.sentence
    assert [state(World(), each.path) for each in order.plan.changes] == [each.after for each in order.plan.changes]


# What was validated, what is missing, what is lost


def test_what_was_validated_is_committed_though_somebody_wrote_another_set_since(room: Path) -> None:
    scene = Scene(f"{room}/s")
    Scene(f"{room}/twin").replace(world := StepWorld())
    validated = [each for each in world.trace if each.name == "sleep"][-1]
    after = [each for each in world.trace[validated.number :] if each.name == "write_at"][1]
    assert in_a_process(partial(scene.replace, StepWorld(dying(lambda step: step.number == after.number)))) == KILLED
    assert scene.records()[-1].event is Event.VALIDATED
    Scene.write(scene.certificate("web"), b"GOOD of the next renewal")
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.COMMITTED
    assert scene.read(scene.certificate("web")) == b"GOOD of the next renewal"
    assert scene.recover() == ()


@pytest.mark.parametrize("files", [1, 2])
@pytest.mark.parametrize("live", [True, False])
def test_a_file_that_is_missing_is_put_back(live: bool, files: int, room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD new, no java"})
    order = scene.order()
    switched(scene, files)
    os.unlink(scene.key("web"))
    (ending,) = scene.recover(services_run=live)
    assert ending.outcome is Outcome.ROLLED_BACK
    assert broken(scene, order, served=live) == []


@pytest.mark.parametrize("live", [True, False])
def test_only_a_component_with_somebody_elses_file_is_frozen_half_and_half(live: bool, room: Path) -> None:
    scene = Scene(f"{room}/s", ("mail", "web"))
    switched(scene, 4)
    world = StepWorld(dying(at("exchange", which=2), "after"))
    assert in_a_process(partial(scene.recover, world, services_run=False)) == KILLED
    Scene.write(scene.key("web"), b"of someone else")
    assert b"new" in scene.read(scene.key("mail"))
    (ending,) = scene.recover(services_run=live)
    assert ending.outcome is Outcome.FROZEN
    assert f"{scene.key('web')} is neither the old nor the new file: it was left alone" in ending.sentence
    assert scene.read(scene.key("web")) == b"of someone else"
    assert b"old" in scene.read(scene.key("mail"))
    assert b"old" in scene.read(scene.certificate("mail"))


def test_a_component_that_serves_its_old_set_has_it_back_where_another_is_somebody_elses(room: Path) -> None:
    components = ("mail", "web")
    Scene(f"{room}/trace", components).replace(trace := StepWorld())
    last = [each for each in trace.trace if each.name == "run"][-1]
    scene = Scene(f"{room}/s", components)
    # Mail is on its new set by then, and web not yet.
    world = StepWorld(intrude(last, lambda: Scene.write(scene.key("mail"), b"of someone else")))
    ending = scene.replace(world)
    assert ending.outcome is Outcome.FROZEN
    assert b"old" in scene.read(scene.certificate("web"))
    assert b"old" in scene.read(scene.key("web"))
    assert b"old" in scene.memory("web")
    assert scene.read(scene.key("mail")) == b"of someone else"


@pytest.mark.parametrize("live", [True, False])
def test_half_a_set_whose_old_half_is_lost_is_made_whole_with_the_new(live: bool, room: Path) -> None:
    scene = Scene(f"{room}/s")
    switched(scene, 1)
    lose_the_old(scene)
    (ending,) = scene.recover(services_run=live)
    assert ending.outcome is (Outcome.COMMITTED if live else Outcome.FAILED_FORWARD)
    assert on_disk(scene) == {"new"}


def test_a_new_set_that_fails_stays_whole_where_the_old_cannot_be_had(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD new, no java"})
    order = scene.order()
    switched(scene, 2)
    lose_the_old(scene)
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.FROZEN
    assert [state(World(), each.path) for each in order.plan.changes] == [each.after for each in order.plan.changes]


# In place, and media that fail


def torn(scene: Scene) -> None:
    """Leave what a replacement in place leaves that is killed amid the second file."""
    world = StepWorld(dying(at("truncate", which=_truncates(scene) - 1), "before"))
    assert in_a_process(partial(scene.replace, world)) == KILLED


def _truncates(scene: Scene) -> int:
    twin = Scene(f"{scene.root}-twin", in_place=True)
    twin.replace(world := StepWorld())
    return sum(each.name == "truncate" for each in world.trace)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("name", ["truncate", "write_at", "sync", "set_owner"])
def test_a_file_written_over_is_made_whole_however_often_that_failed_before(name: str, number: int, room: Path) -> None:
    scene = Scene(f"{room}/s", in_place=True)
    order = scene.order()
    torn(scene)
    for _ in range(5):
        (ending,) = scene.recover(StepWorld(failing(name, number, 99)))
        assert ending.outcome is Outcome.FROZEN
        assert "the next recovery tries again" in ending.sentence
        assert "web" in frozen(scene.records())
    assert scene.replace().cause is Cause.COMPONENT_FROZEN
    assert sum(each.event is Event.FROZEN for each in scene.records()) == 1, "the same is said once"
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert frozen(scene.records()) == {}
    assert broken(scene, order) == []
    assert scene.recover() == ()
    assert scene.replace().outcome is Outcome.COMMITTED


@pytest.mark.parametrize("name", ["truncate", "write_at", "sync", "set_owner"])
def test_a_medium_that_fails_once_or_twice_is_written_to_until_it_holds(name: str, room: Path) -> None:
    scene = Scene(f"{room}/s", in_place=True)
    order = scene.order()
    torn(scene)
    (ending,) = scene.recover(StepWorld(failing(name, errno.EIO, 2)))
    assert ending.outcome is Outcome.ROLLED_BACK
    assert broken(scene, order) == []


@pytest.mark.parametrize(("new", "outcome"), [(b"GOOD new", Outcome.COMMITTED), (b"BAD", Outcome.ROLLED_BACK)])
def test_a_missing_file_is_made_in_place_and_removed_by_an_undo(new: bytes, outcome: Outcome, room: Path) -> None:
    scene = Scene(f"{room}/s", in_place=True, missing_chain=True, new={"web": new})
    order = scene.order()
    ending = scene.replace()
    assert (ending.outcome, ending.cause is Cause.STORAGE) == (outcome, False), ending
    assert broken(scene, order) == []
    assert os.path.exists(f"{scene.root}/web/site.chain") is (outcome is Outcome.COMMITTED)


def test_a_file_that_was_written_over_and_then_removed_is_made_again_by_recovery(room: Path) -> None:
    scene = Scene(f"{room}/s", in_place=True)
    order = scene.order()
    torn(scene)
    os.unlink(scene.key("web"))
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert broken(scene, order) == []


@pytest.mark.parametrize("name", ["truncate", "sync"])
def test_a_switch_in_place_whose_undo_fails_as_well_is_undone_by_recovery(name: str, room: Path) -> None:
    scene = Scene(f"{room}/s", in_place=True)
    order = scene.order()
    ending = scene.replace(StepWorld(failing(name, errno.ENOSPC, 99)))
    assert (ending.outcome, ending.cause) == (Outcome.FROZEN, Cause.STORAGE)
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert broken(scene, order) == []


def test_files_that_cannot_be_read_are_looked_at_again_by_the_next_recovery(room: Path) -> None:
    scene = Scene(f"{room}/s")
    order = scene.order()
    switched(scene, 1)

    def fault(step: Step, act: Callable[[], Any], given: tuple[Any, ...]) -> Any:
        if step.name == "read" and step.about.endswith("site.key"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), step.about)
        return act()

    for _ in range(4):
        (ending,) = scene.recover(StepWorld(fault))
        assert ending.outcome is Outcome.FROZEN
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert broken(scene, order) == []


# Thawing


def mixed(scene: Scene) -> None:
    """Leave a component frozen on half a set of somebody else's."""
    switched(scene, 2)
    Scene.write(scene.certificate("web"), b"GOOD of someone else")
    (ending,) = scene.recover()
    assert ending.outcome is Outcome.FROZEN


def thawing(scene: Scene, pairs: bool) -> object:
    """Thaw where certificate and key are, or are not, said to belong together."""

    def worth(_components: tuple[str, ...], _files: Mapping[str, bytes], _now: float) -> Worth:
        return Worth() if pairs else Worth(Old.BARRED, "the files of web hold no private key of their certificate")

    context = replace(scene.context(), live=Live(scene.look, scene.judge, worth=worth))
    with closing(context.journal):
        return thaw(context, "web")


def test_thawing_verifies_first_and_removes_nothing_where_the_set_is_not_whole(room: Path) -> None:
    scene = Scene(f"{room}/s")
    mixed(scene)
    beside, records = scene.beside(), len(scene.records())
    found = thawing(scene, pairs=False)
    assert found == NotWhole("web", "the files of web hold no private key of their certificate")
    assert (scene.beside(), len(scene.records())) == (beside, records)
    assert "web" in frozen(scene.records())
    assert thawing(scene, pairs=True) is None
    assert scene.beside() == []


def test_thawing_refuses_a_set_of_which_a_file_is_missing(room: Path) -> None:
    scene = Scene(f"{room}/s")
    mixed(scene)
    os.unlink(scene.key("web"))
    found = thaw(scene.context(), "web")
    assert found == NotWhole("web", f"{scene.key('web')} is missing")
    assert "web" in frozen(scene.records())


def test_thawing_keeps_every_inode_whose_content_is_nowhere_else(room: Path) -> None:
    scene = Scene(f"{room}/s")
    mixed(scene)
    (written,) = [each for each in scene.beside() if each.endswith("old") and "site.key" in each]
    with open(f"{scene.root}/{written}", "ab") as file:
        file.write(b"by who had it open")
    old = {f"{scene.root}/{each}" for each in scene.beside() if "site.key" in each}
    found = thaw(scene.context(), "web")
    assert isinstance(found, KeptPaths)
    assert set(found.paths) <= old
    assert any(b"by who had it open" in Path(each).read_bytes() for each in found.paths)
    assert {f"{scene.root}/{each}" for each in scene.beside()} == set(found.paths)
    assert "web" not in frozen(scene.records())
    assert list(scene.records()[-1].data["kept"]) == list(found.paths)


def test_thawing_keeps_the_old_key_where_the_backup_set_is_damaged(room: Path) -> None:
    scene = Scene(f"{room}/s")
    mixed(scene)
    for kept in Path(f"{scene.root}/state/backups/web").iterdir():
        for copy in kept.glob("0*"):
            copy.write_bytes(b"damaged")
    found = thaw(scene.context(), "web")
    assert isinstance(found, KeptPaths)
    assert any(Path(each).read_bytes() == b"old key\n" * 9 for each in found.paths)
