"""The life of a problem in the messages to one channel: raised, worsened, eased, reminded, resolved. Pure.

Each message tells the state at its time. After it, the channel believes exactly this state: `Alert.targets`. Another
message is sent where this belief has become wrong in a way that matters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import field, replace
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from config.catalogue import CATALOGUE, ProblemScope
from config.channel import Notifications
from config.immutable import immutable
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.problem import CERTIFICATE, THE_ACTOR, Member, problem_id, worst_first

HOLD: Final = 7.0
"""Seconds for which further findings of a problem wait after each message; with the gathering of news, ten at most.

So a network that goes dark endpoint by endpoint causes a few messages, and no news comes late.
"""
GONE: Final = 60.0
"""Seconds after which a target without findings has left a problem that lasts; a finding on it is then news."""
SOONEST: Final = 10_800.0
"""The least number of seconds between two reminders that a certificate ends."""
STEADY_FOR: Final = 60.0
"""Seconds, two looks apart at least, after which another certificate in place of the one that was told is news."""
MOST_CERTIFICATES: Final = 5
"""Certificates that a problem tells of, one after the other: of a peer that changes more often, no more is told."""
_EVENTS: Final = frozenset({Code.ACTION_FAILED})
"""Codes of which each beginning is an event: another one is news, though nobody was told of an end in between."""
_ASK_AGAIN: Final = 10.0
"""Seconds until the next check whether the last message has been delivered."""
_LOOK_AGAIN: Final = 30.0
"""Seconds until the next check whether another certificate is steady."""


AlertKey = tuple[str, str]
"""Channel, and key of the problem."""
_NONE_GONE: Final[Mapping[str, float]] = MappingProxyType({})
_NONE_FLAPPING: Final[Mapping[str, tuple[int, float]]] = MappingProxyType({})


class AlertStep(StrEnum):
    """The change of a problem that a message is about."""

    RAISED = "raised"
    WORSENED = "worsened"
    """The problem is more severe, has more findings or targets, fails in another way, or hurts more clients."""
    CHANGED = "changed"
    """The problem has other findings or targets, and is less severe or has fewer targets, or a plan cures it."""
    EASED = "eased"
    """At least half of the targets in the last message have no finding any more."""
    REMINDED = "reminded"
    RESOLVED = "resolved"


@immutable
class Acknowledgement:
    """Somebody knows of the problem: the next message comes when it gets worse in kind or is resolved."""

    who: str
    at: float
    """Unix time, as is the end."""
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Whether the acknowledgement has not ended at Unix time `now`."""
        return self.until is None or now < self.until


@immutable
class Alert:
    """The state of a problem as the messages to one channel have told it."""

    channel: str
    key: str
    severity: Severity
    """The worst severity at the last message."""
    codes: frozenset[Code]
    """All codes in messages about it."""
    targets: frozenset[str]
    """The targets that the channel believes to be part of it."""
    since: float
    """Unix time of the start of its oldest finding."""
    opened_at: float
    """Unix time, as is the next."""
    told_at: float
    what: str
    """The code of the worst finding."""
    about: str = ""
    """The subject of its certificate, or `problem.THE_ACTOR`; empty without either."""
    messages: int = 1
    """The number of messages; 0 where the problem has only split from another one so far."""
    cleared_at: float | None = None
    acknowledged: Acknowledgement | None = None
    gone: Mapping[str, float] = field(default_factory=lambda: _NONE_GONE)
    """Targets without a finding, with the Unix time since when; they stay in here until the next message."""
    flapping: Mapping[str, tuple[int, float]] = field(default_factory=lambda: _NONE_FLAPPING)
    """Targets that a message called flapping, with the number of failures and the Unix time since when."""
    begins: Mapping[str, float] = field(default_factory=lambda: _NONE_GONE)
    """By target: the Unix time since when it is part of the problem."""
    hurt: frozenset[str] = frozenset()
    """All clients in messages about it that reject a certificate."""
    asking: frozenset[str] = frozenset()
    """The targets in it of which only a plan waits for a person."""
    certificates: frozenset[str] = frozenset()
    """The certificates that messages have named, by the bases of their problems; without those of a passing moment."""

    @property
    def problem(self) -> str:
        """The short name of the problem."""
        return problem_id(self.key)

    @property
    def wrong(self) -> frozenset[str]:
        """The targets with a fault; where nothing but plans waits for a person, their targets."""
        return self.targets - self.asking or self.targets

    @property
    def began(self) -> float:
        """Unix time since when its first target is part of it."""
        return min(self.begins.values(), default=self.since)

    @property
    def message_id(self) -> str:
        """The id of the newest message about it; a message that is sent again has the same id."""
        whole = f"{self.channel}\0{self.key}\0{self.opened_at!r}\0{self.messages}"
        return blake2b(whole.encode(errors="surrogatepass"), digest_size=8).hexdigest()

    @property
    def headline(self) -> str:
        """The worst code, the certificate and the place, in a few words."""
        wrong = self.wrong
        where = min(wrong, default="") if len(wrong) == 1 else f"{len(wrong)} targets"
        if self.about == THE_ACTOR:
            where = THE_ACTOR
        if self.targets and self.targets <= self.flapping.keys():
            return f"flapping: {where}, {self.what} {max(self.flapping.values())[0]} times"
        return f"{self.what}: {self.about} on {where}" if self.about not in {"", THE_ACTOR} else f"{self.what}: {where}"


