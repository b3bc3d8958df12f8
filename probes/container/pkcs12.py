"""PKCS#12 keystores (RFC 7292): bytes and a password in, the blocks out that any other file would be split into."""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import field, replace
from itertools import groupby, takewhile
from math import prod
from operator import itemgetter
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from config.immutable import immutable
from config.text import Printable, printable
from config.vocabulary import EntryKind, FileFormat, Integrity, UnreadableReason
from probes.container.blocks import NOTHING, Blocks, Container, EncodingFault, Format, Password
from probes.container.pkcs7 import in_order
from probes.encoding import (
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    DERError,
    element_end,
    outline,
    starts_with,
)
from probes.keystore import DEFAULT_PASSWORD, LONGEST_ALIAS, ExactEntries, Keystore, KeystoreEntry, StoreEntry
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

_ENCODINGS: Final = frozenset({FileFormat.PKCS12})
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


@immutable
class Seal:
    """The facts of a keystore before it is opened."""

    identifiers: tuple[bytes, ...]
    """Each object identifier in it, encoded, in its order: of what it holds, of how that is encrypted, and last of the
    MAC's hash, where there is a MAC."""
    work: int
    """Of key derivation, for one password, in rounds of SHA-256."""
    keys: int
    """Private keys that can be seen from outside."""


def is_pkcs12(data: bytes) -> bool:
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


def open_keystore(data: bytes, password: Password) -> pkcs12.PKCS12KeyAndCertificates | EncodingFault:
    """Return what a keystore holds, or why it cannot be opened; one without a password is opened whatever is given."""
    opened = _opened(data, password)
    return opened if isinstance(opened, EncodingFault) else opened.held


@immutable
class _Opened:
    held: pkcs12.PKCS12KeyAndCertificates
    seal: Seal
    password: Password = field(repr=False)
    """That opened it."""


def _opened(data: bytes, password: Password) -> _Opened | EncodingFault:
    try:
        seal = seal_of(data)
    except DERError:
        return EncodingFault(UnreadableReason.BAD_DER, "the keystore is cut short or damaged")
    # No password is written in two ways: as none, and as an empty one.
    passwords = tuple(dict.fromkeys((password, None, b"")))
    within = passwords[: MOST_WORK // seal.work] if seal.work else passwords
    # What is encrypted may ask for more work than can be seen from outside.
    hides = within and any(each in _ENCRYPTED for each in seal.identifiers)
    if hides and (why := too_much_work(Sealed.KEYSTORE, data, *within)):
        return EncodingFault(UnreadableReason.TOO_LARGE, f"the keystore {why}")
    for each in within:
        try:
            return _Opened(pkcs12.load_pkcs12(data, each), seal, each)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
    if within == passwords or (within and password):
        how = "the password does not open it" if password else "it needs a password"
        return EncodingFault(UnreadableReason.WRONG_PASSWORD, how)
    detail = f"opening it takes the work of {seal.work} rounds of SHA-256, {MOST_WORK} at most are done"
    return EncodingFault(UnreadableReason.TOO_LARGE, detail)


def unlock(data: bytes, password: Password) -> Blocks:
    """Return the certificates and the private key of a keystore, or as a fault why it cannot be opened.

    The key's own certificate is the first, then come those that lead on from it, whatever their order: in a keystore
    they are a set.
    """
    return _read(data, password).blocks


def _read(data: bytes, password: Password) -> Container:
    """Return the blocks of a keystore as `unlock` does, and where it could be opened, its entries.

    Without a private key each certificate is an entry that somebody trusts; with one, all are its chain. Java also
    wants an attribute of its own at a trusted certificate, which the library does not show.
    """
    opened = _opened(data, password)
    if isinstance(opened, EncodingFault):
        return Container(FileFormat.PKCS12, replace(NOTHING, faults=(opened,)), _ENCODINGS)
    key = opened.held.key
    held = [each for each in (opened.held.cert, *opened.held.additional_certs) if each is not None]
    ders = [each.certificate.public_bytes(Encoding.DER) for each in held]
    names = [each.friendly_name for each in held]
    certificates = in_order(ders, ders[0] if ders else None)
    if key is None:
        trusted = zip(ders, names, strict=True)
        entries = tuple(KeystoreEntry(EntryKind.TRUSTED, _alias(name), None, (der,)) for der, name in trusted)
    else:
        entries = (KeystoreEntry(EntryKind.PRIVATE_KEY, _alias(names[0] if names else None), None, certificates),)
    keys = () if key is None else (key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),)
    # An empty password protects from nobody.
    sealed = opened.seal.work > 0 and bool(opened.password)
    keystore = Keystore(
        entries,
        Integrity.VERIFIED if sealed else Integrity.UNPROTECTED,
        default_password=sealed and opened.password == DEFAULT_PASSWORD,
    )
    return Container(FileFormat.PKCS12, Blocks(certificates, keys, ()), _ENCODINGS, keystore)


