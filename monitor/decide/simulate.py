"""Decisions of the future: the decision table itself, on a simulated clock, if nothing changes but the time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol

from config.catalogue import ENTRIES, GROUP_MEMBERS, CuringChange
from config.immutable import immutable
from config.policy import Activate, Notify, Policy, Replace, Rollback
from config.vocabulary import Code, Group, Severity
from monitor.decide.check import NEVER
from monitor.decide.decision import Decision, DecisionStatus, kind_of
from monitor.decide.foresee import ForeseenMessage
from monitor.decide.situation import (
    BY_TIME,
    LEVELS,
    Approval,
    Attempt,
    FindingState,
    KnownCandidate,
    Result,
    Situation,
    Validity,
)
from monitor.decide.table import DecisionTable
from monitor.host.schedule import Agenda

_ACTIVATED: Final = frozenset(each.code for each in ENTRIES if each.change is CuringChange.ACTIVATION)
"""Findings that an activation cures."""
_STAYS: Final = GROUP_MEMBERS[Group.SELF] | GROUP_MEMBERS[Group.TLS]
"""Findings that no replacement cures."""


@immutable
class SimulatedEvent:
    """A change of the facts at a time in the future."""

    at: float
    subject: str
    change: Callable[[Situation], Situation]


@immutable
class Happening:
    """A decision on the timeline."""

    at: float
    decision: Decision


@immutable
class Assumptions:
    """Assumptions about people and transactions in the future."""

    candidates: bool = False
    """A candidate arrives as soon as a decision waits for it."""
    approvals: bool = False
    """An operator approves as soon as a decision waits for that."""
    carry_out: Callable[[Decision, Situation, float], Situation] | None = None
    """Returns the situation after a decision to act; None where every transaction succeeds."""


class Listener(Protocol):
    """The recipients of notifications, on the same clock."""

    def learn(self, situation: Situation, now: float) -> None:
        """Take note of the facts about a subject at Unix time `now`."""

    def decided(self, decision: Decision, now: float) -> None:
        """Take note of a decision."""

    def tell(self, now: float) -> Iterator[ForeseenMessage]:
        """Yield the messages that are sent at Unix time `now`."""

    def next(self) -> float | None:
        """Return the Unix time of the next message that time alone may cause; None for never."""


def timeline(
    situations: Iterable[Situation],
    policies: Sequence[Policy],
    span: tuple[float, float],
    *,
    future: Iterable[SimulatedEvent] = (),
    assumptions: Assumptions | None = None,
    audience: Listener | None = None,
) -> Iterator[Happening | ForeseenMessage]:
    """Yield the decisions, and the messages to an `audience`, within a `span` of Unix times, in the order of time."""
    course = Course(situations, policies, assumptions or Assumptions())
    events = sorted(future, key=lambda event: event.at)
    now, end = span
    position = 0
    while now <= end:
        while position < len(events) and events[position].at <= now:
            course.change(events[position])
            position += 1
        for happening in course.decide(now):
            yield happening
            if audience is not None:
                audience.decided(happening.decision, now)
        following = [events[position].at if position < len(events) else NEVER, course.next()]
        if audience is not None:
            for subject in course.take_changed():
                audience.learn(course.situations[subject], now)
            yield from audience.tell(now)
            following.append(audience.next() or NEVER)
        now = min(following)


class Course:
    """Situations as time goes on, and the decisions on them."""

    def __init__(self, situations: Iterable[Situation], policies: Sequence[Policy], assumptions: Assumptions) -> None:
        self.situations = {each.subject: each for each in situations}
        self._assumptions = assumptions
        self._table = DecisionTable(policies)
        self._turns = Agenda()
        self._news = dict.fromkeys(self.situations)
        self._changed = dict.fromkeys(self.situations)

    def change(self, event: SimulatedEvent) -> None:
        """Change the facts about a subject."""
        self.situations[event.subject] = event.change(self.situations[event.subject])
        self._news[event.subject] = None

    def decide(self, now: float) -> Iterator[Happening]:
        """Yield the decisions at Unix time `now`, and carry them out."""
        for subject, _ in self._turns.take(now):
            self._news[subject] = None
        for subject in self._news:
            self._learn(self.situations[subject], now)
        self._news.clear()
        while decisions := self._table.decide(now):
            for decision in decisions:
                yield Happening(now, decision)
                self._learn(self._after(decision, now), now)

    def take_changed(self) -> Iterable[str]:
        """Return the subjects whose facts may have changed since the last call."""
        changed, self._changed = self._changed, {}
        return changed

    def _learn(self, situation: Situation, now: float) -> None:
        self._changed[situation.subject] = None
        situation = self.situations[situation.subject] = as_of(situation, now)
        turn = next_turn(situation.certificate, now)
        if turn < NEVER:
            self._turns.schedule(situation.subject, turn)
        else:
            self._turns.forget(situation.subject)
        self._table.learn(situation)

    def _after(self, decision: Decision, now: float) -> Situation:
        situation = self.situations[decision.subject]
        match decision.status:
            case DecisionStatus.ACT:
                return (self._assumptions.carry_out or succeed)(decision, situation, now)
            case DecisionStatus.AWAIT_CANDIDATE if self._assumptions.candidates:
                return replace(situation, candidate=KnownCandidate(f"assumed at {now:.0f}", now))
            case DecisionStatus.AWAIT_APPROVAL if self._assumptions.approvals:
                return replace(situation, approvals=(*situation.approvals, Approval(decision.case, True, NEVER)))
            case _:
                return situation

    def next(self) -> float:
        """Return the Unix time of the next decision that time alone may cause."""
        times = (self._table.next(), self._turns.next())
        return min((at for at in times if at is not None), default=NEVER)


def as_of(situation: Situation, now: float) -> Situation:
    """Return `situation` with the findings that a look at Unix time `now` would raise by the time alone."""
    certificate = situation.certificate
    if certificate is None:
        return situation
    before = {each.code: each for each in situation.findings if each.code in BY_TIME}
    target = next((each.target for each in before.values()), situation.subject)
    others = tuple(each for each in situation.findings if each.code not in BY_TIME)
    found = tuple(
        replace(before[each.code], severity=each.severity) if each.code in before else each
        for each in _found_by_time(certificate, target, now)
    )
    return replace(situation, findings=(*others, *found))


def _found_by_time(certificate: Validity, target: str, now: float) -> Iterator[FindingState]:
    if now < certificate.not_before:
        yield FindingState(target, Code.NOT_YET_VALID, Severity.CRITICAL, now)
    ended = certificate.not_after + 1
    if now >= ended:
        yield FindingState(target, Code.EXPIRED, Severity.CRITICAL, ended)
        return
    reached = [level for level in LEVELS if now >= certificate.reaches(level)]
    if reached:
        yield FindingState(target, Code.EXPIRING, reached[-1], certificate.reaches(reached[0]))


def next_turn(certificate: Validity | None, now: float) -> float:
    """Return the Unix time at which time alone raises or clears the next finding about `certificate`."""
    if certificate is None:
        return NEVER
    turns = (certificate.not_before, *map(certificate.reaches, LEVELS), certificate.not_after + 1)
    return min((at for at in turns if at > now), default=NEVER)


def succeed(decision: Decision, situation: Situation, now: float) -> Situation:
    """Return the situation after a decision to act was carried out with success."""
    edges = tuple(each if each.accepts else replace(each, accepts=True, since=now) for each in situation.edges)
    after = replace(situation, drift_since=None)
    match decision.action:
        case Replace():
            after = replace(
                after,
                findings=tuple(each for each in situation.findings if each.code in _STAYS),
                edges=edges,
                certificate=_successor(situation, decision.what, now),
                on_disk=decision.what,
                candidate=None,
            )
        case Rollback():
            findings = tuple(each for each in situation.findings if each.code in _STAYS | BY_TIME)
            after = replace(after, findings=findings, edges=edges)
        case Activate():
            after = replace(after, findings=tuple(each for each in situation.findings if each.code not in _ACTIVATED))
        case Notify():
            return situation
    accepted = frozenset((each.client, each.target) for each in after.edges if each.accepts)
    attempt = Attempt(
        kind_of(decision.action),
        decision.what,
        began=now,
        ended=now,
        result=Result.COMMITTED,
        transaction=decision.identity,
        leaf=after.on_disk,
        accepted=accepted,
    )
    return replace(after, attempts=(*situation.attempts, attempt))


def _successor(situation: Situation, sha256: str, now: float) -> Validity | None:
    """Return the certificate of a candidate; it lasts as long as the former certificate where its end is not known."""
    old = situation.certificate
    if old is None:
        return None
    end = situation.candidate.not_after if situation.candidate else None
    return Validity(sha256, now, now + old.lifetime if end is None else end, old.thresholds)
