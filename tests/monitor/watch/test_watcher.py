from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import pytest
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

from config.model import Watch
from monitor.watch import FileChange, Watcher, WatchMode, watcher
from probes.find import find
from tests.kit.unprivileged import unprivileged

DEADLINE = 10.0
QUEUED = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
Parameters = ParamSpec("Parameters")


def in_a_loop(test: Callable[Parameters, Coroutine[None, None, None]]) -> Callable[Parameters, None]:
    """Run an asynchronous test."""

    @wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class WatchedPaths:
    """Does with a watcher what the daemon does, and remembers what it was told."""

    def __init__(self, watches: list[Watch], open_inotify: Callable[[], InotifyFD], poll_every: float) -> None:
        self._watches = watches
        self._told = asyncio.Event()
        self.changes: list[FileChange] = []
        self.seen: set[str] = set()
        self.rescans: list[str] = []
        self.watcher = Watcher(
            asyncio.get_running_loop(),
            self._changed,
            self._rescan,
            open_inotify=open_inotify,
            poll_every=poll_every,
        )

    def _changed(self, change: FileChange) -> None:
        self.changes.append(change)
        self.seen |= change.files
        for place in change.places:
            found = find(self._watches, place)
            new = {target.path for target in found.targets}
            self.watcher.add(new, found.directories)
            self.seen |= new
        self._told.set()

    def _rescan(self, reason: str) -> None:
        self.rescans.append(reason)
        self._told.set()

    async def watch(self) -> None:
        found = find(self._watches)
        await self.watcher.watch([target.path for target in found.targets], found.directories)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._told.clear()
                await self._told.wait()

    async def notices(self, path: Path) -> None:
        """Wait until the file is to be looked at; what comes after is noticed anew."""
        await self.until(lambda: str(path) in self.seen)
        self.seen.clear()


@asynccontextmanager
async def watching(
    *patterns: Path | str,
    open_inotify: Callable[[], InotifyFD] = InotifyFD,
    poll_every: float = 0.02,
    before: Callable[[], object] = lambda: None,
) -> AsyncIterator[WatchedPaths]:
    watches = [Watch(tuple(map(str, patterns)))]
    watched = WatchedPaths(watches, open_inotify, poll_every)
    try:
        found = find(watches)
        before()
        await watched.watcher.watch([target.path for target in found.targets], found.directories)
        yield watched
    finally:
        await watched.watcher.stop()


def write(path: Path, text: str = "content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def replace(path: Path) -> None:
    path.with_name("temporary").write_text("new")
    path.with_name("temporary").rename(path)


def retarget(link: Path, to: str) -> None:
    link.with_name("temporary").symlink_to(to)
    link.with_name("temporary").rename(link)


@in_a_loop
async def test_a_file_rewritten_in_place_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pem")
    async with watching(path) as watched:
        for _ in range(2):
            path.write_text("new")
            await watched.notices(path)


@in_a_loop
async def test_a_file_replaced_by_a_rename_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pem")
    async with watching(path) as watched:
        for _ in range(2):
            replace(path)
            await watched.notices(path)


@in_a_loop
async def test_another_mode_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pem")
    async with watching(path) as watched:
        path.chmod(0o600)
        await watched.notices(path)


@in_a_loop
async def test_a_rewrite_of_what_a_link_leads_to_is_noticed(tmp_path: Path) -> None:
    target = write(tmp_path / "archive/a1.pem")
    (tmp_path / "hop").symlink_to("archive")
    link = tmp_path / "live/a.pem"
    link.parent.mkdir()
    link.symlink_to("../hop/a1.pem")
    async with watching(link) as watched:
        target.write_text("new")
        await watched.notices(link)
        replace(target)
        await watched.notices(link)


@in_a_loop
async def test_a_retargeted_link_is_noticed_and_its_new_target_watched(tmp_path: Path) -> None:
    old, new = write(tmp_path / "archive/a1.pem"), write(tmp_path / "elsewhere/a2.pem")
    link = tmp_path / "live/a.pem"
    link.parent.mkdir()
    link.symlink_to("../archive/a1.pem")
    async with watching(link) as watched:
        retarget(link, "../elsewhere/a2.pem")
        await watched.notices(link)
        watched.changes.clear()
        old.write_text("nobody cares")
        new.write_text("new")
        await watched.notices(link)
        assert len(watched.changes) == 1
        link.unlink()
        link.symlink_to(old)
        await watched.notices(link)
        old.write_text("now they do")
        await watched.notices(link)


@in_a_loop
async def test_a_retargeted_link_to_a_directory_on_the_way_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "one/site/a.pem")
    new = write(tmp_path / "two/site/a.pem")
    (tmp_path / "current").symlink_to("one")
    path = tmp_path / "current/site/a.pem"
    async with watching(path) as watched:
        retarget(tmp_path / "current", "two")
        await watched.notices(path)
        new.write_text("new")
        await watched.notices(path)


