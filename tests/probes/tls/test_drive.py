"""Looks over real sockets, by each driver: what servers present, and every way in which they do not."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from config.model import Endpoint
from config.vocabulary import AddressChoice, EndpointProtocol, KeyKind, TLSVersion, UnreachableReason
from monitor.lab.ca import DAY, Authority, Issued, KeyType, bundle, self_signed
from monitor.lab.process import free_address, wait_for
from monitor.lab.servers import Lighttpd, LocalServer, Nginx, Server, Site, TLSSettings, replace_file, write_site
from probes.observation import EndpointObservation, Presented, Unreachable
from probes.tls.drive import MOST_ADDRESSES, converse, converse_blocking, look, look_blocking
from tests.kit.drivers import DRIVERS, NOW, Look, by_blocking, by_uvloop
from tests.kit.packaged_servers import HAProxy
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.start import StartServer

NAME = "www.example.com"


@pytest.fixture(params=DRIVERS, ids=["asyncio", "uvloop", "blocking"])
def look_by(request: pytest.FixtureRequest) -> Look:
    """Look by each driver in turn: they see the same."""
    by: Look = request.param
    return by


@pytest.fixture(scope="session")
def leaf(issuing_ca: Authority) -> Issued:
    return issuing_ca.issue(NAME)


def at(server: Server | HostilePeer, server_name: str | None = NAME, **more: object) -> Endpoint:
    return Endpoint("web", server.host, server.port, server_name, **more)  # type: ignore[arg-type]


def presented(observation: EndpointObservation) -> Presented:
    assert observation.failures == ()
    (only,) = observation.presented
    return only


def failure(observation: EndpointObservation) -> Unreachable:
    assert observation.presented == ()
    (only,) = observation.failures
    return only


def ders(found: Presented) -> list[bytes]:
    return [each.der for each in found.chain]


Resolver = Callable[[str, Sequence[str]], None]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Make a name resolve to addresses, in that order."""
    real = socket.getaddrinfo
    names: dict[str, Sequence[str]] = {}

    def fake(host: str, port: int | None, *args: Any, **options: Any) -> list[object]:
        return [each for address in names.get(host, [host]) for each in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return names.__setitem__


@contextmanager
def serving_tls(
    context: ssl.SSLContext,
    address: tuple[str, int],
    family: int = socket.AF_INET,
    agreed: list[str | None] | None = None,
) -> Iterator[None]:
    """Serve TLS with exactly that context; what clients do is no concern of it, but for the protocols agreed on."""
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.settimeout(5)
                    with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                        if agreed is not None:
                            agreed.append(tls.selected_alpn_protocol())
                        tls.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.server("nginx")
@pytest.mark.parametrize("kind", [KeyType.RSA2048, KeyType.P256])
@pytest.mark.parametrize("version", TLSVersion)
def test_every_version_is_spoken(
    tmp_path: Path, issuing_ca: Authority, start_nginx: StartServer[Nginx], version: TLSVersion, kind: KeyType
) -> None:
    issued = issuing_ca.issue(NAME, key=kind)
    server = start_nginx(write_site(str(tmp_path), issued), tls=TLSSettings(minimum=version, maximum=version))
    found = presented(by_uvloop(at(server)))
    assert (found.address, found.version) == (server.host, version)
    assert ders(found) == [each.der() for each in issued.chain]
    assert found.cipher
    assert found.group


@pytest.mark.server("lighttpd")
def test_the_drivers_see_the_same(tmp_path: Path, leaf: Issued, start_lighttpd: StartServer[Lighttpd]) -> None:
    server = start_lighttpd(write_site(str(tmp_path), leaf, separate_chain=True))
    seen = [by(at(server)) for by in DRIVERS]
    assert ders(presented(seen[0])) == [each.der() for each in leaf.chain]
    assert (seen[0].target, seen[0].at) == ("web", NOW)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.server("nginx")
def test_the_site_asked_for_is_presented(
    tmp_path: Path, leaf: Issued, issuing_ca: Authority, start_nginx: StartServer[Nginx], look_by: Look
) -> None:
    default = issuing_ca.issue("default.example.com")
    server = start_nginx(
        write_site(str(tmp_path), default, stem="default"), write_site(str(tmp_path), leaf, name=NAME, stem="named")
    )
    assert ders(presented(look_by(at(server))))[0] == leaf.der()
    assert ders(presented(look_by(at(server, server_name=None))))[0] == default.der()


@pytest.mark.server("nginx")
@pytest.mark.parametrize("version", TLSVersion)
def test_of_a_server_with_two_kinds_of_key_each_is_seen_that_is_asked_for(
    tmp_path: Path, issuing_ca: Authority, start_nginx: StartServer[Nginx], look_by: Look, version: TLSVersion
) -> None:
    pair = {
        KeyKind.RSA: issuing_ca.issue(NAME, key=KeyType.RSA2048),
        KeyKind.EC: issuing_ca.issue(NAME, key=KeyType.P256),
    }
    sites = [write_site(str(tmp_path), issued, stem=kind) for kind, issued in pair.items()]
    server = start_nginx(*sites, tls=TLSSettings(minimum=version, maximum=version))
    for kind, issued in pair.items():
        found = presented(look_by(at(server, key_types=(kind,))))
        assert (found.version, ders(found)[0]) == (version, issued.der())


@pytest.mark.parametrize(("kind", "other"), [(KeyKind.RSA, KeyType.P256), (KeyKind.EC, KeyType.RSA2048)])
def test_a_server_without_a_key_of_the_kind_that_is_asked_for_refuses_and_that_is_said(
    tmp_path: Path,
    issuing_ca: Authority,
    start_local: StartServer[LocalServer],
    kind: KeyKind,
    other: KeyType,
) -> None:
    site = write_site(str(tmp_path), issuing_ca.issue(NAME, key=other))
    for version in (TLSVersion.TLS1_2, TLSVersion.TLS1_3):
        server = start_local(site, tls=TLSSettings(minimum=version, maximum=version))
        found = failure(by_blocking(at(server, key_types=(kind,))))
        assert found.reason is UnreachableReason.HANDSHAKE_FAILED
        assert found.detail == (
            f"the server refused a client that takes {kind} keys only with the alert handshake_failure"
        )


@pytest.mark.server("nginx")
def test_the_chain_is_seen_as_presented_whatever_its_order(
    tmp_path: Path, root_ca: Authority, issuing_ca: Authority, leaf: Issued, start_nginx: StartServer[Nginx]
) -> None:
    site = write_site(str(tmp_path), leaf)
    shuffled = [leaf, root_ca, issuing_ca, root_ca]
    replace_file(site.certificate, bundle(shuffled))
    assert ders(presented(by_uvloop(at(start_nginx(site))))) == [each.der() for each in shuffled]


@pytest.mark.parametrize(
    "issue",
    [
        lambda ca: ca.issue(NAME, not_before=NOW - 90 * DAY, not_after=NOW - DAY),
        lambda ca: ca.issue("another.example.com", corrupt_signature=True),
        lambda _: self_signed(NAME, key=KeyType.RSA1024),
        lambda _: Authority.root("Nobody's").intermediate("Unknown").issue(NAME, signature_hash="sha1"),
    ],
    ids=["expired", "forged", "self-signed", "untrusted"],
)
def test_a_faulty_certificate_keeps_all_its_facts(
    tmp_path: Path, issuing_ca: Authority, start_local: StartServer[LocalServer], issue: Callable[[Authority], Issued]
) -> None:
    issued = issue(issuing_ca)
    found = presented(by_uvloop(at(start_local(write_site(str(tmp_path), issued)))))
    assert ders(found) == [each.der() for each in issued.chain]
    assert found.version == "TLSv1.3"
    assert found.chain[0].not_after is not None


@pytest.mark.parametrize(
    ("behaviour", "reason", "detail"),
    [
        (Behaviour.REFUSES, UnreachableReason.CONNECTION_REFUSED, "Connection refused"),
        (Behaviour.CLOSES, UnreachableReason.CONNECTION_CLOSED, "may not speak TLS on this port, or want STARTTLS"),
        (Behaviour.RESETS, UnreachableReason.CONNECTION_RESET, "may not speak TLS on this port, or want STARTTLS"),
        (Behaviour.ALERTS, UnreachableReason.HANDSHAKE_FAILED, "handshake_failure"),
        (Behaviour.PLAIN_HTTP, UnreachableReason.NOT_TLS, "HTTP"),
        (Behaviour.BANNER, UnreachableReason.NOT_TLS, "SSH"),
        (Behaviour.FLOODS, UnreachableReason.HANDSHAKE_FAILED, "excessive message size"),
    ],
)
def test_a_peer_that_is_no_tls_server_is_a_typed_failure(
    start_peer: Callable[[Behaviour], HostilePeer],
    look_by: Look,
    behaviour: Behaviour,
    reason: UnreachableReason,
    detail: str,
) -> None:
    peer = start_peer(behaviour)
    found = failure(look_by(at(peer)))
    assert (found.address, found.reason) == (peer.host, reason)
    assert detail in found.detail


@pytest.mark.parametrize("behaviour", [Behaviour.SILENT, Behaviour.DRIPS])
def test_a_peer_that_never_comes_to_an_end_is_left_in_time(
    start_peer: Callable[[Behaviour], HostilePeer], look_by: Look, behaviour: Behaviour
) -> None:
    started = time.monotonic()
    found = failure(look_by(at(start_peer(behaviour), timeout=0.3)))
    assert 0.25 < time.monotonic() - started < 3
    assert (found.reason, found.detail) == (UnreachableReason.TIMED_OUT, "no complete handshake within 0.3 s")


class Expectant:
    """A talk that takes whatever comes, and need not hear more."""

    outcome = None
    patience = 0.2

    def start(self) -> bytes:
        return b""

    def receive(self, _data: bytes) -> bytes:
        return b""


@pytest.mark.parametrize("blocking", [False, True])
def test_patience_ends_whatever_still_comes(start_peer: Callable[[Behaviour], HostilePeer], *, blocking: bool) -> None:
    peer, started = start_peer(Behaviour.DRIPS), time.monotonic()

    async def story() -> None:
        await converse(Expectant(), peer.host, peer.port, asyncio.get_running_loop().time() + 10)

    if blocking:
        converse_blocking(Expectant(), peer.host, peer.port, started + 10)
    else:
        asyncio.run(story())
    assert 0.15 < time.monotonic() - started < 3


def test_no_time_left_is_a_typed_failure(start_peer: Callable[[Behaviour], HostilePeer], look_by: Look) -> None:
    assert failure(look_by(at(start_peer(Behaviour.SILENT), timeout=0.0))).reason is UnreachableReason.TIMED_OUT


def test_an_address_without_a_route_is_a_typed_failure(look_by: Look) -> None:
    # TCP to the broadcast address never leaves the host.
    assert failure(look_by(Endpoint("web", "255.255.255.255", 443))).reason is UnreachableReason.NO_ROUTE


@pytest.mark.parametrize("behind", [False, True], ids=["server below the floor", "server above the ceiling"])
def test_no_version_in_common_is_a_typed_failure(
    tmp_path: Path, leaf: Issued, start_local: StartServer[LocalServer], look_by: Look, behind: bool
) -> None:
    old = TLSSettings(minimum=TLSVersion.TLS1_0, maximum=TLSVersion.TLS1_2 if behind else TLSVersion.TLS1_1)
    floor = TLSVersion.TLS1_3 if behind else TLSVersion.TLS1_2
    server = start_local(write_site(str(tmp_path), leaf), tls=old)
    assert failure(look_by(at(server, minimum_version=floor))).reason is UnreachableReason.PROTOCOL_VERSION
    assert presented(look_by(at(server))).version == old.maximum


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_certificate_of_ours_is_seen_all_the_same(
    tmp_path: Path, root_ca: Authority, leaf: Issued, look_by: Look, version: ssl.TLSVersion
) -> None:
    site = write_site(str(tmp_path), leaf)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.certificate, site.key)
    context.load_verify_locations(cadata=root_ca.pem().decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    host, port = free_address()
    with serving_tls(context, (host, port)):
        found = presented(look_by(Endpoint("web", host, port, NAME)))
    assert ders(found) == [each.der() for each in leaf.chain]
    assert found.version == ("TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
    assert found.cipher
    assert found.group


@pytest.mark.parametrize("host", ["a..b", "-", "x" * 70, "no such name", "\x1b[31m", "nul\0"])
def test_a_name_that_cannot_be_is_a_typed_failure(monkeypatch: pytest.MonkeyPatch, look_by: Look, host: str) -> None:
    real = socket.getaddrinfo

    def without_network(name: str, *args: object, **options: object) -> object:
        with suppress(socket.gaierror):
            real(name, None, flags=socket.AI_NUMERICHOST)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", without_network)
    found = failure(look_by(Endpoint("web", host, 443)))
    assert found.reason is UnreachableReason.NAME_NOT_FOUND
    assert found.address.isprintable()


def test_a_resolver_that_hangs_is_left_in_time(
    monkeypatch: pytest.MonkeyPatch, cleanup: ExitStack, look_by: Look
) -> None:
    answer = threading.Event()
    cleanup.callback(answer.set)

    def hang(*_: object, **__: object) -> list[object]:
        answer.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    found = failure(look_by(Endpoint("web", NAME, 443, timeout=0.2)))
    assert (found.address, found.reason) == (NAME, UnreachableReason.TIMED_OUT)
    assert "not resolved" in found.detail
    resolvers = [each for each in threading.enumerate() if each.name == "resolver"]
    assert resolvers, "or nothing hangs here"
    assert all(each.daemon for each in resolvers), "the interpreter waits for others at its exit"


def test_every_address_of_a_name_is_looked_at_once(
    tmp_path: Path, issuing_ca: Authority, cleanup: ExitStack, resolve: Resolver, look_by: Look
) -> None:
    leaf, other = issuing_ca.issue(NAME), issuing_ca.issue(NAME, key=KeyType.RSA2048)
    host, port = free_address()
    hosts = sorted([host, free_address()[0], free_address()[0]])
    for each, issued in zip(hosts[:2], (leaf, other), strict=True):
        site = write_site(str(tmp_path), issued, stem=each)
        cleanup.enter_context(LocalServer([site], address=(each, port)))
    resolve(NAME, [hosts[2], hosts[1], hosts[0], hosts[1]])
    observation = look_by(Endpoint("web", NAME, port))
    assert [(each.address, ders(each)[0]) for each in observation.presented] == [
        (hosts[0], leaf.der()),
        (hosts[1], other.der()),
    ]
    assert [(each.address, each.reason) for each in observation.failures] == [
        (hosts[2], UnreachableReason.CONNECTION_REFUSED)
    ]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="this host has no IPv6")
def test_ipv4_and_ipv6_are_both_looked_at(tmp_path: Path, leaf: Issued, resolve: Resolver, look_by: Look) -> None:
    site = write_site(str(tmp_path), leaf)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.certificate, site.key)
    host, _ = free_address()
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        port = probe.getsockname()[1]
    resolve(NAME, [host, "::1"])
    with serving_tls(context, (host, port)), serving_tls(context, ("::1", port), socket.AF_INET6):
        observation = look_by(Endpoint("web", NAME, port))
    assert [each.address for each in observation.presented] == [host, "::1"]
    assert observation.failures == ()


