"""A file is called by what is in it, whatever its name: opened where that can be, and never silently passed over."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    pkcs7,
)
from cryptography.x509.oid import NameOID

from config.model import FileTarget
from config.text import Printable
from config.vocabulary import Code, FileFormat, FileRole, Severity, UnreadableReason
from monitor.lab.ca import Authority, KeyType
from probes.assess import FileContext, assess_file, is_worth_watching
from probes.certificate import certificate
from probes.container import registry
from probes.container.blocks import NOTHING
from probes.container.document import LARGEST
from probes.container.registry import FORMATS, called, open_container, open_unsealed, recognise, trusted_in
from probes.file import SIZE_LIMIT, look_at_file
from probes.finding import Finding
from probes.observation import FileObservation, Unreadable
from probes.store_content import read_store
from tests.kit.java_keystore import CHANGEIT, JCEKS, JKS, store, trust_store, trusted
from tests.kit.keystore import PASSWORD, encrypted_key, indefinite, keystore

ROOT = Authority.root()
ISSUING = ROOT.intermediate()
LEAF = ISSUING.issue("www.example.com", key=KeyType.P256)
CHAIN = tuple(certificate(each.der()) for each in (LEAF, ISSUING))
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "www.example.com")])
NOW = 1_800_000_000.0

pytestmark = pytest.mark.filterwarnings("ignore:PKCS#.* could not be parsed as DER:UserWarning")


def request(encoding: Encoding) -> bytes:
    return x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(KEY, SHA256()).public_bytes(encoding)


def crl(encoding: Encoding, *, empty: bool = False) -> bytes:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(at)
    builder = builder.next_update(at + timedelta(days=7))
    if not empty:
        gone = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(at).build()
        builder = builder.add_revoked_certificate(gone)
    return builder.sign(KEY, SHA256()).public_bytes(encoding)


def signed_data(encoding: Encoding) -> bytes:
    """Return the chain as the set that PKCS#7 has, which is ordered by bytes."""
    return pkcs7.serialize_certificates([ISSUING.certificate, LEAF.certificate], encoding)


def java(magic: str) -> bytes:
    """Return a Java keystore of a version that there is not, without an entry: magic, version, count, digest."""
    body = bytes.fromhex(magic) + (3).to_bytes(4, "big") + bytes(4)
    return body + hashlib.sha1(b"changeit" + body).digest()


BKS = bytes.fromhex("0000000200000014") + bytes(20) + (1024).to_bytes(4, "big") + bytes(21)
OCSP = bytes.fromhex("30030a0106")
PARAMETERS = b"-----BEGIN DH PARAMETERS-----\nMAYCAQcCAQI=\n-----END DH PARAMETERS-----\n"
ED25519 = ed25519.Ed25519PrivateKey.generate()


