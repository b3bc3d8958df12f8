"""What belongs together among certificates, whoever may accept it: leaf, issuers, signatures (RFC 4158 on building).

Which paths a client tries, and what it makes of them, is in `probes.verify`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from config.immutable import immutable
from probes.certificate import Certificate
from probes.trust import Trust

_LEGACY: Final = frozenset(
    {
        SignatureAlgorithmOID.RSA_WITH_SHA1,
        SignatureAlgorithmOID.RSA_WITH_MD5,
        SignatureAlgorithmOID.ECDSA_WITH_SHA1,
        SignatureAlgorithmOID.DSA_WITH_SHA1,
        SignatureAlgorithmOID.DSA_WITH_SHA224,
        SignatureAlgorithmOID.DSA_WITH_SHA256,
    }
)

MAX_DEPTH: Final = 10
MAX_PATHS: Final = 64
"""Paths compared at most: cross-signing may offer many, an attacker may offer exponentially many."""


@immutable
class Path:
    """Certificates, each signed by the next one."""

    certificates: tuple[Certificate, ...]
    is_anchored: bool
    """The last one is an anchor."""

    @property
    def last(self) -> Certificate:
        """The certificate nearest to an anchor."""
        return self.certificates[-1]


def presented_path(presented: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return the presented certificates in the order in which each is signed by the next, from the leaf on.

    A certificate that does not lead on from the leaf is left out.
    """
    if not presented:
        return ()
    return max(paths(find_leaf(presented), presented, None), key=lambda path: len(path.certificates)).certificates


def named_path(presented: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return the path of `presented_path` by names only, without verifying signatures; not for judgements."""
    if not presented:
        return ()
    by_subject = {each.subject: each for each in reversed(presented)}
    path: dict[Certificate, None] = {}
    following: Certificate | None = find_leaf(presented)
    while following is not None and following not in path:
        path[following] = None
        following = by_subject.get(following.issuer)
    return tuple(path)


def find_leaf(presented: Sequence[Certificate]) -> Certificate:
    """Return the end entity among `presented` (not empty): the first that is no CA, or else that issued no other."""
    for candidate in presented:
        if not candidate.is_ca:
            return candidate
    issuers = Counter(each.outline().issuer for each in dict.fromkeys(presented))
    for candidate in presented:
        if issuers[candidate.outline().subject] == candidate.self_issued:
            return candidate
    return presented[0]


def are_anchors(certificates: Sequence[Certificate], keys: Collection[str] = ()) -> bool:
    """Whether `certificates` (not empty) are CAs' that somebody trusts, without a server's own among them.

    A server's own is also a CA's by its constraints that carries the names of servers, unless it is an anchor among
    others, or that lies beside its private key (`keys` are SHA-256 of public halves). Appliances make such ones.
    """
    first = certificates[0]
    if not all(each.is_ca for each in certificates) or any(each.public_key_sha256() in keys for each in certificates):
        return False
    others = [each for each in certificates if each != first]
    issued = any(each.outline().issuer == first.outline().subject for each in others)
    return bool(others and first.self_issued) or issued or not first.carries_server_names


def paths(leaf: Certificate, pool: Sequence[Certificate], trust: Trust | None) -> Iterator[Path]:
    """Yield the paths from `leaf` over `pool` towards the anchors of `trust`, at most `MAX_PATHS`."""
    by_subject: dict[bytes, list[Certificate]] = {}
    for candidate in dict.fromkeys(pool):
        by_subject.setdefault(candidate.outline().subject, []).append(candidate)
    left = MAX_PATHS
    for path in _extend((leaf,), by_subject, trust):
        yield path
        left -= 1
        if not left:
            return


def _extend(
    so_far: tuple[Certificate, ...], by_subject: dict[bytes, list[Certificate]], trust: Trust | None
) -> Iterator[Path]:
    last = so_far[-1]
    if trust is not None and trust.holds(last):
        yield Path(so_far, is_anchored=True)
        # Some clients stop only at a root.
        if last.self_issued:
            return
    goes_on = False
    if len(so_far) < MAX_DEPTH and not (last.self_issued and signed(last, last)):
        issuer = last.outline().issuer
        anchors = trust.by_subject.get(issuer, ()) if trust is not None else ()
        # One by one: whoever has enough paths verifies no further signatures.
        for signer in dict.fromkeys((*anchors, *by_subject.get(issuer, ()))):
            if signer not in so_far and signed(signer, last):
                goes_on = True
                yield from _extend((*so_far, signer), by_subject, trust)
    if not goes_on:
        yield Path(so_far, is_anchored=False)


def signed(issuer: Certificate, subject: Certificate) -> bool:
    """Whether the key of `issuer` made the signature of `subject`, and the names agree; no costly key is tried."""
    return subject.outline().issuer == issuer.outline().subject and made_signature(issuer, subject)


@lru_cache(maxsize=1024)
def made_signature(issuer: Certificate, subject: Certificate) -> bool:
    """Whether the key of `issuer` made the signature of `subject`, whatever the names; no costly key is tried."""
    if issuer.is_costly:
        return False
    child = subject.decoded()
    try:
        if child.signature_algorithm_oid in _LEGACY:
            _verify_legacy(issuer.decoded().public_key(), child, subject.signed_part())
        else:
            _verify(issuer, subject, child)
    except Exception:  # noqa: BLE001 (a hostile key can make the library raise what is documented nowhere)
        return False
    return True


def _verify(issuer: Certificate, subject: Certificate, child: x509.Certificate) -> None:
    """Verify a signature over the bytes as they are written; raises what the library does."""
    same_name = subject.outline().issuer == issuer.outline().subject
    if subject.reencoded is None and issuer.is_strict and same_name:
        child.verify_directly_issued_by(issuer.x509())
        return
    key, algorithm = issuer.decoded().public_key(), child.signature_algorithm_parameters
    match key, algorithm:
        case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS() if child.signature_hash_algorithm is not None:
            key.verify(child.signature, subject.signed_part(), algorithm, child.signature_hash_algorithm)
        case ec.EllipticCurvePublicKey(), ec.ECDSA():
            key.verify(child.signature, subject.signed_part(), algorithm)
        case ((ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey()), _):
            key.verify(child.signature, subject.signed_part())
        case _:
            raise InvalidSignature


def _verify_legacy(key: object, child: x509.Certificate, signed_part: bytes) -> None:
    """Verify a signature with an algorithm that the library refuses on certificates: weak is not the same as wrong.

    Raises InvalidSignature, or the library's exception for an unknown hash.
    """
    algorithm = child.signature_hash_algorithm
    match key:
        case rsa.RSAPublicKey() if algorithm is not None:
            key.verify(child.signature, signed_part, padding.PKCS1v15(), algorithm)
        case ec.EllipticCurvePublicKey() if algorithm is not None:
            key.verify(child.signature, signed_part, ec.ECDSA(algorithm))
        case dsa.DSAPublicKey() if algorithm is not None:
            key.verify(child.signature, signed_part, algorithm)
        case _:
            raise InvalidSignature
