from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from config.vocabulary import UnreadableReason
from monitor.lab.ca import Authority, Issued, KeyType, new_key
from probes.encoding import MOST_FAULTS, Blocks, DERError, outline, split

LEAF = Authority.root().issue("www.example.com", key=KeyType.P256)
OTHER = LEAF.anchor


def pem(label: str, der: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


def certificates(*blocks: Issued) -> Blocks:
    return Blocks(tuple(each.der() for each in blocks), (), ())


def test_der_is_known_by_its_content() -> None:
    assert split(LEAF.der()) == certificates(LEAF)
    assert split(LEAF.der() + b"\n") == certificates(LEAF)


def test_certificates_come_in_file_order() -> None:
    assert split(LEAF.pem() + OTHER.pem()) == certificates(LEAF, OTHER)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + LEAF.pem(),
        LEAF.pem().replace(b"\n", b"\r\n"),
        LEAF.pem().replace(b"\n", b"\r"),
        b"Bag Attributes\n    friendlyName: caf\xc3\xa9\n" + LEAF.pem() + b"# the end",
        LEAF.pem().rstrip(),
        b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n" + LEAF.pem(),
    ],
    ids=["byte order mark", "CRLF", "CR", "comments", "no last newline", "other blocks"],
)
def test_what_stands_around_a_certificate_does_not_matter(data: bytes) -> None:
    assert split(data) == certificates(LEAF)


def test_the_settings_after_an_openssl_trusted_certificate_are_no_part_of_it() -> None:
    assert split(pem("TRUSTED CERTIFICATE", LEAF.der() + b"\x30\x03\x0c\x01x")) == certificates(LEAF)


def test_a_faulty_block_does_not_hide_the_others() -> None:
    cut = LEAF.pem()[:400] + b"\n-----END CERTIFICATE-----\n"
    blocks = split(LEAF.pem() + cut + OTHER.pem())
    assert blocks.certificates == (LEAF.der(), OTHER.der())
    assert [fault.reason for fault in blocks.faults] == [UnreadableReason.BAD_PEM]
    line = len(LEAF.pem().splitlines()) + 1
    assert f"the PEM block at line {line} " in blocks.faults[0].detail


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (LEAF.pem()[:-30], "END CERTIFICATE is missing"),
        (LEAF.pem()[:300] + b"\n" + LEAF.pem(), "END CERTIFICATE is missing"),
        (b"-----END CERTIFICATE-----", "END CERTIFICATE has no BEGIN of its own"),
        (b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----", "base64"),
        (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----", "ends too early"),
    ],
)
def test_a_damaged_pem_block_is_told(data: bytes, detail: str) -> None:
    (fault,) = split(data).faults
    assert fault.reason is UnreadableReason.BAD_PEM
    assert detail in fault.detail


def test_der_that_is_cut_short_is_told() -> None:
    (fault,) = split(LEAF.der()[:-1]).faults
    assert fault.reason is UnreadableReason.BAD_DER


@pytest.mark.parametrize("kind", [KeyType.P256, KeyType.ED25519, KeyType.RSA2048])
@pytest.mark.parametrize("shape", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_private_key_is_told_from_a_certificate(kind: KeyType, shape: PrivateFormat) -> None:
    if kind is KeyType.ED25519:
        shape = PrivateFormat.PKCS8
    key = new_key(kind)
    der = key.private_bytes(Encoding.DER, shape, NoEncryption())
    text = key.private_bytes(Encoding.PEM, shape, NoEncryption())
    assert split(der) == Blocks((), (der,), ())
    assert split(text) == Blocks((), (text.strip(),), ())


def test_an_encrypted_der_key_is_a_key() -> None:
    der = LEAF.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    assert split(der) == Blocks((), (der,), ())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"01\n",
        b"0\x82",
        b"0123456789abcdef" * 20,
        # PKCS#12 and PKCS#7, as far as they matter here
        b"\x30\x81\x85\x02\x01\x03\x30\x81\x7f" + b"\x00" * 127,
        b"\x30\x81\x8b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x7e" + b"\x00" * 126,
    ],
)
def test_what_is_neither_certificate_nor_key_is_nothing(data: bytes) -> None:
    assert split(data).certificates == ()
    assert split(data).keys == ()


def test_a_text_that_starts_with_a_zero_is_not_damaged_der() -> None:
    """OpenSSL's serial files do, and a zero is the tag of a SEQUENCE."""
    assert split(b"01\n") == Blocks((), (), ())


def test_a_file_full_of_faults_costs_no_more_than_a_few() -> None:
    assert len(split(b"-----END X-----\n" * 200_000).faults) == MOST_FAULTS


def test_the_outline_shows_what_a_certificate_is_compared_by() -> None:
    shown, issuers = outline(LEAF.der()), outline(OTHER.der())
    assert shown.issuer == issuers.subject
    assert LEAF.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == shown.public_key


@given(st.binary(max_size=400) | st.binary(max_size=200).map(b"\x30\x82\x00\x40".__add__))
def test_no_bytes_make_splitting_raise(data: bytes) -> None:
    split(data)
    split(pem("CERTIFICATE", data))


@given(st.data())
def test_a_damaged_certificate_never_raises_anything_but_a_der_error(data: st.DataObject) -> None:
    der = bytearray(LEAF.der())
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(der[: data.draw(st.integers(0, len(der)))])
    split(cut)
    with suppress(DERError):
        outline(cut)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_certificate_is_found_in_any_garbage(before: bytes, after: bytes) -> None:
    # The first byte decides about DER.
    assert LEAF.der() in split(b"#" + before + b"\n" + LEAF.pem() + after).certificates