def _alias(name: bytes | None) -> Printable:
    return printable((name or b"").decode(errors="replace"), LONGEST_ALIAS)


def _open(data: bytes, password: Password) -> Container:
    read = _read(data, password)
    faults = tuple(_in_words(each, password) for each in read.blocks.faults)
    return replace(read, blocks=replace(read.blocks, faults=faults))


def _in_words(fault: EncodingFault, password: Password) -> EncodingFault:
    if fault.reason is not UnreadableReason.WRONG_PASSWORD:
        return fault
    if password is None:
        return EncodingFault(UnreadableReason.LOCKED, "a PKCS#12 keystore that needs a password")
    return EncodingFault(fault.reason, "a PKCS#12 keystore that this password does not open")


def exact_entries(data: bytes, password: Password) -> ExactEntries:
    """Return the entries of a keystore that this password opens.

    Beside a private key, what leads on from its certificate is its chain, which Java calls by subjects, if at all.
    """
    opened = _opened(data, password)
    if isinstance(opened, EncodingFault):
        return ExactEntries((), 0)
    held = opened.held
    others = [(_text(each.friendly_name), _der(each.certificate)) for each in held.additional_certs]
    own = [] if held.cert is None else [(_text(held.cert.friendly_name), _der(held.cert.certificate))]
    if held.key is None:
        trusted = tuple(StoreEntry(alias, EntryKind.TRUSTED, (der,)) for alias, der in (*own, *others))
        return ExactEntries(trusted, opened.seal.keys)
    key = held.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    chain = _chain([der for _, der in own], [der for alias, der in others if not alias or "=" in alias])
    in_chain = frozenset(chain)
    entries = (
        StoreEntry(own[0][0] if own else "", EntryKind.PRIVATE_KEY, chain, secret=hashlib.sha256(key).hexdigest()),
        *(StoreEntry(alias, EntryKind.TRUSTED, (der,)) for alias, der in others if der not in in_chain),
    )
    return ExactEntries(entries, max(opened.seal.keys, 1))


def _chain(own: list[bytes], others: list[bytes]) -> tuple[bytes, ...]:
    waiting: dict[bytes, deque[bytes]] = {}
    for each in others:
        with suppress(DERError, IndexError):
            waiting.setdefault(outline(each).subject, deque()).append(each)
    chain = dict.fromkeys(own)
    last = next(reversed(chain), None)
    while last is not None:
        named = waiting.get(_issuer(last), deque())
        while named and named[0] in chain:
            named.popleft()
        last = named[0] if named else None
        if last is not None:
            chain[last] = None
    return tuple(chain)


def _issuer(der: bytes) -> bytes:
    try:
        return outline(der).issuer
    except (DERError, IndexError):
        return b""


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


PKCS12: Final = Format(
    FileFormat.PKCS12,
    "a PKCS#12 keystore",
    is_pkcs12,
    SEQUENCE,
    opened=_open,
    with_certificates=True,
    is_keystore=True,
    encoding="PKCS#12",
    exact=exact_entries,
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
