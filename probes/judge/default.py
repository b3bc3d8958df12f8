"""Findings about a product's default certificate, which it makes itself at its installation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from config.expected import DefaultCertificate
from config.pattern import is_one_of
from config.text import Printable, sentence
from config.vocabulary import Code, OwnCertificate, Severity
from probes.certificate import Certificate
from probes.chain import signed
from probes.finding import Finding, finding

STANDS_FOR: Final = frozenset({Code.SELF_SIGNED, Code.UNTRUSTED_ISSUER, Code.INCOMPLETE_CHAIN, Code.HOSTNAME_MISMATCH})
"""What is wrong with a default certificate because it is one, so that none of it is said beside `default_certificate`.

That it has ended, or that its key is weak, is said all the same.
"""
_SEVERITY: Final[Mapping[OwnCertificate, Severity]] = MappingProxyType(
    {
        OwnCertificate.OPTIONAL: Severity.INFORMATIONAL,
        OwnCertificate.EXPECTED: Severity.WARNING,
        OwnCertificate.MANDATORY: Severity.CRITICAL,
    }
)


def is_default(leaf: Certificate, declared: DefaultCertificate | None) -> bool:
    """Whether `leaf` has one of the declared signs of a default certificate.

    A name that the product gives is one for sure. That a certificate is signed by its own key is one as long as nothing
    speaks for an own certificate: neither does the site name it, nor did a replacement by certvigil bring it.
    """
    if declared is None:
        return False
    if declared.self_signed and leaf.sha256 not in declared.own_sha256 and leaf.self_issued and signed(leaf, leaf):
        return True
    return is_one_of(leaf.issuer, declared.issuers) or is_one_of(leaf.subject, declared.subjects)


def is_fault(leaf: Certificate, declared: DefaultCertificate | None) -> bool:
    """Whether `leaf` is a default certificate where an own one is expected."""
    return is_default(leaf, declared) and declared is not None and declared.own is not OwnCertificate.OPTIONAL


def judge_default(leaf: Certificate, declared: DefaultCertificate | None) -> Iterator[Finding]:
    """Yield that `leaf` is the product's default certificate."""
    if declared is None or not is_default(leaf, declared):
        return
    instead = {
        OwnCertificate.OPTIONAL: Printable("which is good enough here"),
        OwnCertificate.EXPECTED: Printable("in place of an own one"),
        OwnCertificate.MANDATORY: Printable("where an own one is mandatory"),
    }[declared.own]
    detail = sentence("{}, issued by {}, is the default certificate, {}", leaf.title, leaf.issuer, instead)
    yield finding(Code.DEFAULT_CERTIFICATE, detail, severity=_SEVERITY[declared.own])
