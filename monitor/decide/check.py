"""Evaluates the checks of a policy: whether they hold, since when, why, and when time alone may change that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from config.catalogue import GROUP_MEMBERS
from config.fields import duration_text, share_text
from config.immutable import immutable
from config.policy import (
    AllOf,
    AnyOf,
    CandidatePresent,
    Check,
    ClientRejects,
    DriftOlderThan,
    FailedAttempts,
    HasFinding,
    Leaf,
    Not,
    Regressed,
    RemainingBelow,
)
from config.text import printable
from config.vocabulary import Code, Group, Severity
from monitor.decide.history import failures_in_a_row, is_later, watched, why_not
from monitor.decide.situation import STEPPED, Attempt, Situation
from probes.judge.time import moment

NEVER: Final = math.inf

_GROUPS: Final = frozenset(map(str, Group))
_WRONG_LEAF: Final = frozenset({Code.NOT_SERVED, Code.ENDPOINTS_DISAGREE, Code.HOSTNAME_MISMATCH})


@immutable
class Reason:
    """One check, whether it holds, and why."""

    check: str
    """Its name in the configuration."""
    holds: bool
    because: str
    """A sentence, printable; the same facts always give the same one."""
    since: float | None = None
    """Unix time from which it holds, or will hold if nothing else changes; None where that is not known."""


@immutable
class CheckAnswer:
    """The result of a check."""

    holds: bool
    reasons: tuple[Reason, ...]
    """Where the check holds, only the reasons that make it hold."""
    since: float = 0.0
    """Unix time since when it holds; 0 where that is not known."""
    until: float = NEVER
    """Unix time at which time alone may change the result."""


@immutable
class _Span:
    """The span of time within which the facts meet a check."""

    because: str
    start: float = NEVER
    """Unix time."""
    end: float = NEVER
    delay: float = 0.0
    """Seconds that must pass after `start`."""
    foreseen: bool = False
    """Whether `start` is computed from a certificate: in the future, it is no sign that the clock was put back."""


def evaluate(check: Check, situation: Situation, now: float) -> CheckAnswer:
    """Return whether `check` holds in `situation` at Unix time `now`."""
    match check:
        case AnyOf(checks):
            return _any([evaluate(each, situation, now) for each in checks])
        case AllOf(checks):
            return _all([evaluate(each, situation, now) for each in checks])
        case Not(inner):
            answer = evaluate(inner, situation, now)
            return CheckAnswer(not answer.holds, answer.reasons, 0.0, answer.until)
        case _:
            return _leaf(check, situation, now)


def _any(answers: list[CheckAnswer]) -> CheckAnswer:
    until = min(each.until for each in answers)
    holding = [each for each in answers if each.holds]
    reasons = tuple(reason for each in holding or answers for reason in each.reasons)
    return CheckAnswer(bool(holding), reasons, min((each.since for each in holding), default=0.0), until)


def _all(answers: list[CheckAnswer]) -> CheckAnswer:
    reasons = tuple(reason for each in answers for reason in each.reasons)
    holds = all(each.holds for each in answers)
    return CheckAnswer(holds, reasons, max(each.since for each in answers), min(each.until for each in answers))


def _leaf(check: Leaf, situation: Situation, now: float) -> CheckAnswer:
    span = _span(check, situation, now)
    start = span.start + span.delay + check.lasting
    # A clock that was put back by an hour must not make a check wait that held already.
    put_back = not span.foreseen and now < span.start - STEPPED < NEVER
    holds = (now >= start or put_back) and now < span.end
    because = span.because
    if check.lasting and span.start < NEVER:
        because += f", which lasts {duration_text(check.lasting)} at {moment(start)}"
    known = start if start < NEVER else None
    turns = (start, span.end, span.start - STEPPED if put_back else NEVER)
    until = min((at for at in turns if at > now), default=NEVER)
    return CheckAnswer(holds, (Reason(name_of(check), holds, because, known),), start if holds else 0.0, until)


def name_of(check: Leaf) -> str:
    """Return the name of `check` in the configuration."""
    match check:
        case RemainingBelow():
            return "remaining_below"
        case HasFinding():
            return "group" if check.named in _GROUPS else "finding"
        case ClientRejects():
            return "client_rejects"
        case DriftOlderThan():
            return "drift_older_than"
        case CandidatePresent():
            return "candidate_present"
        case FailedAttempts():
            return "failed_attempts"
        case Regressed():
            return "regressed_within"


def _span(check: Leaf, situation: Situation, now: float) -> _Span:
    match check:
        case RemainingBelow():
            return _remaining(check, situation)
        case HasFinding():
            return _findings(check, situation)
        case ClientRejects():
            return _rejections(check, situation)
        case DriftOlderThan():
            return _drift(check, situation)
        case CandidatePresent():
            why = why_not(situation)
            if why or situation.candidate is None:
                return _Span(f"no candidate to try: {why}")
            return _Span("a candidate is in the inbox", situation.candidate.since)
        case FailedAttempts():
            return _failures(check, situation)
        case Regressed():
            return _regressions(check, situation, now)


def _remaining(check: RemainingBelow, situation: Situation) -> _Span:
    certificate = situation.certificate
    if certificate is None:
        return _Span("the end of the certificate is not known")
    start = certificate.not_after - check.threshold.seconds_left(certificate.lifetime)
    share, days = share_text(check.threshold.share), f"{check.threshold.days:.4g}"
    limit = f"{share} of its lifetime, at most {days} days"
    because = f"the certificate ends at {moment(certificate.not_after)}; {limit}, are left at {moment(start)}"
    return _Span(because, start, foreseen=True)


def _findings(check: HasFinding, situation: Situation) -> _Span:
    wanted = check.severity.rank
    # The time of the first finding; a lower severity at that time is not remembered.
    first = min(
        (each for each in situation.findings if each.code in check.codes and each.severity.rank >= wanted),
        key=lambda each: (each.since, each.target, each.code, each.subject),
        default=None,
    )
    if first is None:
        severe = "" if check.severity.rank <= Severity.NOTICE.rank else f" that is {check.severity} or worse"
        return _Span(f"there is no {check.named}{severe}")
    named = f"{first.code}: {first.subject}" if first.subject else f"{first.code}"
    return _Span(
        f"{printable(first.target)}: {printable(named)} ({first.severity}) since {moment(first.since)}", first.since
    )


def _rejections(check: ClientRejects, situation: Situation) -> _Span:
    first = min(
        (
            each
            for each in situation.edges
            if not each.accepts and check.client in {None, each.client} and check.target in {None, each.target}
        ),
        key=lambda each: (each.since, each.client, each.target),
        default=None,
    )
    if first is None:
        return _Span(f"{check.client} rejects nothing" if check.client else "no client rejects anything")
    return _Span(f"{first.client} rejects {printable(first.target)} since {moment(first.since)}", first.since)


def _drift(check: DriftOlderThan, situation: Situation) -> _Span:
    since = situation.drift_since
    if since is None:
        return _Span("no endpoint is found not_served, which it is once 'not_served_after' of its component is over")
    return _Span(f"the certificate on disk has not been served since {moment(since)}", since, delay=check.age)


def _failures(check: FailedAttempts, situation: Situation) -> _Span:
    failed = failures_in_a_row(situation)
    because = f"{len(failed)} attempts failed in a row" if failed else "no attempt failed"
    return _Span(because, failed[check.count - 1].ended if len(failed) >= check.count else NEVER)


def _regressions(check: Regressed, situation: Situation, now: float) -> _Span:
    replacement = watched(situation)
    if replacement is None:
        return _Span("no replacement is being watched")
    end = replacement.ended + check.within
    regressions = sorted(_regressed(situation, replacement, now))
    first = next((each for each in regressions if _is_seen_since(each, situation, now)), None)
    watching = f"the replacement of {moment(replacement.ended)} is watched until {moment(end)}"
    if first is None and regressions:
        return _Span(f"{watching}; {regressions[0].what}, which no look has seen since the last transaction ended")
    if first is None:
        return _Span(f"{watching}; nobody is worse off")
    if situation.unproven:
        return _Span(f"{watching}; {first.what}, which is no evidence: {situation.unproven}")
    return _Span(f"{watching}; {first.what} since {moment(first.since)}", first.since, end, situation.apart)


def awaits_look(situation: Situation, now: float) -> bool:
    """Whether a look at an endpoint is yet to show if a regression outlives the transaction in which it was seen."""
    replacement = watched(situation)
    return replacement is not None and any(
        not _is_seen_since(each, situation, now) for each in _regressed(situation, replacement, now)
    )


class _Regression(NamedTuple):
    """A fault that clients meet since a replacement."""

    since: float
    what: str
    """A sentence."""
    seen: float


def _regressed(situation: Situation, replacement: Attempt, now: float) -> Iterator[_Regression]:
    """Yield each regression since the replacement that clients meet.

    A finding about files alone is no reason to undo the set that is served.
    """
    for edge in situation.edges:
        if not edge.accepts and (edge.client, edge.target) in replacement.accepted:
            what = f"{edge.client} no longer accepts {printable(edge.target)}"
            yield _Regression(edge.since, what, now if edge.seen is None else edge.seen)
    for each in situation.findings:
        broken = each.code in GROUP_MEMBERS[Group.CHAIN] and each.severity is Severity.CRITICAL
        # A look may have seen it before the transaction ended.
        if each.at_endpoint and (broken or each.code in _WRONG_LEAF) and is_later(each.since, replacement.began, now):
            what = f"{printable(each.target)}: {each.code}"
            yield _Regression(each.since, what, now if each.seen is None else each.seen)


def _is_seen_since(regression: _Regression, situation: Situation, now: float) -> bool:
    """Whether a look saw it after the last transaction, which may have shown clients a set of its own for a while."""
    return all(is_later(regression.seen, each.ended, now) for each in situation.attempts)