@immutable
class Note:
    """The content of one message about a problem."""

    step: AlertStep
    alert: Alert
    """The state after this message."""
    members: tuple[Member, ...]
    """The findings now, the worst first; empty where the problem is resolved."""
    recovered: tuple[str, ...] = ()
    """Targets in earlier messages that are no longer part of it: without findings, or not watched any more."""
    unwatched: frozenset[str] = frozenset()
    """Those of them that are not watched any more: whether they are well is not known."""
    replaced: frozenset[str] = frozenset()
    """Targets that present another certificate than the messages before have named, at several looks."""
    restless: frozenset[str] = frozenset()
    """Targets that present another certificate again and again."""


@immutable
class AlertUpdate:
    """The next state of an alert, and the message about the change, if it is worth one."""

    alert: Alert | None
    """None where the problem is not open."""
    note: Note | None = None
    next_at: float | None = None
    """Unix time of the next check that time alone causes; None for never."""


def next_note(
    about: AlertKey,
    alert: Alert | None,
    members: Collection[Member],
    withheld: AbstractSet[str] = frozenset(),
    *,
    terms: Notifications,
    now: float,
    undelivered: bool = False,
    steady: AbstractSet[str] = frozenset(),
) -> AlertUpdate:
    """Return the message at Unix time `now`, if any, about a problem with the findings `members`.

    No message says anything about targets that are `withheld`: whether they have findings is not known, or not to be
    told. Targets that are `steady` have presented the same certificates for `STEADY_FOR` seconds. While the message
    before is `undelivered`, only a higher severity is worth another one.
    """
    ordered = tuple(worst_first(members))
    if alert is None:
        if not ordered:
            return AlertUpdate(None)
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
        return _tell(AlertStep.RAISED, alert, ordered, withheld, terms, now=now, steady=steady)
    gone = _gone(alert, {each.target for each in members}, withheld, now)
    if ordered:
        acknowledged = alert.acknowledged if alert.acknowledged and alert.acknowledged.holds(now) else None
        alert = replace(alert, gone=gone, cleared_at=None, acknowledged=acknowledged)
        return _open(alert, ordered, withheld, terms, now=now, undelivered=undelivered, steady=steady)
    alert = replace(alert, gone=gone)
    if withheld & alert.targets:
        return AlertUpdate(replace(alert, cleared_at=None))
    if not alert.targets:
        return AlertUpdate(None)
    cleared_at = now if alert.cleared_at is None else min(alert.cleared_at, now)
    due = cleared_at + terms.resolved_after
    if now < due:
        return AlertUpdate(replace(alert, cleared_at=cleared_at), next_at=due)
    said = replace(alert, cleared_at=cleared_at, messages=alert.messages + 1, told_at=now)
    return AlertUpdate(None, Note(AlertStep.RESOLVED, said, (), tuple(sorted(alert.wrong))))


def _gone(alert: Alert, present: AbstractSet[str], withheld: AbstractSet[str], now: float) -> Mapping[str, float]:
    """Return the targets in earlier messages that have no finding, with the Unix time since when."""
    gone = {}
    for target in alert.targets:
        at = alert.gone.get(target)
        if target in withheld or target in present:
            # A shorter absence does not count.
            if at is not None and now - at >= GONE:
                gone[target] = at
        else:
            gone[target] = now if at is None else min(at, now)
    return gone


