"""What a file has beside its bytes stays when it is replaced, and comes back when that is undone."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from actions.ending import Outcome
from actions.world import World
from tests.kit.scene import Scene
from tests.kit.worlds import StepWorld, in_a_process, intrude

BAD: Final = {"web": b"GOOD no java"}
"""A certificate that loses a client, which undoes everything."""
LONG_AGO: Final = 1_500_000_000_123_456_789
OTHERS: Final = 33
"""A user and a group that are not ours."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def of(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    return stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid


def undo(scene: Scene, *, by_backup: bool = False) -> None:
    """Replace what is put back then: the very inode, or where that is lost a copy of the backup set."""
    scene.new = BAD
    twin = Scene(f"{scene.root}-twin", new=BAD, in_place=scene.in_place)
    trace = StepWorld()
    twin.replace(trace)
    activation = [step for step in trace.trace if step.name == "run"][1]

    def lose() -> None:
        for name in scene.beside():
            if name.endswith(".old"):
                os.unlink(f"{scene.root}/{name}")

    world = StepWorld(intrude(activation, lose)) if by_backup else World()
    assert scene.replace(world).outcome is Outcome.ROLLED_BACK


def mark(path: str) -> None:
    """Give a file an attribute of its user's, where the file system knows such."""
    try:
        os.setxattr(path, "user.note", b"ours")
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("no attributes here")


@pytest.mark.parametrize("in_place", [False, True])
def test_an_attribute_of_the_user_is_kept(tmp_path: Path, in_place: bool) -> None:
    os.chmod(tmp_path, 0o755)
    scene = Scene(f"{tmp_path}/s", in_place=in_place)
    mark(scene.key("web"))
    assert scene.replace().outcome is Outcome.COMMITTED
    assert os.getxattr(scene.key("web"), "user.note") == b"ours"


@pytest.mark.parametrize("by_backup", [False, True])
def test_an_attribute_of_the_user_comes_back(tmp_path: Path, by_backup: bool) -> None:
    scene = Scene(f"{tmp_path}/s")
    mark(scene.key("web"))
    undo(scene, by_backup=by_backup)
    assert os.getxattr(scene.key("web"), "user.note") == b"ours"


@as_root
@pytest.mark.parametrize("in_place", [False, True])
def test_owner_group_and_every_bit_of_the_mode_are_kept(room: Path, in_place: bool) -> None:
    scene = Scene(f"{room}/s", in_place=in_place)
    os.chown(scene.key("web"), OTHERS, OTHERS)
    os.chmod(scene.key("web"), 0o2750)
    assert scene.replace().outcome is Outcome.COMMITTED
    assert Path(scene.key("web")).read_bytes() == b"the new key\n" * 7
    assert of(scene.key("web")) == (0o2750, OTHERS, OTHERS)


@as_root
@pytest.mark.parametrize("by_backup", [False, True])
def test_owner_group_and_every_bit_of_the_mode_come_back(room: Path, by_backup: bool) -> None:
    scene = Scene(f"{room}/s")
    os.chown(scene.key("web"), OTHERS, OTHERS)
    os.chmod(scene.key("web"), 0o2750)
    undo(scene, by_backup=by_backup)
    assert Path(scene.key("web")).read_bytes() == b"old key\n" * 9
    assert of(scene.key("web")) == (0o2750, OTHERS, OTHERS)


@as_root
def test_the_copies_of_a_file_that_was_given_away_are_ours_alone(room: Path) -> None:
    scene = Scene(f"{room}/s")
    os.chown(scene.key("web"), OTHERS, OTHERS)
    scene.replace()
    copies = [path for path in Path(f"{scene.root}/state/backups").rglob("*") if path.is_file()]
    assert len(copies) > 2
    assert {of(str(path)) for path in copies} == {(0o600, 0, 0)}


def as_somebody(room: Path, work: Callable[[], None]) -> int:
    """Do something in a process without root's rights, from whose files the kernel takes bits when it writes."""

    def lesser() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(OTHERS)
            os.setuid(OTHERS)
        work()

    if os.geteuid() == 0:
        os.chown(room, OTHERS, OTHERS)
    return in_a_process(lesser)


@pytest.mark.parametrize("in_place", [False, True])
def test_bits_that_writing_takes_away_are_set_again(room: Path, in_place: bool) -> None:
    def work(new: Mapping[str, bytes], outcome: Outcome) -> None:
        scene = Scene(f"{room}/{outcome}", in_place=in_place, new=new)
        os.chmod(scene.key("web"), 0o2750)
        ending = scene.replace()
        assert ending.outcome is outcome, ending
        assert of(scene.key("web"))[0] == 0o2750

    assert as_somebody(room, partial(work, {}, Outcome.COMMITTED)) == 0
    assert as_somebody(room, partial(work, BAD, Outcome.ROLLED_BACK)) == 0


class Labelled(World):
    """A world in which files have labels as SELinux gives them, new ones that of their directory."""

    OURS: Final = b"system_u:object_r:cert_t:s0\0"

    def __init__(self, *targets: str) -> None:
        self.label = {os.stat(path).st_ino: self.OURS for path in targets}

    def attributes(self, path: str) -> dict[str, bytes]:
        label = self.label.get(os.stat(path).st_ino, b"system_u:object_r:etc_t:s0\0")
        return {**super().attributes(path), "security.selinux": label}

    def set_attributes(self, descriptor: int, attributes: Mapping[str, bytes]) -> None:
        rest = dict(attributes)
        self.label[os.fstat(descriptor).st_ino] = rest.pop("security.selinux")
        super().set_attributes(descriptor, rest)


def test_a_label_is_kept_and_comes_back_though_new_files_get_another(room: Path) -> None:
    scene = Scene(f"{room}/s")
    targets = scene.key("web"), scene.certificate("web")
    world = Labelled(*targets)
    assert scene.replace(world).outcome is Outcome.COMMITTED
    assert {world.attributes(path)["security.selinux"] for path in targets} == {Labelled.OURS}

    # Without the inode it was on, it can only come from the backup set.
    class Losing(Labelled):
        def link(self, old: str, new: str) -> None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM), f"{old} {new}")

    scene.new = BAD
    world = Losing(*targets)
    assert scene.replace(world).outcome is Outcome.ROLLED_BACK
    assert {world.attributes(path)["security.selinux"] for path in targets} == {Labelled.OURS}


def old_times(scene: Scene) -> None:
    for path in (scene.key("web"), scene.certificate("web")):
        os.utime(path, ns=(LONG_AGO, LONG_AGO))


def changed_at(scene: Scene) -> set[int]:
    return {os.stat(path).st_mtime_ns for path in (scene.key("web"), scene.certificate("web"))}


@pytest.mark.parametrize("in_place", [False, True])
def test_a_replaced_file_was_changed_now_so_that_who_compares_times_notices(room: Path, in_place: bool) -> None:
    scene = Scene(f"{room}/s", in_place=in_place)
    before = changed_at(scene)
    old_times(scene)
    assert scene.replace().outcome is Outcome.COMMITTED
    assert min(changed_at(scene)) >= max(before)


@pytest.mark.parametrize(("in_place", "by_backup"), [(False, False), (False, True), (True, False)])
def test_a_file_that_is_put_back_was_changed_when_it_was(room: Path, in_place: bool, by_backup: bool) -> None:
    scene = Scene(f"{room}/s", in_place=in_place)
    old_times(scene)
    undo(scene, by_backup=by_backup)
    assert changed_at(scene) == {LONG_AGO}
