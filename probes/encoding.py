"""Bytes in, blocks out: PEM or DER by content, whatever the file is called (RFC 7468, X.690)."""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final

from config.vocabulary import UnreadableReason

CERTIFICATE_LABELS: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"})
KEY_LABELS: Final = frozenset(
    {b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY", b"DSA PRIVATE KEY", b"ENCRYPTED PRIVATE KEY"}
)

_BOUNDARY: Final = re.compile(rb"-----(BEGIN|END) ([A-Z0-9][A-Z0-9 ]*)-----")
_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_VERSION: Final = 0xA0


class DERError(ValueError):
    """The bytes are not the DER structure that was expected."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One block of a file could not be decoded."""

    reason: UnreadableReason
    detail: str


@dataclass(frozen=True, slots=True)
class Blocks:
    """What a file holds, block by block, in file order."""

    certificates: tuple[bytes, ...]
    """DER."""
    keys: tuple[bytes, ...]
    """PEM, boundaries included; never shown to anyone."""
    faults: tuple[Fault, ...]


def split(data: bytes) -> Blocks:
    """Return the certificates, private keys and faulty blocks in `data`; text around PEM blocks is allowed.

    One faulty block does not hide the others.
    """
    if data[:1] == b"\x30":
        try:
            return Blocks((data[: element_end(data, 0)],), (), ())
        except DERError as error:
            return Blocks((), (), (Fault(UnreadableReason.BAD_DER, str(error)),))
    certificates: list[bytes] = []
    keys: list[bytes] = []
    faults: list[Fault] = []
    begin: re.Match[bytes] | None = None
    for boundary in _BOUNDARY.finditer(data):
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
    return Blocks(tuple(certificates), tuple(keys), tuple(faults))


def _certificate(body: bytes) -> bytes:
    der = binascii.a2b_base64(body)
    # OpenSSL's TRUSTED CERTIFICATE appends its own settings after the certificate.
    return der[: element_end(der, 0)]


def _fault(data: bytes, boundary: re.Match[bytes], what: str) -> Fault:
    line = data.count(b"\n", 0, boundary.start()) + 1
    return Fault(UnreadableReason.BAD_PEM, f"the PEM block at line {line} cannot be decoded: {what}")


def _unended(data: bytes, begin: re.Match[bytes]) -> Fault:
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
    at, _ = _enter(der, 0)
    at, end = _enter(der, at)
    if der[at] == _VERSION:
        at = element_end(der, at)
    if der[at] != _INTEGER:
        raise DERError("not a certificate: no serial number")
    at = element_end(der, at)
    at = element_end(der, at)  # signature algorithm
    issuer = at
    at = element_end(der, at)
    validity = at
    at = element_end(der, at)
    subject = at
    at = element_end(der, at)
    public_key = at
    at = element_end(der, at)
    if at > end or der[issuer] != _SEQUENCE or der[subject] != _SEQUENCE or der[public_key] != _SEQUENCE:
        raise DERError("not a certificate: a field is missing")
    return Outline(der[issuer:validity], der[subject:public_key], der[public_key:at])


def _enter(der: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the SEQUENCE at `at` starts and ends."""
    if at >= len(der) or der[at] != _SEQUENCE:
        raise DERError("not a certificate: a SEQUENCE was expected")
    end = element_end(der, at)
    length = der[at + 1]
    return at + 2 + (length & 0x7F if length & 0x80 else 0), end


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