def test_ipv6_without_a_route_counts_only_where_nothing_answers(
    tmp_path: Path, leaf: Issued, start_local: StartServer[LocalServer], resolve: Resolver, look_by: Look
) -> None:
    server = start_local(write_site(str(tmp_path), leaf))
    # TCP to a multicast address never leaves the host.
    resolve(NAME, [server.host, "ff0e::1"])
    assert presented(look_by(Endpoint("web", NAME, server.port))).address == server.host
    server.stop()
    reasons = {each.address: each.reason for each in look_by(Endpoint("web", NAME, server.port)).failures}
    assert reasons == {
        server.host: UnreachableReason.CONNECTION_REFUSED,
        "ff0e::1": UnreachableReason.NO_ROUTE,
    }


def test_one_silent_address_does_not_hide_the_others(
    tmp_path: Path, leaf: Issued, cleanup: ExitStack, resolve: Resolver, look_by: Look
) -> None:
    site = write_site(str(tmp_path), leaf)
    host, port = free_address()
    silent = "127.0.0.1"
    with socket.socket() as listener:
        listener.bind((silent, port))
        listener.listen()
        cleanup.enter_context(LocalServer([site], address=(host, port)))
        resolve(NAME, [silent, host])
        observation = look_by(Endpoint("web", NAME, port, timeout=1.0))
    assert [each.address for each in observation.presented] == [host]
    assert [(each.address, each.reason) for each in observation.failures] == [(silent, UnreachableReason.TIMED_OUT)]


