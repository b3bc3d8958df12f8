"""Findings about the algorithms on a path: kinds that a client knows, keys and signatures as strong as it demands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from config.model import Client
from config.text import Printable, harmless, sentence
from config.vocabulary import Code, KeyKind, Severity, VerifierName
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.judge.path import SubjectOf

_STRENGTH: Final = (80, 112, 128, 192, 256)
"""In bits, that OpenSSL demands of keys and signatures at its levels 1 to 5."""
_USUAL_RSA: Final = (1024, 2048, 3072, 7680, 15360)
"""Of that strength, as it documents them (SSL_CTX_set_security_level(3))."""
_NEVER: Final = 1 << 16
_LEAST_BITS: Final[Mapping[KeyKind, Sequence[int]]] = MappingProxyType(
    {
        # Shorter than documented: OpenSSL rounds the strength of RSA to a multiple of 8.
        KeyKind.RSA: (920, 1963, 2671, 6947, 13914),
        KeyKind.DSA: _USUAL_RSA,
        KeyKind.EC: (160, 224, 256, 384, 512),
        KeyKind.ED25519: (256, 256, 256, _NEVER, _NEVER),
        KeyKind.ED448: (456, 456, 456, 456, _NEVER),
    }
)
"""The shortest key of each kind with that strength."""
_STRENGTH_OF_HASH: Final[Mapping[str, int]] = MappingProxyType(
    {
        "md5": 39,
        "sha1": 63,
        "sha224": 112,
        "sha512-224": 112,
        "sha3-224": 112,
        "sha256": 128,
        "sha512-256": 128,
        "sha3-256": 128,
        "sha384": 192,
        "sha3-384": 192,
        "sha512": 256,
        "sha3-512": 256,
    }
)
_STRENGTH_WITHOUT_HASH: Final[Mapping[str, int]] = MappingProxyType({"1.3.101.112": 128, "1.3.101.113": 224})
"""Of signatures with Ed25519 and Ed448, by their object identifiers."""
_TLS_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
"""On which clients, by default, take the key of a server."""
_PUBLIC_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_PUBLIC_RSA: Final = 2048
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
    }
)
_ANEW: Final = Printable(
    "have the certificate issued anew for an RSA key of 2048 bits or more, or an EC key on the curve P-256"
)
_BY_ANOTHER_CA: Final = Printable("have the certificate issued by a CA whose keys and signatures this client takes")


def judge_algorithms(
    path: Sequence[Certificate], client: Client, subject_of: SubjectOf, *, signed_end: bool
) -> Iterator[Finding]:
    """Yield each key and each signature on `path` that `client` does not take, critical since it refuses them.

    The signature on the last certificate counts only where that is `signed_end`: neither an anchor nor self-signed.
    """
    level = None if client.verifier is VerifierName.WEBPKI else client.security_level
    for index, certificate in enumerate(path):
        subject, leaf = subject_of(certificate), index == 0
        yield from _judge_key(certificate, level, subject, leaf=leaf)
        if signed_end or index < len(path) - 1:
            yield from _judge_signature(certificate, level, subject)


def _judge_key(certificate: Certificate, level: int | None, subject: Printable, *, leaf: bool) -> Iterator[Finding]:
    """Yield why the key is refused: by OpenSSL at that level (check_key_level in x509_vfy.c), else by the web PKI."""
    key, cure = certificate.key, _ANEW if leaf else _BY_ANOTHER_CA
    has = sentence("{} has a key of {}", certificate.title, harmless(_described_key(certificate)))
    if key.kind is KeyKind.UNKNOWN:
        yield _rejected(sentence("{}, an algorithm that most clients do not know", has), subject, cure)
    elif leaf and (key.kind is KeyKind.DSA or _curve(certificate) not in {"", *_TLS_CURVES}):
        yield _rejected(sentence("{}, which no client takes by default", has), subject, cure)
    elif level is None and key.kind is KeyKind.RSA and key.bits < _PUBLIC_RSA:
        yield _weak(
            Code.WEAK_KEY, sentence("{}, shorter than the {} bits of the web PKI", has, _PUBLIC_RSA), subject, cure
        )
    elif level is None and not has_public_key(certificate):
        yield _rejected(sentence("{}, which the web PKI does not allow", has), subject, cure)
    elif level and key.bits < _LEAST_BITS[key.kind][level - 1]:
        demanded = sentence("{} bits of strength, as RSA {} has", _STRENGTH[level - 1], _USUAL_RSA[level - 1])
        yield _weak(
            Code.WEAK_KEY, sentence("{}; OpenSSL's security level {} demands {}", has, level, demanded), subject, cure
        )


def _judge_signature(certificate: Certificate, level: int | None, subject: Printable) -> Iterator[Finding]:
    """Yield why the signature is refused: by OpenSSL at that level (check_sig_level), else by the web PKI."""
    oid = _signature_oid(certificate)
    strength = _STRENGTH_OF_HASH.get(certificate.signature_hash) or _STRENGTH_WITHOUT_HASH.get(oid)
    algorithm = certificate.signature_hash or harmless(_NAMES.get(oid, oid))
    made = sentence("{} is signed with {}", certificate.title, algorithm)
    if strength is None:
        yield _rejected(sentence("{}, an algorithm that most clients do not know", made), subject, _BY_ANOTHER_CA)
    elif level is None and strength < _STRENGTH[1]:
        yield _weak(Code.WEAK_SIGNATURE, sentence("{}, too weak for the web PKI", made), subject, _BY_ANOTHER_CA)
    elif level is None and not has_public_signature(certificate):
        yield _rejected(sentence("{}, which the web PKI does not allow", made), subject, _BY_ANOTHER_CA)
    elif level and strength < _STRENGTH[level - 1]:
        yield _weak(
            Code.WEAK_SIGNATURE,
            sentence("{}, too weak for OpenSSL's security level {}", made, level),
            subject,
            _BY_ANOTHER_CA,
        )


def has_public_key(certificate: Certificate) -> bool:
    """Whether the web PKI allows the key (Baseline Requirements, 6.1.5)."""
    if certificate.key.kind is KeyKind.RSA:
        return certificate.key.bits >= _PUBLIC_RSA
    return _curve(certificate) in _TLS_CURVES


def has_public_signature(certificate: Certificate) -> bool:
    """Whether the web PKI allows the hash of the signature (Baseline Requirements, 7.1.3.2)."""
    return certificate.signature_hash in _PUBLIC_HASHES


def _curve(certificate: Certificate) -> str:
    """Return the curve of an EC key, empty where it is of another kind."""
    if certificate.key.kind is not KeyKind.EC:
        return ""
    key = certificate.decoded().public_key()
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""


def _described_key(certificate: Certificate) -> str:
    if certificate.key.kind is KeyKind.UNKNOWN:
        oid = certificate.decoded().public_key_algorithm_oid.dotted_string
        return _NAMES.get(oid, oid)
    curve = _curve(certificate)
    return f"{certificate.key} on the curve {curve}" if curve else str(certificate.key)


def _signature_oid(certificate: Certificate) -> str:
    return certificate.decoded().signature_algorithm_oid.dotted_string


def _weak(code: Code, detail: Printable, subject: Printable, cure: Printable) -> Finding:
    return finding(code, detail, subject, Severity.CRITICAL, cure=cure)


def _rejected(detail: Printable, subject: Printable, cure: Printable) -> Finding:
    return finding(Code.PATH_REJECTED, detail, subject, cure=cure)