@in_a_loop
async def test_the_swap_that_kubelet_does_is_noticed_every_time(tmp_path: Path) -> None:
    write(tmp_path / "..2026_1/tls.crt")
    (tmp_path / "..data").symlink_to("..2026_1")
    path = tmp_path / "tls.crt"
    path.symlink_to("..data/tls.crt")
    async with watching(path) as watched:
        for number in range(2, 5):
            write(tmp_path / f"..2026_{number}/tls.crt", str(number))
            retarget(tmp_path / "..data", f"..2026_{number}")
            await watched.notices(path)
            shutil.rmtree(tmp_path / f"..2026_{number - 1}")
        # Root, the way to it, and one version: not those that were.
        assert watched.watcher.state.watched == len(tmp_path.parts) + 1


@in_a_loop
async def test_a_recreated_directory_is_noticed_and_watched_again(tmp_path: Path) -> None:
    path = write(tmp_path / "d/e/a.pem")
    async with watching(path) as watched:
        for _ in range(3):
            shutil.rmtree(tmp_path / "d")
            await watched.notices(path)
            write(path, "new")
            await watched.notices(path)
            path.write_text("newer")
            await watched.notices(path)


@in_a_loop
async def test_a_directory_moved_away_and_restored_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "d/e/a.pem")
    async with watching(path) as watched:
        (tmp_path / "d").rename(tmp_path / "away")
        await watched.notices(path)
        (tmp_path / "away/e/a.pem").write_text("not its business")
        write(tmp_path / "d/e/a.pem", "another one")
        await watched.notices(path)
        shutil.rmtree(tmp_path / "d")
        await watched.notices(path)
        (tmp_path / "away").rename(tmp_path / "d")
        await watched.notices(path)
        path.write_text("new")
        await watched.notices(path)


@in_a_loop
async def test_a_file_moved_out_of_the_tree_is_noticed_at_once(tmp_path: Path) -> None:
    first, second = write(tmp_path / "in/a.pem"), write(tmp_path / "in/b.pem")
    (tmp_path / "out").mkdir()
    async with watching(tmp_path / "in/*.pem") as watched:
        first.rename(tmp_path / "out/a.pem")
        second.write_text("new")
        await watched.until(lambda: {str(first), str(second)} <= watched.seen)


@in_a_loop
async def test_a_file_that_appears_where_none_was_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "later/still/a.pem"
    async with watching(path) as watched:
        write(path)
        await watched.notices(path)
        path.write_text("new")
        await watched.notices(path)


@in_a_loop
async def test_a_broken_link_that_gets_a_target_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.pem"
    path.symlink_to("later/b.pem")
    async with watching(path) as watched:
        write(tmp_path / "later/b.pem")
        await watched.notices(path)


@in_a_loop
async def test_links_in_a_circle_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.pem"
    path.symlink_to("b.pem")
    (tmp_path / "b.pem").symlink_to("a.pem")
    async with watching(path) as watched:
        (tmp_path / "b.pem").unlink()
        write(tmp_path / "b.pem")
        await watched.notices(path)


@in_a_loop
async def test_a_new_file_that_a_pattern_matches_is_found(tmp_path: Path) -> None:
    async with watching(tmp_path / "*.pem") as watched:
        path = write(tmp_path / "a.pem")
        write(tmp_path / "a.txt")
        await watched.notices(path)
        path.write_text("new")
        await watched.notices(path)
        assert str(tmp_path / "a.txt") not in watched.seen


