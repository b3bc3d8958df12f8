"""Looking at files: find them, look at a file when it may have changed, and at all files now and then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from config.immutable import immutable
from config.model import Config, FileTarget, Thresholds, Watch
from config.text import Log, harmless, printable
from config.vocabulary import FileRole, LookOutcome, TargetKind, UnreadableReason
from monitor.batched import batched
from monitor.host.schedule import Agenda
from monitor.look.crowded import try_lists
from monitor.look.job import FileJob, JobResult, run
from monitor.look.searches import Searches, ways_up
from monitor.look.sets import SetMonitor
from monitor.look.unread import UnreadFiles, is_beneath
from monitor.state.bus import Bus
from monitor.state.files import FileRegistry
from monitor.state.messages import ClockStepped, Looked, TrustFilesChanged
from monitor.state.target import TargetState
from monitor.watch.watcher import FileChange, Watcher, WatchState
from probes.assess import FileContext, is_denied, is_worth_watching
from probes.find import Found, find, tree_of
from probes.finding import Finding
from probes.observation import FileIdentity, FileObservation

log: Log = logging.getLogger("certvigil.files")

BATCH: Final = 32
"""Files in a batch: few enough that learning from them does not stall the event loop."""
SLICE: Final = 200
"""Files that are found, or found no more, before the event loop gets its turn."""
URGENT_FIRST: Final = 8
"""Batches of files that may have changed, after which a batch of other files has its turn."""
SOON: Final = 0.01
"""Seconds after a moment at which a verdict changes, to be on its far side."""
AT_ONCE: Final = 16
"""Batches given to helpers before a change that was noticed meanwhile has its turn."""


@dataclass(slots=True)
class Progress:
    """How far the first look at every file has come."""

    done: int = 0
    total: int = 0
    finished: bool = False


@immutable
class _Unrest:
    """The identity of a file at the last look, and the monotonic time since when it has it."""

    seen: tuple[FileIdentity | None, UnreadableReason | None]
    since: float


class FileMonitor:
    """Looks at files. A trigger only says where to look; only the files say whether something is new."""

    def __init__(
        self,
        files: FileRegistry,
        sets: SetMonitor,
        bus: Bus,
        worker: Executor,
        *,
        event_latency: Callable[[float], None],
        overflowed: Callable[[], None],
        unsearched: Callable[[Sequence[Finding]], None],
        helpers: Executor | None = None,
    ) -> None:
        """Leave the files of components to `sets`, whose changes are noticed here.

        Calls `unsearched` with the findings about unread files, after the first look at every file, and where they
        change. `helpers`, where given, take part in that first look.
        """
        self.progress = Progress()
        self._files = files
        self._registry = files.registry
        self._bus = bus
        self._worker = worker
        self._helpers = helpers
        self._event_latency = event_latency
        self._overflowed = overflowed
        self._sets = sets
        # A search of a large tree must not keep looks waiting.
        self._searcher = ThreadPoolExecutor(1, "files-search")
        self._unread = UnreadFiles(self._tree, unsearched)
        self._watcher = Watcher(asyncio.get_running_loop(), self._changed, self._lost)
        self._targets: dict[str, FileTarget] = {}
        """By path."""
        self._paths: dict[str, str] = {}
        """By name."""
        self._not_targets: dict[str, FileIdentity | None] = {}
        """Files that a pattern matches, but that hold no certificate."""
        self._urgent: dict[str, float] = {}
        """Paths, with the monotonic time at which each was noticed."""
        self._routine: deque[str] = deque()
        self._searches = Searches()
        self._trees: tuple[tuple[Watch, ...], frozenset[str]] = ((), frozenset())
        """The watches of the configuration, and the trees of their patterns."""
        self._unrest: dict[str, _Unrest] = {}
        """Files about which something is pending, by path."""
        self._trust_paths: frozenset[str] = frozenset()
        """Files of trust stores and clients."""
        self._agenda = Agenda()
        self._wake = asyncio.Event()
        self._wake_search = asyncio.Event()
        self._next_scan = 0.0
        self._has_found = False
        """Whether everything was found once."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._registry.config

    def thresholds(self, target: str) -> Thresholds | None:
        """Return the configured thresholds of a file that is looked at, by its name; None for the usual ones."""
        found = self._targets.get(self._paths.get(target, ""))
        return None if found is None else found.thresholds

    @property
    def watch_state(self) -> WatchState:
        """How well changes are noticed now."""
        return self._watcher.state

    def look_again(self, paths: Iterable[str]) -> None:
        """Look at these files as soon as possible: `_keep_looking` does."""
        now = time.monotonic()
        self._changed(FileChange(frozenset(paths), frozenset(), now))

    def _changed(self, change: FileChange) -> None:
        """Take a change that the watcher noticed: files go to `_keep_looking`, places to `_keep_searching`."""
        for path in change.files & self._targets.keys():
            self._urgent.setdefault(path, change.since)
        self._sets.changed(change.files, change.since)
        for place in change.places:
            self._search(place, change.since)
        if not change.files.isdisjoint(self._trust_paths):
            self._bus.send(TrustFilesChanged())
        self._wake.set()

    def _lost(self, reason: str) -> None:
        log.warning("looking at everything again: %s", harmless(reason))
        self._overflowed()
        self.rescan()

    def clock_stepped(self, _: ClockStepped) -> None:
        """Judge all files again: the verdicts were by another clock."""
        self._files.forget_verdicts()
        self._sets.clock_stepped()
        self.rescan()

    def rescan(self) -> None:
        """Find all files again, and look at all of them."""
        self._next_scan = 0.0
        self._sets.rescan()
        self._wake_search.set()

    def _search(self, place: str, noticed: float) -> None:
        """Find files at or beneath `place` again as soon as possible: `_keep_searching` does."""
        self._searches.add(self._tree(place), place, noticed)
        self._wake_search.set()

    def _tree(self, path: str) -> str:
        """Return the watched tree in which a path lies; empty where there is no such tree."""
        watches = self.config.watches
        if self._trees[0] is not watches:
            self._trees = watches, frozenset(tree_of(pattern) for each in watches for pattern in each.patterns)
        return next((each for each in (path, *ways_up(path)) if each in self._trees[1]), "")

    async def run(self) -> None:
        """Find files and look at them until cancelled."""
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._keep_searching())
                both.create_task(self._keep_looking())
        finally:
            self._searcher.shutdown(wait=False, cancel_futures=True)
            await self._watcher.stop()

    async def _keep_searching(self) -> None:
        while True:
            self._wake_search.clear()
            now = time.monotonic()
            if now >= self._next_scan:
                self._next_scan = now + self.config.settings.rescan
                await self._find_all()
            elif (search := self._searches.take(now)) is not None:
                await self._find_at(*search)
            else:
                await _sleep(self._wake_search, self._next_scan - now)
                continue
            self._wake.set()

    async def _keep_looking(self) -> None:
        urgent_batches = 0
        while True:
            self._wake.clear()
            now = time.monotonic()
            self._urgent.update((self._paths[name], now) for name, _ in self._agenda.take(now) if name in self._paths)
            if self._has_found and not self._routine:
                self._finish_first_scan()
            if self._urgent and (urgent_batches < URGENT_FIRST or not self._routine):
                urgent_batches += 1
                urgent = [(path, self._urgent.pop(path)) for path in list(self._urgent)[:BATCH]]
                await self._look(urgent, self._worker, urgent=True)
                continue
            urgent_batches = 0
            if self._routine and self._helpers is not None:
                batches = [self._next_batch(now) for _ in range(AT_ONCE)]
                await asyncio.gather(*(self._look(batch, self._helpers) for batch in batches if batch))
            elif self._routine:
                await self._look(self._next_batch(now), self._worker)
            else:
                due = self._agenda.next()
                await _sleep(self._wake, None if due is None else due - now)

    def _next_batch(self, now: float) -> list[tuple[str, float]]:
        return [(self._routine.popleft(), now) for _ in range(min(BATCH, len(self._routine)))]

    def _finish_first_scan(self) -> None:
        if not self.progress.finished:
            self.progress.finished = True
            self._helpers = None
            members = len(self._sets.targets)
            found = len(self._targets) - len(self._not_targets) + members
            log.info("looked at every file once: %d are targets, %d of them of components", found, members)
            self._report_unread()

    async def _find_all(self) -> None:
        found = await self._find("/")
        wanted = {target.path: target for target in found.targets if target.path not in self._sets.paths}
        for some in batched(self._targets, SLICE):
            self._drop(path for path in some if path not in wanted and not _is_hidden(path, found))
            await asyncio.sleep(0)
        for targets in batched(wanted.values(), SLICE):
            for target in targets:
                if self._targets.get(target.path) != target:
                    self._add(target)
            await asyncio.sleep(0)
        for states in batched(self._registry.targets.values(), SLICE):
            members = self._sets.targets
            for state in states:
                if state.kind is TargetKind.FILE and state.target not in self._paths and state.target not in members:
                    self._registry.remove(state.target, time.time())
            await asyncio.sleep(0)
        if not self.progress.finished:
            self.progress.total, self.progress.done = len(self._targets), 0
        self._trust_paths = self._registry.trust_context.paths()
        paths = (*self._targets, *self._sets.paths, *self._trust_paths)
        await self._watcher.watch(paths, found.directories)
        # Only now is no change after a look missed.
        self._routine = deque(self._targets)
        self._has_found = True

    async def _find_at(self, place: str, noticed: float) -> None:
        found = await self._find(place)
        matched = {target.path: target for target in found.targets if target.path not in self._sets.paths}
        beneath = [place] if place in self._targets else [each for each in self._targets if is_beneath(each, place)]
        gone = [
            path
            for path in beneath
            if path not in matched and self._targets[path].role is FileRole.FOUND and not _is_hidden(path, found)
        ]
        self._drop(gone)
        self._watcher.discard(gone)
        new = [path for path in matched if path not in self._targets]
        for path in new:
            self._add(matched[path])
            self._urgent.setdefault(path, noticed)
        self._watcher.add(new, found.directories)

    async def _find(self, under: str) -> Found:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._searcher, partial(find, self.config.watches, under))
        self._unread.searched(found, under)
        self._report_unread()
        return found

    def _report_unread(self) -> None:
        """Report the files that are not looked at, once every file was looked at."""
        if self.progress.finished:
            self._unread.report()

    def _add(self, target: FileTarget) -> None:
        state = self._registry.targets.get(target.name)
        if state is not None and state.location != printable(target.path):
            self._registry.remove(target.name, time.time())
        elif state is not None and state.labels != target.labels:
            self._registry.update(replace(state, labels=target.labels))
        if self._targets.get(target.path) != target:
            # What held no certificate may hold one at other places, or under another password.
            self._not_targets.pop(target.path, None)
        self._targets[target.path] = target
        self._paths[target.name] = target.path

    def _drop(self, paths: Iterable[str]) -> None:
        for path in tuple(paths):
            target = self._targets.pop(path)
            del self._paths[target.name]
            self._not_targets.pop(path, None)
            self._unread.note_denied(path, denied=False)
            self._unrest.pop(path, None)
            self._agenda.forget(target.name)
            self._registry.remove(target.name, time.time())

    async def _look(self, paths: Sequence[tuple[str, float]], worker: Executor, *, urgent: bool = False) -> None:
        """Look at files elsewhere, then learn in this thread."""
        known = (self._registry.targets.get(self._targets[path].name) for path, _ in paths if path in self._targets)
        await try_lists(self._registry, [each.presented for each in known if each is not None], self._worker)
        now = time.time()
        due = [(self._targets[path], noticed) for path, noticed in paths if path in self._targets]
        jobs = [self._job(target, now, urgent=urgent) for target, _ in due]
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(worker, run, jobs, now)
        except BrokenExecutor:
            # Someone killed a helper.
            self._helpers = None
            results = await loop.run_in_executor(self._worker, run, jobs, now)
        each = (time.monotonic() - started) / max(1, len(due))
        for (target, noticed), job, result in zip(due, jobs, results, strict=True):
            if self._targets.get(target.path) != target:
                continue
            if target.role is FileRole.FOUND and _is_gone(result):
                # The configuration names a pattern, not this path: a search tells whether it still matches.
                self._search(target.path, noticed)
                continue
            outcome = self._learn(target, job.context, result, now)
            self._bus.send(Looked(target.name, TargetKind.FILE, outcome, each, started - noticed))
            if urgent and outcome is not LookOutcome.UNCHANGED:
                self._event_latency(time.monotonic() - noticed)
        self._report_unread()
        if not urgent:
            self.progress.done += len(paths)

    def _job(self, target: FileTarget, now: float, *, urgent: bool) -> FileJob:
        context = self._files.context(target)
        # Two writes within a tick of the file system's clock leave the same identity: a notice is reason to read.
        if urgent:
            return FileJob(context)
        if target.path in self._not_targets:
            return FileJob(context, self._not_targets[target.path], judged=True)
        state = self._registry.targets.get(target.name)
        if state is None or state.failure is not None or state.pending:
            return FileJob(context)
        if self._files.is_judged(context, now) or self._files.takes_up(context, now):
            return FileJob(context, self._files.judged_identity(target.name), judged=True)
        # After a restart or a reload the remembered certificates are judged anew where the verdict on them may be
        # another, and the file is not read: where these are all that a verdict needs, there is an identity.
        return FileJob(context, state.identity if target.role is FileRole.FOUND else None)

    def _learn(self, target: FileTarget, context: FileContext, result: JobResult, now: float) -> LookOutcome:
        if result is None:
            if target.name in self._registry.targets:
                self._registry.looked_again(target.name, now)
                self._look_in_time(target, now, time.monotonic())
            return LookOutcome.UNCHANGED
        observation, assessment = result
        self._unread.note_denied(target.path, denied=is_denied(observation, context))
        if not is_worth_watching(observation, context):
            self._not_targets[target.path] = observation.identity
            self._registry.remove(target.name, now)
            return LookOutcome.UNCHANGED
        self._not_targets.pop(target.path, None)
        if target.name not in self._registry.targets:
            state = TargetState(target.name, TargetKind.FILE, printable(target.path), labels=target.labels)
            self._registry.add(state, now)
        at = time.monotonic()
        unrest = self._unrest_of(target, observation, now, at)
        outcome = self._files.learn(observation, context, assessment, now, at - unrest.since)
        for other in self._files.concerned(context):
            if other in self._paths:
                self._agenda.hasten(other, at + SOON)
        self._look_in_time(target, now, at)
        if self._registry.targets[target.name].pending:
            self._unrest[target.path] = unrest
            self._agenda.hasten(target.name, max(at, unrest.since + self.config.settings.settle) + SOON)
        else:
            self._unrest.pop(target.path, None)
        return outcome

    def _look_in_time(self, target: FileTarget, now: float, at: float) -> None:
        """Have a file looked at when its verdict may change, where that comes before all files are looked at again."""
        until = self._files.until(target.name)
        if until is not None and until - now < self.config.settings.rescan:
            self._agenda.schedule(target.name, at + until - now)

    def _unrest_of(self, target: FileTarget, observation: FileObservation, now: float, at: float) -> _Unrest:
        """Return since when a file is as it was seen at Unix time `now`, monotonic time `at`."""
        identity, failure = observation.identity, observation.failure
        seen = (identity, failure.reason if failure is not None else None)
        before = self._unrest.get(target.path)
        if before is not None:
            return before if before.seen == seen else _Unrest(seen, at)
        state = self._registry.targets[target.name]
        is_first = state.last_look is None
        if identity is None:
            # A file that is missing at the first look may never have existed: nobody is writing it.
            return _Unrest(seen, float("-inf") if is_first else at)
        age = now - identity.ctime_ns / 1e9
        if age < 0:
            # The clock of the host or of the file system is wrong.
            age = float("inf") if is_first else 0.0
        return _Unrest(seen, at - age)


def _is_gone(result: JobResult) -> bool:
    failure = result[0].failure if result else None
    return failure is not None and failure.reason is UnreadableReason.NOT_FOUND


def _is_hidden(path: str, found: Found) -> bool:
    """Whether it cannot be told if a file is still there."""
    return any(each in found.unreadable for each in (path, *ways_up(path)))


async def _sleep(wake: asyncio.Event, seconds: float | None) -> None:
    """Return when `wake` is set, at the latest after so many seconds."""
    try:
        async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
            await wake.wait()
    except TimeoutError:
        return
