"""What real servers take, compared with the programs that others ask for it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from config.model import Endpoint, Proxy
from config.vocabulary import EndpointProtocol, ProxyKind, TLSVersion
from monitor.lab.ca import Authority, KeyType
from monitor.lab.process import ServerProcess, accepts, free_address
from monitor.lab.servers import LocalServer, Nginx, Server, TLSSettings, write_site
from probes.tls.inquire import Bounds, inquire
from probes.tls.support import Supported
from tests.kit.memory_server import by_version
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.starttls_servers import DOMAIN, server_of
from tests.kit.stunnel import Stunnel

AT_ONCE = Bounds(pause=0.0)
OPTIONS = {
    TLSVersion.TLS1_0: "-tls1",
    TLSVersion.TLS1_1: "-tls1_1",
    TLSVersion.TLS1_2: "-tls1_2",
    TLSVersion.TLS1_3: "-tls1_3",
}


def asked(server: Server | HostilePeer, bounds: Bounds = AT_ONCE, **more: object) -> Supported:
    endpoint = Endpoint("it", server.host, server.port, DOMAIN, **more)  # type: ignore[arg-type]
    return asyncio.run(inquire(endpoint, server.host, 0.0, bounds))


@pytest.fixture(scope="module")
def nginx(issuing_ca: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Start a server with two kinds of key that takes what its OpenSSL can, weak and without a certificate as well."""
    directory = str(tmp_path_factory.mktemp("nginx"))
    pair = [
        write_site(directory, issuing_ca.issue(DOMAIN, key=each), stem=each) for each in (KeyType.RSA2048, KeyType.P256)
    ]
    settings = TLSSettings(minimum=TLSVersion.TLS1_0, ciphers="ALL:COMPLEMENTOFALL:!PSK:!SRP:@SECLEVEL=0")
    with Nginx(directory, pair, settings) as server:
        yield server


@pytest.fixture(scope="module")
def seen(nginx: Nginx) -> Supported:
    return asked(nginx)


