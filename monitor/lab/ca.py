"""A private CA that issues certificates as they should be, and as they should not be."""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final, Literal, TypedDict, Unpack, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.immutable import immutable
from probes.encoding import element_end

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
HashName = Literal["md5", "sha1", "sha256", "sha384", "sha512"]

HOUR: Final = 3_600
DAY: Final = 24 * HOUR

UNKNOWN_CRITICAL: Final[x509.Extension[x509.ExtensionType]] = x509.Extension(
    oid := x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"),
    critical=True,
    value=x509.UnrecognizedExtension(oid, b"\x05\x00"),
)
"""An extension that no verifier knows, and that it must not pass over (RFC 5280, 4.2)."""

HOSTILE_TEXT: Final = "\x00 \n\r\x1b[31m\x1b]0;t\x07 \"'\\ <script>alert(1)</script> \u202e{}"
"""What must not reach a terminal, a label, a log or a page as it stands: a subject may carry all of it."""


class KeyType(StrEnum):
    """The kinds of keys that are made."""

    P256 = "p256"
    P384 = "p384"
    ED25519 = "ed25519"
    RSA2048 = "rsa2048"
    RSA1024 = "rsa1024"


class Knobs(TypedDict, total=False):
    """What may differ from a certificate as it should be."""

    subject: str | x509.Name
    """A string is the common name, empty for none at all."""
    not_before: float
    """Unix time, as is `not_after`."""
    not_after: float
    key: KeyType | PrivateKey
    """A type gives the key that this process keeps for the subject; `new_key` makes a fresh one."""
    signature_hash: HashName
    ca: bool | None
    """None leaves the basic constraints out."""
    path_length: int | None
    key_usage: x509.KeyUsage | None
    purposes: Sequence[x509.ObjectIdentifier]
    """Extended key usage; empty leaves it out."""
    permitted: Sequence[str | x509.GeneralName]
    """Name constraints: DNS names, or networks as `10.0.0.0/8`."""
    excluded: Sequence[str | x509.GeneralName]
    serial: int
    """Any number: RFC 5280 wants a positive one of 20 octets at most."""
    version: Literal[1, 3]
    """A certificate of version 1 has no extensions."""
    subject_key_identifier: bool
    authority_key_identifier: bool
    extensions: Sequence[x509.Extension[x509.ExtensionType]]
    corrupt_signature: bool


@immutable
class Issued:
    """A certificate with its key and the authority that issued it."""

    subject: x509.Name
    key: PrivateKey = field(repr=False)
    issuer: Authority | None
    """None where it signed itself."""
    _der: bytes = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The library's object; it warns where the serial number is not positive."""
        return x509.load_der_x509_certificate(self._der)

    @property
    def chain(self) -> tuple[Issued, ...]:
        """What a server should present: this one, then its issuers up to, but without, the root."""
        return tuple(each for each in self._path() if each is self or each.issuer is not None)

    @property
    def anchor(self) -> Issued:
        """The last issuer on the way up."""
        return list(self._path())[-1]

    def _path(self) -> Iterator[Issued]:
        at: Issued | None = self
        while at is not None:
            yield at
            at = at.issuer

    def der(self) -> bytes:
        """Return the certificate as DER."""
        return self._der

    def pem(self) -> bytes:
        """Return the certificate, without its chain, as PEM."""
        return ssl.DER_cert_to_PEM_cert(self._der).encode()

    def chain_pem(self) -> bytes:
        """Return what a server should present as PEM, leaf first."""
        return bundle(self.chain)

    def key_pem(self) -> bytes:
        """Return the private key as unencrypted PKCS#8 PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@immutable
class Authority(Issued):
    """A certificate whose key issues others, whether or not it should."""

    @classmethod
    def root(cls, name: str = "Lab Root CA", **knobs: Unpack[Knobs]) -> Authority:
        """Return a new self-signed CA, valid for ten years."""
        return Authority(*_issue((), None, _ca_defaults(name, 3650) | knobs))

    def intermediate(self, name: str = "Lab Issuing CA", **knobs: Unpack[Knobs]) -> Authority:
        """Return a CA issued by this one, valid for five years."""
        return Authority(*_issue((), self, _ca_defaults(name, 1825) | knobs))

    def cross_sign(self, other: Issued, **knobs: Unpack[Knobs]) -> Authority:
        """Return a second certificate, issued by this CA, for the name and the key of `other`."""
        defaults = _ca_defaults("", 1825) | Knobs(subject=other.subject, key=other.key)
        return Authority(*_issue((), self, defaults | knobs))

    def issue(self, *names: str | x509.GeneralName, **knobs: Unpack[Knobs]) -> Issued:
        """Return a server's certificate for `names` (DNS names and addresses), valid for 90 days.

        The common name is the first of them; no names, but a subject, makes a certificate with a common name only.
        """
        return Issued(*_issue(names, self, _leaf_defaults(names) | knobs))

    def answer(self, request: bytes) -> bytes:
        """Return what a CA sends for a request (PEM): a certificate for its key and names, and the chain, as PEM."""
        wanted = x509.load_pem_x509_csr(request)
        names = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issued = self.issue(*names, key=cast("PrivateKey", _PublicHalf(wanted)))
        return issued.pem() + bundle(self.chain)


@immutable
class _PublicHalf:
    """Stands in the place of a key that its owner does not give away."""

    request: x509.CertificateSigningRequest

    def public_key(self) -> object:
        return self.request.public_key()


def self_signed(*names: str | x509.GeneralName, **knobs: Unpack[Knobs]) -> Issued:
    """Return a server's certificate that only its own key vouches for."""
    return Issued(*_issue(names, None, _leaf_defaults(names) | knobs))


