"""Decides what is to be done, when what is known changes or the time has come, and hands each decision on once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from config.model import Config
from config.text import printable
from monitor.decide.decision import Decision, DecisionStatus, action_name
from monitor.decide.gather import Done, situation_of
from monitor.decide.situation import Situation
from monitor.decide.table import DecisionTable
from monitor.state.events import Decided, Event
from monitor.state.target import TargetState

log = logging.getLogger("certvigil.decide")

GATHER: Final = 0.05
"""Seconds to wait for the rest of what changes at once."""
SLICE: Final = 100
"""Subjects that are learnt and decided about before others get their turn."""
ROUND: Final = 60.0
"""Seconds between two decisions about everything, so that a clock that was put forward or back is noticed."""
STEPPED: Final = 30.0
"""Seconds by which the wall clock may part from the steady one without that."""


class Decider:
    """Keeps the decision table; lives on the event loop's thread and does no I/O."""

    def __init__(  # noqa: PLR0917 (its surroundings, in the order in which they are asked)
        self,
        config: Callable[[], Config],
        known: Callable[[], Mapping[str, TargetState]],
        done: Callable[[str], Done],
        decided: Callable[[Decision], None],
        record: Callable[[Sequence[Event]], None],
        stands: Callable[[], None],
    ) -> None:
        """Ask `done` for what is known of a component beside its targets.

        Calls `decided` with each new decision, and `stands` where other ones may stand than before.
        """
        self._config = config
        self._known = known
        self._done = done
        self._decided = decided
        self._record = record
        self._stands = stands
        self._table = DecisionTable(())
        self._touched: set[str] = set()
        self._news = asyncio.Event()
        self._begun = asyncio.Event()
        self.counted: dict[tuple[str, str], int] = {}
        """How many decisions were new, by policy and action."""

    def restore(self, recorded: Iterable[tuple[str, str]]) -> None:
        """Know that these decisions, by subject and identity, were recorded before."""
        self._table = DecisionTable(self._config().policies, recorded)

    def take(self, events: Sequence[Event]) -> None:
        """Take what happened: a subscriber of the bus."""
        for event in events:
            known = self._known().get(event.target)
            component = (known.component if known is not None else None) or event.target.partition("/")[0]
            self.touch(component if component in self._config().components else event.target)

    def touch(self, subject: str) -> None:
        """Decide about a component, or a target of none, again."""
        self._touched.add(subject)
        self._news.set()

    def reconfigure(self) -> None:
        """Decide by the policies that are in force now."""
        self._table.set_policies(self._config().policies)
        self._touch_all()

    def _subjects(self) -> Iterator[str]:
        components = self._config().components
        yield from components
        yield from (name for name, known in self._known().items() if known.component not in components)

    def _touch_all(self) -> None:
        self._touched.update(self._subjects())
        self._news.set()

    def situations(self) -> tuple[Situation, ...]:
        """Return what decisions rest on now, of every subject."""
        return tuple(filter(None, map(self._situation, sorted(self._subjects()))))

    def decisions(self, subject: str) -> tuple[Decision, ...]:
        """Return the decisions about a subject."""
        return self._table.decisions.get(subject, ())

    def begin(self) -> None:
        """Decide from now on, since everything was looked at once."""
        self._begun.set()

    async def run(self) -> None:
        """Decide until cancelled."""
        await self._begun.wait()
        self._table.set_policies(self._config().policies)
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
            self._stands()
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
            if situation is None:
                self._table.forget(subject)
            else:
                self._table.learn(situation)

    def _situation(self, subject: str) -> Situation | None:
        return situation_of(subject, self._config(), self._known(), time.time(), self._done(subject))

    def _tell(self, decision: Decision, now: float) -> None:
        action = action_name(decision.action)
        key = (decision.policy, action)
        self.counted[key] = self.counted.get(key, 0) + 1
        reasons = tuple(each.because for each in decision.reasons)
        log.log(
            logging.INFO if decision.status in {DecisionStatus.ACT, DecisionStatus.NOTIFY} else logging.DEBUG,
            "%s of %s by %s: %s, because %s",
            action,
            printable(decision.subject),
            decision.policy,
            decision.status,
            "; ".join(reasons),
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
        self._record([event])
        self._decided(decision)
