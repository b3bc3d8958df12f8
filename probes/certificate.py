"""The certificate as an immutable value: facts that print safely, and a reason for each fact that is missing."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import Extensions
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.address import is_dns_name, is_ip_address
from config.immutable import immutable
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import KeyKind
from probes.algorithm import (
    ALGORITHMS,
    BY_NAME,
    POST_QUANTUM,
    is_named,
    key_strength,
    signature_name,
    signature_strength,
)
from probes.encoding import Outline, key_algorithm, outline, plain_name, signature_algorithm
from probes.fields import Fields
from probes.reencoding import Reencoded, extensions_in, reencode, signed_part, version_of, with_extensions, without_key

# A serial number below 1 is a fact to report, not a reason to write to the log at every look.
warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning, message="Parsed a serial number")
# Nor is an attribute with more characters than X.520 allows.
warnings.filterwarnings("ignore", category=UserWarning, message="Attribute's length must be")

MOST_BYTES: Final = 256 * 1024
"""Of a certificate; clients take 100 KiB at most, and all that names and extensions cost grows with it."""

_MOST_TRIED: Final = 64
"""Extensions that are tried one by one, where one of them cannot be decoded."""


@immutable
class Key:
    """A public key, as far as judging its strength needs it."""

    kind: KeyKind
    bits: int
    """Size in bits, 0 where it is not known."""
    name: str = ""
    """Name of its algorithm, or the identifier of one that is not known; empty where kind and size say all."""

    @property
    def shown(self) -> Printable:
        """Kind and length, as sentences have them."""
        if self.name:
            named = harmless(self.name)
            return sentence("{} {}", self.kind, named) if self.kind is KeyKind.UNKNOWN else named
        return sentence("{} {}", self.kind, self.bits) if self.bits else sentence("{}", self.kind)

    @property
    def strength(self) -> int | None:
        """In bits, rounded down to a level that is usual (80, 112, 128, 192, 256); None where it is not known."""
        return key_strength(self.kind, self.bits, self.name)

    def __str__(self) -> str:
        return self.shown


IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class NameKind(StrEnum):
    """The kind of an alternative name, as it is written before the name."""

    DNS = "DNS"
    IP = "IP"
    EMAIL = "email"
    URI = "URI"
    OTHER = "other"
    """Written without a name."""


@immutable
class AlternativeName:
    """A subject alternative name (RFC 5280, 4.2.1.6)."""

    kind: NameKind
    value: str
    """Printable; a name that had to be escaped for that is no name of a host, and still is none."""

    @property
    def is_of_server(self) -> bool:
        """Whether clients compare it with the server that they ask for."""
        return self.kind in {NameKind.DNS, NameKind.IP}

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}" if self.kind is not NameKind.OTHER else self.kind


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Certificate:
    """A certificate with its facts decoded (RFC 5280); two are equal where their DER is.

    All text is printable as it stands: hostile characters were escaped when it was decoded.
    """

    der: bytes
    sha256: str
    """Of the DER, hexadecimal."""
    subject: Printable
    """RFC 4514."""
    issuer: Printable
    serial: str
    """Hexadecimal without leading zeros; empty where it cannot be decoded."""
    not_before: int | None
    """Unix time; None where it cannot be decoded."""
    not_after: int | None
    names: tuple[str, ...]
    """Subject alternative names as `DNS:…`, `IP:…`, `email:…`, `URI:…` or `other`."""
    key: Key
    signature_hash: Printable
    """Name of the hash, such as `sha256`; empty where the signature has no hash of its own, or it is not known."""
    is_ca: bool
    """Basic constraints say CA, or it is self-issued and of version 1."""
    self_issued: bool
    failures: tuple[Printable, ...] = ()
    """One sentence for each field that could not be decoded."""
    encoding_faults: tuple[Printable, ...] = ()
    """The rules of encoding that it breaks; strict clients refuse it for one, others read it."""
    reencoded: bytes | None = None
    """The same facts in strict DER, under a signature that does not fit; None where its own bytes are decoded."""
    is_strict: bool = True
    """Whether a library that reads strict DER alone reads it at all."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"<Certificate {self.subject!r} {self.sha256[:16]}>"

    @property
    def title(self) -> Printable:
        """Its name in sentences: the subject, or its first name where that is empty, or else its SHA-256."""
        named = next((each.value for each in self.alternative_names() if each.value), "")
        return self.subject or harmless(named) or sentence("the certificate with the SHA-256 {}", self.short_sha256)

    @property
    def short_sha256(self) -> Printable:
        """The first 16 digits of its SHA-256."""
        return harmless(self.sha256[:16])

    @property
    def carries_server_names(self) -> bool:
        """Whether it names servers: by a DNS name or address, or as servers' certificates did by the common name."""
        if self.has_server_names:
            return True
        # Nearly no CA has a dot or a colon in its name; to take a name apart, the certificate is parsed anew.
        may_name_host = "." in self.subject or ":" in self.subject
        return may_name_host and any(map(_is_host, self.common_names())) and _serves(self)

    @property
    def has_server_names(self) -> bool:
        """Whether a DNS name or an address is among its alternative names."""
        return any(each.is_of_server for each in self.alternative_names())

    @property
    def is_costly(self) -> bool:
        """Whether to verify with its key would take longer than with any in use, by a huge modulus or exponent."""
        usual = _USUAL_BITS.get(self.key.kind)
        if usual is None:
            return False
        # An RSA key that is longer than its modulus is so by its exponent.
        huge_exponent = self.key.kind is KeyKind.RSA and len(self.outline().public_key) > self.key.bits // 8 + 64
        return self.key.bits > usual or huge_exponent

    @property
    def signature_oid(self) -> str:
        """The object identifier of the algorithm that signed it; empty where it cannot be decoded."""
        try:
            return signature_algorithm(self.der)
        except (ValueError, IndexError):
            return ""

    @property
    def signature(self) -> Printable:
        """The name of the algorithm that signed it; its object identifier where it has none here."""
        return harmless(signature_name(self.signature_oid))

    @property
    def signature_strength(self) -> int | None:
        """In bits; None where it is not known."""
        return signature_strength(self.signature_oid, self.signature_hash)

    @property
    def has_named_signature(self) -> bool:
        """Whether the algorithm that signed it is a known one."""
        return is_named(self.signature_oid)

    def alternative_names(self) -> Iterator[AlternativeName]:
        """Yield its `names`, as values."""
        for name in self.names:
            kind, _, value = name.partition(":")
            yield AlternativeName(_KINDS.get(kind, NameKind.OTHER), value)

    def dns_names(self) -> tuple[str, ...]:
        """Return the DNS names among its alternative names, perhaps with a wildcard."""
        return tuple(each.value for each in self.alternative_names() if each.kind is NameKind.DNS)

    def ip_addresses(self) -> tuple[IPAddress, ...]:
        """Return the addresses among its alternative names; a network there is none."""
        texts = (each.value for each in self.alternative_names() if each.kind is NameKind.IP)
        return tuple(address for address in map(_address, texts) if address is not None)

    def common_names(self) -> tuple[str, ...]:
        """Return the common names of the subject as they are written, not made printable; none where it is broken."""
        try:
            found = self.decoded().subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        except Exception:  # noqa: BLE001 (why is among the failures already)
            return ()
        return tuple(each.value for each in found if isinstance(each.value, str))

    def outline(self) -> Outline:
        """Return the parts that are compared as bytes."""
        return outline(self.der)

    def public_key_sha256(self) -> str:
        """Return the SHA-256 of the SubjectPublicKeyInfo, hexadecimal."""
        return hashlib.sha256(self.outline().public_key).hexdigest()

    @property
    def version(self) -> int:
        """The version that it says it has: 3 for all that conform."""
        return version_of(self.der)

    def signed_part(self) -> bytes:
        """Return the bytes over which its signature was made."""
        return signed_part(self.der)

    def decoded(self) -> x509.Certificate:
        """Return the library's object for its facts alone: its bytes may not be those of the certificate."""
        return x509.load_der_x509_certificate(self.reencoded or self.der)

    def x509(self) -> x509.Certificate:
        """Return the library's object, parsed anew: values that live long do not hold it.

        Raises ValueError where the certificate `is_strict` not.
        """
        if not self.is_strict:
            raise ValueError("it is not in strict DER")
        return x509.load_der_x509_certificate(self.der)

    def extensions(self) -> Extensions:
        """Return the library's extensions; none where one of them cannot be decoded."""
        return _extensions(self)


