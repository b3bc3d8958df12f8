"""The outbox: alerts (problems as each channel was told of them), messages that are not delivered yet, and silences.

It turns the states of targets into messages. It lives on the event loop's thread and does no I/O.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Final

from config.channel import NO_LABELS, Channel, FindingMatch, Notifications, Silence
from config.immutable import immutable
from config.text import Log, harmless
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.advice import AdviceContext
from monitor.notify.cause import Causes, Move, base_of, flapping, place
from monitor.notify.delivery import Delivery, DeliveryFate
from monitor.notify.lifecycle import STEADY_FOR, Acknowledgement, Alert, AlertKey, Note, next_note
from monitor.notify.mute import ABOUT_TO, ComponentTransaction, muted, undone
from monitor.notify.open_problem import OpenProblem, Quiet
from monitor.notify.problem import OUTAGE, Member, members, problem_id, worst_first
from monitor.notify.text import FindingOutlook, compose, digest, problem_text
from monitor.state.target import TargetState

log: Log = logging.getLogger("certvigil.notify")

APART: Final = 5
"""Up to so many problems at once have a message each; more have one message about all."""
_MENDED_WITHIN: Final = 60.0
"""Seconds for which a finding is not told, if certvigil is about to mend it."""
_WHOLE_WITHIN: Final = 10.0
"""Seconds for which what is not served is not told: until then the other ports of the service were looked at, and the
plan that a person is to approve is made. All of that is one event, which `not_served_after` has awaited anyhow."""
_UNSEEN: Final = 5.0
"""Seconds until the next check whether a target was looked at."""
_MUTED: Final = 1.0
"""Seconds until the next check whether a transaction has ended."""


@immutable
class RequestedSilence:
    """A silence that somebody asked for while the daemon ran."""

    id: str
    silence: Silence
    who: str
    since: float
    """Unix time."""


@immutable
class OutboxState:
    """All that must outlive the daemon."""

    alerts: Mapping[AlertKey, Alert]
    deliveries: Mapping[str, Delivery]
    silences: Mapping[str, RequestedSilence]


@dataclass(slots=True)
class Changes:
    """Changes of alerts, messages and silences; None for alerts and silences that are over."""

    alerts: dict[AlertKey, Alert | None]
    deliveries: dict[str, Delivery]
    silences: dict[str, RequestedSilence | None]

    def __bool__(self) -> bool:
        return bool(self.alerts or self.deliveries or self.silences)

    def add(self, later: Changes) -> None:
        """Add `later` changes."""
        self.alerts.update(later.alerts)
        self.deliveries.update(later.deliveries)
        self.silences.update(later.silences)


def no_changes() -> Changes:
    """Return an empty set of changes."""
    return Changes({}, {}, {})


class Outbox:
    """The alerts, messages and silences of all channels."""

    def __init__(
        self,
        targets: Mapping[str, TargetState],
        outlook: FindingOutlook,
        transactions: Callable[[], Mapping[str, ComponentTransaction]] = dict,
    ) -> None:
        """Begin without any alert; `transactions` gives the newest transaction of each component."""
        self._targets = targets
        self._outlook = outlook
        self._transactions = transactions
        self._channels: Mapping[str, Channel] = {}
        self._terms = Notifications()
        self._labels: Mapping[str, Mapping[str, str]] = {}
        self._site = AdviceContext()
        self._least = Severity.WARNING
        self._causes = Causes()
        self._news: set[str] = set()
        """Targets whose state may be new."""
        self._not_served: dict[str, float] = {}
        """By problem: the Unix time at which it was first seen that something is not served."""
        self._reached: dict[str, dict[tuple[Code, str], tuple[float, ...]]] = {}
        """By target and finding: for each severity, the Unix time since when the finding is at least that severe."""
        self._alerts: dict[str, dict[str, Alert]] = {}
        """By the key of the problem, then by channel."""
        self._deliveries: dict[str, Delivery] = {}
        self._silences: dict[str, RequestedSilence] = {}
        self._touched: set[str] = set()
        self._due: dict[str, float] = {}
        """The Unix time of the next check that time alone causes, by the key of the problem."""
        self._silent: frozenset[Silence] = frozenset()
        self._muted: frozenset[str] = frozenset()
        self._undone: frozenset[str] = frozenset()
        self._changes = no_changes()

    def restore(self, kept: OutboxState) -> None:
        """Begin with the kept state."""
        for (channel, key), alert in sorted(kept.alerts.items(), key=lambda each: each[1].opened_at):
            self._alerts.setdefault(key, {})[channel] = alert
            self._touched.add(key)
            self._causes.restore(key, alert.what, alert.since, alert.flapping, alert.targets)
        self._deliveries = dict(kept.deliveries)
        self._silences = dict(kept.silences)

    def reconfigure(
        self,
        channels: Mapping[str, Channel],
        terms: Notifications,
        labels: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        site: AdviceContext | None = None,
    ) -> None:
        """Tell these channels on these terms from now on; alerts and messages for other channels are forgotten.

        `labels` gives the labels of each component, `site` the facts for messages beside the problem.
        """
        self._channels, self._terms, self._labels, self._site = channels, terms, labels, site or AdviceContext()
        # A person who looks finds warnings among the open problems, whichever of them are told.
        least = min([Severity.WARNING.rank, *(route.severity.rank for route in terms.routes)])
        self._least = list(Severity)[least]
        for key, by_channel in tuple(self._alerts.items()):
            for channel in tuple(by_channel):
                if channel not in channels or not terms.enabled:
                    self._set_alert(key, channel, None)
        for delivery in tuple(self._deliveries.values()):
            if delivery.channel not in channels:
                self._set_delivery(
                    replace(delivery, fate=DeliveryFate.DROPPED, ended_at=delivery.ended_at or delivery.at)
                )
        self._news.update(self._causes.targets(), self._targets)
        self._touched.update(self._causes.keys(), self._alerts)

    def observe(self, target: str) -> None:
        """Have `write_due` take note of the state of a target."""
        self._news.add(target)

    def _take_in(self, now: float) -> None:
        """Take note of the states of targets, in the order in which their first findings began."""
        known, news, transactions = self._targets, [], self._transactions()
        for target in self._news:
            believed = known.get(target)
            if believed is None:
                self._reached.pop(target, None)
                self._touched |= self._causes.forget(target)
            elif not believed.findings and believed.last_look is None:
                # Its alerts stand until it is looked at.
                continue
            elif believed.findings or target in self._reached or self._causes.knows(target):
                began = min((each.since for each in believed.findings.values()), default=now)
                news.append((began, target, believed))
        self._news.clear()
        for _, target, believed in sorted(news, key=lambda each: each[:2]):
            found: dict[str, tuple[Member, ...]] = {}
            for base, member in self._members_of(believed, now):
                found[base] = (*found.get(base, ()), member)
            transaction = transactions.get(believed.component or "")
            excused = None if transaction is None else transaction.span
            self._touched |= self._causes.observe(target, found, place(believed), now, excused)
        self._touched |= self._causes.settle(now)
        for move in self._causes.take_moves():
            self._move(move, now)

    def _members_of(self, believed: TargetState, now: float) -> Iterator[tuple[str, Member]]:
        """Yield the findings on a target that some route may want, each with the base of its problem."""
        before = self._reached.pop(believed.target, {})
        if not believed.findings:
            return
        after = self._reached[believed.target] = {}
        for base, member in members(believed):
            found = member.finding
            last = before.get((found.code, found.subject), (member.since,) * (found.severity.rank + 1))
            # A finding that was less severe in between has the higher severity only since then.
            reached = last[: found.severity.rank + 1]
            after[found.code, found.subject] = reached = reached + (now,) * (found.severity.rank + 1 - len(reached))
            if found.severity.rank >= self._least.rank:
                late = reached if any(at != member.since for at in reached) else ()
                yield base, replace(member, reached=late) if late else member

    def _move(self, move: Move, now: float) -> None:
        """Move a target in the alerts from another problem of that base to the problem that it is part of now."""
        for key in tuple(self._alerts) if move.base.startswith(OUTAGE) else self._alerts.keys() & _forms(move.base):
            if key == move.key or base_of(key) != move.base:
                continue
            for alert in tuple(self._alerts[key].values()):
                if move.target in alert.targets:
                    self._transfer(alert, move, now)
            self._touched.add(key)

    def _transfer(self, alert: Alert, move: Move, now: float) -> None:
        there = self._alerts.get(move.key, {}).get(alert.channel) or replace(
            alert,
            key=move.key,
            codes=frozenset(),
            targets=frozenset(),
            opened_at=now,
            messages=0,
            cleared_at=None,
            acknowledged=None,
            gone={},
            flapping={},
            begins={},
            hurt=frozenset(),
            asking=frozenset(),
            certificates=frozenset(),
        )
        target = move.target
        # Gone for ever: a finding on it is news, and its recovery is to be told.
        begins = {target: at for target, at in alert.begins.items() if target == move.target}
        there = replace(
            there,
            targets=there.targets | {target},
            gone={**there.gone, target: 0.0},
            begins={**there.begins, **begins},
        )
        self._set_alert(move.key, alert.channel, there)
        left = alert.targets - {target}
        rest = replace(
            alert,
            targets=left,
            gone={each: at for each, at in alert.gone.items() if each in left},
            flapping={each: count for each, count in alert.flapping.items() if each in left},
            begins={each: at for each, at in alert.begins.items() if each in left},
        )
        self._set_alert(alert.key, alert.channel, rest if left else None)

    def write_due(self, now: float) -> tuple[Delivery, ...]:
        """Write the messages that are due at Unix time `now` into the outbox, and return them."""
        self._take_in(now)
        transactions = self._transactions()
        self._muted, self._undone = muted(transactions, self._targets.values(), now), undone(transactions)
        silences = frozenset(each for each in self._all_silences() if now < each.until)
        if silences != self._silent:
            self._silent = silences
            self._touched.update(self._causes.keys())
        for identifier, requested in tuple(self._silences.items()):
            if now >= requested.silence.until:
                self._set_silence(identifier, None)
        due = {key for key, at in self._due.items() if at <= now}
        notes: dict[str, list[Note]] = {}
        waiting = {(delivery.channel, problem) for delivery in self.pending() for problem in delivery.problems}
        for key in sorted(self._touched | due):
            self._due.pop(key, None)
            try:
                for note in self._next_notes(key, waiting, now):
                    notes.setdefault(note.alert.channel, []).append(note)
            except Exception:
                # A failure in one problem must not keep the others from being told.
                log.exception("the problem %s cannot be told", harmless(problem_id(key)))
        self._touched.clear()
        return tuple(delivery for channel, those in notes.items() for delivery in self._write(channel, those, now))

    def next_due(self) -> float | None:
        """Return the Unix time at which a message may be due because of time alone; None for never."""
        times = [*self._due.values(), *(each.until for each in self._silent)]
        calm = self._causes.next()
        return min(times if calm is None else [*times, calm], default=None)

    def _next_notes(self, key: str, waiting: set[tuple[str, str]], now: float) -> Iterator[Note]:
        loud, withheld, times = self._audience(key, now)
        for channel in sorted({*loud, *self._alerts.get(key, {})}):
            alert = self._alerts.get(key, {}).get(channel)
            wrong, quiet = loud.get(channel, []), withheld.get(channel, set())
            if alert is not None:
                unsure = self._unsure(alert, {each.target for each in wrong})
                quiet |= unsure
                times += [now + _UNSEEN] if unsure else []
            undelivered = alert is not None and (channel, alert.problem) in waiting
            update = next_note(
                (channel, key),
                alert,
                wrong,
                quiet,
                terms=self._terms,
                now=now,
                undelivered=undelivered,
                steady=self._steady(wrong),
            )
            if update.alert != alert:
                self._set_alert(key, channel, update.alert)
            if update.next_at is not None:
                times.append(update.next_at)
            if update.note is not None:
                gone = frozenset(each for each in update.note.recovered if each not in self._targets)
                yield replace(update.note, unwatched=gone)
        if times:
            self._due[key] = min(times)

    def _steady(self, wrong: Iterable[Member]) -> set[str]:
        """Return the targets of these members that have presented the same for a while, at several looks."""
        known = {each.target: self._targets[each.target] for each in wrong if each.target in self._targets}
        return {
            target
            for target, state in known.items()
            if state.last_look is not None and state.last_look - state.since >= STEADY_FOR
        }

    def _audience(self, key: str, now: float) -> tuple[dict[str, list[Member]], dict[str, set[str]], list[float]]:
        """Return the findings of a problem for each channel, the targets withheld from it, and times of next checks."""
        loud: dict[str, list[Member]] = {}
        withheld: dict[str, set[str]] = {}
        times: list[float] = []
        those = list(chain.from_iterable(self._causes.members(key)))
        whole = self._whole_at(key, those, now)
        for member in those:
            for channel, told in self._told(member).items():
                at = max(told, whole)
                if now < at:
                    times.append(at)
                if now < at or self._is_silenced(member):
                    withheld.setdefault(channel, set()).add(member.target)
                else:
                    loud.setdefault(channel, []).append(member)
            if member.component in self._muted:
                times.append(now + _MUTED)
        return loud, withheld, times

    def _whole_at(self, key: str, those: Iterable[Member], now: float) -> float:
        """Return the Unix time from which all parts of a problem with these members are known."""
        if not any(each.finding.code is Code.NOT_SERVED for each in those):
            self._not_served.pop(key, None)
            return 0.0
        # A clock that is set back must not delay it for longer.
        self._not_served[key] = min(now, self._not_served.get(key, now))
        return self._not_served[key] + _WHOLE_WITHIN

    def _told(self, member: Member) -> dict[str, float]:
        """Return the channels for a finding, each with the Unix time from which it is told."""
        found = member.finding
        chosen: dict[str, float] = {}
        if not self._terms.enabled:
            return chosen
        if not self._terms.routes:
            if found.severity.rank >= Severity.WARNING.rank:
                chosen = dict.fromkeys(self._channels, 0.0)
        else:
            for route in self._terms.routes:
                if found.severity.rank >= route.severity.rank and self._is_meant(route.match, member):
                    at = member.since_at_least(route.severity) + route.lasting if route.lasting else 0.0
                    for channel in route.channels:
                        chosen[channel] = min(at, chosen.get(channel, at))
        if found.code is Code.NOT_SERVED and chosen and ABOUT_TO in self._says(member):
            # A fault that is mended at once need not be told.
            soon = member.since + _MENDED_WITHIN
            chosen = {channel: max(at, soon) for channel, at in chosen.items()}
        if found.code is Code.DELIVERY_FAILED:
            # Other channels are told that this channel fails.
            chosen.pop(found.subject, None)
        return chosen

    def _is_silenced(self, member: Member) -> bool:
        is_dark = member.finding.code is Code.UNREACHABLE and member.component in self._undone
        is_muted = member.component in self._muted and not is_dark
        return is_muted or any(self._is_meant(each.match, member) for each in self._silent)

    def _is_meant(self, match: FindingMatch, member: Member) -> bool:
        labels = self._labels.get(member.component or "", NO_LABELS)
        return match.holds(member.target, member.component, member.kind, member.finding.code, labels)

    def _unsure(self, alert: Alert, wrong: set[str]) -> set[str]:
        """Return the targets of an alert about which it is not known whether they have a finding.

        They were not looked at in this run, or are under a transaction, or are flapping.
        """
        known = self._targets
        return {
            target
            for target in alert.targets - wrong
            if self._causes.is_flapping(alert.key, target)
            or (target in known and (known[target].last_look is None or known[target].component in self._muted))
        }

    def _write(self, channel: str, notes: list[Note], now: float) -> Iterator[Delivery]:
        if len(notes) > APART:
            name, message = digest(notes, self._site.host, now)
            yield self._post(
                Delivery(
                    id=name,
                    channel=channel,
                    problems=tuple(note.alert.problem for note in notes),
                    message=message,
                    at=now,
                )
            )
            return
        site = self._site_now()
        for note in notes:
            message = compose(note, self._says, site, now)
            yield self._post(
                Delivery(
                    id=note.alert.message_id, channel=channel, problems=(note.alert.problem,), message=message, at=now
                )
            )

    def _site_now(self) -> AdviceContext:
        """Return the facts beside the problems, with those that other findings give."""
        found = [(each, one.finding) for each in self._targets.values() for one in each.findings.values()]
        mismatched = frozenset(
            each.component
            for each, one in found
            if one.code is Code.KEY_MISMATCH and each.kind is TargetKind.FILE and each.component is not None
        )
        clock = next((one.detail for _, one in found if one.code is Code.CLOCK_SUSPECT), "")
        return replace(self._site, mismatched=mismatched, clock=clock)

    def _says(self, member: Member) -> str:
        """Return what will happen by itself. A failure here must not keep the message from being sent."""
        try:
            return self._outlook(member)
        except Exception:
            log.exception("the course of %s by itself cannot be told", harmless(member.target))
            return ""

    def _post(self, delivery: Delivery) -> Delivery:
        self._set_delivery(delivery)
        return delivery

    def announce(self, delivery: Delivery) -> bool:
        """Write a message that is about no problem; return whether it is new."""
        new = delivery.id not in self._deliveries
        if new:
            self._set_delivery(delivery)
        return new

    # The content of the outbox

    def pending(self) -> list[Delivery]:
        """Return the messages that are to be delivered, oldest first."""
        return [each for each in self._deliveries.values() if each.fate is DeliveryFate.PENDING]

    def undelivered(self) -> list[Delivery]:
        """Return the messages that are to be delivered or were given up, oldest first."""
        return list(self._deliveries.values())

    def alerts(self) -> list[Alert]:
        """Return all open problems, as each channel was told of them."""
        return [alert for by_channel in self._alerts.values() for alert in by_channel.values()]

    def problems(self, offset: int, limit: int, now: float) -> tuple[int, list[OpenProblem]]:
        """Return how many problems are open at Unix time `now`, and some of them, the worst and oldest first.

        They are as the last messages had them, whether or not a channel is told of them.
        """
        ranked = []
        for key in self._causes.keys():  # noqa: SIM118 (it is no mapping)
            those = list(chain.from_iterable(self._causes.members(key)))
            if those:
                worst = max(each.finding.severity.rank for each in those)
                ranked.append((-worst, min(each.since for each in those), key, those))
        ranked.sort(key=lambda each: each[:3])
        shown, site = ranked[offset : offset + limit], self._site_now()
        return len(ranked), [self._problem(key, worst_first(those), site, now) for _, _, key, those in shown]

    def _problem(self, key: str, those: list[Member], site: AdviceContext, now: float) -> OpenProblem:
        first = next_note(("", key), None, those, terms=self._terms, now=now).alert
        alerts = self._alerts.get(key, {})
        known = (alert.acknowledged for alert in alerts.values() if alert.acknowledged)
        return OpenProblem(
            id=problem_id(key),
            severity=those[0].finding.severity,
            headline=those[0].target if first is None else first.headline,
            members=tuple(those),
            text=problem_text(those, self._says, site),
            told={channel: alert.told_at for channel, alert in sorted(alerts.items()) if alert.messages},
            quiet=self._quiet(those, now),
            acknowledged=next((each for each in known if each.holds(now)), None),
        )

    def _quiet(self, those: Iterable[Member], now: float) -> Quiet:
        """Return why nobody is told of any of these findings."""
        heard = [each for each in those if any(at <= now for at in self._told(each).values())]
        if not heard:
            return Quiet.NO_CHANNEL
        if any(not self._is_silenced(each) for each in heard):
            return Quiet.NOT
        muted_ones = all(each.component in self._muted for each in heard)
        return Quiet.UNDER_TRANSACTION if muted_ones else Quiet.SILENCED

    def silences(self) -> list[RequestedSilence]:
        """Return the silences that people asked for."""
        return list(self._silences.values())

    def counts(self) -> Counter[str]:
        """Return the number of messages that are to be delivered, by channel."""
        return Counter(each.channel for each in self.pending())

    def amend(self, delivery: Delivery) -> None:
        """Put a message back after an attempt to deliver it; a delivered message is forgotten."""
        if delivery.id in self._deliveries:
            self._set_delivery(delivery)
        if delivery.fate is not DeliveryFate.PENDING:
            # Later changes of its problems waited for this message.
            self._touched.update(
                key
                for key, by_channel in self._alerts.items()
                if (alert := by_channel.get(delivery.channel)) is not None and alert.problem in delivery.problems
            )

    def retry(self, channel: str | None) -> int:
        """Have messages that were given up delivered again, to `channel` or to all; return their number."""
        dead = [
            each
            for each in self._deliveries.values()
            if each.fate is DeliveryFate.DEAD and channel in {None, each.channel}
        ]
        for delivery in dead:
            self._set_delivery(replace(delivery, fate=DeliveryFate.PENDING, attempts=0, ended_at=None))
        return len(dead)

    def drop(self, channel: str | None) -> int:
        """Drop the messages that were given up, to `channel` or to all; return their number."""
        dead = [
            each
            for each in self._deliveries.values()
            if each.fate is DeliveryFate.DEAD and channel in {None, each.channel}
        ]
        for delivery in dead:
            self._set_delivery(replace(delivery, fate=DeliveryFate.DROPPED))
        return len(dead)

    def acknowledge(self, problem: str, who: str, until: float | None, now: float) -> int:
        """Note that `who` knows of the problem with that short name; return the number of its alerts."""
        count = 0
        for key, by_channel in tuple(self._alerts.items()):
            for channel, alert in tuple(by_channel.items()):
                if alert.problem == problem:
                    self._set_alert(key, channel, replace(alert, acknowledged=Acknowledgement(who, now, until)))
                    self._touched.add(key)
                    count += 1
        return count

    def silence(self, requested: RequestedSilence) -> None:
        """Notify nobody of the findings of a silence until it ends."""
        self._set_silence(requested.id, requested)

    def unsilence(self, identifier: str) -> bool:
        """End a silence; return whether there was one."""
        found = identifier in self._silences
        if found:
            self._set_silence(identifier, None)
        return found

    # The state for the database

    def take_changes(self) -> Changes:
        """Return the changes since the last call."""
        changes, self._changes = self._changes, no_changes()
        return changes

    def everything(self) -> OutboxState:
        """Return the whole state that must be kept, as copies."""
        # Another thread calls this; each of these copies is made in one step.
        alerts = {
            (channel, key): each for key, those in tuple(self._alerts.items()) for channel, each in tuple(those.items())
        }
        return OutboxState(alerts, dict(self._deliveries), dict(self._silences))

    def _all_silences(self) -> Iterable[Silence]:
        yield from self._terms.silences
        for requested in self._silences.values():
            yield requested.silence

    def _set_alert(self, key: str, channel: str, alert: Alert | None) -> None:
        self._changes.alerts[channel, key] = alert
        if alert is not None:
            self._alerts.setdefault(key, {})[channel] = alert
            return
        by_channel = self._alerts.get(key, {})
        by_channel.pop(channel, None)
        if not by_channel:
            self._alerts.pop(key, None)

    def _set_delivery(self, delivery: Delivery) -> None:
        if delivery.fate in {DeliveryFate.PENDING, DeliveryFate.DEAD}:
            self._deliveries[delivery.id] = delivery
        else:
            self._deliveries.pop(delivery.id, None)
        self._changes.deliveries[delivery.id] = delivery

    def _set_silence(self, identifier: str, requested: RequestedSilence | None) -> None:
        if requested is None:
            self._silences.pop(identifier, None)
        else:
            self._silences[identifier] = requested
        self._changes.silences[identifier] = requested


def _forms(base: str) -> frozenset[str]:
    """Return the possible keys of a problem with a base that is no outage."""
    return frozenset({base, flapping(base)})
