"""Certificates whose encoding breaks DER or RFC 5280, and that OpenSSL reads all the same: encoded anew, by the rules.

Libraries that read strict DER refuse such a certificate as a whole; devices and old CAs go on making them. What is
encoded anew has the same facts. Its signature is not that of the original: nobody verifies it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from config.immutable import immutable
from config.text import Printable
from probes.encoding import (
    CONTEXT_0,
    SEQUENCE,
    TIMES,
    DERError,
    Element,
    elements,
    encoded,
    first_element,
    object_identifier,
)

DEFAULT_VALUE: Final = Printable("X.690 11.5: a default value must not be written")
TRUE_NOT_FF: Final = Printable("X.690 11.1: a BOOLEAN that is true must be FF")
LONG_LENGTH: Final = Printable("X.690 10.1: a length must be written in the fewest octets")
SET_ORDER: Final = Printable("X.690 11.6: the elements of a SET OF must be in order")
NO_TIME: Final = Printable("RFC 5280 4.1.2.5: a validity must have two times")
WITHOUT_SECONDS: Final = Printable("RFC 5280 4.1.2.5: a time must have seconds")
WITH_FRACTION: Final = Printable("RFC 5280 4.1.2.5: a time must have no fraction of a second")
OTHER_ZONE: Final = Printable("RFC 5280 4.1.2.5: a time must end with Z")
LATE_FORM: Final = Printable("RFC 5280 4.1.2.5: a time must be of the type of its year")
ODD_TEXT: Final = Printable("X.680 41: text must be of the characters of its type")
_EMPTY_RDN: Final = Printable("X.501 9.3: a relative distinguished name must have an attribute")
_TWICE_IN_RDN: Final = Printable("X.501 9.3: a relative distinguished name must have each type of attribute once")
_PARAMETERS: Final = Printable("RFC 3279 and RFC 5758: an algorithm must have the parameters that are laid down for it")
EXTENSION_TWICE: Final = Printable("RFC 5280 4.2: an extension must be there once")
_PATH_LENGTH: Final = Printable("RFC 5280 4.2.1.9: a path length must stand beside a CA alone")

_SET: Final = 0x31
_BOOL: Final = 0x01
_NULL: Final = b"\x05\x00"
_EXTENSIONS: Final = 0xA3
_VERSION_3: Final = bytes.fromhex("a003020102")
_BASIC_CONSTRAINTS: Final = bytes.fromhex("0603551d13")
_UTF8, _PRINTABLE, _IA5, _UTC, _GENERALIZED = 0x0C, 0x13, 0x16, 0x17, 0x18
_OF_TYPE: Final = {
    _PRINTABLE: re.compile(rb"[A-Za-z0-9 '()+,\-./:=?]*"),
    _IA5: re.compile(rb"[\x00-\x7f]*"),
}
_UTC_TIME: Final = re.compile(rb"(\d\d)(\d{8})(\d\d)?(?:Z|([+-])(\d\d)(\d\d))?")
_GENERALIZED_TIME: Final = re.compile(rb"(\d{4})(\d{8})(\d\d)?(?:[.,]\d+)?(?:Z|([+-])(\d\d)(\d\d))?")
_RSA: Final = bytes.fromhex("2a864886f70d0101")
_WITH_OWN_PARAMETERS: Final = frozenset({7, 8, 10})
"""RSAES-OAEP, MGF1, RSASSA-PSS."""
_PSS: Final = _RSA + b"\x0a"
_WITHOUT: Final = tuple(map(bytes.fromhex, ("2a8648ce3d0403", "2a8648ce380403", "6086480165030403")))
"""The signatures of ECDSA and DSA: prefixes of their identifiers."""
_EDWARDS: Final = frozenset({bytes.fromhex("2b6570"), bytes.fromhex("2b6571")})
"""Ed25519, Ed448."""
_ANY_TIME: Final = b"\x17\x0d000101000000Z"
_UNKNOWN_KEY: Final = bytes.fromhex("3009300406028837030100")
"""Of the algorithm 2.999, an example."""
_DEEPEST: Final = 32


@immutable
class Reencoded:
    """A certificate in strict DER."""

    der: bytes
    broken: tuple[Printable, ...]
    """The rules of encoding that the original breaks, each a sentence."""
    without_times: tuple[bool, ...] = ()
    """Whether nobody can read notBefore, and notAfter: then `der` has any time in their place."""


def version_of(der: bytes) -> int:
    """Return the version that a certificate says it has, 1 where it says nothing; raises DERError, IndexError."""
    first = elements(first_element(first_element(der).content).content)[0]
    return int.from_bytes(first_element(first.content).content, "big", signed=True) + 1 if first.tag == CONTEXT_0 else 1


def signed_part(der: bytes) -> bytes:
    """Return the part of a certificate over which its signature was made, as it is written; raises DERError."""
    return first_element(first_element(der).content).whole


def reencode(der: bytes) -> Reencoded:
    """Return a certificate in strict DER; raises DERError, IndexError where it has not the shape of one.

    Of text that nobody can read, the bytes stay.
    """
    work = _Reencoding()
    return Reencoded(work.certificate(der), tuple(work.broken), tuple(work.without_times))


def without_key(der: bytes) -> bytes:
    """Return a certificate whose key is of an algorithm that nobody knows; raises DERError, IndexError."""
    tbs, *signature = elements(first_element(der).content)
    fields = elements(tbs.content)
    at = 6 if fields[0].tag == CONTEXT_0 else 5
    written = [each.whole for each in fields[:at]] + [_UNKNOWN_KEY] + [each.whole for each in fields[at + 1 :]]
    return encoded(SEQUENCE, b"".join((encoded(SEQUENCE, b"".join(written)), *(each.whole for each in signature))))


class _Reencoding:
    def __init__(self) -> None:
        self.broken: dict[Printable, None] = {}
        self.without_times: list[bool] = []

    def certificate(self, der: bytes) -> bytes:
        tbs, algorithm, *rest = elements(self._shortest(first_element(der)))
        written = b"".join((self._tbs(tbs.content), self._algorithm(algorithm), *(each.whole for each in rest)))
        return encoded(SEQUENCE, written)

    def _shortest(self, outer: Element, depth: int = 0) -> bytes:
        """Return the content of an element, all of its lengths as short as they can be."""
        if not outer.tag & 0x20:
            return outer.content
        if depth > _DEEPEST:
            raise DERError("elements lie too deep in each other")
        parts: list[bytes] = []
        for each in elements(outer.content):
            written = encoded(each.tag, self._shortest(each, depth + 1))
            if len(written) < len(each.whole):
                self._breaks(LONG_LENGTH)
            parts.append(written)
        return b"".join(parts)

    def _breaks(self, rule: Printable) -> None:
        self.broken[rule] = None

    def _tbs(self, content: bytes) -> bytes:
        fields = elements(content)
        version = b""
        if fields[0].tag == CONTEXT_0:
            number = first_element(fields.pop(0).content).content
            if number == b"\0":
                self._breaks(DEFAULT_VALUE)
            else:
                # The rule of the version is one of values.
                version = _VERSION_3
        serial, algorithm, issuer, validity, subject, key, *more = fields
        parts = [
            version,
            serial.whole,
            self._algorithm(algorithm),
            self._name(issuer),
            encoded(SEQUENCE, b"".join(map(self._time, elements(validity.content)))),
            self._name(subject),
            self._key(key),
            *(self._extensions(each) if each.tag == _EXTENSIONS else each.whole for each in more),
        ]
        return encoded(SEQUENCE, b"".join(parts))

    def _key(self, key: Element) -> bytes:
        algorithm, *rest = elements(key.content)
        return encoded(SEQUENCE, b"".join((self._algorithm(algorithm), *(each.whole for each in rest))))

    def _algorithm(self, algorithm: Element) -> bytes:
        name, *parameters = elements(algorithm.content)
        given = b"".join(each.whole for each in parameters)
        right = _parameters(name.content, given)
        if right == given:
            return algorithm.whole
        self._breaks(_PARAMETERS)
        return encoded(SEQUENCE, name.whole + right)

    def _time(self, time: Element) -> bytes:
        right = _time_in_utc(time) if time.tag in TIMES else None
        self.without_times.append(right is None)
        if right is None:
            self._breaks(NO_TIME)
            return _ANY_TIME
        if right != time.whole:
            for rule in _broken_by_time(time):
                self._breaks(rule)
        return right

    def _name(self, name: Element) -> bytes:
        written: list[bytes] = []
        for rdn in elements(name.content):
            attributes = [self._attribute(each) for each in elements(rdn.content)]
            if not attributes:
                self._breaks(_EMPTY_RDN)
                continue
            if attributes != sorted(attributes):
                self._breaks(SET_ORDER)
            types = [elements(first_element(each).content)[0].whole for each in attributes]
            if len(set(types)) < len(types):
                self._breaks(_TWICE_IN_RDN)
                written += (encoded(_SET, each) for each in attributes)
            else:
                written.append(encoded(_SET, b"".join(sorted(attributes))))
        return encoded(SEQUENCE, b"".join(written))

    def _attribute(self, attribute: Element) -> bytes:
        kind, *values = elements(attribute.content)
        return encoded(SEQUENCE, b"".join((kind.whole, *map(self._text, values))))

    def _text(self, text: Element) -> bytes:
        fits = _OF_TYPE.get(text.tag)
        if fits is None or fits.fullmatch(text.content):
            return text.whole
        self._breaks(ODD_TEXT)
        return encoded(_UTF8, text.content.decode("latin-1").encode())

    def _extensions(self, outer: Element) -> bytes:
        found: dict[bytes, bytes] = {}
        for each in elements(first_element(outer.content).content):
            name, *rest = elements(each.content)
            if name.whole in found:
                self._breaks(EXTENSION_TWICE)
            else:
                found[name.whole] = self._extension(name, rest)
        return encoded(outer.tag, encoded(SEQUENCE, b"".join(found.values())))

    def _extension(self, name: Element, rest: Sequence[Element]) -> bytes:
        value = rest[-1]
        critical = b"".join(map(self._boolean, rest[:-1]))
        content = value.content
        if name.whole == _BASIC_CONSTRAINTS:
            content = self._basic_constraints(content)
        return encoded(SEQUENCE, b"".join((name.whole, critical, encoded(value.tag, content))))

    def _basic_constraints(self, content: bytes) -> bytes:
        fields = elements(first_element(content).content)
        is_ca = b"".join(self._boolean(each) for each in fields if each.tag == _BOOL)
        length = b"".join(each.whole for each in fields if each.tag != _BOOL)
        if length and not is_ca:
            self._breaks(_PATH_LENGTH)
            length = b""
        return encoded(SEQUENCE, is_ca + length)

    def _boolean(self, boolean: Element) -> bytes:
        """Return a BOOLEAN whose default is false; nothing where it is that."""
        if boolean.content == b"\0":
            self._breaks(DEFAULT_VALUE)
            return b""
        if boolean.content != b"\xff":
            self._breaks(TRUE_NOT_FF)
        return encoded(_BOOL, b"\xff")


def _parameters(name: bytes, given: bytes) -> bytes:
    """Return the parameters that an algorithm must have, by its identifier; those that are `given`, where any may."""
    if name.startswith(_RSA) and len(name) == len(_RSA) + 1 and name[-1] not in _WITH_OWN_PARAMETERS:
        return _NULL
    if name == _PSS and given[:1] != bytes([SEQUENCE]):
        return b""
    return b"" if name.startswith(_WITHOUT) or name in _EDWARDS else given


def _broken_by_time(time: Element) -> Sequence[Printable]:
    """Return the rules that a time breaks that is not written as RFC 5280, 4.1.2.5, has it."""
    digits = re.match(rb"\d*", time.content)
    count = len(digits[0]) if digits is not None else 0
    broken = [WITHOUT_SECONDS] if count < (12 if time.tag == _UTC else 14) else []
    broken += [WITH_FRACTION] if b"." in time.content or b"," in time.content else []
    broken += [OTHER_ZONE] if not time.content.endswith(b"Z") else []
    return broken or [LATE_FORM]


def _time_in_utc(time: Element) -> bytes | None:
    """Return a time as RFC 5280, 4.1.2.5, has it; None where it is none."""
    pattern = _UTC_TIME if time.tag == _UTC else _GENERALIZED_TIME
    found = pattern.fullmatch(time.content)
    if found is None:
        return None
    year, rest, seconds, sign, hours, minutes = found.groups()
    whole_year = int(year) + ((1900 if int(year) >= 50 else 2000) if time.tag == _UTC else 0)
    try:
        at = datetime.strptime(f"{whole_year:04}{(rest + (seconds or b'00')).decode()}", "%Y%m%d%H%M%S").replace(
            tzinfo=UTC
        )
        if sign:
            ahead = timedelta(hours=int(hours), minutes=int(minutes))
            at += -ahead if sign == b"+" else ahead
    except (ValueError, OverflowError):
        return None
    if time.tag == _GENERALIZED and time.content == f"{at:%Y%m%d%H%M%S}Z".encode():
        # Before 2050 it should be a UTCTime, which is a rule of values.
        return time.whole
    if 1950 <= at.year < 2050:
        return encoded(_UTC, f"{at:%y%m%d%H%M%S}Z".encode())
    return encoded(_GENERALIZED, f"{at.year:04}{at:%m%d%H%M%S}Z".encode())


@immutable
class Extension:
    """One extension of a certificate."""

    identifier: str
    """In dots."""
    whole: bytes


def extensions_in(der: bytes) -> tuple[Extension, ...]:
    """Return the extensions of a certificate; raises DERError, IndexError."""
    fields = elements(first_element(first_element(der).content).content)
    found = (elements(first_element(each.content).content) for each in fields if each.tag == _EXTENSIONS)
    named = ((elements(one.content)[0].content, one.whole) for each in found for one in each)
    return tuple(Extension(object_identifier(name), whole) for name, whole in named)


def with_extensions(der: bytes, extensions: Sequence[Extension]) -> bytes:
    """Return a certificate with these extensions alone, its signature as it was; raises DERError, IndexError."""
    tbs, *signature = elements(first_element(der).content)
    fields = [each.whole for each in elements(tbs.content) if each.tag != _EXTENSIONS]
    if extensions:
        fields.append(encoded(_EXTENSIONS, encoded(SEQUENCE, b"".join(each.whole for each in extensions))))
    return encoded(SEQUENCE, b"".join((encoded(SEQUENCE, b"".join(fields)), *(each.whole for each in signature))))
