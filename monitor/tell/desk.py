"""Where problems, what was told of them, letters and silences lie.

It lives on the event loop's thread and does no I/O.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from config.channel import NO_LABELS, Channel, Match, Silence, Telling
from config.vocabulary import Code, Severity
from monitor.known import Known
from monitor.tell.advice import Site
from monitor.tell.letter import Fate, Letter
from monitor.tell.lifecycle import Acknowledgement, Alert, AlertKey, Note, review
from monitor.tell.problem import Member, members, problem_id
from monitor.tell.text import Outlook, compose, digest

log = logging.getLogger("certvigil.tell")

APART: Final = 5
"""So many problems that come up at once are a message each; of more, there is one message about all."""
_UNSEEN: Final = 5.0
"""Seconds until it is asked again whether a target was looked at."""


@dataclass(frozen=True, slots=True)
class Held:
    """A silence that somebody asked for while the daemon ran."""

    id: str
    silence: Silence
    who: str
    since: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class Kept:
    """All that must outlive the daemon."""

    alerts: Mapping[AlertKey, Alert]
    letters: Mapping[str, Letter]
    silences: Mapping[str, Held]


@dataclass(slots=True)
class Changes:
    """What became of alerts, letters and silences; None for what is over."""

    alerts: dict[AlertKey, Alert | None]
    letters: dict[str, Letter]
    silences: dict[str, Held | None]

    def __bool__(self) -> bool:
        return bool(self.alerts or self.letters or self.silences)

    def add(self, later: Changes) -> None:
        """Make these say what `later` says, too."""
        self.alerts.update(later.alerts)
        self.letters.update(later.letters)
        self.silences.update(later.silences)


def no_changes() -> Changes:
    """Return that nothing changed."""
    return Changes({}, {}, {})


class Desk:
    """Turns what is believed into letters, and keeps these until they are delivered."""

    def __init__(self, known: Callable[[], Mapping[str, Known]], outlook: Outlook) -> None:
        self._known = known
        self._outlook = outlook
        self._channels: Mapping[str, Channel] = {}
        self._terms = Telling()
        self._labels: Mapping[str, Mapping[str, str]] = {}
        self._site = Site()
        self._least = Severity.WARNING
        self._members: dict[str, dict[str, tuple[Member, ...]]] = {}
        """By the key of the problem, then by target."""
        self._keys: dict[str, frozenset[str]] = {}
        """Of the problems that each target is part of."""
        self._alerts: dict[str, dict[str, Alert]] = {}
        """By the key of the problem, then by channel."""
        self._letters: dict[str, Letter] = {}
        self._silences: dict[str, Held] = {}
        self._touched: set[str] = set()
        self._due: dict[str, float] = {}
        """When to review a problem by itself, by its key."""
        self._silent: frozenset[Silence] = frozenset()
        self._changes = no_changes()

    def restore(self, kept: Kept) -> None:
        """Begin with what was kept."""
        for (channel, key), alert in kept.alerts.items():
            self._alerts.setdefault(key, {})[channel] = alert
            self._touched.add(key)
        self._letters = dict(kept.letters)
        self._silences = dict(kept.silences)

    def reconfigure(
        self,
        channels: Mapping[str, Channel],
        terms: Telling,
        labels: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        site: Site | None = None,
    ) -> None:
        """Tell these channels on these terms from now on; what was meant for others is forgotten.

        `labels` gives those of each component, `site` what messages may speak of beside the problem.
        """
        self._channels, self._terms, self._labels, self._site = channels, terms, labels, site or Site()
        least = min((route.severity.rank for route in terms.routes), default=Severity.WARNING.rank)
        self._least = list(Severity)[least]
        for key, by_channel in tuple(self._alerts.items()):
            for channel in tuple(by_channel):
                if channel not in channels or not terms.enabled:
                    self._set_alert(key, channel, None)
        for letter in tuple(self._letters.values()):
            if letter.channel not in channels:
                self._set_letter(replace(letter, fate=Fate.DROPPED, ended_at=letter.ended_at or letter.at))
        for target in tuple(self._keys.keys() | self._known().keys()):
            self.observe(target)
        self._touched.update(self._members, self._alerts)

    def observe(self, target: str) -> None:
        """Take note of what is believed of a target now."""
        known = self._known().get(target)
        found: dict[str, list[Member]] = {}
        if known is not None and known.findings:
            for key, member in members(known):
                if member.finding.severity.rank >= self._least.rank:
                    found.setdefault(key, []).append(member)
        for key in self._keys.pop(target, frozenset()) - found.keys():
            self._touched.add(key)
            del self._members[key][target]
            if not self._members[key]:
                del self._members[key]
        for key, those in found.items():
            if self._members.get(key, {}).get(target) != tuple(those):
                self._members.setdefault(key, {})[target] = tuple(those)
                self._touched.add(key)
        if found:
            self._keys[target] = frozenset(found)

    def review(self, now: float) -> tuple[Letter, ...]:
        """Return the letters that are to be written at Unix time `now`; they are on the desk already."""
        silences = frozenset(each for each in self._all_silences() if now < each.until)
        if silences != self._silent:
            self._silent = silences
            self._touched.update(self._members)
        for identifier, held in tuple(self._silences.items()):
            if now >= held.silence.until:
                self._set_silence(identifier, None)
        due = {key for key, at in self._due.items() if at <= now}
        notes: dict[str, list[Note]] = {}
        waiting = {(letter.channel, problem) for letter in self.pending() for problem in letter.problems}
        for key in sorted(self._touched | due):
            self._due.pop(key, None)
            try:
                for note in self._review(key, waiting, now):
                    notes.setdefault(note.alert.channel, []).append(note)
            except Exception:
                # One problem that cannot be told must not keep the others from it.
                log.exception("the problem %s cannot be told", problem_id(key))
        self._touched.clear()
        return tuple(letter for channel, those in notes.items() for letter in self._write(channel, those, now))

    def next_review(self) -> float | None:
        """Return the Unix time at which something may have to be said by itself; None for never."""
        times = [*self._due.values(), *(each.until for each in self._silent)]
        return min(times, default=None)

    def _review(self, key: str, waiting: set[tuple[str, str]], now: float) -> Iterator[Note]:
        loud: dict[str, list[Member]] = {}
        quiet: dict[str, list[Member]] = {}
        for those in self._members.get(key, {}).values():
            for member in those:
                for channel in self._told(member):
                    (quiet if self._is_silenced(member) else loud).setdefault(channel, []).append(member)
        times: list[float] = []
        for channel in sorted({*loud, *quiet, *self._alerts.get(key, {})}):
            alert = self._alerts.get(key, {}).get(channel)
            wrong, silenced = loud.get(channel, []), quiet.get(channel, [])
            if alert is not None and not wrong and not silenced and self._is_unseen(alert):
                times.append(now + _UNSEEN)
                continue
            undelivered = alert is not None and (channel, alert.problem) in waiting
            reviewed = review(
                (channel, key), alert, wrong, silenced, terms=self._terms, now=now, undelivered=undelivered
            )
            if reviewed.alert != alert:
                self._set_alert(key, channel, reviewed.alert)
            if reviewed.next_at is not None:
                times.append(reviewed.next_at)
            if reviewed.note is not None:
                yield reviewed.note
        if times:
            self._due[key] = min(times)

    def _told(self, member: Member) -> list[str]:
        """Return the channels that are told of a finding."""
        found = member.finding
        if not self._terms.enabled:
            return []
        if not self._terms.routes:
            chosen = list(self._channels) if found.severity.rank >= Severity.WARNING.rank else []
        else:
            chosen = [
                channel
                for route in self._terms.routes
                if found.severity.rank >= route.severity.rank and self._is_meant(route.match, member)
                for channel in route.channels
            ]
        # That nothing reaches a channel is told elsewhere.
        failing = found.subject if found.code is Code.DELIVERY_FAILED else None
        return [channel for channel in dict.fromkeys(chosen) if channel != failing]

    def _is_silenced(self, member: Member) -> bool:
        return any(self._is_meant(each.match, member) for each in self._silent)

    def _is_meant(self, match: Match, member: Member) -> bool:
        labels = self._labels.get(member.component or "", NO_LABELS)
        return match.holds(member.target, member.component, member.kind, member.finding.code, labels)

    def _is_unseen(self, alert: Alert) -> bool:
        """Whether one of the targets that an alert is about was not looked at in this run."""
        known = self._known()
        return any(target in known and known[target].last_look is None for target in alert.targets)

    def _write(self, channel: str, notes: list[Note], now: float) -> Iterator[Letter]:
        if len(notes) > APART:
            name, message = digest(notes, self._site.host, now)
            yield self._post(Letter(name, channel, tuple(note.alert.problem for note in notes), message, now))
            return
        for note in notes:
            message = compose(note, self._says, self._site, now)
            yield self._post(Letter(note.alert.message_id, channel, (note.alert.problem,), message, now))

    def _says(self, member: Member) -> str:
        """Return what will happen by itself; that this fails must not keep anybody from being told."""
        try:
            return self._outlook(member)
        except Exception:
            log.exception("what will happen to %s by itself cannot be said", member.target)
            return ""

    def _post(self, letter: Letter) -> Letter:
        self._set_letter(letter)
        return letter

    def announce(self, letter: Letter) -> bool:
        """Write a letter that is about no problem; return whether it was not written before."""
        new = letter.id not in self._letters
        if new:
            self._set_letter(letter)
        return new

    # What is on the desk

    def pending(self) -> list[Letter]:
        """Return the letters that are to be delivered, oldest first."""
        return [each for each in self._letters.values() if each.fate is Fate.PENDING]

    def undelivered(self) -> list[Letter]:
        """Return the letters that are to be delivered or were given up, oldest first."""
        return list(self._letters.values())

    def alerts(self) -> list[Alert]:
        """Return every problem that a channel was told of, and that is not resolved."""
        return [alert for by_channel in self._alerts.values() for alert in by_channel.values()]

    def silences(self) -> list[Held]:
        """Return the silences that were asked for while the daemon ran."""
        return list(self._silences.values())

    def counts(self) -> Counter[str]:
        """Return how many letters are to be delivered, by channel."""
        return Counter(each.channel for each in self.pending())

    def amend(self, letter: Letter) -> None:
        """Put a letter back after an attempt to deliver it; one that is delivered is done with."""
        if letter.id in self._letters:
            self._set_letter(letter)

    def retry(self, channel: str | None) -> int:
        """Make the letters that were given up be delivered again, to `channel` or to all; return how many."""
        dead = [each for each in self._letters.values() if each.fate is Fate.DEAD and channel in {None, each.channel}]
        for letter in dead:
            self._set_letter(replace(letter, fate=Fate.PENDING, attempts=0, ended_at=None))
        return len(dead)

    def drop(self, channel: str | None) -> int:
        """Forget the letters that were given up, to `channel` or to all; return how many."""
        dead = [each for each in self._letters.values() if each.fate is Fate.DEAD and channel in {None, each.channel}]
        for letter in dead:
            self._set_letter(replace(letter, fate=Fate.DROPPED))
        return len(dead)

    def acknowledge(self, problem: str, who: str, until: float | None, now: float) -> int:
        """Note that `who` knows of the problem of that short name; return how many channels were told of it."""
        count = 0
        for key, by_channel in tuple(self._alerts.items()):
            for channel, alert in tuple(by_channel.items()):
                if alert.problem == problem:
                    self._set_alert(key, channel, replace(alert, acknowledged=Acknowledgement(who, now, until)))
                    self._touched.add(key)
                    count += 1
        return count

    def silence(self, held: Held) -> None:
        """Tell nobody of what a silence means until it ends."""
        self._set_silence(held.id, held)

    def unsilence(self, identifier: str) -> bool:
        """End a silence; return whether there was one."""
        found = identifier in self._silences
        if found:
            self._set_silence(identifier, None)
        return found

    # What must be kept

    def take_changes(self) -> Changes:
        """Return what changed since this was asked last."""
        changes, self._changes = self._changes, no_changes()
        return changes

    def everything(self) -> Kept:
        """Return all that must be kept; nobody changes it."""
        # Another thread asks, and each of these copies is made at once.
        alerts = {
            (channel, key): each for key, those in tuple(self._alerts.items()) for channel, each in tuple(those.items())
        }
        return Kept(alerts, dict(self._letters), dict(self._silences))

    def _all_silences(self) -> Iterable[Silence]:
        yield from self._terms.silences
        for held in self._silences.values():
            yield held.silence

    def _set_alert(self, key: str, channel: str, alert: Alert | None) -> None:
        self._changes.alerts[channel, key] = alert
        if alert is not None:
            self._alerts.setdefault(key, {})[channel] = alert
            return
        by_channel = self._alerts.get(key, {})
        by_channel.pop(channel, None)
        if not by_channel:
            self._alerts.pop(key, None)

    def _set_letter(self, letter: Letter) -> None:
        if letter.fate in {Fate.PENDING, Fate.DEAD}:
            self._letters[letter.id] = letter
        else:
            self._letters.pop(letter.id, None)
        self._changes.letters[letter.id] = letter

    def _set_silence(self, identifier: str, held: Held | None) -> None:
        if held is None:
            self._silences.pop(identifier, None)
        else:
            self._silences[identifier] = held
        self._changes.silences[identifier] = held