def bundle(certificates: Iterable[Issued]) -> bytes:
    """Return `certificates` as PEM, in that order."""
    return b"".join(each.pem() for each in certificates)


def new_key(kind: KeyType) -> PrivateKey:
    """Return a fresh private key."""
    match kind:
        case KeyType.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyType.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyType.RSA2048:
            return rsa.generate_private_key(65_537, 2048)
        case KeyType.RSA1024:
            return rsa.generate_private_key(65_537, 1024)  # noqa: S505 (a weak key is what was asked for)


@lru_cache(maxsize=512)
def _kept_key(kind: KeyType, subject: x509.Name) -> PrivateKey:  # noqa: ARG001 (the subject is the cache's key)
    return new_key(kind)


def _leaf_defaults(names: Sequence[str | x509.GeneralName]) -> Knobs:
    return Knobs(
        subject=str(names[0] if isinstance(names[0], str) else names[0].value) if names else "",
        not_after=time.time() + 90 * DAY,
        ca=False,
        key_usage=_key_usage(digital_signature=True),
        purposes=[ExtendedKeyUsageOID.SERVER_AUTH],
    )


def _ca_defaults(name: str, days: int) -> Knobs:
    return Knobs(
        subject=name,
        not_after=time.time() + days * DAY,
        ca=True,
        key_usage=_key_usage(key_cert_sign=True, crl_sign=True),
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _issue(
    names: Sequence[str | x509.GeneralName], issuer: Authority | None, knobs: Knobs
) -> tuple[x509.Name, PrivateKey, Authority | None, bytes]:
    """Return the fields of an `Issued`: signed by `issuer`, or by its own key where that is None."""
    subject = _name(knobs.get("subject", ""))
    key = knobs.get("key", KeyType.P256)
    if isinstance(key, KeyType):
        key = _kept_key(key, subject)
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(knobs.get("not_before", time.time() - HOUR), UTC))
        .not_valid_after(datetime.fromtimestamp(knobs["not_after"], UTC))
    )
    for extension in _extensions(names, key, signer, knobs):
        builder = builder.add_extension(extension.value, extension.critical)
    return subject, key, issuer, _signed(builder, signer, knobs)


def _name(subject: str | x509.Name) -> x509.Name:
    if isinstance(subject, x509.Name):
        return subject
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])


