"""The life of a problem as one channel is told of it: raised, worsened, eased, reminded, resolved. Pure.

Every message says what is so at its time, and after each the channel believes exactly that: `Alert.targets`. A further
one is worth sending where that belief has become wrong in a way that matters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from config.catalogue import CATALOGUE, ProblemScope
from config.channel import Notifications
from config.vocabulary import Code, Severity
from monitor.notify.problem import Member, problem_id

HOLD: Final = 7.0
"""Seconds for which more of the same waits after each message about it: with the gathering of news, ten at most.

So a network that goes dark endpoint by endpoint is a few messages, and nothing new is told late.
"""
GONE: Final = 60.0
"""Seconds after which a target that is right again counts as right while its problem lasts: wrong again, it is news."""
SOONEST: Final = 10_800.0
"""Seconds between two reminders that a certificate ends, at least."""
_ASK_AGAIN: Final = 10.0
"""Seconds until it is asked again whether what was said has been delivered."""


AlertKey = tuple[str, str]
"""Channel, and key of the problem."""
_NONE_GONE: Final[Mapping[str, float]] = MappingProxyType({})
_NONE_FLAPPING: Final[Mapping[str, tuple[int, float]]] = MappingProxyType({})


class AlertStep(StrEnum):
    """What a message says has become of a problem."""

    RAISED = "raised"
    WORSENED = "worsened"
    """It is more severe, or more is wrong, or more targets are concerned, or they fail in another way."""
    CHANGED = "changed"
    """Something else is wrong with it, or others are concerned, and it is less severe, or fewer are concerned."""
    EASED = "eased"
    """Half of the targets that the last message named are right again, or more."""
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
    """The worst when it was told last, as are those below."""
    codes: frozenset[Code]
    """All that were told of it."""
    targets: frozenset[str]
    """What the channel believes to be concerned."""
    since: float
    """Unix time since when something of it was wrong."""
    opened_at: float
    """Unix time, as is the next."""
    told_at: float
    what: str
    """The code of the worst."""
    about: str = ""
    """The subject of the certificate that it is about."""
    messages: int = 1
    """How many there were; none where it only came of another problem so far."""
    cleared_at: float | None = None
    acknowledged: Acknowledgement | None = None
    gone: Mapping[str, float] = field(default_factory=lambda: _NONE_GONE)
    """Of the targets, those that are right again, with since when; once that is `GONE` seconds ago, until told anew."""
    flapping: Mapping[str, tuple[int, float]] = field(default_factory=lambda: _NONE_FLAPPING)
    """Of the targets, those that were told to be flapping, with how often they had failed since which Unix time."""
    begins: Mapping[str, float] = field(default_factory=lambda: _NONE_GONE)
    """Of each target, the Unix time since when it is part of the problem."""

    @property
    def problem(self) -> str:
        """The short name of the problem."""
        return problem_id(self.key)

    @property
    def began(self) -> float:
        """Unix time since when the first of its targets is part of it."""
        return min(self.begins.values(), default=self.since)

    @property
    def message_id(self) -> str:
        """The name of the newest message about it, the same however often that is sent."""
        whole = f"{self.channel}\0{self.key}\0{self.opened_at!r}\0{self.messages}"
        return blake2b(whole.encode(errors="surrogatepass"), digest_size=8).hexdigest()

    @property
    def headline(self) -> str:
        """What is wrong, of what and where."""
        where = min(self.targets, default="") if len(self.targets) == 1 else f"{len(self.targets)} targets"
        if self.targets and self.targets <= self.flapping.keys():
            return f"flapping: {where}, {self.what} {max(self.flapping.values())[0]} times"
        return f"{self.what}: {self.about} on {where}" if self.about else f"{self.what}: {where}"


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to say about a problem."""

    step: AlertStep
    alert: Alert
    """As it is once this is said."""
    members: tuple[Member, ...]
    """What is wrong now, the worst first; empty where it is resolved."""
    recovered: tuple[str, ...] = ()
    """The targets that the channel was told of, and that are no more concerned: right again, or watched no longer."""


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
    members: Collection[Member],
    held: AbstractSet[str] = frozenset(),
    *,
    terms: Notifications,
    now: float,
    undelivered: bool = False,
) -> Reviewed:
    """Return what is to be said at Unix time `now` of a problem that shows in `members`.

    Of the targets that are `held` nothing is said, neither that they are wrong nor that they are right. While what was
    said before is `undelivered`, only that it is more severe is worth another message.
    """
    ordered = tuple(_worst_first(members))
    if alert is None:
        if not ordered:
            return Reviewed(None)
        worst = ordered[0]
        channel, key = about
        alert = Alert(
            channel=channel,
            key=key,
            severity=worst.finding.severity,
            codes=frozenset(),
            targets=frozenset(),
            since=worst.since,
            opened_at=now,
            told_at=now,
            what="",
            messages=0,
        )
        return _tell(AlertStep.RAISED, alert, ordered, held, terms, now=now)
    alert = replace(alert, gone=_gone(alert, {each.target for each in members}, held, now))
    if ordered:
        return _open(replace(alert, cleared_at=None), ordered, held, terms, now=now, undelivered=undelivered)
    if held & alert.targets:
        return Reviewed(replace(alert, cleared_at=None))
    if not alert.targets:
        return Reviewed(None)
    cleared_at = now if alert.cleared_at is None else min(alert.cleared_at, now)
    due = cleared_at + terms.resolved_after
    if now < due:
        return Reviewed(replace(alert, cleared_at=cleared_at), next_at=due)
    said = replace(alert, cleared_at=cleared_at, messages=alert.messages + 1, told_at=now)
    return Reviewed(None, Note(AlertStep.RESOLVED, said, (), tuple(sorted(alert.targets))))


