"""What is seen of live services, and what it proves: pure judgement, and the loop that waits until it is steady."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from actions.plan import Plan
from actions.world import World
from config.text import printable

_Chains = tuple[tuple[str, ...], ...]


class Acceptance(NamedTuple):
    """A client accepts what an endpoint presents."""

    client: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Served:
    """What an endpoint presented to one way of asking."""

    endpoint: str
    """Its name."""
    how: str
    """The address, the server name and the key type that were asked for: with `endpoint`, unique in a Sight."""
    chain: tuple[str, ...]
    """SHA-256 of each DER certificate as presented, hexadecimal; empty where no handshake was completed."""
    why: str = ""
    """Where the chain is empty."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at the endpoints of the components: new handshakes, and each client's verdict on them."""

    served: tuple[Served, ...] = ()
    accepted: frozenset[Acceptance] = frozenset()


@dataclass(frozen=True, slots=True)
class Live:
    """How to look and to judge; given from outside, since looking is another room's work."""

    look: Callable[[tuple[str, ...], float], Sight]
    """Look at the local endpoints of these components, and judge as of that Unix time."""
    judge: Callable[[tuple[str, ...], Mapping[str, bytes], float], frozenset[Acceptance]]
    """Say who would accept these components' endpoints at that Unix time if the files, by path, were these."""


@dataclass(frozen=True, slots=True)
class Terms:
    """When what is seen counts."""

    successes: int = 3
    """Looks in a row that must find nothing wrong."""
    interval: float = 1.0
    """Seconds between two looks."""
    deadline: float = 120.0
    """Seconds after which it is too late."""
    required: bool = False
    """Also what failed before the change must succeed after it."""
    trusted_owners: frozenset[int] = frozenset()
    """User ids, beside root and our own, that may own a directory on the way to a target."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last of several looks and what was wrong with it."""

    sight: Sight
    unserved: tuple[str, ...] = ()
    """Sentences: endpoints that do not present what they should."""
    lost: tuple[Acceptance, ...] = ()

    @property
    def steady(self) -> bool:
        """Whether nothing was wrong."""
        return not self.unserved and not self.lost


def judge_new(plan: Plan, before: Sight, now: Sight, *, required: bool = False) -> Seen:
    """Say what is wrong after the change: who serves anything but the new chains, which client no longer accepts."""
    chains = {each.endpoint: each.chains for each in plan.serves}
    unserved = _unserved(lambda each: chains.get(each.endpoint), before, now, required=required)
    lost = sorted(each for each in before.accepted - now.accepted if each.client not in plan.expected_losses)
    return Seen(now, unserved, tuple(lost))


def judge_old(plan: Plan, before: Sight, now: Sight) -> Seen:
    """Say what is wrong after a rollback: who serves neither what it did before nor what the old files hold."""
    seen = {(each.endpoint, each.how): each.chain for each in before.served if each.chain}
    of_files = {each.endpoint: each.chains for each in plan.served}

    def allowed(each: Served) -> _Chains | None:
        chain = seen.get((each.endpoint, each.how))
        return None if chain is None else (chain, *of_files.get(each.endpoint, ()))

    return Seen(now, _unserved(allowed, before, now))


def _unserved(
    allowed: Callable[[Served], _Chains | None], before: Sight, now: Sight, *, required: bool = False
) -> tuple[str, ...]:
    answered = {(each.endpoint, each.how) for each in before.served if each.chain}
    wrong: list[str] = []
    for each in now.served:
        name, chains = _name(each.endpoint, each.how), allowed(each)
        if not each.chain:
            if required or (each.endpoint, each.how) in answered:
                wrong.append(f"{name} does not answer" + (f": {printable(each.why)}" if each.why else ""))
        elif chains is not None and each.chain not in chains:
            wrong.append(f"{name} presents {each.chain[0][:16]}… in a chain of {len(each.chain)}, not what it should")
    missing = answered - {(each.endpoint, each.how) for each in now.served}
    return (*wrong, *(f"{_name(endpoint, how)} was not seen again" for endpoint, how in sorted(missing)))


def _name(endpoint: str, how: str) -> str:
    return printable(f"{endpoint} ({how})")


def watch(world: World, look: Callable[[], Sight], judge: Callable[[Sight], Seen], terms: Terms) -> Seen:
    """Look until nothing is wrong several times in a row, or only lost clients are, or it is too late."""
    end = world.monotonic() + terms.deadline
    good = only_lost = 0
    while True:
        seen = judge(look())
        good = good + 1 if seen.steady else 0
        # A client that is lost to the very chain it is to accept is not won back by waiting.
        only_lost = only_lost + 1 if seen.lost and not seen.unserved else 0
        if max(good, only_lost) >= terms.successes:
            return seen
        if world.monotonic() + terms.interval > end:
            return seen if not seen.steady else Seen(seen.sight, ("what is served was not steady in time",))
        world.sleep(terms.interval)


def sight_to_json(sight: Sight) -> dict[str, Any]:
    """Return what was seen as plain values."""
    return {
        "served": [[each.endpoint, each.how, each.chain] for each in sight.served],
        "accepted": sorted(sight.accepted),
    }


def sight_from_json(plain: Mapping[str, Any]) -> Sight:
    """Return the sight of `sight_to_json`; raises KeyError, TypeError or ValueError for anything else."""

    def served(of: Sequence[Any]) -> Served:
        return Served(str(of[0]), str(of[1]), tuple(map(str, of[2])))

    return Sight(
        tuple(map(served, plain["served"])),
        frozenset(Acceptance(str(client), str(endpoint)) for client, endpoint in plain["accepted"]),
    )
