"""Which cause is behind a finding: targets that went dark together, and targets that come and go. No I/O.

What a finding is about alone gives its *base* (`monitor.notify.problem`). The key of a problem is that base, but where

- the base begins with `outage`: of these there is one problem for each group of targets that went dark together in a
  way in which an outage shows, or at one listener, or in one network. What is wrong with one server or one file alone
  is a problem of its own. A target stays in its outage for as long as it is dark, however that spreads or ends;
- the base begins with `certificate`: where a target presents another certificate in its place, with the fault by which
  people know the problem, that goes on. Else each certificate of a peer that never presents one twice were a problem;
- a target begins to be wrong again and again: then it is *flapping*, which is a problem of its own until it is calm.
  What a transaction does to its component does not count.
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
from config.vocabulary import Code, Group, Severity, TargetKind, UnreachableReason, UnreadableReason
from monitor.notify.problem import CERTIFICATE, OUTAGE, Member, worst_first
from monitor.state.target import TargetState
from probes.finding import Finding

TOGETHER: Final = 60.0
"""Seconds between two targets that go dark for one cause, at most."""
REFUSED_TOGETHER: Final = 15.0
"""The same of a target whose host answers that nothing listens there: one service is down, unless more go with it."""
FLAP_TOGETHER: Final = 5.0
"""Seconds between the beginnings of two targets that flap for one cause, at most."""
SPREADS_FOR: Final = 300.0
"""Seconds between the first and the last of these: most endpoints are looked at as often as that."""
RETURNS_WITHIN: Final = 60.0
"""Seconds for which a target that was wrong belongs to its problem still, should it be wrong again."""
FLAPS: Final = 3
"""So many beginnings within `FLAPS_WITHIN` seconds make a target flapping."""
FLAPS_WITHIN: Final = 1200.0
CALM: Final = 600.0
"""Seconds without a change after which a target is flapping no more: it is right, or it is wrong for good."""
_SPREAD_NETWORK: Final = 3
"""Hosts of one network, and of no other, by which an outage is known to be that network's."""
_FLAPPING: Final = "flapping "


class Spread(StrEnum):
    """Beyond one server or one file, what a target may have gone dark with."""

    NOTHING = "nothing"
    """It is wrong in a way of its own."""
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
"""By code, and by the reason with which the detail of such a finding begins; whatever else spreads to nothing."""


@dataclass(frozen=True, slots=True)
class NetworkPlace:
    """Where a target is, and how it is dark there."""

    listener: str = ""
    """`host:port` of an endpoint, the component of a file; empty where there is neither."""
    network: str = ""
    """The /24 or /64 of its address; empty where that is not known, or is this host."""
    spread: Spread = Spread.NOTHING


def place(known: TargetState) -> NetworkPlace:
    """Return where a target is and how it is dark, as far as that says what it goes dark with."""
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
    # What listens on one host fails service by service.
    if ip.is_loopback or ip.is_unspecified:
        return ""
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 64), strict=False))


