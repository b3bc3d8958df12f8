"""Looks at endpoints, on real sockets: its pace, its bounds, and what must not end it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.model import (
    Artefacts,
    Client,
    ClientCertificate,
    Component,
    Config,
    Endpoint,
    PemBundle,
    Settings,
    TrustStore,
)
from config.service import systemd as systemd_service
from config.text import Printable, harmless, printable
from config.vocabulary import Code, LookOutcome, Severity, TargetKind, TLSVersion, UnreachableReason
from monitor.host import systemd
from monitor.lab.ca import Authority
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, Site, write_site
from monitor.look.slots import PATIENCE, SLOW_FOR_EACH, Places
from monitor.state import endpoints as endpoints_state
from monitor.state import pending
from monitor.state.events import FindingRaised, LookFailed, TargetAdded, TargetRemoved
from monitor.state.messages import ArtefactsChanged
from monitor.state.sets import SetRegistry
from monitor.state.target import Raised, TargetState
from probes.assess import assess_endpoint
from probes.certificate import certificate
from probes.finding import finding
from probes.observation import EndpointObservation, Presented, Unreachable
from probes.ocsp import OCSPAnswer, staple_of
from probes.tls.drive import look
from tests.kit.asking_servers import AskingHAProxy, Asks
from tests.kit.monitors import Kept, keep_looking, registry_of, until
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.responder import answer
from tests.kit.start import StartServer

ROOT = Authority.root()
NAME = "www.example.com"

NEVER = 3600.0
"""An interval that no test waits for."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no failure for a restart."""
    monkeypatch.setattr(pending, "RESTART", 0.0)


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


def test_no_more_looks_are_under_way_at_once_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.look.slots.PATIENCE", NEVER)

    async def story() -> None:
        async with counting() as peer:
            endpoints = [endpoint(f"e{number}", peer.host, peer.port) for number in range(12)]
            async with keep_looking(watching(*endpoints, concurrency=4)) as kept:
                await until(lambda: peer.now == 4)
                peer.let_go.set()
                await until(lambda: len(kept.looks) == 12)
                assert peer.most == 4
                assert {look.target for look in kept.looks} == {each.name for each in endpoints}
                assert max(look.lag for look in kept.looks) > 0

    asyncio.run(story())


