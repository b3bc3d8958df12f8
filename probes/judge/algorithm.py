"""Findings about the algorithms on a path: kinds that a client knows, keys and signatures as strong as it demands."""

from __future__ import annotations

from typing import Final

from config.model import Client
from config.text import Printable, harmless, sentence
from config.vocabulary import Code, KeyKind, Severity, VerifierName
from probes.algorithm import ALGORITHMS, POST_QUANTUM, STRENGTHS, USUAL_RSA
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.verify.facts import curve_of
from probes.verify.families import family_of

_TLS_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
"""On which clients, by default, take the key of a server."""
_PUBLIC_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_PUBLIC_RSA: Final = 2048
_ANEW: Final = Printable(
    "have the certificate issued anew for an RSA key of 2048 bits or more, or an EC key on the curve P-256"
)
_BY_ANOTHER_CA: Final = Printable("have the certificate issued by a CA whose keys and signatures this client takes")


def _level_of(client: Client) -> int:
    """Return the security level of OpenSSL; 0 for those that ask for none."""
    return family_of(client).algorithms.level


def key_finding(certificate: Certificate, client: Client, subject: Printable, *, leaf: bool) -> Finding:
    """Return why a key is refused, critical: by OpenSSL at that level (check_key_level in x509_vfy.c), or by others."""
    key, cure, level = certificate.key, _ANEW if leaf else _BY_ANOTHER_CA, _level_of(client)
    has = sentence("{} has a key of {}", certificate.title, harmless(_described_key(certificate)))
    who = harmless(family_of(client).title)
    if key.kind is KeyKind.UNKNOWN:
        return _rejected(sentence("{}, an algorithm that most clients do not know", has), subject, cure)
    if key.kind in POST_QUANTUM and (why := _why_not(key.kind, client)):
        return _rejected(sentence("{}, {}", has, why), subject, _cure_of(key.kind, client, cure))
    if leaf and key.kind is KeyKind.SLH_DSA:
        return _rejected(sentence("{}, by which no server can sign a handshake", has), subject, cure)
    if leaf and (key.kind is KeyKind.DSA or curve_of(certificate) not in {"", *_TLS_CURVES}):
        return _rejected(sentence("{}, which no client takes by default", has), subject, cure)
    if level and (key.strength or 0) < STRENGTHS[level - 1]:
        demanded = sentence("{} bits of strength, as RSA {} has", STRENGTHS[level - 1], USUAL_RSA[level - 1])
        says = sentence("{}; OpenSSL's security level {} demands {}", has, level, demanded)
        return _weak(Code.WEAK_KEY, says, subject, cure)
    least = family_of(client).algorithms.least_rsa
    if key.kind is KeyKind.RSA and key.bits < least:
        return _weak(Code.WEAK_KEY, sentence("{}, shorter than the {} bits of {}", has, least, who), subject, cure)
    return _rejected(sentence("{}, which {} does not {}", has, who, _verb(client)), subject, cure)


def _verb(client: Client) -> Printable:
    """Return what who has rules does, and what a program does."""
    return Printable("allow" if client.verifier is VerifierName.WEBPKI else "take")


def _why_not(kind: KeyKind, client: Client) -> Printable:
    """Return why a client takes no post-quantum key or signature of that kind, a clause; empty where it does."""
    if client.verifier is VerifierName.WEBPKI:
        return Printable("which the web PKI does not allow")
    if client.verifier is not VerifierName.OPENSSL:
        return sentence("which {} does not know", harmless(family_of(client).title))
    if kind is KeyKind.COMPOSITE:
        return Printable("which OpenSSL does not know")
    return Printable("" if client.post_quantum else "which OpenSSL knows only since its version 3.5")


def _cure_of(kind: KeyKind, client: Client, cure: Printable) -> Printable:
    """Return the cure of a post-quantum key or signature that a client does not take."""
    if client.verifier is not VerifierName.OPENSSL or kind is KeyKind.COMPOSITE:
        return cure
    return sentence("say `post_quantum: true` of the client where it has that version; else {}", cure)


def signature_finding(certificate: Certificate, client: Client, subject: Printable) -> Finding:
    """Return why a signature is refused, critical: by OpenSSL at that level (check_sig_level), or by others."""
    level, strength = _level_of(client), certificate.signature_strength
    known, who = ALGORITHMS.get(certificate.signature_oid), harmless(family_of(client).title)
    made = sentence("{} is signed with {}", certificate.title, certificate.signature_hash or certificate.signature)
    if strength is None:
        detail = sentence("{}, an algorithm that most clients do not know", made)
        return _rejected(detail, subject, _BY_ANOTHER_CA)
    if known is not None and (why := _why_not(known.kind, client)):
        return _rejected(sentence("{}, {}", made, why), subject, _cure_of(known.kind, client, _BY_ANOTHER_CA))
    if level and strength < STRENGTHS[level - 1]:
        detail = sentence("{}, too weak for OpenSSL's security level {}", made, level)
        return _weak(Code.WEAK_SIGNATURE, detail, subject, _BY_ANOTHER_CA)
    if strength < STRENGTHS[1]:
        return _weak(Code.WEAK_SIGNATURE, sentence("{}, too weak for {}", made, who), subject, _BY_ANOTHER_CA)
    return _rejected(sentence("{}, which {} does not {}", made, who, _verb(client)), subject, _BY_ANOTHER_CA)


def has_public_key(certificate: Certificate) -> bool:
    """Whether the web PKI allows the key (Baseline Requirements, 6.1.5)."""
    if certificate.key.kind is KeyKind.RSA:
        return certificate.key.bits >= _PUBLIC_RSA
    return curve_of(certificate) in _TLS_CURVES


def has_public_signature(certificate: Certificate) -> bool:
    """Whether the web PKI allows the hash of the signature (Baseline Requirements, 7.1.3.2)."""
    return certificate.signature_hash in _PUBLIC_HASHES


def _described_key(certificate: Certificate) -> str:
    if certificate.key.name:
        return certificate.key.name
    curve = curve_of(certificate)
    return f"{certificate.key} on the curve {curve}" if curve else str(certificate.key)


def _weak(code: Code, detail: Printable, subject: Printable, cure: Printable) -> Finding:
    return finding(code, detail, subject, Severity.CRITICAL, cure=cure)


def _rejected(detail: Printable, subject: Printable, cure: Printable) -> Finding:
    return finding(Code.PATH_REJECTED, detail, subject, cure=cure)