@dataclass(slots=True)
class _Outage:
    """What went dark together."""

    base: str
    first: float
    """Unix time at which its first target began to be dark, and its last."""
    last: float
    spread: Spread | None = None
    """How its first target was dark; None where that is not known yet."""
    places: dict[str, NetworkPlace] = field(default_factory=dict)
    """Of the targets that are dark now."""
    listeners: Counter[str] = field(default_factory=Counter)
    networks: Counter[str] = field(default_factory=Counter)

    def takes(self, base: str, began: float, where: NetworkPlace) -> int:
        """Return how good a reason there is that a target which is dark since Unix time `began` has the same cause.

        None is 0; the best is that it is where one is that is dark.
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
        """Let a target out that is dark no more."""
        where = self.places.pop(target, NetworkPlace())
        for places, name in ((self.listeners, where.listener), (self.networks, where.network)):
            if where.listener:
                places[name] -= 1
                if not places[name]:
                    del places[name]


@dataclass(slots=True)
class _Track:
    """What has become of one target and one base."""

    key: str
    since: float | None
    """Unix time since when it is wrong; None while it is right."""
    seen: float
    """Unix time at which it was seen to be wrong last."""
    ended: float = 0.0
    begins: deque[float] = field(default_factory=lambda: deque(maxlen=FLAPS))
    flapping: float | None = None
    """Unix time of the first beginning, while it is flapping."""
    flaps: int = 0
    members: tuple[Member, ...] = ()
    """As they are, or were last."""
    named_by: tuple[str, str] = ("", "")
    """Code and subject of the worst of these."""
    listener: str = ""

    @property
    def calm_at(self) -> float:
        """Unix time from which it is flapping no more, should it stay as it is."""
        return (self.ended if self.since is None else self.since) + CALM

    @property
    def shown(self) -> tuple[Member, ...]:
        """Its members as they are to be told; none where it is right, and not flapping."""
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
        """Note that it is wrong in this way."""
        self.members, self.listener, self.seen = members, where.listener, now
        worst = worst_first(members)[0].finding
        self.named_by = worst.code, worst.subject

    def is_about(self, base: str, found: str) -> bool:
        """Whether what it has as `base` is, or was last, what has the base `found` by itself."""
        return any(each.base == found for each in self.members) if self.members else base == found

    def flaps_with(self, other: _Track) -> bool:
        """Whether it began to be wrong when `other` did, again and again, or is where that is."""
        if other.flapping is None:
            return False
        if self.listener and self.listener == other.listener:
            return True
        times = other.begins or (other.flapping,)
        near = [at for at in self.begins if any(abs(at - each) <= FLAP_TOGETHER for each in times)]
        return len(near) >= min(len(times), FLAPS - 1)


@dataclass(frozen=True, slots=True)
class Move:
    """A target belongs to the problem `key` from now on, and to no other of that base."""

    target: str
    base: str
    key: str


class Causes:
    """The problems that each target is part of, by what happened to it and to the others."""

    def __init__(self) -> None:
        self._tracks: dict[str, dict[str, _Track]] = {}
        """By target, then by base."""
        self._problems: dict[str, dict[str, _Track]] = {}
        """What is to be told, by the key of the problem, then by target."""
        self._outages: dict[str, _Outage] = {}
        self._unsettled: dict[tuple[str, str], None] = {}
        """Target and base of what is right or flapping: that changes as time goes by."""
        self._moves: list[Move] = []

    def restore(
        self, key: str, what: str, since: float, flapping: Mapping[str, tuple[int, float]], targets: Iterable[str]
    ) -> None:
        """Have `targets` be part of the problem `key`, as they were told to be, wrong since Unix time `since`.

        The code `what` named it. Of those `flapping`, how often they had failed since which Unix time.
        """
        base = base_of(key)
        if key.startswith(OUTAGE) and key not in self._outages:
            self._outages[key] = _Outage(base, since, since)
        for target in targets:
            # Seen for ever: whatever is found first is what was there already.
            track = self._tracks.setdefault(target, {})[base] = _Track(key, since, float("inf"), named_by=(what, ""))
            if target in flapping:
                track.flaps, track.flapping = flapping[target]
                self._unsettled[target, base] = None

    def targets(self) -> tuple[str, ...]:
        """Return the targets that something is known of."""
        return tuple(self._tracks)

    def knows(self, target: str) -> bool:
        """Whether something is known of a target."""
        return target in self._tracks

    def keys(self) -> tuple[str, ...]:
        """Return the keys of the problems that there are."""
        return tuple(self._problems)

    def members(self, key: str) -> Iterator[Sequence[Member]]:
        """Yield the members of a problem, target by target."""
        for track in self._problems.get(key, {}).values():
            yield track.shown

    def is_flapping(self, key: str, target: str) -> bool:
        """Whether a target is flapping in that problem, whatever it is now."""
        return any(each.key == key and each.flapping is not None for each in self._tracks.get(target, {}).values())

    def observe(
        self,
        target: str,
        found: Mapping[str, tuple[Member, ...]],
        where: NetworkPlace,
        now: float,
        excused: tuple[float, float] | None = None,
    ) -> set[str]:
        """Take note at Unix time `now` of all that is wrong with a target, by base; return the keys this concerns.

        What began between the Unix times `excused` does not make it flapping: a transaction did it.
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
        """Know nothing of a target any more; return the keys that this concerns."""
        touched = set()
        for base, track in self._tracks.pop(target, {}).items():
            self._unsettled.pop((target, base), None)
            self._unlist(target, track.key)
            touched.add(track.key)
        return touched

    def settle(self, now: float) -> set[str]:
        """Let what is calm at Unix time `now` be so; return the keys that this concerns."""
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
        """Return what became part of another problem since this was asked last."""
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
            # What stood in another problem meanwhile began before this.
            began = max(began, track.ended)
        counts = excused is None or not excused[0] <= began <= excused[1]
        if track.since is not None:
            if began <= track.seen:
                return self._goes_on(target, track, those, began=began, where=where, now=now, counts=counts)
            # It was right in between.
            track.ended = began
        before_key = track.key
        track.begins.extend([began] if counts else [])
        track.since = began
        track.see(those, where, now)
        if track.flapping is not None:
            track.flaps += counts
        elif (
            counts
            and len(track.begins) == FLAPS
            and began - track.begins[0] <= FLAPS_WITHIN
            and not _is_asked_for(those)
        ):
            track.flapping, track.flaps = track.begins[0], FLAPS
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
        """Return the key of the problem that a target belongs to which begins to be wrong."""
        if not base.startswith(OUTAGE):
            return base
        those = [(why, each, key) for key, each in self._outages.items() if (why := each.takes(base, began, where))]
        if those:
            return max(those, key=lambda each: (each[0], each[1].last))[2]
        return f"{base} {began!r} {target}"

    def _flapping_key(self, target: str, base: str, track: _Track) -> str:
        """Return the key of the problem that a target belongs to which is flapping from now on."""
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
    """Return what is wrong with a target by base, a certificate under that of the one that it took the place of.

    It took the place of one that is gone and named its problem by a fault which this one has, too. Where it took the
    places of several, each of these faults stays in its own problem.
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
    """Return the base of the track that a finding with that code named, if possible at that place; "" for none."""
    those = [
        (each.named_by[1] == found.subject, each.since is not None, each.seen, base)
        for base, each in tracks.items()
        if each.named_by[0] == found.code
    ]
    return max(those)[-1] if those else ""


def _is_asked_for(members: Sequence[Member]) -> bool:
    """Whether it is about what is done to a component, or asked of people: each time is one of its own."""
    return all(each.finding.code in GROUP_MEMBERS[Group.ACTION] for each in members)


def _at_most_a_warning(found: Finding) -> Finding:
    return replace(found, severity=Severity.WARNING) if found.severity.rank > Severity.WARNING.rank else found


def flapping(key: str) -> str:
    """Return the key of the problem that targets of that one make which come and go."""
    return key if key.startswith(_FLAPPING) else f"{_FLAPPING}{key}"


def base_of(key: str) -> str:
    """Return the base of a problem's key."""
    key = key.removeprefix(_FLAPPING)
    return " ".join(key.split(" ")[:2]) if key.startswith(OUTAGE) else key
