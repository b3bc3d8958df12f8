"""The kill matrix on real appliances whose console and engine read their chains only if their configuration names them.

As in `tests/actions/test_kill_real.py`, the cells come from the trace of a clean run; in the default run a telling few.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from actions.candidate import Given, NoCandidate, read_candidates
from actions.ending import Ending, Outcome
from actions.journal import Journal
from actions.plan import Order
from actions.plan_replacement import plan_replacement
from actions.prepare import Prepared
from actions.recover import recover
from actions.target import state
from actions.transaction import transact
from actions.transaction_state import TransactionContext
from actions.world import World
from config.load import load
from config.model import Config
from monitor.actor.context import ActorContext, actor_context, journal_path
from monitor.lab.ca import Issued
from monitor.lab.process import wait_for
from monitor.lab.servers import replace_file
from monitor.state.trust import read_trust_context
from tests.kit.authority import NAME, ROOT, fresh
from tests.kit.lined_appliance import LinedAppliance, lined_appliance
from tests.kit.matrix import Share, played
from tests.kit.openssl_client import presented
from tests.kit.worlds import Cell, Step, StepWorld, WatchedWorld, cells, killed, names_of

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]
_SHARDS: Final = 4
Act = Callable[[StepWorld], object]


class KilledAppliance:
    """An appliance whose first chain is put in, or whose last one is taken out, by a process that is killed."""

    def __init__(self, machine: LinedAppliance, *, first: bool) -> None:
        self.machine, self.first = machine, first
        config = load(machine.config_file, {})
        assert isinstance(config, Config), config
        self.config = config

    def anew(self) -> None:
        """Have all servers serve what a replacement begins with."""
        machine, begin = self.machine, ROOT.issue(NAME) if self.first else fresh()
        console, portal, chain = machine.artefacts("console"), machine.artefacts("portal"), machine.chain("console")
        (configuration,) = machine.configurations("console")
        text = Path(configuration).read_text().replace(f'ssl.ca-file = "{chain}"\n', "")
        with suppress(FileNotFoundError):
            os.remove(chain)
        if not self.first:
            replace_file(chain, begin.chain[1].pem())
            beside = f'ssl.pemfile = "{console["combined"]}"\n'
            text = text.replace(beside, f'{beside}ssl.ca-file = "{chain}"\n')
        replace_file(configuration, text.encode())
        replace_file(console["combined"], begin.pem() + begin.key_pem(), 0o600)
        replace_file(portal["certificate"], begin.chain_pem())
        replace_file(portal["key"], begin.key_pem(), 0o600)
        for server in machine.servers.values():
            server.reload()

    @contextmanager
    def context(self, world: World) -> Iterator[tuple[ActorContext, TransactionContext]]:
        with actor_context(read_trust_context(self.config)[0]) as context:
            journal = Journal(world, journal_path(self.config), self.config.host)
            with closing(journal):
                if isinstance(world, StepWorld):
                    world.spelling = names_of(context.transaction.services, (f"{self.machine.directory}/", ""))
                yield context, replace(context.transaction, world=world, journal=journal)

    def order(self) -> Order:
        """Return the order that puts the first chain in, or takes the last one out."""
        new = fresh() if self.first else ROOT.issue(NAME)
        return self.order_of(new)

    def order_of(self, new: Issued) -> Order:
        """Return the order that puts a certificate in."""
        with self.context(World()) as (context, _):
            candidates = read_candidates([Given("new", self.machine.pem(new))])
            assert not isinstance(candidates, NoCandidate), candidates
            sites = [context.site(name, allow_shorter=True) for name in self.machine.servers]
            made = plan_replacement(sites, candidates, context.world, context.world.now())
            assert isinstance(made, Prepared), made
            return made.order

    def replace(self, order: Order, world: World) -> Ending:
        with self.context(world) as (_, transaction):
            return transact(transaction, order)

    def recover(self, world: World) -> tuple[Ending, ...]:
        with self.context(world) as (_, transaction):
            return recover(transaction)

    def wrong_after(self, *chosen: Cell) -> list[str]:
        """Kill a replacement, and each recovery from it but the last; returns what is wrong then."""
        self.anew()
        order = self.order()
        acts: list[Act] = [partial(self.replace, order), self.recover]
        for act, cell in zip(acts, chosen, strict=False):
            killed(act, cell)
        endings = self.recover(World())
        changes = order.plan.changes
        now = [state(World(), each.path) for each in changes]
        is_old, is_new = now == [each.before for each in changes], now == [each.after for each in changes]
        wrong = [] if is_old or is_new else ["neither all old nor all new"]
        wrong += [each.sentence for each in endings if each.outcome is Outcome.FROZEN]
        wrong += ["recovered twice"] if self.recover(World()) else []
        has_chain = is_new is self.first
        try:
            wait_for(lambda: self._is_served(with_chain=has_chain), 30.0)
        except TimeoutError:
            wrong.append("it is not served what is on disk")
        return wrong

    def _is_served(self, *, with_chain: bool) -> bool:
        """Whether all send one chain, of that length, the root aside, whose leaf is on disk."""
        chains = [presented(server) for server in self.machine.servers.values()]
        bare = [[der for der in chain if der != ROOT.der()] for chain in chains]
        return all(each == bare[0] for each in bare) and len(bare[0]) == (2 if with_chain else 1)

    def trace(self) -> list[Step]:
        """Return the steps of a clean run."""
        self.anew()
        root = self.machine.directory
        world = WatchedWorld(*(f"{root}/{each}" for each in ("actor", *self.machine.servers, "server-console")))
        assert self.replace(self.order(), world).outcome is Outcome.COMMITTED
        return world.trace


class KilledSingleAppliance(KilledAppliance):
    """The same with an engine, two files of which name its chain; each replacement begins where another one ended."""

    def anew(self) -> None:
        """Have all servers serve what a replacement begins with."""
        begin = ROOT.issue(NAME) if self.first else fresh()
        ending = self.replace(self.order_of(begin), World())
        assert ending.outcome is Outcome.COMMITTED, ending.sentence


@pytest.fixture(params=[True, False], ids=["the first chain", "the last chain"])
def of(request: pytest.FixtureRequest) -> Iterator[KilledAppliance]:
    with lined_appliance("primary") as machine:
        yield KilledAppliance(machine, first=request.param)


@pytest.fixture(params=[True, False], ids=["the first chain", "the last chain"])
def of_single(request: pytest.FixtureRequest) -> Iterator[KilledAppliance]:
    with lined_appliance("single") as machine:
        yield KilledSingleAppliance(machine, first=request.param)


def telling(trace: Sequence[Step]) -> list[Cell]:
    """Return a kill amid the switch, one with every file switched, and one amid the activation."""
    moves = [each for each in trace if each.name in {"exchange", "rename"} and "manifest" not in each.about]
    runs = [each for each in trace if each.name == "run"]
    return [Cell(moves[0], "after"), Cell(moves[-1], "after"), Cell(runs[-1], "amid")]


def test_a_primary_appliance_killed_at_a_telling_step_has_one_whole_set_and_serves_it(of: KilledAppliance) -> None:
    assert played(lambda: telling(of.trace()), of.wrong_after) == []


@pytest.mark.slow
def test_a_single_appliance_killed_at_a_telling_step_has_one_whole_set_and_serves_it(
    of_single: KilledAppliance,
) -> None:
    assert played(lambda: telling(of_single.trace()), of_single.wrong_after) == []


def _from_the_intent(of: KilledAppliance) -> list[Cell]:
    trace = of.trace()
    (intent,) = (each for each in trace if each.what.endswith(" intent"))
    return [each for each in cells(trace) if each.step.number >= intent.number]


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(_SHARDS))
def test_a_primary_appliance_has_one_whole_set_and_serves_it_wherever_it_was_killed(
    shard: int, of: KilledAppliance
) -> None:
    assert played(lambda: _from_the_intent(of), of.wrong_after, Share(shard, _SHARDS)) == []


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(_SHARDS))
def test_a_single_appliance_has_one_whole_set_and_serves_it_wherever_it_was_killed(
    shard: int, of_single: KilledAppliance
) -> None:
    assert played(lambda: _from_the_intent(of_single), of_single.wrong_after, Share(shard, _SHARDS)) == []
