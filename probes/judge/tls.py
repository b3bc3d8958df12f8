"""Findings about the connection: protocol version and cipher, negotiated or supported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from config.expected import AllowedTLS
from config.pattern import is_one_of
from config.text import Printable, harmless, listed, sentence
from config.vocabulary import Code, Severity
from probes.finding import Finding, finding
from probes.observation import Presented
from probes.tls.support import Supported

SUPPORTED: Final = Printable("supported")
"""The subject of findings on what a server takes beside what it negotiated."""

_WEAK_CIPHER: Final = re.compile(r"EXP|(^|-)(RC4|RC2|DES|IDEA|SEED|MD5|3DES|CBC3)(-|$)")
_NO_CIPHER: Final = re.compile(r"NULL|(^|_)(anon|SHA256_SHA256|SHA384_SHA384)(_|$)|(^|-)(ADH|AECDH)(-|$)")
"""Without encryption, or without a certificate; those with a hash twice are RFC 9150's."""
_LEAST_PRIME: Final = 2048
"""Of a Diffie-Hellman exchange (RFC 9325, 4.2)."""
_MOST_NAMED: Final = 8


def cipher_fault(cipher: str, allowed: AllowedTLS) -> Severity | None:
    """Return how severe it is that a server negotiates this cipher; None where it is `allowed`.

    Without a list, RFC 9325 decides. One that does not encrypt, or knows no certificate, is critical, whatever is
    allowed.
    """
    if _NO_CIPHER.search(cipher):
        return Severity.CRITICAL
    if allowed.ciphers:
        return None if not cipher or is_one_of(cipher, allowed.ciphers) else Severity.WARNING
    return Severity.NOTICE if _WEAK_CIPHER.search(cipher) else None


def judge_tls(presented: Presented, allowed: AllowedTLS) -> Iterator[Finding]:
    """Yield whether the negotiated version or cipher is not `allowed`."""
    if presented.version and presented.version not in allowed.protocols:
        yield finding(
            Code.OBSOLETE_PROTOCOL,
            sentence("negotiated {}, allowed are {}", harmless(presented.version), listed(sorted(allowed.protocols))),
            presented.address,
        )
    severity = cipher_fault(presented.cipher, allowed)
    if severity is not None:
        detail = sentence("negotiated {}{}", harmless(presented.cipher), _against(severity, allowed))
        yield finding(Code.WEAK_CIPHER, detail, presented.address, severity)


def _against(severity: Severity, allowed: AllowedTLS) -> Printable:
    """Return what is said against a cipher, to the end of a sentence."""
    match severity:
        case Severity.CRITICAL:
            return Printable(", which protects nobody: it does not encrypt, or knows no certificate")
        case Severity.WARNING:
            return sentence(", allowed are {}", harmless(", ".join(allowed.ciphers)))
        case _:
            return Printable("")


def judge_supported(supported: Supported, allowed: AllowedTLS) -> Iterator[Finding]:
    """Yield which versions and ciphers a server takes that are not `allowed`, though it negotiated better ones.

    None is critical: a client must ask for it.
    """
    where = supported.address
    obsolete = [each.version for each in supported.versions if each.version not in allowed.protocols]
    if obsolete:
        are = listed(sorted(allowed.protocols))
        detail = sentence("{} supports {}, allowed are {}", where, listed(list(map(harmless, obsolete))), are)
        yield finding(Code.OBSOLETE_PROTOCOL, detail, SUPPORTED)
    faults = {
        suite: severity
        for one in supported.versions
        for suite in one.suites
        if (severity := cipher_fault(suite, allowed)) is not None
    }
    parts: list[Printable] = []
    for severity in sorted(set(faults.values()), key=lambda each: -each.rank):
        names = [suite for suite, each in faults.items() if each is severity]
        parts.append(sentence("{}{}", _some(names), _against(severity, allowed)))
    primes = [each.prime_bits for each in supported.versions if 0 < each.prime_bits < _LEAST_PRIME]
    if primes and not allowed.ciphers:
        parts.append(sentence("a Diffie-Hellman exchange with a prime of {} bits", min(primes)))
    if parts:
        worst = max((*faults.values(), Severity.NOTICE), key=lambda each: each.rank)
        yield finding(
            Code.WEAK_CIPHER,
            sentence("{} supports {}", where, listed(parts, "; ")),
            SUPPORTED,
            min(worst, Severity.WARNING, key=lambda each: each.rank),
        )


def _some(names: Sequence[str]) -> Printable:
    shown = listed([harmless(each) for each in names[:_MOST_NAMED]])
    more = len(names) - _MOST_NAMED
    return sentence("{} and {} more", shown, more) if more > 0 else shown