_KINDS: Final = {str(each): each for each in NameKind}


def _address(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_host(name: str) -> bool:
    """Whether a common name can only be meant as a host's: people and CAs have no dots in theirs."""
    return is_ip_address(name) or ("." in name and is_dns_name(name.removeprefix("*.")))


def _serves(known: Certificate) -> bool:
    try:
        uses = known.extensions().get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in uses


_USUAL_BITS: Final = {KeyKind.RSA: 8192, KeyKind.DSA: 4096}
"""At most, where the time to verify grows fast with the size."""

_known: Final[WeakValueDictionary[bytes, Certificate]] = WeakValueDictionary()


def certificate(der: bytes) -> Certificate:
    """Return the certificate with exactly these bytes, decoded once for as long as anyone holds it.

    Raises ValueError where `der` is not a certificate at all, or larger than `MOST_BYTES`; a single bad field is a
    failure inside the value.
    """
    if len(der) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
    known = _known.get(der)
    if known is None:
        known = _known[der] = _decode(der)
    return known


def decodable(ders: Iterable[bytes]) -> tuple[Certificate, ...]:
    """Return the certificates in that order; one that cannot be decoded is passed over."""
    found: list[Certificate] = []
    for der in ders:
        try:
            found.append(certificate(der))
        except ValueError:
            continue
    return tuple(found)


def folded_name(name: str) -> str:
    """Return a name such that names which OpenSSL takes for equal (RFC 5280, 7.1) are; a few others may be, too."""
    return "".join(name.casefold().split())


def roots_in(certificates: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """Return the self-issued certificates of CAs among these."""
    return tuple(each for each in certificates if each.is_ca and each.self_issued)


def remember(known: Certificate) -> Certificate:
    """Return the one value for these bytes: `known` itself, unless an equal one is already held."""
    return _known.setdefault(known.der, known)


# As many as a path and what is compared with it: they take a hundred times the space of their DER.
@lru_cache(maxsize=32)
def _extensions(known: Certificate) -> Extensions:
    try:
        return known.decoded().extensions
    except Exception:  # noqa: BLE001 (why is among the failures already)
        return _NO_EXTENSIONS


def _fault(name: str, error: Exception) -> Printable:
    return sentence("{} cannot be decoded: {}", harmless(name), why_undecodable(error))


def why_undecodable(error: Exception) -> Printable:
    """Return why the library cannot decode something, in its words unless these are for its own developers."""
    said = str(error) or "it is not well-formed"
    if _FOR_DEVELOPERS.search(said) is None:
        return printable(said, 200)
    fields = _FIELD.findall(said)
    if not fields:
        return Printable("it is not well-formed")
    return sentence("the field {} is not well-formed", harmless(fields[-1].replace("_", " ")))


_FIELD: Final = re.compile(r'"\w+::(\w+)"')
_FOR_DEVELOPERS: Final = re.compile(r"[{}]|::|ParseError|PyErr|<\w+\(")
_NO_EXTENSIONS: Final = Extensions([])
_Extensions = Mapping[type, x509.ExtensionType]
_UNKNOWN_KEY: Final = Key(KeyKind.UNKNOWN, 0)


def _decode(der: bytes) -> Certificate:
    parts = outline(der)
    try:
        found = _facts(der, x509.load_der_x509_certificate(der), parts)
    except (x509.InvalidVersion, ValueError) as error:
        return _decode_anew(der, parts, error)
    return _with_more(found, parts) if found.failures else found


def _decode_anew(der: bytes, parts: Outline, refused: Exception) -> Certificate:
    """Return a certificate that the library refuses as a whole, encoded anew; raises ValueError where it does again."""
    try:
        anew = reencode(der)
    except (ValueError, IndexError):
        raise ValueError(why_undecodable(refused)) from None
    with suppress(x509.InvalidVersion, ValueError, IndexError):
        return replace(_facts_anew(der, anew, parts), is_strict=False)
    try:
        known = _facts_anew(der, replace(anew, der=without_key(anew.der)), parts)
    except (x509.InvalidVersion, ValueError, IndexError):
        raise ValueError(why_undecodable(refused)) from None
    others = (each for each in known.failures if not each.startswith(_KEY))
    keyless = sentence("{} cannot be decoded: it is not well-formed", harmless(_KEY))
    return replace(known, failures=(*others, keyless), is_strict=False)


def _with_more(found: Certificate, parts: Outline) -> Certificate:
    """Return a certificate with the facts that it has when it is encoded anew, where these are more."""
    try:
        anew = _facts_anew(found.der, reencode(found.der), parts)
    except (x509.InvalidVersion, ValueError, IndexError):
        return found
    return found if anew.reencoded == found.der else anew


def _facts_anew(der: bytes, anew: Reencoded, parts: Outline) -> Certificate:
    """Return the facts of a certificate encoded anew, without extensions that cannot be decoded; raises ValueError."""
    kept, faults = _decodable_extensions(anew.der)
    facts = _facts(der, x509.load_der_x509_certificate(kept), parts)
    begin, end = anew.without_times or (False, False)
    unread = [each for each, is_so in ((_NO_BEGIN, begin), (_NO_END, end)) if is_so]
    return replace(
        facts,
        not_before=None if begin else facts.not_before,
        not_after=None if end else facts.not_after,
        failures=(*facts.failures, *faults, *unread),
        encoding_faults=anew.broken,
        reencoded=kept,
    )


_KEY: Final = "public key"
_NO_BEGIN: Final = Printable("notBefore cannot be decoded: it is no time")
_NO_END: Final = Printable("notAfter cannot be decoded: it is no time")


def _decodable_extensions(der: bytes) -> tuple[bytes, tuple[Printable, ...]]:
    """Return a certificate without the extensions that the library cannot decode, and a sentence for each of these."""
    if _extensions_fault(der) is None or len(extensions := extensions_in(der)) > _MOST_TRIED:
        return der, ()
    faults = {each: _extensions_fault(with_extensions(der, [each])) for each in extensions}
    left_out = tuple(
        sentence("the extension {} cannot be decoded: {}", harmless(each.identifier), why_undecodable(error))
        for each, error in faults.items()
        if error is not None
    )
    return with_extensions(der, [each for each, error in faults.items() if error is None]), left_out


def _extensions_fault(der: bytes) -> Exception | None:
    parsed = x509.load_der_x509_certificate(der)
    try:
        _ = parsed.extensions
    except Exception as error:  # noqa: BLE001 (the library raises exceptions without a common base)
        return error
    return None


def _facts(der: bytes, parsed: x509.Certificate, parts: Outline) -> Certificate:
    """Return the facts that the library reads in a certificate whose bytes are `der`."""
    fields = Fields(_fault)
    found = fields.get("extensions", lambda: parsed.extensions, _NO_EXTENSIONS)
    extensions = {type(each.value): each.value for each in found}
    self_issued = parts.issuer == parts.subject
    no_time: int | None = None
    nothing = Printable("")
    no_names: tuple[str, ...] = ()
    no_key: Key | None = None
    return Certificate(
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
        subject=fields.get("subject", lambda: harmless(plain_name(parts.subject) or _name(parsed.subject)), nothing),
        issuer=fields.get("issuer", lambda: harmless(plain_name(parts.issuer) or _name(parsed.issuer)), nothing),
        serial=fields.get("serial number", lambda: f"{parsed.serial_number:x}", ""),
        not_before=fields.get("notBefore", lambda: int(parsed.not_valid_before_utc.timestamp()), no_time),
        not_after=fields.get("notAfter", lambda: int(parsed.not_valid_after_utc.timestamp()), no_time),
        names=fields.get("subject alternative names", lambda: _names(extensions), no_names),
        key=fields.get(_KEY, lambda: _key(parsed, parts.public_key), no_key) or _named(parts.public_key),
        signature_hash=fields.get("signature algorithm", lambda: harmless(_signature_hash(parsed)), nothing),
        is_ca=_is_ca(extensions, parsed, self_issued=self_issued),
        self_issued=self_issued,
        failures=tuple(fields.faults),
    )


def _name(name: x509.Name) -> str:
    """Return RFC 4514 text; as in that RFC, an unprintable character is a hexadecimal pair for each octet."""
    text = name.rfc4514_string()
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else "".join(f"\\{octet:02x}" for octet in each.encode(errors="replace"))
        for each in text
    )


def _names(extensions: _Extensions) -> tuple[str, ...]:
    names = extensions.get(x509.SubjectAlternativeName)
    return tuple(map(_written, names)) if isinstance(names, x509.SubjectAlternativeName) else ()


def _written(name: x509.GeneralName) -> str:
    """Return an alternative name as text, its kind in front."""
    match name:
        case x509.DNSName():
            return printable(f"{NameKind.DNS}:{name.value}")
        case x509.IPAddress():
            return f"{NameKind.IP}:{name.value}"
        case x509.RFC822Name():
            return printable(f"{NameKind.EMAIL}:{name.value}")
        case x509.UniformResourceIdentifier():
            return printable(f"{NameKind.URI}:{name.value}")
        case _:
            return NameKind.OTHER


def named_key(public_key: bytes) -> Key:
    """Return a key by the algorithm of its SubjectPublicKeyInfo: unknown where that is no post-quantum one.

    Raises DERError, IndexError.
    """
    oid, length = key_algorithm(public_key)
    known = ALGORITHMS.get(oid)
    if known is None:
        return Key(KeyKind.UNKNOWN, 0, oid)
    return Key(known.kind, 8 * length, known.name)


def restored_key(kind: KeyKind, bits: int, der: bytes) -> Key:
    """Return the key of a certificate whose kind and size are known already."""
    if kind in POST_QUANTUM or kind is KeyKind.UNKNOWN:
        try:
            return named_key(outline(der).public_key)
        except (ValueError, IndexError):
            return _UNKNOWN_KEY
    return _one_key(kind, bits)


@lru_cache(maxsize=256)
def _one_key(kind: KeyKind, bits: int) -> Key:
    return Key(kind, bits)


def _named(public_key: bytes) -> Key:
    """Return what is known of a key that cannot be decoded."""
    try:
        return named_key(public_key)
    except (ValueError, IndexError):
        return _UNKNOWN_KEY


_MAY_BE_NAMED: Final = re.compile(
    rb".{1,4}\x30.\x06(\x09\x60\x86\x48\x01\x65\x03\x04\x03|\x08\x2b\x06\x01\x05\x05\x07\x06)", re.DOTALL
)
"""How the SubjectPublicKeyInfo of an algorithm in `ALGORITHMS` begins: nearly all others are passed over by this."""


def _key(parsed: x509.Certificate, public_key: bytes) -> Key:
    if _MAY_BE_NAMED.match(public_key) and (named := named_key(public_key)).kind in POST_QUANTUM:
        _check_length(named)
        return named
    try:
        public = parsed.public_key()
    except UnsupportedAlgorithm:
        oid = parsed.public_key_algorithm_oid.dotted_string
        raise ValueError(f"the algorithm {oid}, or its parameters, are not known") from None
    match public:
        case rsa.RSAPublicKey() as key:
            return _one_key(KeyKind.RSA, key.key_size)
        case ec.EllipticCurvePublicKey() as key:
            return _one_key(KeyKind.EC, key.key_size)
        case ed25519.Ed25519PublicKey():
            return _one_key(KeyKind.ED25519, 256)
        case ed448.Ed448PublicKey():
            return _one_key(KeyKind.ED448, 456)
        case dsa.DSAPublicKey() as key:
            return _one_key(KeyKind.DSA, key.key_size)
        case _:
            return _named(public_key)


def _check_length(key: Key) -> None:
    """Raise ValueError where a key is not as long as its algorithm has it."""
    expected = BY_NAME[key.name].key_bytes
    if expected is not None and key.bits != 8 * expected:
        raise ValueError(f"it has {key.bits // 8} bytes, and a key of {key.name} has {expected}")


def _signature_hash(parsed: x509.Certificate) -> str:
    if parsed.signature_algorithm_oid.dotted_string in ALGORITHMS:
        return ""
    try:
        algorithm = parsed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        oid = parsed.signature_algorithm_oid.dotted_string
        raise ValueError(f"the algorithm {oid} is not known") from None
    return algorithm.name if algorithm else ""


def _is_ca(extensions: _Extensions, parsed: x509.Certificate, *, self_issued: bool) -> bool:
    constraints = extensions.get(x509.BasicConstraints)
    if isinstance(constraints, x509.BasicConstraints):
        return constraints.ca
    return self_issued and parsed.version is x509.Version.v1