def test_too_many_addresses_are_said(resolve: Resolver, look_by: Look) -> None:
    _, port = free_address()
    resolve(NAME, [f"127.9.9.{number}" for number in range(1, MOST_ADDRESSES + 5)])
    *looked_at, cut = look_by(Endpoint("web", NAME, port)).failures
    assert len({each.address for each in looked_at}) == MOST_ADDRESSES
    assert (cut.address, cut.detail) == (NAME, "has 68 addresses, only 64 of them are looked at")


class AtForty(HAProxy):
    """HAProxy at forty addresses, beside its own, with the same port."""

    @property
    def hosts(self) -> list[str]:
        return [f"127.9.8.{number}" for number in range(10, 50)]

    def _config(self) -> str:
        everywhere = ",".join(f"{host}:{self.port}" for host in self.hosts)
        return super()._config() + f"    bind {everywhere} ssl crt {self.sites[0].certificate}\n"


@pytest.fixture(scope="module")
def at_forty(tmp_path_factory: pytest.TempPathFactory, leaf: Issued) -> Iterator[AtForty]:
    place = tmp_path_factory.mktemp("forty")
    combined = place / "site.pem"
    combined.write_bytes(leaf.key_pem() + leaf.chain_pem())
    with AtForty(str(place / "haproxy"), [Site(str(combined), str(combined))]) as server:
        yield server


