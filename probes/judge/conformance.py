"""Rules that lenient clients overlook and strict ones enforce: RFC 5280's profile and the web PKI's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from config.text import Printable, harmless, listed, sentence
from config.vocabulary import Code
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.judge.algorithm import has_public_key, has_public_signature
from probes.judge.path import extension_of
from probes.judge.subject import SubjectOf
from probes.names import is_misplaced_wildcard, is_partial_wildcard
from probes.verifier import RefusedChain, Verification

Rule = Callable[[Certificate, bool], bool]
"""Whether a certificate (and whether it is the leaf) breaks the rule."""


def _serial(certificate: Certificate, _leaf: bool) -> bool:
    serial = certificate.decoded().serial_number
    return serial <= 0 or serial.bit_length() >= 160


def _no_key_identifier(certificate: Certificate, leaf: bool) -> bool:
    return not leaf and extension_of(certificate, x509.SubjectKeyIdentifier) is None


def _no_authority_key_identifier(certificate: Certificate, _leaf: bool) -> bool:
    return not certificate.self_issued and extension_of(certificate, x509.AuthorityKeyIdentifier) is None


def _ca_without_key_usage(certificate: Certificate, leaf: bool) -> bool:
    return not leaf and extension_of(certificate, x509.KeyUsage) is None


def _leaf_is_ca(certificate: Certificate, leaf: bool) -> bool:
    return leaf and certificate.is_ca


def _signs_without_being_ca(certificate: Certificate, leaf: bool) -> bool:
    usage = extension_of(certificate, x509.KeyUsage)
    return leaf and not certificate.is_ca and usage is not None and usage.key_cert_sign


def _no_names(certificate: Certificate, leaf: bool) -> bool:
    return leaf and not certificate.has_server_names


def _names_criticality(certificate: Certificate, leaf: bool) -> bool:
    if not leaf:
        return False
    try:
        names = certificate.extensions().get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    return names.critical == bool(certificate.subject)


def _no_server_use(certificate: Certificate, leaf: bool) -> bool:
    uses = extension_of(certificate, x509.ExtendedKeyUsage)
    return leaf and (uses is None or ExtendedKeyUsageOID.SERVER_AUTH not in uses)


def _old_version(certificate: Certificate, _leaf: bool) -> bool:
    return certificate.version != 3


def _improper_key(certificate: Certificate, _leaf: bool) -> bool:
    return not has_public_key(certificate)


def _improper_signature(certificate: Certificate, _leaf: bool) -> bool:
    return not has_public_signature(certificate) and not certificate.self_issued


def _partial_wildcard(certificate: Certificate, leaf: bool) -> bool:
    return leaf and any(map(is_partial_wildcard, certificate.dns_names()))


def _misplaced_wildcard(certificate: Certificate, leaf: bool) -> bool:
    return leaf and any(map(is_misplaced_wildcard, certificate.dns_names()))


RULES: Final[Sequence[tuple[str, Rule]]] = (
    ("RFC 5280 4.1.2.1: the version must be 3", _old_version),
    ("RFC 5280 4.1.2.2: the serial number must be positive and no longer than 20 octets", _serial),
    ("RFC 5280 4.2.1.1: an authority key identifier must be present", _no_authority_key_identifier),
    ("RFC 5280 4.2.1.2: a CA must have a subject key identifier", _no_key_identifier),
    ("RFC 5280 4.2.1.3: a CA must have a key usage", _ca_without_key_usage),
    ("RFC 5280 4.2.1.3: only a CA's certificate may have the key usage to sign others", _signs_without_being_ca),
    ("RFC 5280 4.2.1.6: the alternative names are critical if and only if the subject is empty", _names_criticality),
    ("Baseline Requirements 6.1.5: a key must be RSA of 2048 bits or EC on P-256, P-384 or P-521", _improper_key),
    ("Baseline Requirements 7.1.3.2: a signature must be made with SHA-256, SHA-384 or SHA-512", _improper_signature),
    ("RFC 9525 6.3: a wildcard must be a whole label", _partial_wildcard),
    ("RFC 9525 6.3: a wildcard must be alone, in the left-most label", _misplaced_wildcard),
    ("Baseline Requirements 7.1.2.7: a server's certificate must not be a CA's", _leaf_is_ca),
    ("Baseline Requirements 7.1.2.7: a server's certificate must have subject alternative names", _no_names),
    ("Baseline Requirements 7.1.2.7.10: the extended key usage must name TLS servers", _no_server_use),
)


def judge_conformance(path: Sequence[Certificate], strict: Verification, subject_of: SubjectOf) -> Iterator[Finding]:
    """Yield the rules that the certificates of an accepted `path` break, its anchor aside.

    Where they do not explain why the `strict` verifier refuses the chain, those do that the anchor breaks, or its own
    words stand for the rule.
    """
    named = False
    for index, certificate in enumerate(path[:-1] or path):
        if broken := _broken(certificate, leaf=index == 0):
            named = True
            yield finding(Code.NONCONFORMING, broken, subject_of(certificate))
    if isinstance(strict, RefusedChain) and not named:
        # What is said of an anchor alone is its trust store's to say; here it is why clients refuse.
        if len(path) > 1 and (broken := _broken(path[-1], leaf=False)):
            yield finding(Code.NONCONFORMING, sentence("a verifier of the web PKI refuses it: {}", broken))
            return
        yield finding(Code.NONCONFORMING, sentence("a verifier of the web PKI refuses it: {}", strict.said))


def _broken(certificate: Certificate, *, leaf: bool) -> Printable:
    """Return the rules that a certificate breaks, a sentence; empty where it breaks none."""
    broken_rules = (text for text, breaks in RULES if _breaks(breaks, certificate, leaf=leaf))
    broken = [*certificate.encoding_faults, *broken_rules]
    if not broken:
        return Printable("")
    return sentence("{} breaks {}", certificate.title, harmless(Printable("; ").join(broken)))


def judge_encoding(certificate: Certificate, subject: Printable) -> Iterator[Finding]:
    """Yield the rules of encoding that a certificate breaks, which no client is known to accept."""
    if certificate.encoding_faults:
        detail = sentence("{} breaks {}", certificate.title, listed(certificate.encoding_faults, "; "))
        yield finding(Code.NONCONFORMING, detail, subject)


def _breaks(breaks: Rule, certificate: Certificate, *, leaf: bool) -> bool:
    try:
        return breaks(certificate, leaf)
    except ValueError:
        return True