def _extensions(
    names: Sequence[str | x509.GeneralName], key: PrivateKey, signer: PrivateKey, knobs: Knobs
) -> Iterator[x509.Extension[x509.ExtensionType]]:
    ca, key_usage, purposes = knobs.get("ca"), knobs.get("key_usage"), knobs.get("purposes")
    permitted, excluded = knobs.get("permitted", ()), knobs.get("excluded", ())
    if ca is not None:
        yield _extension(x509.BasicConstraints(ca, knobs.get("path_length")), critical=True)
    if key_usage is not None:
        yield _extension(key_usage, critical=True)
    if purposes:
        yield _extension(x509.ExtendedKeyUsage(purposes))
    if names:
        yield _extension(x509.SubjectAlternativeName(map(_general_name, names)), critical=not knobs.get("subject"))
    if permitted or excluded:
        trees = [[_general_name(each) for each in side] or None for side in (permitted, excluded)]
        yield _extension(x509.NameConstraints(*trees), critical=True)
    if knobs.get("subject_key_identifier", True):
        yield _extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()))
    if knobs.get("authority_key_identifier", True):
        yield _extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()))
    yield from knobs.get("extensions", ())


def _extension(value: x509.ExtensionType, *, critical: bool = False) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical, value)


def _general_name(name: str | x509.GeneralName) -> x509.GeneralName:
    if isinstance(name, x509.GeneralName):
        return name
    try:
        return x509.IPAddress(ipaddress.ip_network(name) if "/" in name else ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# AlgorithmIdentifiers (RFC 3279, 2.2), since the library signs no certificate with MD5 or SHA-1.
_RSA_WITH_MD5: Final = bytes.fromhex("300d06092a864886f70d0101040500")
_RSA_WITH_SHA1: Final = bytes.fromhex("300d06092a864886f70d0101050500")
_ECDSA_WITH_SHA1: Final = bytes.fromhex("300906072a8648ce3d0401")

_HASHES: Final[dict[HashName, hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def _signed(builder: x509.CertificateBuilder, signer: PrivateKey, knobs: Knobs) -> bytes:
    """Return the DER; what the library refuses to build is edited into the bytes, which are then signed again."""
    name = knobs.get("signature_hash", "sha256")
    hashed = not isinstance(signer, ed25519.Ed25519PrivateKey)
    buildable = _HASHES.get(name, hashes.SHA256()) if hashed else None
    der = builder.sign(signer, buildable).public_bytes(Encoding.DER)
    if name in {"md5", "sha1"} or knobs.get("version") == 1 or "serial" in knobs:
        der = _edited(der, signer, knobs)
    if knobs.get("corrupt_signature"):
        der = der[:-1] + bytes([der[-1] ^ 1])
    return der


def _edited(der: bytes, signer: PrivateKey, knobs: Knobs) -> bytes:
    to_be_signed, identifier, _ = _children(der)
    version, serial, _, *rest = _children(to_be_signed)
    algorithm: hashes.HashAlgorithm
    if (name := knobs.get("signature_hash", "sha256")) == "md5":
        # An EC key does not sign with it.
        algorithm, identifier = hashes.MD5(), _RSA_WITH_MD5  # noqa: S303 (a weak signature is what was asked for)
    elif name == "sha1":
        algorithm = hashes.SHA1()  # noqa: S303 (a weak signature is what was asked for)
        identifier = _RSA_WITH_SHA1 if isinstance(signer, rsa.RSAPrivateKey) else _ECDSA_WITH_SHA1
    else:
        algorithm = _HASHES[name]
    if "serial" in knobs:
        number = knobs["serial"]
        serial = _element(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
    if knobs.get("version") == 1:
        version, rest = b"", rest[:4]
    to_be_signed = _element(0x30, b"".join([version, serial, identifier, *rest]))
    signature = _element(0x03, b"\0" + _sign(to_be_signed, signer, algorithm))
    return _element(0x30, to_be_signed + identifier + signature)


def _sign(data: bytes, signer: PrivateKey, algorithm: hashes.HashAlgorithm) -> bytes:
    match signer:
        case rsa.RSAPrivateKey():
            return signer.sign(data, padding.PKCS1v15(), algorithm)
        case ec.EllipticCurvePrivateKey():
            return signer.sign(data, ec.ECDSA(algorithm))
        case ed25519.Ed25519PrivateKey():
            return signer.sign(data)


def _children(der: bytes) -> list[bytes]:
    """Return the elements inside the DER SEQUENCE that `der` is."""
    at = 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)
    children = []
    while at < len(der):
        end = element_end(der, at)
        children.append(der[at:end])
        at = end
    return children


def _element(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content
