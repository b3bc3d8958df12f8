"""A file that is opened for somebody with less rights is one that he could not have chosen."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from config.model import FileTarget
from config.vocabulary import FileRole, UnreadableReason
from probes import opening
from probes.file import identify, look_at_file
from probes.observation import Unreadable
from probes.opening import (
    MOST_LINKS,
    MOST_NAMES,
    RefusedError,
    examine_for_others,
    leave_alone,
    open_for_others,
    open_plainly,
)

USER: Final = 64_001
OTHER: Final = 64_002


@pytest.fixture(autouse=True, params=["at once", "name by name"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have directories without links be reached as kernels with and without openat2(2) have it."""
    if request.param == "name by name":
        monkeypatch.setattr(opening, "_LIBRARY", None)


as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to others")


def read(path: Path | str) -> bytes:
    descriptor = open_for_others(str(path))
    try:
        return os.read(descriptor, 1000)
    finally:
        os.close(descriptor)


def reason(path: Path | str) -> UnreadableReason:
    with pytest.raises(RefusedError) as refused:
        open_for_others(str(path))
    return refused.value.why.reason


def belonging(path: Path, owner: int) -> Path:
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


def link(path: Path, to: Path | str, owner: int) -> Path:
    path.symlink_to(to)
    return belonging(path, owner)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    path.chmod(0o600)
    return path


@as_root
def test_a_link_of_root_or_of_the_owner_of_what_it_leads_to_is_followed(tmp_path: Path, secret: Path) -> None:
    belonging(secret, USER)
    assert read(link(tmp_path / "of root", secret, 0)) == b"secret"
    assert read(link(tmp_path / "of its owner", "./../" + tmp_path.name + "/secret", USER)) == b"secret"


@as_root
def test_a_link_of_anybody_else_is_not_wherever_it_stands_on_the_way(tmp_path: Path, secret: Path) -> None:
    assert reason(link(tmp_path / "link", secret, USER)) is UnreadableReason.UNSAFE_LINK
    belonging(secret, OTHER)
    assert reason(tmp_path / "link") is UnreadableReason.UNSAFE_LINK
    directory = link(tmp_path / "directory", tmp_path, USER)
    assert reason(directory / "secret") is UnreadableReason.UNSAFE_LINK
    again = link(tmp_path / "of root", directory / "secret", 0)
    assert reason(again) is UnreadableReason.UNSAFE_LINK


@as_root
def test_even_an_honest_link_after_it_or_a_file_of_root_does_not_excuse_a_link_of_somebody_else(
    tmp_path: Path, secret: Path
) -> None:
    link(tmp_path / "first", tmp_path / "second", USER)
    link(tmp_path / "second", secret, 0)
    assert reason(tmp_path / "first") is UnreadableReason.UNSAFE_LINK


@as_root
def test_whatever_a_link_of_somebody_else_leads_to_the_answer_is_the_same(tmp_path: Path, secret: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "directory").mkdir()
    (closed / "of root").write_bytes(b"")
    (closed / "broken").symlink_to("nothing")
    (closed / "round").symlink_to("round")
    link(closed / "of another", secret, OTHER)
    os.mkfifo(closed / "fifo")
    places = [*os.listdir(closed), "none", "none/none", "of root/none", "directory/none", "x" * 300, "../closed"]
    answers: set[object] = set()
    for place in places:
        own = link(tmp_path / "site.key", closed / place, USER)
        for ask in (open_for_others, examine_for_others):
            with pytest.raises(RefusedError) as refused:
                ask(str(own))
            answers.add(refused.value.why)
        target = FileTarget("web/key", str(own), FileRole.KEY, "web")
        answers.add(look_at_file(target, 0.0, open_for_others).failure)
        answers.add(identify(str(own), examine_for_others))
        own.unlink()
    (answer,) = answers
    assert isinstance(answer, Unreadable)
    assert answer.reason is UnreadableReason.UNSAFE_LINK
    assert "user 64001" in answer.detail


