"""What is seen of live services, and what it proves: pure judgement, and the loop that waits until it is steady."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from actions.plan import Plan, Serving
from actions.verdict import Old
from actions.world import World
from config.text import printable

_Chains = tuple[tuple[str, ...], ...]

_SOON: Final = 0.05
"""Seconds from a first look at what is not served yet to the second; each further wait is twice as long."""


class Acceptance(NamedTuple):
    """A client accepts what an endpoint presents."""

    client: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Served:
    """What an endpoint presented to one way of asking, in one or several handshakes."""

    endpoint: str
    """Its name."""
    how: str
    """The address, the server name and the key type that were asked for.

    With `endpoint` and `chain` it is unique in a Sight: what differs between handshakes is there several times.
    """
    chain: tuple[str, ...]
    """SHA-256 of each DER certificate as presented, hexadecimal; empty where no handshake was completed."""
    why: str = ""
    """Where the chain is empty."""

    @property
    def way(self) -> tuple[str, str]:
        """What was asked, and how."""
        return self.endpoint, self.how


@dataclass(frozen=True, slots=True)
class LiveView:
    """One look at the endpoints of the components: new handshakes, and each client's verdict on them."""

    served: tuple[Served, ...] = ()
    accepted: frozenset[Acceptance] = frozenset()
    """Of everything that an endpoint presents."""
    partly: frozenset[Acceptance] = frozenset()
    """Of some of what an endpoint presents, not of all of it; no part of the record of a view."""

    @property
    def answering(self) -> frozenset[tuple[str, str]]:
        """The ways of asking that were answered at all."""
        return frozenset(each.way for each in self.served if each.chain)

    @property
    def reliable(self) -> frozenset[tuple[str, str]]:
        """The ways of asking that were answered every time."""
        return self.answering - {each.way for each in self.served if not each.chain}


@dataclass(frozen=True, slots=True)
class Worth:
    """What a set of files is worth now."""

    old: Old = Old.USABLE
    why: str = ""
    """Where it is worth less; printable, the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Live:
    """How to look and to judge; given from outside, since looking is another room's work."""

    look: Callable[[tuple[str, ...], float], LiveView]
    """Look at the local endpoints of these components, and judge as of that Unix time."""
    judge: Callable[[tuple[str, ...], Mapping[str, bytes], float], frozenset[Acceptance]]
    """Say who would accept these components' endpoints at that Unix time if the files, by path, were these."""
    whole: Callable[[tuple[str, ...]], tuple[Serving, ...] | None] = lambda _components: None
    """Say what these components' endpoints present once their files as they are now are in use; None where the files of
    one are no whole set: certificate, chain and the key that belongs to them."""
    worth: Callable[[tuple[str, ...], Mapping[str, bytes], float], Worth] | None = None
    """Say what these components' sets would be worth at that Unix time if the files, by path, were these, the least
    of them; None where nobody can tell."""
    fit: Callable[[str, float], str] | None = None
    """Say why what a component has on disk would be refused as a candidate at that Unix time, printable; empty where
    it would not. None where nobody can tell."""


@dataclass(frozen=True, slots=True)
class Terms:
    """When what is seen counts."""

    successes: int = 3
    """Looks in a row that must find nothing wrong."""
    interval: float = 1.0
    """Seconds between two looks."""
    deadline: float = 120.0
    """Seconds after which it is too late."""
    handshakes: int = 16
    """With each address, in one look.

    Where w workers share a port, the kernel deals connections out by a hash over their source ports, so that one worker
    that kept the old certificate is missed by n handshakes with probability (1 - 1/w)^n. Three looks of one handshake
    would miss one worker of four in 42 % of all cases; three of 16 miss it once in a million, one of eight in 0.2 %.
    """
    required: bool = False
    """Also what failed before the change must succeed after it."""
    trusted_owners: frozenset[int] = frozenset()
    """User ids, beside root and our own, that may own a directory on the way to a target."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last of several looks and what was wrong with it."""

    live_view: LiveView
    unserved: tuple[str, ...] = ()
    """Sentences: endpoints that do not present what they should."""
    lost: tuple[Acceptance, ...] = ()
    theirs: bool = False
    """It is somebody else's set that is on disk, and that this was judged by."""

    @property
    def steady(self) -> bool:
        """Whether nothing was wrong."""
        return not self.unserved and not self.lost


