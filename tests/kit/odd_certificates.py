"""Certificates whose encoding breaks a rule of DER or RFC 5280, as devices and old CAs make and sign them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from monitor.lab.ca import Authority, Issued
from probes.encoding import SEQUENCE, Element, elements, encoded, first_element

DEFAULT_RULE: Final = "X.690 11.5: a default value must not be written"
VERSION_RULE: Final = "RFC 5280 4.1.2.1: the version must be 3"
NO_TIME_RULE: Final = "RFC 5280 4.1.2.5: a validity must have two times"
SECONDS_RULE: Final = "RFC 5280 4.1.2.5: a time must have seconds"
FRACTION_RULE: Final = "RFC 5280 4.1.2.5: a time must have no fraction of a second"
ZONE_RULE: Final = "RFC 5280 4.1.2.5: a time must end with Z"

Edit = Callable[[list[bytes]], list[bytes]]
"""Of the fields of a TBSCertificate: version, serial, algorithm, issuer, validity, subject, key, extensions."""
_SET: Final = 0x31
_PLAIN: Final = bytes.fromhex("0603551d13")
_CN, _O = bytes.fromhex("0603550403"), bytes.fromhex("060355040a")


@dataclass(frozen=True, slots=True)
class Oddity:
    """One way to break a rule."""

    edit: Edit
    rule: str
    openssl_reads: bool = True
    """OpenSSL 4, which the product links, decodes it."""
    openssl_accepts: bool = True
    """And it accepts it of a server."""


def _version(*number: int) -> Edit:
    return lambda fields: [encoded(0xA0, encoded(2, bytes(number))), *fields[1:]]


def _version_1_written(fields: list[bytes]) -> list[bytes]:
    return [encoded(0xA0, encoded(2, b"\0")), *fields[1:7]]


def _times(tag: int, begin: bytes, end: bytes) -> Edit:
    validity = encoded(SEQUENCE, encoded(tag, begin) + encoded(tag, end))
    return lambda fields: [*fields[:4], validity, *fields[5:]]


def ends(written: bytes) -> Edit:
    """Have notAfter written so, tag and length included."""
    begin = encoded(0x17, b"200101000000Z")
    return lambda fields: [*fields[:4], encoded(SEQUENCE, begin + written), *fields[5:]]


def _subject(*rdns: Sequence[tuple[bytes, int, bytes]]) -> Edit:
    written = ([encoded(SEQUENCE, kind + encoded(tag, text)) for kind, tag, text in rdn] for rdn in rdns)
    sets = [encoded(_SET, b"".join(each)) for each in written]
    return lambda fields: [*fields[:5], encoded(SEQUENCE, b"".join(sets)), *fields[6:]]


def _extensions(change: Callable[[Element], bytes]) -> Edit:
    def edit(fields: list[bytes]) -> list[bytes]:
        listed = first_element(first_element(fields[7]).content)
        return [*fields[:7], encoded(0xA3, encoded(SEQUENCE, b"".join(map(change, elements(listed.content)))))]

    return edit


def _every_criticality(extension: Element) -> bytes:
    name, *middle, value = elements(extension.content)
    critical = middle[0].whole if middle else encoded(1, b"\0")
    return encoded(SEQUENCE, name.whole + critical + value.whole)


def _true_is_one(extension: Element) -> bytes:
    return encoded(SEQUENCE, extension.content.replace(b"\x01\x01\xff", b"\x01\x01\x01", 1))


def _no_ca_written(extension: Element) -> bytes:
    name, *middle, _ = elements(extension.content)
    if name.whole != _PLAIN:
        return extension.whole
    content = encoded(4, encoded(SEQUENCE, encoded(1, b"\0")))
    return encoded(SEQUENCE, b"".join((name.whole, *(each.whole for each in middle), content)))


def _null_parameters(fields: list[bytes]) -> list[bytes]:
    algorithm = encoded(SEQUENCE, first_element(fields[2]).content + b"\x05\x00")
    return [*fields[:2], algorithm, *fields[3:]]


def _long_length(fields: list[bytes]) -> list[bytes]:
    content = first_element(fields[5]).content
    return [*fields[:5], bytes([SEQUENCE, 0x82, 0, len(content)]) + content, *fields[6:]]


def _twice(fields: list[bytes]) -> list[bytes]:
    listed = first_element(first_element(fields[7]).content)
    last = elements(listed.content)[-1].whole
    return [*fields[:7], encoded(0xA3, encoded(SEQUENCE, listed.content + last))]


_NAME: Final = (_CN, 0x0C, b"www.example.com")

ODDITIES: Final[Mapping[str, Oddity]] = MappingProxyType(
    {
        "version 1 written out": Oddity(_version_1_written, DEFAULT_RULE),
        "version 2": Oddity(_version(1), VERSION_RULE),
        "version 4": Oddity(_version(3), VERSION_RULE),
        "an extension that says it is not critical": Oddity(_extensions(_every_criticality), DEFAULT_RULE),
        "basic constraints that say it is no CA": Oddity(_extensions(_no_ca_written), DEFAULT_RULE),
        "a true that is 1": Oddity(_extensions(_true_is_one), "X.690 11.1: a BOOLEAN that is true must be FF"),
        "a set out of order": Oddity(
            _subject([(_O, 0x0C, b"zzzzzzzzzzzzzzzzzzzz"), _NAME]),
            "X.690 11.6: the elements of a SET OF must be in order",
        ),
        "a time without seconds": Oddity(
            _times(0x17, b"2611010000Z", b"3611010000Z"), SECONDS_RULE, openssl_reads=False
        ),
        "a time of another zone": Oddity(
            _times(0x17, b"261101000000+0100", b"361101000000-0130"), ZONE_RULE, openssl_accepts=False
        ),
        "a fraction of a second": Oddity(
            _times(0x18, b"20261101000000.5Z", b"20551101000000.999Z"), FRACTION_RULE, openssl_accepts=False
        ),
        "text that is no PrintableString": Oddity(
            _subject([(_CN, 0x13, b"www.example.com_*")]), "X.680 41: text must be of the characters of its type"
        ),
        "an empty part of a name": Oddity(
            _subject([], [_NAME]), "X.501 9.3: a relative distinguished name must have an attribute"
        ),
        "one type of attribute twice": Oddity(
            _subject([_NAME, _NAME]),
            "X.501 9.3: a relative distinguished name must have each type of attribute once",
        ),
        "parameters that must not be": Oddity(
            _null_parameters,
            "RFC 3279 and RFC 5758: an algorithm must have the parameters that are laid down for it",
        ),
        "a length in more octets than it needs": Oddity(
            _long_length, "X.690 10.1: a length must be written in the fewest octets"
        ),
        "an extension twice": Oddity(_twice, "RFC 5280 4.2: an extension must be there once", openssl_accepts=False),
    }
)


def odd_certificate(issuing: Authority, oddity: Oddity, *names: str) -> Issued:
    """Return a certificate for `names` that breaks the rule, with a signature that is right."""
    made = issuing.issue(*names)
    return Issued(made.subject, made.key, issuing, oddly(made, issuing, oddity))


def oddly(made: Issued, signer: Issued, oddity: Oddity) -> bytes:
    """Return a certificate so that it breaks the rule, signed anew, DER."""
    tbs = first_element(first_element(made.der()).content)
    fields = oddity.edit([each.whole for each in elements(tbs.content)])
    edited = encoded(SEQUENCE, b"".join(fields))
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    signature = signer.key.sign(edited, ec.ECDSA(hashes.SHA256()))
    return encoded(SEQUENCE, edited + fields[2] + encoded(3, b"\0" + signature))


def slow_key() -> rsa.RSAPrivateKey:
    """Return a key whose exponent is as long as its modulus: 14 ms for each signature that is verified with it."""
    private = rsa.generate_private_key(65537, 3072).private_numbers()
    p, q = private.p, private.q
    d = next(each for each in range(65539, 70000, 2) if (p - 1) % each and (q - 1) % each and _is_prime(each))
    e = pow(d, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), private.iqmp, rsa.RSAPublicNumbers(e, private.public_numbers.n)
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _is_prime(number: int) -> bool:
    return all(number % each for each in range(2, int(number**0.5) + 1))
