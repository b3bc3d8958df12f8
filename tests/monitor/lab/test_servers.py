from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from config.vocabulary import TLSVersion
from monitor.lab.ca import Authority, Issued, KeyType
from monitor.lab.process import LabError, accepts, wait_for
from monitor.lab.servers import (
    BackgroundServer,
    Lighttpd,
    LocalServer,
    Nginx,
    Server,
    TLSSettings,
    replace_file,
    write_site,
)
from tests.kit.load import Load, chain_of
from tests.kit.openssl_client import presented
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.prometheus import Prometheus, check_metrics
from tests.kit.start import StartServer
from tests.kit.workers import WORKERS, Workers

EVERY_SERVER = [
    pytest.param("start_nginx", marks=pytest.mark.server("nginx")),
    pytest.param("start_lighttpd", marks=pytest.mark.server("lighttpd")),
    "start_local",
    "start_workers",
]
EVERY_SERVER_OF_ONE_SITE = [*EVERY_SERVER, pytest.param("start_stunnel", marks=pytest.mark.server("stunnel4"))]
OLD_TLS = TLSSettings(TLSVersion.TLS1_0, TLSVersion.TLS1_1)


@pytest.fixture
def start(request: pytest.FixtureRequest) -> StartServer[Server]:
    started: StartServer[Server] = request.getfixturevalue(request.param)
    return started


def ders(issued: Issued) -> list[bytes]:
    return [each.der() for each in issued.chain]


@pytest.mark.server("openssl")
@pytest.mark.parametrize("start", EVERY_SERVER, indirect=True)
def test_a_server_presents_the_files_of_the_name_asked_for(
    start: StartServer[Server], issuing_ca: Authority, tmp_path: Path
) -> None:
    everyone, other = issuing_ca.issue("www.example"), issuing_ca.issue("other.example")
    server = start(
        write_site(str(tmp_path), everyone), write_site(str(tmp_path), other, name="other.example", stem="other")
    )
    assert presented(server) == presented(server, "unknown.example") == ders(everyone)
    assert presented(server, "other.example") == ders(other)


@pytest.mark.server("openssl")
@pytest.mark.parametrize("start", EVERY_SERVER_OF_ONE_SITE, indirect=True)
def test_a_renewed_file_is_served_after_the_reload_and_not_before(
    start: StartServer[Server], issuing_ca: Authority, tmp_path: Path
) -> None:
    old, new = issuing_ca.issue("www.example"), issuing_ca.issue("www.example")
    site = write_site(str(tmp_path), old)
    server = start(site)
    site.install(new)
    assert presented(server) == ders(old)
    server.reload()
    assert presented(server) == ders(new)


@pytest.mark.server("openssl")
@pytest.mark.parametrize("start", EVERY_SERVER_OF_ONE_SITE, indirect=True)
def test_a_reload_onto_a_broken_file_keeps_the_old_one_served(
    start: StartServer[Server], issuing_ca: Authority, tmp_path: Path
) -> None:
    old = issuing_ca.issue("www.example")
    site = write_site(str(tmp_path), old)
    server = start(site)
    replace_file(site.key, b"broken")
    with pytest.raises(LabError):
        server.reload()
    assert presented(server) == ders(old)


@pytest.mark.server("openssl")
@pytest.mark.parametrize("start", EVERY_SERVER, indirect=True)
def test_weak_keys_and_old_versions_are_served_where_asked_for(
    start: StartServer[Server], issuing_ca: Authority, tmp_path: Path
) -> None:
    weak = issuing_ca.issue("www.example", key=KeyType.RSA1024, signature_hash="sha1")
    server = start(write_site(str(tmp_path), weak), tls=OLD_TLS)
    assert presented(server, None, "-tls1", "-cipher", "ALL:@SECLEVEL=0") == ders(weak)
    assert presented(server, None, "-tls1_2") == []