def judge_new(plan: Plan, before: LiveView, now: LiveView, *, required: bool = False) -> Seen:
    """Say what is wrong after the change: who serves anything but the new chains, which client no longer accepts."""
    chains = {each.endpoint: each.chains for each in plan.serves}
    unserved = _unserved(lambda each: chains.get(each.endpoint), before, now, required=required)
    lost = sorted(each for each in before.accepted - now.accepted if each.client not in plan.expected_losses)
    return Seen(now, unserved, tuple(lost))


def judge_old(plan: Plan, before: LiveView, now: LiveView) -> Seen:
    """Say what is wrong after a rollback: who serves neither what it did before nor what the old files hold."""
    of_files = {each.endpoint: each.chains for each in plan.served}

    def allowed(each: Served) -> _Chains | None:
        seen = tuple(was.chain for was in before.served if was.chain and was.way == each.way)
        return (*seen, *of_files.get(each.endpoint, ())) if seen else None

    return Seen(now, _unserved(allowed, before, now))


def _unserved(
    allowed: Callable[[Served], _Chains | None], before: LiveView, now: LiveView, *, required: bool = False
) -> tuple[str, ...]:
    # Whoever failed in some handshakes before the change may do so after it, but may not fail in all of them.
    needed = before.reliable | (before.answering - now.answering)
    wrong: list[str] = []
    for each in now.served:
        name, chains = _name(*each.way), allowed(each)
        if sum(other.way == each.way for other in now.served) > 1:
            name += " sometimes"
        if not each.chain:
            if required or each.way in needed:
                wrong.append(f"{name} does not answer" + (f": {printable(each.why)}" if each.why else ""))
        elif chains is not None and each.chain not in chains:
            wrong.append(f"{name} presents {each.chain[0][:16]}… in a chain of {len(each.chain)}, not what it should")
    missing = before.answering - {each.way for each in now.served}
    return (*wrong, *(f"{_name(*way)} was not seen again" for way in sorted(missing)))


def _name(endpoint: str, how: str) -> str:
    return printable(f"{endpoint} ({how})")


def watch(world: World, look: Callable[[], LiveView], judge: Callable[[LiveView], Seen], terms: Terms) -> Seen:
    """Look until nothing is wrong several times in a row, or only lost clients are, or it is too late.

    Looks that count are the interval of the terms apart; a service that is not yet there is looked at again sooner, for
    many take up their files just after the command that tells them to has ended.
    """
    end = world.monotonic() + terms.deadline
    good = only_lost = 0
    theirs = False
    soon = _SOON
    unserved: tuple[str, ...] = ()
    while True:
        seen = judge(look())
        unserved = seen.unserved or unserved
        if seen.theirs != theirs:
            # What was seen of another set proves nothing of this one.
            good, only_lost, theirs = 0, 0, seen.theirs
        good = good + 1 if seen.steady else 0
        # A client that is lost to the very chain it is to accept is not won back by waiting.
        only_lost = only_lost + 1 if seen.lost and not seen.unserved else 0
        if max(good, only_lost) >= terms.successes:
            return seen
        wait = min(soon, terms.interval) if seen.unserved else terms.interval
        soon = 2 * soon if seen.unserved else _SOON
        if world.monotonic() + wait > end:
            return seen if not seen.steady else replace(seen, unserved=(*unserved, "this was not steady in time"))
        world.sleep(wait)


def live_view_to_json(live_view: LiveView) -> dict[str, Any]:
    """Return what was seen as plain values."""
    return {
        "served": [[each.endpoint, each.how, each.chain] for each in live_view.served],
        "accepted": sorted(live_view.accepted),
    }


def live_view_from_json(plain: Mapping[str, Any]) -> LiveView:
    """Return the live view of `live_view_to_json`; raises KeyError, TypeError or ValueError for anything else."""

    def served(of: Sequence[Any]) -> Served:
        return Served(str(of[0]), str(of[1]), tuple(map(str, of[2])))

    return LiveView(
        tuple(map(served, plain["served"])),
        frozenset(Acceptance(str(client), str(endpoint)) for client, endpoint in plain["accepted"]),
    )
