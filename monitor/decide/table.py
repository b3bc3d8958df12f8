"""The decisions on all subjects; a subject is decided again only when its facts change or its time has come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from config.policy import Policy
from monitor.decide.check import NEVER
from monitor.decide.decision import Decision
from monitor.decide.engine import applicable, decide_by
from monitor.decide.needs import Index
from monitor.decide.situation import Situation
from monitor.host.schedule import Agenda

_REMEMBERED: Final = 64
"""The least number of decisions on one subject that are remembered as recorded."""


class DecisionTable:
    """The decisions about each subject, and when each subject is decided again.

    Times are those of the wall clock, since windows are. The caller that waits for `next` asks again every minute, so
    that it notices when the clock is put back or forward.
    """

    def __init__(self, policies: Sequence[Policy], recorded: Iterable[tuple[str, str]] = ()) -> None:
        """Start with the decisions `recorded` earlier, as subject and identity; leave out orders that had not begun."""
        self._policies = tuple(policies)
        self._situations: dict[str, Situation] = {}
        self._indexes: dict[tuple[str, ...], Index] = {}
        self._index: dict[str, Index] = {}
        self._decisions: dict[str, tuple[Decision, ...]] = {}
        self._taken: dict[str, dict[str, None]] = {}
        self._touched: dict[str, None] = {}
        self._agenda = Agenda()
        self.restore(recorded)

    def restore(self, recorded: Iterable[tuple[str, str]]) -> None:
        """Know that these decisions, by subject and identity, were taken before: they are not new any more."""
        for subject, identity in recorded:
            self._taken.setdefault(subject, {})[identity] = None

    def set_policies(self, policies: Sequence[Policy]) -> None:
        """Replace the policies, and decide on every subject again."""
        self._policies = tuple(policies)
        self._indexes.clear()
        for subject, situation in self._situations.items():
            self._index[subject] = self._index_for(situation)
            self._touched[subject] = None

    def learn(self, situation: Situation) -> None:
        """Take note of the facts about a subject; equal facts change nothing."""
        subject = situation.subject
        if self._situations.get(subject) == situation:
            return
        self._situations[subject] = situation
        self._index[subject] = self._index_for(situation)
        self._touched[subject] = None

    def forget(self, subject: str) -> None:
        """Take note that a subject is no more."""
        for kept in (self._situations, self._index, self._decisions, self._taken, self._touched):
            kept.pop(subject, None)
        self._agenda.forget(subject)

    def _index_for(self, situation: Situation) -> Index:
        policies = applicable(self._policies, situation)
        names = tuple(each.name for each in policies)
        index = self._indexes.get(names)
        if index is None:
            index = self._indexes[names] = Index(policies)
        return index

    def decide(self, now: float) -> tuple[Decision, ...]:
        """Decide on the subjects that changed or are due at Unix time `now`; return the new decisions."""
        for subject, _ in self._agenda.take(now):
            self._touched[subject] = None
        subjects, self._touched = self._touched, {}
        return tuple(self._decide(subjects, now))

    def decide_all(self, now: float) -> tuple[Decision, ...]:
        """Decide on all subjects at Unix time `now`, as after a change of the clock; return the new decisions."""
        self._touched.clear()
        return tuple(self._decide(self._situations, now))

    def _decide(self, subjects: Iterable[str], now: float) -> Iterator[Decision]:
        situations, indexes, decided = self._situations, self._index, self._decisions
        schedule, forget = self._agenda.schedule, self._agenda.forget
        for subject in subjects:
            situation = situations[subject]
            policies, until = indexes[subject].select(situation, now)
            decisions: tuple[Decision, ...] = ()
            if policies:
                outlook = decide_by(policies, situation, now)
                decisions, until = outlook.decisions, min(until, outlook.until)
            if until < NEVER:
                schedule(subject, until)
            else:
                forget(subject)
            if decisions:
                decided[subject] = decisions
                yield from self._take(subject, decisions)
            else:
                decided.pop(subject, None)

    def _take(self, subject: str, decisions: Iterable[Decision]) -> Iterator[Decision]:
        taken = self._taken.setdefault(subject, {})
        for decision in decisions:
            is_new = decision.identity not in taken
            # To the end, so that decisions that stand are forgotten last.
            taken.pop(decision.identity, None)
            taken[decision.identity] = None
            if is_new:
                yield decision
        # Decisions that stand must never be forgotten.
        while len(taken) > max(_REMEMBERED, len(self._policies) * 2):
            del taken[next(iter(taken))]

    def next(self) -> float | None:
        """Return the Unix time of the next decision that time alone may cause; None for never."""
        return self._agenda.next()

    @property
    def decisions(self) -> Mapping[str, tuple[Decision, ...]]:
        """The decisions about each subject that has any."""
        return MappingProxyType(self._decisions)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Everything of which facts are known."""
        return tuple(self._situations)

    def about(self, subject: str) -> tuple[Decision, ...]:
        """Return the decisions about a subject."""
        return self._decisions.get(subject, ())

    def situation(self, subject: str) -> Situation | None:
        """Return the facts about a subject; None where it is unknown."""
        return self._situations.get(subject)
