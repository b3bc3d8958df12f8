"""OCSP responses: those of OpenSSL's responder, and those that prove nothing."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.lab.ca import DAY, Authority, Issued, KeyType, self_signed
from probes.certificate import Certificate, certificate
from probes.ocsp import (
    CLOCK_SKEW,
    LASTS,
    MOST_BYTES,
    OCSPAnswer,
    OCSPFault,
    OCSPStatus,
    answer_boundaries,
    ocsp_answer,
    possible_issuers,
)
from tests.kit.examples import examples

NOW = 1_795_000_000
HOUR = 3600


@cache
def ca() -> Authority:
    return Authority.root("OCSP CA", not_before=NOW - 300 * DAY, not_after=NOW + 300 * DAY)


@cache
def leaf() -> Issued:
    return ca().issue("www.example.com", not_before=NOW - DAY, not_after=NOW + 80 * DAY)


@cache
def delegate() -> Issued:
    return delegated(ca())


def delegated(issuer: Authority | None, *, may_sign: bool = True) -> Issued:
    knobs: Any = {"subject": "Responder", "not_before": NOW - DAY, "not_after": NOW + DAY}
    knobs["purposes"] = [ExtendedKeyUsageOID.OCSP_SIGNING if may_sign else ExtendedKeyUsageOID.SERVER_AUTH]
    return issuer.issue(**knobs) if issuer else self_signed(**knobs)


def value(issued: Issued) -> Certificate:
    return certificate(issued.der())


def response(
    signer: Issued | None = None,
    about: Issued | None = None,
    *,
    forger: Issued | None = None,
    issuer: Authority | None = None,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    encloses: bool = True,
    this_update: int = NOW - HOUR,
    next_update: int | None = NOW + HOUR,
    by_name: bool = True,
) -> bytes:
    """Return a response by `signer`, the CA by default, or by a `forger` of that name."""
    signer, about, issuer = signer or ca(), about or leaf(), issuer or ca()
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        about.certificate,
        issuer.certificate,
        hashes.SHA1(),
        status,
        datetime.fromtimestamp(this_update, UTC),
        None if next_update is None else datetime.fromtimestamp(next_update, UTC),
        datetime.fromtimestamp(NOW - 7 * HOUR, UTC) if revoked else None,
        x509.ReasonFlags.key_compromise if revoked else None,
    )
    encoding = ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH
    builder = builder.responder_id(encoding, (forger or signer).certificate)
    if signer is not ca() and encloses:
        builder = builder.certificates([signer.certificate])
    return builder.sign((forger or signer).key, hashes.SHA256()).public_bytes(Encoding.DER)


def answer(der: bytes) -> OCSPAnswer:
    found = ocsp_answer(der, value(leaf()), (value(ca()),))
    assert isinstance(found, OCSPAnswer)
    return found


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by key"])
def test_the_issuer_itself_vouches(*, by_name: bool) -> None:
    found = answer(response(by_name=by_name))
    assert (found.status, found.signer, found.doubt) == (OCSPStatus.GOOD, value(ca()), "")
    assert (found.this_update, found.next_update, found.revoked_at, found.reason) == (NOW - HOUR, NOW + HOUR, None, "")
    assert found.why_no_proof(NOW) == ""


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by key"])
def test_a_delegate_of_the_issuer_vouches_while_its_certificate_is_valid(*, by_name: bool) -> None:
    found = answer(response(delegate(), by_name=by_name, next_update=NOW + 9 * DAY))
    assert (found.signer, found.why_no_proof(NOW)) == (value(delegate()), "")
    assert found.why_no_proof(NOW + 2 * DAY) == "the certificate of its signer, CN=Responder, is not valid now"


@pytest.mark.parametrize("status", [ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED])
@pytest.mark.parametrize(
    ("next_update", "end"), [(None, NOW - HOUR + LASTS), (NOW + 9 * DAY, NOW + 9 * DAY)], ids=["without end", "with"]
)
def test_every_answer_ends(status: ocsp.OCSPCertStatus, next_update: int | None, end: int) -> None:
    der = response(status=status, next_update=next_update)
    last = end + CLOCK_SKEW
    assert [answer(der).why_no_proof(at) for at in (NOW, last, last + 1)] == ["", "", "it is out of date"]
    assert answer_boundaries(der) == (NOW - HOUR - CLOCK_SKEW, last + 1)


def test_a_revocation_has_its_time_and_its_reason() -> None:
    found = answer(response(status=ocsp.OCSPCertStatus.REVOKED))
    assert (found.status, found.revoked_at, found.reason) == (OCSPStatus.REVOKED, NOW - 7 * HOUR, "keyCompromise")
    assert answer(response(status=ocsp.OCSPCertStatus.UNKNOWN)).status is OCSPStatus.UNKNOWN


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (NOW - HOUR - CLOCK_SKEW - 1, "it is from the future"),
        (NOW - HOUR - CLOCK_SKEW, ""),
        (NOW + HOUR + CLOCK_SKEW, ""),
        (NOW + HOUR + CLOCK_SKEW + 1, "it is out of date"),
    ],
)
def test_an_answer_proves_something_between_its_updates(at: float, why: str) -> None:
    assert answer(response()).why_no_proof(at) == why


@pytest.mark.parametrize(
    ("der", "why"),
    [
        (
            lambda: response(forger=Authority.root("OCSP CA", key=KeyType.P384)),
            "its signature is not that of the issuer",
        ),
        (
            lambda: response(delegate(), forger=self_signed(subject="Responder", key=KeyType.P384)),
            "its signature is not that of CN=Responder",
        ),
        (lambda: response(delegate(), encloses=False), "the certificate of its signer is not in it"),
        (lambda: response(delegated(None)), "its signer, CN=Responder, was not certified by the issuer"),
        (
            lambda: response(delegated(Authority.root("OCSP CA", key=KeyType.P384))),
            "its signer, CN=Responder, was not certified by the issuer",
        ),
        (
            lambda: response(delegated(ca(), may_sign=False)),
            "its signer, CN=Responder, is not meant to sign OCSP responses",
        ),
    ],
)
def test_whoever_else_signs_it_proves_nothing(der: Any, why: str) -> None:
    found = answer(der())
    assert (found.signer, found.doubt, found.why_no_proof(NOW)) == (None, why, why)


def test_without_the_issuer_the_answer_is_there_and_proves_nothing() -> None:
    found = ocsp_answer(response(), value(leaf()), ())
    assert isinstance(found, OCSPAnswer)
    assert found.status is OCSPStatus.GOOD
    assert found.why_no_proof(NOW) == "the issuer of the certificate is not at hand"


def test_an_answer_about_another_certificate_says_nothing() -> None:
    other = ca().issue("other.example.com")
    namesake = Authority.root("OCSP CA", key=KeyType.P384)
    for der in (response(about=other), response(issuer=namesake)):
        assert ocsp_answer(der, value(leaf()), (value(ca()),)) == OCSPFault("is about another certificate")  # type: ignore[arg-type]


def test_errors_and_other_bytes_are_faults() -> None:
    failed = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER)
    good = response()
    for der, why in (
        (failed, "is the responder's error try_later"),
        (b"0" * (MOST_BYTES + 1), "is larger than 65536 bytes"),
        (b"", "cannot be decoded"),
        (leaf().der(), "cannot be decoded"),
        *((good[:size], "cannot be decoded") for size in range(1, len(good), 17)),
    ):
        found = ocsp_answer(der, value(leaf()), (value(ca()),))
        assert isinstance(found, OCSPFault)
        assert found.why.startswith(why)
        assert found.why.isprintable()


def test_no_bit_flips_unnoticed() -> None:
    good, at = response(), (value(ca()),)
    for position in range(0, len(good), 3):
        bad = good[:position] + bytes([good[position] ^ 4]) + good[position + 1 :]
        found = ocsp_answer(bad, value(leaf()), at)
        assert isinstance(found, OCSPFault) or found.why_no_proof(NOW) or position < 30  # the frame is not signed


@settings(max_examples=examples(200), deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3)), max_size=4), tail=st.binary(max_size=8))
def test_no_bytes_raise_or_say_something_unprintable(edits: list[tuple[int, bytes]], tail: bytes) -> None:
    der = bytearray(response(delegate(), status=ocsp.OCSPCertStatus.REVOKED))
    for at, piece in edits:
        der[at % len(der) : at % len(der) + len(piece)] = piece
    found = ocsp_answer(bytes(der) + tail, value(leaf()), (value(ca()),))
    text = found.why if isinstance(found, OCSPFault) else f"{found.reason}{found.doubt}{found.why_no_proof(NOW)}"
    assert text.isprintable()


def test_the_issuer_is_sought_by_its_name() -> None:
    issuer, stranger = value(ca()), value(Authority.root("Stranger"))
    assert possible_issuers((value(leaf()), stranger), (issuer, stranger)) == (issuer,)
    assert possible_issuers((), (issuer,)) == ()


@pytest.mark.parametrize("padding", ["pkcs1", "pss"])
def test_the_responder_of_openssl_is_understood(tmp_path: Path, padding: str) -> None:
    root = Authority.root("RSA CA", key=KeyType.RSA2048)
    issued = root.issue("www.example.com")
    (tmp_path / "ca.pem").write_bytes(root.pem())
    (tmp_path / "ca.key").write_bytes(root.key_pem())
    (tmp_path / "leaf.pem").write_bytes(issued.pem())
    serial = f"{issued.certificate.serial_number:X}"
    serial = serial.zfill(len(serial) + len(serial) % 2)
    (tmp_path / "index").write_text(f"R\t401231000000Z\t261101000000Z,superseded\t{serial}\tunknown\t/CN=x\n")
    how = ["-rsigopt", "rsa_padding_mode:pss"] if padding == "pss" else []
    answering = ["-index", "index", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key", "-ndays", "3", *how]
    for command in (
        ["-issuer", "ca.pem", "-cert", "leaf.pem", "-reqout", "request", "-no_nonce"],
        [*answering, "-reqin", "request", "-respout", "response"],
    ):
        subprocess.run(["/usr/bin/openssl", "ocsp", *command], cwd=tmp_path, check=True, capture_output=True)
    found = ocsp_answer((tmp_path / "response").read_bytes(), value(issued), (value(root),))
    assert isinstance(found, OCSPAnswer)
    assert (found.status, found.reason) == (OCSPStatus.REVOKED, "superseded")
    if padding == "pkcs1":
        assert found.why_no_proof(found.this_update) == ""
    else:
        assert found.doubt == "the algorithm of its signature, 1.2.840.113549.1.1.10, is not known"
