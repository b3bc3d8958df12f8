"""Whether a certificate names a server, by the rules of those who ask; and what is odd about its names."""

from __future__ import annotations

from config.vocabulary import VerifierName
from probes.certificate import Certificate
from probes.verify import naming
from probes.verify.families import FAMILIES
from probes.verify.rules import known_to


def names_server(certificate: Certificate, name: str, verifier: VerifierName = VerifierName.WEBPKI) -> bool:
    """Whether `certificate` covers `name`, a DNS name or an IP address, for clients with that verifier."""
    family = FAMILIES[verifier]
    return naming.names_server(known_to(certificate, family), name, family.names)


def is_partial_wildcard(pattern: str) -> bool:
    """Whether a DNS name such as `w*.example.com` has a wildcard that is not a whole label."""
    return any("*" in label and label != "*" for label in pattern.split("."))


def is_misplaced_wildcard(pattern: str) -> bool:
    """Whether a DNS name such as `www.*.example.com` has a wildcard outside its left-most label, or several."""
    first, _, others = pattern.partition(".")
    return "*" in others or first.count("*") > 1
