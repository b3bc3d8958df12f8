"""Bytes in, blocks out: PEM or DER by content, whatever the file is called (RFC 7468, X.690)."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from config.vocabulary import UnreadableReason

CERTIFICATE_LABELS: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"})
KEY_LABELS: Final = frozenset(
    {b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"DSA PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"}
)

MOST_FAULTS: Final = 16
"""Faults that are told of one file: a hostile one could hold a million."""

_BOUNDARY: Final = re.compile(rb"-----(BEGIN|END) ([A-Z0-9][A-Z0-9 ]{0,63})-----")
# Text may start with "0" too: so the length must be long, as every certificate's is, or a short key must follow.
_DER: Final = re.compile(rb"\x30([\x81-\x84]|[\x20-\x7f]\x02\x01[\x00\x01][\x30\x04])", re.DOTALL)
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
_VERSION: Final = 0xA0
_STRINGS: Final = {0x0C: "utf-8", 0x13: "ascii"}
"""UTF8String and PrintableString."""
_ATTRIBUTE_TYPE: Final = b"\x06\x03\x55\x04"
"""The start of the identifiers of X.520's attribute types; the last octet follows."""
_ATTRIBUTES: Final = {3: "CN", 6: "C", 7: "L", 8: "ST", 10: "O", 11: "OU"}
_ESCAPED: Final = re.compile(r'[ #]|.*[\\"+,;<>]|.* \Z')
_KEY_VERSIONS: Final = frozenset({b"\x02\x01\x00", b"\x02\x01\x01"})
_EC_KEY_VERSION: Final = b"\x02\x01\x01"


class DERError(ValueError):
    """The bytes are not the DER structure that was expected."""


