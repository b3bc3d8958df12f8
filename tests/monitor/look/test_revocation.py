"""Fetching revocation lists: one request for each, by servers that are honest, late or lying."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType

import pytest
from cryptography import x509

from config.model import Client, Config, Endpoint, PemBundle, Settings, TrustStore
from config.reach import Reach
from config.revocation import Fetching, RevocationSettings
from config.text import harmless
from config.vocabulary import RevocationReason, RevocationState, SourceState, TargetKind
from monitor.lab.ca import DAY, Authority, Issued, KeyType, new_key
from monitor.lab.process import accepts, find_command, free_address, wait_for
from monitor.lab.servers import replace_file
from monitor.look import revocation
from monitor.look.list_cache import FetchedFrom, FetchedList, ListCache
from monitor.look.revocation import TOLD_AFTER, RevocationFetcher
from monitor.state.events import PresentedChanged
from monitor.state.registry import TargetRegistry
from monitor.state.target import TargetState
from probes.certificate import Certificate, certificate
from probes.observation import Presented
from probes.revocation.crl import lists_in
from probes.revocation.places import list_file
from probes.revocation.status import status_of
from tests.kit.crl import Entry, crl, crl_pem, lists_at
from tests.kit.list_server import ListServer, dated, drip, flood, list_server, redirect, response
from tests.kit.monitors import Kept, registry_of, until
from tests.kit.responder import HOST, free_port, responder, responder_at

NOW = float(int(time.time()))
ROOT = Authority.root("Root")
CA = ROOT.intermediate("Issuing")
STRANGER = Authority.root("Issuing", key=new_key(KeyType.P256))
GOOD, REVOKED = RevocationState.GOOD, RevocationState.REVOKED
UNKNOWN, UNCHECKED = RevocationState.UNKNOWN, RevocationState.UNCHECKED


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    monkeypatch.setattr(revocation, "FIRST_AGAIN", 0.02)
    monkeypatch.setattr(revocation, "_SETTLE", 0.0)


def value(issued: Issued) -> Certificate:
    return certificate(issued.der())


def leaf(server: ListServer, *paths: str) -> Issued:
    return CA.issue("www.example.com", extensions=[lists_at(*map(server.url, paths or ("/a.crl",)))])


def state(name: str, *chain: Issued) -> TargetState:
    shown = tuple(map(value, chain))
    presented = Presented(harmless("127.0.0.1"), shown, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519")
    return TargetState(name, TargetKind.ENDPOINT, f"{name}:443", presented=shown, addresses=(presented,))


@dataclass
class Fetches:
    """A fetcher that runs, and what it learnt."""

    registry: TargetRegistry
    fetcher: RevocationFetcher
    hastened: list[str]
    counted: dict[SourceState, int]

    def told(self, of: Issued, issuer: Issued = CA) -> RevocationState:
        return status_of(value(of), value(issuer), self.registry.revocations.all, time.time()).state

    async def becomes(self, of: Issued, state: RevocationState) -> None:
        await until(lambda: self.told(of) is state)

    def present(self, *states: TargetState) -> None:
        for each in states:
            self.registry.update(each)
        self.fetcher.take([PresentedChanged(each.target, NOW, (), each.presented) for each in states])


@asynccontextmanager
async def fetching(
    directory: Path,
    server: ListServer,
    *states: TargetState,
    every: float = 0.1,
    is_configured: bool = True,
    **terms: object,
) -> AsyncIterator[Fetches]:
    root = directory / "root.pem"
    root.write_bytes(ROOT.pem())
    allow = (Reach((ip_network(server.host),), frozenset({server.port})),)
    settings = replace(Fetching(allow=allow, every=every), **terms) if is_configured else None  # type: ignore[arg-type]
    config = Config(
        Settings(state_directory=str(directory), revocation=RevocationSettings(fetch=settings)),
        endpoints=MappingProxyType({each.target: Endpoint(each.target, "h", 443, clients=("c",)) for each in states}),
        trust_stores=MappingProxyType({"lab": TrustStore("lab", PemBundle(str(root)))}),
        clients=MappingProxyType({"c": Client("c", "lab")}),
    )
    hastened: list[str] = []
    registry = registry_of(config, Kept())
    for each in states:
        registry.remember(each)
    with ThreadPoolExecutor(1) as worker:
        counted = dict[SourceState, int]()
        fetcher = RevocationFetcher(registry, worker, hastened.extend, counted=counted.update)
        running = asyncio.create_task(fetcher.run())
        try:
            yield Fetches(registry, fetcher, hastened, counted)
            assert not running.done()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def play(story: Callable[[ListServer], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with list_server() as server:
            await story(server)

    asyncio.run(whole())


def test_one_list_is_fetched_once_for_all_certificates_that_name_it_and_is_asked_for_again(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        servers = [leaf(server) for _ in range(20)]
        server.answers["/a.crl"] = dated(crl(CA, NOW, Entry(servers[3], NOW - DAY)), NOW - 60, "one")
        states = [state(f"web{index}", each, CA) for index, each in enumerate(servers)]
        async with fetching(tmp_path, server, *states, every=0.3) as kept:
            await kept.becomes(servers[3], REVOKED)
            assert kept.told(servers[4]) is GOOD
            assert len(server.requests) == 1
            assert sorted(kept.hastened) == sorted(each.target for each in states)
            server.answers["/a.crl"] = response(b"", "304 Not Modified")
            await until(lambda: len(server.requests) == 2)
            head = server.requests[1][1].lower()
            assert 'if-none-match: "one"' in head
            assert "if-modified-since: " in head
            await until(lambda: len(server.requests) == 3)
            assert kept.told(servers[3]) is REVOKED
            assert len(kept.hastened) == len(states), "nothing has changed"

    play(story)


def test_a_fault_while_it_is_seen_what_is_named_ends_no_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    named = revocation._named_by_all
    faults = [ZeroDivisionError()]

    def faulty(*given: object) -> object:
        if faults:
            raise faults.pop()
        return named(*given)  # type: ignore[arg-type]

    async def story(server: ListServer) -> None:
        monkeypatch.setattr(revocation, "_named_by_all", faulty)
        of = leaf(server)
        server.answers["/a.crl"] = response(crl(CA, NOW, Entry(of, NOW - DAY)))
        async with fetching(tmp_path, server, state("web", of, CA)) as kept:
            await kept.becomes(of, REVOKED)

    play(story)
    assert "it is tried again" in caplog.text


def test_a_newer_list_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        of = leaf(server)
        server.answers["/a.crl"] = response(crl_pem(crl(CA, NOW, number=1)))
        async with fetching(tmp_path, server, state("web", of, CA)) as kept:
            await kept.becomes(of, GOOD)
            server.answers["/a.crl"] = response(crl(CA, NOW, Entry(of, NOW), number=2, this_update=NOW - 60))
            await kept.becomes(of, REVOKED)

    play(story)


LIES: Sequence[tuple[str, Callable[[Issued], object]]] = [
    ("followed by another", lambda _: response(crl(CA, NOW, this_update=NOW - 9 * DAY, next_update=NOW - DAY))),
    ("not made by that CA's key", lambda _: response(crl(CA, NOW, signer=STRANGER, key_identifier=False))),
    ("not made by that CA's key", lambda _: response(crl(ROOT, NOW))),
    ("begins only at", lambda _: response(crl(CA, NOW, this_update=NOW + DAY))),
    ("more than 1048576 bytes", lambda _: flood),
    ("no whole answer within", lambda _: drip),
    ("is not at http:// or https://", lambda _: redirect("file:///etc/passwd")),
    ("revocation.fetch.allow", lambda _: redirect("http://127.0.0.1:1/")),
    ("no revocation list", lambda _: response(b"<html>sign in to this network</html>")),
    ("no revocation list", lambda of: response(of.der())),
    ("status 503", lambda _: response(b"", "503 Service Unavailable")),
    ("status 304", lambda _: response(b"", "304 Not Modified")),
]


@pytest.mark.parametrize(("why", "lie"), LIES, ids=[f"{index} {why}" for index, (why, _) in enumerate(LIES)])
def test_what_a_lying_server_gives_is_told_after_three_times_and_takes_nothing_away(
    tmp_path: Path, why: str, lie: Callable[[Issued], object]
) -> None:
    async def story(server: ListServer) -> None:
        of = leaf(server)
        server.answers["/a.crl"] = lie(of)  # type: ignore[assignment]
        async with fetching(tmp_path, server, state("web", of, CA), timeout=0.3, largest=1) as kept:
            assert kept.told(of) is UNCHECKED
            await until(lambda: bool(kept.registry.revocations.all.failed))
            assert len(server.requests) == TOLD_AFTER
            (said,) = kept.registry.revocations.all.failed.values()
            assert why in said
            assert kept.counted[SourceState.FAILED] == 1
            assert kept.told(of) is UNKNOWN
            server.answers["/a.crl"] = response(crl(CA, NOW))
            await kept.becomes(of, GOOD)
            assert not kept.registry.revocations.all.failed
            server.answers["/a.crl"] = lie(of)  # type: ignore[assignment]
            before = len(server.requests)
            await until(lambda: len(server.requests) >= before + TOLD_AFTER)
            assert kept.told(of) is GOOD, "a valid list is left"

    play(story)


@pytest.mark.parametrize("header", ['ETag: "\u00e9"', "Last-Modified: Fri, 31 Dec 9999 23:59:59 -0100"])
def test_a_header_that_cannot_stand_in_a_request_is_left_out_of_the_next_one(tmp_path: Path, header: str) -> None:
    async def story(server: ListServer) -> None:
        of = leaf(server)
        server.answers["/a.crl"] = response(crl(CA, NOW), "200 OK", header)
        async with fetching(tmp_path, server, state("web", of, CA)) as kept:
            await until(lambda: len(server.requests) >= 3)
            assert "\r\nif-" not in server.requests[2][1].lower()
            assert kept.told(of) is GOOD

    play(story)


def test_an_older_list_than_before_is_not_taken(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        of = leaf(server)
        server.answers["/a.crl"] = response(crl(CA, NOW, Entry(of, NOW), number=2, this_update=NOW - 60))
        async with fetching(tmp_path, server, state("web", of, CA)) as kept:
            await kept.becomes(of, REVOKED)
            server.answers["/a.crl"] = response(crl(CA, NOW, number=1, this_update=NOW - 120))
            before = len(server.requests)
            await until(lambda: len(server.requests) >= before + 2)
            assert kept.told(of) is REVOKED

    play(story)


def test_a_restart_goes_by_the_lists_on_disk_and_asks_when_they_are_due(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        of = leaf(server)
        server.answers["/a.crl"] = dated(crl(CA, NOW, Entry(of, NOW - DAY)), NOW, "one")
        async with fetching(tmp_path, server, state("web", of, CA), every=3600.0) as kept:
            await kept.becomes(of, REVOKED)
        path = list_file(str(tmp_path), server.url("/a.crl"))
        assert os.stat(path).st_mode & 0o777 == 0o640
        async with fetching(tmp_path, server, state("web", of, CA), every=3600.0) as kept:
            await kept.becomes(of, REVOKED)
        assert len(server.requests) == 1
        replace_file(path, b"damaged")
        async with fetching(tmp_path, server, state("web", of, CA), every=3600.0) as kept:
            await until(lambda: len(server.requests) == 2)
            assert "if-none-match" not in server.requests[1][1].lower()
            await kept.becomes(of, REVOKED)

    play(story)


def test_a_list_that_ended_counts_until_its_server_has_failed_three_times(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        of, well = leaf(server), leaf(server)
        (known,) = lists_in([crl(CA, NOW, Entry(of, NOW - 9 * DAY), this_update=NOW - 9 * DAY, next_update=NOW - DAY)])
        origin = FetchedFrom(server.url("/a.crl"), NOW - 8 * DAY)
        ListCache(str(tmp_path)).write(FetchedList(known, origin), with_list=True)
        answered = [0]

        async def fail(writer: asyncio.StreamWriter) -> None:
            assert kept.told(of) is REVOKED, "after a long stop, nobody has been asked yet"
            assert kept.told(well) is GOOD
            answered[0] += 1
            writer.write(response(b"", "503 Service Unavailable"))

        server.answers["/a.crl"] = fail
        async with fetching(tmp_path, server, state("web", of, CA), state("well", well, CA), every=3600.0) as kept:
            await kept.becomes(well, UNKNOWN)
            assert answered == [TOLD_AFTER]
            assert kept.told(of) is UNKNOWN
            server.answers["/a.crl"] = response(crl(CA, NOW))
            await kept.becomes(of, GOOD)

    play(story)


def test_a_list_that_nobody_names_any_more_counts_for_certificates_of_its_ca_until_it_ends(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        shop, py = leaf(server), CA.issue("py.example.com")
        end = int(time.time()) + 4
        gone = [Entry(shop, NOW - DAY), Entry(py, NOW - DAY)]
        server.answers["/a.crl"] = dated(crl(CA, NOW, *gone, next_update=end), NOW, "one")
        async with fetching(tmp_path, server, state("shop", shop, CA), state("py", py, CA), every=3600.0) as kept:
            await kept.becomes(py, REVOKED)
            assert set(kept.hastened) == {"shop", "py"}
            kept.present(state("shop", CA.issue("shop.example.com"), CA))
            await until(lambda: bool(kept.fetcher._nameless))
            assert kept.told(py) is REVOKED
        # So it is after a restart, until the list has ended and no other can be had.
        server.answers["/a.crl"] = response(b"", "404 Not Found")
        async with fetching(tmp_path, server, state("py", py, CA), every=0.3) as kept:
            await kept.becomes(py, REVOKED)
            await kept.becomes(py, UNCHECKED)
            assert time.time() >= end
            await until(lambda: not kept.fetcher._sources)

    play(story)


def test_nothing_is_fetched_for_a_chain_that_leads_to_no_trust_store(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        of, ours = leaf(server), leaf(server, "/ours.crl")
        foreign = STRANGER.issue("x.example.com", extensions=[lists_at(server.url("/foreign.crl"))])
        server.answers["/ours.crl"] = response(crl(CA, NOW))
        states = (state("foreign", foreign, STRANGER), state("alone", of), state("ours", ours, CA))
        async with fetching(tmp_path, server, *states) as kept:
            await kept.becomes(ours, GOOD)
            assert {each for each, _ in server.requests} == {"/ours.crl"}

    play(story)


def test_nothing_is_fetched_unless_it_is_configured(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        of, other = leaf(server), leaf(server, "/other.crl")
        server.answers |= {"/a.crl": response(crl(CA, NOW)), "/other.crl": response(crl(CA, NOW))}
        (tmp_path / "other").mkdir()
        async with (
            fetching(tmp_path, server, state("web", of, CA), is_configured=False) as kept,
            fetching(tmp_path / "other", server, state("web", other, CA)),
        ):
            kept.present(state("web", of, CA))
            # One that began later has asked thrice.
            await until(lambda: len(server.heads_of("/other.crl")) >= 3)
            assert kept.told(of) is UNCHECKED
            assert not server.heads_of("/a.crl")

    play(story)


def test_a_certificate_that_comes_later_has_its_list_fetched_and_one_that_goes_has_it_forgotten(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        first, second = leaf(server, "/1.crl"), leaf(server, "/2.crl")
        server.answers |= {"/1.crl": response(crl(CA, NOW)), "/2.crl": response(crl(CA, NOW, Entry(second, NOW)))}
        async with fetching(tmp_path, server, state("web", first, CA)) as kept:
            await kept.becomes(first, GOOD)
            kept.present(state("web", second, CA))
            await kept.becomes(second, REVOKED)
            assert len(kept.registry.revocations.all.lists) == 1
            known = len(server.heads_of("/1.crl"))
            await until(lambda: len(server.heads_of("/2.crl")) >= 2)
            assert len(server.heads_of("/1.crl")) <= known + 1

    play(story)


def test_sources_beyond_the_bound_are_not_asked_and_that_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(revocation, "MOST_SOURCES", 2)

    async def story(server: ListServer) -> None:
        leaves = [leaf(server, f"/{index}.crl") for index in range(5)]
        server.answers |= {f"/{index}.crl": response(crl(CA, NOW)) for index in range(5)}
        states = [state(f"web{index}", each, CA) for index, each in enumerate(leaves)]
        async with fetching(tmp_path, server, *states) as kept:
            await until(lambda: kept.counted.get(SourceState.HELD) == 2)
            assert kept.counted[SourceState.LEFT_OUT] == 3
            kept.present(states[0])
            before = len(server.requests)
            await until(lambda: len(server.requests) >= before + 4)
            assert len({each for each, _ in server.requests}) == 2

    play(story)
    (record,) = [each for each in caplog.records if "and no more" in each.getMessage()]
    assert "; 3 are not" in record.getMessage()


def test_a_delta_list_is_fetched_and_adds_to_its_complete_one(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        fresh = x509.FreshestCRL(
            [x509.DistributionPoint([x509.UniformResourceIdentifier(server.url("/delta.crl"))], None, None, None)]
        )
        extensions = [lists_at(server.url("/a.crl")), x509.Extension(fresh.oid, False, fresh)]
        of = CA.issue("www.example.com", extensions=extensions)
        server.answers["/a.crl"] = response(crl(CA, NOW, number=7))
        server.answers["/delta.crl"] = response(crl(CA, NOW, Entry(of, NOW), base=7, number=8))
        async with fetching(tmp_path, server, state("web", of, CA)) as kept:
            await kept.becomes(of, REVOKED)

    play(story)


@pytest.mark.server("openssl")
def test_a_responder_is_asked_where_the_site_wants_it_and_answers_for_each_certificate(tmp_path: Path) -> None:
    port = free_port()
    at = responder_at(f"http://{HOST}:{port}/")
    gone, well, strange = (CA.issue(f"{name}.example.com", extensions=[at]) for name in ("gone", "well", "strange"))
    states = [state(name, of, CA) for name, of in (("gone", gone), ("well", well), ("strange", strange))]

    async def story(unused: ListServer) -> None:
        server = ListServer(HOST, port)
        async with fetching(tmp_path, server, *states, crls=False, ocsp=True, every=3600.0) as kept:
            await kept.becomes(gone, REVOKED)
            await kept.becomes(well, GOOD)
            await kept.becomes(strange, UNKNOWN)
            status = status_of(value(gone), value(CA), kept.registry.revocations.all, time.time())
            assert (status.at, status.reason) == (int(NOW - DAY), RevocationReason.KEY_COMPROMISE)
            (why,) = kept.registry.revocations.all.failed.values()
            assert "does not know" in why
            assert {"gone", "well"} <= set(kept.hastened)
        # After a restart, the answers on disk are gone by, and nobody is asked again.
        async with fetching(tmp_path, unused, *states[:2], crls=False, ocsp=True, every=3600.0) as kept:
            await kept.becomes(gone, REVOKED)
            await kept.becomes(well, GOOD)
            assert kept.hastened == [], "no answer came"

    with responder(tmp_path, CA, port, {gone: NOW - DAY, well: None}):
        play(story)


def test_no_responder_is_asked_unless_the_site_wants_it(tmp_path: Path) -> None:
    async def story(server: ListServer) -> None:
        extensions = [lists_at(server.url("/a.crl")), responder_at(server.url("/ocsp"))]
        of = CA.issue("www.example.com", extensions=extensions)
        server.answers["/a.crl"] = response(crl(CA, NOW))
        async with fetching(tmp_path, server, state("web", of, CA)) as kept:
            await kept.becomes(of, GOOD)
            await until(lambda: len(server.requests) >= 3)
            assert {each for each, _ in server.requests} == {"/a.crl"}

    play(story)


@pytest.mark.parametrize("answer", [b"", b"\x30\x03\x0a\x01\x06", b"<html>", b"0" * 70_000])
def test_an_answer_that_proves_nothing_counts_as_none(tmp_path: Path, answer: bytes) -> None:
    async def story(server: ListServer) -> None:
        of = CA.issue("www.example.com", extensions=[responder_at(server.url("/ocsp"))])
        server.answers["/ocsp"] = response(answer)
        async with fetching(tmp_path, server, state("web", of, CA), ocsp=True) as kept:
            await kept.becomes(of, UNKNOWN)
            assert server.requests[0][1].startswith("POST /ocsp ")
            assert "application/ocsp-request" in server.requests[0][1]

    play(story)


def test_the_disk_keeps_no_list_that_nobody_wants(tmp_path: Path) -> None:
    cache = ListCache(str(tmp_path))
    cache.keep_only([])
    directory = tmp_path / "crls"
    directory.mkdir()
    names: Iterable[str] = ("a.crl", "a.json", "b.crl.new")
    for each in names:
        (directory / each).write_bytes(b"x")
    wanted = list_file(str(tmp_path), "http://x/")
    Path(wanted).write_bytes(b"x")
    assert cache.read() == {}
    cache.keep_only(["http://x/"])
    assert list(directory.iterdir()) == [Path(wanted)]


@pytest.mark.parametrize("odd", [{"modified": 1e12}, {"modified": -1}, {"at": "now"}, {"etag": 7}, {"url": None}])
def test_a_list_on_disk_of_which_no_request_can_be_made_is_passed_over(
    tmp_path: Path, odd: Mapping[str, object]
) -> None:
    cache, url = ListCache(str(tmp_path)), "http://x/"
    (known,) = lists_in([crl(CA, NOW)])
    cache.write(FetchedList(known, FetchedFrom(url, NOW, '"one"', NOW)), with_list=True)
    assert list(cache.read()) == [url]
    about = Path(list_file(str(tmp_path), url)).with_suffix(".json")
    about.write_text(json.dumps(json.loads(about.read_text()) | odd))
    assert cache.read() == {}


@pytest.mark.server("nginx")
def test_nginx_answers_that_a_list_is_still_the_same(tmp_path: Path) -> None:
    host, port = free_address()
    (tmp_path / "conf").write_text(
        f"""\