@pytest.mark.parametrize("start", EVERY_SERVER_OF_ONE_SITE, indirect=True)
def test_a_stopped_server_leaves_nothing(
    start: StartServer[BackgroundServer | LocalServer], issuing_ca: Authority, tmp_path: Path
) -> None:
    server = start(write_site(str(tmp_path), issuing_ca.issue("www.example")))
    server.stop()
    assert not accepts(server.host, server.port)
    if not isinstance(server, LocalServer):
        with pytest.raises(ProcessLookupError):
            os.killpg(server.pid, 0)
    server.stop()


@pytest.mark.server("nginx")
def test_a_crashed_nginx_is_cleaned_up_with_its_workers(
    start_nginx: StartServer[Nginx], issuing_ca: Authority, tmp_path: Path
) -> None:
    nginx = start_nginx(write_site(str(tmp_path), issuing_ca.issue("www.example")))
    os.kill(nginx.pid, signal.SIGKILL)
    nginx.stop()
    wait_for(lambda: not accepts(nginx.host, nginx.port))


@pytest.mark.server("nginx")
def test_a_server_ends_with_the_process_that_started_it(issuing_ca: Authority, tmp_path: Path) -> None:
    site = write_site(str(tmp_path), issuing_ca.issue("www.example"))
    program = (
        "import os, signal; from monitor.lab.servers import Nginx, Site\n"
        f"server = Nginx({str(tmp_path / 'nginx')!r}, [Site({site.certificate!r}, {site.key!r})])\n"
        "server.start(); print(server.host, server.port, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == -signal.SIGKILL
    host, port = ran.stdout.split()
    wait_for(lambda: not accepts(host, int(port)))


def leaves_seen(server: Server, handshakes: int = 60) -> set[bytes]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    seen = set()
    for _ in range(handshakes):
        with socket.create_connection((server.host, server.port), timeout=5) as raw, context.wrap_socket(raw) as tls:
            seen.add(tls.getpeercert(binary_form=True) or b"")
    return seen


def test_every_worker_answers_and_takes_up_new_files_unless_told_to_leave_one_behind(
    start_workers: StartServer[Workers], issuing_ca: Authority, tmp_path: Path
) -> None:
    old, new, newest = (issuing_ca.issue("www.example") for _ in range(3))
    site = write_site(str(tmp_path), old)
    server = start_workers(site)
    with open(f"/proc/{server.pid}/task/{server.pid}/children", encoding="ascii") as file:
        assert len(file.read().split()) == WORKERS
    site.install(new)
    subprocess.run(server.lying_command, check=True)
    wait_for(lambda: Path(server.log_file).read_bytes().count(b"serves") == 2 * WORKERS - 1)
    assert leaves_seen(server) == {old.der(), new.der()}
    site.install(newest)
    server.reload()
    assert leaves_seen(server) == {newest.der()}


def test_a_load_sees_who_presents_less_than_the_whole_set_and_who_does_not_answer(
    start_local: StartServer[LocalServer], issuing_ca: Authority, tmp_path: Path
) -> None:
    whole = issuing_ca.issue("www.example")
    site = write_site(str(tmp_path), whole)
    server = start_local(site)
    with Load(server, "www.example") as load:
        replace_file(site.certificate, whole.pem())
        server.reload()
    assert load.seen[chain_of(whole)]
    assert set(load.strange(whole)) == {chain_of(whole)[:1]}
    with Load(server, "www.example") as load:
        server.stop()
        wait_for(lambda: load.failures)
        server.start()
    assert all("refused" in each or "reset" in each.lower() or "EOF" in each for each in load.failures)


@pytest.mark.server("lighttpd")
@pytest.mark.server("openssl")
def test_lighttpd_takes_its_chain_from_a_file_of_its_own(
    start_lighttpd: StartServer[Lighttpd], issuing_ca: Authority, tmp_path: Path
) -> None:
    leaf = issuing_ca.issue("www.example")
    assert presented(start_lighttpd(write_site(str(tmp_path), leaf, separate_chain=True))) == ders(leaf)


@pytest.mark.server("nginx")
@pytest.mark.server("openssl")
def test_nginx_serves_an_rsa_and_an_ec_pair(
    start_nginx: StartServer[Nginx], issuing_ca: Authority, tmp_path: Path
) -> None:
    ec, rsa = issuing_ca.issue("www.example"), issuing_ca.issue("www.example", key=KeyType.RSA2048)
    server = start_nginx(write_site(str(tmp_path), ec, stem="ec"), write_site(str(tmp_path), rsa, stem="rsa"))
    assert presented(server, None, "-tls1_2", "-cipher", "aECDSA") == ders(ec)
    assert presented(server, None, "-tls1_2", "-cipher", "aRSA") == ders(rsa)


@pytest.mark.server("openssl")
def test_the_local_server_presents_a_chain_in_any_order(
    start_local: StartServer[LocalServer], root_ca: Authority, tmp_path: Path
) -> None:
    leaf = root_ca.intermediate("Outer").intermediate("Inner").issue("www.example")
    site = write_site(str(tmp_path), leaf)
    shuffled = (leaf, leaf.chain[2], leaf.anchor, leaf.chain[1])
    replace_file(site.certificate, b"".join(each.pem() for each in shuffled))
    assert presented(start_local(site)) == [each.der() for each in shuffled]


@pytest.mark.parametrize(
    ("behaviour", "first_bytes"),
    [
        (Behaviour.ALERTS, b"\x15\x03\x03"),
        (Behaviour.PLAIN_HTTP, b"HTTP/1.1 400"),
        (Behaviour.BANNER, b"SSH-2.0"),
        (Behaviour.FLOODS, b"\x16\x03\x03"),
        (Behaviour.DRIPS, b"\x16\x03\x03"),
    ],
)
def test_a_peer_answers_as_it_behaves(
    start_peer: Callable[[Behaviour], HostilePeer], behaviour: Behaviour, first_bytes: bytes
) -> None:
    assert _answer_of(start_peer(behaviour)).startswith(first_bytes)


def test_a_peer_that_closes_sends_nothing(start_peer: Callable[[Behaviour], HostilePeer]) -> None:
    assert _answer_of(start_peer(Behaviour.CLOSES)) == b""


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (Behaviour.REFUSES, ConnectionRefusedError),
        (Behaviour.SILENT, TimeoutError),
        (Behaviour.RESETS, ConnectionResetError),
    ],
)
def test_a_peer_that_does_not_answer_fails_as_it_behaves(
    start_peer: Callable[[Behaviour], HostilePeer], behaviour: Behaviour, error: type[OSError]
) -> None:
    with pytest.raises(error):
        _answer_of(start_peer(behaviour), patience=0.2)


def _answer_of(peer: HostilePeer, patience: float = 5.0) -> bytes:
    with socket.create_connection((peer.host, peer.port), timeout=patience) as connection:
        connection.sendall(b"\x16\x03\x01")
        return connection.recv(64)


class _Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"lab_answer 42\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.server("prometheus")
def test_prometheus_answers_what_it_scraped(start_prometheus: Callable[..., Prometheus]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Metrics) as exporter:
        Thread(target=exporter.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        target = f"127.0.0.1:{exporter.server_port}"
        prometheus = start_prometheus(target)
        [(labels, value)] = prometheus.wait_until("lab_answer")
        assert (labels["instance"], value) == (target, 42)
        assert prometheus.target_errors() == {target: ""}
        exporter.shutdown()


@pytest.mark.server("promtool")
def test_promtool_complains_about_bad_metrics_only() -> None:
    assert check_metrics("# HELP a_info What it is.\n# TYPE a_info gauge\na_info 1\n") == []
    assert check_metrics("# TYPE a_total gauge\na_total 1\n") != []
