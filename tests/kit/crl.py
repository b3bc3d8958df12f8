"""Revocation lists as a CA signs them, and as it should not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict, Unpack

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from monitor.lab.ca import DAY, Issued

LISTS_AT = "http://crl.example.com/issuing.crl"


class ListKnobs(TypedDict, total=False):
    """What may differ from a complete list of a week that tells of all certificates of its issuer."""

    this_update: float
    """Unix time, as is `next_update`."""
    next_update: float
    number: int | None
    base: int
    """Makes a delta list."""
    point: x509.IssuingDistributionPoint
    critical: Sequence[x509.ExtensionType]
    key_identifier: bool
    signer: Issued
    """Whose key signs in the place of the issuer's."""


@dataclass(frozen=True)
class Entry:
    """A revoked certificate."""

    of: Issued
    at: float
    reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise
    critical: Sequence[x509.ExtensionType] = ()


def crl(issuer: Issued, now: float, *entries: Entry, **knobs: Unpack[ListKnobs]) -> bytes:
    """Return the DER of a list that `issuer` signed an hour before Unix time `now`."""
    signer = knobs.get("signer", issuer)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(_date(knobs.get("this_update", now - 3600)))
        .next_update(_date(knobs.get("next_update", now + 7 * DAY)))
    )
    if (number := knobs.get("number", 7)) is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if (base := knobs.get("base")) is not None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(base), critical=True)
    if (point := knobs.get("point")) is not None:
        builder = builder.add_extension(point, critical=True)
    if knobs.get("key_identifier", True):
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    for each in knobs.get("critical", ()):
        builder = builder.add_extension(each, critical=True)
    for entry in entries:
        revoked = x509.RevokedCertificateBuilder().serial_number(entry.of.certificate.serial_number)
        revoked = revoked.revocation_date(_date(entry.at))
        if entry.reason is not None:
            revoked = revoked.add_extension(x509.CRLReason(entry.reason), critical=False)
        for each in entry.critical:
            revoked = revoked.add_extension(each, critical=True)
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def crl_pem(der: bytes) -> bytes:
    """Return a list as PEM."""
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)


def point(**parts: object) -> x509.IssuingDistributionPoint:
    """Return an issuing distribution point with these parts, and none of the others."""
    nothing: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(nothing | parts))  # type: ignore[arg-type]


def uri(url: str) -> x509.UniformResourceIdentifier:
    """Return a name that is a URL."""
    return x509.UniformResourceIdentifier(url)


def lists_at(*urls: str) -> x509.Extension[x509.ExtensionType]:
    """Return the extension of a certificate that says where its issuer's lists are."""
    points = [x509.DistributionPoint([uri(url)], None, None, None) for url in urls]
    value = x509.CRLDistributionPoints(points)
    return x509.Extension(value.oid, critical=False, value=value)


def _date(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
