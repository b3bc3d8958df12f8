"""Whoever had a file open before it was replaced may write to it for ten minutes: it is kept, and told, and no more."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from actions import backup
from actions.aside import KEPT_FOR, Late
from actions.backup import Retention
from actions.ending import Outcome
from actions.journal import Event
from actions.journal_state import JournalState
from actions.late import Compared, look_again
from actions.lock import Locks, acquire
from actions.recover import recover, thaw
from actions.transaction import transact
from actions.world import World
from tests.kit.late_writer import LATE, Writer
from tests.kit.scene import Scene, broken
from tests.kit.worlds import KILLED, LaterWorld, StepWorld, cells, in_a_process, intrude, kill


class LaterSteps(StepWorld):
    """Counts its steps once what stays linked is to be let go."""

    def now(self) -> float:
        return super().now() + KEPT_FOR + 1


@pytest.fixture
def scene(room: Path) -> Scene:
    return Scene(f"{room}/s")


@pytest.fixture
def writer(scene: Scene) -> Iterator[Writer]:
    with closing(Writer(scene.certificate("web"))) as made:
        yield made


def look(scene: Scene, world: World | None = None) -> Compared:
    context = scene.context(world)
    with closing(context.journal):
        return look_again(context)


def hidden(scene: Scene) -> list[str]:
    return [f"{scene.root}/web/{each}" for each in os.listdir(f"{scene.root}/web") if each.startswith(".")]


def late_set(scene: Scene) -> dict[str, bytes]:
    """Return the bytes of the only set of what was written late, by path."""
    root = f"{scene.root}/state/backups"
    (found,) = [each for each in backup.sets(World(), root, "web") if each.late]
    content = backup.content(World(), root, found)
    return {path: data for path, data in content.items() if data is not None}


@pytest.mark.parametrize("new", [{}, {"web": b"GOOD no java"}], ids=["committed", "rolled back"])
def test_what_was_replaced_stays_linked_for_its_owner_alone_and_goes_after_ten_minutes(
    new: dict[str, bytes], scene: Scene
) -> None:
    scene.new = new
    scene.replace()
    paths = hidden(scene)
    assert len(paths) == 2
    for path in paths:
        found = os.stat(path)
        assert (found.st_nlink, stat.S_IMODE(found.st_mode)) == (1, 0o600)
        assert os.path.basename(path).endswith(".old"), "no server takes it for a certificate"
    assert look(scene) == Compared()
    assert hidden(scene) == paths
    assert look(scene, LaterWorld()) == Compared()
    assert hidden(scene) == []
    assert not JournalState.of(scene.records()).aside


def test_what_is_written_to_the_old_file_after_the_commit_is_kept_as_a_backup_set_and_told(
    scene: Scene, writer: Writer
) -> None:
    order = scene.order()
    ending = scene.replace()
    assert (ending.outcome, ending.remarks) == (Outcome.COMMITTED, ())
    writer.write()
    (late,) = look(scene, LaterWorld()).late
    assert (late.component, late.transaction) == ("web", ending.transaction)
    assert late.paths == (scene.certificate("web"),)
    assert late_set(scene) == {scene.certificate("web"): LATE, scene.key("web"): b"old key\n" * 9}
    for word in (scene.certificate("web"), late.backup_set, late.kept, ending.transaction):
        assert word in late.sentence
    assert JournalState.of(scene.records()).late == {"web": late}
    assert look(scene, LaterWorld()) == Compared()
    assert hidden(scene) == []
    assert broken(scene, order) == []


def test_what_is_written_between_the_exchange_and_the_commit_is_told_with_the_end(
    room: Path, scene: Scene, writer: Writer
) -> None:
    world = StepWorld()
    Scene(f"{room}/trace").replace(world)
    exchange = [each for each in world.trace if each.name == "exchange"][-1]
    test = next(each for each in world.trace if each.name == "run" and each.number > exchange.number)
    ending = scene.replace(StepWorld(intrude(test, writer.write)))
    assert ending.outcome is Outcome.COMMITTED
    (remark,) = ending.remarks
    assert "somebody wrote at" in remark
    assert late_set(scene)[scene.certificate("web")] == LATE
    assert look(scene) == Compared(), "it is told once"
    writer.write(b"GOOD and once more")
    assert look(scene, LaterWorld()) == Compared()
    assert late_set(scene)[scene.certificate("web")] == b"GOOD and once more"


def test_a_write_to_a_new_file_that_was_taken_away_again_is_kept_as_well(room: Path) -> None:
    scene = Scene(f"{room}/s", new={"web": b"GOOD no java"})
    trace = StepWorld()
    Scene(f"{room}/trace", new=scene.new).replace(trace)
    test = [each for each in trace.trace if each.name == "run"][1]
    held: list[Writer] = []
    world = StepWorld(intrude(test, lambda: held.append(Writer(scene.certificate("web")))))
    assert scene.replace(world).outcome is Outcome.ROLLED_BACK
    with closing(held[0]) as writer:
        writer.write()
    (late,) = look(scene).late
    assert late.paths == (scene.certificate("web"),)
    assert late_set(scene)[scene.certificate("web")] == LATE


def test_an_old_file_that_was_written_to_before_an_undo_is_kept_though_the_backup_took_its_place(
    room: Path, writer: Writer, scene: Scene
) -> None:
    scene.new = {"web": b"GOOD no java"}
    order = scene.order()
    trace = StepWorld()
    Scene(f"{room}/trace", new=scene.new).replace(trace)
    test = [each for each in trace.trace if each.name == "run"][1]
    ending = scene.replace(StepWorld(intrude(test, writer.write)))
    assert ending.outcome is Outcome.ROLLED_BACK
    assert any("somebody wrote at" in each for each in ending.remarks)
    assert late_set(scene)[scene.certificate("web")] == LATE
    assert broken(scene, order) == []


def test_within_the_ten_minutes_another_transaction_takes_its_way_and_both_old_files_are_watched(
    scene: Scene, writer: Writer
) -> None:
    first = scene.replace()
    with closing(Writer(scene.certificate("web"))) as second_writer:
        scene.new = {"web": b"GOOD third certificate"}
        second = scene.replace()
        assert second.outcome is Outcome.COMMITTED
        second_writer.write(b"GOOD written to the second")
        writer.write()
        found = look(scene, LaterWorld()).late
    assert [(each.transaction, each.paths) for each in found] == [
        (first.transaction, (scene.certificate("web"),)),
        (second.transaction, (scene.certificate("web"),)),
    ]
    assert hidden(scene) == []


def test_a_rollback_without_a_name_is_not_to_what_was_written_late(scene: Scene, writer: Writer) -> None:
    scene.replace()
    writer.write()
    look(scene)
    sets = backup.sets(World(), f"{scene.root}/state/backups", "web")
    assert [(each.late, each.pinned) for each in sets] == [(False, True), (True, False)]


def test_an_operator_who_knows_of_it_thaws_the_component(scene: Scene, writer: Writer) -> None:
    scene.replace()
    writer.write()
    look(scene)
    with closing((context := scene.context()).journal):
        thaw(context, "web")
    assert JournalState.of(scene.records()).late == {}


def test_a_component_that_is_at_work_has_its_turn_later(scene: Scene) -> None:
    scene.replace()
    locks = acquire(World(), f"{scene.root}/state/locks", ("web",))
    assert isinstance(locks, Locks)
    assert look(scene, LaterWorld()) == Compared()
    assert len(hidden(scene)) == 2
    locks.release()
    assert look(scene, LaterWorld()) == Compared()
    assert hidden(scene) == []


def test_what_cannot_be_kept_stays_linked_and_that_is_said(scene: Scene, writer: Writer) -> None:
    scene.replace()
    writer.write()

    def full(step: Any, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        if step.name == "create":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), step.about)
        return act()

    found = look(scene, LaterSteps(full))
    assert found.late == ()
    assert "web: replaced files could not be compared" in found.troubles[0]
    assert len(hidden(scene)) == 2
    assert len(look(scene, LaterWorld()).late) == 1


def test_what_is_too_large_to_be_kept_is_told_and_left_where_it_is(scene: Scene, writer: Writer) -> None:
    scene.replace()
    writer.write(b"x" * (16 * 2**20 + 1))
    (late,) = look(scene, LaterWorld()).late
    (left,) = hidden(scene)
    assert (late.backup_set, late.kept) == ("", left)
    assert left in late.sentence
    assert look(scene, LaterWorld()) == Compared()


def test_a_clock_that_is_put_back_ends_it_rather_than_never(scene: Scene) -> None:
    class Earlier(World):
        def now(self) -> float:
            return super().now() - 400 * 86_400

    scene.replace()
    assert look(scene, Earlier()) == Compared()
    assert hidden(scene) == []


def test_how_long_it_stays_is_a_setting(scene: Scene) -> None:
    context = replace(scene.context(), kept_for=7.0)
    with closing(context.journal):
        transact(context, scene.order())
    (kept,) = JournalState.of(scene.records()).aside.values()
    assert kept.until - kept.at == pytest.approx(7.0, abs=1.0)


def test_who_is_killed_at_any_step_of_the_end_or_of_a_look_loses_nothing_and_leaves_nothing(room: Path) -> None:
    """The end of the transaction and the looks after it are killed at each step; then comes the next."""

    def end_and_look(scene: Scene, world: World) -> None:
        context = scene.context(world)
        recover(context)
        look_again(context)

    trace = StepWorld()
    Scene(f"{room}/trace").replace(trace)
    clearing = next(each for each in trace.trace if each.name == "unlink")

    def written(where: str) -> Scene:
        """Return a scene whose transaction was killed after its commit, and somebody wrote to what it replaced."""
        scene = Scene(f"{room}/{where}")
        with closing(Writer(scene.certificate("web"))) as writer:
            assert in_a_process(partial(scene.replace, StepWorld(kill(clearing, "before")))) == KILLED
            assert scene.records()[-1].event is Event.COMMITTED
            writer.write()
        return scene

    def looked_at(where: str) -> Scene:
        scene = Scene(f"{room}/{where}")
        with closing(Writer(scene.certificate("web"))) as writer:
            scene.replace()
            writer.write()
        return scene

    wrong: list[str] = []
    deeds: tuple[tuple[Callable[[str], Scene], Callable[[Scene, World], object], type[StepWorld]], ...] = (
        (written, end_and_look, StepWorld),
        (looked_at, look, LaterSteps),
    )
    for make, deed, steps in deeds:
        deed(make(f"{steps.__name__}-trace"), world := steps())
        for number, cell in enumerate(cells(world.trace)):
            scene = make(f"{steps.__name__}-{number}")
            assert in_a_process(partial(deed, scene, steps(kill(cell.step, cell.when)))) == KILLED, cell
            scene.recover()
            look(scene, LaterWorld())
            wrong += [f"{cell}: left {each}" for each in hidden(scene)]
            if late_set(scene)[scene.certificate("web")] != LATE:
                wrong.append(f"{cell}: lost")
            if "web" not in JournalState.of(scene.records()).late:
                wrong.append(f"{cell}: not told")
    assert wrong == []


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no file system has times of 64 bits here")
def test_a_time_that_no_calendar_has_is_told_and_recorded_as_the_last_that_one_has() -> None:
    with TemporaryDirectory(dir="/dev/shm") as room:
        scene = Scene(f"{room}/s")
        with closing(Writer(scene.certificate("web"))) as writer:
            scene.replace()
            writer.write()
        (aside,) = [each for each in hidden(scene) if "site.crt" in each]
        os.utime(aside, (2**45, 2**45))
        (late,) = look(scene).late
        assert late.written == 253_402_300_799
        assert "9999" in late.sentence
        assert "9999" in JournalState.of(scene.records()).late["web"].sentence


def test_whoever_writes_again_and_again_is_told_of_once_and_has_one_set_with_what_was_written_last(
    scene: Scene, writer: Writer
) -> None:
    scene.replace()
    told: list[Late] = []
    for content in (b"GOOD 1", b"GOOD 2", b"GOOD 3", b"GOOD 1"):
        writer.write(content)
        told += look(scene).late
        assert late_set(scene)[scene.certificate("web")] == content
    assert len(told) == 1
    assert [each.event for each in scene.records()].count(Event.WRITTEN_LATE) == 1
    size = os.path.getsize(f"{scene.root}/state/journal.jsonl")
    writer.write(b"GOOD at the end")
    assert look(scene, LaterWorld()) == Compared()
    assert late_set(scene)[scene.certificate("web")] == b"GOOD at the end"
    assert hidden(scene) == []
    assert os.path.getsize(f"{scene.root}/state/journal.jsonl") <= size + 1000


def test_what_is_larger_than_any_certificate_is_told_with_its_hash_and_size_and_not_copied(
    scene: Scene, writer: Writer
) -> None:
    scene.replace()
    large = b"x" * (2**20 + 1)
    writer.write(large)
    (late,) = look(scene).late
    assert late.backup_set == ""
    assert f"sha256 {hashlib.sha256(large).hexdigest()}, {len(large)} bytes" in late.sentence
    root = f"{scene.root}/state/backups"
    assert [each.late for each in backup.sets(World(), root, "web")] == [False]
    writer.write(large + b"y")
    assert look(scene, LaterWorld()) == Compared()
    (left,) = hidden(scene)
    assert left == late.kept, "what is copied nowhere stays where it is"


def test_what_was_kept_and_becomes_too_large_is_told_once_more_and_stays(scene: Scene, writer: Writer) -> None:
    scene.replace()
    writer.write()
    assert len(look(scene).late) == 1
    for number in range(3):
        writer.write(b"x" * (2**20 + 1 + number))
        assert len(look(scene).late) == (not number)
        writer.write()
        assert look(scene) == Compared()
    assert late_set(scene)[scene.certificate("web")] == LATE
    assert look(scene, LaterWorld()) == Compared()
    assert len(hidden(scene)) == 1


def test_late_sets_never_displace_what_a_component_had_before_a_transaction(scene: Scene) -> None:
    world, root = World(), f"{scene.root}/state/backups"
    scene.replace()
    real = [backup.take(world, root, "web", f"real-{number}", [scene.key("web")]) for number in range(3)]
    for number in range(30):
        backup.take(world, root, "web", f"{number}-late", [scene.key("web")], late=True)
    backup.prune(world, root, "web", Retention(3))
    left = backup.sets(world, root, "web")
    assert [each.transaction for each in left if not (each.late or each.pinned)] == [each.transaction for each in real]
    assert [each.transaction for each in left if each.late] == [f"{number}-late" for number in range(26, 30)]
