"""The kill matrix on real servers: after recovery each serves what is on disk, all old or all new, and is accepted.

As in `test_kill_matrix`, the cells come from the trace of a clean run, by name; in the default run a telling few.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from actions.ending import Ending, Outcome
from actions.journal import Journal
from actions.late import Compared, look_again
from actions.plan import Kind, Order, Plan, Serving
from actions.recover import recover
from actions.target import state
from actions.transaction import transact
from actions.transaction_state import TransactionContext
from actions.validate import Acceptance, Live, LiveView, Served, Terms
from actions.world import World
from monitor.lab.ca import Authority
from monitor.lab.process import wait_for
from monitor.lab.servers import Lighttpd, Nginx, write_site
from tests.kit.matrix import Share, played
from tests.kit.real_server import Real, service_of
from tests.kit.workers import WORKERS, Workers
from tests.kit.worlds import Cell, LaterWorld, Step, StepWorld, WatchedWorld, cells, killed, names_of

_SHARDS: Final = 6
_TERMS: Final = Terms(successes=2, interval=0.05, deadline=30.0)
Server = type[Nginx] | type[Lighttpd] | type[Workers]
_NEEDS: Final[Mapping[Server, str]] = {Nginx: "nginx", Lighttpd: "lighttpd"}
"""The package of a server that has one."""
Act = Callable[[World], object]


@dataclass
class KilledEstate:
    """Real servers as the components of one transaction."""

    webs: Mapping[str, Real]
    ca: Authority
    room: str
    number: int = 0

    def anew(self) -> None:
        """Begin with an empty state directory, and with nothing that stays linked from before."""
        if self.number:
            assert self.look_later() == Compared()
        self.number += 1
        os.makedirs(self._state, mode=0o700)

    def watched(self) -> WatchedWorld:
        return WatchedWorld(self._state, *(os.path.dirname(each.site.key) for each in self.webs.values()))

    @property
    def _state(self) -> str:
        return f"{self.room}/state-{self.number}"

    def context(self, world: World) -> TransactionContext:
        services = {name: service_of(each.server) for name, each in self.webs.items()}
        if isinstance(world, StepWorld):
            world.spelling = names_of(services, (self._state, "state"), (f"{self.room}/", ""), (self.room, "."))
        journal = Journal(world, f"{self._state}/journal.jsonl")
        return TransactionContext(world, journal, self._state, services, Live(self.look, self.judge), _TERMS)

    def look(self, components: tuple[str, ...], _now: float) -> LiveView:
        seen = {name: self.webs[name].handshake() for name in components}
        served = (Served(name, "default", (leaf,) if leaf else ()) for name, (leaf, _) in seen.items())
        return LiveView(tuple(served), _accepted(name for name, (_, accepted) in seen.items() if accepted))

    def judge(self, components: tuple[str, ...], files: Mapping[str, bytes], _now: float) -> frozenset[Acceptance]:
        return _accepted(name for name in components if self.webs[name].site.certificate in files)

    def order(self, issuer: Authority) -> Order:
        """Return the order that replaces every pair of files by new ones."""
        orders = {name: each.order(issuer.issue(f"{name}.example")) for name, each in self.webs.items()}
        plan = Plan(
            Kind.REPLACE,
            tuple(sorted(orders)),
            tuple(replace(change, component=name) for name, each in orders.items() for change in each.plan.changes),
            (),
            tuple(Serving(name, each.plan.serves[0].chains) for name, each in orders.items()),
            tuple(Serving(name, each.plan.served[0].chains) for name, each in orders.items()),
        )
        return Order(plan, {path: data for each in orders.values() for path, data in each.content.items()})

    def replace(self, world: World, order: Order) -> Ending:
        context = self.context(world)
        with closing(context.journal):
            return transact(context, order)

    def recover(self, world: World) -> tuple[Ending, ...]:
        context = self.context(world)
        with closing(context.journal):
            return recover(context)

    def look_later(self) -> Compared:
        """Have let go what stays linked, as ten minutes later."""
        context = self.context(LaterWorld())
        with closing(context.journal):
            return look_again(context)

    def broken(self, order: Order) -> list[str]:
        """Recover, and return how the invariant does not hold, as sentences."""
        endings = self.recover(World())
        now = [state(World(), each.path) for each in order.plan.changes]
        old, new = ([getattr(each, which) for each in order.plan.changes] for which in ("before", "after"))
        wrong = [] if now in (old, new) else ["neither all old nor all new"]
        wrong += [each.sentence for each in endings if each.outcome is Outcome.FROZEN]
        wrong += ["recovered twice"] if self.recover(World()) else []
        wrong += [] if self.look_later() == Compared() else ["somebody wrote late"]
        for name, web in self.webs.items():
            directory = os.path.dirname(web.site.key)
            wrong += [f"{name}: left {each}" for each in os.listdir(directory) if each.startswith(".")]
            wrong += self._unserved(name, web)
        return wrong

    @staticmethod
    def _unserved(name: str, web: Real) -> list[str]:
        # The kernel chooses who of several workers answers, and one that leaves may still accept a last connection.
        asked = 4 * WORKERS if isinstance(web.server, Workers) else 1
        try:
            wait_for(lambda: all(web.handshake() == (web.on_disk(), True) for _ in range(asked)), 30.0)
        except TimeoutError:
            return [f"{name} does not serve what is on disk, or is not accepted"]
        return []


def _accepted(names: Iterator[str]) -> frozenset[Acceptance]:
    return frozenset(Acceptance("browser", name) for name in names)


@contextmanager
def estate(kinds: Sequence[Server], room: Path) -> Iterator[KilledEstate]:
    ca, webs = Authority.root(), {}
    with ExitStack() as stack:
        for name, kind in zip(("mail", "web"), kinds, strict=False):
            site = write_site(f"{room}/{name}", ca.issue(f"{name}.example"))
            server = kind(f"{room}/{name}-server", [site])
            stack.enter_context(server)
            webs[name] = Real(server, site, ca, "")
        yield KilledEstate(webs, ca, str(room))


def servers(*kinds: Server, slow: bool = False) -> Any:
    marks = [pytest.mark.server(_NEEDS[kind]) for kind in {*kinds} if kind in _NEEDS]
    marks += [pytest.mark.slow] if slow else []
    return pytest.param(kinds, marks=marks, id="-".join(kind.__name__ for kind in kinds))


every_estate = pytest.mark.parametrize(
    "kinds",
    [
        servers(Nginx),
        servers(Lighttpd),
        servers(Workers),
        servers(Nginx, Nginx),
        servers(Lighttpd, Lighttpd),
        servers(Workers, Workers),
        servers(Nginx, Lighttpd),
    ],
)
both_ways = pytest.mark.parametrize("holds", [True, False], ids=["commits", "is undone"])


def traced(of: KilledEstate, act: Act) -> list[Step]:
    world = of.watched()
    act(world)
    return world.trace


def wrong_after(of: KilledEstate, issuer: Authority, *chosen: Cell) -> list[str]:
    """Kill a replacement, and each recovery from it but the last; returns what is wrong then."""
    of.anew()
    order = of.order(issuer)
    acts: list[Act] = [lambda world: of.replace(world, order), of.recover]
    for act, cell in zip(acts, chosen, strict=False):
        killed(act, cell)
    return of.broken(order)


def trace_of(of: KilledEstate, issuer: Authority) -> list[Step]:
    of.anew()
    order = of.order(issuer)
    return traced(of, lambda world: of.replace(world, order))


def trace_of_recovery(of: KilledEstate, issuer: Authority, first: Cell) -> list[Step]:
    of.anew()
    order = of.order(issuer)
    killed(lambda world: of.replace(world, order), first)
    return traced(of, of.recover)


def named(trace: Sequence[Step], name: str) -> list[Step]:
    return [each for each in trace if each.name == name]


def chosen(of: KilledEstate, issuer: Authority, *, all_of_them: bool) -> list[Cell]:
    """Return the cells, from the intent on where what comes before it is another estate's to prove."""
    trace = trace_of(of, issuer)
    (intent,) = (each for each in trace if each.what.endswith(" intent"))
    return [each for each in cells(trace) if all_of_them or each.step.number >= intent.number]


