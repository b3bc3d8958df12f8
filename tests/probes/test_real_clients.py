"""The verdict of `openssl` is that of the programs which are built on OpenSSL, with their default settings."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.model import Client
from config.vocabulary import VerifierName
from monitor.lab.ca import Authority, Issued, KeyType, bundle, new_key
from monitor.lab.process import find_command
from monitor.lab.servers import LocalServer, Site
from probes.certificate import certificate
from probes.finding import Edge
from probes.judge.client import View
from probes.judge.presented import Audience, judge_presented
from probes.trust import Trust

NOW: Final = time.time()
ROOT: Final = Authority.root("Root")
ISSUING: Final = ROOT.intermediate("Issuing")
RSA_ISSUING: Final = ROOT.intermediate("RSA Issuing", key=KeyType.RSA2048)
SHORT_ROOT: Final = Authority.root("Short Root", key=KeyType.RSA1024)
OLD_HASH_ROOT: Final = Authority.root("Old Root", key=KeyType.RSA2048, signature_hash="sha1")
REKEYED: Final = Authority.root("Root", key=new_key(KeyType.P256))


@dataclass(frozen=True)
class ClientCase:
    """What a server presents to who asks for `host`, and what the clients make of it that trust `anchor`."""

    chain: Sequence[Issued]
    accepted: bool
    host: str = ""
    anchor: Issued = ROOT
    unlike: frozenset[str] = frozenset()
    """The programs that differ from `openssl s_client`."""


def below(authority: Authority, name: str = "below.example.com", **knobs: object) -> tuple[Issued, Issued]:
    return authority.issue(name, **knobs), authority  # type: ignore[arg-type]


OLD_HASH_CA = RSA_ISSUING.intermediate("Signed with SHA-1", signature_hash="sha1")
SHORT_CA = ROOT.intermediate("Short", key=KeyType.RSA1024)
CLIENTS_CA = ROOT.intermediate("For clients", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])
ANY_CA = ROOT.intermediate("For anything", purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])

CASES: Final = {
    "good": ClientCase(below(ISSUING), True),
    "leaf of RSA 2048": ClientCase(below(ISSUING, key=KeyType.RSA2048), True),
    "leaf of Ed25519": ClientCase(below(ISSUING, key=KeyType.ED25519), True),
    "leaf of RSA 1024": ClientCase(below(ISSUING, key=KeyType.RSA1024), False),
    "leaf on a curve that no client offers": ClientCase(
        below(ISSUING, key=ec.generate_private_key(ec.SECP224R1())), False
    ),
    "leaf signed with SHA-1": ClientCase(below(RSA_ISSUING, signature_hash="sha1"), False),
    "leaf signed with MD5": ClientCase(below(RSA_ISSUING, signature_hash="md5"), False),
    "intermediate of RSA 1024": ClientCase(below(SHORT_CA), False),
    "intermediate signed with SHA-1": ClientCase((*below(OLD_HASH_CA), RSA_ISSUING), False),
    "root of RSA 1024": ClientCase(below(SHORT_ROOT)[:1], False, anchor=SHORT_ROOT),
    "root signed with SHA-1": ClientCase(below(OLD_HASH_ROOT)[:1], True, anchor=OLD_HASH_ROOT),
    "root with a new key": ClientCase(below(ISSUING), False, anchor=REKEYED),
    "for any purpose": ClientCase(below(ISSUING, purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False),
    "for clients": ClientCase(below(ISSUING, purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    "by a CA for clients": ClientCase(below(CLIENTS_CA), False),
    "by a CA for any purpose": ClientCase(below(ANY_CA), False),
    "intermediate as the anchor": ClientCase(below(ISSUING)[:1], False, anchor=ISSUING, unlike=frozenset({"curl"})),
    "common name alone": ClientCase((ISSUING.issue(subject="alone.example.com"), ISSUING), True, "alone.example.com"),
    "common name beside other names": ClientCase(below(ISSUING, subject="cn.example.com"), False, "cn.example.com"),
    "another name": ClientCase(below(ISSUING, "other.example.com"), False, "another.example.com"),
    "wildcard": ClientCase(below(ISSUING, "*.example.com"), True, "wild.example.com"),
    "wildcard over two labels": ClientCase(below(ISSUING, "*.example.com"), False, "a.wild.example.com"),
    "wildcard in a common name": ClientCase(
        (ISSUING.issue(subject="*.example.com"), ISSUING), True, "star.example.com"
    ),
    "A-label under a wildcard": ClientCase(below(ISSUING, "*.example.com"), True, "xn--bcher-kva.example.com"),
    "A-label": ClientCase(below(ISSUING, "xn--bcher-kva.example.org"), True, "xn--bcher-kva.example.org"),
    "partial wildcard": ClientCase(
        below(ISSUING, "w*.example.com"), True, "world.example.com", unlike=frozenset({"curl", "python"})
    ),
}


def host_of(name: str) -> str:
    return CASES[name].host or "below.example.com"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalServer]]:
    directory = tmp_path_factory.mktemp("served")
    running: dict[str, LocalServer] = {}
    try:
        for number, (name, case) in enumerate(CASES.items()):
            site = Site(str(directory / f"{number}.crt"), str(directory / f"{number}.key"))
            Path(site.certificate).write_bytes(bundle(case.chain))
            Path(site.key).write_bytes(case.chain[0].key_pem())
            running[name] = LocalServer([site])
            running[name].start()
        yield running
    finally:
        for server in running.values():
            server.stop()


def edge(name: str, verifier: VerifierName = VerifierName.OPENSSL, level: int = 2) -> Edge:
    case = CASES[name]
    trust = Trust("store", (certificate(case.anchor.der()),))
    view = View(Client("client", "store", verifier, security_level=level), trust)
    chain = tuple(certificate(each.der()) for each in case.chain)
    (found,) = judge_presented([chain], Audience("it", (view,), (host_of(name),)), NOW).edges
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_verdict_by_openssl_is_as_expected_of_its_programs(name: str) -> None:
    assert edge(name).accepted is CASES[name].accepted


@pytest.mark.server("openssl")
@pytest.mark.parametrize("name", CASES)
def test_s_client_agrees(name: str, servers: dict[str, LocalServer], tmp_path: Path) -> None:
    host = host_of(name)
    options = ["-servername", host, "-verify_hostname", host, "-verify_return_error", "-CAfile", anchor(name, tmp_path)]
    assert (run("openssl", "s_client", "-connect", servers[name].address, *options) == 0) is CASES[name].accepted


@pytest.mark.server("curl")
@pytest.mark.parametrize("name", CASES)
def test_curl_agrees(name: str, servers: dict[str, LocalServer], tmp_path: Path) -> None:
    host, server = host_of(name), servers[name]
    there = ["--resolve", f"{host}:{server.port}:{server.host}", f"https://{host}:{server.port}/"]
    code = run("curl", "--silent", "--max-time", "10", "--http0.9", "--cacert", anchor(name, tmp_path), *there)
    # No connection, or a certificate that is refused; else the server, which speaks no HTTP, did not answer.
    assert code in {0, 35, 52, 56, 60}
    assert (code not in {35, 60}) is (CASES[name].accepted is not ("curl" in CASES[name].unlike))


@pytest.mark.parametrize("name", CASES)
def test_python_agrees(name: str, servers: dict[str, LocalServer], tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=anchor(name, tmp_path))
    # Python 3.13 asks for more than OpenSSL by default.
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
    accepted = True
    with socket.create_connection((servers[name].host, servers[name].port), 10) as plain:
        try:
            context.wrap_socket(plain, server_hostname=host_of(name)).close()
        except ssl.SSLError:
            accepted = False
    assert accepted is (CASES[name].accepted is not ("python" in CASES[name].unlike))


@pytest.mark.server("gnutls-cli")
@pytest.mark.parametrize("name", ["good", "common name alone", "A-label under a wildcard", "another name"])
def test_gnutls_reads_names_alike(name: str, servers: dict[str, LocalServer], tmp_path: Path) -> None:
    server, host = servers[name], host_of(name)
    options = [f"--x509cafile={anchor(name, tmp_path)}", f"--sni-hostname={host}", f"--verify-hostname={host}"]
    assert (run("gnutls-cli", *options, f"--port={server.port}", server.host) == 0) is CASES[name].accepted


def anchor(name: str, directory: Path) -> str:
    path = directory / "anchor.pem"
    path.write_bytes(CASES[name].anchor.pem())
    return str(path)


def run(program: str, *arguments: str) -> int:
    command = find_command(program)
    assert command is not None
    return subprocess.run(
        [command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
    ).returncode


TOP: Final = Authority.root("Top", key=KeyType.P384)
LADDER: Final = {
    "RSA 1024": below(ISSUING, key=KeyType.RSA1024),
    "RSA 2048": below(ISSUING, key=KeyType.RSA2048),
    "P-256": below(ISSUING),
    "P-384 throughout": (
        (top := Authority.root("Top", key=KeyType.P384)).issue("below.example.com", key=KeyType.P384),
    ),
    "P-384, signed with SHA-384": (TOP.issue("below.example.com", key=KeyType.P384, signature_hash="sha384"),),
    "P-384, signed with SHA-512": (TOP.issue("below.example.com", key=KeyType.P384, signature_hash="sha512"),),
    "Ed25519 throughout": (Authority.root("Ed", key=KeyType.ED25519).issue("below.example.com", key=KeyType.ED25519),),
    "SHA-1": below(RSA_ISSUING, signature_hash="sha1"),
    "MD5": below(RSA_ISSUING, signature_hash="md5"),
}


@pytest.mark.server("openssl")
@pytest.mark.parametrize("level", range(6))
def test_each_security_level_demands_what_openssl_does(level: int, tmp_path: Path) -> None:
    expected, found = {}, {}
    client = Client("client", "store", security_level=level)
    for name, chain in LADDER.items():
        root = chain[-1].anchor
        Path(tmp_path / "leaf.pem").write_bytes(chain[0].pem())
        Path(tmp_path / "rest.pem").write_bytes(bundle(chain[1:]) or chain[0].pem())
        Path(tmp_path / "root.pem").write_bytes(root.pem())
        files = ["-CAfile", f"{tmp_path}/root.pem", "-untrusted", f"{tmp_path}/rest.pem", f"{tmp_path}/leaf.pem"]
        expected[name] = run("openssl", "verify", "-auth_level", str(level), "-purpose", "sslserver", *files) == 0
        certificates = tuple(certificate(each.der()) for each in chain)
        view = View(client, Trust("store", (certificate(root.der()),)))
        found[name] = judge_presented([certificates], Audience("it", (view,)), NOW).edges[0].accepted
    assert found == expected
    assert found["MD5"] is (level == 0)