daemon off;
user root;
pid {tmp_path}/pid;
events {{}}
http {{
    log_format plain "$status";
    access_log {tmp_path}/log plain;
    client_body_temp_path {tmp_path}/body;
    proxy_temp_path {tmp_path}/proxy;
    fastcgi_temp_path {tmp_path}/fastcgi;
    uwsgi_temp_path {tmp_path}/uwsgi;
    scgi_temp_path {tmp_path}/scgi;
    server {{ listen {host}:{port}; root {tmp_path}/www; }}
}}
"""
    )
    (tmp_path / "www").mkdir()
    of = CA.issue("www.example.com", extensions=[lists_at(f"http://{host}:{port}/a.crl")])
    replace_file(f"{tmp_path}/www/a.crl", crl(CA, NOW, Entry(of, NOW - DAY)))
    nginx = find_command("nginx")
    assert nginx is not None
    command = [nginx, "-p", str(tmp_path), "-c", f"{tmp_path}/conf", "-e", f"{tmp_path}/error"]

    async def story(_: ListServer) -> None:
        async with fetching(tmp_path, ListServer(host, port), state("web", of, CA)) as kept:
            await kept.becomes(of, REVOKED)
            await until(lambda: len(statuses()) >= 3)

    def statuses() -> list[str]:
        with open(f"{tmp_path}/log", encoding="ascii") as log:
            return log.read().split()

    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: accepts(host, port), 10.0, "nginx")
            play(story)
        finally:
            process.terminate()
    assert statuses()[:3] == ["200", "304", "304"]
