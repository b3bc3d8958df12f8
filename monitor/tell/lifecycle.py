"""The life of a problem as one channel is told of it: raised, worsened, reminded, resolved. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from config.channel import Telling
from config.vocabulary import Code, Severity
from monitor.tell.problem import Member, problem_id

_HOLD: Final = (10.0, 30.0, 90.0, 300.0)
"""Seconds for which more of the same waits after each message about it; the last repeats.

So a network that goes dark endpoint by endpoint is a few messages, and what joins an old problem is told at once.
"""


_ASK_AGAIN: Final = 60.0
"""Seconds until it is asked again whether what was said has been delivered."""


AlertKey = tuple[str, str]
"""Channel, and key of the problem."""


class Step(StrEnum):
    """What a message says has become of a problem."""

    RAISED = "raised"
    WORSENED = "worsened"
    """It is more severe, or more is wrong, or more targets are concerned."""
    REMINDED = "reminded"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody knows: no more is said until it gets worse in kind or is resolved."""

    who: str
    at: float
    """Unix time, as is the end."""
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Whether it has not ended."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Alert:
    """What a channel was told of a problem."""

    channel: str
    key: str
    severity: Severity
    """The worst that was told."""
    codes: frozenset[Code]
    targets: frozenset[str]
    since: float
    """Unix time, as are the others: since when something was wrong when it was first told."""
    opened_at: float
    told_at: float
    headline: str
    messages: int = 1
    cleared_at: float | None = None
    acknowledged: Acknowledgement | None = None

    @property
    def problem(self) -> str:
        """The short name of the problem."""
        return problem_id(self.key)

    @property
    def message_id(self) -> str:
        """The name of the newest message about it, the same however often that is sent."""
        whole = f"{self.channel}\0{self.key}\0{self.opened_at!r}\0{self.messages}"
        return blake2b(whole.encode(errors="surrogatepass"), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to say about a problem."""

    step: Step
    alert: Alert
    """As it is once this is said."""
    members: tuple[Member, ...]
    """What is wrong now, the worst first; empty where it is resolved."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What becomes of a problem."""

    alert: Alert | None
    """None where nothing is open."""
    note: Note | None = None
    next_at: float | None = None
    """Unix time at which more may have to be said by itself."""


def review(
    about: AlertKey,
    alert: Alert | None,
    members: Sequence[Member],
    silenced: Sequence[Member] = (),
    *,
    terms: Telling,
    now: float,
    undelivered: bool = False,
) -> Reviewed:
    """Return what is to be said of a problem that shows in `members`, and quietly in `silenced`, at Unix time `now`.

    While what was said before is `undelivered`, only that it is more severe is worth another message.
    """
    if alert is None:
        return _raised(about, members, terms, now) if members else Reviewed(None)
    if not members and not silenced:
        cleared_at = now if alert.cleared_at is None else min(alert.cleared_at, now)
        due = cleared_at + terms.resolved_after
        if now < due:
            return Reviewed(replace(alert, cleared_at=cleared_at), next_at=due)
        said = replace(alert, cleared_at=cleared_at, messages=alert.messages + 1, told_at=now)
        return Reviewed(None, Note(Step.RESOLVED, said, ()))
    targets = frozenset(each.target for each in members)
    # What was concerned, is not, and will be again is news then.
    alert = replace(alert, cleared_at=None, targets=alert.targets & (targets | {each.target for each in silenced}))
    if not members:
        return Reviewed(alert)
    return _open(alert, tuple(_worst_first(members)), targets, terms, now, undelivered=undelivered)


def _raised(about: AlertKey, members: Sequence[Member], terms: Telling, now: float) -> Reviewed:
    worst, *_ = ordered = tuple(_worst_first(members))
    alert = Alert(
        *about,
        worst.finding.severity,
        frozenset(each.finding.code for each in members),
        frozenset(each.target for each in members),
        min(each.since for each in members),
        now,
        now,
        headline(ordered),
    )
    return Reviewed(alert, Note(Step.RAISED, alert, ordered), _reminder(alert, terms))


def _open(
    alert: Alert,
    members: tuple[Member, ...],
    targets: frozenset[str],
    terms: Telling,
    now: float,
    *,
    undelivered: bool,
) -> Reviewed:
    worst = members[0].finding.severity
    codes = frozenset(each.finding.code for each in members)
    acknowledged = alert.acknowledged if alert.acknowledged and alert.acknowledged.holds(now) else None
    step: Step | None = None
    # A clock that was set back must not put anything off for longer.
    waited = now - alert.told_at if now >= alert.told_at else float("inf")
    hold = _HOLD[min(alert.messages, len(_HOLD)) - 1]
    held = False
    if worst.rank > alert.severity.rank:
        step = Step.WORSENED
    elif undelivered:
        return Reviewed(alert, next_at=now + _ASK_AGAIN)
    elif codes - alert.codes or (targets - alert.targets and acknowledged is None):
        held = waited < hold
        step = None if held else Step.WORSENED
    if step is None and acknowledged is None:
        interval = terms.remind[alert.severity]
        if interval is not None and now >= alert.told_at + interval:
            step = Step.REMINDED
    if step is None:
        alert = replace(alert, acknowledged=acknowledged)
        due = [alert.told_at + hold] if held else []
        return Reviewed(alert, next_at=min((*due, *_times(alert, terms)), default=None))
    alert = replace(
        alert,
        severity=max(worst, alert.severity, key=lambda each: each.rank),
        codes=alert.codes | codes,
        targets=targets | alert.targets,
        told_at=now,
        headline=headline(members),
        messages=alert.messages + 1,
        acknowledged=None,
    )
    return Reviewed(alert, Note(step, alert, members), _reminder(alert, terms))


def _times(alert: Alert, terms: Telling) -> tuple[float, ...]:
    if alert.acknowledged is not None:
        return () if alert.acknowledged.until is None else (alert.acknowledged.until,)
    reminder = _reminder(alert, terms)
    return () if reminder is None else (reminder,)


def _reminder(alert: Alert, terms: Telling) -> float | None:
    interval = terms.remind[alert.severity]
    return None if interval is None else alert.told_at + interval


def _worst_first(members: Sequence[Member]) -> list[Member]:
    return sorted(
        members,
        key=lambda each: (
            -each.finding.severity.rank,
            each.finding.code is Code.CLIENT_REJECTS,
            str(each.finding.code),
            each.target,
            each.finding.subject,
        ),
    )


def headline(members: Sequence[Member]) -> str:
    """Return what is wrong, of what and where, of members that come the worst first."""
    worst = members[0]
    targets = {each.target for each in members}
    where = worst.target if len(targets) == 1 else f"{len(targets)} targets"
    return f"{worst.finding.code}: {worst.about} on {where}" if worst.about else f"{worst.finding.code}: {where}"