@pytest.mark.server("haproxy")
def test_forty_addresses_are_looked_at_and_the_first_that_answers_alone_where_that_is_wanted(
    at_forty: AtForty, resolve: Resolver, look_by: Look
) -> None:
    port, forty = at_forty.port, at_forty.hosts
    resolve(NAME, ["ff0e::1", *reversed(forty)])
    observation = look_by(Endpoint("web", NAME, port))
    assert observation.failures == ()
    assert [each.address for each in observation.presented] == forty
    assert observation.failures == ()
    first = look_by(Endpoint("web", NAME, port, addresses=AddressChoice.FIRST))
    assert presented(first).address == forty[0]
    six = failure(look_by(Endpoint("web", NAME, port, addresses=AddressChoice.IPV6)))
    assert (six.address, six.reason) == ("ff0e::1", UnreachableReason.NO_ROUTE)
    four = look_by(Endpoint("web", NAME, port, addresses=AddressChoice.IPV4))
    assert [each.address for each in four.presented] == forty
    resolve(NAME, forty[:1])
    none = failure(look_by(Endpoint("web", NAME, port, addresses=AddressChoice.IPV6)))
    assert (none.reason, none.detail) == (UnreachableReason.NAME_NOT_FOUND, "the name has no IPv6 address")


def test_the_first_that_answers_is_sought_past_those_that_refuse_or_say_nothing(
    tmp_path: Path, leaf: Issued, start_local: StartServer[LocalServer], resolve: Resolver, look_by: Look
) -> None:
    server = start_local(write_site(str(tmp_path), leaf))
    refusing, silent = sorted(("127.0.0.2", "127.0.0.3"))
    with socket.socket() as listener:
        listener.bind((silent, server.port))
        listener.listen()
        resolve(NAME, [server.host, silent, refusing])
        found = look_by(Endpoint("web", NAME, server.port, timeout=1.5, addresses=AddressChoice.FIRST))
        assert presented(found).address == server.host
        resolve(NAME, [silent, refusing])
        dark = look_by(Endpoint("web", NAME, server.port, timeout=0.4, addresses=AddressChoice.FIRST))
    assert [(each.address, each.reason) for each in dark.failures] == [
        (refusing, UnreachableReason.CONNECTION_REFUSED),
        (silent, UnreachableReason.TIMED_OUT),
    ]


