"""Looks through proxies, and to servers that expect the header of the PROXY protocol."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from config.model import Endpoint, Proxy
from config.vocabulary import EndpointProtocol, ProxyKind, ProxyProtocolVersion, UnreachableReason
from monitor.lab.ca import Authority
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, Nginx, Site, write_site
from probes.http.drive import fetch
from probes.http.exchange import NoResponse, Response
from probes.tls.preamble.chained import Chained
from probes.tls.preamble.credentials import Credentials, NoCredentials, read_credentials
from probes.tls.preamble.proxy import Socks5, http_connect
from probes.tls.preamble.proxy_protocol import ProxyHeader
from probes.tls.preamble.registry import preamble_of
from probes.tls.preamble.talk import Agreed, Declined, Preamble
from tests.kit.answering_server import AnsweringServer, page
from tests.kit.drivers import DRIVERS
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.probe_requests import Resolver
from tests.kit.proxies import PASSWORD, USER, started
from tests.kit.starttls_servers import DOMAIN, server_of

V6 = bytes.fromhex("20010db8000000000000000000000001")
GRANTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"


KINDS = [
    pytest.param(ProxyKind.HTTP, marks=pytest.mark.server("tinyproxy")),
    pytest.param(ProxyKind.SOCKS5, marks=pytest.mark.server("microsocks")),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_is_seen_through_a_proxy_that_resolves_its_name(
    kind: ProxyKind, tmp_path: Path, issuing_ca: Authority
) -> None:
    leaf = issuing_ca.issue(DOMAIN)
    site = write_site(str(tmp_path), leaf)
    with started(kind, tmp_path) as proxy, LocalServer([site], address=("127.0.0.1", free_address()[1])) as server:
        for host in (server.host, "localhost"):
            for by in DRIVERS:
                seen = by(Endpoint("it", host, server.port, DOMAIN, proxy=proxy))
                assert seen.failures == ()
                (presented,) = seen.presented
                assert (presented.address, presented.chain[0].der) == (host, leaf.der())
        closed = Endpoint("it", *free_address(), DOMAIN, proxy=proxy)
        for by in DRIVERS:
            (failure,) = by(closed).failures
            by_server = kind is ProxyKind.SOCKS5
            reason = UnreachableReason.CONNECTION_REFUSED if by_server else UnreachableReason.PROXY_FAILED
            assert failure.reason is reason
            assert failure.detail.startswith("the proxy ")


@pytest.mark.server("microsocks")
def test_whatever_is_asked_goes_by_the_first_address_of_a_proxy_that_answers(
    tmp_path: Path, issuing_ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, local = write_site(str(tmp_path), issuing_ca.issue(DOMAIN)), ("127.0.0.1", free_address()[1])
    with (
        started(ProxyKind.SOCKS5, tmp_path) as proxy,
        AnsweringServer(site, lambda _path: [page("200 OK")], local) as server,
        closing("127.0.0.9", proxy.port) as first,
    ):
        Resolver(monkeypatch, [first, proxy.host])
        through = Proxy(proxy.kind, "rebinding.example.com", proxy.port)
        endpoint = Endpoint("it", server.host, server.port, DOMAIN, proxy=through)
        for by in DRIVERS:
            assert by(endpoint).failures == ()
        fetched = asyncio.run(fetch(server.host, endpoint, "/", 5.0))
        assert isinstance(fetched.answer, Response)
        unresolved = replace(endpoint, proxy=replace(through, host="a..b"))
        assert asyncio.run(fetch(server.host, unresolved, "/", 5.0)).answer == NoResponse("this is not a host name")


@contextmanager
def closing(host: str, port: int) -> Iterator[str]:
    """Take connections there, and close them without a word."""
    peer = HostilePeer(Behaviour.CLOSES)
    peer.host, peer.port = host, port
    with peer:
        yield host


@pytest.mark.skipif(os.getuid() != 0, reason="dovecot is started by root")
@pytest.mark.server("dovecot")
@pytest.mark.parametrize("kind", KINDS)
def test_starttls_begins_behind_a_proxy(
    kind: ProxyKind, tmp_path: Path, issuing_ca: Authority, cleanup: ExitStack
) -> None:
    leaf = issuing_ca.issue(DOMAIN)
    # Dovecot's sockets have long names.
    directory = cleanup.enter_context(TemporaryDirectory())
    os.chmod(directory, 0o755)
    server = server_of(EndpointProtocol.IMAP, f"{directory}/server", write_site(directory, leaf))
    proxy = cleanup.enter_context(started(kind, tmp_path))
    cleanup.enter_context(server)
    for by in DRIVERS:
        seen = by(Endpoint("it", server.host, server.port, DOMAIN, protocol=EndpointProtocol.IMAP, proxy=proxy))
        assert (seen.failures, [each.chain[0].der for each in seen.presented]) == ((), [leaf.der()])


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_is_given_the_user_and_the_password_in_a_file_and_no_message_has_them(
    kind: ProxyKind, tmp_path: Path, issuing_ca: Authority
) -> None:
    leaf, secret = issuing_ca.issue(DOMAIN), tmp_path / "credentials"
    said: list[str] = []
    with (
        started(kind, tmp_path, for_users=True) as proxy,
        LocalServer([write_site(str(tmp_path), leaf)], address=("127.0.0.1", free_address()[1])) as server,
    ):
        for by in DRIVERS:
            endpoint = Endpoint("it", server.host, server.port, DOMAIN, proxy=proxy)
            (failure,) = by(endpoint).failures
            assert failure.reason is UnreachableReason.PROXY_FAILED
            assert failure.detail.endswith(
                "wants a user and a password, and there is no file with them (proxy_credentials_file)"
            )
            endpoint = replace(endpoint, proxy=replace(proxy, credentials_file=str(secret)))
            secret.write_text(f"{USER}:{PASSWORD}\n")
            seen = by(endpoint)
            assert (seen.failures, [each.chain[0].der for each in seen.presented]) == ((), [leaf.der()])
            secret.write_text(f"{USER}:wrong-{PASSWORD}\n")
            (failure,) = by(endpoint).failures
            assert failure.detail == "the proxy refuses the user and the password that it is given"
            secret.write_text(f"{USER}\n{PASSWORD}\n")
            (unasked,) = by(endpoint).failures
            assert (unasked.reason, unasked.detail) == (
                UnreachableReason.PROXY_FAILED,
                f"the proxy was not asked: {secret} is not one line of USER:PASSWORD, each of 255 bytes at most",
            )
            secret.unlink()
            (unread,) = by(endpoint).failures
            assert unread.detail == (
                f"the proxy was not asked: its credentials in {secret} cannot be read: No such file or directory"
            )
            said += [failure.detail, unasked.detail, unread.detail, repr(endpoint)]
    assert PASSWORD not in repr(read_credentials(str(secret))) + " ".join(said)


def test_a_secret_is_in_no_representation(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_bytes(b"prober:s:cret\r\n")
    found = read_credentials(str(path))
    assert isinstance(found, Credentials)
    assert (found.user, found.password) == (b"prober", b"s:cret")
    assert "s:cret" not in repr(found)


@pytest.mark.parametrize("content", [b"", b"alone", b":password", b"user:", b"u:p\nx", b"u\x00:p", b"u:" + b"p" * 256])
def test_a_file_that_is_not_one_line_of_user_and_password_is_not_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "credentials"
    path.write_bytes(content)
    assert isinstance(read_credentials(str(path)), NoCredentials)


def test_a_proxy_that_does_not_run_is_said_by_its_address() -> None:
    proxy = Proxy(ProxyKind.SOCKS5, *free_address())
    for by in DRIVERS:
        (failure,) = by(Endpoint("it", "www.example.com", 443, proxy=proxy)).failures
        assert failure.reason is UnreachableReason.PROXY_FAILED
        assert failure.detail == f"the proxy {proxy.url}: Connection refused"
        assert failure.address == "www.example.com"


class NginxBehindBalancer(Nginx):
    """nginx, which takes no connection without a header of the PROXY protocol."""

    def _server_block(self, name: str, sites: list[Site]) -> str:  # type: ignore[override]
        return super()._server_block(name, sites).replace(" ssl", " ssl proxy_protocol", 1)


@pytest.mark.server("nginx")
@pytest.mark.parametrize("version", ProxyProtocolVersion)
def test_a_server_behind_a_load_balancer_takes_the_header(
    version: ProxyProtocolVersion, tmp_path: Path, issuing_ca: Authority
) -> None:
    assert shutil.which("nginx")
    leaf = issuing_ca.issue(DOMAIN)
    with NginxBehindBalancer(str(tmp_path / "nginx"), [write_site(str(tmp_path), leaf)]) as server:
        for by in DRIVERS:
            seen = by(Endpoint("it", server.host, server.port, DOMAIN, proxy_protocol=version))
            assert (seen.failures, [each.chain[0].der for each in seen.presented]) == ((), [leaf.der()])
            (failure,) = by(Endpoint("it", server.host, server.port, DOMAIN, timeout=2.0)).failures
            assert failure.reason in {UnreachableReason.CONNECTION_CLOSED, UnreachableReason.CONNECTION_RESET}


@pytest.mark.parametrize(
    ("make", "sent", "said"),
    [
        (
            lambda: http_connect("2001:db8::1", 443),
            b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n",
            [b"HTTP/1.1 200 Connection established\r\nVia: it\r\n\r\n"],
        ),
        (lambda: http_connect("it", 1), b"CONNECT it:1 HTTP/1.1\r\nHost: it:1\r\n\r\n", [b"HTTP/1.0 200 OK\n\n"]),
        (lambda: http_connect("it", 1), b"CONNECT it:1 HTTP/1.1\r\nHost: it:1\r\n\r\n", [b"HTTP/1.1 200\r\n\r\n"]),
        (lambda: Socks5("it", 443), b"\x05\x01\x00\x05\x01\x00\x03\x02it\x01\xbb", [b"\x05\x00", GRANTED]),
        (
            lambda: http_connect("it", 1, Credentials(b"Aladdin", b"open sesame")),
            b"CONNECT it:1 HTTP/1.1\r\nHost: it:1\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
            [b"HTTP/1.0 200 OK\n\n"],
        ),
        (
            lambda: Socks5("it", 443, Credentials(b"me", b"pw")),
            b"\x05\x02\x00\x02\x01\x02me\x02pw\x05\x01\x00\x03\x02it\x01\xbb",
            [b"\x05\x02", b"\x01\x00", GRANTED],
        ),
        (
            lambda: Socks5("it", 443, Credentials(b"me", b"pw")),
            b"\x05\x02\x00\x02\x05\x01\x00\x03\x02it\x01\xbb",
            [b"\x05\x00", GRANTED],
        ),
        (
            lambda: Socks5("192.0.2.1", 443),
            b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb",
            [b"\x05\x00", b"\x05\x00\x00\x03\x02it\x01\xbb"],
        ),
        (
            lambda: Socks5("2001:db8::1", 443),
            b"\x05\x01\x00\x05\x01\x00\x04" + V6 + b"\x01\xbb",
            [b"\x05\x00", b"\x05\x00\x00\x04" + V6 + b"\x01\xbb"],
        ),
    ],
)
def test_a_proxy_is_asked_and_agrees_byte_by_byte(make: Callable[[], Preamble], sent: bytes, said: list[bytes]) -> None:
    talk = make()
    heard = talk.start()
    whole = b"".join(said)
    for at in range(len(whole)):
        assert talk.outcome is None
        heard += talk.receive(whole[at : at + 1])
    assert (heard, talk.outcome) == (sent, Agreed())


@pytest.mark.parametrize(
    ("make", "said", "why"),
    [
        (lambda: http_connect("it", 1), b"HTTP/1.1 403 Forbidden\r\n\r\n", "answers CONNECT with the code 403"),
        (lambda: http_connect("it", 1), b"HTTP/1.1 407 Who\r\n\r\n", "wants a user and a password"),
        (lambda: http_connect("it", 1), b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
        (lambda: http_connect("it", 1), b"\x05\xff", "does not speak HTTP"),
        (lambda: Socks5("it", 1), b"\x05\xff", "wants a user and a password"),
        (lambda: Socks5("it", 1), b"\x05\x02", "wants a user and a password"),
        (lambda: Socks5("it", 1, Credentials(b"u", b"p")), b"\x05\xff", "refuses the user and the password"),
        (lambda: http_connect("it", 1, Credentials(b"u", b"p")), b"HTTP/1.1 407 Who\r\n\r\n", "refuses the user and"),
        (lambda: Socks5("it", 1), b"HTTP/1.1 400 Bad\r\n", "does not speak SOCKS 5"),
        (lambda: Socks5("it", 1), b"\x04", "does not speak SOCKS 5"),
    ],
)
def test_a_proxy_that_does_not_is_said(make: Callable[[], Preamble], said: bytes, why: str) -> None:
    talk = make()
    talk.start()
    talk.receive(said)
    assert isinstance(talk.outcome, Declined)
    assert talk.outcome.by_proxy
    assert talk.outcome.why.startswith(why)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"\x05\x02", "does not permit this connection"),
        (b"\x05\x05", "was refused the connection"),
        (b"\x05\x06", "waited in vain for the connection"),
        (b"\x05\x63", "failed"),
        (b"\x05\x00\x00\x07\x00", "does not speak SOCKS 5"),
        (b"\x04\x00", "does not speak SOCKS 5"),
    ],
)
def test_a_socks_proxy_that_gives_no_connection_is_said(reply: bytes, why: str) -> None:
    socks = Socks5("it", 1)
    socks.start()
    socks.receive(b"\x05\x00")
    socks.receive(reply)
    refused, late = UnreachableReason.CONNECTION_REFUSED, UnreachableReason.TIMED_OUT
    reason = {b"\x05\x05": refused, b"\x05\x06": late}.get(reply)
    assert socks.outcome == Declined(why, by_proxy=True, reason=reason)


def chained(*before: Preamble, protocol: EndpointProtocol = EndpointProtocol.TLS) -> Chained:
    last = preamble_of(protocol, DOMAIN)
    return Chained([*before, *([] if last is None else [last])])


def test_a_greeting_that_came_with_the_proxy_s_answer_is_the_server_s() -> None:
    talk = chained(http_connect("it", 25), ProxyHeader(ProxyProtocolVersion.V1), protocol=EndpointProtocol.SMTP)
    assert talk.start().startswith(b"CONNECT it:25 ")
    sent = talk.receive(b"HTTP/1.1 200 OK\r\n\r\n220 it\r\n")
    assert sent == b"PROXY UNKNOWN\r\nEHLO certvigil.invalid\r\n"
    assert talk.receive(b"250 STARTTLS\r\n") == b"STARTTLS\r\n"
    talk.receive(b"220 begin\r\n")
    assert talk.outcome == Agreed()


def test_bytes_behind_the_proxy_s_answer_are_no_beginning_of_tls() -> None:
    talk = chained(Socks5("it", 443))
    talk.start()
    talk.receive(b"\x05\x00")
    talk.receive(GRANTED + b"injected")
    assert talk.outcome == Declined("sent more in the clear behind its agreement to begin TLS")


def test_what_the_proxy_declines_ends_all() -> None:
    talk = chained(http_connect("it", 25), protocol=EndpointProtocol.SMTP)
    talk.start()
    talk.receive(b"HTTP/1.1 502 Bad\r\n\r\n220 it\r\n")
    assert talk.outcome == Declined("answers CONNECT with the code 502", by_proxy=True)
