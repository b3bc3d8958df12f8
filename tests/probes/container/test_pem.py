"""PEM as it is met: any number of blocks, text around them, damage in some of them."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from config.vocabulary import UnreadableReason
from monitor.lab.ca import Authority, Issued, KeyType, new_key
from probes.container.blocks import MOST_FAULTS, Blocks
from probes.container.registry import open_container

LEAF = Authority.root().issue("www.example.com", key=KeyType.P256)
OTHER = LEAF.anchor


def split(data: bytes) -> Blocks:
    return open_container(data).blocks


def pem(label: str, der: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


def certificates(*blocks: Issued) -> Blocks:
    return Blocks(tuple(each.der() for each in blocks), (), ())


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
        LEAF.pem().replace(b"\n", b"\n\t  "),
        LEAF.pem().replace(b"CERTIFICATE", b"X509 CERTIFICATE"),
        LEAF.pem().replace(b"\n", b"  \n\n"),
        b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(LEAF.der()) + b"\n-----END CERTIFICATE-----",
        b"Certificate:\n    Data:\n        Version: 3 (0x2)\n" + LEAF.pem() + b"\x1a",
        b"Subject: caf\xe9\n" + LEAF.pem() + b"\0\0",
        b"tls:\n  crt: |\n    " + LEAF.pem().replace(b"\n", b"\n    ") + b"\n  other: 1\n",
    ],
    ids=[
        *("byte order mark", "CRLF", "CR", "comments", "no last newline", "other blocks", "indented", "old label"),
        *("blank lines", "one line", "text of OpenSSL", "Latin-1 and NUL", "in YAML"),
    ],
)
def test_what_stands_around_a_certificate_does_not_matter(data: bytes) -> None:
    assert split(data) == certificates(LEAF)


def test_keys_among_certificates_are_told_apart_and_blocks_may_share_a_line() -> None:
    blocks = split(LEAF.key_pem() + LEAF.pem().rstrip() + OTHER.pem() + OTHER.key_pem())
    assert (blocks.certificates, len(blocks.keys), blocks.faults) == ((LEAF.der(), OTHER.der()), 2, ())


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


def test_a_file_full_of_faults_costs_no_more_than_a_few() -> None:
    assert len(split(b"-----END X-----\n" * 200_000).faults) == MOST_FAULTS


@given(st.binary(max_size=400) | st.binary(max_size=200).map(b"\x30\x82\x00\x40".__add__))
def test_no_bytes_make_splitting_raise(data: bytes) -> None:
    split(data)
    split(pem("CERTIFICATE", data))


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_certificate_is_found_in_any_garbage(before: bytes, after: bytes) -> None:
    # The first byte decides about DER.
    assert LEAF.der() in split(b"#" + before + b"\n" + LEAF.pem() + after).certificates