@in_a_loop
async def test_a_file_in_new_directories_is_found(tmp_path: Path) -> None:
    """It may be written before any of them could be watched."""
    async with watching(tmp_path / "**/*.pem") as watched:
        paths = [write(tmp_path / f"{number}/new/deep/a.pem") for number in range(20)]
        await watched.until(lambda: set(map(str, paths)) <= watched.seen)
        watched.seen.clear()
        replace(paths[-1])
        await watched.notices(paths[-1])


@in_a_loop
async def test_a_directory_with_files_that_is_moved_in_is_found(tmp_path: Path) -> None:
    write(tmp_path / "out/d/a.pem")
    (tmp_path / "in").mkdir()
    async with watching(tmp_path / "in") as watched:
        (tmp_path / "out/d").rename(tmp_path / "in/d")
        await watched.notices(tmp_path / "in/d/a.pem")
        (tmp_path / "in/d").rename(tmp_path / "out/d")
        await watched.notices(tmp_path / "in/d/a.pem")


@in_a_loop
async def test_a_new_link_to_a_directory_is_followed(tmp_path: Path) -> None:
    real = write(tmp_path / "real/a.pem")
    (tmp_path / "in").mkdir()
    async with watching(tmp_path / "in/**/*.pem") as watched:
        (tmp_path / "in/link").symlink_to("../real")
        await watched.notices(tmp_path / "in/link/a.pem")
        real.write_text("new")
        await watched.notices(tmp_path / "in/link/a.pem")
        write(tmp_path / "real/b.pem")
        await watched.notices(tmp_path / "in/link/b.pem")


@in_a_loop
async def test_a_directory_that_a_pattern_starts_with_may_appear_later(tmp_path: Path) -> None:
    async with watching(tmp_path / "not/yet/*/certs/*.pem") as watched:
        path = write(tmp_path / "not/yet/site/certs/a.pem")
        await watched.notices(path)


@in_a_loop
async def test_what_appears_between_finding_and_watching_is_found(tmp_path: Path) -> None:
    path = tmp_path / "d/a.pem"
    path.parent.mkdir()
    async with watching(tmp_path / "**/*.pem", before=lambda: write(path)) as watched:
        await watched.notices(path)


@in_a_loop
async def test_a_new_file_is_not_looked_at_before_its_writer_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "SETTLE", 2 * DEADLINE)
    # A directory modified just now would be searched again.
    os.utime(tmp_path, (1, 1))
    async with watching(tmp_path / "*.pem") as watched:
        with (tmp_path / "slow.pem").open("w") as slow:
            (tmp_path / "slow.pem").chmod(0o600)
            write(tmp_path / "fast.pem")
            await watched.until(lambda: str(tmp_path / "fast.pem") in watched.seen)
            assert str(tmp_path / "slow.pem") not in watched.seen
            slow.write("complete")
        await watched.notices(tmp_path / "slow.pem")


@in_a_loop
async def test_a_new_file_whose_writer_never_closes_it_is_looked_at_in_the_end(tmp_path: Path) -> None:
    async with watching(tmp_path / "*.pem") as watched:
        with (tmp_path / "slow.pem").open("w"):
            await watched.notices(tmp_path / "slow.pem")


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_new_link_needs_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: Callable[[Path, Path], None]
) -> None:
    monkeypatch.setattr(watcher, "SETTLE", 2 * DEADLINE)
    write(tmp_path / "real")

    @in_a_loop
    async def run() -> None:
        async with watching(tmp_path / "*.pem") as watched:
            link(tmp_path / "real", tmp_path / "a.pem")
            await watched.notices(tmp_path / "a.pem")

    run()


@in_a_loop
async def test_a_burst_is_told_in_a_few_calls_and_strangers_in_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pem")
    async with watching(path) as watched:
        for number in range(500):
            path.write_text(str(number))
            write(tmp_path / "stranger")
        replace(path)
        await watched.notices(path)
        assert len(watched.changes) < 100
        assert {file for change in watched.changes for file in change.files} == {str(path)}


@in_a_loop
async def test_too_many_changes_at_once_are_a_rescan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "CHANGE_LIMIT", 2)
    monkeypatch.setattr(watcher, "GATHER", 0.2)
    async with watching(tmp_path) as watched:
        for number in range(3):
            write(tmp_path / str(number))
        await watched.until(lambda: watched.rescans)
        assert watched.rescans == ["too many changes at once"]


