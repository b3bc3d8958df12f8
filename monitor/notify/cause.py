"""The cause behind findings: targets that went dark together, and targets that come and go. No I/O.

The subject of a finding gives its *base* (`monitor.notify.problem`). The key of a problem is this base, but for three
cases:

- The base begins with `outage`: there is one problem for each group of targets that went dark together, at one
  listener, in one network, or in a manner that is typical of outages. A fault of a single server or file is its own
  problem. A target stays in its outage as long as it is dark, even if the outage spreads or ends.
- The base begins with `certificate`: a target presents another certificate with the fault that named the problem. Then
  the problem goes on. Otherwise a peer that never presents a certificate twice would cause a new problem each time.
- A target fails again and again: then it is *flapping*, which is a problem of its own until the target is calm. The
  effects of a transaction on its component do not count.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from config.catalogue import GROUP_MEMBERS
from config.immutable import immutable
from config.vocabulary import Code, Group, Severity, TargetKind, UnreachableReason, UnreadableReason
from monitor.notify.problem import CERTIFICATE, OUTAGE, Member, worst_first
from monitor.state.target import TargetState
from probes.finding import Finding

TOGETHER: Final = 60.0
"""The most seconds between two targets that go dark for one cause."""
REFUSED_TOGETHER: Final = 15.0
"""The same for a target whose host answers that nothing listens there: probably only one service is down."""
FLAP_TOGETHER: Final = 5.0
"""The most seconds between the failures of two targets that flap for one cause."""
SPREADS_FOR: Final = 300.0
"""The most seconds between the first and the last of these: most endpoints are looked at within that time."""
RETURNS_WITHIN: Final = 60.0
"""Seconds for which a target that has recovered belongs to its problem, if it fails again."""
FLAPS: Final = 3
"""So many failures within `FLAPS_WITHIN` seconds make a target flapping."""
FLAPS_WITHIN: Final = 1200.0
CALM: Final = 600.0
"""Seconds without a change after which a target is not flapping any more: it stays well, or it stays wrong."""
_SPREAD_NETWORK: Final = 3
"""From so many hosts of one network on, and of no other network, an outage is known to be the network's."""
_FLAPPING: Final = "flapping "


class Spread(StrEnum):
    """The thing beyond one server or one file with which a target may have gone dark."""

    NOTHING = "nothing"
    """Its fault is its own."""
    NETWORK = "network"
    SERVICE = "service"
    """Its host answers that nothing listens there."""
    DISK = "disk"
    READER = "reader"
    """The actor, which reads for the daemon, is away."""


_NETWORK_REASONS: Final = (
    *(UnreachableReason.TIMED_OUT, UnreachableReason.NO_ROUTE, UnreachableReason.CONNECTION_RESET),
    *(UnreachableReason.NAME_NOT_FOUND, UnreachableReason.IO_ERROR),
)
_SPREADS: Final[Mapping[tuple[Code, str], Spread]] = MappingProxyType(
    {
        **{(Code.UNREACHABLE, str(reason)): Spread.NETWORK for reason in _NETWORK_REASONS},
        (Code.UNREACHABLE, str(UnreachableReason.CONNECTION_REFUSED)): Spread.SERVICE,
        (Code.UNREADABLE, str(UnreadableReason.IO_ERROR)): Spread.DISK,
        (Code.UNREADABLE, str(UnreadableReason.NO_READER)): Spread.READER,
    }
)
"""By code, and by the reason with which the detail of such a finding begins; other findings do not spread."""


@immutable
class NetworkPlace:
    """The place of a target, and how it is dark there."""

    listener: str = ""
    """`host:port` of an endpoint, or the component of a file; empty for other targets."""
    network: str = ""
    """The /24 or /64 of its address; empty where it is not known, or is this host."""
    spread: Spread = Spread.NOTHING


