"""Vigil over endpoints, on real sockets: its pace, its bounds, and what must not end it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import pytest

from config.model import Client, Config, Endpoint, PemBundle, Settings, TrustStore
from config.vocabulary import Code, LookOutcome, Severity, TargetKind
from monitor.endpoints import EndpointVigil
from monitor.events import FindingRaised, LookFailed, TargetAdded, TargetRemoved
from monitor.lab.ca import Authority
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, write_site
from monitor.surroundings import read_surroundings
from probes.observation import EndpointObservation
from probes.tls.drive import look
from tests.conftest import StartServer
from tests.lab.peers import Behaviour, Peer
from tests.monitor.vigil import Kept, beliefs_of, until

ROOT = Authority.root()
NAME = "www.example.com"
NEVER = 3600.0
"""An interval that no test waits for."""


@dataclass
class Watched(Kept):
    """What a vigil over endpoints said."""

    def configure(self, config: Config) -> None:
        """Put another configuration in force, as a reload does."""
        assert self.beliefs is not None
        assert self.endpoints is not None
        self.beliefs.surroundings, _ = read_surroundings(config)
        self.beliefs.reconsider()
        self.endpoints.reconfigure()

    def looked_at(self, target: str) -> list[LookOutcome]:
        return [look.outcome for look in self.looks if look.target == target]


@asynccontextmanager
async def keep_vigil(config: Config) -> AsyncIterator[Watched]:
    kept = Watched()
    beliefs = beliefs_of(config, kept)
    with ThreadPoolExecutor(1) as worker:
        vigil = EndpointVigil(beliefs, worker, looked=kept.looks.append)
        kept.beliefs, kept.endpoints = beliefs, vigil
        vigil.reconfigure()
        running = asyncio.create_task(vigil.run())
        try:
            yield kept
            assert not running.done()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def endpoint(name: str, host: str, port: int, every: float = NEVER, timeout: float = 10.0) -> Endpoint:
    return Endpoint(name, host, port, NAME, every, timeout)


def watching(*endpoints: Endpoint, concurrency: int = 20, trusted: Path | None = None) -> Config:
    each = {endpoint.name: endpoint for endpoint in endpoints}
    if trusted is None:
        return Config(Settings(concurrency=concurrency), endpoints=MappingProxyType(each))
    each = {name: replace(endpoint, clients=("lab",)) for name, endpoint in each.items()}
    stores = {"lab": TrustStore("lab", PemBundle(str(trusted)))}
    return Config(
        Settings(concurrency=concurrency),
        endpoints=MappingProxyType(each),
        trust_stores=MappingProxyType(stores),
        clients=MappingProxyType({"lab": Client("lab", "lab")}),
    )


@pytest.fixture
def serve(tmp_path: Path, start_local: StartServer[LocalServer]) -> Callable[..., LocalServer]:
    """Serve a new certificate, valid for so many seconds."""

    def start(lifetime: float = 90 * 86_400) -> LocalServer:
        issued = ROOT.issue(NAME, not_after=int(time.time() + lifetime))
        return start_local(write_site(str(tmp_path / f"site{time.monotonic_ns()}"), issued))

    return start


@dataclass
class Counting:
    """A server that keeps everyone waiting until it is told to let go, and counts."""

    host: str = ""
    port: int = 0
    now: int = 0
    most: int = 0
    times: list[float] = field(default_factory=list)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.times.append(time.monotonic())
        self.now += 1
        self.most = max(self.most, self.now)
        await self.let_go.wait()
        self.now -= 1
        writer.close()


@asynccontextmanager
async def counting() -> AsyncIterator[Counting]:
    host, port = free_address()
    peer = Counting(host, port)
    async with await asyncio.start_server(peer.take, host, port):
        yield peer
        peer.let_go.set()


def test_no_more_looks_are_under_way_at_once_than_allowed() -> None:
    async def story() -> None:
        async with counting() as peer:
            endpoints = [endpoint(f"e{number}", peer.host, peer.port) for number in range(12)]
            async with keep_vigil(watching(*endpoints, concurrency=4)) as kept:
                await until(lambda: peer.now == 4)
                peer.let_go.set()
                await until(lambda: len(kept.looks) == 12)
                assert peer.most == 4
                assert {look.target for look in kept.looks} == {each.name for each in endpoints}
                assert max(look.lag for look in kept.looks) > 0

    asyncio.run(story())


def test_waiting_for_room_is_lag(start_peer: Callable[[Behaviour], Peer]) -> None:
    async def story() -> None:
        silent = start_peer(Behaviour.SILENT)
        both = [endpoint(name, silent.host, silent.port, timeout=0.3) for name in ("a", "b")]
        async with keep_vigil(watching(*both, concurrency=1)) as kept:
            await until(lambda: len(kept.looks) == 2)
            first, second = kept.looks
            assert first.lag < second.lag
            assert second.lag >= first.seconds

    asyncio.run(story())


def test_looks_are_spread_over_the_interval() -> None:
    async def story() -> None:
        async with counting() as peer:
            peer.let_go.set()
            endpoints = [endpoint(f"e{number}", peer.host, peer.port, every=1.0) for number in range(20)]
            async with keep_vigil(watching(*endpoints)):
                await until(lambda: len(peer.times) >= 60)
        # After the first looks, which come at once, each endpoint keeps to a beat of its own.
        later = sorted(peer.times)[40:60]
        busiest = max(sum(start <= at < start + 0.1 for at in later) for start in later)
        assert busiest <= 10
        assert later[-1] - later[0] > 0.5

    asyncio.run(story())


def test_a_verdict_that_time_changes_is_given_anew_at_its_time(serve: Callable[..., LocalServer]) -> None:
    async def story() -> None:
        server = serve(lifetime=2)
        async with keep_vigil(watching(endpoint("e", server.host, server.port))) as kept:
            await until(lambda: Code.EXPIRED in kept.codes("e"))
            known = kept.page.shown["e"]
            assert known.expiry is not None
            raised = next(raised for (code, _), raised in known.findings.items() if code is Code.EXPIRED)
            assert 0 <= raised.since - (known.expiry + 1) < 1
            assert len(kept.looks) < 10

    asyncio.run(story())


def test_the_same_again_gives_no_event(serve: Callable[..., LocalServer]) -> None:
    async def story() -> None:
        server = serve()
        async with keep_vigil(watching(endpoint("e", server.host, server.port, every=0.05))) as kept:
            await until(lambda: len(kept.looks) > 0)
            events = list(kept.events)
            await until(lambda: len(kept.looks) > 5)
            assert kept.events == events
            assert set(kept.looked_at("e")[1:]) == {LookOutcome.UNCHANGED}

    asyncio.run(story())


def test_what_is_hastened_is_looked_at_now(serve: Callable[..., LocalServer]) -> None:
    async def story() -> None:
        server = serve()
        async with keep_vigil(watching(endpoint("e", server.host, server.port))) as kept:
            await until(lambda: len(kept.looks) == 1)
            assert kept.endpoints is not None
            kept.endpoints.hasten(["e", "unknown"])
            await until(lambda: len(kept.looks) == 2)

    asyncio.run(story())


def test_an_unreachable_endpoint_becomes_critical_at_the_third_look_and_recovers(
    serve: Callable[..., LocalServer], tmp_path: Path
) -> None:
    async def story() -> None:
        server = serve()
        async with keep_vigil(watching(endpoint("e", server.host, server.port, every=0.1))) as kept:
            await until(lambda: bool(kept.looks))
            before = kept.page.shown["e"]
            server.stop()
            await until(lambda: Code.UNREACHABLE in kept.codes("e"))
            await until(lambda: kept.page.shown["e"].failures > 3)
            severities = [
                event.finding.severity
                for event in kept.events
                if not isinstance(event, TargetAdded | TargetRemoved)
                and hasattr(event, "finding")
                and event.finding.code is Code.UNREACHABLE
            ]
            assert severities == [Severity.WARNING, Severity.CRITICAL]
            known = kept.page.shown["e"]
            assert (known.presented, known.expiry, known.up) == (before.presented, before.expiry, False)
            assert len([event for event in kept.events if isinstance(event, LookFailed)]) == 1
            server.start()
            await until(lambda: kept.codes("e") == set())
            assert kept.page.shown["e"].up

    asyncio.run(story())


def test_an_endpoint_removed_while_it_is_looked_at_stays_removed(start_peer: Callable[[Behaviour], Peer]) -> None:
    async def story() -> None:
        silent = start_peer(Behaviour.SILENT)
        async with keep_vigil(watching(endpoint("gone", silent.host, silent.port, timeout=0.5))) as kept:
            await until(lambda: silent.connections == 1)
            kept.configure(watching())
            assert kept.page.shown == {}
            silent.stop()
            await asyncio.sleep(0.6)
            assert kept.page.shown == {}
            assert isinstance(kept.events[-1], TargetRemoved)

    asyncio.run(story())


def test_an_endpoint_that_moves_while_it_is_looked_at_is_looked_at_where_it_is_now(
    start_peer: Callable[[Behaviour], Peer], serve: Callable[..., LocalServer]
) -> None:
    async def story() -> None:
        silent, server = start_peer(Behaviour.SILENT), serve()
        before = endpoint("e", silent.host, silent.port, timeout=60.0)
        async with keep_vigil(watching(before)) as kept:
            await until(lambda: silent.connections == 1)
            kept.configure(watching(replace(before, host=server.host, port=server.port)))
            await until(lambda: bool(kept.page.shown["e"].presented))
            assert kept.page.shown["e"].location == server.address
            assert kept.codes("e") == set()

    asyncio.run(story())


def test_an_endpoint_that_moved_is_not_taken_for_what_it_was(serve: Callable[..., LocalServer]) -> None:
    async def story() -> None:
        server = serve()
        before = endpoint("e", server.host, server.port)
        async with keep_vigil(watching(before)) as kept:
            await until(lambda: bool(kept.page.shown["e"].presented))
            host, port = free_address()
            kept.configure(watching(replace(before, host=host, port=port)))
            await until(lambda: Code.UNREACHABLE in kept.codes("e"))
            known = kept.page.shown["e"]
            assert (known.presented, known.location) == ((), f"{host}:{port}")

    asyncio.run(story())


def test_an_endpoint_that_stays_keeps_its_facts_when_the_configuration_changes(
    serve: Callable[..., LocalServer], tmp_path: Path
) -> None:
    async def story() -> None:
        server, bundle = serve(), tmp_path / "root.pem"
        bundle.write_bytes(ROOT.pem())
        async with keep_vigil(watching(endpoint("e", server.host, server.port))) as kept:
            await until(lambda: bool(kept.page.shown["e"].presented))
            since = kept.page.shown["e"].since
            kept.configure(watching(endpoint("e", server.host, server.port), trusted=bundle))
            await until(lambda: bool(kept.page.shown["e"].edges))
            assert [edge.accepted for edge in kept.page.shown["e"].edges] == [True]
            assert kept.page.shown["e"].since == since
            assert not any(isinstance(event, TargetRemoved) for event in kept.events)

    asyncio.run(story())


def test_a_look_that_fails_for_no_foreseen_reason_ends_nothing(
    serve: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        server, failures = serve(), 0

        async def fail_at_first(target: Endpoint, now: float) -> EndpointObservation:
            nonlocal failures
            if target.name == "bad" and failures < 2:
                failures += 1
                raise RuntimeError("nobody thought of this")
            return await look(target, now)

        monkeypatch.setattr("monitor.endpoints.look", fail_at_first)
        targets = [endpoint(name, server.host, server.port, every=0.1) for name in ("bad", "good")]
        async with keep_vigil(watching(*targets)) as kept:
            await until(lambda: bool(kept.page.shown["bad"].presented) and bool(kept.page.shown["good"].presented))
            assert kept.looked_at("bad")[:2] == [LookOutcome.FAILED] * 2
            raised = [event.finding.code for event in kept.events if isinstance(event, FindingRaised)]
            assert raised == [Code.UNREACHABLE]

    with caplog.at_level(logging.ERROR, "certvigil.endpoints"):
        asyncio.run(story())
    assert "looking at bad failed" in caplog.text
    assert "nobody thought of this" in caplog.text


def test_every_endpoint_is_told_once_as_what_it_is(serve: Callable[..., LocalServer]) -> None:
    async def story() -> None:
        server = serve()
        async with keep_vigil(watching(endpoint("e", server.host, server.port, every=0.05))) as kept:
            await until(lambda: len(kept.looks) > 2)
            added = [event for event in kept.events if isinstance(event, TargetAdded)]
            assert [(event.target, event.kind, event.location) for event in added] == [
                ("e", TargetKind.ENDPOINT, server.address)
            ]

    asyncio.run(story())
