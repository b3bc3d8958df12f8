"""`/probe` answers as the exporters do that people have dashboards for, and looks nowhere else than it may."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.model import ClientCertificate, Endpoint
from config.probing import MODULES, ProbeModule, ProbeTurn, split_turns
from config.reach import Reach
from config.vocabulary import ClientCertificateUse, EndpointProtocol, ProbeKind, ProxyKind, TLSVersion
from monitor.lab.ca import DAY, Authority, Issued, self_signed
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, Nginx, Site, write_site
from monitor.look.demand_places import RefusedProbe
from monitor.metrics.probed import Probed
from monitor.state.trust import TrustContext
from probes.ocsp import OCSPAnswer, staple_of
from tests.kit.answering_server import AnsweringServer, page
from tests.kit.asking_servers import AskingHAProxy, Asks, ocsp_response
from tests.kit.blackbox import Blackbox
from tests.kit.metrics import samples, value
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.probe_requests import NAME, Resolver, Surround, endpoint, probe, refused, text, trust_context_of
from tests.kit.proxies import started
from tests.kit.start import StartServer
from tests.kit.starttls_servers import server_of

EVERYWHERE: Final = ("0.0.0.0/0", "::/0")

Probe = Callable[..., Probed | RefusedProbe]


@pytest.fixture
def surround(tmp_path: Path, root_ca: Authority) -> Surround:
    return trust_context_of(tmp_path, root_ca)


def served(start_local: StartServer[LocalServer], tmp_path: Path, issued: Issued) -> LocalServer:
    return start_local(write_site(str(tmp_path / "site"), issued))


def facts(page: str) -> set[tuple[Any, float]]:
    """Return the series on which two exporters have to agree; the serial number is what newer ones tell, too."""
    about = ("probe_ssl", "probe_tls_version", "probe_success", "probe_ip_protocol", "probe_http_ssl")
    return {
        ((name, frozenset(pair for pair in labels if pair[0] != "serialnumber")), number)
        for (name, labels), number in samples(page).items()
        if name.startswith(about)
    }


@pytest.fixture
def blackbox(tmp_path: Path, cleanup: ExitStack, root_ca: Authority) -> Blackbox:
    (tmp_path / "ca.pem").write_bytes(root_ca.pem())
    return cleanup.enter_context(Blackbox(str(tmp_path / "blackbox"), str(tmp_path / "ca.pem"), NAME))


@pytest.mark.server("nginx")
@pytest.mark.server("prometheus-blackbox-exporter")
def test_blackbox_exporter_says_the_same(
    surround: Surround, start_nginx: StartServer[Nginx], blackbox: Blackbox, issuing_ca: Authority, tmp_path: Path
) -> None:
    server = start_nginx(write_site(str(tmp_path / "site"), issuing_ca.issue(NAME, "*.example.org")))
    trust_context = surround(endpoint(server))
    for module, target in (("tls", server.address), ("https", f"https://{server.address}/")):
        theirs = facts(blackbox.probe(target, module))
        assert (("probe_success", frozenset()), 1) in theirs
        assert facts(text(trust_context, target, module)) == theirs


@pytest.mark.server("promtool")
def test_every_certificate_is_told_as_ssl_exporter_does(
    surround: Surround, start_local: StartServer[LocalServer], issuing_ca: Authority, tmp_path: Path
) -> None:
    issued = issuing_ca.issue(NAME, "mail.example.com", serial=255)
    page = text(surround(endpoint(served(start_local, tmp_path, issued))), "web")
    leaf = {
        "serial_no": "255",
        "issuer_cn": "Lab Issuing CA",
        "cn": NAME,
        "dnsnames": f",{NAME},mail.example.com,",
        "ips": "",
        "emails": "",
        "ou": "",
    }
    end, begin = (
        each.timestamp() for each in (issued.certificate.not_valid_after_utc, issued.certificate.not_valid_before_utc)
    )
    assert value(page, "ssl_cert_not_after", **leaf) == end
    assert value(page, "ssl_cert_not_before", **leaf) == begin
    assert value(page, "ssl_cert_not_after", cn="Lab Issuing CA") is not None
    assert value(page, "ssl_verified_cert_not_after", chain_no="0", **leaf) == end
    assert value(page, "ssl_verified_cert_not_after", chain_no="0", cn="Lab Root CA") is not None
    assert value(page, "ssl_tls_version_info", version="TLS 1.3") == 1
    assert value(page, "ssl_prober", prober="tcp") == 1
    assert value(page, "ssl_probe_success") == 1


@pytest.mark.server("haproxy")
@pytest.mark.server("promtool")
def test_a_client_certificate_is_shown_where_its_endpoint_is_named_and_a_staple_is_told_as_ssl_exporter_does(
    surround: Surround, issuing_ca: Authority, root_ca: Authority, tmp_path: Path
) -> None:
    leaf = issuing_ca.issue(NAME)
    (tmp_path / "site.pem").write_bytes(leaf.key_pem() + leaf.chain_pem())
    (tmp_path / "site.pem.ocsp").write_bytes(ocsp_response(leaf, issuing_ca))
    (tmp_path / "clients.pem").write_bytes(root_ca.pem())
    own = write_site(str(tmp_path), root_ca.issue(subject="prober", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]))
    site = Site(str(tmp_path / "site.pem"), str(tmp_path / "site.pem"))
    with AskingHAProxy(str(tmp_path / "haproxy"), [site], str(tmp_path / "clients.pem")) as server:
        host, port = server.at[Asks.STRICTLY, TLSVersion.TLS1_3]
        shown = ClientCertificate(own.certificate, own.key)
        web = Endpoint("web", host, port, NAME, clients=("default",), client_certificate=shown)
        trust_context = surround(web)
        for target, use in (
            ("web", ClientCertificateUse.ACCEPTED),
            (f"{host}:{port}", ClientCertificateUse.REQUIRED),
            (f"https://{host}:{port}/", ClientCertificateUse.REQUIRED),
        ):
            found = probe(trust_context, target)
            assert isinstance(found, Probed)
            assert [each.client_certificate for each in found.observation.presented] == [use]
        page = text(trust_context, "web")
    assert isinstance(found, Probed)
    staple = staple_of(found.observation.presented[0])
    assert isinstance(staple, OCSPAnswer)
    for fact, number in (
        *(("stapled", 1), ("status", 0), ("produced_at", staple.produced_at)),
        *(("this_update", staple.this_update), ("next_update", staple.next_update), ("revoked_at", None)),
    ):
        assert value(page, f"ssl_ocsp_response_{fact}") == number


@pytest.mark.server("promtool")
def test_facts_stay_where_no_client_accepts(
    surround: Surround, start_local: StartServer[LocalServer], issuing_ca: Authority, tmp_path: Path
) -> None:
    now = int(time.time())
    late = issuing_ca.issue(NAME, not_before=now - 40 * DAY, not_after=now - DAY)
    page = text(surround(endpoint(served(start_local, tmp_path, late))), "web")
    assert value(page, "probe_success") == value(page, "ssl_probe_success") == 0
    assert value(page, "probe_ssl_earliest_cert_expiry") == now - DAY
    assert value(page, "ssl_cert_not_after", cn=NAME) == now - DAY
    assert value(page, "probe_tls_version_info") == 1
    # Nothing was verified, and blackbox_exporter's -62135596800 is no way to say so.
    assert not [name for name, _ in samples(page) if "verified" in name or "last_chain_expiry" in name]


@pytest.mark.server("promtool")
def test_what_nobody_validates_succeeds_without_a_verified_chain(
    surround: Surround, start_local: StartServer[LocalServer], tmp_path: Path
) -> None:
    server = served(start_local, tmp_path, self_signed(NAME))
    for trust_context in (surround(endpoint(server), validates=False), surround(endpoint(server, clients=()))):
        page = text(trust_context, "web")
        assert value(page, "probe_success") == 1
        assert value(page, "probe_ssl_last_chain_expiry_timestamp_seconds") is None


@pytest.mark.server("promtool")
@pytest.mark.parametrize("behaviour", [Behaviour.REFUSES, Behaviour.PLAIN_HTTP])
def test_a_failed_look_leaves_nothing_but_that_it_failed(
    surround: Surround, start_peer: Callable[[Behaviour], HostilePeer], behaviour: Behaviour
) -> None:
    peer = start_peer(behaviour)
    page = text(surround(endpoint(peer)), "web", "https")
    assert {name for name, _ in samples(page)} == {
        *("probe_success", "probe_duration_seconds", "probe_timeout_seconds", "ssl_probe_success", "ssl_prober"),
        "probe_failed_due_to_regex",
        *("probe_dns_lookup_time_seconds", "probe_http_duration_seconds", "probe_http_redirects"),
        "probe_http_status_code",
    }
    assert value(page, "probe_success") == value(page, "ssl_probe_success") == 0
    assert value(page, "probe_http_status_code") == 0


def test_a_look_takes_no_longer_than_prometheus_waits(
    surround: Surround, start_peer: Callable[[Behaviour], HostilePeer]
) -> None:
    found = probe(surround(endpoint(start_peer(Behaviour.SILENT))), "web", seconds=0.2)
    assert isinstance(found, Probed)
    # What is left of it once the look has its place.
    assert re.fullmatch(r"no complete handshake within 0\.(2|1\d*) s", found.observation.failures[0].detail)


def test_an_endpoint_is_meant_by_its_name_its_address_or_a_url(
    surround: Surround, start_local: StartServer[LocalServer], issuing_ca: Authority, tmp_path: Path
) -> None:
    server = served(start_local, tmp_path, issuing_ca.issue(NAME))
    trust_context = surround(endpoint(server, "web"))
    for target in ("web", server.address, f"https://{server.address}", f"https://{server.address}/path?query"):
        found = probe(trust_context, target)
        assert isinstance(found, Probed)
        assert found.accepted


@pytest.mark.parametrize("module", ["https", "http_2xx"])
def test_https_knows_its_port(surround: Surround, module: str) -> None:
    trust_context = surround(Endpoint("web", "127.0.0.1", 443, timeout=0.1))
    for target in ("127.0.0.1", "https://127.0.0.1", "127.0.0.1:443"):
        assert isinstance(probe(trust_context, target, module), Probed)
    assert isinstance(probe(trust_context, "127.0.0.1", "tls"), RefusedProbe)


@pytest.fixture
def peer(start_peer: Callable[[Behaviour], HostilePeer]) -> HostilePeer:
    """Return a peer on loopback that counts who comes."""
    return start_peer(Behaviour.CLOSES)


def test_what_is_no_endpoint_is_not_looked_at(surround: Surround, peer: HostilePeer) -> None:
    trust_context = surround(Endpoint("other", "127.0.0.1", 1))
    for target in (f"{peer.host}:{peer.port}", f"https://{peer.host}:{peer.port}"):
        assert "no endpoint is at" in refused(trust_context, target)
    assert peer.connections == 0


@pytest.mark.parametrize(
    "target",
    ["", "x", "file:///etc/passwd", "http://127.0.0.1:80", "https://", "a b:1", "a:99999", "[::1", "https://a:b"],
)
def test_what_is_no_address_is_refused(surround: Surround, target: str) -> None:
    assert refused(surround(allow=EVERYWHERE, ports=[443]), target)


def test_allowing_the_world_does_not_allow_loopback(surround: Surround, peer: HostilePeer) -> None:
    trust_context = surround(allow=EVERYWHERE, ports=[peer.port])
    for host in (peer.host, f"[::ffff:{peer.host}]"):
        assert "probe.allow" in refused(trust_context, f"{host}:{peer.port}")
    assert peer.connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1%25lo]", "[fe80::1]", "0.0.0.0", "[::]", "[::1]"])
def test_allowing_the_world_allows_neither_links_nor_this_host(surround: Surround, host: str) -> None:
    assert refused(surround(allow=EVERYWHERE, ports=[443]), f"{host}:443")


def test_loopback_may_be_allowed_by_its_name_alone(surround: Surround, peer: HostilePeer) -> None:
    trust_context = surround(allow=["127.0.0.0/8"], ports=[peer.port])
    assert isinstance(probe(trust_context, f"{peer.host}:{peer.port}"), Probed)
    assert peer.connections == 1


def test_no_port_is_looked_at_beside_those_allowed(surround: Surround, peer: HostilePeer) -> None:
    assert "port" in refused(surround(allow=["127.0.0.0/8"], ports=[443]), f"{peer.host}:{peer.port}")
    assert peer.connections == 0


def test_a_name_that_leads_to_loopback_is_refused(
    surround: Surround, peer: HostilePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer in ([peer.host], ["192.0.2.1", peer.host]):
        Resolver(monkeypatch, answer)
        assert "probe.allow" in refused(
            surround(allow=EVERYWHERE, ports=[peer.port]), f"rebinding.example.com:{peer.port}"
        )
    assert peer.connections == 0


def test_a_name_is_resolved_once_so_that_it_cannot_rebind(
    surround: Surround,
    peer: HostilePeer,
    start_peer: Callable[[Behaviour], HostilePeer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver(monkeypatch, ["127.1.2.3"], [peer.host])
    trust_context = surround(allow=["127.1.2.3/32"], ports=[peer.port])
    found = probe(trust_context, f"rebinding.example.com:{peer.port}")
    assert isinstance(found, Probed)
    assert [each.address for each in found.observation.failures] == ["127.1.2.3"]
    assert resolver.asked == 1
    assert peer.connections == 0


def test_an_address_does_not_become_an_endpoint_by_being_called_like_one(surround: Surround, peer: HostilePeer) -> None:
    address = f"{peer.host}:{peer.port}"
    trust_context = surround(Endpoint(address, "127.0.0.1", 1), allow=EVERYWHERE, ports=[peer.port])
    assert "probe.allow" in refused(trust_context, f"https://{address}")
    assert peer.connections == 0


def configured(trust_context: TrustContext, **settings: Any) -> TrustContext:
    """Return the trust context with other settings of `/probe`."""
    config = trust_context.config
    return replace(trust_context, config=replace(config, settings=replace(config.settings, **settings)))


def with_module(trust_context: TrustContext, module: ProbeModule) -> TrustContext:
    return configured(trust_context, probe_modules={**MODULES, "it": module})


@pytest.mark.parametrize(
    ("target", "module", "hostname", "why"),
    [
        ("", "tls", None, "the parameter target is missing"),
        ("web", "icmp", None, "there is no module icmp, expected tls, tcp, tls_connect, https"),
        ("web", "tls", "a b", "hostname is neither a DNS name nor an IP address"),
    ],
)
def test_a_request_that_makes_no_sense_says_why(
    surround: Surround, target: str, module: str, hostname: str | None, why: str
) -> None:
    found = probe(surround(), target, module, hostname=hostname)
    assert isinstance(found, RefusedProbe)
    assert found.is_mistake
    assert found.why.startswith(why)


def test_the_hostname_of_the_request_is_asked_for_and_verified_unless_the_module_names_one(
    surround: Surround, start_local: StartServer[LocalServer], issuing_ca: Authority, tmp_path: Path
) -> None:
    server = served(start_local, tmp_path, issuing_ca.issue(NAME))
    anywhere = surround(allow=(f"{server.host}/32",), ports=(server.port,))

    def success(trust_context: TrustContext, hostname: str | None, module: str = "tls") -> bool:
        found = probe(trust_context, server.address, module, hostname=hostname)
        assert isinstance(found, Probed)
        return found.accepted

    assert success(anywhere, NAME)
    assert not success(anywhere, "other.example.com")
    assert not success(anywhere, None)
    named = with_module(anywhere, ProbeModule(ProbeKind.TCP, server_name=NAME))
    assert success(named, "other.example.com", "it")


def test_success_needs_no_client_where_the_module_does_not_verify(
    surround: Surround, start_local: StartServer[LocalServer], tmp_path: Path
) -> None:
    server = served(start_local, tmp_path, self_signed(NAME))
    trust_context = with_module(surround(endpoint(server)), ProbeModule(ProbeKind.TCP, verifies=False))
    assert value(text(trust_context, "web", "tcp"), "probe_success") == 0
    page = text(trust_context, "web", "it")
    assert value(page, "probe_success") == 1
    assert "\nssl_verified_cert_not_after" not in page


IMAP: Final = (
    ProbeTurn(expect="OK.*STARTTLS"),
    ProbeTurn(send=". STARTTLS"),
    ProbeTurn(expect="OK"),
    ProbeTurn(starttls=True),
    ProbeTurn(send=". capability"),
)


@pytest.mark.skipif(os.getuid() != 0, reason="the server is started by root")
@pytest.mark.server("dovecot")
def test_a_dialogue_of_blackbox_exporter_is_led_before_tls_and_within_it(
    surround: Surround, issuing_ca: Authority, cleanup: ExitStack
) -> None:
    # Not pytest's, which is closed to users without rights, and Dovecot becomes one.
    directory = cleanup.enter_context(TemporaryDirectory())
    os.chmod(directory, 0o755)
    site = write_site(directory, issuing_ca.issue(NAME))
    server = cleanup.enter_context(server_of(EndpointProtocol.IMAP, f"{directory}/server", site))
    trust_context = surround(endpoint(server))

    def told(*last: ProbeTurn) -> str:
        before, within = split_turns((*IMAP, *last), tls=False)
        module = ProbeModule(ProbeKind.TCP, before=before, within=within)
        return text(with_module(trust_context, module), "web", "it", seconds=2.0)

    good = told(ProbeTurn(expect="CAPABILITY IMAP4rev1"))
    assert value(good, "probe_success") == 1
    assert value(good, "probe_failed_due_to_regex") == 0
    unmet = told(ProbeTurn(expect="^220 "))
    assert value(unmet, "probe_success") == 0
    assert value(unmet, "probe_failed_due_to_regex") == 1
    # The facts stay.
    assert value(unmet, "probe_ssl_earliest_cert_expiry") is not None
    wrong = with_module(trust_context, ProbeModule(ProbeKind.TCP, before=(ProbeTurn(expect="^220 ", starttls=True),)))
    assert value(text(wrong, "web", "it", seconds=1.0), "probe_success") == 0
    assert value(text(trust_context, "web", "imap_starttls"), "probe_success") == 1


def test_a_dialogue_comes_from_the_source_address(
    surround: Surround, issuing_ca: Authority, tmp_path: Path, cleanup: ExitStack
) -> None:
    site = write_site(str(tmp_path / "site"), issuing_ca.issue(NAME))
    server = cleanup.enter_context(AnsweringServer(site, lambda _path: [page("200 OK")]))
    turns = (ProbeTurn(send="GET / HTTP/1.1\r\n\r"), ProbeTurn(expect="^HTTP/1.1 200"))
    module = ProbeModule(ProbeKind.TCP, within=split_turns(turns, tls=True)[1])
    trust_context = with_module(surround(endpoint(server, source_address="127.0.0.2")), module)
    assert value(text(trust_context, "web", "it"), "probe_success") == 1
    assert server.requests
    assert server.clients == {"127.0.0.2"}


@pytest.mark.server("tinyproxy")
def test_through_a_proxy_only_names_that_are_allowed_by_name_are_looked_at(
    surround: Surround, issuing_ca: Authority, tmp_path: Path, cleanup: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the proxy, a process of its own, can resolve it.
    resolve = socket.getaddrinfo

    def unresolved(host: str, *more: Any, **options: Any) -> Any:
        if host == "localhost":
            raise socket.gaierror(socket.EAI_NONAME, "not known here")
        return resolve(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    site = write_site(str(tmp_path / "site"), issuing_ca.issue("localhost"))
    address = ("127.0.0.1", free_address()[1])
    server = cleanup.enter_context(AnsweringServer(site, lambda _path: [page("200 OK")], address))
    proxy = cleanup.enter_context(started(ProxyKind.HTTP, tmp_path))
    module = ProbeModule(ProbeKind.HTTPS, proxy=proxy)
    # Whatever the networks, nobody here knows where the proxy would connect to.
    everywhere = with_module(surround(allow=(*EVERYWHERE, "127.0.0.0/8"), ports=(server.port,)), module)
    why = f"a proxy would resolve localhost, and probe.allow has no such name with port {server.port}"
    assert refused(everywhere, f"localhost:{server.port}", "it") == why
    by_name = configured(everywhere, probe=(Reach((), frozenset((server.port,)), ("localhost",)),))
    found = probe(by_name, f"localhost:{server.port}", "it")
    assert isinstance(found, Probed)
    assert found.accepted, found.log
    # The address that the proxy found is not known here.
    assert "probe_ip" not in found.text().decode()
    assert refused(by_name, f"elsewhere.localhost:{server.port}", "it").startswith("a proxy would resolve elsewhere")


def test_what_happened_is_told_in_full(
    surround: Surround, start_local: StartServer[LocalServer], tmp_path: Path
) -> None:
    server = served(start_local, tmp_path, self_signed(NAME))
    found = probe(surround(endpoint(server)), "web")
    assert isinstance(found, Probed)
    asked, presented, verdict = found.log
    assert asked == f"web, asked for {NAME}"
    assert presented.startswith(f"{server.host}: 1 certificates, TLSv1.3, ")
    assert verdict.startswith("the client default rejects: ")
