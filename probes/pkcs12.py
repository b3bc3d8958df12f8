"""PKCS#12 keystores (RFC 7292): bytes and a password in, the blocks out that any other file would be split into."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from math import prod
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
    EncodingFault,
    element_end,
    starts_with,
)
from probes.pkcs7 import in_order
from probes.trial import Sealed, too_much_work

# Keystores of old tools are BER, which is nothing to write to the log.
warnings.filterwarnings("ignore", category=UserWarning, message=r"PKCS#12 .* could not be parsed as DER")

MOST_WORK: Final = 6_000_000
"""Of key derivation, in rounds of SHA-256, over all parts of a keystore that can be told apart before it is opened and
all passwords that are tried: a second or two. Tools write some 10,000 for each part."""
_DEAR: Final = 4
"""The largest cost of a round of an expensive hash, in rounds of SHA-256."""
_CHEAP: Final = frozenset(
    map(
        bytes.fromhex,
        (
            *("2a864886f70d0205", "2b0e03021a", "608648016503040201", "608648016503040204"),  # MD5, SHA-1, -256, -224
            *(f"2a864886f70d010c010{each}" for each in range(1, 7)),  # PBE of PKCS#12, by SHA-1
        ),
    )
)
"""Object identifiers of hashes and derivations that stand before the number of rounds."""
_CHEAP_AFTER: Final = frozenset(
    bytes.fromhex(f"2a864886f70d02{each}")
    for each in ("08", "09")  # HMAC by SHA-224, -256
)
"""And where they stand behind it, as in PBKDF2; SHA-1 gives too little for a key of AES, and is done twice for one."""
_SCRYPT: Final = bytes.fromhex("2b06010401da47040b")
_SCRYPT_NUMBERS: Final = 3
"""Cost, block size, parallelisation (RFC 7914)."""
_MOST: Final = 2**32

_VERSION: Final = b"\x02\x01\x03"  # RFC 7292, 4
_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F
_INDEFINITE: Final = 0x80
_DATA: Final = bytes.fromhex("2a864886f70d010701")
_ENCRYPTED: Final = frozenset({bytes.fromhex("2a864886f70d010703"), bytes.fromhex("2a864886f70d010706")})
"""Enveloped and encrypted data (RFC 5652, 6 and 8)."""
_KEY_BAGS: Final = frozenset({bytes.fromhex("2a864886f70d010c0a0101"), bytes.fromhex("2a864886f70d010c0a0102")})
_TELLING: Final = frozenset({INTEGER, OCTET_STRING, OBJECT_IDENTIFIER})
_DEEPEST: Final = 2
"""Levels of data within data, as the RFC has them."""


@dataclass(frozen=True, slots=True)
class Seal:
    """The facts of a keystore before it is opened."""

    identifiers: tuple[bytes, ...]
    """Each object identifier in it, encoded, in its order: of what it holds, of how that is encrypted, and last of the
    MAC's hash, where there is a MAC."""
    work: int
    """Of key derivation, for one password, in rounds of SHA-256."""
    keys: int
    """Private keys that can be seen from outside."""


def password_in(data: bytes) -> bytes:
    """Return the password that is all a file holds, but for the end of its line."""
    return data.rstrip(b"\r\n")


def is_keystore(data: bytes) -> bool:
    """Whether `data` begins as a PKCS#12 keystore does."""
    return starts_with(data, _VERSION)


def seal_of(data: bytes) -> Seal:
    """Return these facts; raises DERError where it is cut short."""
    elements = [(tag, content) for tag, content in _elements(data, _DEEPEST) if tag in _TELLING]
    identifiers = tuple(content for tag, content in elements if tag == OBJECT_IDENTIFIER)
    work, name = 0, b""
    for at, (tag, content) in enumerate(elements):
        # Wherever a number follows octets here, it is how often a salt is to be used.
        if tag == OCTET_STRING:
            work += _work(name, elements[at + 1 : at + 2 + _SCRYPT_NUMBERS])
        elif tag == OBJECT_IDENTIFIER:
            name = content
    return Seal(identifiers, work, sum(each in _KEY_BAGS for each in identifiers))


def _work(name: bytes, following: Sequence[tuple[int, bytes]]) -> int:
    """Return the work that the elements `following` octets ask for, by the identifier `name` before them."""
    numbers = list(takewhile(lambda each: each[0] == INTEGER, following))
    values = [min(int.from_bytes(content, "big"), _MOST) for _, content in numbers]
    if not values:
        return 0
    if name == _SCRYPT:
        return _DEAR * prod(values[:_SCRYPT_NUMBERS])
    after = next((content for tag, content in following[len(values) :] if tag == OBJECT_IDENTIFIER), b"")
    return values[0] * (1 if name in _CHEAP or after in _CHEAP_AFTER else _DEAR)


def open_keystore(data: bytes, password: bytes | None) -> pkcs12.PKCS12KeyAndCertificates | EncodingFault:
    """Return the content of a keystore, or why it cannot be opened; a keystore without a password opens with any."""
    try:
        seal = seal_of(data)
    except DERError:
        return EncodingFault(UnreadableReason.BAD_DER, "the keystore is cut short or damaged")
    work, hides = seal.work, any(each in _ENCRYPTED for each in seal.identifiers)
    left = MOST_WORK
    # No password is written in two ways: as none, and as an empty one.
    for each in dict.fromkeys((password, None, b"")):
        left -= work
        if left < 0 and (each == password or not password):
            detail = f"opening it takes the work of {work} rounds of SHA-256, {MOST_WORK} at most are done"
            return EncodingFault(UnreadableReason.TOO_LARGE, detail)
        if left < 0:
            # That the password does not open it is known.
            break
        # Encrypted parts may ask for more work than is visible from outside.
        if hides and (why := too_much_work(Sealed.KEYSTORE, data, each)):
            return EncodingFault(UnreadableReason.TOO_LARGE, f"the keystore {why}")
        try:
            return pkcs12.load_pkcs12(data, each)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    how = "the password does not open it" if password else "it needs a password"
    return EncodingFault(UnreadableReason.WRONG_PASSWORD, how)


def unlock(data: bytes, password: bytes | None) -> Blocks:
    """Return the certificates and the private key of a keystore, or as a fault why it cannot be opened.

    The key's own certificate is the first, then come those that lead on from it, whatever their order: in a keystore
    they are a set.
    """
    opened = open_keystore(data, password)
    if isinstance(opened, EncodingFault):
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
            # The end of an element of indefinite length, which is no element itself.
            at += 2
            continue
        end = element_end(data, at)
        if not tag & _CONSTRUCTED:
            yield tag, data[start:end]
        at = start if tag & _CONSTRUCTED else end