def place(known: TargetState) -> NetworkPlace:
    """Return the place of a target and how it is dark, as far as these tell the targets that go dark with it."""
    spread = next((_spread(each.finding) for each in known.findings.values() if each.finding.code in _DARK), None)
    if known.kind is not TargetKind.ENDPOINT:
        return NetworkPlace(f"component {known.component}" if known.component else "", "", spread or Spread.NOTHING)
    addresses = [*(each.address for each in known.addresses), known.location.rpartition(":")[0]]
    return NetworkPlace(known.location, next(filter(None, map(_network, addresses)), ""), spread or Spread.NOTHING)


_DARK: Final = frozenset(code for code, _ in _SPREADS)


def _spread(found: Finding) -> Spread:
    return _SPREADS.get((found.code, found.detail.partition(":")[0]), Spread.NOTHING)


@lru_cache(4096)
def _network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return ""
    # Services on one host fail one by one.
    if ip.is_loopback or ip.is_unspecified:
        return ""
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 64), strict=False))


@dataclass(slots=True)
class _Outage:
    """Targets that went dark together."""

    base: str
    first: float
    """Unix time at which its first target began to be dark, and its last."""
    last: float
    spread: Spread | None = None
    """How its first target was dark; None where it is not known yet."""
    places: dict[str, NetworkPlace] = field(default_factory=dict)
    """Of the targets that are dark now."""
    listeners: Counter[str] = field(default_factory=Counter)
    networks: Counter[str] = field(default_factory=Counter)

    def takes(self, base: str, began: float, where: NetworkPlace) -> int:
        """Return how probable it is that a target which is dark since Unix time `began` has the same cause: 0 to 3.

        0 is no reason. 3 is the same listener as that of a dark target.
        """
        if base != self.base:
            return 0
        if where.listener and where.listener in self.listeners:
            return 3
        if where.spread is Spread.NOTHING or self.spread not in {where.spread, None}:
            return 0
        if (
            where.spread is Spread.NETWORK
            and where.network
            and self.networks.keys() == {where.network}
            and self._hosts() >= _SPREAD_NETWORK
        ):
            return 2
        together = REFUSED_TOGETHER if where.spread is Spread.SERVICE else TOGETHER
        return int(abs(began - self.last) <= together and abs(began - self.first) <= SPREADS_FOR)

    def _hosts(self) -> int:
        return len({each.rpartition(":")[0] for each in self.listeners})

    def add(self, target: str, began: float, where: NetworkPlace) -> None:
        """Take a target in."""
        self.remove(target)
        self.spread = self.spread or where.spread
        self.first, self.last = min(self.first, began), max(self.last, began)
        self.places[target] = where
        if where.listener:
            self.listeners[where.listener] += 1
            self.networks[where.network] += 1

    def remove(self, target: str) -> None:
        """Remove a target that is not dark any more."""
        where = self.places.pop(target, NetworkPlace())
        for places, name in ((self.listeners, where.listener), (self.networks, where.network)):
            if where.listener:
                places[name] -= 1
                if not places[name]:
                    del places[name]


@dataclass(slots=True)
class _Track:
    """The course of one target and one base."""

    key: str
    since: float | None
    """Unix time since when it has findings; None while it has none."""
    seen: float
    """Unix time at which its findings were last seen."""
    ended: float = 0.0
    begins: deque[float] = field(default_factory=lambda: deque(maxlen=FLAPS))
    flapping: float | None = None
    """Unix time of the first failure, while it is flapping."""
    flaps: int = 0
    members: tuple[Member, ...] = ()
    """Its findings, or its last ones."""
    named_by: tuple[str, str] = ("", "")
    """Code and subject of the worst finding."""
    listener: str = ""

    @property
    def calm_at(self) -> float:
        """Unix time from which it is not flapping any more, if it stays as it is."""
        return (self.ended if self.since is None else self.since) + CALM

    @property
    def shown(self) -> tuple[Member, ...]:
        """Its members for messages; empty where it has no finding and is not flapping."""
        if self.flapping is None:
            return self.members if self.since is not None else ()
        wrong_now = self.since is not None
        return tuple(
            replace(
                each,
                finding=each.finding if wrong_now else _at_most_a_warning(each.finding),
                since=self.flapping,
                reached=(),
                flaps=self.flaps,
                wrong_now=wrong_now,
            )
            for each in self.members
        )

    def see(self, members: tuple[Member, ...], where: NetworkPlace, now: float) -> None:
        """Note these findings."""
        self.members, self.listener, self.seen = members, where.listener, now
        worst = worst_first(members)[0].finding
        self.named_by = worst.code, worst.subject

    def is_about(self, base: str, found: str) -> bool:
        """Whether its findings under `base`, or its last ones, have the base `found` by themselves."""
        return any(each.base == found for each in self.members) if self.members else base == found

    def flaps_with(self, other: _Track) -> bool:
        """Whether it failed at the same times as `other`, or has the same listener."""
        if other.flapping is None:
            return False
        if self.listener and self.listener == other.listener:
            return True
        times = other.begins or (other.flapping,)
        near = [at for at in self.begins if any(abs(at - each) <= FLAP_TOGETHER for each in times)]
        return len(near) >= min(len(times), FLAPS - 1)


