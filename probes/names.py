"""Whether a certificate names a server, by the rules of those who ask (RFC 9525; X509_check_host(3))."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from config.address import is_dns_name, is_ip_address
from config.vocabulary import VerifierName
from probes.certificate import Certificate

_WILDCARD: Final = re.compile(
    r"(?P<before>(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)?)\*(?P<after>(?:[a-z0-9-]*[a-z0-9])?)"
    r"(?P<rest>(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?){2,})"
)
"""A wildcard in the first of three or more labels, perhaps with a part of the label before or after it."""
_A_LABEL: Final = "xn--"
_OF_A_LABEL: Final = re.compile(r"[a-z0-9-]*")


def names_server(certificate: Certificate, name: str, verifier: VerifierName = VerifierName.WEBPKI) -> bool:
    """Whether `certificate` covers `name`, a DNS name or an IP address, for clients with that verifier.

    The common name counts only for OpenSSL, and only where no subject alternative name is a DNS name.
    """
    if is_ip_address(name):
        return ipaddress.ip_address(name) in certificate.ip_addresses()
    if not is_dns_name(name):
        return False
    lenient = verifier is VerifierName.OPENSSL
    patterns = certificate.dns_names()
    if lenient and not patterns:
        patterns = certificate.common_names()
    host = name.lower()
    return any(_matches(each.lower(), host, partial=lenient) for each in patterns if each.isascii())


def is_partial_wildcard(pattern: str) -> bool:
    """Whether a DNS name such as `w*.example.com` has a wildcard that is not a whole label."""
    return any("*" in label and label != "*" for label in pattern.split("."))


def is_misplaced_wildcard(pattern: str) -> bool:
    """Whether a DNS name such as `www.*.example.com` has a wildcard outside its left-most label, or several."""
    first, _, others = pattern.partition(".")
    return "*" in others or first.count("*") > 1


def _matches(pattern: str, host: str, *, partial: bool) -> bool:
    """Whether `pattern` covers `host`, both in lower case; `partial` allows a wildcard beside a part of a label."""
    if pattern == host:
        return True
    wildcard = _WILDCARD.fullmatch(pattern)
    if wildcard is None:
        return False
    before, after = wildcard["before"], wildcard["after"]
    end = after + wildcard["rest"]
    if len(host) < len(before) + len(end) or not (host.startswith(before) and host.endswith(end)):
        return False
    covered = host[len(before) : len(host) - len(end)]
    if _OF_A_LABEL.fullmatch(covered) is None:
        return False
    if not before and not after:
        return bool(covered)
    # RFC 9525, 6.3: the wildcard is a whole label. X509_check_host(3) allows a part of one by default.
    if not partial:
        return False
    # "foo*bar": `valid_star` in OpenSSL's crypto/x509/v3_utl.c.
    if before and after:
        return False
    # The letters of an A-label are not those of the name (RFC 6125, 6.4.3): `valid_star`, `wildcard_match`.
    return not before.startswith(_A_LABEL) and not host[len(before) :].startswith(_A_LABEL)