@pytest.mark.server("nginx")
def test_both_keys_of_a_server_are_seen_by_one_look(
    tmp_path: Path, issuing_ca: Authority, start_nginx: StartServer[Nginx], look_by: Look
) -> None:
    pair = [issuing_ca.issue(NAME, key=kind) for kind in (KeyType.RSA2048, KeyType.P256)]
    server = start_nginx(*(write_site(str(tmp_path), issued, stem=str(number)) for number, issued in enumerate(pair)))
    observation = look_by(at(server, key_types=(KeyKind.RSA, KeyKind.EC)))
    assert [(each.address, ders(each)[0]) for each in observation.presented] == [
        (server.host, issued.der()) for issued in pair
    ]
    assert observation.failures == ()
    server.stop()
    assert failure(look_by(at(server, key_types=(KeyKind.RSA, KeyKind.EC)))).address == server.host


def test_a_key_that_a_server_lacks_is_said_beside_the_other(
    tmp_path: Path, leaf: Issued, start_local: StartServer[LocalServer], look_by: Look
) -> None:
    server = start_local(write_site(str(tmp_path), leaf))
    observation = look_by(at(server, key_types=(KeyKind.RSA, KeyKind.EC)))
    assert [ders(each)[0] for each in observation.presented] == [leaf.der()]
    assert [each.detail for each in observation.failures] == [
        "the server refused a client that takes rsa keys only with the alert handshake_failure"
    ]