@immutable
class Move:
    """A target belongs to the problem `key` from now on, and to no other problem of that base."""

    target: str
    base: str
    key: str


class Causes:
    """The problems of each target, by its own course and the course of other targets."""

    def __init__(self) -> None:
        self._tracks: dict[str, dict[str, _Track]] = {}
        """By target, then by base."""
        self._problems: dict[str, dict[str, _Track]] = {}
        """The targets of each problem, by key, then by target."""
        self._outages: dict[str, _Outage] = {}
        self._unsettled: dict[tuple[str, str], None] = {}
        """Target and base of each track without findings or with flapping: time alone changes them."""
        self._moves: list[Move] = []

    def restore(
        self, key: str, what: str, since: float, flapping: Mapping[str, tuple[int, float]], targets: Iterable[str]
    ) -> None:
        """Make `targets` part of the problem `key`, as people were told, with findings since Unix time `since`.

        The code `what` named it. `flapping` gives the number of failures, and the Unix time since when.
        """
        base = base_of(key)
        if key.startswith(OUTAGE) and key not in self._outages:
            self._outages[key] = _Outage(base, since, since)
        for target in targets:
            # Seen for ever: the first findings count as those that were there before.
            track = self._tracks.setdefault(target, {})[base] = _Track(key, since, float("inf"), named_by=(what, ""))
            if target in flapping:
                track.flaps, track.flapping = flapping[target]
                self._unsettled[target, base] = None

    def targets(self) -> tuple[str, ...]:
        """Return all known targets."""
        return tuple(self._tracks)

    def knows(self, target: str) -> bool:
        """Whether a target is known."""
        return target in self._tracks

    def keys(self) -> tuple[str, ...]:
        """Return the keys of all problems."""
        return tuple(self._problems)

    def members(self, key: str) -> Iterator[Sequence[Member]]:
        """Yield the members of a problem, target by target."""
        for track in self._problems.get(key, {}).values():
            yield track.shown

    def is_flapping(self, key: str, target: str) -> bool:
        """Whether a target is flapping in that problem, with or without findings now."""
        return any(each.key == key and each.flapping is not None for each in self._tracks.get(target, {}).values())

    def observe(
        self,
        target: str,
        found: Mapping[str, tuple[Member, ...]],
        where: NetworkPlace,
        now: float,
        excused: tuple[float, float] | None = None,
    ) -> set[str]:
        """Take note at Unix time `now` of all findings on a target, by base; return the keys of the problems concerned.

        A failure that began between the Unix times `excused` is a transaction's, and does not count for flapping.
        """
        touched: set[str] = set()
        found = _succeeded(self._tracks.get(target, {}), found)
        for base in tuple(self._tracks.get(target, {})):
            if base not in found:
                touched |= self._right(target, base, now)
        for base, those in found.items():
            touched |= self._wrong(target, base, those, where=where, now=now, excused=excused)
        return touched

    def forget(self, target: str) -> set[str]:
        """Forget a target; return the keys of the problems concerned."""
        touched = set()
        for base, track in self._tracks.pop(target, {}).items():
            self._unsettled.pop((target, base), None)
            self._unlist(target, track.key)
            touched.add(track.key)
        return touched

    def settle(self, now: float) -> set[str]:
        """End the flapping of targets that are calm at Unix time `now`; return the keys of the problems concerned."""
        touched = set()
        for target, base in tuple(self._unsettled):
            track = self._tracks[target][base]
            if track.flapping is not None and now >= track.calm_at:
                touched.add(track.key)
                track.flapping, track.flaps = None, 0
                track.begins.clear()
                if track.since is None:
                    self._unlist(target, track.key)
            if track.flapping is None and track.since is not None:
                del self._unsettled[target, base]
            elif track.flapping is None and now - track.ended > FLAPS_WITHIN:
                self._drop(target, base)
        for key, outage in tuple(self._outages.items()):
            if key not in self._problems and now - outage.last > max(TOGETHER, RETURNS_WITHIN):
                del self._outages[key]
        return touched

    def next(self) -> float | None:
        """Return the Unix time at which `settle` concerns a problem; None for never."""
        times = (self._tracks[target][base] for target, base in self._unsettled)
        return min((each.calm_at for each in times if each.flapping is not None), default=None)

    def take_moves(self) -> list[Move]:
        """Return the moves since the last call."""
        moves, self._moves = self._moves, []
        return moves

    def _wrong(
        self,
        target: str,
        base: str,
        those: tuple[Member, ...],
        *,
        where: NetworkPlace,
        now: float,
        excused: tuple[float, float] | None,
    ) -> set[str]:
        began = min(each.since for each in those)
        track = self._tracks.setdefault(target, {}).get(base)
        if track is None:
            track = self._tracks[target][base] = _Track("", None, 0.0)
        elif track.since is None:
            # Its findings were part of another problem in between, and began earlier than this.
            began = max(began, track.ended)
        counts = excused is None or not excused[0] <= began <= excused[1]
        if track.since is not None:
            if began <= track.seen:
                return self._goes_on(target, track, those, began=began, where=where, now=now, counts=counts)
            # It had no findings in between.
            track.ended = began
        before_key = track.key
        track.begins.extend([began] if counts else [])
        track.since = began
        track.see(those, where, now)
        failures = [at for each in those for at in each.went_dark if at <= now]
        if track.flapping is not None:
            track.flaps = max(track.flaps + counts, _times_since(track.flapping, failures))
        elif (
            counts
            and len(track.begins) == FLAPS
            and began - track.begins[0] <= FLAPS_WITHIN
            and not _is_asked_for(those)
        ):
            # Failures that were over before they were told count as well.
            first = min([track.begins[0], *(at for at in failures if 0 <= began - at <= FLAPS_WITHIN)])
            track.flapping, track.flaps = first, max(FLAPS, _times_since(first, failures))
            track.key = self._flapping_key(target, base, track)
        elif not before_key or began - track.ended > RETURNS_WITHIN:
            track.key = self._key(target, base, began, where)
        if track.key != before_key:
            self._unlist(target, before_key)
            self._moves.append(Move(target, base, track.key))
        self._unsettled.pop((target, base), None)
        if track.flapping is not None:
            self._unsettled[target, base] = None
        self._list(target, track, began, where)
        return {track.key, before_key} - {""}

    def _goes_on(
        self,
        target: str,
        track: _Track,
        those: tuple[Member, ...],
        *,
        began: float,
        where: NetworkPlace,
        now: float,
        counts: bool,
    ) -> set[str]:
        before = track.shown
        if not track.begins:
            track.since = began
            track.begins.extend([began] if counts else [])
        track.see(those, where, now)
        self._list(target, track, began, where)
        return {track.key} if track.shown != before else set()

    def _right(self, target: str, base: str, now: float) -> set[str]:
        track = self._tracks[target][base]
        if track.since is None:
            return set()
        track.since, track.ended = None, now
        self._unsettled[target, base] = None
        if track.flapping is None:
            self._unlist(target, track.key)
        return {track.key}

    def _key(self, target: str, base: str, began: float, where: NetworkPlace) -> str:
        """Return the key of the problem for a target that begins to fail."""
        if not base.startswith(OUTAGE):
            return base
        those = [(why, each, key) for key, each in self._outages.items() if (why := each.takes(base, began, where))]
        if those:
            return max(those, key=lambda each: (each[0], each[1].last))[2]
        return f"{base} {began!r} {target}"

    def _flapping_key(self, target: str, base: str, track: _Track) -> str:
        """Return the key of the problem for a target that is flapping from now on."""
        if not base.startswith(OUTAGE):
            return flapping(base)
        for key, those in self._problems.items():
            if key.startswith(_FLAPPING) and base_of(key) == base and any(map(track.flaps_with, those.values())):
                return key
        return flapping(f"{base} {track.begins[0]!r} {target}")

    def _list(self, target: str, track: _Track, began: float, where: NetworkPlace) -> None:
        self._problems.setdefault(track.key, {})[target] = track
        if track.key.startswith(OUTAGE):
            outage = self._outages.setdefault(track.key, _Outage(base_of(track.key), began, began))
            outage.add(target, began, where)

    def _unlist(self, target: str, key: str) -> None:
        those = self._problems.get(key, {})
        those.pop(target, None)
        if key in self._outages:
            self._outages[key].remove(target)
        if not those:
            self._problems.pop(key, None)

    def _drop(self, target: str, base: str) -> None:
        del self._unsettled[target, base]
        del self._tracks[target][base]
        if not self._tracks[target]:
            del self._tracks[target]


