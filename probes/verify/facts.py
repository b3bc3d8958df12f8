"""The facts of a certificate that verifying goes by, decoded once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from config.vocabulary import KeyKind
from probes.certificate import Certificate
from probes.encoding import DERError, Outline, elements, first_element, object_identifier

Value = TypeVar("Value", bound=x509.ExtensionType)

USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)
"""The bits of a key usage (RFC 5280, 4.2.1.3), two that only qualify another one aside."""


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What a certificate says, as far as verifiers ask."""

    outline: Outline
    version: int
    serial: int
    has_constraints: bool
    """Basic constraints are there."""
    ca: bool
    path_length: int | None
    usage: frozenset[str] | None
    """None where it has no key usage, or one that cannot be decoded; so with the purposes."""
    purposes: frozenset[str] | None
    names: tuple[x509.GeneralName, ...] | None
    common_names: tuple[str, ...]
    permitted: tuple[x509.GeneralName, ...]
    excluded: tuple[x509.GeneralName, ...]
    own_identifier: bytes | None
    issuer_identifier: bytes | None
    issuer_names: tuple[x509.GeneralName, ...] | None
    issuer_serial: int | None
    has_issuer_identifier: bool
    """The extension is there, whatever is in it."""
    policies: frozenset[str]
    policy_mappings: tuple[tuple[str, str], ...]
    explicit_policy: int | None
    inhibit_mapping: int | None
    inhibit_any: int | None
    critical: frozenset[str]
    """The identifiers of all critical extensions."""
    extensions: tuple[str, ...]
    curve: str
    """Of an EC key; empty for others."""
    self_issued: bool
    """By folded names."""
    promises_staple: bool
    """By the TLS feature of an OCSP response, `status_request` (RFC 7633)."""
    empty_subject: bool
    empty_issuer: bool

    @property
    def limits_names(self) -> bool:
        """Whether it has name constraints."""
        return bool(self.permitted or self.excluded)


@lru_cache(maxsize=1024)
def facts_of(certificate: Certificate) -> Facts:
    """Return the facts of a certificate; what cannot be decoded is as if it were not there."""
    extensions = certificate.extensions()
    outline = certificate.outline()
    values = {type(each.value): each.value for each in extensions}

    def get(kind: type[Value]) -> Value | None:
        value = values.get(kind)
        return value if isinstance(value, kind) else None

    basic, usage, purposes = get(x509.BasicConstraints), get(x509.KeyUsage), get(x509.ExtendedKeyUsage)
    names, limits = get(x509.SubjectAlternativeName), get(x509.NameConstraints)
    own, issuer = get(x509.SubjectKeyIdentifier), get(x509.AuthorityKeyIdentifier)
    policies = get(x509.CertificatePolicies)
    features = get(x509.TLSFeature)
    policy_limits, inhibit = get(x509.PolicyConstraints), get(x509.InhibitAnyPolicy)
    return Facts(
        outline=outline,
        version=certificate.version,
        serial=_serial(certificate),
        has_constraints=basic is not None,
        ca=basic is not None and basic.ca,
        path_length=basic.path_length if basic is not None else None,
        usage=frozenset(each for each in USAGES if getattr(usage, each)) if usage is not None else None,
        purposes=frozenset(each.dotted_string for each in purposes) if purposes is not None else None,
        names=tuple(names) if names is not None else None,
        common_names=certificate.common_names(),
        permitted=tuple(limits.permitted_subtrees or ()) if limits is not None else (),
        excluded=tuple(limits.excluded_subtrees or ()) if limits is not None else (),
        own_identifier=own.digest if own is not None else None,
        issuer_identifier=issuer.key_identifier if issuer is not None else None,
        issuer_names=tuple(issuer.authority_cert_issuer or ()) or None if issuer is not None else None,
        issuer_serial=issuer.authority_cert_serial_number if issuer is not None else None,
        has_issuer_identifier=issuer is not None,
        policies=frozenset(each.policy_identifier.dotted_string for each in policies) if policies else frozenset(),
        policy_mappings=_policy_mappings(extensions),
        explicit_policy=policy_limits.require_explicit_policy if policy_limits is not None else None,
        inhibit_mapping=policy_limits.inhibit_policy_mapping if policy_limits is not None else None,
        inhibit_any=inhibit.skip_certs if inhibit is not None else None,
        critical=frozenset(each.oid.dotted_string for each in extensions if each.critical),
        extensions=tuple(each.oid.dotted_string for each in extensions),
        curve=curve_of(certificate),
        self_issued=folded(outline.issuer) == folded(outline.subject),
        promises_staple=features is not None and x509.TLSFeatureType.status_request in features,
        empty_subject=not first_element(outline.subject).content,
        empty_issuer=not first_element(outline.issuer).content,
    )


