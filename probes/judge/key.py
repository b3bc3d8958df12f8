"""Findings about keys and signatures: their strength, their match, who can read them."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from typing import Final

from config.text import Printable, harmless, listed, sentence
from config.vocabulary import Code, KeyKind, Severity
from probes.certificate import Certificate
from probes.finding import Finding, finding

WEAK_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})
_ROOT: Final = 0
_PERSONS: Final = range(1000, 60_001)
"""The numbers of users who log in (login.defs(5), UID_MIN and UID_MAX); those of services are others."""
LEAST_BITS: Final = {KeyKind.RSA: 2048, KeyKind.EC: 224}


def judge_strength(certificate: Certificate, subject: Printable) -> Iterator[Finding]:
    """Yield whether the key or the signature is weaker than today's clients accept (NIST SP 800-131A)."""
    key = certificate.key
    if key.kind is KeyKind.DSA or 0 < key.bits < LEAST_BITS.get(key.kind, 0):
        yield finding(Code.WEAK_KEY, sentence("{} has a key of {}", certificate.title, key.shown), subject)
    # Nobody verifies a root's signature of itself.
    if certificate.signature_hash in WEAK_HASHES and not certificate.self_issued:
        yield finding(
            Code.WEAK_SIGNATURE,
            sentence("{} is signed with {}", certificate.title, certificate.signature_hash),
            subject,
        )


def judge_algorithm(certificate: Certificate, subject: Printable) -> Iterator[Finding]:
    """Yield whether the key, or the signature, is of an algorithm that is not known: nothing can be said against it."""
    unknown: list[Printable] = []
    # A key that is only broken has a failure, and no name.
    if certificate.key.kind is KeyKind.UNKNOWN and certificate.key.name:
        unknown.append(sentence("has a key of the algorithm {}", harmless(certificate.key.name)))
    if certificate.signature and not certificate.has_named_signature:
        unknown.append(sentence("is signed with {}", certificate.signature))
    if unknown:
        what = listed(unknown, " and ")
        detail = sentence("{} {}, which certvigil does not know: its strength is not judged", certificate.title, what)
        yield finding(Code.UNKNOWN_ALGORITHM, detail, subject)


def judge_match(leaf: Certificate, keys: Sequence[str], where: Printable) -> Iterator[Finding]:
    """Yield a finding where no private key, given as SHA-256 of its public half, belongs to `leaf`."""
    if keys and leaf.public_key_sha256() not in keys:
        yield finding(Code.KEY_MISMATCH, sentence("the private key in {} does not belong to {}", where, leaf.title))


def judge_exposure(mode: int, where: Printable, owner: int, directory_owner: int | None = None) -> Iterator[Finding]:
    """Yield whether a private key may be read or replaced by others than its owner, a user's number, and its group.

    Where its directory is root's, and it belongs to a person, who perhaps brought it there, that is a notice.
    """
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        yield finding(
            Code.KEY_EXPOSED,
            sentence(
                "{} holds a private key of user {} and has mode {:04o}; at most 0640 is safe",
                where,
                owner,
                stat.S_IMODE(mode),
            ),
        )
    elif directory_owner == _ROOT and owner in _PERSONS:
        detail = sentence(
            "{} holds a private key of user {}, in a directory of root: that user may read and replace it", where, owner
        )
        yield finding(Code.KEY_EXPOSED, detail, severity=Severity.NOTICE)