def public(encoding: Encoding, shape: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    return ED25519.public_key().public_bytes(encoding, shape)


def private(encoding: Encoding, shape: PrivateFormat, *, sealed: bool = False) -> bytes:
    return KEY.private_bytes(encoding, shape, BestAvailableEncryption(PASSWORD) if sealed else NoEncryption())


def openssh_certificate() -> bytes:
    builder = SSHCertificateBuilder().public_key(ED25519.public_key()).type(SSHCertificateType.HOST)
    named = builder.key_id(b"host").valid_principals([b"www.example.com"]).valid_after(0).valid_before(2**40)
    return named.sign(ED25519).public_bytes() + b"\n"


LOOKED_INTO = {
    "PEM": (LEAF.chain_pem(), FileFormat.PEM),
    "DER": (LEAF.der(), FileFormat.DER),
    "PKCS#7 in PEM": (signed_data(Encoding.PEM), FileFormat.PKCS7),
    "PKCS#7 in DER": (signed_data(Encoding.DER), FileFormat.PKCS7),
    "PKCS#7 in BER": (indefinite(signed_data(Encoding.DER)), FileFormat.PKCS7),
    "PKCS#7 called a certificate": (
        b"-----BEGIN CERTIFICATE-----\n"
        + base64.encodebytes(signed_data(Encoding.DER))
        + b"-----END CERTIFICATE-----\n",
        FileFormat.PKCS7,
    ),
    "PKCS#12": (keystore(LEAF), FileFormat.PKCS12),
    "PKCS#12 without a password": (keystore(LEAF, None), FileFormat.PKCS12),
    "PKCS#12 in BER": (indefinite(keystore(LEAF)), FileFormat.PKCS12),
}
WITHOUT_CERTIFICATE = {
    "a request": (request(Encoding.PEM), FileFormat.REQUEST),
    "a request in DER": (request(Encoding.DER), FileFormat.REQUEST),
    "a CRL": (crl(Encoding.PEM), FileFormat.CRL),
    "a CRL in DER": (crl(Encoding.DER), FileFormat.CRL),
    "an empty CRL in DER": (crl(Encoding.DER, empty=True), FileFormat.CRL),
    "an OpenSSH key": (private(Encoding.PEM, PrivateFormat.OpenSSH), FileFormat.OPENSSH_KEY),
    "an OpenSSH public key": (public(Encoding.OpenSSH, PublicFormat.OpenSSH), FileFormat.PUBLIC_KEY),
    "an OpenSSH certificate": (openssh_certificate(), FileFormat.OPENSSH_CERTIFICATE),
    "a PuTTY key": (b"PuTTY-User-Key-File-3: ssh-ed25519\n", FileFormat.PUTTY_KEY),
    "a key": (private(Encoding.PEM, PrivateFormat.PKCS8), FileFormat.PRIVATE_KEY),
    "a key in DER": (private(Encoding.DER, PrivateFormat.PKCS8), FileFormat.PRIVATE_KEY),
    "an EC key in DER": (private(Encoding.DER, PrivateFormat.TraditionalOpenSSL), FileFormat.PRIVATE_KEY),
    "an encrypted key": (private(Encoding.PEM, PrivateFormat.PKCS8, sealed=True), FileFormat.PRIVATE_KEY),
    "an encrypted key in DER": (private(Encoding.DER, PrivateFormat.PKCS8, sealed=True), FileFormat.PRIVATE_KEY),
    "a public key": (public(Encoding.PEM), FileFormat.PUBLIC_KEY),
    "a public key in DER": (public(Encoding.DER), FileFormat.PUBLIC_KEY),
    "an OCSP response": (OCSP, FileFormat.OCSP_RESPONSE),
    "parameters": (PARAMETERS, FileFormat.PARAMETERS),
    "text": (b"0, 1, 2\n", FileFormat.OTHER),
    "nothing": (b"", FileFormat.OTHER),
}
KEYSTORES = {
    "a JKS keystore": (java("feedfeed"), FileFormat.JKS, UnreadableReason.UNSUPPORTED),
    "a JCEKS keystore": (java("cececece"), FileFormat.JCEKS, UnreadableReason.UNSUPPORTED),
    "a Bouncy Castle keystore (BKS)": (BKS, FileFormat.BKS, UnreadableReason.UNSUPPORTED),
    "a PKCS#12 keystore": (keystore(LEAF), FileFormat.PKCS12, UnreadableReason.LOCKED),
}


def look(directory: Path, data: bytes, role: FileRole, password: bytes | None = None) -> FileObservation:
    path, secret = directory / "whatever.txt", directory / "password"
    path.write_bytes(data)
    if password is not None:
        secret.write_bytes(password + b"\n")
    target = FileTarget("a file", str(path), role, password_files=() if password is None else (str(secret),))
    return look_at_file(target, NOW)


def judged(seen: FileObservation, role: FileRole) -> tuple[Finding, ...]:
    return assess_file(seen, FileContext(FileTarget("a file", "/whatever.txt", role)), NOW).findings


@pytest.mark.parametrize("name", LOOKED_INTO)
@pytest.mark.parametrize("role", [FileRole.LISTED, FileRole.FOUND])
def test_every_container_that_is_read_gives_the_chain_leaf_first(tmp_path: Path, name: str, role: FileRole) -> None:
    data, form = LOOKED_INTO[name]
    seen = look(tmp_path, data, role, PASSWORD)
    assert (seen.failure, seen.format) == (None, form)
    assert seen.certificates == (CHAIN[:1] if form is FileFormat.DER else CHAIN)


@pytest.mark.parametrize("name", WITHOUT_CERTIFICATE)
def test_what_holds_no_certificate_is_called_by_its_name(tmp_path: Path, name: str) -> None:
    data, form = WITHOUT_CERTIFICATE[name]
    seen = look(tmp_path, data, FileRole.FOUND)
    assert (seen.failure, seen.format, seen.certificates) == (None, form, ())
    worth_it = is_worth_watching(seen, FileContext(FileTarget("a file", "/whatever.txt", FileRole.FOUND)))
    assert worth_it is (form is FileFormat.CRL)
    said = judged(look(tmp_path, data, FileRole.CERTIFICATE), FileRole.CERTIFICATE)
    about_it = next(each for each in said if each.code is Code.NO_CERTIFICATE)
    held = called(form) if data else "empty"
    assert about_it.detail == (f"holds no certificate: it is {held}" if held else "holds no certificate")


@pytest.mark.parametrize("name", KEYSTORES)
def test_a_keystore_that_cannot_be_opened_is_a_target_and_called_by_its_name(tmp_path: Path, name: str) -> None:
    data, form, reason = KEYSTORES[name]
    seen = look(tmp_path, data, FileRole.FOUND)
    assert seen.format is form
    assert seen.failure is not None
    assert seen.failure.reason is reason
    assert seen.failure.detail.startswith(name)
    assert is_worth_watching(seen, FileContext(FileTarget("a file", "/whatever.txt", FileRole.FOUND)))
    (found,) = judged(seen, FileRole.FOUND)
    assert (found.code, found.severity) == (Code.UNREADABLE, Severity.NOTICE)
    assert "damaged" not in found.detail
    (named,) = judged(look(tmp_path, data, FileRole.LISTED), FileRole.LISTED)
    assert (named.code, named.severity) == (Code.UNREADABLE, Severity.WARNING)
    (own,) = judged(look(tmp_path, data, FileRole.KEYSTORE), FileRole.KEYSTORE)
    assert (own.code, own.severity) == (Code.UNREADABLE, Severity.CRITICAL)
    assert name in own.detail


def test_a_keystore_that_is_cut_short_is_a_target_all_the_same(tmp_path: Path) -> None:
    seen = look(tmp_path, keystore(LEAF)[:-9], FileRole.FOUND)
    assert seen.failure == Unreadable(UnreadableReason.BAD_DER, Printable("the keystore is cut short or damaged"))
    assert is_worth_watching(seen, FileContext(FileTarget("a file", "/whatever.txt", FileRole.FOUND)))


def test_the_wrong_password_is_said(tmp_path: Path) -> None:
    seen = look(tmp_path, keystore(LEAF), FileRole.LISTED, b"wrong")
    assert seen.failure is not None
    assert seen.failure.reason is UnreadableReason.WRONG_PASSWORD
    assert seen.failure.detail.startswith("a PKCS#12 keystore that this password does not open (password of ")


def test_a_key_that_asks_for_too_much_work_says_so(tmp_path: Path) -> None:
    assert look(tmp_path, encrypted_key(LEAF, 2), FileRole.LISTED, PASSWORD).keys == (CHAIN[0].public_key_sha256(),)
    seen = look(tmp_path, encrypted_key(LEAF, 2**31 - 1), FileRole.LISTED, PASSWORD)
    why = Printable("private key 1 takes more than 3 s of work or 1024 MiB of memory to open")
    assert seen.failure == Unreadable(UnreadableReason.TOO_LARGE, why)


def test_the_password_opens_encrypted_keys(tmp_path: Path) -> None:
    data = private(Encoding.PEM, PrivateFormat.PKCS8, sealed=True)
    assert (look(tmp_path, data, FileRole.LISTED).keys, look(tmp_path, data, FileRole.LISTED).encrypted_keys) == ((), 1)
    assert look(tmp_path, data, FileRole.LISTED, b"wrong").encrypted_keys == 1
    opened = look(tmp_path, data, FileRole.LISTED, PASSWORD)
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (opened.keys, opened.encrypted_keys) == ((hashlib.sha256(spki).hexdigest(),), 0)


@pytest.mark.parametrize(
    "spoil", [lambda data: data[: len(data) // 2], lambda data: data[:-1], lambda data: data[:40] + b"\xff" * 200]
)
@pytest.mark.parametrize("name", [*LOOKED_INTO, *WITHOUT_CERTIFICATE, *KEYSTORES])
def test_no_damage_makes_looking_fail(name: str, spoil: Callable[[bytes], bytes]) -> None:
    data: bytes = next(each[name][0] for each in (LOOKED_INTO, WITHOUT_CERTIFICATE, KEYSTORES) if name in each)
    container = open_container(spoil(data), PASSWORD)
    assert isinstance(container.format, FileFormat)


HOSTILE = (
    *(b" ", b"\n", b"\n\t", b":", b'"', b"'", b"a", b"{", b"[", b"0", b"\0", b"-", b"ssh-rsa ", b"0\x80", b"0\x82\0\0"),
    *(b"-----BEGIN ", b"-----END ", b"-----END " + b"A" * 60, b"clusters ", b"'clusters", b'{"kind" ', b"\n'kind' : "),
    *(b"kind: Config ,", b"\nkind: Config x"),
)
"""Octets that some format's beginning is made of."""


@pytest.mark.parametrize("name", [each.name for each in FORMATS if each.begins is not None])
def test_no_file_takes_long_to_be_recognised(name: FileFormat) -> None:
    """A file of 8 MiB takes less than a second."""
    begins = next(each.begins for each in FORMATS if each.name is name)
    assert begins is not None
    for front in (b"", b"{Config clusters", b"0\x83\x0f\xff\xf0"):
        for unit in HOSTILE:
            data = (front + unit * (LARGEST // len(unit)))[:LARGEST]
            before = time.process_time()
            begins(data)
            assert time.process_time() - before < LARGEST / SIZE_LIMIT, (front, unit)


def test_every_format_is_in_the_table_once() -> None:
    names = [each.name for each in FORMATS]
    assert len(names) == len(set(names))
    assert {*names, FileFormat.OTHER} == set(FileFormat)


def test_the_table_has_the_order_that_its_docstring_puts_into_words() -> None:
    said = re.findall(r"^ ?(\d+)\. `(\w+)`", registry.__doc__ or "", re.MULTILINE)
    assert said == [(str(number), each.name) for number, each in enumerate(FORMATS, start=1)]


@pytest.mark.parametrize("name", [*LOOKED_INTO, *WITHOUT_CERTIFICATE, *KEYSTORES])
def test_the_first_octet_leaves_out_no_format_that_would_fit(name: str) -> None:
    data: bytes = next(each[name][0] for each in (LOOKED_INTO, WITHOUT_CERTIFICATE, KEYSTORES) if name in each)
    assert recognise(data) == next((each for each in FORMATS if each.begins is not None and each.begins(data)), None)


def test_each_format_that_is_opened_has_what_trust_stores_and_candidates_ask_of_it() -> None:
    opened = [each for each in FORMATS if each.opened is not None]
    # A key in DER is called by its encoding, and a revocation list is none of certificates or keys.
    assert {each.name for each in opened if not each.encoding} == {FileFormat.PRIVATE_KEY, FileFormat.CRL}
    assert {each.name for each in opened if each.is_keystore} == {each.name for each in FORMATS if each.exact} != set()


TRUST_STORES = {
    FileFormat.JKS: store(trusted("root", ROOT.der()), magic=JKS, password=CHANGEIT),
    FileFormat.JCEKS: store(trusted("root", ROOT.der()), magic=JCEKS, password=CHANGEIT),
    FileFormat.PKCS12: trust_store([ROOT], ["root"]),
}


def test_each_keystore_that_is_opened_shows_its_trusted_certificates_as_its_row_says() -> None:
    assert {each.name for each in FORMATS if each.is_keystore and each.opened is not None} == TRUST_STORES.keys()
    for form, data in TRUST_STORES.items():
        row = recognise(data)
        assert row is not None
        assert row.name is form
        assert trusted_in(data) == ((ROOT.der(),) if row.shows_trusted else ())
        assert read_store(data, (None,)).anchors == trusted_in(data)
        assert read_store(data).anchors == (ROOT.der(),)


def test_a_label_of_pem_names_one_format() -> None:
    labels = [label for each in FORMATS for label in each.labels]
    assert len(labels) == len(set(labels))


def test_certificates_beside_pkcs7_in_pem_are_all_seen_in_file_order() -> None:
    container = open_container(LEAF.pem() + signed_data(Encoding.PEM) + ROOT.pem())
    assert container.format is FileFormat.PEM
    assert container.encodings == {FileFormat.PEM, FileFormat.PKCS7}
    assert container.blocks.certificates == (LEAF.der(), LEAF.der(), ISSUING.der(), ROOT.der())


def test_the_boundary_of_a_pem_block_within_der_makes_it_no_pem() -> None:
    boundary = x509.UniformResourceIdentifier("-----BEGIN CERTIFICATE-----")
    odd = ISSUING.issue(boundary, "www.example.com")
    assert open_container(odd.der()).blocks.certificates == (odd.der(),)


@pytest.mark.parametrize("name", KEYSTORES)
def test_no_keystore_is_opened_where_nobody_may_be_made_to_work(name: str) -> None:
    assert open_unsealed(KEYSTORES[name][0]) == NOTHING
    assert open_unsealed(keystore(LEAF, None)) == NOTHING
    assert open_unsealed(LEAF.pem()).certificates == (LEAF.der(),)
