"""Looks at live services and their judgement, which is pure, and the loop that waits until the result is steady."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from actions.plan import Plan, Serving
from actions.verdict import Old
from actions.world import World
from config.immutable import immutable
from config.text import printable

_Chains = tuple[tuple[str, ...], ...]

_SOON: Final = 0.05
"""Seconds from a first look at an endpoint that does not serve yet to the second; each later wait is twice as long."""


class Acceptance(NamedTuple):
    """A client accepts the chains of an endpoint."""

    client: str
    endpoint: str


@immutable
class Served:
    """The chain that an endpoint presented to one way of asking, in one or several handshakes."""

    endpoint: str
    """Its name."""
    how: str
    """The address, the server name and the key type that were asked for.

    With `endpoint` and `chain` it is unique in a LiveView: an endpoint whose handshakes differ is there several times.
    """
    chain: tuple[str, ...]
    """SHA-256 of each DER certificate as presented, hexadecimal; empty where no handshake was completed."""
    why: str = ""
    """Why the chain is empty."""

    @property
    def way(self) -> tuple[str, str]:
        """The endpoint and the way of asking."""
        return self.endpoint, self.how


@immutable
class LiveView:
    """One look at the endpoints of the components: new handshakes, and each client's verdict on them."""

    served: tuple[Served, ...] = ()
    accepted: frozenset[Acceptance] = frozenset()
    """Clients that accept every chain that an endpoint presents."""
    partly: frozenset[Acceptance] = frozenset()
    """Clients that accept some of the chains that an endpoint presents, not all; not recorded in the journal."""

    @property
    def answering(self) -> frozenset[tuple[str, str]]:
        """The ways of asking that were answered at least once."""
        return frozenset(each.way for each in self.served if each.chain)

    @property
    def reliable(self) -> frozenset[tuple[str, str]]:
        """The ways of asking that were answered every time."""
        return self.answering - {each.way for each in self.served if not each.chain}

    @property
    def silent(self) -> tuple[str, ...]:
        """The names of the endpoints of which no way of asking was answered."""
        answered = {name for name, _ in self.answering}
        return tuple(sorted({each.endpoint for each in self.served} - answered))


@immutable
class Worth:
    """The worth of a set of files now."""

    old: Old = Old.USABLE
    why: str = ""
    """Why it is worth less; printable, the end of a sentence."""


@immutable
class Live:
    """How to look and to judge; given from outside, since looking is the work of another room."""

    look: Callable[[tuple[str, ...], float], LiveView]
    """Look at the local endpoints of these components, and judge as of that Unix time."""
    judge: Callable[[tuple[str, ...], Mapping[str, bytes], float], frozenset[Acceptance]]
    """Return the clients that would accept these components' endpoints at that Unix time with these files, by path."""
    whole: Callable[[tuple[str, ...]], tuple[Serving, ...] | None] = lambda _components: None
    """Return the chains that these components' endpoints present once the files on disk are in use; None where
    the files of a component are no whole set: no server starts with them."""
    worth: Callable[[tuple[str, ...], Mapping[str, bytes], float], Worth] | None = None
    """Return the least worth of these components' sets at that Unix time with these files, by path; None where nobody
    can tell."""
    fit: Callable[[str, float], str] | None = None
    """Return why a component's files on disk would be refused as a candidate at that Unix time, printable; empty where
    they would not. None where nobody can tell."""


@immutable
class Terms:
    """The conditions under which a look counts."""

    successes: int = 3
    """Looks in a row that must find no fault."""
    interval: float = 1.0
    """Seconds between two looks."""
    deadline: float = 120.0
    """Seconds after which the validation fails."""
    handshakes: int = 16
    """Handshakes with each address in one look.

    Where w workers share a port, the kernel distributes connections by a hash over their source ports: n handshakes
    miss a worker that kept the old certificate with probability (1 - 1/w)^n. Three looks of one handshake would miss
    one worker of four in 42 % of all cases; three looks of 16 miss it once in a million, and one worker of eight in
    0.2 %.
    """
    required: bool = False
    """Endpoints that failed before the change must succeed after it as well."""
    trusted_owners: frozenset[int] = frozenset()
    """User ids, beside root and this user, that may own a directory on the way to a target."""