def test_waiting_for_room_is_lag(
    start_peer: Callable[[Behaviour], HostilePeer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.look.slots.PATIENCE", NEVER)

    async def story() -> None:
        silent = start_peer(Behaviour.SILENT)
        both = [endpoint(name, silent.host, silent.port, timeout=0.3) for name in ("a", "b")]
        async with keep_looking(watching(*both, concurrency=1)) as kept:
            await until(lambda: len(kept.looks) == 2)
            first, second = kept.looks
            assert first.lag < second.lag
            assert second.lag >= 0.29

    asyncio.run(story())


class Hanging(Counting):
    """A server that never answers, until who asked gives up."""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.times.append(time.monotonic())
        self.now += 1
        self.most = max(self.most, self.now)
        with suppress(OSError):
            while await reader.read(4096):
                pass
        self.now -= 1
        writer.close()


@asynccontextmanager
async def hanging() -> AsyncIterator[Hanging]:
    peer = Hanging(*free_address())
    async with await asyncio.start_server(peer.take, peer.host, peer.port, backlog=1000):
        yield peer
        await until(lambda: peer.now == 0)


def test_endpoints_that_never_answer_do_not_starve_those_that_do(serve: Callable[..., LocalServer]) -> None:
    """A hundred of them made ten good ones wait for sixty seconds."""

    async def story() -> None:
        server = serve()
        bad_ones = [f"bad{number}" for number in range(100)]
        good_ones = [f"good{number}" for number in range(10)]
        async with hanging() as peer:
            bad = [endpoint(name, peer.host, peer.port, every=1.0, timeout=10.0) for name in bad_ones]
            good = [endpoint(name, server.host, server.port, every=1.0) for name in good_ones]
            async with keep_looking(watching(*bad, *good)) as kept:
                # Each of those that hang has taken its place once, for as long as it may.
                await until(lambda: peer.now == len(bad), deadline=20)
                await until(lambda: all(len(kept.looked_at(name)) > 5 for name in good_ones), deadline=20)
        # The first looks are due all at once, and come when those that hang have had their patience.
        lags = [each.lag for name in good_ones for each in [look for look in kept.looks if look.target == name][1:]]
        assert max(lags) < 1.0, lags

    asyncio.run(story())


def test_so_many_hang_that_their_own_places_run_out_and_still_each_gets_its_turn(
    serve: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        server = serve()
        async with hanging() as peer:
            bad = [endpoint(f"bad{number}", peer.host, peer.port, timeout=1.0) for number in range(30)]
            good = [endpoint(f"good{number}", server.host, server.port, every=0.5) for number in range(3)]
            async with keep_looking(watching(*bad, *good, concurrency=1)) as kept:
                await until(lambda: all(kept.looked_at(each.name) for each in bad), deadline=40)
                assert SLOW_FOR_EACH < peer.most <= 1 + 2 * SLOW_FOR_EACH
                # Each was given all of its time, whether or not it was begun twice.
                assert all(look.seconds >= 0.9 for look in kept.looks if look.target.startswith("bad"))

    asyncio.run(story())


def test_one_that_answers_again_is_looked_at_among_those_that_answer() -> None:
    async def story() -> None:
        places = Places(1)
        stop = asyncio.Event()

        def looking(silent: bool) -> asyncio.Task[bool]:
            async def look() -> bool:
                await asyncio.sleep(0)
                return silent

            return asyncio.create_task(places.take("a", look, bool))

        async def hold() -> bool:
            await stop.wait()
            return False

        assert await looking(silent=True)
        # What did not answer takes no place of the others ...
        other = asyncio.create_task(places.take("b", hold, bool))
        assert not await looking(silent=False)
        # ... and what has answered does.
        waiting = looking(silent=False)
        done, _ = await asyncio.wait((waiting,), timeout=PATIENCE / 4)
        assert not done
        stop.set()
        assert not await other
        assert not await waiting

    asyncio.run(story())


def test_what_answers_slowly_does_not_wait_for_what_does_not_answer() -> None:
    """On a busy host each look lasts long."""

    async def story() -> None:
        places = Places(1)

        async def last(seconds: float, silent: bool = False) -> bool:
            await asyncio.sleep(seconds)
            return silent

        names = [f"silent{number}" for number in range(3 * SLOW_FOR_EACH)]
        for name in names:
            await places.take(name, lambda: last(0, silent=True), bool)
        hanging = [asyncio.create_task(places.take(name, lambda: last(3600), bool)) for name in names]
        begun = time.monotonic()
        for _ in range(3):
            await places.take("slow", lambda: last(PATIENCE + 0.1), bool)
        assert time.monotonic() - begun < 4 * (PATIENCE + 0.1)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    asyncio.run(story())


def test_looks_are_spread_over_the_interval() -> None:
    async def story() -> None:
        async with counting() as peer:
            peer.let_go.set()
            endpoints = [endpoint(f"e{number}", peer.host, peer.port, every=1.0) for number in range(20)]
            async with keep_looking(watching(*endpoints)):
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
        async with keep_looking(watching(endpoint("e", server.host, server.port))) as kept:
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
        async with keep_looking(watching(endpoint("e", server.host, server.port, every=0.05))) as kept:
            await until(lambda: len(kept.looks) > 0)
            events = list(kept.events)
            await until(lambda: len(kept.looks) > 5)
            assert kept.events == events
            assert set(kept.looked_at("e")[1:]) == {LookOutcome.UNCHANGED}

    asyncio.run(story())


def test_what_is_hastened_is_looked_at_now(serve: Callable[..., LocalServer]) -> None:
    async def story() -> None:
        server = serve()
        async with keep_looking(watching(endpoint("e", server.host, server.port))) as kept:
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
        async with keep_looking(watching(endpoint("e", server.host, server.port, every=0.1))) as kept:
            await until(lambda: bool(kept.looks))
            before = kept.page.shown["e"]
            server.stop()
            await until(lambda: Code.UNREACHABLE in kept.codes("e"))
            await until(lambda: kept.worst("e") is Severity.CRITICAL)
            assert kept.page.shown["e"].failures >= 3
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


def test_an_endpoint_that_refuses_is_looked_at_again_within_two_seconds(
    serve: Callable[..., LocalServer],
) -> None:
    async def story() -> None:
        server = serve()
        every = [endpoint(f"e{number}", server.host, server.port, every=NEVER) for number in range(5)]
        names = [each.name for each in every]
        async with keep_looking(watching(*every)) as kept:
            assert kept.endpoints is not None
            await until(lambda: all(kept.looked_at(name) for name in names))
            server.stop()
            stopped = time.monotonic()
            kept.endpoints.hasten(names)
            await until(lambda: all(kept.page.shown[name].failures >= 1 for name in names))
            await until(lambda: all(kept.page.shown[name].failures >= 2 for name in names))
            assert 1.0 <= time.monotonic() - stopped < 3.0
            await until(lambda: all(kept.page.shown[name].failures >= 3 for name in names))
            assert time.monotonic() - stopped < 6.0

    asyncio.run(story())


def test_a_service_that_is_restarted_is_never_critical_however_often_its_files_had_it_looked_at(
    serve: Callable[..., LocalServer],
) -> None:
    async def story() -> None:
        server = serve()
        async with keep_looking(watching(endpoint("e", server.host, server.port))) as kept:
            assert kept.endpoints is not None
            await until(lambda: bool(kept.looks))
            server.stop()
            for number in range(1, 6):
                kept.endpoints.hasten(["e"])
                await until(lambda number=number: kept.page.shown["e"].failures >= number)  # type: ignore[misc]
            assert kept.worst("e") is Severity.WARNING
            server.start()
            await until(lambda: kept.page.shown["e"].failures == 0)

    asyncio.run(story())


def test_a_server_that_was_dark_before_a_restart_of_the_daemon_is_not_one_that_just_went_dark() -> None:
    """The second look after a restart made a warning of a critical finding, and a later one critical again."""
    host, port = free_address()
    dark = Raised(
        finding(Code.UNREACHABLE, Printable("no answer"), printable(host), Severity.CRITICAL), time.time() - 3600
    )
    known = TargetState(
        *("e", TargetKind.ENDPOINT, f"{host}:{port}"),
        findings={(Code.UNREACHABLE, host): dark},
        failure=("connection_refused", "no answer"),
    )

    async def story() -> None:
        async with keep_looking(watching(endpoint("e", host, port)), [known]) as kept:
            assert kept.endpoints is not None
            for number in range(1, 4):
                kept.endpoints.hasten(["e"])
                await until(lambda number=number: len(kept.looks) >= number)  # type: ignore[misc]
                assert kept.worst("e") is Severity.CRITICAL

    asyncio.run(story())


def test_a_server_that_was_dark_for_sure_is_seen_long_before_its_beat_once_it_answers(
    serve: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints_state, "SURE", 1.0)

    async def story() -> None:
        server = serve()
        async with keep_looking(watching(endpoint("e", server.host, server.port))) as kept:
            assert kept.endpoints is not None
            await until(lambda: bool(kept.looks))
            server.stop()
            kept.endpoints.hasten(["e"])
            await until(lambda: kept.worst("e") is Severity.CRITICAL)
            server.start()
            await until(lambda: kept.codes("e") == set(), deadline=5)

    asyncio.run(story())


def test_a_server_that_only_restarts_is_seen_again_at_the_second_look(serve: Callable[..., LocalServer]) -> None:
    async def story() -> None:
        server = serve()
        async with keep_looking(watching(endpoint("e", server.host, server.port, every=NEVER))) as kept:
            assert kept.endpoints is not None
            await until(lambda: bool(kept.looks))
            server.stop()
            kept.endpoints.hasten(["e"])
            await until(lambda: kept.page.shown["e"].failures == 1)
            server.start()
            await until(lambda: kept.page.shown["e"].failures == 0, deadline=3)
            assert kept.codes("e") == set()

    asyncio.run(story())


def test_everything_was_looked_at_once_each_answered_or_had_its_time(serve: Callable[..., LocalServer]) -> None:
    async def story() -> None:
        server = serve()
        async with hanging() as peer:
            bad = endpoint("bad", peer.host, peer.port, timeout=1.0)
            good = endpoint("good", server.host, server.port)
            async with keep_looking(watching(bad, good)) as kept:
                assert kept.endpoints is not None
                assert kept.endpoints.unseen == 2
                started = time.monotonic()
                await until(lambda: kept.endpoints is not None and kept.endpoints.unseen < 2)
                assert kept.looked_at("good")
                await until(lambda: kept.endpoints is not None and kept.endpoints.unseen == 0)
                assert time.monotonic() - started > 0.9
                # What is configured later was not there at the start.
                kept.configure(watching(bad, good, replace(bad, name="new", timeout=60.0)))
                assert kept.endpoints.unseen == 0

    asyncio.run(story())


def test_one_that_waits_for_its_turn_longer_than_its_time_is_not_waited_for() -> None:
    async def story() -> None:
        async with hanging() as peer:
            many = [endpoint(f"bad{number}", peer.host, peer.port, timeout=1.0) for number in range(40)]
            async with keep_looking(watching(*many, concurrency=1)) as kept:
                await until(lambda: kept.endpoints is not None and kept.endpoints.unseen == 0, deadline=2)
                assert not all(kept.looked_at(each.name) for each in many)

    asyncio.run(story())


def test_a_reload_looks_only_at_what_it_changes(serve: Callable[..., LocalServer], tmp_path: Path) -> None:
    async def story() -> None:
        server, bundle = serve(), tmp_path / "root.pem"
        bundle.write_bytes(ROOT.pem())
        stays, changes, goes = (endpoint(name, server.host, server.port) for name in ("stays", "changes", "goes"))
        async with keep_looking(watching(stays, changes, goes, trusted=bundle)) as kept:
            await until(lambda: len(kept.looks) == 3)
            new = replace(stays, name="new")
            kept.configure(watching(stays, replace(changes, every=60.0), new, trusted=bundle))
            await until(lambda: len(kept.looks) == 5)
            assert {look.target for look in kept.looks[3:]} == {"changes", "new"}
            await asyncio.sleep(0.3)
            assert len(kept.looks) == 5
            # A store that holds something else may change any verdict.
            bundle.write_bytes(ROOT.pem() + Authority.root().pem())
            kept.configure(watching(stays, replace(changes, every=60.0), new, trusted=bundle))
            await until(lambda: len(kept.looks) == 8)

    asyncio.run(story())


def test_a_reload_leaves_a_look_under_way_alone() -> None:
    async def story() -> None:
        async with hanging() as peer:
            both = [endpoint(name, peer.host, peer.port, timeout=1.0) for name in ("a", "b")]
            async with keep_looking(watching(*both)) as kept:
                await until(lambda: peer.now == 2)
                kept.configure(watching(both[0], replace(both[1], timeout=1.5)))
                await until(lambda: len(kept.looks) == 2)
                assert len(peer.times) == 3

    asyncio.run(story())


def test_an_endpoint_removed_while_it_is_looked_at_stays_removed(
    start_peer: Callable[[Behaviour], HostilePeer],
) -> None:
    async def story() -> None:
        silent = start_peer(Behaviour.SILENT)
        async with keep_looking(watching(endpoint("gone", silent.host, silent.port, timeout=0.5))) as kept:
            await until(lambda: silent.connections == 1)
            kept.configure(watching())
            assert kept.page.shown == {}
            silent.stop()
            await asyncio.sleep(0.6)
            assert kept.page.shown == {}
            assert isinstance(kept.events[-1], TargetRemoved)

    asyncio.run(story())


def test_an_endpoint_that_moves_while_it_is_looked_at_is_looked_at_where_it_is_now(
    start_peer: Callable[[Behaviour], HostilePeer], serve: Callable[..., LocalServer]
) -> None:
    async def story() -> None:
        silent, server = start_peer(Behaviour.SILENT), serve()
        before = endpoint("e", silent.host, silent.port, timeout=60.0)
        async with keep_looking(watching(before)) as kept:
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
        async with keep_looking(watching(before)) as kept:
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
        async with keep_looking(watching(endpoint("e", server.host, server.port))) as kept:
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

        monkeypatch.setattr("monitor.look.endpoints.look", fail_at_first)
        targets = [endpoint(name, server.host, server.port, every=0.1) for name in ("bad", "good")]
        async with keep_looking(watching(*targets)) as kept:
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
        async with keep_looking(watching(endpoint("e", server.host, server.port, every=0.05))) as kept:
            await until(lambda: len(kept.looks) > 2)
            added = [event for event in kept.events if isinstance(event, TargetAdded)]
            assert [(event.target, event.kind, event.location) for event in added] == [
                ("e", TargetKind.ENDPOINT, server.address)
            ]

    asyncio.run(story())


@pytest.mark.parametrize("is_touched", [True, False])
def test_restarts_that_follow_changes_of_the_files_are_no_service_that_comes_and_goes(
    serve: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch, *, is_touched: bool
) -> None:
    monkeypatch.setattr(pending, "RESTART", 20.0)
    monkeypatch.setattr(pending, "SURE", 0.0)

    async def story() -> None:
        server = serve()
        served = replace(endpoint("web/e", server.host, server.port), component="web")
        web = Component("web", Artefacts(combined="/nowhere"), endpoints=("web/e",))
        config = replace(watching(served), components=MappingProxyType({"web": web}))
        async with keep_looking(config) as kept:
            assert kept.endpoints is not None
            await until(lambda: bool(kept.looks))
            for _ in range(3):
                if is_touched:
                    kept.endpoints.component_touched(ArtefactsChanged("web"))
                server.stop()
                kept.endpoints.hasten(["web/e"])
                await until(lambda: kept.page.shown["web/e"].failures >= 2)
                raised = kept.codes("web/e")
                server.start()
                await until(lambda: kept.page.shown["web/e"].failures == 0)
            assert raised == (set() if is_touched else {Code.UNREACHABLE})

    asyncio.run(story())


def test_a_server_that_is_dark_for_a_moment_again_and_again_is_told(
    serve: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "RESTART", 20.0)

    async def story() -> None:
        server = serve()
        async with keep_looking(watching(endpoint("e", server.host, server.port))) as kept:
            assert kept.endpoints is not None
            await until(lambda: bool(kept.looks))
            for time_of_darkness in range(1, pending.OFTEN + 1):
                server.stop()
                kept.endpoints.hasten(["e"])
                await until(lambda: kept.page.shown["e"].failures >= 1)
                assert len(kept.page.shown["e"].went_dark) == time_of_darkness
                told = time_of_darkness == pending.OFTEN
                assert kept.codes("e") == ({Code.UNREACHABLE} if told else set())
                server.start()
                kept.endpoints.hasten(["e"])
                await until(lambda: kept.page.shown["e"].failures == 0)

    asyncio.run(story())


def test_a_server_that_does_not_answer_while_its_unit_starts_is_told_once_that_failed(
    serve: Callable[..., LocalServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "RUNS", str(tmp_path))
    shown, systemctl = tmp_path / "shown", tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\ntest "$1 $4" = "show web.service" && exec cat {shown}\n')
    systemctl.chmod(0o755)
    begun = time.monotonic_ns() // 1000
    starting = f"Type=simple\nTimeoutStartUSec=1min\nNRestarts=0\nInactiveExitTimestampMonotonic={begun}\nActiveState="

    async def story() -> None:
        server = serve()
        served = replace(endpoint("web/e", server.host, server.port), component="web")
        service = systemd_service("web.service", systemctl=str(systemctl))
        web = Component("web", Artefacts(combined="/nowhere"), endpoints=("web/e",), service=service)
        config = replace(watching(served), components=MappingProxyType({"web": web}))
        async with keep_looking(config) as kept:
            assert kept.endpoints is not None
            await until(lambda: bool(kept.looks))
            server.stop()
            shown.write_text(f"{starting}activating\n")
            for number in (1, 2, 3):
                kept.endpoints.hasten(["web/e"])
                await until(lambda number=number: kept.page.shown["web/e"].failures >= number)  # type: ignore[misc]
                assert kept.codes("web/e") == set()
            shown.write_text(f"{starting}failed\n")
            kept.endpoints.hasten(["web/e"])
            await until(lambda: kept.codes("web/e") == {Code.UNREACHABLE})

    asyncio.run(story())


def test_servers_that_take_up_a_certificate_one_after_the_other_are_nobodys_news_and_lasting_disagreement_is(
    tmp_path: Path, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    hosts, port = tuple(sorted(free_address()[0] for _ in range(2))), free_address()[1]

    def both(name: str, *more: Any, **options: Any) -> list[Any]:
        return [at for host in (hosts if name == NAME else (name,)) for at in real(host, *more, **options)]

    def renew(host: str) -> Site:
        return write_site(str(tmp_path), issued[-1], stem=host)

    monkeypatch.setattr(socket, "getaddrinfo", both)
    issued = [ROOT.issue(NAME)]
    servers = [cleanup.enter_context(LocalServer([renew(host)], address=(host, port))) for host in hosts]

    async def story() -> None:
        async with keep_looking(watching(endpoint("e", NAME, port, every=0.2))) as kept:

            async def roll_out(server: LocalServer) -> None:
                renew(server.host)
                await asyncio.to_thread(server.reload)

            def pending_codes() -> set[Code]:
                return {code for code, _ in kept.page.shown["e"].pending} if "e" in kept.page.shown else set()

            await until(lambda: bool(kept.looks))
            issued.append(ROOT.issue(NAME))
            await roll_out(servers[0])
            await until(lambda: pending_codes() == {Code.ENDPOINTS_DISAGREE})
            await roll_out(servers[1])
            await until(lambda: pending_codes() == set())
            assert not [each for each in kept.events if isinstance(each, FindingRaised)]
            monkeypatch.setattr(pending, "ROLL_OUT", 0.5)
            issued.append(ROOT.issue(NAME))
            await roll_out(servers[0])
            await until(lambda: kept.codes("e") == {Code.ENDPOINTS_DISAGREE})
            (found,) = (raised.finding for raised in kept.page.shown["e"].findings.values())
            assert all(f" at {host}" in found.detail for host in hosts)
            await roll_out(servers[1])
            await until(lambda: kept.codes("e") == set())

    asyncio.run(story())


@pytest.mark.server("haproxy")
def test_a_client_certificate_that_fails_is_told_and_its_renewal_is_taken_up(tmp_path: Path) -> None:
    leaf, combined = ROOT.issue(NAME), tmp_path / "site.pem"
    combined.write_bytes(leaf.key_pem() + leaf.pem())
    (tmp_path / "root.pem").write_bytes(ROOT.pem())
    own = ClientCertificate(str(tmp_path / "own.crt"), str(tmp_path / "own.key"))
    prober = ROOT.issue(subject="prober", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])

    async def story(server: AskingHAProxy) -> None:
        host, port = server.at[Asks.STRICTLY, TLSVersion.TLS1_3]
        shown = replace(endpoint("e", host, port, every=0.2), client_certificate=own)
        async with keep_looking(watching(shown)) as kept:
            await until(lambda: kept.codes("e") == {Code.CLIENT_CERTIFICATE_FAILED})
            (found,) = (raised.finding for raised in kept.page.shown["e"].findings.values())
            assert found.detail == f"unusable: {own.certificate}: No such file or directory"
            assert kept.page.shown["e"].up
            write_site(str(tmp_path), prober, stem="own")
            await until(lambda: kept.codes("e") == set())

    with AskingHAProxy(
        str(tmp_path / "haproxy"), [Site(str(combined), str(combined))], str(tmp_path / "root.pem")
    ) as server:
        asyncio.run(story(server))


def test_a_staple_is_verified_by_a_root_that_the_server_need_not_send(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(ROOT.pem())
    now, leaf = time.time(), ROOT.issue(NAME)
    config = watching(endpoint("e", "h", 443), trusted=tmp_path / "root.pem")
    registry = registry_of(config, Kept())
    endpoints = endpoints_state.EndpointRegistry(SetRegistry(registry))
    registry.remember(TargetState("e", TargetKind.ENDPOINT, "h:443"))
    seen = Presented(
        harmless("192.0.2.1"), (certificate(leaf.der()),), "TLSv1.3", "c", "g", staple=answer(ROOT, leaf, now)
    )
    answered = EndpointObservation("e", now, (seen,))
    silent = EndpointObservation(
        "e", now + 60, (), (Unreachable(seen.address, UnreachableReason.TIMED_OUT, harmless("silent")),)
    )
    for observation in (answered, silent):
        context = endpoints.context(config.endpoints["e"], observation)
        endpoints.learn(observation, context, assess_endpoint(observation, context, now), now)
        state = registry.targets["e"]
        assert state.addresses == (seen,)
        staple = staple_of(seen, state.issuers)
        assert isinstance(staple, OCSPAnswer)
        assert staple.signer is not None
