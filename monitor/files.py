"""Keeping vigil over files: finding them, looking when one may have changed, and at all of them now and then."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass
from functools import partial
from typing import Final

from config.model import Config, FileTarget
from config.text import printable
from config.vocabulary import FileRole, LookOutcome, TargetKind, UnreadableReason
from monitor.agenda import Agenda
from monitor.beliefs import Beliefs
from monitor.errand import Errand, Result, run
from monitor.events import Looked
from monitor.known import Known
from monitor.sets import SetVigil
from monitor.watch.watcher import Change, Watcher, WatchState
from probes.assess import FileContext, is_denied, is_worth_watching
from probes.find import Found, find
from probes.observation import FileIdentity, FileObservation

log = logging.getLogger("certvigil.files")

BATCH: Final = 32
"""Files looked at in one go: few enough that learning from them does not stall the event loop."""
_NAMED: Final = 3
"""Files of a directory that are named where many cannot be read."""
SOON: Final = 0.01
"""Seconds after a moment at which a verdict changes, to be on its far side."""
AT_ONCE: Final = 16
"""Batches given to helpers before a change that was noticed meanwhile gets its turn."""


@dataclass(slots=True)
class Progress:
    """How far the first look at every file has come."""

    done: int = 0
    total: int = 0
    finished: bool = False


@dataclass(frozen=True, slots=True)
class _Unrest:
    """What a file was at the last look, and since when, monotonic time."""

    seen: tuple[FileIdentity | None, UnreadableReason | None]
    since: float


class FileVigil:
    """Looks at files. A trigger only says where to look; what is new is told by the files themselves."""

    def __init__(
        self,
        beliefs: Beliefs,
        worker: Executor,
        *,
        looked: Callable[[Looked], None],
        event_latency: Callable[[float], None],
        overflowed: Callable[[], None],
        sets: SetVigil,
        surroundings_changed: Callable[[], None],
        unsearched: Callable[[Mapping[str, str]], None],
        helpers: Executor | None = None,
    ) -> None:
        """Leave the files of components to `sets`, whose changes are noticed here.

        Calls `unsearched` with each directory that cannot be searched, and why, where that changes. `helpers`, where
        given, take part in the first look at every file.
        """
        self.progress = Progress()
        self._beliefs = beliefs
        self._worker = worker
        self._helpers = helpers
        self._looked = looked
        self._event_latency = event_latency
        self._overflowed = overflowed
        self._sets = sets
        self._surroundings_changed = surroundings_changed
        self._tell_unsearched = unsearched
        self._unsearched: dict[str, str] = {}
        self._denied: set[str] = set()
        """Files that a pattern matches, and that the daemon may not read."""
        self._said: Mapping[str, str] = {}
        """What is said of each directory: that it, or a file in it, may not be read."""
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
        self._places: dict[str, float] = {}
        """Where to find anew, with the monotonic time at which that was noticed."""
        self._unrest: dict[str, _Unrest] = {}
        """Files about which something is pending, by path."""
        self._surrounding_paths: frozenset[str] = frozenset()
        """Files of trust stores and clients."""
        self._agenda = Agenda()
        self._wake = asyncio.Event()
        self._next_scan = 0.0

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._beliefs.surroundings.config

    @property
    def watch_state(self) -> WatchState:
        """How well changes are noticed now."""
        return self._watcher.state

    def look_again(self, paths: Iterable[str]) -> None:
        """Look at these files as soon as possible."""
        now = time.monotonic()
        self._changed(Change(frozenset(paths), frozenset(), now))

    def _changed(self, change: Change) -> None:
        for path in change.files & self._targets.keys():
            self._urgent.setdefault(path, change.since)
        self._sets.changed(change.files, change.since)
        for place in change.places:
            self._places.setdefault(place, change.since)
        if not change.files.isdisjoint(self._surrounding_paths):
            self._surroundings_changed()
        self._wake.set()

    def _lost(self, reason: str) -> None:
        log.warning("looking at everything again: %s", reason)
        self._overflowed()
        self.rescan()

    def rescan(self) -> None:
        """Find everything anew, and look at all of it."""
        self._next_scan = 0.0
        self._sets.rescan()
        self._wake.set()

    async def run(self) -> None:
        """Keep vigil until cancelled."""
        try:
            await self._run()
        finally:
            await self._watcher.stop()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = time.monotonic()
            self._urgent.update((self._paths[name], now) for name, _ in self._agenda.take(now) if name in self._paths)
            if self._places:
                place = next(iter(self._places))
                await self._find_at(place, self._places.pop(place))
            elif self._urgent:
                urgent = [(path, self._urgent.pop(path)) for path in list(self._urgent)[:BATCH]]
                await self._look(urgent, self._worker, urgent=True)
            elif now >= self._next_scan:
                self._next_scan = now + self.config.settings.rescan
                await self._find_all()
            elif self._routine and self._helpers is not None:
                batches = [self._next_batch(now) for _ in range(AT_ONCE)]
                await asyncio.gather(*(self._look(batch, self._helpers) for batch in batches if batch))
            elif self._routine:
                await self._look(self._next_batch(now), self._worker)
            else:
                self._finish_first_scan()
                await self._sleep(now)

    def _next_batch(self, now: float) -> list[tuple[str, float]]:
        return [(self._routine.popleft(), now) for _ in range(min(BATCH, len(self._routine)))]

    def _finish_first_scan(self) -> None:
        if not self.progress.finished:
            self.progress.finished = True
            self._helpers = None
            log.info("looked at every file once: %d are targets", len(self._targets) - len(self._not_targets))

    async def _sleep(self, now: float) -> None:
        due = min(self._next_scan, self._agenda.next() or self._next_scan)
        try:
            async with asyncio.timeout(max(0.0, due - now)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _find_all(self) -> None:
        found = await self._find("/")
        wanted = {target.path: target for target in found.targets if target.path not in self._sets.paths}
        self._drop(path for path in tuple(self._targets) if path not in wanted and not _is_hidden(path, found))
        for target in wanted.values():
            self._add(target)
        watched = self._paths.keys() | self._sets.targets
        for known in tuple(self._beliefs.known.values()):
            if known.kind is TargetKind.FILE and known.target not in watched:
                self._beliefs.remove(known.target, time.time())
        self._routine = deque(self._targets)
        if not self.progress.finished:
            self.progress.total, self.progress.done = len(self._targets), 0
        self._surrounding_paths = self._beliefs.surroundings.paths()
        paths = (*self._targets, *self._sets.paths, *self._surrounding_paths)
        await self._watcher.watch(paths, found.directories)

    async def _find_at(self, place: str, noticed: float) -> None:
        found = await self._find(place)
        matched = {target.path: target for target in found.targets if target.path not in self._sets.paths}
        beneath = [place] if place in self._targets else [each for each in self._targets if _is_beneath(each, place)]
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
        found = await loop.run_in_executor(self._worker, partial(find, self.config.watches, under))
        unsearched = {place: why for place, why in self._unsearched.items() if not _is_beneath(place, under)}
        unsearched |= {place: f"{failure.reason}: {failure.detail}" for place, failure in found.unreadable.items()}
        if found.exceeded:
            unsearched[under] = found.exceeded
        self._unsearched = unsearched
        self._say_unread()
        return found

    def _say_unread(self) -> None:
        """Say of each directory what in it is not looked at, where that is another thing than before."""
        said = {place: f"not every file is found: {why}" for place, why in self._unsearched.items()}
        files: dict[str, list[str]] = {}
        for path in sorted(self._denied):
            files.setdefault(os.path.dirname(path), []).append(os.path.basename(path))
        for place, names in files.items():
            some = ", ".join(printable(each, 100) for each in names[:_NAMED])
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            said.setdefault(place, f"the daemon may not read {some}{more}: permit it, or exclude them")
        if said != self._said:
            self._said = said
            self._tell_unsearched(said)

    def _add(self, target: FileTarget) -> None:
        known = self._beliefs.known.get(target.name)
        if known is not None and known.location != printable(target.path):
            self._beliefs.remove(target.name, time.time())
        self._targets[target.path] = target
        self._paths[target.name] = target.path

    def _drop(self, paths: Iterable[str]) -> None:
        for path in tuple(paths):
            target = self._targets.pop(path)
            del self._paths[target.name]
            self._not_targets.pop(path, None)
            self._denied.discard(path)
            self._unrest.pop(path, None)
            self._agenda.forget(target.name)
            self._beliefs.remove(target.name, time.time())

    async def _look(self, paths: Sequence[tuple[str, float]], worker: Executor, *, urgent: bool = False) -> None:
        """Look at files elsewhere, then learn in this thread."""
        now = time.time()
        due = [(self._targets[path], noticed) for path, noticed in paths if path in self._targets]
        errands = [self._errand(target, now, urgent=urgent) for target, _ in due]
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(worker, run, errands, now)
        except BrokenExecutor:
            # Someone killed a helper.
            self._helpers = None
            results = await loop.run_in_executor(self._worker, run, errands, now)
        each = (time.monotonic() - started) / max(1, len(due))
        for (target, noticed), errand, result in zip(due, errands, results, strict=True):
            if self._targets.get(target.path) is not target:
                continue
            if target.role is FileRole.FOUND and _is_gone(result):
                # A pattern, not this path, is what was asked for: whether it still matches is for it to say.
                self._places.setdefault(target.path, noticed)
                continue
            outcome = self._learn(target, errand.context, result, now)
            self._looked(Looked(target.name, TargetKind.FILE, outcome, each, started - noticed))
            if urgent and outcome is not LookOutcome.UNCHANGED:
                self._event_latency(time.monotonic() - noticed)
        self._say_unread()
        if not urgent:
            self.progress.done += len(paths)

    def _errand(self, target: FileTarget, now: float, *, urgent: bool) -> Errand:
        context = self._beliefs.file_context(target)
        # Two writes within a tick of the file system's clock leave the same identity: a notice is reason to read.
        if urgent:
            return Errand(context)
        if target.path in self._not_targets:
            return Errand(context, self._not_targets[target.path], judged=True)
        known = self._beliefs.known.get(target.name)
        judged = self._beliefs.is_judged(context, now)
        # After a restart what is remembered is judged, not read.
        if known is None or known.failure is not None or known.pending or not (judged or target.role is FileRole.FOUND):
            return Errand(context)
        return Errand(context, known.identity, judged)

    def _learn(self, target: FileTarget, context: FileContext, result: Result, now: float) -> LookOutcome:
        if result is None:
            if target.name in self._beliefs.known:
                self._beliefs.looked_again(target.name, now)
            return LookOutcome.UNCHANGED
        observation, assessment = result
        (self._denied.add if is_denied(observation, context) else self._denied.discard)(target.path)
        if not is_worth_watching(observation, context):
            self._not_targets[target.path] = observation.identity
            self._beliefs.remove(target.name, now)
            return LookOutcome.UNCHANGED
        self._not_targets.pop(target.path, None)
        if target.name not in self._beliefs.known:
            self._beliefs.add(Known(target.name, TargetKind.FILE, printable(target.path)), now)
        at = time.monotonic()
        unrest = self._unrest_of(target, observation, now, at)
        outcome = self._beliefs.learn(observation, context, assessment, now, at - unrest.since)
        until = self._beliefs.until(target.name)
        if until is not None and until - now < self.config.settings.rescan:
            self._agenda.schedule(target.name, at + until - now)
        if self._beliefs.known[target.name].pending:
            self._unrest[target.path] = unrest
            self._agenda.hasten(target.name, max(at, unrest.since + self.config.settings.settle) + SOON)
        else:
            self._unrest.pop(target.path, None)
        return outcome

    def _unrest_of(self, target: FileTarget, observation: FileObservation, now: float, at: float) -> _Unrest:
        """Return since when a file is as it was seen at Unix time `now`, monotonic time `at`."""
        identity, failure = observation.identity, observation.failure
        seen = (identity, failure.reason if failure is not None else None)
        before = self._unrest.get(target.path)
        if before is not None:
            return before if before.seen == seen else _Unrest(seen, at)
        known = self._beliefs.known[target.name]
        is_first = known.last_look is None
        if identity is None:
            # What is not there at the first look may never have been; it is nobody's unfinished work.
            return _Unrest(seen, float("-inf") if is_first else at)
        age = now - identity.ctime_ns / 1e9
        if age < 0:
            # A clock that cannot be believed.
            age = float("inf") if is_first else 0.0
        return _Unrest(seen, at - age)


def _is_gone(result: Result) -> bool:
    failure = result[0].failure if result else None
    return failure is not None and failure.reason is UnreadableReason.NOT_FOUND


def _is_hidden(path: str, found: Found) -> bool:
    """Whether it cannot be told if a file is still there."""
    return any(_is_beneath(path, directory) for directory in found.unreadable)


def _is_beneath(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip(os.sep) + os.sep)
