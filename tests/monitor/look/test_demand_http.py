"""What `/probe` makes of web servers: it asks them, judges what they answer, and follows nowhere that it may not."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from config.model import Endpoint
from monitor.lab.ca import Authority, self_signed
from monitor.lab.process import free_address
from monitor.lab.servers import write_site
from monitor.metrics.probed import Probed
from probes.http.exchange import MOST_BODY
from tests.kit.answering_server import Answer, AnsweringServer, page
from tests.kit.blackbox import Blackbox
from tests.kit.metrics import samples, value
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.probe_requests import NAME, Resolver, Surround, endpoint, probe, refused, text, trust_context_of

Start = Callable[..., AnsweringServer]


@pytest.fixture
def surround(tmp_path: Path, root_ca: Authority) -> Surround:
    return trust_context_of(tmp_path, root_ca)


@pytest.fixture
def answering(cleanup: ExitStack, issuing_ca: Authority, tmp_path: Path) -> Start:
    """Start a server of a certificate for NAME, that answers so."""

    def start(
        answer: Answer | bytes, *, trusted: bool = True, address: tuple[str, int] | None = None
    ) -> AnsweringServer:
        issued = issuing_ca.issue(NAME) if trusted else self_signed(NAME)
        site = write_site(str(tmp_path / f"site{time.monotonic_ns()}"), issued)
        given = (lambda _path: [answer]) if isinstance(answer, bytes) else answer
        return cleanup.enter_context(AnsweringServer(site, given, address))

    return start


def asked(trust_context: Any, target: str, module: str = "http_2xx", seconds: float = 10.0) -> Probed:
    found = probe(trust_context, target, module, seconds)
    assert isinstance(found, Probed), found
    return found


LAST_MODIFIED: Final = "Last-Modified: Sat, 28 Nov 2026 08:00:00 GMT"
PAGES: Final = {
    "/": page("200 OK", b"hello", LAST_MODIFIED),
    "/empty": page("204 No Content"),
    "/moved": page("301 Moved Permanently", b"", "Location: /"),
    "/twice": page("302 Found", b"", "Location: /moved"),
    "/missing": page("404 Not Found", b"nothing here"),
    "/down": page("503 Service Unavailable", b"later"),
    "/to-down": page("307 Temporary Redirect", b"", "Location: down"),
    "/old": b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
}
SAME: Final = (
    *("probe_success", "probe_http_status_code", "probe_http_version", "probe_http_redirects", "probe_http_ssl"),
    *("probe_http_uncompressed_body_length", "probe_http_last_modified_timestamp_seconds", "probe_ip_addr_hash"),
    *("probe_ip_protocol", "probe_http_content_length", "probe_ssl_earliest_cert_expiry"),
)


def facts(told: str) -> dict[str, float]:
    return {name: number for (name, _), number in samples(told).items() if name in SAME and number != -1}


def phases(told: str) -> set[str]:
    return {
        dict(labels)["phase"] for (name, labels), _ in samples(told).items() if name == "probe_http_duration_seconds"
    }


@pytest.mark.server("prometheus-blackbox-exporter")
@pytest.mark.server("promtool")
def test_blackbox_exporter_says_the_same_of_every_answer(
    surround: Surround, answering: Start, cleanup: ExitStack, root_ca: Authority, tmp_path: Path
) -> None:
    """`/probe?module=http_2xx` said 1 of a server that says 503."""
    server = answering(lambda path: [PAGES[path]])
    (tmp_path / "ca.pem").write_bytes(root_ca.pem())
    blackbox = cleanup.enter_context(Blackbox(str(tmp_path / "blackbox"), str(tmp_path / "ca.pem"), NAME))
    trust_context = surround(endpoint(server))
    for module, path in itertools.product(("https", "http_2xx"), PAGES):
        target = f"https://{server.address}{path}"
        theirs, ours = blackbox.probe(target, module), text(trust_context, target, module)
        assert facts(ours) == facts(theirs), (module, path)
        assert phases(ours) == phases(theirs)
        assert value(ours, "probe_dns_lookup_time_seconds") is not None
        assert value(ours, "probe_success") == value(ours, "ssl_probe_success")
    assert value(text(trust_context, f"https://{server.address}/down", "http_2xx"), "probe_success") == 0


def test_what_is_asked_for_is_what_the_target_names(surround: Surround, answering: Start) -> None:
    server = answering(PAGES["/"])
    trust_context = surround(endpoint(server))
    for target in ("web", server.address, f"https://{server.address}", f"https://{server.address}/a%20b/é?q=1 2#no"):
        assert asked(trust_context, target).accepted
    assert server.paths == ["/", "/", "/", "/a%20b/%C3%A9?q=1%202"]
    lines = server.requests[-1].decode().split("\r\n")
    assert f"Host: {NAME}:{server.port}" in lines
    assert "Connection: close" in lines


def test_only_a_module_that_asks_succeeds_by_an_answer(surround: Surround, answering: Start) -> None:
    """A mail server completes the handshake, and is no web server."""
    trust_context = surround(endpoint(answering(b"* OK IMAP4rev1 ready\r\n")))
    for module in ("tls", "tcp", "tls_connect"):
        assert asked(trust_context, "web", module).accepted
    for module in ("https", "http_2xx"):
        assert not asked(trust_context, "web", module).accepted


def test_plain_http_is_refused_by_its_name(surround: Surround) -> None:
    why = refused(surround(Endpoint("web", "127.0.0.1", 80)), "http://127.0.0.1:80/", "http_2xx")
    assert why == "certvigil looks at TLS: a target of http:// is not probed"


def redirect(location: str) -> bytes:
    return page("302 Found", b"", f"Location: {location}")


def test_a_redirect_to_where_it_may_not_look_is_not_followed(
    surround: Surround,
    answering: Start,
    start_peer: Callable[[Behaviour], HostilePeer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = start_peer(Behaviour.CLOSES)
    Resolver(monkeypatch, [peer.host])
    places = [
        f"https://{peer.host}:{peer.port}/",
        f"//{peer.host}:{peer.port}/",
        f"http://{peer.host}:{peer.port}/",
        # Its port is allowed in all the world, which does not mean loopback.
        f"https://rebinding.example.com:{peer.port}/",
        *("file:///etc/passwd", "https://[::1", "gopher://x", f"https://{'a' * 9000}/"),
    ]
    for location in places:
        server = answering(redirect(location))
        page = text(surround(endpoint(server), allow=("0.0.0.0/0", "::/0"), ports=[peer.port]), "web", "http_2xx")
        assert value(page, "probe_success") == 0
        assert value(page, "probe_http_status_code") == 302
        assert value(page, "probe_http_redirects") == (len(location) < 9000)
        assert len(server.requests) == 1
    assert peer.connections == 0


def test_a_redirect_to_where_it_may_look_is_followed_and_judged_there(surround: Surround, answering: Start) -> None:
    for onward, good in ((answering(PAGES["/"]), False), (answering(PAGES["/"], trusted=False), False)):
        server = answering(redirect(f"https://{onward.address}/there"))
        page = text(surround(endpoint(server), allow=["127.0.0.0/8"], ports=[onward.port]), "web", "http_2xx")
        # It is asked for by its address, which stands in neither certificate.
        assert onward.paths == ["/there"]
        assert (value(page, "probe_success"), value(page, "probe_http_status_code")) == (good, 200)
    onward = answering(PAGES["/"])
    server = answering(redirect(f"https://{onward.address}/there"))
    trust_context = surround(endpoint(server), endpoint(onward, "onward"))
    assert asked(trust_context, "web").accepted
    trust_context = surround(endpoint(server), endpoint(answering(PAGES["/"], trusted=False), "onward"))
    assert not asked(trust_context, "web").accepted


def test_a_redirect_to_an_endpoints_own_name_stays_at_its_address(
    surround: Surround, answering: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = free_address()
    home = redirect(f"https://{NAME}:{port}/home")
    server = answering(lambda path: [PAGES["/"] if path == "/home" else home], address=(host, port))
    found = asked(surround(endpoint(server)), "web")
    assert found.accepted
    assert server.paths == ["/", "/home"]


def test_redirects_without_end_have_one(surround: Surround, answering: Start) -> None:
    server = answering(redirect("/again"))
    page = text(surround(endpoint(server)), "web", "http_2xx")
    assert (value(page, "probe_success"), value(page, "probe_http_redirects")) == (0, 11)
    assert len(server.requests) == 11


def test_the_address_that_answers_worst_speaks_for_all(
    surround: Surround, answering: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = answering(PAGES["/"])
    host, port = "127.9.9.9", good.port
    bad = answering(PAGES["/down"], address=(host, port))
    Resolver(monkeypatch, [good.host, bad.host])
    web = Endpoint("web", "rebinding.example.com", port, NAME, clients=("default",))
    page = text(surround(web), "web", "http_2xx")
    assert (value(page, "probe_success"), value(page, "probe_http_status_code")) == (0, 503)


def forever(first: bytes, then: bytes, pause: float = 0.0) -> Answer:
    def pieces(_path: str) -> Iterator[bytes]:
        yield first
        while True:
            time.sleep(pause)
            yield then

    return pieces


HOSTILE: Final = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "binary": bytes(range(256)) * 64,
    "a status that is none": b"HTTP/1.1 99999 What\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\nhello",
    "less than announced": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
    "a chunk that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a header without a name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "a header that is too long": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "headers without end": forever(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100),
    "a head of single bytes": forever(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.01),
    "a body of single bytes": forever(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.01),
    "continuing without end": forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_answer_is_no_success_and_soon_over(
    surround: Surround, answering: Start, answer: Answer | bytes
) -> None:
    server = answering(answer)
    begun = time.monotonic()
    found = asked(surround(endpoint(server)), "web", seconds=1.0)
    assert time.monotonic() - begun < 5
    assert not found.accepted
    assert value(found.text().decode(), "probe_http_status_code") == 0
    # The handshake was one all the same.
    assert found.observation.presented


def test_of_a_body_without_end_no_more_is_read_than_is_wanted(surround: Surround, answering: Start) -> None:
    sent = 0

    def endless(_path: str) -> Iterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            sent += 16_384
            yield bytes(16_384)

    found = asked(surround(endpoint(answering(endless))), "web")
    assert found.accepted
    assert value(found.text().decode(), "probe_http_uncompressed_body_length") is None
    # What the kernel holds on either side comes on top.
    assert MOST_BODY < sent < 16 * MOST_BODY


def test_a_server_that_wants_a_certificate_of_ours_gives_no_answer(
    surround: Surround, answering: Start, root_ca: Authority, tmp_path: Path
) -> None:
    server = answering(PAGES["/"])
    (tmp_path / "clients.pem").write_bytes(root_ca.pem())
    server.context.load_verify_locations(tmp_path / "clients.pem")
    server.context.verify_mode = server.context.verify_mode.CERT_REQUIRED
    trust_context = surround(endpoint(server))
    assert not asked(trust_context, "web").accepted
    assert asked(trust_context, "web", "tls").accepted


def test_no_more_time_passes_than_prometheus_waits(surround: Surround, answering: Start) -> None:
    server = answering(forever(b"", b"", 0.01))
    found = asked(surround(endpoint(server)), "web", seconds=0.5)
    assert found.seconds < 2
    assert found.asked is not None
    assert re.fullmatch(r"NoResponse\(why='no whole answer within 0\.\d+ s'\)", str(found.asked.answer))


def test_the_certificates_that_a_web_server_hands_out_are_told(
    surround: Surround, answering: Start, root_ca: Authority, issuing_ca: Authority
) -> None:
    bundle = root_ca.pem() + issuing_ca.pem()
    pages = {"/ca.pem": page("200 OK", bundle), "/none.pem": page("200 OK", b"none"), "/gone": page("404 Not Found")}
    pages["/moved"] = page("302 Found", b"", "Location: /ca.pem")
    server = answering(lambda path: [pages[path]])
    trust_context = surround(endpoint(server))

    def fetched(path: str) -> str:
        return text(trust_context, f"https://{server.address}{path}", "http_file")

    for path in ("/ca.pem", "/moved"):
        found = fetched(path)
        assert value(found, "ssl_probe_success") == 1
        assert value(found, "ssl_prober", prober="http_file") == 1
        names = {dict(labels)["cn"] for name, labels in samples(found) if name == "ssl_cert_not_after"}
        assert names == {"Lab Root CA", "Lab Issuing CA"}
    for path in ("/none.pem", "/gone"):
        found = fetched(path)
        assert value(found, "ssl_probe_success") == 0
        assert "\nssl_cert_not_after{" not in found


@pytest.fixture
def in_clear(cleanup: ExitStack, root_ca: Authority) -> str:
    """Return the address of a web server without TLS that hands out a root, and redirects to it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            moved = self.path == "/moved"
            self.send_response(302 if moved else 200)
            self.send_header("Location", "/ca.pem" if moved else "")
            self.end_headers()
            self.wfile.write(b"" if moved else root_ca.pem())

        def log_message(self, *_: object) -> None:
            pass

    server = cleanup.enter_context(ThreadingHTTPServer(free_address(), Handler))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    cleanup.callback(server.shutdown)
    return "{}:{}".format(*server.server_address)


def test_a_file_is_fetched_without_tls_where_that_is_allowed(surround: Surround, in_clear: str) -> None:
    host, _, port = in_clear.partition(":")
    allowed = surround(allow=(f"{host}/32",), ports=(int(port),))
    for path in ("/ca.pem", "/moved"):
        found = text(allowed, f"http://{in_clear}{path}", "http_file")
        assert value(found, "ssl_probe_success") == 1
        assert value(found, "ssl_cert_not_after", cn="Lab Root CA") is not None
        assert "\nprobe_tls_version_info" not in found
        assert value(found, "probe_http_ssl") is None
    # An endpoint is one of TLS: that it is configured allows nothing else at its address.
    for trust_context in (
        surround(allow=("10.0.0.0/8",), ports=(int(port),)),
        surround(Endpoint("a", host, int(port))),
    ):
        assert refused(trust_context, f"http://{in_clear}/ca.pem", "http_file").startswith(
            ("probe.allow", "no endpoint")
        )
