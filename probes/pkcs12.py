"""PKCS#12 keystores (RFC 7292): bytes and a password in, the blocks out that any other file would be split into."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from config.vocabulary import UnreadableReason
from probes.encoding import (
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    Blocks,
    DERError,
    Fault,
    element_end,
    starts_with,
)
from probes.pkcs7 import in_order

# Keystores of old tools are BER, which is nothing to write to the log.
warnings.filterwarnings("ignore", category=UserWarning, message=r"PKCS#12 .* could not be parsed as DER")

MOST_ROUNDS: Final = 10_000_000
"""Of key derivation, over all parts of a keystore that can be told apart before it is opened: seconds of work. Tools
write some 10,000 for each part."""

_VERSION: Final = b"\x02\x01\x03"  # RFC 7292, 4
_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F
_INDEFINITE: Final = 0x80
_DATA: Final = bytes.fromhex("2a864886f70d010701")
_KEY_BAGS: Final = frozenset({bytes.fromhex("2a864886f70d010c0a0101"), bytes.fromhex("2a864886f70d010c0a0102")})
_DEEPEST: Final = 2
"""Levels of data within data, as the RFC has them."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What a keystore says of itself before it is opened."""

    identifiers: tuple[bytes, ...]
    """Each object identifier in it, encoded, in its order: of what it holds, of how that is encrypted, and last of the
    MAC's hash, where there is a MAC."""
    rounds: int
    """Of key derivation, all in all."""
    keys: int
    """Private keys that can be seen from outside."""


def password_in(data: bytes) -> bytes:
    """Return the password that is all a file holds, but for the end of its line."""
    return data.rstrip(b"\r\n")


def is_keystore(data: bytes) -> bool:
    """Whether `data` begins as a PKCS#12 keystore does."""
    return starts_with(data, _VERSION)


def seal_of(data: bytes) -> Seal:
    """Return what a keystore says of itself; raises DERError where it is cut short."""
    identifiers: list[bytes] = []
    rounds, before = 0, 0
    for tag, content in _elements(data, _DEEPEST):
        # Wherever a number follows octets here, it is how often a salt is to be used.
        if tag == INTEGER and before == OCTET_STRING:
            rounds += min(int.from_bytes(content, "big"), 2**32)
        elif tag == OBJECT_IDENTIFIER:
            identifiers.append(content)
        before = tag
    return Seal(tuple(identifiers), rounds, sum(each in _KEY_BAGS for each in identifiers))


def open_keystore(data: bytes, password: bytes | None) -> pkcs12.PKCS12KeyAndCertificates | Fault:
    """Return what a keystore holds, or why it cannot be opened; one without a password is opened whatever is given."""
    try:
        rounds = seal_of(data).rounds
    except DERError:
        return Fault(UnreadableReason.BAD_DER, "the keystore is cut short or damaged")
    if rounds > MOST_ROUNDS:
        detail = f"opening it takes {rounds} rounds of work, {MOST_ROUNDS} at most are done"
        return Fault(UnreadableReason.TOO_LARGE, detail)
    # No password is written in two ways: as none, and as an empty one.
    for each in dict.fromkeys((password, None, b"")):
        try:
            return pkcs12.load_pkcs12(data, each)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    how = "the password does not open it" if password else "it needs a password"
    return Fault(UnreadableReason.WRONG_PASSWORD, how)


def unlock(data: bytes, password: bytes | None) -> Blocks:
    """Return the certificates and the private key of a keystore, or as a fault why it cannot be opened.

    The key's own certificate is the first, then come those that lead on from it, whatever their order: in a keystore
    they are a set.
    """
    opened = open_keystore(data, password)
    if isinstance(opened, Fault):
        return Blocks((), (), (opened,))
    held = [each for each in (opened.cert, *opened.additional_certs) if each is not None]
    ders = [each.certificate.public_bytes(Encoding.DER) for each in held]
    keys = [] if opened.key is None else [opened.key]
    return Blocks(
        in_order(ders, ders[0] if ders else None),
        tuple(each.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) for each in keys),
        (),
    )


def _elements(data: bytes, deepest: int) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each primitive element, whatever it is part of, those of data in data included."""
    before = b""
    for tag, group in groupby(_primitives(data), key=itemgetter(0)):
        contents = [content for _, content in group]
        # BER may cut octets into parts.
        contents = [b"".join(contents)] if tag == OCTET_STRING else contents
        yield from ((tag, content) for content in contents)
        if tag == OCTET_STRING and before == _DATA and deepest:
            yield from _elements(contents[0], deepest - 1)
        before = contents[-1]


def _primitives(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each primitive element in BER, entering all others; raises DERError."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1] if at + 1 < len(data) else 0
        start = at + 2 + (length & 0x7F if length & 0x80 else 0)
        if tag & _LONG_TAG == _LONG_TAG:
            raise DERError("a tag of several octets, which nothing in a keystore has")
        if tag & _CONSTRUCTED and length == _INDEFINITE:
            at = start
            continue
        if tag == length == 0:
            # The end of what is of indefinite length, and no element.
            at += 2
            continue
        end = element_end(data, at)
        if not tag & _CONSTRUCTED:
            yield tag, data[start:end]
        at = start if tag & _CONSTRUCTED else end
