"""DER is told by its content: one certificate or one key, and never a text."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from config.vocabulary import UnreadableReason
from monitor.lab.ca import Authority, KeyType
from probes.container.blocks import NOTHING, Blocks
from probes.container.registry import open_container

LEAF = Authority.root().issue("www.example.com", key=KeyType.P256)


def split(data: bytes) -> Blocks:
    return open_container(data).blocks


def test_der_is_known_by_its_content() -> None:
    assert split(LEAF.der()) == Blocks((LEAF.der(),), (), ())
    assert split(LEAF.der() + b"\n") == Blocks((LEAF.der(),), (), ())


def test_der_that_is_cut_short_is_told() -> None:
    (fault,) = split(LEAF.der()[:-1]).faults
    assert fault.reason is UnreadableReason.BAD_DER


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
    assert split(b"01\n") == NOTHING