@pytest.mark.server("nginx")
def test_without_sni_the_default_site_is_presented_whatever_name_is_to_be_verified(
    tmp_path: Path, leaf: Issued, issuing_ca: Authority, start_nginx: StartServer[Nginx], look_by: Look
) -> None:
    default = issuing_ca.issue("default.example.com")
    server = start_nginx(
        write_site(str(tmp_path), default, stem="default"), write_site(str(tmp_path), leaf, name=NAME, stem="named")
    )
    assert ders(presented(look_by(at(server))))[0] == leaf.der()
    assert ders(presented(look_by(at(server, sni=False))))[0] == default.der()


def test_it_connects_from_the_address_that_is_given_and_says_so_where_this_host_lacks_it(look_by: Look) -> None:
    with socket.create_server(free_address()) as listener:
        host, port = listener.getsockname()
        callers: list[str] = []

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, (caller, _) = listener.accept()
                    callers.append(caller)
                    connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        look_by(Endpoint("web", host, port, source_address="127.0.0.77"))
        lacking = failure(look_by(Endpoint("web", host, port, source_address="192.0.2.1")))
        other = failure(look_by(Endpoint("web", host, port, source_address="::1")))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert callers == ["127.0.0.77"]
    assert (lacking.reason, lacking.detail) == (
        UnreachableReason.NO_ROUTE,
        "this host does not have the source address 192.0.2.1",
    )
    assert other.detail == "it has no address of the kind of the source address ::1"


def test_postgres_is_offered_its_own_protocol_where_tls_begins_at_once(
    tmp_path: Path, leaf: Issued, look_by: Look
) -> None:
    site = write_site(str(tmp_path), leaf)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.certificate, site.key)
    context.set_alpn_protocols(["postgresql"])
    agreed: list[str | None] = []
    with serving_tls(context, address := free_address(), agreed=agreed):
        for protocol in (EndpointProtocol.POSTGRES_DIRECT, EndpointProtocol.TLS):
            assert ders(presented(look_by(Endpoint("db", *address, NAME, protocol=protocol))))[0] == leaf.der()
    assert agreed == ["postgresql", None]


def test_server_logs_stay_clean(tmp_path: Path, leaf: Issued, start_lighttpd: StartServer[Lighttpd]) -> None:
    server = start_lighttpd(write_site(str(tmp_path), leaf))
    before = Path(server.log_file).read_bytes()
    for by in DRIVERS:
        presented(by(at(server)))
    server.reload()
    assert b"(mod_openssl" not in Path(server.log_file).read_bytes().removeprefix(before)


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_many_looks_at_once_leave_nothing_behind(
    tmp_path: Path,
    leaf: Issued,
    start_local: StartServer[LocalServer],
    start_peer: Callable[[Behaviour], HostilePeer],
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    good = at(start_local(write_site(str(tmp_path), leaf)))
    endpoints = [good, *(at(start_peer(each), timeout=5.0) for each in (Behaviour.RESETS, Behaviour.CLOSES))]
    complaints: list[object] = []

    async def many(silent: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        presented(await look(good, NOW))
        before, tasks = _open_files(), len(asyncio.all_tasks())
        cancelled = [asyncio.create_task(look(each, NOW)) for each in [*endpoints, silent] * 10]
        for number in range(5):
            await asyncio.sleep(0)
            for each in cancelled[number::5]:
                each.cancel()
        looks = await asyncio.gather(*(look(endpoints[number % 3], NOW) for number in range(200)))
        await asyncio.gather(*cancelled, return_exceptions=True)
        assert sum(len(each.presented) for each in looks) == 67
        assert len(asyncio.all_tasks()) == tasks
        # The servers are in this process, and their ends count, too.
        await asyncio.to_thread(wait_for, lambda: _open_files() <= before, 5.0, "closing every socket")

    with socket.create_server(("127.0.0.1", 0)) as listener, asyncio.Runner(loop_factory=loop_factory) as runner:
        # Nobody accepts: the kernel does, and holds no file of ours.
        runner.run(many(Endpoint("silent", *listener.getsockname())))
    assert complaints == []


def test_blocking_looks_leave_nothing_behind(
    tmp_path: Path, leaf: Issued, start_local: StartServer[LocalServer], start_peer: Callable[[Behaviour], HostilePeer]
) -> None:
    endpoints = [at(start_local(write_site(str(tmp_path), leaf))), at(start_peer(Behaviour.RESETS))]
    before = _open_files()
    for endpoint in endpoints * 10:
        look_blocking(endpoint, NOW)
    wait_for(lambda: _open_files() <= before, 5.0)