# What reloads and what restarts is proved by the first two.
@pytest.mark.parametrize("kinds", [servers(Nginx, Lighttpd), servers(Workers, Workers, slow=True)])
@both_ways
def test_two_real_servers_serve_one_whole_set_each_after_a_telling_kill(
    kinds: Sequence[Server], holds: bool, room: Path
) -> None:
    with estate(kinds, room) as of:
        issuer = of.ca if holds else Authority.root("Another")
        trace = trace_of(of, issuer)
        amid, active = Cell(named(trace, "exchange")[1], "after"), Cell(named(trace, "run")[-1], "amid")
        assert played(lambda: [amid, active], partial(wrong_after, of, issuer)) == []
        again = trace_of_recovery(of, issuer, amid)
        assert wrong_after(of, issuer, amid, Cell(named(again, "exchange")[-1], "after")) == []


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(_SHARDS))
@both_ways
@every_estate
def test_real_servers_serve_one_whole_set_each_wherever_they_were_killed(
    kinds: Sequence[Server], holds: bool, shard: int, room: Path
) -> None:
    with estate(kinds, room) as of:
        issuer = of.ca if holds else Authority.root("Another")
        # Until the first file is switched no server is concerned.
        begins = holds and tuple(kinds) == (Nginx, Lighttpd)
        generate = partial(chosen, of, issuer, all_of_them=begins)
        assert played(generate, partial(wrong_after, of, issuer), Share(shard, _SHARDS)) == []


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(_SHARDS))
@both_ways
@every_estate
def test_real_servers_serve_one_whole_set_each_wherever_recovery_was_killed(
    kinds: Sequence[Server], holds: bool, shard: int, room: Path
) -> None:
    with estate(kinds, room) as of:
        issuer = of.ca if holds else Authority.root("Another")
        trace = trace_of(of, issuer)

        def again(first: Cell) -> list[str]:
            return played(
                lambda: cells(trace_of_recovery(of, issuer, first)),
                lambda second: wrong_after(of, issuer, first, second),
                Share(shard, _SHARDS),
            )

        firsts = [Cell(named(trace, "exchange")[-1], "after"), Cell(named(trace, "run")[-1], "after")]
        assert played(lambda: firsts, again) == []