@dataclass(frozen=True, slots=True)
class EncodingFault:
    """One block of a file could not be decoded."""

    reason: UnreadableReason
    detail: str


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a file, in file order."""

    certificates: tuple[bytes, ...]
    """DER."""
    keys: tuple[bytes, ...] = field(repr=False)
    """PEM, boundaries included, or DER; never shown to anyone."""
    faults: tuple[EncodingFault, ...]
    """The first `MOST_FAULTS`."""


def split(data: bytes) -> Blocks:
    """Return the certificates, private keys and faulty blocks in `data`; text around PEM blocks is allowed.

    One faulty block does not hide the others. DER that is neither a certificate nor a key (a CRL, a request, a
    PKCS#12 keystore) is nothing.
    """
    return _split_der(data) if _DER.match(data) else _split_pem(data)


def _split_der(data: bytes) -> Blocks:
    try:
        der = data[: element_end(data, 0)]
        at, end = _enter(der, 0)
        if _holds_key(der, at, end):
            return Blocks((), (der,), ())
        if _holds_certificate(der, at):
            return Blocks((der,), (), ())
    except (DERError, IndexError):
        return Blocks((), (), (EncodingFault(UnreadableReason.BAD_DER, "the DER data is cut short or damaged"),))
    return Blocks((), (), ())


def _holds_certificate(der: bytes, at: int) -> bool:
    at, _ = _enter(der, at)
    if der[at : at + 1] == bytes([_VERSION]):
        return True
    try:
        outline(der)
    except DERError:
        return False
    return True


def _holds_key(der: bytes, at: int, end: int) -> bool:
    """Tell PKCS#8 (RFC 5958, encrypted or not), PKCS#1 (RFC 8017) and SEC 1 (RFC 5915) from everything else."""
    second = element_end(der, at)
    if second >= end:
        return False
    if der[at] == _SEQUENCE:
        inside, _ = _enter(der, at)
        return (der[inside], der[second]) == (OBJECT_IDENTIFIER, OCTET_STRING)
    version = der[at:second]
    return (version in _KEY_VERSIONS and der[second] in {_SEQUENCE, INTEGER}) or (
        version == _EC_KEY_VERSION and der[second] == OCTET_STRING
    )


def _split_pem(data: bytes) -> Blocks:
    certificates: list[bytes] = []
    keys: list[bytes] = []
    faults: list[EncodingFault] = []
    begin: re.Match[bytes] | None = None
    for boundary in _BOUNDARY.finditer(data):
        if len(faults) >= MOST_FAULTS:
            break
        if boundary[1] == b"BEGIN":
            if begin is not None:
                faults.append(_unended(data, begin))
            begin = boundary
            continue
        if begin is None or begin[2] != boundary[2]:
            faults.append(_fault(data, boundary, f"END {boundary[2].decode()} has no BEGIN of its own"))
        elif begin[2] in CERTIFICATE_LABELS:
            try:
                certificates.append(_certificate(data[begin.end() : boundary.start()]))
            except ValueError as error:
                faults.append(_fault(data, begin, str(error)))
        elif begin[2] in KEY_LABELS:
            keys.append(data[begin.start() : boundary.end()])
        begin = None
    if begin is not None:
        faults.append(_unended(data, begin))
    return Blocks(tuple(certificates), tuple(keys), tuple(faults[:MOST_FAULTS]))


def _certificate(body: bytes) -> bytes:
    der = binascii.a2b_base64(body)
    # OpenSSL's TRUSTED CERTIFICATE appends its own settings after the certificate.
    return der[: element_end(der, 0)]


def _fault(data: bytes, boundary: re.Match[bytes], what: str) -> EncodingFault:
    line = data.count(b"\n", 0, boundary.start()) + 1
    return EncodingFault(UnreadableReason.BAD_PEM, f"the PEM block at line {line} cannot be decoded: {what}")


def _unended(data: bytes, begin: re.Match[bytes]) -> EncodingFault:
    return _fault(data, begin, f"END {begin[2].decode()} is missing")


@dataclass(frozen=True, slots=True)
class Outline:
    """The parts of a certificate that are compared as bytes (RFC 5280, 4.1)."""

    issuer: bytes
    """DER of the issuer's Name."""
    subject: bytes
    """DER of the subject's Name."""
    public_key: bytes
    """DER of the SubjectPublicKeyInfo."""


def outline(der: bytes) -> Outline:
    """Return the names and the public key of a DER certificate without decoding them.

    Raises DERError where the bytes have not the shape of a certificate.
    """
    try:
        at, _ = _enter(der, 0)
        at, end = _enter(der, at)
        if der[at] == _VERSION:
            at = element_end(der, at)
        if der[at] != INTEGER:
            raise DERError("not a certificate: no serial number")
        at = element_end(der, at)
        issuer = element_end(der, at)  # what lies before is the signature algorithm
        validity = element_end(der, issuer)
        subject = element_end(der, validity)
        public_key = element_end(der, subject)
        rest = element_end(der, public_key)
        fields = (der[issuer], der[validity], der[subject], der[public_key])
    except IndexError:
        raise DERError("not a certificate: the data ends too early") from None
    if rest > end or fields != (_SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE):
        raise DERError("not a certificate: a field is missing")
    return Outline(der[issuer:validity], der[subject:public_key], der[public_key:rest])


def plain_name(name: bytes) -> str | None:
    """Return the RFC 4514 text of a DER Name; None where it is not made of common attributes and plain text alone.

    Nearly every name is, and this takes a fifth of the time of the library's decoding, which knows all names.
    """
    try:
        at, end = _enter(name, 0)
        attributes: list[str] = []
        while at < end:
            next_at = at + 2 + name[at + 1]
            attribute = _plain_attribute(name[at:next_at])
            if attribute is None:
                return None
            attributes.append(attribute)
            at = next_at
    except (DERError, IndexError):
        return None
    return ",".join(reversed(attributes)) if at == end == len(name) else None


@lru_cache(maxsize=4096)
def _plain_attribute(rdn: bytes) -> str | None:
    """Return `CN=…` and the like for a SET of one such attribute."""
    size = len(rdn)
    if size > 129 or size < 12 or rdn[4:8] != _ATTRIBUTE_TYPE:
        return None
    # All lengths fit, so that there is one value, and it reaches to the end.
    if (rdn[0], rdn[1], rdn[2], rdn[3], rdn[10]) != (_SET, size - 2, _SEQUENCE, size - 4, size - 11):
        return None
    name, encoding = _ATTRIBUTES.get(rdn[8]), _STRINGS.get(rdn[9])
    if name is None or encoding is None:
        return None
    try:
        value = rdn[11:].decode(encoding)
    except UnicodeDecodeError:
        return None
    return f"{name}={value}" if value.isprintable() and not _ESCAPED.match(value) else None


def _enter(der: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the SEQUENCE at `at` starts and ends."""
    if at >= len(der) or der[at] != _SEQUENCE:
        raise DERError("not a certificate: a SEQUENCE was expected")
    end = element_end(der, at)
    length = der[at + 1]
    return at + 2 + (length & 0x7F if length & 0x80 else 0), end


def starts_with(der: bytes, first: bytes) -> bool:
    """Whether `der` is a SEQUENCE that has `first` as its first element, whether or not its length was known (BER)."""
    length = der[1] if len(der) > 1 else 0
    return der[:1] == b"\x30" and der.startswith(first, 2 + (length & 0x7F if length & 0x80 else 0))


def element_end(der: bytes, at: int) -> int:
    """Return the index just after the DER element that starts at `at`.

    Raises DERError where the element does not fit into the bytes.
    """
    try:
        length = der[at + 1]
        start = at + 2
        if length & 0x80:
            octets = length & 0x7F
            if not 1 <= octets <= 4:
                raise DERError("a DER length is indefinite or too long")
            start += octets
            length = int.from_bytes(der[at + 2 : start], "big")
    except IndexError:
        raise DERError("the DER data ends too early") from None
    end = start + length
    if end > len(der):
        raise DERError("the DER data ends too early")
    return end
