"""Which certificates in a file are a server's own, and how sentences call them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.catalogue import CATALOGUE
from config.model import FileTarget
from config.vocabulary import Code, FileContent, FileRole, Severity
from monitor.lab.ca import DAY, Authority, Issued, Knobs, bundle, self_signed
from probes.assess import FileContext, assess_file
from probes.certificate import certificate
from probes.chain import are_anchors
from probes.file import look_at_file
from probes.finding import Finding

NOW = time.time()
NAME = "www.example.com"
LONG_AGO = Knobs(not_before=NOW - 900 * DAY, not_after=NOW - DAY)
ROOT = Authority.root("Root")
ENDED_ROOT = Authority.root("Ended Root", **LONG_AGO)
SERVERS_OWN = self_signed(NAME, **LONG_AGO | Knobs(ca=True))
"""As appliances make it: its own CA."""
BY_COMMON_NAME = self_signed(**LONG_AGO | Knobs(subject=NAME, ca=True))
WITHOUT_NAMES = self_signed(**LONG_AGO | Knobs(subject="Appliance", ca=True, purposes=()))


def judged(content: bytes, directory: Path, role: FileRole = FileRole.FOUND, **context: object) -> list[Finding]:
    path = directory / "it.pem"
    path.write_bytes(content)
    target = FileTarget("it", str(path), role)
    return list(assess_file(look_at_file(target, NOW), FileContext(target, **context), NOW).findings)  # type: ignore[arg-type]


def expired(found: list[Finding]) -> list[Severity]:
    return [each.severity for each in found if each.code is Code.EXPIRED]


@pytest.mark.parametrize("issued", [SERVERS_OWN, BY_COMMON_NAME], ids=["alternative name", "common name"])
def test_an_expired_certificate_of_a_server_that_is_its_own_ca_is_critical(issued: Issued, tmp_path: Path) -> None:
    assert expired(judged(issued.pem(), tmp_path)) == [Severity.CRITICAL]


def test_beside_its_key_a_ca_without_names_is_a_servers(tmp_path: Path) -> None:
    assert expired(judged(WITHOUT_NAMES.pem(), tmp_path)) == [Severity.NOTICE]
    own = (certificate(WITHOUT_NAMES.der()).public_key_sha256(),)
    assert expired(judged(WITHOUT_NAMES.pem(), tmp_path, keys=own)) == [Severity.CRITICAL]
    with_key = WITHOUT_NAMES.pem() + WITHOUT_NAMES.key_pem()
    assert expired(judged(with_key, tmp_path, FileRole.LISTED)) == [Severity.CRITICAL]


def test_what_a_component_presents_is_a_servers_whatever_it_says(tmp_path: Path) -> None:
    assert expired(judged(WITHOUT_NAMES.pem(), tmp_path, FileRole.CERTIFICATE)) == [Severity.CRITICAL]


@pytest.mark.parametrize(
    "anchors",
    [
        (ENDED_ROOT,),
        (ENDED_ROOT, ROOT),
        (ROOT, ENDED_ROOT, SERVERS_OWN),
        (SERVERS_OWN, ENDED_ROOT),
        (ENDED_ROOT.intermediate("Below", **LONG_AGO), ENDED_ROOT),
    ],
    ids=["a root", "two", "with a server's own among them", "with it in front", "an intermediate"],
)
def test_a_bundle_of_anchors_gives_notices_only(anchors: tuple[Issued, ...], tmp_path: Path) -> None:
    found = judged(bundle(anchors), tmp_path)
    assert expired(found)
    assert {each.severity for each in found} == {Severity.NOTICE}


def test_a_servers_certificate_that_says_ca_leads_its_chain() -> None:
    leaf = ROOT.issue(NAME, ca=True)
    assert not are_anchors((certificate(leaf.der()), certificate(ROOT.der())))


def test_a_key_in_the_file_makes_it_a_servers(tmp_path: Path) -> None:
    path = tmp_path / "it.pem"
    path.write_bytes(WITHOUT_NAMES.pem() + WITHOUT_NAMES.key_pem())
    found = look_at_file(FileTarget("it", str(path), FileRole.FOUND), NOW)
    assert found.content is FileContent.LEAF


@pytest.mark.parametrize(
    ("issued", "title"),
    [
        (ROOT.issue(NAME), f"CN={NAME}"),
        (ROOT.issue(NAME, "other.example.com", subject=""), NAME),
        (ROOT.issue("192.0.2.1", subject=""), "192.0.2.1"),
        (ROOT.issue(x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), NAME, subject=""), NAME),
    ],
    ids=["subject", "first name", "address", "first that can be said"],
)
def test_a_certificate_is_called_by_its_subject_or_its_first_name(issued: Issued, title: str) -> None:
    assert certificate(issued.der()).title == title


def test_a_certificate_with_neither_is_called_by_its_fingerprint() -> None:
    nameless = certificate(ROOT.issue(subject="").der())
    assert nameless.title == f"the certificate with the SHA-256 {nameless.sha256[:16]}"


def test_sentences_call_a_certificate_with_an_empty_subject_by_its_name(tmp_path: Path) -> None:
    leaf = ROOT.issue(NAME, subject="")
    (found,) = judged(leaf.pem(), tmp_path, keys=("00" * 32,), keys_where="/etc/web.key")
    assert found.detail == f"the private key in /etc/web.key does not belong to {NAME}"


@pytest.mark.parametrize(
    ("subject", "purposes", "carries"),
    [
        (NAME, (ExtendedKeyUsageOID.SERVER_AUTH,), True),
        ("192.0.2.1", (ExtendedKeyUsageOID.SERVER_AUTH,), True),
        ("*.example.com", (ExtendedKeyUsageOID.SERVER_AUTH,), True),
        (NAME, (), False),
        ("Example Root CA", (ExtendedKeyUsageOID.SERVER_AUTH,), False),
    ],
)
def test_a_common_name_is_a_servers_where_it_is_a_host_and_the_purpose_is_to_serve(
    subject: str, purposes: tuple[x509.ObjectIdentifier, ...], carries: bool
) -> None:
    assert certificate(ROOT.issue(subject=subject, purposes=purposes).der()).carries_server_names is carries


def test_several_common_names_are_all_read() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each) for each in ("Example", NAME)])
    assert certificate(ROOT.issue(subject=subject).der()).common_names() == ("Example", NAME)


def test_a_bundle_of_certificates_that_clients_pin_is_judged_and_cured_as_a_bundle(tmp_path: Path) -> None:
    """Each is its own issuer and no CA: a server that presents one of them does not present the other."""
    pinned = bundle([self_signed(NAME, **LONG_AGO), self_signed("other.example.com")])
    found = judged(pinned, tmp_path, FileRole.LISTED)
    assert {each.code for each in found} == {Code.EXPIRED}
    (cure,) = {each.detail.rpartition("; to cure it, ")[2] for each in found}
    assert cure == CATALOGUE[Code.EXPIRED].anchor_cure
    assert {each.code for each in judged(pinned, tmp_path, FileRole.CERTIFICATE)} > {Code.EXPIRED}, "of a server"