def _open(
    alert: Alert,
    members: tuple[Member, ...],
    withheld: AbstractSet[str],
    terms: Notifications,
    *,
    now: float,
    undelivered: bool,
    steady: AbstractSet[str],
) -> AlertUpdate:
    """Return the first message that is due about a problem with findings, or when one may be.

    A higher severity at once; more harm or another certificate after a pause; where nobody has acknowledged it, also
    that it eases or lasts.
    """

    def tell(step: AlertStep) -> AlertUpdate:
        return _tell(step, alert, members, withheld, terms, now=now, steady=steady)

    if alert.messages == 0 or members[0].finding.severity.rank > alert.severity.rank:
        return tell(AlertStep.WORSENED if alert.messages else AlertStep.RAISED)
    if undelivered:
        return AlertUpdate(alert, next_at=now + _ASK_AGAIN)
    times = []
    # A clock that was set back must not put anything off for longer.
    free_at = alert.told_at + HOLD if now >= alert.told_at else now
    others = _other_certificates(alert, members)
    is_worse = _is_worse(alert, members)
    if is_worse or others & steady:
        if now >= free_at:
            return tell(_how(alert, members) if is_worse else AlertStep.CHANGED)
        times.append(free_at)
    elif others:
        times.append(now + _LOOK_AGAIN)
    if alert.acknowledged is not None:
        times += [] if alert.acknowledged.until is None else [alert.acknowledged.until]
        return AlertUpdate(alert, next_at=min(times, default=None))
    eased_at = _eased_at(alert, members, withheld)
    if eased_at is not None:
        if now >= max(eased_at, free_at):
            return tell(AlertStep.EASED)
        times.append(max(eased_at, free_at))
    interval = _reminded_after(members, terms, alert.told_at)
    if interval is not None:
        if now >= alert.told_at + interval:
            return tell(AlertStep.REMINDED)
        times.append(alert.told_at + interval)
    return AlertUpdate(alert, next_at=min(times, default=None))


def _other_certificates(alert: Alert, members: Sequence[Member]) -> AbstractSet[str]:
    """Return the targets in messages that present a certificate which no message has named.

    None where so many were named that another one says nothing new.
    """
    if len(alert.certificates) >= MOST_CERTIFICATES:
        return frozenset()
    known = alert.certificates
    return {each.target for each in members if _of_certificate(each) and each.base not in known} & alert.targets


def _of_certificate(member: Member) -> bool:
    return member.base.startswith(CERTIFICATE) and not member.flaps


def _changes(alert: Alert, members: Sequence[Member]) -> list[Member]:
    """Return the findings whose code or target no message has told, or that are back."""
    return [
        each
        for each in members
        if (
            each.finding.code not in alert.codes
            or each.target not in alert.targets
            or each.target in alert.gone
            or _began_anew(each, alert)
        )
        and not _is_implied(each, alert, members)
    ]


def _began_anew(member: Member, alert: Alert) -> bool:
    """Whether it is an event since the last message, such as another failure of a transaction after a success."""
    return member.finding.code in _EVENTS and not member.flaps and member.since > alert.told_at


def _is_worse(alert: Alert, members: Sequence[Member]) -> bool:
    """Whether there are more codes, targets or hurt clients than the messages have told, or other targets flap."""
    if _more_clients(alert, members):
        return True
    news = [each for each in members if not _is_implied(each, alert, members)]
    present = {each.target for each in members}
    flapping = {each.target for each in members if each.flaps}
    if {each.finding.code for each in news} - alert.codes:
        return True
    if (flapping ^ alert.flapping.keys()) & present & alert.targets:
        return True
    more = {each.target for each in news} - alert.targets
    is_anew = any(_began_anew(each, alert) for each in news)
    return alert.acknowledged is None and (is_anew or bool(more or present & alert.gone.keys()))


def _is_implied(member: Member, alert: Alert, members: Sequence[Member]) -> bool:
    """Whether a message about another target of the component makes one about this member superfluous."""
    found, entry = member.finding, CATALOGUE[member.finding.code]
    # A server or a file that fails is news each time, whichever component it belongs to.
    if member.target in alert.targets or member.component is None or entry.scope is ProblemScope.CAUSE:
        return False
    return any(
        each.component == member.component
        and each.target in alert.targets
        and not _hurts_more(member, each)
        and each.finding.severity.rank >= found.severity.rank
        and (found.code is each.finding.code or each.finding.code in entry.implied_by)
        for each in members
    )


def _hurts_more(member: Member, told: Member) -> bool:
    """Whether it hurts somebody at an endpoint, where only a file was `told`: a file alone hurts no client."""
    if member.kind is not TargetKind.ENDPOINT or told.kind is not TargetKind.FILE:
        return False
    hurts = CATALOGUE[member.finding.code].hurts
    return bool(member.client) or hurts.get(told.kind, "") != hurts.get(member.kind, "")