class Deaf(InotifyFD):
    """Hears nothing while it is told not to listen, and forgets what it hears while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.listening = threading.Event()
        self.listening.set()
        self.forgets = False
        self.forgot_last = threading.Event()

    def _read_event_buffer(self, event_buffer_size: int) -> bytes:
        data = super()._read_event_buffer(event_buffer_size)
        self.listening.wait(DEADLINE)
        return data

    def handle_event(self, event: InotifyEvent) -> None:
        if not self.forgets:
            super().handle_event(event)
        elif event.name == b"last":
            self.forgot_last.set()


@in_a_loop
async def test_an_overflow_of_the_kernels_queue_is_a_rescan(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pem")
    deaf = Deaf()
    async with watching(tmp_path, open_inotify=lambda: deaf) as watched:
        deaf.listening.clear()
        others = [write(tmp_path / "b"), path]
        for number in range(2 * QUEUED):
            os.utime(others[number % 2])
        deaf.listening.set()
        await watched.until(lambda: watched.rescans)
        assert watched.rescans == ["notices of changes were lost"]
        await watched.watch()
        watched.seen.clear()
        path.write_text("new")
        await watched.notices(path)


@in_a_loop
async def test_watching_anew_finds_what_no_notice_told(tmp_path: Path) -> None:
    first, second = write(tmp_path / "one/a.pem"), write(tmp_path / "two/a.pem")
    link, moved = tmp_path / "a.pem", write(tmp_path / "d/e/b.pem")
    link.symlink_to(first)
    deaf = Deaf()
    async with watching(link, moved, open_inotify=lambda: deaf) as watched:
        deaf.forgets = True
        retarget(link, str(second))
        (tmp_path / "d").rename(tmp_path / "away")
        write(moved)
        write(tmp_path / "last")
        assert await asyncio.to_thread(deaf.forgot_last.wait, DEADLINE)
        deaf.forgets = False
        assert not watched.seen
        await watched.watch()
        await watched.until(lambda: {str(link), str(moved)} <= watched.seen)
        watched.seen.clear()
        second.write_text("new")
        await watched.notices(link)
        moved.write_text("new")
        await watched.notices(moved)


@in_a_loop
async def test_what_is_watched_no_longer_is_told_no_longer(tmp_path: Path) -> None:
    first, second = write(tmp_path / "one/a.pem"), write(tmp_path / "two/b.pem")
    async with watching(first, second) as watched:
        before = watched.watcher.state.watched
        watched.watcher.discard([str(first)])
        assert watched.watcher.state.watched == before - 1
        first.write_text("new")
        second.write_text("new")
        await watched.notices(second)
        assert all(str(first) not in change.files for change in watched.changes)
        await watched.watcher.watch([], {})
        assert watched.watcher.state.watched == 0


class Limited(InotifyFD):
    """Meets the kernel's limit after so many directories."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        if self._limit <= 0:
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        self._limit -= 1
        return super().add_callback(path, mask, callback, id_)


def none_left() -> InotifyFD:
    raise OSError(errno.EMFILE, "inotify instance limit reached")


@pytest.mark.parametrize(
    ("spare", "mode", "limit"),
    [
        (1, WatchMode.MIXED, "max_user_watches"),
        (None, WatchMode.POLLING, "max_user_instances"),
    ],
)
def test_what_the_kernel_cannot_watch_is_polled(tmp_path: Path, spare: int | None, mode: WatchMode, limit: str) -> None:
    target, link = write(tmp_path / "archive/a.pem"), tmp_path / "live/a.pem"
    link.parent.mkdir()
    link.symlink_to("../archive/a.pem")

    @in_a_loop
    async def run() -> None:
        depth = len(tmp_path.parts)
        open_inotify = none_left if spare is None else lambda: Limited(depth + spare)
        async with watching(tmp_path / "live/**/*.pem", open_inotify=open_inotify) as watched:
            assert watched.watcher.state.mode is mode
            assert limit in watched.watcher.state.reason
            # The first comparison has nothing to compare with.
            await watched.notices(link)
            target.write_text("newer and longer")
            await watched.notices(link)
            write(tmp_path / "archive/b.pem")
            retarget(link, "../archive/b.pem")
            await watched.notices(link)
            path = write(tmp_path / "live/new/c.pem")
            await watched.notices(path)
            shutil.rmtree(tmp_path / "live")
            await watched.notices(path)

    run()


