"""Endpoints are asked for everything that they take where a site wants it, and what was found survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType

import pytest

from config.expected import AllowedTLS
from config.model import Config, Endpoint
from config.text import Printable, harmless
from config.vocabulary import Code, TargetKind, TLSVersion
from monitor.lab.ca import Authority
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, write_site
from monitor.look import supported
from monitor.state.events import FindingCleared, FindingRaised, SupportedChanged
from monitor.state.target import Raised, TargetState
from probes.finding import finding
from probes.judge.tls import SUPPORTED
from probes.tls.inquire import inquire
from probes.tls.support import Supported, SupportedVersion
from tests.kit.monitors import keep_looking, until

NAME = "www.example.com"
NEVER = 3600.0
"""An interval that no test waits for."""
ONLY_1_3 = AllowedTLS(frozenset({TLSVersion.TLS1_3}))
"""By which what the server negotiates is allowed, and TLS 1.2, which it takes as well, is not."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supported, "_FIRST", 0.01)
    monkeypatch.setattr(supported, "_AGAIN", 0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    issued = Authority.root().issue(NAME)
    with LocalServer([write_site(str(tmp_path_factory.mktemp("site")), issued)]) as started:
        yield started


def asked(server: LocalServer, every: float | None = NEVER) -> Endpoint:
    return Endpoint("web", server.host, server.port, NAME, NEVER, tls=ONLY_1_3, supported_every=every)


def watching(*endpoints: Endpoint) -> Config:
    return Config(endpoints=MappingProxyType({each.name: each for each in endpoints}))


def test_what_a_server_takes_beside_what_it_negotiates_is_found(server: LocalServer) -> None:
    async def story() -> None:
        async with keep_looking(watching(asked(server))) as kept:
            await until(lambda: Code.OBSOLETE_PROTOCOL in kept.codes("web"), 30)
            state = kept.page.shown["web"]
            assert state.supported is not None
            assert [each.version for each in state.supported.versions] == [TLSVersion.TLS1_3, TLSVersion.TLS1_2]
            found = state.findings[Code.OBSOLETE_PROTOCOL, SUPPORTED].finding
            assert found.detail == f"{server.host} supports TLSv1.2, allowed are TLSv1.3"
            # A site that wants it no longer has the finding no longer.
            kept.configure(watching(asked(server, every=None)))
            await until(lambda: Code.OBSOLETE_PROTOCOL not in kept.codes("web"))
            assert kept.page.shown["web"].supported is None

    asyncio.run(story())


def test_nobody_is_asked_where_the_site_does_not_want_it(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    inquired: list[str] = []

    async def noted(endpoint: Endpoint, address: str, now: float) -> Supported:
        inquired.append(endpoint.name)
        return await inquire(endpoint, address, now)

    monkeypatch.setattr(supported, "inquire", noted)
    unwanted = asked(server, every=None)
    wanted = replace(asked(server), name="later")

    async def story() -> None:
        async with keep_looking(watching(unwanted)) as kept:
            await until(lambda: bool(kept.looked_at("web")))
            # Whoever asked at all would have begun with the one that was there before.
            kept.configure(watching(unwanted, wanted))
            await until(lambda: "later" in kept.page.shown and kept.page.shown["later"].supported is not None, 30)
            assert inquired == ["later"]
            assert kept.page.shown["web"].supported is None

    asyncio.run(story())


def test_what_was_found_before_a_restart_stands_until_the_server_was_asked_again(server: LocalServer) -> None:
    endpoint = asked(server)
    said = finding(Code.OBSOLETE_PROTOCOL, Printable(f"{server.host} supports TLSv1.2, allowed are TLSv1.3"), SUPPORTED)
    before = TargetState(
        "web",
        TargetKind.ENDPOINT,
        f"{server.host}:{server.port}",
        findings={(said.code, said.subject): Raised(said, 5.0)},
    )

    async def story() -> None:
        async with keep_looking(watching(endpoint), [before]) as kept:
            await until(lambda: kept.page.shown["web"].supported is not None, 30)
            await until(lambda: len(kept.looked_at("web")) > 1)
            assert kept.page.shown["web"].findings[said.code, said.subject] == Raised(said, 5.0)
            told = [each for each in kept.events if isinstance(each, FindingRaised | FindingCleared)]
            assert [each for each in told if each.finding.subject == SUPPORTED] == []

    asyncio.run(story())


def test_an_inquiry_that_is_not_complete_takes_nothing_back(server: LocalServer) -> None:
    whole = Supported(Printable(server.host), (SupportedVersion(TLSVersion.TLS1_3, ("a",)),), at=1.0)
    part = replace(whole, versions=(), unclear=(Printable("does not answer in time"),), at=2.0)
    less = replace(part, versions=(SupportedVersion(TLSVersion.TLS1_3, ("b",)),))

    async def story() -> None:
        async with keep_looking(watching(asked(server, every=None))) as kept:
            await until(lambda: bool(kept.looked_at("web")))
            assert kept.supported is not None
            take_up = kept.supported._endpoints.take_up
            assert [take_up("web", each) for each in (part, less, whole, less, replace(whole, at=3.0))] == [
                *(False, True, True, False, False),
            ]
            assert kept.page.shown["web"].supported == whole
            assert (kept.page.shown["web"].supported or less).at == 3.0

    asyncio.run(story())


def test_a_server_that_is_away_is_asked_once_it_answers(
    server: LocalServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    host, port = free_address()
    endpoint = Endpoint("late", host, port, NAME, 0.2, tls=ONLY_1_3, supported_every=NEVER)

    async def story() -> None:
        async with keep_looking(watching(endpoint)) as kept:
            await until(lambda: bool(kept.looked_at("late")))
            with LocalServer(server.sites, address=(host, port)):
                await until(lambda: Code.OBSOLETE_PROTOCOL in kept.codes("late"), 30)

    asyncio.run(story())


def test_what_was_asked_before_a_restart_is_shown_until_then_and_forgotten_where_nobody_wants_it(
    server: LocalServer,
) -> None:
    taken = Supported(harmless(server.host), (SupportedVersion("TLSv1.1", ("AES128-SHA",)),), at=5.0)
    before = TargetState("web", TargetKind.ENDPOINT, f"{server.host}:{server.port}", supported=taken)

    async def story(*, wanted: bool) -> None:
        async with keep_looking(watching(asked(server, every=3600.0 if wanted else None)), [before]) as kept:
            shown = kept.page.shown["web"].supported
            assert shown == (taken if wanted else None)
            assert [each.supported for each in kept.events if isinstance(each, SupportedChanged)] == (
                [] if wanted else [None]
            )

    for wanted in (True, False):
        asyncio.run(story(wanted=wanted))