@as_root
def test_a_link_of_root_that_leads_nowhere_is_said_to_be_broken(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to("nothing")
    target = FileTarget("web/key", str(tmp_path / "broken"), FileRole.KEY, "web")
    failure = look_at_file(target, 0.0, open_for_others).failure
    assert failure == look_at_file(target, 0.0).failure
    assert failure is not None
    assert failure.reason is UnreadableReason.BROKEN_SYMLINK
    # Where a directory is missing behind a link of root it is no link that is broken.
    (tmp_path / "to").symlink_to(".")
    assert reason(tmp_path / "to" / "none") is UnreadableReason.NOT_FOUND


def test_what_certbot_and_kubernetes_lay_is_followed(tmp_path: Path) -> None:
    archive = tmp_path / "archive" / "example.com"
    archive.mkdir(parents=True)
    (archive / "privkey1.pem").write_bytes(b"key")
    live = tmp_path / "live" / "example.com"
    live.mkdir(parents=True)
    (live / "privkey.pem").symlink_to("../../archive/example.com/privkey1.pem")
    assert read(live / "privkey.pem") == b"key"
    mounted = tmp_path / "mounted"
    (mounted / "..2026").mkdir(parents=True)
    (mounted / "..2026" / "tls.key").write_bytes(b"key")
    (mounted / "..data").symlink_to("..2026")
    (mounted / "tls.key").symlink_to("..data/tls.key")
    assert read(mounted / "tls.key") == b"key"


def test_names_that_lead_up_are_followed_as_the_kernel_does(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "to").symlink_to("a/b")
    assert read(f"{tmp_path}/to/../../secret") == b"secret"
    assert read(f"{tmp_path}//./secret") == b"secret"
    assert read("/.." * 5 + str(secret)) == b"secret"


@pytest.mark.parametrize("kind", ["directory", "fifo", "socket", "device"])
def test_what_is_no_regular_file_is_not_opened_at_all(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "it"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        path = Path("/dev/null")
    assert reason(path) is UnreadableReason.NOT_REGULAR
    with pytest.raises(RefusedError):
        open_plainly(str(path))


def test_ways_without_end_have_one(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="symbolic links") as error:
        open_for_others(str(tmp_path / "round"))
    assert error.value.errno == errno.ELOOP
    last = secret
    for number in range(MOST_LINKS + 1):
        last.with_name(str(number)).symlink_to(last)
        last = last.with_name(str(number))
    with pytest.raises(OSError, match="symbolic links"):
        open_for_others(str(last))
    with pytest.raises(OSError, match="too long"):
        open_for_others(str(tmp_path) + "/.." * MOST_NAMES + str(secret))
    with pytest.raises(NotADirectoryError):
        open_for_others(f"{secret}/below")
    assert reason(tmp_path / "none") is UnreadableReason.NOT_FOUND
    with pytest.raises(ValueError, match="absolute"):
        open_for_others("relative")


def test_no_descriptor_is_left_open(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "link").symlink_to("secret")
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        read(tmp_path / "link")
        with pytest.raises(RefusedError, match="no such file"):
            open_for_others(f"{tmp_path}/../none/none")
    assert os.listdir("/proc/self/fd") == before


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """Have two names change places inside the block, as fast as it goes."""
    over = threading.Event()
    between = one.with_name("between")

    def exchange() -> None:
        while not over.is_set():
            os.rename(one, between)
            os.rename(other, one)
            os.rename(between, other)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@as_root
def test_a_directory_that_becomes_a_link_in_the_middle_leads_nobody_to_a_file_of_root(
    tmp_path: Path, secret: Path
) -> None:
    """Whoever owns the directory exchanges it for a link as fast as he can."""
    own = tmp_path / "own"
    own.mkdir()
    belonging(own, USER)
    inner = own / "inner"
    inner.mkdir()
    (inner / "secret").write_bytes(b"mine")
    belonging(inner / "secret", USER)
    link(own / "link", tmp_path, USER)
    read_so_far: set[bytes] = set()
    with exchanging(inner, own / "link"):
        for _ in range(1000):
            try:
                read_so_far.add(read(inner / "secret"))
            except OSError:
                continue
    assert read_so_far <= {b"mine"}
    shutil.rmtree(own)


@as_root
def test_a_file_that_becomes_a_link_or_a_fifo_in_the_middle_is_not_opened(tmp_path: Path, secret: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    file = own / "file"
    file.write_bytes(b"mine")
    belonging(file, USER)
    read_so_far: set[bytes] = set()
    os.mkfifo(own / "fifo")
    for other in (link(own / "link", secret, USER), own / "fifo"):
        with exchanging(file, other):
            for _ in range(500):
                try:
                    read_so_far.add(read(file))
                except OSError:
                    continue
    assert read_so_far <= {b"mine"}


def test_files_whose_locks_a_descriptor_would_lose_are_never_opened(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours.db", tmp_path / "other"
    for each in (ours, other):
        each.write_bytes(b"")
    (tmp_path / "link").symlink_to(ours)
    os.link(ours, tmp_path / "hard")
    leave_alone([str(ours), str(tmp_path / "missing")])
    try:
        for name in ("ours.db", "link", "hard"):
            with pytest.raises(RefusedError, match="keeps for itself"):
                open_plainly(str(tmp_path / name))
        os.close(open_plainly(str(other)))
    finally:
        leave_alone(())