def _succeeded(
    tracks: Mapping[str, _Track], found: Mapping[str, tuple[Member, ...]]
) -> Mapping[str, tuple[Member, ...]]:
    """Return the findings on a target by base; a certificate has the base of the certificate whose place it took.

    It took the place of a certificate that is gone, and that named its problem by a fault which both have. Where it
    took the places of several certificates, each of these faults stays in its own problem.
    """
    named = {base: each for base, each in tracks.items() if base.startswith(CERTIFICATE)}
    gone = {base: each for base, each in named.items() if not any(each.is_about(base, one) for one in found)}
    result: dict[str, tuple[Member, ...]] = {}
    for one, those in found.items():
        stays = {base: each for base, each in named.items() if each.is_about(base, one)}
        before = (stays or gone) if one.startswith(CERTIFICATE) else {}
        heirs = [(each, _named_by(each.finding, before)) for each in worst_first(those)]
        rest = next((base for _, base in heirs if base), next(iter(stays), one))
        for each, base in heirs:
            result[base or rest] = (*result.get(base or rest, ()), each)
    return result


def _named_by(found: Finding, tracks: Mapping[str, _Track]) -> str:
    """Return the base of a track that a finding with that code named, if possible with that subject; else empty."""
    those = [
        (each.named_by[1] == found.subject, each.since is not None, each.seen, base)
        for base, each in tracks.items()
        if each.named_by[0] == found.code
    ]
    return max(those)[-1] if those else ""


def _is_asked_for(members: Sequence[Member]) -> bool:
    """Whether all are about actions on a component, or about questions to people: each of them is news."""
    return all(each.finding.code in GROUP_MEMBERS[Group.ACTION] for each in members)


def _times_since(first: float, failures: Iterable[float]) -> int:
    return len({at for at in failures if at >= first})


def _at_most_a_warning(found: Finding) -> Finding:
    return replace(found, severity=Severity.WARNING) if found.severity.rank > Severity.WARNING.rank else found


def flapping(key: str) -> str:
    """Return the key of the problem of flapping targets, for the key of their former problem."""
    return key if key.startswith(_FLAPPING) else f"{_FLAPPING}{key}"


def base_of(key: str) -> str:
    """Return the base of a problem's key."""
    key = key.removeprefix(_FLAPPING)
    return " ".join(key.split(" ")[:2]) if key.startswith(OUTAGE) else key
