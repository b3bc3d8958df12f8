"""DER (X.690): its elements, and the parts of a certificate and of its names that need no decoding."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from config.immutable import immutable

Shape = tuple[int, ...]
"""Tags of DER elements, one after the other."""

# Text may start with "0" too: so the length must be long, as every certificate's is, or a short key must follow.
_DER: Final = re.compile(rb"\x30([\x81-\x84]|[\x20-\x7f]\x02\x01[\x00\x01][\x30\x04])", re.DOTALL)
SEQUENCE: Final = 0x30
_SET: Final = 0x31
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OBJECT_IDENTIFIER: Final = 0x06
ENUMERATED: Final = 0x0A
TIMES: Final = (0x17, 0x18)
"""UTCTime and GeneralizedTime."""
CONTEXT_0: Final = 0xA0
_STRINGS: Final = {0x0C: "utf-8", 0x13: "ascii"}
"""UTF8String and PrintableString."""
_ATTRIBUTE_TYPE: Final = b"\x06\x03\x55\x04"
"""The start of the identifiers of X.520's attribute types; the last octet follows."""
_ATTRIBUTES: Final = {3: "CN", 6: "C", 7: "L", 8: "ST", 10: "O", 11: "OU"}
_ESCAPED: Final = re.compile(r'[ #]|.*[\\"+,;<>]|.* \Z')
_MOST_TAGS: Final = 5
_MOST_OCTETS: Final = 64
"""Of an object identifier."""


class DERError(ValueError):
    """The bytes are not the DER structure that was expected."""


def is_der(data: bytes) -> bool:
    """Whether `data` begins as a certificate or a private key in DER does, and as no text."""
    return _DER.match(data) is not None


@immutable
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
        at, _ = enter(der, 0)
        at, end = enter(der, at)
        if der[at] == CONTEXT_0:
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
    if rest > end or fields != (SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE):
        raise DERError("not a certificate: a field is missing")
    return Outline(der[issuer:validity], der[subject:public_key], der[public_key:rest])


def plain_name(name: bytes) -> str | None:
    """Return the RFC 4514 text of a DER Name; None where it is not made of common attributes and plain text alone.

    Nearly every name is, and this takes a fifth of the time of the library's decoding, which knows all names.
    """
    try:
        at, end = enter(name, 0)
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
    if (rdn[0], rdn[1], rdn[2], rdn[3], rdn[10]) != (_SET, size - 2, SEQUENCE, size - 4, size - 11):
        return None
    name, encoding = _ATTRIBUTES.get(rdn[8]), _STRINGS.get(rdn[9])
    if name is None or encoding is None:
        return None
    try:
        value = rdn[11:].decode(encoding)
    except UnicodeDecodeError:
        return None
    return f"{name}={value}" if value.isprintable() and not _ESCAPED.match(value) else None


class Element(NamedTuple):
    """One element of DER."""

    tag: int
    content: bytes
    whole: bytes


def first_element(data: bytes) -> Element:
    """Return the first element of `data`, whatever follows it; raises DERError, IndexError."""
    end = element_end(data, 0)
    return Element(data[0], data[_content_at(data, 0) : end], data[:end])


def elements(data: bytes) -> list[Element]:
    """Return the elements that stand in `data` one after the other; raises DERError."""
    found: list[Element] = []
    at = 0
    while at < len(data):
        end = element_end(data, at)
        found.append(Element(data[at], data[_content_at(data, at) : end], data[at:end]))
        at = end
    return found


def encoded(tag: int, content: bytes) -> bytes:
    """Return an element of DER."""
    size = len(content)
    octets = b"" if size < 0x80 else size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets) if octets else size]) + octets + content


def _content_at(der: bytes, at: int) -> int:
    length = der[at + 1]
    return at + 2 + (length & 0x7F if length & 0x80 else 0)


def enter(der: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the SEQUENCE at `at` starts and ends; raises DERError, IndexError."""
    if at >= len(der) or der[at] != SEQUENCE:
        raise DERError("not a certificate: a SEQUENCE was expected")
    end = element_end(der, at)
    return _content_at(der, at), end


def shape(data: bytes, depth: int) -> Shape:
    """Return the tags of the first elements inside the `depth`th SEQUENCE of DER, each the first in the one around.

    Empty where there is no such SEQUENCE, or an element does not fit into it.
    """
    try:
        at, end = 0, len(data)
        for _ in range(depth):
            at, end = enter(data, at)
        tags: list[int] = []
        while at < end and len(tags) < _MOST_TAGS:
            tags.append(data[at])
            at = element_end(data, at)
    except (IndexError, DERError):
        return ()
    return tuple(tags)


@lru_cache(maxsize=256)
def object_identifier(content: bytes) -> str:
    """Return the content of an OBJECT IDENTIFIER as numbers with dots (X.690, 8.19).

    Raises DERError where it is empty, does not end, or is longer than any in use.
    """
    if not content or content[-1] & 0x80 or len(content) > _MOST_OCTETS:
        raise DERError("not an object identifier")
    numbers: list[int] = []
    number = 0
    for octet in content:
        number = number << 7 | octet & 0x7F
        if not octet & 0x80:
            numbers.append(number)
            number = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def algorithm_of(der: bytes, at: int = 0) -> str:
    """Return the object identifier of the AlgorithmIdentifier at `at`; raises DERError where there is none."""
    try:
        start = at + 2 if der[at] == SEQUENCE and der[at + 1] < 0x80 else enter(der, at)[0]
        if der[start] != OBJECT_IDENTIFIER:
            raise DERError("not an algorithm: an object identifier was expected")
        return object_identifier(der[start + 2 : element_end(der, start)])
    except IndexError:
        raise DERError("not an algorithm: the data ends too early") from None


def signature_algorithm(der: bytes) -> str:
    """Return the object identifier of the algorithm that signed a DER certificate; raises DERError, IndexError."""
    at, _ = enter(der, 0)
    return algorithm_of(der, element_end(der, at))


def key_algorithm(public_key: bytes) -> tuple[str, int]:
    """Return the object identifier of the algorithm of a SubjectPublicKeyInfo, and the length of its key in octets.

    Raises DERError, IndexError.
    """
    at, _ = enter(public_key, 0)
    start = element_end(public_key, at)
    end = element_end(public_key, start)
    length = public_key[start + 1]
    # The first octet of a BIT STRING counts the bits that are unused.
    return algorithm_of(public_key, at), end - start - 3 - (length & 0x7F if length & 0x80 else 0)


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