@immutable
class Seen:
    """The last of several looks, and its faults."""

    live_view: LiveView
    unserved: tuple[str, ...] = ()
    """Sentences: endpoints that do not present the right chain."""
    lost: tuple[Acceptance, ...] = ()
    theirs: bool = False
    """The look was judged by another writer's set, which is on disk."""

    @property
    def steady(self) -> bool:
        """Whether there was no fault."""
        return not self.unserved and not self.lost


def judge_new(plan: Plan, before: LiveView, now: LiveView, *, required: bool = False) -> Seen:
    """Return the faults after the change: endpoints without the new chains, and clients that no longer accept."""
    chains = {each.endpoint: each.chains for each in plan.serves}
    unserved = _unserved(lambda each: chains.get(each.endpoint), before, now, required=required)
    lost = sorted(each for each in before.accepted - now.accepted if each.client not in plan.expected_losses)
    return Seen(now, unserved, tuple(lost))


def judge_old(plan: Plan, before: LiveView, now: LiveView) -> Seen:
    """Return the faults after a rollback: endpoints with neither the chain of before nor a chain of the old files."""
    of_files = {each.endpoint: each.chains for each in plan.served}

    def allowed(each: Served) -> _Chains | None:
        seen = tuple(was.chain for was in before.served if was.chain and was.way == each.way)
        return (*seen, *of_files.get(each.endpoint, ())) if seen else None

    return Seen(now, _unserved(allowed, before, now))


def _unserved(
    allowed: Callable[[Served], _Chains | None], before: LiveView, now: LiveView, *, required: bool = False
) -> tuple[str, ...]:
    # An endpoint that failed in some handshakes before the change may do so after it, but not in all handshakes.
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
            wrong.append(
                f"{name} presents {each.chain[0][:16]}… in a chain of {len(each.chain)}, not the expected chain"
            )
    missing = before.answering - {each.way for each in now.served}
    return (*wrong, *(f"{_name(*way)} was not seen again" for way in sorted(missing)))


def _name(endpoint: str, how: str) -> str:
    return printable(f"{endpoint} ({how})")


def watch(
    world: World,
    look: Callable[[], LiveView],
    judge: Callable[[LiveView], Seen],
    terms: Terms,
    hopeless: Callable[[LiveView], str] = lambda _live_view: "",
) -> Seen:
    """Look until there is no fault several times in a row, or clients are the only loss, or the deadline has passed.

    Looks that count are the interval of the terms apart; a service that does not serve yet is looked at again sooner:
    many services take up their files just after their command has ended. It ends before the deadline, too, where each
    look for as long as these looks take, and as many of them, find it `hopeless`, which says why.
    """
    hopes = _Hopes(world, terms, hopeless)
    end = world.monotonic() + terms.deadline
    good = only_lost = 0
    theirs = False
    soon = _SOON
    unserved: tuple[str, ...] = ()
    while True:
        seen = judge(look())
        unserved = seen.unserved or unserved
        if seen.theirs != theirs:
            # Looks at another set prove nothing for this set.
            good, only_lost, theirs = 0, 0, seen.theirs
        good = good + 1 if seen.steady else 0
        # A client that rejects the right chain is not won back by waiting.
        only_lost = only_lost + 1 if seen.lost and not seen.unserved else 0
        if max(good, only_lost) >= terms.successes:
            return seen
        if seen.unserved and (why := hopes.given_up(seen.live_view)):
            return replace(seen, unserved=(*seen.unserved, why))
        wait = min(soon, terms.interval) if seen.unserved else terms.interval
        soon = 2 * soon if seen.unserved else _SOON
        if world.monotonic() + wait > end:
            return seen if not seen.steady else replace(seen, unserved=(*unserved, "this was not steady in time"))
        world.sleep(wait)


@dataclass(slots=True)
class _Hopes:
    """Whether there is still hope that looking helps."""

    world: World
    terms: Terms
    hopeless: Callable[[LiveView], str]
    since: float | None = None
    """Monotonic time since which there is none."""
    looks: int = 0

    def given_up(self, live_view: LiveView) -> str:
        """Return why there has been no hope for long enough; empty while there is."""
        why = self.hopeless(live_view)
        if not why:
            self.since, self.looks = None, 0
            return ""
        self.looks += 1
        if self.since is None:
            self.since = self.world.monotonic()
        lasted = self.world.monotonic() - self.since
        return (
            why if self.looks >= self.terms.successes and lasted >= self.terms.successes * self.terms.interval else ""
        )


def live_view_to_json(live_view: LiveView) -> dict[str, Any]:
    """Return the live view as plain values."""
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
