"""What would be decided when, if things went on as they are: the decisions themselves, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from config.policy import Activate, Notify, Policy, Replace, Rollback
from config.vocabulary import GROUP_MEMBERS, Code, Group, Severity
from monitor.agenda import Agenda
from monitor.decide.check import NEVER
from monitor.decide.decision import Decision, Standing, kind_of
from monitor.decide.docket import Docket
from monitor.decide.situation import Approval, Attempt, Candidate, Found, Result, Situation, Validity

_BY_TIME: Final = frozenset({Code.EXPIRING, Code.EXPIRED, Code.NOT_YET_VALID})
_ACTIVATED: Final = frozenset({Code.NOT_SERVED, Code.ENDPOINTS_DISAGREE})
_STAYS: Final = GROUP_MEMBERS[Group.SELF] | GROUP_MEMBERS[Group.TLS]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that comes to be known in the future."""

    at: float
    subject: str
    change: Callable[[Situation], Situation]


@dataclass(frozen=True, slots=True)
class Happening:
    """A decision on the timeline."""

    at: float
    decision: Decision


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is taken for granted of what only the future knows."""

    candidates: bool = False
    """A candidate comes as soon as one is waited for."""
    approvals: bool = False
    """An operator approves as soon as that is waited for."""
    carry_out: Callable[[Decision, Situation, float], Situation] | None = None
    """What a decision to act leads to; None for that it succeeds."""


def simulate(
    situations: Iterable[Situation],
    policies: Sequence[Policy],
    span: tuple[float, float],
    future: Iterable[Event] = (),
    assumptions: Assumptions | None = None,
) -> Iterator[Happening]:
    """Yield what is decided within a `span` of Unix times, in that order."""
    course = Course(situations, policies, assumptions or Assumptions())
    events = sorted(future, key=lambda event: event.at)
    now, end = span
    position = 0
    while now <= end:
        while position < len(events) and events[position].at <= now:
            course.change(events[position])
            position += 1
        yield from course.decide(now)
        following = events[position].at if position < len(events) else NEVER
        now = min(following, course.next())


class Course:
    """Situations as they go on, and what is decided about them."""

    def __init__(self, situations: Iterable[Situation], policies: Sequence[Policy], assumptions: Assumptions) -> None:
        self.situations = {each.subject: each for each in situations}
        self._assumptions = assumptions
        self._docket = Docket(policies)
        self._turns = Agenda()
        self._news = dict.fromkeys(self.situations)

    def change(self, event: Event) -> None:
        """Let something come to be known."""
        self.situations[event.subject] = event.change(self.situations[event.subject])
        self._news[event.subject] = None

    def decide(self, now: float) -> Iterator[Happening]:
        """Yield what is decided at Unix time `now`, and do it."""
        for subject, _ in self._turns.take(now):
            self._news[subject] = None
        for subject in self._news:
            self._learn(self.situations[subject], now)
        self._news.clear()
        while decisions := self._docket.decide(now):
            for decision in decisions:
                yield Happening(now, decision)
                self._learn(self._after(decision, now), now)

    def _learn(self, situation: Situation, now: float) -> None:
        situation = self.situations[situation.subject] = as_of(situation, now)
        turn = next_turn(situation.certificate, now)
        if turn < NEVER:
            self._turns.schedule(situation.subject, turn)
        else:
            self._turns.forget(situation.subject)
        self._docket.learn(situation)

    def _after(self, decision: Decision, now: float) -> Situation:
        situation = self.situations[decision.subject]
        match decision.standing:
            case Standing.ACT:
                return (self._assumptions.carry_out or succeed)(decision, situation, now)
            case Standing.AWAIT_CANDIDATE if self._assumptions.candidates:
                return replace(situation, candidate=Candidate(f"assumed at {now:.0f}", now))
            case Standing.AWAIT_APPROVAL if self._assumptions.approvals:
                return replace(situation, approvals=(*situation.approvals, Approval(decision.case, True, NEVER)))
            case _:
                return situation

    def next(self) -> float:
        """Return when there is something to decide again, though nothing more comes to be known."""
        times = (self._docket.next(), self._turns.next())
        return min((at for at in times if at is not None), default=NEVER)


def as_of(situation: Situation, now: float) -> Situation:
    """Return `situation` with the findings that time alone has brought by Unix time `now`, as a look would."""
    certificate = situation.certificate
    if certificate is None:
        return situation
    before = {each.code: each for each in situation.findings if each.code in _BY_TIME}
    target = next((each.target for each in before.values()), situation.subject)
    others = tuple(each for each in situation.findings if each.code not in _BY_TIME)
    found = tuple(
        replace(before[each.code], severity=each.severity) if each.code in before else each
        for each in _found_by_time(certificate, target, now)
    )
    return replace(situation, findings=(*others, *found))


def _found_by_time(certificate: Validity, target: str, now: float) -> Iterator[Found]:
    if now < certificate.not_before:
        yield Found(target, Code.NOT_YET_VALID, Severity.CRITICAL, now)
    ended = certificate.not_after + 1
    if now >= ended:
        yield Found(target, Code.EXPIRED, Severity.CRITICAL, ended)
        return
    reached = [level for level in Severity if now >= certificate.reaches(level)]
    if reached:
        yield Found(target, Code.EXPIRING, reached[-1], certificate.reaches(reached[0]))


def next_turn(certificate: Validity | None, now: float) -> float:
    """Return when time alone will bring, or end, a finding about `certificate`."""
    if certificate is None:
        return NEVER
    turns = (certificate.not_before, *map(certificate.reaches, Severity), certificate.not_after + 1)
    return min((at for at in turns if at > now), default=NEVER)


def succeed(decision: Decision, situation: Situation, now: float) -> Situation:
    """Return what is known once a decision to act was carried out, and did what it was to do."""
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
            findings = tuple(each for each in situation.findings if each.code in _STAYS | _BY_TIME)
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
    """Return the certificate of a candidate, which lasts as long as the one before unless more is known of it."""
    old = situation.certificate
    if old is None:
        return None
    end = situation.candidate.not_after if situation.candidate else None
    return Validity(sha256, now, now + old.lifetime if end is None else end, old.thresholds)