def without_extensions(facts: Facts) -> Facts:
    """Return facts as if there were no extensions."""
    nothing: frozenset[str] = frozenset()
    return replace(
        facts,
        has_constraints=False,
        ca=False,
        path_length=None,
        usage=None,
        purposes=None,
        names=None,
        permitted=(),
        excluded=(),
        own_identifier=None,
        issuer_identifier=None,
        issuer_names=None,
        issuer_serial=None,
        has_issuer_identifier=False,
        policies=nothing,
        policy_mappings=(),
        explicit_policy=None,
        inhibit_mapping=None,
        inhibit_any=None,
        critical=nothing,
        extensions=(),
        promises_staple=False,
    )


def _serial(certificate: Certificate) -> int:
    try:
        return certificate.decoded().serial_number
    except Exception:  # noqa: BLE001 (why is among the failures already)
        return 1


def _policy_mappings(extensions: x509.Extensions) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a policy of the issuer and of the subject (RFC 5280, 4.2.1.5), which no library decodes."""
    for each in extensions:
        if each.oid == ExtensionOID.POLICY_MAPPINGS and isinstance(each.value, x509.UnrecognizedExtension):
            try:
                pairs = elements(first_element(each.value.value).content)
                both = (elements(pair.content) for pair in pairs)
                return tuple((object_identifier(one.content), object_identifier(two.content)) for one, two in both)
            except (DERError, IndexError, ValueError):
                return ()
    return ()


def curve_of(certificate: Certificate) -> str:
    """Return the curve of an EC key, empty where it is of another kind."""
    if certificate.key.kind is not KeyKind.EC:
        return ""
    key = certificate.decoded().public_key()
    return key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else ""


_TEXT: Final = {0x0C: "utf-8", 0x13: "ascii", 0x16: "latin-1", 0x14: "latin-1", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}
_SPACES: Final = re.compile(r"\s+")


@lru_cache(maxsize=2048)
def folded(name: bytes) -> bytes:
    """Return a DER Name such that two are equal that RFC 5280, 7.1, calls so: by text, without case and more spaces.

    What is no Name is returned as it is.
    """
    return _compared(name, _folded_text)


def folded_name(name: x509.Name) -> bytes | None:
    """Return a decoded Name as `folded` does, None where the library cannot encode it again."""
    try:
        return folded(name.public_bytes())
    except Exception:  # noqa: BLE001 (whoever made the certificate chose the text)
        return None


@lru_cache(maxsize=2048)
def text_of(name: bytes) -> bytes:
    """Return a DER Name such that two are equal whose text is, of whatever type."""
    return _compared(name, str)


def _compared(name: bytes, change: Callable[[str], str]) -> bytes:
    try:
        return b"\x00".join(_rdns(name, change))
    except (IndexError, ValueError):
        return name


def _rdns(name: bytes, change: Callable[[str], str]) -> Iterator[bytes]:
    for rdn in elements(first_element(name).content):
        parts: list[bytes] = []
        for attribute in elements(rdn.content):
            kind, value = elements(attribute.content)[:2]
            encoding = _TEXT.get(value.tag)
            text = value.whole if encoding is None else change(value.content.decode(encoding)).encode()
            parts.append(kind.content + b"\x01" + text)
        yield b"\x02".join(sorted(parts))


def _folded_text(text: str) -> str:
    # Only letters of ASCII are compared without regard to case (OpenSSL, `asn1_string_canon`).
    return "".join(each.lower() if each.isascii() else each for each in _SPACES.sub(" ", text.strip()))


KNOWN_CRITICAL: Final = frozenset(
    each.dotted_string
    for each in (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.POLICY_CONSTRAINTS,
        ExtensionOID.POLICY_MAPPINGS,
        ExtensionOID.INHIBIT_ANY_POLICY,
    )
)
"""Extensions that RFC 5280, 6.1, has verifiers process."""
COMMON_NAME: Final = NameOID.COMMON_NAME