def _asks(member: Member) -> bool:
    """Whether the finding is no fault, but a plan that waits for a person."""
    return member.finding.code is Code.APPROVAL_PENDING


def _more_clients(alert: Alert, members: Sequence[Member]) -> bool:
    """Whether clients reject a certificate that no message has named."""
    return any(each.client and each.client not in alert.hurt for each in members)


def _how(alert: Alert, members: Sequence[Member]) -> AlertStep:
    """Return the step for a message about a problem that is not more severe than the messages have told."""
    present = {each.target for each in members}
    if members[0].finding.severity.rank < alert.severity.rank:
        return AlertStep.CHANGED
    if alert.wrong - alert.asking and (new := _changes(alert, members)) and all(map(_asks, new)):
        # A cure that waits for approval is no harm.
        return AlertStep.CHANGED
    # What lies in files hurts no client: not more of it, in the place of what was told, is no harm.
    on_disk = all(each.kind is TargetKind.FILE for each in members) and len(present) <= len(alert.targets)
    is_other = bool(alert.targets - present) and (on_disk or not present - alert.targets)
    fewer = is_other and not _more_clients(alert, members)
    return AlertStep.CHANGED if fewer else AlertStep.WORSENED


def _eased_at(alert: Alert, members: Sequence[Member], withheld: AbstractSet[str]) -> float | None:
    """Return the Unix time from which half of the targets have had no finding for long enough; None without it."""
    told = alert.wrong
    right = told - withheld - {each.target for each in members}
    times = sorted(at for target, at in alert.gone.items() if target in right)
    half = (len(told) + 1) // 2
    return times[half - 1] + GONE if 0 < half <= len(times) else None


def _tell(
    step: AlertStep,
    alert: Alert,
    members: tuple[Member, ...],
    withheld: AbstractSet[str],
    terms: Notifications,
    *,
    now: float,
    steady: AbstractSet[str],
) -> AlertUpdate:
    worst = members[0]
    others = _other_certificates(alert, members) if alert.certificates else frozenset[str]()
    named = {each.base for each in members if _of_certificate(each) and (not alert.messages or each.target in steady)}
    present = frozenset(each.target for each in members)
    since = min(each.since for each in members)
    recovered = tuple(sorted(alert.wrong - present - withheld))
    severity = worst.finding.severity
    alert = replace(
        alert,
        severity=severity,
        codes=alert.codes.union(each.finding.code for each in members),
        targets=present | (alert.targets & withheld),
        since=since,
        told_at=now,
        what=str(worst.finding.code),
        about=worst.about,
        messages=alert.messages + 1,
        cleared_at=None,
        acknowledged=None,
        gone={target: at for target, at in alert.gone.items() if target in withheld},
        begins=_begins(alert, members, withheld),
        asking=present - {each.target for each in members if not _asks(each)},
        hurt=alert.hurt.union(each.client for each in members if each.client),
        flapping={each.target: (each.flaps, each.since) for each in members if each.flaps},
        certificates=alert.certificates | named,
    )
    interval = _reminded_after(members, terms, now)
    note = Note(
        step, alert, members, recovered, replaced=frozenset(others & steady), restless=frozenset(others - steady)
    )
    times = [] if interval is None else [now + interval]
    return AlertUpdate(alert, note, min([*times, now + _LOOK_AGAIN] if others - steady else times, default=None))


def _begins(alert: Alert, members: Sequence[Member], withheld: AbstractSet[str]) -> Mapping[str, float]:
    """Return since when each target is part of the problem, with an earlier finding of another kind included."""
    begins = {target: at for target, at in alert.begins.items() if target in alert.targets & withheld}
    for each in members:
        before = each.since if each.target in alert.gone else alert.begins.get(each.target, each.since)
        begins[each.target] = min(begins.get(each.target, before), before, each.since)
    return begins


def _reminded_after(members: Sequence[Member], terms: Notifications, told_at: float) -> float | None:
    """Return the seconds between the last message and its reminder; None for never.

    Where the certificate ends within two of the configured intervals, the reminder comes after half of the time left: a
    certificate of six days becomes critical in its last 18 hours, in which a daily reminder would never come.
    """
    interval = terms.remind[members[0].finding.severity]
    ends = min((each.ends for each in members if each.ends is not None), default=None)
    if interval is None or ends is None or ends - told_at <= SOONEST:
        # The next message says that it has ended.
        return interval
    return min(interval, max((ends - told_at) / 2, SOONEST))
