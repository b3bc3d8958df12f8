"""An inbox is opened as if somebody had filled it with malice: what is not plainly ours is not used at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actions.candidate import MOST_BYTES
from actions.inbox import MOST_FILES, Inbox, InboxUnsafe, empty, open_inbox
from actions.world import World
from tests.kit.worlds import Step, StepWorld, intrude

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def inbox(room: Path) -> Path:
    directory = room / "inbox" / "web"
    directory.mkdir(parents=True, mode=0o755)
    return directory


def put(inbox: Path, name: str = "new.pem", data: bytes = b"certificate", mode: int = 0o600) -> Path:
    path = inbox / name
    path.write_bytes(data)
    path.chmod(mode)
    return path


def opened(inbox: Path, world: World | None = None) -> Inbox | InboxUnsafe:
    return open_inbox(world or World(), str(inbox))


def why(found: Inbox | InboxUnsafe) -> str:
    assert isinstance(found, InboxUnsafe), found
    return found.detail


def names(found: Inbox | InboxUnsafe) -> list[str]:
    assert isinstance(found, Inbox), found
    return [each.name for each in found.given()]


def test_files_are_copied_and_what_becomes_of_them_later_changes_nothing(inbox: Path) -> None:
    path = put(inbox)
    found = opened(inbox)
    path.write_bytes(b"something else")
    assert isinstance(found, Inbox)
    assert [each.data for each in found.given()] == [b"certificate"]
    assert "certificate" not in repr(found).replace("new.pem", "")


def test_an_inbox_that_is_empty_or_not_there_holds_nothing(inbox: Path) -> None:
    assert opened(inbox) == opened(inbox / "nowhere") == Inbox()


def test_what_is_still_being_written_beside_is_passed_over(inbox: Path) -> None:
    put(inbox, ".new.pem.x7f3")
    put(inbox)
    assert names(opened(inbox)) == ["new.pem"]


def link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def dangling(path: Path) -> None:
    path.symlink_to("/nowhere")


def hard_link(path: Path) -> None:
    other = path.parent.parent / "elsewhere"
    other.write_bytes(b"of somebody else")
    path.hardlink_to(other)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)


def gigantic(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def writable(path: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0o620)


def directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (link, "is a symbolic link"),
        (dangling, "is a symbolic link"),
        (hard_link, "has 2 names"),
        (fifo, "is no regular file"),
        (listener, "is no regular file"),
        (directory, "is a directory"),
        (huge, "is larger than"),
        (gigantic, "is larger than"),
        (writable, "can be changed by another user"),
    ],
)
def test_one_thing_that_is_no_plain_file_of_ours_makes_all_of_it_unsafe(
    inbox: Path, make: Callable[[Path], None], reason: str
) -> None:
    put(inbox)
    make(inbox / "x")
    said = why(opened(inbox))
    assert reason in said
    assert str(inbox / "x") in said


@as_root
def test_a_file_of_somebody_else_makes_it_unsafe(inbox: Path) -> None:
    os.chown(put(inbox), 12345, 12345)
    assert "can be changed by another user" in why(opened(inbox))


@as_root
@pytest.mark.parametrize("depth", [0, 1])
def test_a_directory_on_the_way_of_somebody_else_makes_it_unsafe(inbox: Path, depth: int) -> None:
    put(inbox)
    os.chown((inbox, *inbox.parents)[depth], 12345, 12345)
    assert str((inbox, *inbox.parents)[depth]) in why(opened(inbox))


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777, 0o1775])
def test_a_directory_that_others_may_write_to_makes_it_unsafe(inbox: Path, mode: int) -> None:
    put(inbox)
    inbox.chmod(mode)
    assert str(inbox) in why(opened(inbox))
    inbox.chmod(0o755)
    inbox.parent.chmod(mode)
    assert str(inbox.parent) in why(opened(inbox))


def test_too_many_files_make_it_unsafe(inbox: Path) -> None:
    for number in range(MOST_FILES + 1):
        put(inbox, f"{number}.pem")
    assert f"more than {MOST_FILES}" in why(opened(inbox))


def test_a_file_swapped_at_any_step_is_never_followed_nor_taken_in_part(inbox: Path) -> None:
    """At each step the file becomes a link to a secret: never is a byte of that read."""
    secret = put(inbox.parent, "secret", b"secret of root")
    trace = StepWorld()
    put(inbox)
    opened(inbox, trace)
    for step in trace.trace:

        def swap() -> None:
            put(inbox).unlink()
            (inbox / "new.pem").symlink_to(secret)

        found = opened(inbox, world := StepWorld(intrude(step, swap)))
        world.took(step)
        (inbox / "new.pem").unlink()
        put(inbox)
        if isinstance(found, Inbox):
            assert {each.data for each in found.files} <= {b"certificate"}, step


def test_a_file_that_was_taken_away_meanwhile_is_not_missed(inbox: Path) -> None:
    path = put(inbox)

    def vanish(step: Step, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        if step.name == "read":
            path.unlink()
        return act()

    assert names(opened(inbox, StepWorld(vanish))) == []


def test_what_is_in_place_is_removed_unless_it_was_replaced_since(inbox: Path) -> None:
    kept, gone = put(inbox, "kept.pem"), put(inbox, "gone.pem")
    found = opened(inbox)
    assert isinstance(found, Inbox)
    kept.unlink()
    put(inbox, "kept.pem", b"a newer one")
    empty(World(), found)
    assert kept.exists()
    assert not gone.exists()
    empty(World(), found)


def test_names_are_harmless_wherever_they_are_said(inbox: Path) -> None:
    put(inbox, "\x1b[2J\n.pem")
    assert names(opened(inbox)) == ["\\x1b[2J\\x0a.pem"]
    (inbox / "\x1b[2J\n.pem").chmod(0o666)
    assert "\x1b" not in why(opened(inbox))


def test_a_file_that_somebody_writes_over_in_place_is_not_removed_while_it_is_open(inbox: Path) -> None:
    path = put(inbox)
    found = opened(inbox)
    assert isinstance(found, Inbox)
    with path.open("r+b") as writing:
        assert empty(World(), found) == 0
        writing.write(b"next")
    assert path.read_bytes() == b"nextificate"
    assert os.listdir(inbox) == ["new.pem"]


@pytest.mark.parametrize("how", ["in place", "renamed onto it"])
def test_whatever_comes_at_any_step_of_the_removal_is_there_afterwards(inbox: Path, room: Path, how: str) -> None:
    def run(world: StepWorld) -> int:
        for each in inbox.iterdir():
            each.unlink()
        put(inbox)
        found = opened(inbox)
        assert isinstance(found, Inbox)
        return empty(world, found)

    def come() -> None:
        if how == "in place":
            (inbox / "new.pem").write_bytes(b"the next certificate")
        else:
            put(room, "other.pem", b"the next certificate")
            os.rename(room / "other.pem", inbox / "new.pem")

    traced = StepWorld()
    assert run(traced) == 1
    assert os.listdir(inbox) == []
    steps = [each for each in traced.trace if each.name != "sync_directory"]
    assert len(steps) >= 5
    for at in steps:
        came: list[Step] = []

        # A name has the number of the file in it, which is another in each run: the place in the trace tells the step.
        def intruding(step: Step, act: Callable[[], Any], _given: tuple[Any, ...], at: Step = at) -> Any:
            if step.number == at.number:
                assert step.name == at.name
                came.append(step)  # noqa: B023 (this run's)
                come()
            return act()

        run(StepWorld(intruding))
        assert len(came) == 1, str(at)
        there = [each.read_bytes() for each in inbox.iterdir()]
        assert b"the next certificate" in there, str(at)


def test_a_process_that_was_killed_amid_a_removal_leaves_no_file_hidden(inbox: Path) -> None:
    put(inbox)
    found = opened(inbox)
    assert isinstance(found, Inbox)

    class Killed(BaseException):
        pass

    def kill(step: Step, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        if step.name == "unlink":
            raise Killed
        return act()

    with pytest.raises(Killed):
        empty(StepWorld(kill), found)
    assert names(opened(inbox)) == [], "it may be at work still"

    class Later(World):
        def now(self) -> float:
            return super().now() + 3600

    (name,) = names(opened(inbox, Later()))
    assert name.startswith("new.pem")
    assert [each.data for each in opened(inbox).files] == [b"certificate"]  # type: ignore[union-attr]
