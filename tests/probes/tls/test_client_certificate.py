"""Servers that ask for a certificate of the client, and staple an OCSP response: HAProxy and nginx."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.model import ClientCertificate, Endpoint
from config.vocabulary import ClientCertificateUse as Use
from config.vocabulary import KeyKind, TLSVersion
from monitor.lab.ca import Authority, Issued, KeyType
from monitor.lab.servers import Nginx, Site, write_site
from probes.observation import Presented
from probes.ocsp import OCSPAnswer, OCSPStatus, staple_of
from probes.tls.client_certificate import MOST_BYTES, Identity, Unusable, identity_of, sends_certificate
from tests.kit.asking_servers import AskingHAProxy, Asks, ocsp_response
from tests.kit.drivers import DRIVERS, by_blocking, by_uvloop

NAME = "www.example.com"
BOTH = (TLSVersion.TLS1_2, TLSVersion.TLS1_3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asking")


@pytest.fixture(scope="module")
def leaf(issuing_ca: Authority) -> Issued:
    return issuing_ca.issue(NAME)


@pytest.fixture(scope="module")
def haproxy(place: Path, leaf: Issued, issuing_ca: Authority, root_ca: Authority) -> Iterator[AskingHAProxy]:
    combined = place / "site.pem"
    combined.write_bytes(leaf.key_pem() + leaf.chain_pem())
    (place / "site.pem.ocsp").write_bytes(ocsp_response(leaf, issuing_ca))
    (place / "clients.pem").write_bytes(issuing_ca.pem() + root_ca.pem())
    site = Site(str(combined), str(combined))
    with AskingHAProxy(str(place / "haproxy"), [site], str(place / "clients.pem")) as server:
        yield server


def files(directory: Path, issued: Issued, stem: str) -> ClientCertificate:
    site = write_site(str(directory), issued, stem=stem)
    return ClientCertificate(site.certificate, site.key)


@pytest.fixture(scope="module")
def known(place: Path, issuing_ca: Authority) -> ClientCertificate:
    return files(place, issuing_ca.issue(subject="prober", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]), "known")


@pytest.fixture(scope="module")
def stranger(place: Path) -> ClientCertificate:
    return files(
        place,
        Authority.root("Stranger").issue(subject="prober", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]),
        "stranger",
    )


def only(endpoint: Endpoint, by: Callable[[Endpoint], object] = by_uvloop) -> Presented:
    seen = by(endpoint)
    assert seen.failures == ()  # type: ignore[attr-defined]
    (presented,) = seen.presented  # type: ignore[attr-defined]
    assert isinstance(presented, Presented)
    return presented


@pytest.mark.server("haproxy")
@pytest.mark.parametrize("by", DRIVERS)
@pytest.mark.parametrize("version", BOTH)
def test_what_a_server_wants_of_its_clients_is_a_fact_and_its_chain_is_seen_whatever_it_thinks_of_us(  # noqa: PLR0917
    haproxy: AskingHAProxy,
    leaf: Issued,
    known: ClientCertificate,
    stranger: ClientCertificate,
    version: TLSVersion,
    by: Callable[[Endpoint], object],
) -> None:
    refused = "the server refused it with the alert unknown_ca"
    unusable = ClientCertificate("/nowhere", "/nowhere")
    for asks, shown, use, fault in (
        (Asks.NOT, None, Use.NOT_REQUESTED, ""),
        (Asks.NOT, known, Use.NOT_REQUESTED, ""),
        (Asks.OPTIONALLY, None, Use.REQUESTED, ""),
        (Asks.OPTIONALLY, known, Use.ACCEPTED, ""),
        (Asks.STRICTLY, None, Use.REQUIRED, ""),
        (Asks.STRICTLY, known, Use.ACCEPTED, ""),
        (Asks.STRICTLY, stranger, Use.REFUSED, refused),
        (Asks.STRICTLY, unusable, Use.REQUIRED, "/nowhere: No such file or directory"),
        (Asks.NOT, unusable, Use.UNUSABLE, "/nowhere: No such file or directory"),
    ):
        host, port = haproxy.at[asks, version]
        seen = only(Endpoint("it", host, port, NAME, client_certificate=shown), by)
        assert (seen.client_certificate, seen.client_certificate_fault) == (use, fault)
        assert ([each.der for each in seen.chain], seen.version) == ([each.der() for each in leaf.chain], version)


@pytest.mark.server("haproxy")
@pytest.mark.parametrize("version", BOTH)
def test_a_staple_is_kept_as_it_came(haproxy: AskingHAProxy, version: TLSVersion) -> None:
    host, port = haproxy.at[Asks.STRICTLY, version]
    seen = only(Endpoint("it", host, port, NAME))
    assert seen.staple == Path(f"{haproxy.sites[0].certificate}.ocsp").read_bytes()
    answer = staple_of(seen)
    assert isinstance(answer, OCSPAnswer)
    assert (answer.status, answer.signer) == (OCSPStatus.GOOD, seen.chain[1])
    assert staple_of(replace(seen, staple=b"")) is None


class AskingNginx(Nginx):
    """nginx, which asks for a certificate and refuses who has none by HTTP."""

    def _server_block(self, name: str, sites: list[Site]) -> str:  # type: ignore[override]
        asking = f"ssl_verify_client on; ssl_client_certificate {sites[0].certificate}; ssl_protocols"
        return super()._server_block(name, sites).replace("ssl_protocols", asking)


@pytest.mark.server("nginx")
def test_a_server_that_turns_clients_away_above_tls_only_asks_as_far_as_tls_is_concerned(
    tmp_path: Path, leaf: Issued
) -> None:
    with AskingNginx(str(tmp_path / "nginx"), [write_site(str(tmp_path), leaf)]) as server:
        seen = only(Endpoint("it", server.host, server.port, NAME))
    assert (seen.client_certificate, seen.staple) == (Use.REQUESTED, b"")


def record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


CHANGE, FINISHED = record(20, b"\1"), record(23, bytes(53))
NO_CERTIFICATE = record(22, b"\x0b\0\0\3\0\0\0")


@pytest.mark.parametrize(
    ("flight", "asked"),
    [
        pytest.param(record(22, b"\1" + bytes(200)), False, id="a ClientHello"),
        pytest.param(record(22, b"\x10" + bytes(66)) + CHANGE + record(22, bytes(40)), False, id="TLS 1.2"),
        pytest.param(NO_CERTIFICATE + record(22, b"\x10" + bytes(66)) + CHANGE, True, id="TLS 1.2, asked"),
        pytest.param(CHANGE + record(22, b"\x0b" + bytes(39)), False, id="TLS 1.2, an encrypted record that looks so"),
        pytest.param(CHANGE + FINISHED, False, id="TLS 1.3"),
        pytest.param(CHANGE + record(23, bytes(25)) + FINISHED, True, id="TLS 1.3, asked"),
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"\x16\3\3\0", False, id="less than a record"),
    ],
)
def test_a_client_that_was_asked_sends_a_certificate_or_the_lack_of_one(flight: bytes, *, asked: bool) -> None:
    assert sends_certificate(flight) is asked


def test_one_file_may_hold_certificate_and_key_and_is_read_anew_once_it_has_changed(
    tmp_path: Path, issuing_ca: Authority
) -> None:
    path = tmp_path / "both.pem"
    both = ClientCertificate(str(path), str(path))
    serials = []
    for _ in range(2):
        issued = issuing_ca.issue(subject="prober", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH])
        path.write_bytes(issued.key_pem() + issued.chain_pem())
        identity = identity_of(both)
        assert isinstance(identity, Identity)
        assert identity_of(both) is identity
        assert len(identity.chain) == 2
        serials.append((identity.chain[0].serial_number, issued.certificate.serial_number))
    assert all(found == wanted for found, wanted in serials)


def test_files_that_cannot_be_shown_say_why(tmp_path: Path, issuing_ca: Authority) -> None:
    issued, other = (
        issuing_ca.issue(subject="prober", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]),
        issuing_ca.issue(subject="other"),
    )
    certificate, key, bad = tmp_path / "client.crt", tmp_path / "client.key", tmp_path / "bad"
    certificate.write_bytes(issued.pem())
    key.write_bytes(issued.key_pem())
    locked = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    for content, as_key, why in (
        (b"", False, "it holds no certificate in PEM"),
        (issued.der(), False, "it holds no certificate in PEM"),
        (issued.pem(), True, "it holds no private key in PEM"),
        (locked, True, "the private key needs a password; certvigil takes one without"),
        (other.key_pem(), True, f"the private key does not belong to the certificate in {certificate}"),
        (b" " * (MOST_BYTES + 1), True, "File too large"),
    ):
        bad.write_bytes(content)
        where = ClientCertificate(str(certificate), str(bad)) if as_key else ClientCertificate(str(bad), str(key))
        found = identity_of(where)
        assert isinstance(found, Unusable)
        assert found.why == f"{bad}: {why}"
    os.mkfifo(fifo := tmp_path / "fifo")
    found = identity_of(ClientCertificate(str(fifo), str(key)))
    assert isinstance(found, Unusable)
    assert found.why == f"{fifo}: it is not a regular file"


@pytest.mark.server("haproxy")
def test_a_key_of_another_kind_than_is_asked_for_cannot_be_shown(
    haproxy: AskingHAProxy, place: Path, known: ClientCertificate, issuing_ca: Authority
) -> None:
    host, port = haproxy.at[Asks.STRICTLY, TLSVersion.TLS1_3]
    rsa = files(
        place,
        issuing_ca.issue(subject="prober", purposes=[ExtendedKeyUsageOID.CLIENT_AUTH], key=KeyType.RSA2048),
        "rsa",
    )
    asking = Endpoint("it", host, port, NAME, key_types=(KeyKind.EC,))
    assert only(replace(asking, client_certificate=known), by_blocking).client_certificate is Use.ACCEPTED
    seen = only(replace(asking, client_certificate=rsa), by_blocking)
    assert seen.client_certificate is Use.REQUIRED
    assert seen.client_certificate_fault == f"{rsa.key}: it cannot be shown while ec keys alone are asked for"
