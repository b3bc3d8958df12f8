"""Findings about keys and signatures: their strength, their match, who can read them."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from typing import Final

from config.vocabulary import Code, KeyKind
from probes.certificate import Certificate
from probes.finding import Finding, finding

WEAK_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})
LEAST_BITS: Final = {KeyKind.RSA: 2048, KeyKind.EC: 224}


def judge_strength(certificate: Certificate, subject: str) -> Iterator[Finding]:
    """Yield whether the key or the signature is weaker than today's clients accept (NIST SP 800-131A)."""
    key = certificate.key
    if key.kind is KeyKind.DSA or 0 < key.bits < LEAST_BITS.get(key.kind, 0):
        yield finding(Code.WEAK_KEY, f"{certificate.title} has a key of {key}", subject)
    # Nobody verifies a root's signature of itself.
    if certificate.signature_hash in WEAK_HASHES and not certificate.self_issued:
        yield finding(Code.WEAK_SIGNATURE, f"{certificate.title} is signed with {certificate.signature_hash}", subject)


def judge_match(leaf: Certificate, keys: Sequence[str], where: str) -> Iterator[Finding]:
    """Yield whether none of the private keys, given as SHA-256 of their public halves, belongs to `leaf`."""
    if keys and leaf.public_key_sha256() not in keys:
        yield finding(Code.KEY_MISMATCH, f"the private key in {where} does not belong to {leaf.title}")


def judge_exposure(mode: int, where: str) -> Iterator[Finding]:
    """Yield whether a private key may be read or replaced by others than its owner and group."""
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        yield finding(
            Code.KEY_EXPOSED,
            f"{where} holds a private key and has mode {stat.S_IMODE(mode):04o}; at most 0640 is safe",
        )
