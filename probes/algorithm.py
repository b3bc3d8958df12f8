"""The algorithms of keys and signatures by their object identifiers, with names and strengths.

They are told by the identifiers in the DER alone, so that no library need know an algorithm for it to have its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from config.immutable import immutable
from config.vocabulary import KeyKind

STRENGTHS: Final = (80, 112, 128, 192, 256)
"""In bits, that OpenSSL demands of keys and signatures at its levels 1 to 5 (SSL_CTX_set_security_level(3))."""
USUAL_RSA: Final = (1024, 2048, 3072, 7680, 15360)
"""Of that strength, as it documents them."""

_NEVER: Final = 1 << 16
_LEAST_BITS: Final[Mapping[KeyKind, Sequence[int]]] = MappingProxyType(
    {
        # Shorter than documented: OpenSSL rounds the strength of RSA to a multiple of 8.
        KeyKind.RSA: (920, 1963, 2671, 6947, 13914),
        KeyKind.DSA: USUAL_RSA,
        KeyKind.EC: (160, 224, 256, 384, 512),
        KeyKind.ED25519: (256, 256, 256, _NEVER, _NEVER),
        KeyKind.ED448: (456, 456, 456, 456, _NEVER),
    }
)
"""The shortest key of each kind with that strength."""


@immutable
class Algorithm:
    """An algorithm whose identifier stands for its keys and for its signatures alike."""

    kind: KeyKind
    name: str
    """As its standard spells it."""
    strength: int
    """In bits: the work of the best known attack."""
    key_bytes: int | None = None
    """Length of the public key; None where it varies."""


def _ml_dsa(parameters: int, strength: int, key_bytes: int) -> Algorithm:
    return Algorithm(KeyKind.ML_DSA, f"ML-DSA-{parameters}", strength, key_bytes)


_ML_DSA: Final = {44: _ml_dsa(44, 128, 1312), 65: _ml_dsa(65, 192, 1952), 87: _ml_dsa(87, 256, 2592)}
"""By the name of the parameters (FIPS 204, 4)."""

_SLH_DSA: Final = tuple(
    Algorithm(KeyKind.SLH_DSA, f"SLH-DSA-{hashed}-{strength}{size}", strength, strength // 4)
    for hashed in ("SHA2", "SHAKE")
    for strength in (128, 192, 256)
    for size in "sf"
)
"""In the order of their identifiers (FIPS 205, 11)."""

_COMPOSITES: Final = (
    "MLDSA44-RSA2048-PSS-SHA256",
    "MLDSA44-RSA2048-PKCS15-SHA256",
    "MLDSA44-Ed25519-SHA512",
    "MLDSA44-ECDSA-P256-SHA256",
    "MLDSA65-RSA3072-PSS-SHA512",
    "MLDSA65-RSA3072-PKCS15-SHA512",
    "MLDSA65-RSA4096-PSS-SHA512",
    "MLDSA65-RSA4096-PKCS15-SHA512",
    "MLDSA65-ECDSA-P256-SHA512",
    "MLDSA65-ECDSA-P384-SHA512",
    "MLDSA65-ECDSA-brainpoolP256r1-SHA512",
    "MLDSA65-Ed25519-SHA512",
    "MLDSA87-ECDSA-P384-SHA512",
    "MLDSA87-ECDSA-brainpoolP384r1-SHA512",
    "MLDSA87-Ed448-SHAKE256",
    "MLDSA87-RSA3072-PSS-SHA512",
    "MLDSA87-RSA4096-PSS-SHA512",
    "MLDSA87-ECDSA-P521-SHA512",
)
"""In the order of their identifiers (draft-ietf-lamps-pq-composite-sigs, 6)."""


def _composite(name: str) -> Algorithm:
    # Whoever forges must break both parts, so it is as strong as the stronger one, which is always ML-DSA.
    return Algorithm(KeyKind.COMPOSITE, name, _ML_DSA[int(name[5:7])].strength)


ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType(
    {
        **{f"2.16.840.1.101.3.4.3.{17 + index}": each for index, each in enumerate(_ML_DSA.values())},
        **{f"2.16.840.1.101.3.4.3.{20 + index}": each for index, each in enumerate(_SLH_DSA)},
        **{f"1.3.6.1.5.5.7.6.{37 + index}": _composite(each) for index, each in enumerate(_COMPOSITES)},
    }
)
"""Of post-quantum cryptography (RFC 9881, RFC 9909, draft-ietf-lamps-pq-composite-sigs)."""

BY_NAME: Final[Mapping[str, Algorithm]] = MappingProxyType({each.name: each for each in ALGORITHMS.values()})

POST_QUANTUM: Final = frozenset({KeyKind.ML_DSA, KeyKind.SLH_DSA, KeyKind.COMPOSITE})
"""The kinds of these keys."""

_SIGNATURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "1.2.840.113549.1.1.2": "md2WithRSAEncryption",
        "1.2.840.113549.1.1.3": "md4WithRSAEncryption",
        "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
        "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10": "id-RSASSA-PSS",
        "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
        "1.2.840.113549.1.1.14": "sha224WithRSAEncryption",
        "1.2.840.10040.4.3": "dsa-with-sha1",
        "2.16.840.1.101.3.4.3.1": "dsa-with-sha224",
        "2.16.840.1.101.3.4.3.2": "dsa-with-sha256",
        "1.2.840.10045.4.1": "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
        "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
        "1.3.101.112": "Ed25519",
        "1.3.101.113": "Ed448",
        # Nobody signs by it: the certificate is proved by its place in a tree of hashes.
        "1.3.6.1.4.1.44363.47.0": "mtcProof",
    }
)
"""Of signatures that are older, or that are none (RFC 8017, RFC 5758, RFC 8410)."""

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


def signature_name(oid: str) -> str:
    """Return the name of a signature algorithm; its identifier where it has none here."""
    known = ALGORITHMS.get(oid)
    return known.name if known is not None else _SIGNATURES.get(oid, oid)


def is_named(oid: str) -> bool:
    """Whether the algorithm of a signature has a name here."""
    return oid in ALGORITHMS or oid in _SIGNATURES


def key_strength(kind: KeyKind, bits: int, name: str = "") -> int | None:
    """Return the greatest of `STRENGTHS` that a key reaches, 0 below the least; None where it is not known."""
    if (known := BY_NAME.get(name)) is not None:
        return known.strength
    least = _LEAST_BITS.get(kind)
    if least is None or not bits:
        return None
    return max((strength for strength, needed in zip(STRENGTHS, least, strict=True) if bits >= needed), default=0)


def signature_strength(oid: str, hashed: str) -> int | None:
    """Return the strength in bits of a signature with the hash of that name; None where it is not known."""
    if (known := ALGORITHMS.get(oid)) is not None:
        return known.strength
    return _STRENGTH_OF_HASH.get(hashed) or _STRENGTH_WITHOUT_HASH.get(oid)