def takes(server: Server, *options: str) -> bool:
    """Return whether `openssl s_client` gets a handshake with these options."""
    done = subprocess.run(
        ("openssl", "s_client", "-connect", server.address, "-servername", DOMAIN, *options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    # stunnel ends the connection at once, which s_client takes for a failure.
    return b", Cipher is (NONE)" not in done.stdout and b", Cipher is " in done.stdout


@pytest.mark.server("nginx", "openssl")
def test_each_version_is_taken_that_s_client_gets(nginx: Nginx, seen: Supported) -> None:
    assert seen.unclear == ()
    for version, option in OPTIONS.items():
        assert takes(nginx, option, "-cipher", "ALL:@SECLEVEL=0") is (version in by_version(seen)), version


@pytest.mark.server("nginx", "openssl")
def test_each_cipher_of_the_same_openssl_is_taken_that_its_list_has(seen: Supported) -> None:
    listing = subprocess.run(
        ("openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:!PSK:!SRP:!DSS:!DHE:!ADH:@SECLEVEL=0"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # nginx has no parameters for Diffie-Hellman without curves unless these are configured.
    assert set(by_version(seen)[TLSVersion.TLS1_2].suites) == set(listing.strip().split(":"))


@pytest.mark.server("nginx", "sslscan")
def test_what_is_taken_is_what_sslscan_says(nginx: Nginx, seen: Supported) -> None:
    only = ("--no-colour", "--no-heartbleed", "--no-compression", "--no-renegotiation", "--no-check-certificate")
    said = subprocess.run(
        ("sslscan", *only, f"--sni-name={DOMAIN}", nginx.address), capture_output=True, text=True, check=True
    ).stdout
    ciphers = re.findall(r"(?:Accepted|Preferred) +TLSv(\S+) +\d+ bits +(\S+)", said)
    groups = re.findall(r"^TLSv(\S+) +\d+ bits +(\S+)", said, re.MULTILINE)
    assert ciphers
    assert groups
    for version, found in by_version(seen).items():
        number = "1.0" if version == TLSVersion.TLS1_0 else version.removeprefix("TLSv")
        assert set(found.suites) == {cipher for of, cipher in ciphers if of == number}, version
        # It asks for the groups of the two newest versions alone.
        if theirs := {group for of, group in groups if of == number}:
            assert set(found.groups) == theirs, version


@pytest.mark.server("stunnel4", "openssl")
def test_of_stunnel_each_version_is_taken_that_s_client_gets(tmp_path: Path, issuing_ca: Authority) -> None:
    site = write_site(str(tmp_path), issuing_ca.issue(DOMAIN))
    with Stunnel(str(tmp_path), [site], TLSSettings(ciphers="ECDHE+AESGCM:ECDHE+CHACHA20")) as server:
        found = by_version(asked(server))
        assert set(found) == {version for version, option in OPTIONS.items() if takes(server, option)}
        assert set(found[TLSVersion.TLS1_2].suites) == {
            *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        }


@pytest.mark.skipif(os.getuid() != 0, reason="vsftpd is started by root")
@pytest.mark.server("vsftpd")
def test_a_server_that_begins_in_the_clear_is_asked_as_any_other(issuing_ca: Authority, cleanup: ExitStack) -> None:
    directory = cleanup.enter_context(TemporaryDirectory())
    os.chmod(directory, 0o755)
    site = write_site(directory, issuing_ca.issue(DOMAIN))
    server = cleanup.enter_context(server_of(EndpointProtocol.FTP, f"{directory}/server", site))
    found = asked(server, protocol=EndpointProtocol.FTP)
    assert TLSVersion.TLS1_3 in by_version(found)
    assert found.unclear == ()


@pytest.mark.server("microsocks")
def test_a_server_behind_a_proxy_is_asked_as_any_other(tmp_path: Path, issuing_ca: Authority) -> None:
    site = write_site(str(tmp_path), issuing_ca.issue(DOMAIN))
    host, port = free_address()
    proxy = ServerProcess(("microsocks", "-i", host, "-p", str(port)), str(tmp_path / "log"))
    try:
        proxy.wait_until(lambda: accepts(host, port), "listening")
        with LocalServer([site], address=("127.0.0.1", free_address()[1])) as server:
            found = asked(server, proxy=Proxy(ProxyKind.SOCKS5, host, port))
            assert found == asked(server)
            assert set(by_version(found)) == {TLSVersion.TLS1_2, TLSVersion.TLS1_3}
    finally:
        proxy.stop()


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (Behaviour.REFUSES, "cannot be reached (Connection refused), when asked for TLSv1.3"),
        (Behaviour.SILENT, "does not answer in time, when asked for TLSv1.3"),
        (Behaviour.PLAIN_HTTP, "says what is no TLS, when asked for TLSv1.3"),
        (Behaviour.FLOODS, "says what is no TLS, when asked for TLSv1.3"),
        (Behaviour.DRIPS, "does not answer in time, when asked for TLSv1.3"),
    ],
)
def test_a_peer_that_cannot_be_asked_is_unclear(behaviour: Behaviour, why: str) -> None:
    with HostilePeer(behaviour) as peer:
        found = asked(peer, timeout=0.2)
    assert found.versions == ()
    assert found.unclear[0] == why


@pytest.mark.parametrize("behaviour", [Behaviour.CLOSES, Behaviour.RESETS, Behaviour.ALERTS])
def test_a_peer_that_turns_every_client_away_takes_nothing(behaviour: Behaviour) -> None:
    with HostilePeer(behaviour) as peer:
        found = asked(peer)
    assert (found.versions, found.unclear) == ((), ())


@pytest.mark.parametrize(
    ("bounds", "why"),
    [
        (Bounds(connections=3, pause=0.0), "is not asked in more than 3 connections, when asked for TLSv1.3"),
        (Bounds(bytes=200, pause=0.0), "is not heard for more than 200 bytes, when asked for TLSv1.3"),
        (Bounds(seconds=0.0, pause=0.0), "is not asked for longer than 0 s, when asked for TLSv1.3"),
    ],
    ids=["connections", "bytes", "seconds"],
)
def test_the_questions_are_bounded(tmp_path: Path, issuing_ca: Authority, bounds: Bounds, why: str) -> None:
    site = write_site(str(tmp_path), issuing_ca.issue(DOMAIN))
    with LocalServer([site]) as server:
        found = asked(server, bounds)
    assert found.connections <= 3
    assert found.unclear[0] == why