def _gone(alert: Alert, present: AbstractSet[str], held: AbstractSet[str], now: float) -> Mapping[str, float]:
    """Return which of the targets that were told are right again, since when."""
    gone = {}
    for target in alert.targets:
        at = alert.gone.get(target)
        if target in held or target in present:
            # For less than that, it has never been right.
            if at is not None and now - at >= GONE:
                gone[target] = at
        else:
            gone[target] = now if at is None else min(at, now)
    return gone


def _open(
    alert: Alert,
    members: tuple[Member, ...],
    held: AbstractSet[str],
    terms: Notifications,
    *,
    now: float,
    undelivered: bool,
) -> Reviewed:
    acknowledged = alert.acknowledged if alert.acknowledged and alert.acknowledged.holds(now) else None
    alert = replace(alert, acknowledged=acknowledged)
    if alert.messages == 0 or members[0].finding.severity.rank > alert.severity.rank:
        return _tell(AlertStep.WORSENED if alert.messages else AlertStep.RAISED, alert, members, held, terms, now=now)
    if undelivered:
        return Reviewed(alert, next_at=now + _ASK_AGAIN)
    times = []
    # A clock that was set back must not put anything off for longer.
    free_at = alert.told_at + HOLD if now >= alert.told_at else now
    if _is_worse(alert, members):
        if now >= free_at:
            return _tell(_how(alert, members), alert, members, held, terms, now=now)
        times.append(free_at)
    if acknowledged is not None:
        times += [] if acknowledged.until is None else [acknowledged.until]
        return Reviewed(alert, next_at=min(times, default=None))
    eased_at = _eased_at(alert, members, held)
    if eased_at is not None:
        if now >= max(eased_at, free_at):
            return _tell(AlertStep.EASED, alert, members, held, terms, now=now)
        times.append(max(eased_at, free_at))
    interval = _reminded_after(members, terms, alert.told_at)
    if interval is not None:
        if now >= alert.told_at + interval:
            return _tell(AlertStep.REMINDED, alert, members, held, terms, now=now)
        times.append(alert.told_at + interval)
    return Reviewed(alert, next_at=min(times, default=None))


def _is_worse(alert: Alert, members: Sequence[Member]) -> bool:
    """Whether more is wrong than was told, in kind, in number or in other targets."""
    news = [each for each in members if not _is_implied(each, alert, members)]
    present = {each.target for each in members}
    flapping = {each.target for each in members if each.flaps}
    if {each.finding.code for each in news} - alert.codes:
        return True
    if (flapping ^ alert.flapping.keys()) & present & alert.targets:
        return True
    more = {each.target for each in news} - alert.targets
    return alert.acknowledged is None and bool(more or present & alert.gone.keys())


