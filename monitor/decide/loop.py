"""Decides again about a subject when its facts change or its time has come, and sends each new decision once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from config.text import Log, harmless, printable
from config.vocabulary import TargetKind
from monitor.decide.check import awaits_look
from monitor.decide.decision import Decision, DecisionMade, DecisionStatus, action_name
from monitor.decide.gather import ComponentRecord, is_declared, situation_of
from monitor.decide.situation import Situation
from monitor.decide.table import DecisionTable
from monitor.state.bus import Bus
from monitor.state.events import Decided, StateEvent
from monitor.state.messages import CandidateConsidered, ComponentsChanged, DecisionInputsChanged, JournalNews, Looked
from monitor.state.registry import TargetRegistry

log: Log = logging.getLogger("certvigil.decide")

GATHER: Final = 0.05
"""Seconds to wait for further changes at the same time."""
SLICE: Final = 100
"""Subjects that are learnt and decided about before others get their turn."""
ROUND: Final = 60.0
"""Seconds between two decisions about everything, so that a clock that was put forward or back is noticed."""
STEPPED: Final = 30.0
"""Seconds by which the wall clock may part from the steady one without that."""


class Decider:
    """Keeps the decision table; lives on the event loop's thread and does no I/O."""

    def __init__(
        self, registry: TargetRegistry, table: DecisionTable, record: Callable[[str], ComponentRecord], bus: Bus
    ) -> None:
        """Decide in `table`; `record` gives the facts about a component beside its targets."""
        self._registry = registry
        self._table = table
        self._record = record
        self._bus = bus
        self._touched: set[str] = set()
        self._await_look: set[str] = set()
        """Subjects about which the next look at an endpoint may decide."""
        self._news = asyncio.Event()
        self._begun = asyncio.Event()

    def take(self, events: Sequence[StateEvent]) -> None:
        """Decide again about the subjects of events: a subscriber of the bus."""
        config = self._registry.config
        for event in events:
            if isinstance(event, Decided):
                continue
            state = self._registry.targets.get(event.target)
            component = (state.component if state is not None else None) or event.target.partition("/")[0]
            self._touch(config.subject_of(component) if is_declared(component, config) else event.target)

    def looked(self, message: Looked) -> None:
        """Decide again about a component whose regression waits for a look: one that sees nothing new is no event."""
        if not self._await_look or message.kind is not TargetKind.ENDPOINT:
            return
        state, config = self._registry.targets.get(message.target), self._registry.config
        if state is not None and state.component is not None and is_declared(state.component, config):
            subject = config.subject_of(state.component)
            if subject in self._await_look:
                self._touch(subject)

    def inputs_changed(self, message: JournalNews | DecisionInputsChanged) -> None:
        """Decide again about components and groups."""
        config = self._registry.config
        for name in config.subjects if message.components is None else config.subjects_of(message.components):
            self._touch(name)

    def candidate_considered(self, message: CandidateConsidered) -> None:
        """Decide again about what may have another candidate."""
        self._touch(message.subject)

    def _touch(self, subject: str) -> None:
        """Decide again about a group, a component, or a target of neither: `run` does."""
        self._touched.add(subject)
        self._news.set()

    def reconfigure(self) -> None:
        """Decide by the policies that are in force now."""
        self._table.set_policies(self._registry.config.policies)
        # A component that is in a group now is no subject any more.
        self._touched.update(self._table.subjects)
        self._touch_all()

    def _subjects(self) -> Iterator[str]:
        config = self._registry.config
        yield from config.subjects
        yield from (name for name, state in self._registry.targets.items() if not is_declared(state.component, config))

    def _touch_all(self) -> None:
        self._touched.update(self._subjects())
        self._news.set()

    def situations(self) -> tuple[Situation, ...]:
        """Return the present input of decisions, for every subject."""
        return tuple(filter(None, map(self._situation, sorted(self._subjects()))))

    def begin(self) -> None:
        """Decide from now on, since everything was looked at once."""
        self._begun.set()

    async def run(self) -> None:
        """Decide until cancelled."""
        await self._begun.wait()
        self._table.set_policies(self._registry.config.policies)
        self._touch_all()
        offset = time.time() - time.monotonic()
        while True:
            await asyncio.sleep(GATHER)
            self._news.clear()
            now = time.time()
            if abs(now - time.monotonic() - offset) > STEPPED:
                log.warning("the clock was changed: everything is decided anew")
                offset = now - time.monotonic()
                for decision in self._table.decide_all(now):
                    self._tell(decision, now)
            # Never longer in one go than the loop may stand still.
            while self._touched:
                self._learn([self._touched.pop() for _ in range(min(SLICE, len(self._touched)))])
                self._decide(time.time())
                await asyncio.sleep(0)
            self._decide(time.time())
            self._bus.send(ComponentsChanged())
            due = self._table.next()
            with suppress(TimeoutError):
                async with asyncio.timeout(ROUND if due is None else max(GATHER, min(ROUND, due - now))):
                    await self._news.wait()

    def _decide(self, now: float) -> None:
        for decision in self._table.decide(now):
            self._tell(decision, now)

    def _learn(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            situation = self._situation(subject)
            self._await_look.discard(subject)
            if situation is None:
                self._table.forget(subject)
                continue
            self._table.learn(situation)
            if awaits_look(situation, time.time()):
                self._await_look.add(subject)

    def _situation(self, subject: str) -> Situation | None:
        registry = self._registry
        return situation_of(subject, registry.config, registry.targets, time.time(), self._record(subject))

    def _tell(self, decision: Decision, now: float) -> None:
        action = action_name(decision.action)
        reasons = tuple(each.because for each in decision.reasons)
        log.log(
            logging.INFO if decision.status in {DecisionStatus.ACT, DecisionStatus.NOTIFY} else logging.DEBUG,
            "%s of %s by %s: %s, because %s",
            harmless(action),
            printable(decision.subject),
            harmless(decision.policy),
            decision.status,
            harmless("; ".join(reasons)),
        )
        event = Decided(
            decision.subject,
            now,
            decision.policy,
            action,
            str(decision.status),
            decision.identity,
            reasons,
            decision.waits_for,
        )
        # Recorded first: a decision that is carried out must not come anew after a crash.
        self._bus.publish([event])
        self._bus.send(DecisionMade(decision))