@in_a_loop
async def test_a_directory_that_may_only_be_passed_is_polled(tmp_path: Path) -> None:
    path = write(tmp_path / "d/a.pem")
    path.parent.chmod(0o711)
    with unprivileged(tmp_path):
        async with watching(path) as watched:
            assert (watched.watcher.state.mode, watched.watcher.state.polled) == (WatchMode.MIXED, 1)
            await watched.notices(path)
            if os.getuid() == 0:
                os.seteuid(0)
            path.write_text("new and longer")
            await watched.notices(path)


@in_a_loop
async def test_nothing_is_left_of_a_stopped_watcher(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pem")
    threads = threading.active_count()
    opened = len(os.listdir("/proc/self/fd"))
    async with watching(path) as watched:
        path.write_text("new")
        await watched.notices(path)
        assert threading.active_count() == threads + 1
        path.write_text("newer")
    told = len(watched.changes)
    await asyncio.sleep(0)
    assert len(watched.changes) == told
    assert len(os.listdir("/proc/self/fd")) == opened


class HeardChanges:
    """What watchdog is relied on to tell, whichever thread it is on."""

    def __init__(self) -> None:
        self._told = threading.Condition()
        self._all: list[object] = []

    def _add(self, what: object) -> None:
        with self._told:
            self._all.append(what)
            self._told.notify()

    def on_event(self, event: InotifyEvent) -> None:
        self._add(event.name)

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        self._add(wd)

    def on_queue_overflow(self) -> None:
        self._add("overflow")

    def hears(self, what: object) -> bool:
        with self._told:
            return self._told.wait_for(lambda: what in self._all, DEADLINE)


MOVED_OR_DELETED = Mask(InotifyConstants.IN_MOVE | InotifyConstants.IN_DELETE | InotifyConstants.IN_DELETE_SELF)


@pytest.fixture
def inotify() -> Iterator[InotifyFD]:
    opened = InotifyFD()
    opened.start()
    yield opened
    opened.stop()
    opened.join()


def test_watchdog_tells_that_a_watched_directory_is_gone_and_watches_its_successor(
    inotify: InotifyFD, tmp_path: Path
) -> None:
    heard, path = HeardChanges(), tmp_path / "d"
    for number in range(2):
        path.mkdir()
        descriptor = inotify.add_callback(os.fsencode(path), MOVED_OR_DELETED, heard, CallbackId(number))
        path.rmdir()
        assert heard.hears(descriptor)


def test_watchdog_does_not_wait_for_the_other_half_of_a_move(inotify: InotifyFD, tmp_path: Path) -> None:
    heard = HeardChanges()
    (tmp_path / "d").mkdir()
    inotify.add_callback(os.fsencode(tmp_path / "d"), MOVED_OR_DELETED, heard, CallbackId(0))
    write(tmp_path / "d/a").rename(tmp_path / "a")
    assert heard.hears(b"a")


def test_watchdog_gives_one_descriptor_to_one_directory_however_often_it_is_watched(
    inotify: InotifyFD, tmp_path: Path
) -> None:
    heard = HeardChanges()
    first = inotify.add_callback(os.fsencode(tmp_path), MOVED_OR_DELETED, heard, CallbackId(0))
    assert inotify.add_callback(os.fsencode(tmp_path), MOVED_OR_DELETED, heard, CallbackId(1)) == first
    inotify.remove_callbacks([(first, CallbackId(0))])
    write(tmp_path / "a").unlink()
    assert heard.hears(b"a")


def test_watchdog_puts_a_refusal_as_a_descriptor_of_its_own(inotify: InotifyFD, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o711)
    with unprivileged(tmp_path):
        assert inotify.add_callback(os.fsencode(tmp_path / "d"), MOVED_OR_DELETED, HeardChanges(), CallbackId(0)) == -1
        inotify.remove_callbacks([(WatchDescriptor(-1), CallbackId(0))])


def test_watchdog_raises_where_there_is_no_directory(inotify: InotifyFD, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inotify.add_callback(os.fsencode(tmp_path / "no"), MOVED_OR_DELETED, HeardChanges(), CallbackId(0))