def _is_implied(member: Member, alert: Alert, members: Sequence[Member]) -> bool:
    """Whether whoever was told that this is wrong with another target of the component needs no message about it."""
    found, entry = member.finding, CATALOGUE[member.finding.code]
    # A server or a file that fails is news each time, whichever component it belongs to.
    if member.target in alert.targets or member.component is None or entry.scope is ProblemScope.CAUSE:
        return False
    return any(
        each.component == member.component
        and each.target in alert.targets
        and each.finding.severity.rank >= found.severity.rank
        and (found.code is each.finding.code or each.finding.code in entry.implied_by)
        for each in members
    )


def _how(alert: Alert, members: Sequence[Member]) -> AlertStep:
    """Return what became of a problem of which something is to be told, and that is no more severe than it was told."""
    present = {each.target for each in members}
    if members[0].finding.severity.rank < alert.severity.rank:
        return AlertStep.CHANGED
    fewer = alert.targets - present and not present - alert.targets
    return AlertStep.CHANGED if fewer else AlertStep.WORSENED


def _eased_at(alert: Alert, members: Sequence[Member], held: AbstractSet[str]) -> float | None:
    """Return the Unix time from which half of the targets have been right for long enough; None where they are not."""
    wrong = held | {each.target for each in members}
    times = sorted(at for target, at in alert.gone.items() if target not in wrong)
    half = (len(alert.targets) + 1) // 2
    return times[half - 1] + GONE if 0 < half <= len(times) else None


def _tell(
    step: AlertStep,
    alert: Alert,
    members: tuple[Member, ...],
    held: AbstractSet[str],
    terms: Notifications,
    *,
    now: float,
) -> Reviewed:
    worst = members[0]
    present = frozenset(each.target for each in members)
    since = min(each.since for each in members)
    recovered = tuple(sorted(alert.targets - present - held))
    severity = worst.finding.severity
    alert = replace(
        alert,
        severity=severity,
        codes=alert.codes.union(each.finding.code for each in members),
        targets=present | (alert.targets & held),
        since=since,
        told_at=now,
        what=str(worst.finding.code),
        about=worst.about,
        messages=alert.messages + 1,
        cleared_at=None,
        acknowledged=None,
        gone={target: at for target, at in alert.gone.items() if target in held},
        begins=_begins(alert, members, held),
        flapping={each.target: (each.flaps, each.since) for each in members if each.flaps},
    )
    interval = _reminded_after(members, terms, now)
    return Reviewed(alert, Note(step, alert, members, recovered), None if interval is None else now + interval)


def _begins(alert: Alert, members: Sequence[Member], held: AbstractSet[str]) -> Mapping[str, float]:
    """Return since when each target is part of the problem: it may have been wrong in another way before."""
    begins = {target: at for target, at in alert.begins.items() if target in alert.targets & held}
    for each in members:
        before = each.since if each.target in alert.gone else alert.begins.get(each.target, each.since)
        begins[each.target] = min(begins.get(each.target, before), before, each.since)
    return begins


def _reminded_after(members: Sequence[Member], terms: Notifications, told_at: float) -> float | None:
    """Return the seconds after which what was told last is told again; None for never.

    Where a certificate ends sooner than that would come twice, it is told again when half of the rest has passed: one
    of six days becomes critical in its last 18 hours, in which a daily reminder would never come.
    """
    interval = terms.remind[members[0].finding.severity]
    ends = min((each.ends for each in members if each.ends is not None), default=None)
    if interval is None or ends is None or ends - told_at <= SOONEST:
        # What comes next is that it has ended.
        return interval
    return min(interval, max((ends - told_at) / 2, SOONEST))


def _worst_first(members: Collection[Member]) -> list[Member]:
    return sorted(
        members,
        key=lambda each: (
            -each.finding.severity.rank,
            not CATALOGUE[each.finding.code].names_problem,
            bool(each.flaps),
            str(each.finding.code),
            each.target,
            each.finding.subject,
        ),
    )
