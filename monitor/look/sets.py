"""Looking at the files of components: the files of a component are a set, read together and judged once at rest."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Final

from config.model import Config, FileTarget
from config.text import Log, harmless, printable
from config.vocabulary import FileContent, LookOutcome, TargetKind, UnreadableReason
from monitor.host.schedule import spread
from monitor.look.crowded import try_lists
from monitor.look.job import UNFORESEEN
from monitor.look.rounds import Rounds
from monitor.state.bus import Bus
from monitor.state.events import (
    FindingChanged,
    FindingCleared,
    FindingRaised,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    StateEvent,
)
from monitor.state.messages import ArtefactsChanged, Looked, ReadingDue, ServiceTouched
from monitor.state.sets import SetRegistry
from monitor.state.target import TargetState
from probes.assess_set import SetContext, assess_set, with_unrest
from probes.finding import Assessment
from probes.observation import FileObservation, Unreadable
from probes.set import SetReading, read_set, with_absence

log: Log = logging.getLogger("certvigil.sets")

READ_AT_ONCE: Final = 8
UNREST: Final = 10.0
"""Seconds of writing without a pause after which there is a finding."""
GATHER: Final = 0.05
"""Seconds to wait for the other endpoints of a component, which change with the first."""
SOON: Final = 0.01
"""Seconds after a moment at which a verdict changes, to be on its far side."""

ReadSet = Callable[[str, Sequence[FileTarget], float], Awaitable[SetReading]]
"""Reads the set of a component, by its name, at Unix time."""
_OF_ENDPOINTS: Final = (FindingRaised, FindingChanged, FindingCleared, PresentedChanged, LookFailed, LookRecovered)
"""Events of an endpoint that may decide about pending findings of its component."""


@dataclass(slots=True)
class _Rest:
    """How long a set has been left alone; monotonic times."""

    seen: SetReading | None = None
    changed_at: float = 0.0
    restless_since: float | None = None
    """Since when somebody writes to it without a pause; None where it is at rest."""

    def take(self, reading: SetReading, now: float, at: float) -> None:
        """Note a reading at Unix time `now`, monotonic time `at`."""
        if self.seen is None:
            self.changed_at = at - _age(reading, now)
        elif reading.moved or reading.observations != self.seen.observations:
            self.changed_at = at
        self.seen = reading

    def left_alone(self, at: float) -> float:
        """Return the seconds since the last change."""
        return at - self.changed_at


class SetMonitor:
    """Looks at the sets of components."""

    def __init__(
        self,
        sets: SetRegistry,
        bus: Bus,
        worker: Executor,
        *,
        event_latency: Callable[[float], None],
        read: ReadSet | None = None,
    ) -> None:
        """Judge in `worker`; read sets by `read`, or in `worker` where it is not given.

        Calls `event_latency` with the seconds from the notice of a change until it was known.
        """
        self._sets = sets
        self._registry = sets.registry
        self._bus = bus
        self._worker = worker
        self._read = read or self._read_here
        self._event_latency = event_latency
        self._targets: dict[str, tuple[FileTarget, ...]] = {}
        """By component."""
        self._concerned: dict[str, set[str]] = {}
        """The components to which a file belongs, by its path."""
        self._rest: dict[str, _Rest] = {}
        self._noticed: dict[str, float] = {}
        """Monotonic time at which a change of a component's files was noticed."""
        self._rounds = Rounds(self._begin, lambda _name: GATHER)
        self._places = asyncio.Semaphore(READ_AT_ONCE)
        self.unseen: set[str] = set()
        """Components whose set was not looked at yet."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._registry.config

    @property
    def paths(self) -> frozenset[str]:
        """Every file whose change is to be reported to `changed`."""
        return frozenset(self._concerned)

    @property
    def targets(self) -> frozenset[str]:
        """The names of all members."""
        return frozenset(each.name for members in self._targets.values() for each in members)

    def reconfigure(self) -> None:
        """Look at the components that the configuration names, at each once soon."""
        targets: dict[str, tuple[FileTarget, ...]] = {}
        for each in self.config.files:
            if each.component is not None:
                targets[each.component] = (*targets.get(each.component, ()), each)
        for name, members in tuple(self._targets.items()):
            if targets.get(name) != members:
                self._forget(name)
        self.unseen.update(targets.keys() - self._targets.keys())
        self._targets = targets
        self._concerned = {}
        for name, members in targets.items():
            self._rest.setdefault(name, _Rest())
            for member in members:
                for path in (member.path, *member.password_files):
                    self._concerned.setdefault(path, set()).add(name)
        self.rescan()

    def _forget(self, component: str) -> None:
        self._rest.pop(component, None)
        self._sets.forget(component)
        self._rounds.forget(component)
        self.unseen.discard(component)

    def is_at_rest(self, component: str) -> bool:
        """Whether the set of a component was judged since it changed last."""
        rest = self._rest[component]
        return rest.seen is not None and rest.restless_since is None

    def clock_stepped(self) -> None:
        """Have every set judged again at its next look: the verdicts were by another clock."""
        self._sets.forget_verdicts()

    def rescan(self) -> None:
        """Look at every set."""
        self._rounds.hasten(self._targets)

    def changed(self, paths: Iterable[str], since: float) -> None:
        """Look at the sets that these files belong to; the change was noticed at monotonic time `since`."""
        components = {name for path in paths for name in self._concerned.get(path, ())}
        for name in components:
            self._noticed.setdefault(name, since)
        self._rounds.hasten(components)

    def look_again(self, message: ReadingDue | ServiceTouched) -> None:
        """Look at the set of a component."""
        self._rounds.hasten({message.component} & self._targets.keys())

    def take(self, events: Sequence[StateEvent]) -> None:
        """Look again at the sets of components whose endpoints changed: a subscriber of the bus."""
        for event in events:
            if isinstance(event, _OF_ENDPOINTS):
                state = self._registry.targets.get(event.target)
                if state is not None and state.kind is TargetKind.ENDPOINT and state.component in self._targets:
                    self._rounds.hasten([state.component], time.monotonic() + GATHER)

    async def run(self) -> None:
        """Look at sets when they are due, until cancelled."""
        await self._rounds.run()

    def _begin(self, name: str, _due: float) -> Coroutine[None, None, None] | None:
        targets = self._targets.get(name)
        return None if targets is None else self._look(name, targets)

    async def _look(self, name: str, targets: tuple[FileTarget, ...]) -> None:
        noticed = self._noticed.pop(name, None)
        started = time.monotonic()
        async with self._places:
            outcome = await self._look_and_learn(name, targets)
        self.unseen.discard(name)
        if self._targets.get(name) is not targets:
            return
        ended = time.monotonic()
        if noticed is not None and outcome is LookOutcome.CHANGED:
            self._event_latency(ended - noticed)
        lag = 0.0 if noticed is None else started - noticed
        for each in targets:
            state = self._registry.targets[each.name]
            own = LookOutcome.FAILED if state.failure is not None else outcome
            self._bus.send(Looked(each.name, TargetKind.FILE, own, (ended - started) / len(targets), lag))

    async def _look_and_learn(self, name: str, targets: tuple[FileTarget, ...]) -> LookOutcome:
        now, at = time.time(), time.monotonic()
        reading, assessments, context = await self._judge(name, targets, now)
        if self._targets.get(name) is not targets:
            return LookOutcome.UNCHANGED
        self._make_known(targets, now)
        rest = self._rest[name]
        rest.take(reading, now, at)
        settle = self.config.settings.settle
        if reading.moved or rest.left_alone(at) < settle:
            changed = self._sets.glimpse(reading, assessments, now)
            rest.restless_since = at if rest.restless_since is None else rest.restless_since
            restless = at - rest.restless_since
            if restless >= max(UNREST, self.config.settings.pending) and not reading.moved:
                # No renewal takes so long: the files are judged as they are.
                assessments = with_unrest(assessments, targets, printable(name), now)
                changed |= self._sets.learn(name, reading, context, assessments, now, restless=True)
            elif restless >= UNREST:
                self._sets.note_unrest(name, context, assessments, now)
            self._rounds.hasten([name], rest.changed_at + settle + SOON if not reading.moved else at + settle)
        else:
            rest.restless_since = None
            if self._sets.is_judged(name, reading, context, now):
                for each in targets:
                    self._registry.looked_again(each.name, now)
                changed = False
            else:
                changed = self._sets.learn(name, reading, context, assessments, now)
            self._rounds.hasten([name], at + self._until_next(name, now))
        if changed:
            self._bus.send(ArtefactsChanged(name))
        return LookOutcome.CHANGED if changed else LookOutcome.UNCHANGED

    async def _judge(
        self, name: str, targets: tuple[FileTarget, ...], now: float
    ) -> tuple[SetReading, Mapping[str, Assessment], SetContext]:
        """Read the set at Unix time `now`; return the reading, the verdict and the context of the verdict."""
        loop = asyncio.get_running_loop()
        try:
            reading = with_absence(await self._read(name, targets, now), targets)
            known = (self._registry.targets.get(each.name) for each in targets)
            await try_lists(self._registry, [each.presented for each in known if each is not None], self._worker)
            context = self._sets.context(name, targets)
            assessments = await loop.run_in_executor(self._worker, assess_set, reading, context, now)
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a panic in Rust is no Exception
            log.exception("looking at the files of %s failed for no foreseen reason", printable(name))
            why = Unreadable(UnreadableReason.UNFORESEEN, harmless(UNFORESEEN))
            reading = SetReading(
                tuple(FileObservation(each.name, now, None, FileContent.NOTHING, failure=why) for each in targets)
            )
            context = self._sets.context(name, targets)
            assessments = assess_set(reading, context, now)
        return reading, assessments, context

    async def _read_here(self, _component: str, targets: Sequence[FileTarget], now: float) -> SetReading:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, partial(read_set, targets, now))

    def _make_known(self, targets: Iterable[FileTarget], now: float) -> None:
        for each in targets:
            location = printable(each.path)
            known = TargetState(each.name, TargetKind.FILE, location, each.component, labels=each.labels)
            self._registry.watch(known, now)

    def _until_next(self, name: str, now: float) -> float:
        """Return the seconds until the set is looked at again by itself."""
        pause = self.config.settings.rescan / 2 + spread(name, self.config.settings.rescan / 2)
        for until in (self._sets.until(name), self._sets.pending_until(name)):
            if until is not None:
                pause = min(pause, max(0.0, until - now) + SOON)
        return pause


def _age(reading: SetReading, now: float) -> float:
    """Return the seconds since the newest file of a set was written to, as far as its clock can be believed."""
    written = [each.identity.ctime_ns / 1e9 for each in reading.observations if each.identity is not None]
    age = now - max(written, default=0.0)
    return age if age >= 0 else float("inf")
