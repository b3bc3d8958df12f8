"""Earlier attempts and their meaning for the next one: which succeeded, which failed, when to try again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from actions.ending import Outcome
from actions.journal_state import JournalState, RecordedEnding
from actions.plan import Kind
from config.vocabulary import Severity
from monitor.decide.situation import STEPPED, Attempt, Result, Situation, result_of

DELAYS: Final = (60.0, 600.0, 6_000.0, 86_400.0)
"""Seconds until the next attempt after the first, second, third and each further failure in a row.

A restart or a full disk may pass within minutes. A fault that has outlived two hours waits for somebody's work: then
it is tried daily, since each attempt touches the service.
"""
_ROOM: Final = 4
"""A wait takes at most one part in so many of the time that is left, so that three attempts always fit into it."""
_IN_USE: Final = frozenset({Result.COMMITTED, Result.FAILED_FORWARD})
_NO_FAILURE: Final = _IN_USE | {Result.SUPERSEDED}


def failures_in_a_row(situation: Situation) -> list[Attempt]:
    """Return the attempts that failed in a row up to now, oldest first."""
    failed: list[Attempt] = []
    for attempt in situation.attempts:
        if attempt.result in _NO_FAILURE:
            failed.clear()
        else:
            failed.append(attempt)
    return failed


def next_attempt(situation: Situation, kind: Kind, what: str, now: float, *, asks: bool = False) -> float | None:
    """Return the Unix time of the next attempt after a failure; None where no wait is needed.

    With `asks`, a person is to be asked. Only failures to ask have that wait: transactions that failed do not.
    """
    failed = [
        each
        for each in failures_in_a_row(situation)
        if (each.kind, each.what) == (kind, what) and not (asks and each.transaction)
    ]
    # Whoever mended the cause, and said so, need not wait; a failure after that counts with those before.
    if not failed or failed[-1].settled or failed[-1].ended > now + STEPPED:
        return None
    last = failed[-1].ended
    delay = DELAYS[min(len(failed), len(DELAYS)) - 1]
    certificate = situation.certificate
    if certificate is not None:
        deadlines = (certificate.reaches(Severity.CRITICAL), certificate.not_after)
        left = next((deadline - last for deadline in deadlines if deadline > last), None)
        if left is not None:
            delay = min(delay, left / _ROOM)
    at = last + max(delay, DELAYS[0])
    return at if at > now else None


def is_spent(situation: Situation, kind: Kind, what: str, reasons: Iterable[float], now: float) -> bool:
    """Whether the action was done, or its object found at fault, after the last of the `reasons` (Unix times)."""
    done = [
        each.ended
        for each in situation.attempts
        if (each.kind, each.what) == (kind, what) and each.result is not Result.TRANSIENT
    ]
    return bool(done) and not any(is_later(since, done[-1], now) for since in reasons)


def is_later(one: float, other: float, now: float) -> bool:
    """Whether Unix time `one` is later than `other`, where both are times of past events.

    A time in the future dates from before the clock was put back, so it is earlier than any time that is not.
    """
    edge = now + STEPPED
    return (one <= edge, one) > (other <= edge, other)


def why_not(situation: Situation) -> str:
    """Return why the candidate in the inbox is not tried; empty where it is."""
    candidate = situation.candidate
    if candidate is None:
        # A finding says why the files in the inbox make no candidate.
        return "there is none in the inbox that can be used"
    if candidate.quarantined:
        return f"the one in the inbox is in quarantine: {candidate.quarantined}"
    return why_not_again(candidate.identity, situation.attempts)


def why_not_again(candidate: str, attempts: Iterable[Attempt]) -> str:
    """Return why a candidate with that identity is not tried again without a person; empty where it is."""
    results = {each.result for each in attempts if (each.kind, each.what) == (Kind.REPLACE, candidate)}
    if results & _IN_USE:
        return "the one in the inbox was installed already"
    if Result.SUPERSEDED in results:
        return "the one in the inbox gave way to a set that somebody else put in place"
    if Result.CANDIDATE in results:
        return "the one in the inbox was tried and failed"
    return ""


def watched(situation: Situation) -> Attempt | None:
    """Return the replacement in use, where it is the last transaction and nobody has changed the files since."""
    done = [each for each in situation.attempts if each.result in _NO_FAILURE]
    if not done or done[-1].kind is not Kind.REPLACE or done[-1].result is not Result.COMMITTED:
        return None
    last = done[-1]
    changed = last.leaf and situation.on_disk and last.leaf != situation.on_disk
    return None if changed else last


def attempts_of(journal_state: JournalState, component: str) -> tuple[Attempt, ...]:
    """Return the recent attempts on a component, in the order of their ends; a refusal is no attempt."""
    return tuple(
        _attempt(
            each,
            undoable=all(journal_state.last.get(one) is each for one in each.components),
            settled=all(journal_state.thawed.get(one, 0.0) >= each.at for one in each.components),
        )
        for each in journal_state.recent.get(component, ())
        if each.outcome is not Outcome.REFUSED
    )


def attempts_of_all(journal_state: JournalState, components: Iterable[str]) -> tuple[Attempt, ...]:
    """Return the recent attempts on any of these components, each once, in the order of their ends."""
    found = {each.transaction: each for name in components for each in attempts_of(journal_state, name)}
    return tuple(sorted(found.values(), key=lambda each: each.ended))


def _attempt(ended: RecordedEnding, *, undoable: bool, settled: bool) -> Attempt:
    match ended.kind:
        case Kind.REPLACE | Kind.TRUST:
            what = ended.candidate
        case Kind.ACTIVATE:
            what = ended.leaf
        case Kind.ROLLBACK:
            what = ended.action.backup_set if ended.action is not None else ""
    return Attempt(
        kind=ended.kind,
        what=what,
        began=ended.began,
        ended=ended.at,
        result=result_of(ended.outcome, ended.cause),
        transaction=ended.transaction,
        leaf=ended.leaf,
        accepted=ended.accepted,
        undoable=undoable,
        settled=settled,
    )
