"""A CA of one's own, for a lab or a small site: a root that signs servers' certificates, and nothing else.

A certificate has what this module gives it. Of a request only its key, its names and its common name are taken, so no
request makes itself a CA.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from actions.candidate import LibraryKey, PrivateKey
from actions.csr import wrong_name
from actions.world import Metadata, World, write_new
from config.address import is_ip_address
from config.immutable import immutable
from config.text import Printable, printable, sentence
from probes.container.blocks import EncodingFault
from probes.container.private_key import open_key
from probes.judge.time import moment

LONGEST: Final = 200
"""Days for which a server's certificate lasts, unless more is asked for: public CAs may not give more since 2026."""
LONGEST_EVER: Final = 3650
EARLIER: Final = 300.0
"""Seconds before now at which a certificate begins: the clocks of clients differ."""
_DAY: Final = 86_400
_MOST_BYTES: Final = 64 * 1024
_LEAST_RSA: Final = 2048
_PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey


@immutable
class OwnCA:
    """A root and its key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)


@immutable
class Wanted:
    """The parts of a request that a certificate takes from it."""

    names: tuple[str, ...]
    """DNS names and addresses; they can be printed."""
    common_name: str
    """One of the names, or empty."""
    public_key: _PublicKey = field(repr=False)
    key: Printable
    """Its kind and length."""
    left_out: tuple[Printable, ...] = ()
    """Parts of the request that the certificate does not have."""


def key_path(directory: str) -> str:
    """Return where the key of a CA lies."""
    return os.path.join(directory, "ca.key")


def root_path(directory: str) -> str:
    """Return where the root lies."""
    return os.path.join(directory, "ca.crt")


def make_ca(
    world: World, directory: str, key: PrivateKey, *, name: str, days: int, permitted: Sequence[str] = ()
) -> Printable | None:
    """Make a CA in a new or empty directory; return why not, a sentence, or None. Raises OSError.

    `permitted` are the domains and networks that it may sign for; empty for all. The key is on the medium before its
    certificate is there, and neither is ever written over.
    """
    trees: list[x509.GeneralName] = []
    for each in permitted:
        tree = _tree(each)
        if not isinstance(tree, x509.GeneralName):
            return tree
        trees.append(tree)
    if not 1 <= days <= LONGEST_EVER:
        return sentence("a root lasts for 1 to {} days, not for {}", LONGEST_EVER, days)
    if not name.strip() or len(name) > 64 or not name.isprintable():
        return Printable("the name of a CA has 1 to 64 printable characters")
    world.make_directory(directory)
    if world.names(directory):
        return sentence("{} is not empty: a CA is made in a new directory", printable(directory))
    world.sync_directory(os.path.dirname(os.path.abspath(directory)))
    write_new(world, key_path(directory), key.pem())
    root = _root(key, name, world.now(), days, trees)
    write_new(world, root_path(directory), root.public_bytes(Encoding.PEM), Metadata(0o644, os.geteuid(), os.getegid()))
    world.sync_directory(directory)
    return None


def _tree(text: str) -> x509.GeneralName | Printable:
    try:
        return x509.IPAddress(ipaddress.ip_network(text))
    except ValueError:
        pass
    if wrong_name(text) is None and not text.startswith("*"):
        return x509.DNSName(text)
    return sentence("'{}' is neither a domain nor a network", printable(text, 200))


def _root(key: PrivateKey, name: str, now: float, days: int, trees: Sequence[x509.GeneralName]) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    library_key = key.library_key()
    if not isinstance(library_key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TypeError("a CA signs with an RSA or an EC key")
    public = library_key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_at(now - EARLIER))
        .not_valid_after(_at(now + days * _DAY))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if trees:
        builder = builder.add_extension(x509.NameConstraints(trees, None), critical=True)
    return builder.sign(library_key, hashes.SHA256())


def open_ca(world: World, directory: str) -> OwnCA | Printable:
    """Return the CA in a directory, or why it cannot be used, a sentence; raises OSError."""
    found, data = world.read(key_path(directory))
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or found.st_uid not in {0, os.geteuid()}:
        return sentence("{} can be read by others: it is not used", printable(key_path(directory)))
    opened = open_key(data, None)
    if isinstance(opened, EncodingFault) or not isinstance(opened.key, LibraryKey):
        return sentence("{} holds no key that can be read", printable(key_path(directory)))
    try:
        root = x509.load_pem_x509_certificate(world.read(root_path(directory))[1])
    except ValueError:
        return sentence("{} is no certificate", printable(root_path(directory)))
    key = PrivateKey(opened.key)
    if root.public_key() != opened.key.public_key():
        return sentence("the key in {} is not the one of its root", printable(directory))
    return OwnCA(root, key)


def read_request(data: bytes) -> Wanted | Printable:
    """Return the parts of a request, PEM or DER, or why it is not signed, a sentence."""
    if len(data) > _MOST_BYTES:
        return sentence("it is larger than {} bytes", _MOST_BYTES)
    try:
        pem = b"-----BEGIN" in data
        request = x509.load_pem_x509_csr(data) if pem else x509.load_der_x509_csr(data)
        if not request.is_signature_valid:
            return Printable("its signature is not of its key")
        public, extensions = request.public_key(), list(request.extensions)
        subject = list(request.subject)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return Printable("it is no request that can be read (PKCS#10, PEM or DER)")
    key = _key(public)
    if not isinstance(public, _PublicKey) or isinstance(key, _Weak):
        return key.why if isinstance(key, _Weak) else Printable("its key is of a kind that no TLS server uses")
    names = _names(extensions)
    if isinstance(names, str):
        return names
    common = [each.value for each in subject if each.oid == NameOID.COMMON_NAME]
    common_name = str(common[0]) if len(common) == 1 and common[0] in names else ""
    return Wanted(names, common_name, public, key, tuple(_left_out(subject, extensions, common_name)))


@immutable
class _Weak:
    why: Printable


def _key(public: object) -> Printable | _Weak:
    match public:
        case rsa.RSAPublicKey():
            if public.key_size < _LEAST_RSA or public.key_size > 8192 or public.public_numbers().e < 65_537:
                return _Weak(sentence("its RSA key of {} bits is not signed", public.key_size))
            return sentence("rsa {}", public.key_size)
        case ec.EllipticCurvePublicKey():
            if not isinstance(public.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1):
                return _Weak(sentence("its curve {} is not signed", printable(public.curve.name)))
            return sentence("ec {}", public.key_size)
        case ed25519.Ed25519PublicKey():
            return Printable("ed25519")
        case ed448.Ed448PublicKey():
            return Printable("ed448")
        case _:
            return _Weak(Printable("its key is of a kind that no TLS server uses"))


def _names(extensions: Sequence[x509.Extension[x509.ExtensionType]]) -> tuple[str, ...] | Printable:
    found = next((each.value for each in extensions if isinstance(each.value, x509.SubjectAlternativeName)), None)
    if found is None or not list(found):
        return Printable("it has no subject alternative names, and clients read no other names")
    names: dict[str, None] = {}
    for each in found:
        if not isinstance(each, x509.DNSName | x509.IPAddress):
            return sentence(
                "it asks for a name that is neither a DNS name nor an address: {}", printable(repr(each), 200)
            )
        if (why := wrong_name(str(each.value))) is not None:
            return sentence("it asks for a name that no server has: {}", why)
        names[str(each.value).lower()] = None
    return tuple(names)


def _left_out(
    subject: Sequence[x509.NameAttribute[str | bytes]],
    extensions: Sequence[x509.Extension[x509.ExtensionType]],
    common_name: str,
) -> list[Printable]:
    taken = (x509.SubjectAlternativeName, x509.KeyUsage, x509.ExtendedKeyUsage)
    said = [
        sentence("{} of its subject", printable(each.rfc4514_string(), 200))
        for each in subject
        if each.oid != NameOID.COMMON_NAME or each.value != common_name
    ]
    for extension in extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            said.append(Printable("that it would be a CA's"))
        elif not isinstance(extension.value, (*taken, x509.BasicConstraints)):
            said.append(sentence("the extension {}", printable(extension.oid.dotted_string)))
    return said


def sign(ca: OwnCA, wanted: Wanted, now: float, days: int, *, longer: bool = False) -> x509.Certificate | Printable:
    """Return a server's certificate, or why it is not issued, a sentence."""
    most = LONGEST_EVER if longer else LONGEST
    if not 1 <= days <= most:
        more = Printable("") if longer else Printable("; --longer allows more")
        return sentence("a certificate lasts for 1 to {} days, not for {}{}", most, days, more)
    end, ends = now + days * _DAY, ca.certificate.not_valid_after_utc.timestamp()
    if end > ends:
        return sentence("the CA itself ends at {}: give fewer days", moment(ends))
    library_key = ca.key.library_key()
    if not isinstance(library_key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return Printable("a CA signs with an RSA or an EC key")
    common = [x509.NameAttribute(NameOID.COMMON_NAME, wanted.common_name)] if wanted.common_name else []
    names = x509.SubjectAlternativeName([_general_name(each) for each in wanted.names])
    issuer_id = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issued = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(common))
        .issuer_name(ca.certificate.subject)
        .public_key(wanted.public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_at(max(now - EARLIER, ca.certificate.not_valid_before_utc.timestamp())))
        .not_valid_after(_at(end))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(enciphers=isinstance(wanted.public_key, rsa.RSAPublicKey)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=not common)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(wanted.public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
        .sign(library_key, hashes.SHA256())
    )
    return _refused(ca, issued, wanted.names, now) or issued


def _refused(ca: OwnCA, issued: x509.Certificate, names: Sequence[str], now: float) -> Printable | None:
    """Say why clients would reject a certificate, as for a name that its CA may not sign; None where none would."""
    store = Store([ca.certificate])
    for each in names:
        # A wildcard stands for any one label.
        host = each.replace("*", "any", 1)
        subject = x509.IPAddress(ipaddress.ip_address(host)) if is_ip_address(host) else x509.DNSName(host)
        try:
            PolicyBuilder().store(store).time(_at(now)).build_server_verifier(subject).verify(issued, [])
        except (VerificationError, ValueError) as error:
            return sentence("clients would reject it for {}: {}", printable(each), printable(str(error), 300))
    return None


def _general_name(name: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(name)) if is_ip_address(name) else x509.DNSName(name)


def _usage(*, signs_certificates: bool = False, enciphers: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_encipherment=enciphers,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _at(at: float) -> datetime:
    return datetime.fromtimestamp(int(at), UTC)
