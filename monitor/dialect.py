"""The JSON dialect of all that certvigil prints: one shape each for a time, a certificate, a key, a client's verdict.

`monitor.http.published` has the schema of each document, which `certvigil json-schema` prints.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TypedDict

from config.text import Printable, harmless
from config.vocabulary import EntryKind, Integrity, KeyKind
from probes.certificate import Certificate
from probes.encoding import DERError
from probes.judge.time import calendar, within_calendar
from probes.keystore import Keystore


def iso(at: float | None) -> Printable | None:
    """Return Unix time `at` in ISO 8601, UTC, to the second: the nearest that can be written."""
    return None if at is None else harmless(f"{calendar(math.floor(within_calendar(at))):%Y-%m-%dT%H:%M:%SZ}")


def unix(at: str) -> float:
    """Return the Unix time of an ISO 8601 time that names its zone; raises ValueError for another text."""
    return datetime.fromisoformat(at).timestamp()


class KeyObject(TypedDict):
    """A public key."""

    kind: KeyKind
    bits: int
    """0 where it is not known."""


class CertificateObject(TypedDict):
    """A certificate; a fact that could not be decoded is null or empty, and `failures` says why."""

    subject: str
    """RFC 4514, as is the issuer."""
    issuer: str
    serial: str
    """Hexadecimal."""
    not_before: str | None
    not_after: str | None
    sha256: str
    """Of the DER, hexadecimal."""
    names: list[str]
    """Subject alternative names."""
    key: KeyObject
    spki_sha256: str | None
    """SHA-256 of the public key (SubjectPublicKeyInfo), hexadecimal: as `allowed_issuers` takes it."""
    signature_hash: str
    is_ca: bool
    failures: list[str]


class EntryObject(TypedDict):
    """An entry of a keystore."""

    kind: EntryKind
    alias: str
    """Empty where it has none."""
    created: str | None
    """Null where the format does not tell."""
    certificates: list[CertificateObject]
    """The chain of a private key, its own certificate first; one of a trusted certificate; none of a secret key."""


class KeystoreObject(TypedDict):
    """A keystore."""

    integrity: Integrity
    default_password: bool
    """Its password is `changeit`."""
    entries: list[EntryObject]


class VerdictObject(TypedDict):
    """A client's verdict on what an endpoint presents."""

    client: str
    target: str
    """The endpoint."""
    accepts: bool | None
    """Null where that is not known."""
    why: str
    """Where it does not accept: the cause, and what would cure it."""


def certificate_object(certificate: Certificate) -> CertificateObject:
    """Return the facts of one certificate."""
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "not_before": iso(certificate.not_before),
        "not_after": iso(certificate.not_after),
        "sha256": certificate.sha256,
        "names": list(certificate.names),
        "key": {"kind": certificate.key.kind, "bits": certificate.key.bits},
        "spki_sha256": _public_key(certificate),
        "signature_hash": certificate.signature_hash,
        "is_ca": certificate.is_ca,
        "failures": list(certificate.failures),
    }


def _public_key(certificate: Certificate) -> str | None:
    try:
        return certificate.public_key_sha256()
    except DERError:
        return None


def keystore_object(keystore: Keystore[Certificate]) -> KeystoreObject:
    """Return a keystore, its entries with the facts of their certificates."""
    return {
        "integrity": keystore.integrity,
        "default_password": keystore.default_password,
        "entries": [
            {
                "kind": each.kind,
                "alias": each.alias,
                "created": iso(each.created),
                "certificates": list(map(certificate_object, each.certificates)),
            }
            for each in keystore.entries
        ],
    }


def verdict_object(client: str, target: str, accepts: bool | None, why: str) -> VerdictObject:
    """Return what a client makes of what an endpoint presents."""
    return {"client": client, "target": target, "accepts": accepts, "why": why}
