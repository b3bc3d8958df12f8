"""The JSON dialect of certvigil: one shape each for a time, a record, a certificate, a key and a client's verdict.

All commands print it, and the actor and the daemon talk in it. `monitor.http.published` has the schema of each document
that a command prints.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypedDict

from config.expected import AllowedTLS
from config.text import Printable, harmless
from config.vocabulary import ClientCertificateUse, EntryKind, Integrity, KeyKind
from probes.certificate import Certificate
from probes.encoding import DERError
from probes.finding import Edge
from probes.judge.time import LATEST, calendar, within_calendar
from probes.judge.tls import cipher_fault
from probes.keystore import Keystore
from probes.observation import Presented
from probes.ocsp import OCSPAnswer, OCSPFault, OCSPStatus, staple_of
from probes.revocation.crl import RevocationList
from probes.tls.support import Supported

_EXACTLY: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,30})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_RECORDED_TIMES: Final = frozenset({"until", "written", "begins"})
"""Keys of a record's data that hold a Unix time, or Unix times by component."""


def iso(at: float | None) -> Printable | None:
    """Return Unix time `at` in ISO 8601, UTC, to the second: the nearest that can be written."""
    if at is None:
        return None
    return harmless(calendar(math.floor(within_calendar(at))).isoformat().replace("+00:00", "Z"))


def unix(at: str) -> float:
    """Return the Unix time of an ISO 8601 time that names its zone; raises ValueError for another text."""
    return datetime.fromisoformat(at).timestamp()


def iso_exactly(at: float) -> str:
    """Return Unix time `at` in ISO 8601, UTC, with all its digits, for a reader who computes with it.

    Infinity is the last second of the year 9999, which `unix_exactly` reads as infinity.
    """
    exact = Decimal(repr(float(within_calendar(at))))
    whole = math.floor(exact)
    fraction = f"{(exact - whole).normalize():f}".removeprefix("0")
    return f"{iso(whole)}".replace("Z", f"{fraction}Z")


def unix_exactly(at: object) -> float:
    """Return the Unix time that `iso_exactly` has written; raises ValueError for anything else."""
    found = _EXACTLY.fullmatch(at) if isinstance(at, str) else None
    if found is None:
        raise ValueError("a time in ISO 8601 is expected, such as 2027-03-20T08:00:00Z")
    whole, fraction, zone = found.groups()
    exact = Decimal(int(unix(f"{whole}{zone}"))) + Decimal(f"0{fraction or ''}")
    return math.inf if exact >= LATEST else float(exact)


class _InISO:
    """Has pydantic write a Unix time in ISO 8601, and read it."""

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[object], Any]) -> dict[str, Any]:
        return {
            "type": "function-before",
            "function": {"type": "no-info", "function": unix_exactly},
            "schema": handler(source),
            "serialization": {
                "type": "function-plain",
                "function": iso_exactly,
                "return_schema": {"type": "str"},
                "when_used": "json",
            },
        }

    def __get_pydantic_json_schema__(self, _schema: object, _handler: object) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


UnixTime = Annotated[float, _InISO()]
"""A Unix time, which JSON has in ISO 8601."""


def dated(record: Mapping[str, Any], write: Callable[[float], str | None]) -> dict[str, Any]:
    """Return a record of the journal as plain values, with its times as `write` gives them."""
    return _with_times(record, lambda at: write(at) if isinstance(at, int | float) else at)


def undated(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record that `dated` has written with `iso_exactly`; raises KeyError, TypeError, ValueError."""
    return _with_times(record, unix_exactly)


def _with_times(record: Mapping[str, Any], translate: Callable[[Any], object]) -> dict[str, Any]:
    data = {
        key: _translated(value, translate) if key in _RECORDED_TIMES else value for key, value in record["data"].items()
    }
    return {**record, "at": translate(record["at"]), "data": data}


def _translated(value: object, translate: Callable[[Any], object]) -> object:
    if isinstance(value, Mapping):
        return {name: translate(at) for name, at in value.items()}
    return translate(value)


class KeyObject(TypedDict):
    """A public key."""

    kind: KeyKind
    bits: int
    """0 where it is not known."""
    name: str
    """Name of the algorithm, such as ML-DSA-65, or the identifier of an unknown one; empty where the kind says all."""
    strength: int | None
    """In bits, rounded down to a usual level; null where it is not known."""


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
    signature: str
    """Name of the signature algorithm; its object identifier where it is not known."""
    is_ca: bool
    failures: list[str]
    """Each field that cannot be decoded."""
    encoding_faults: list[str]
    """The rules of encoding that the certificate breaks."""


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


class RevocationListObject(TypedDict):
    """A certificate revocation list."""

    issuer: str
    number: int | None
    base: int | None
    """Of a delta list: the number of the complete list that it adds to; null for a complete list."""
    this_update: str | None
    next_update: str | None
    sha256: str
    """Of the DER, hexadecimal."""
    faults: list[str]
    """Why nothing may be told by it."""


class SupportedVersionObject(TypedDict):
    """A version of TLS that a server takes, and with it what."""

    version: str
    allowed: bool
    ciphers: list[SupportedCipherObject]
    groups: list[str]
    prime_bits: int
    """Of the shortest Diffie-Hellman exchange that is in no named group; 0 where there is none."""
    signatures: list[str]
    """Schemes by which it signed, of TLS 1.2 and 1.3."""


class SupportedCipherObject(TypedDict):
    """A cipher that a server takes."""

    name: str
    """In OpenSSL's spelling."""
    allowed: bool
    """By the site's list; without one, by RFC 9325."""


class SupportedObject(TypedDict):
    """Everything that a server takes."""

    address: str
    versions: list[SupportedVersionObject]
    hybrid_groups: list[str]
    """Those of post-quantum cryptography."""
    classical_fallback: bool
    """Whether a client without post-quantum cryptography gets a connection, too."""
    unclear: list[str]
    """Why it may take more than that; empty where that is all."""
    connections: int
    """For which it was asked."""


class StapleObject(TypedDict):
    """An OCSP response that came with a chain, and what it says of the first certificate."""

    status: OCSPStatus | None
    """Null where it says nothing of it."""
    produced_at: str | None
    this_update: str | None
    next_update: str | None
    """Null where newer information is available all the time, or the status is null."""
    revoked_at: str | None
    reason: str
    """Of the revocation; empty where none is given."""
    signer: str
    """The subject of the issuer, or of its delegate, whose signature is verified; empty where there is none."""
    why: str
    """Why there is no verified signature, or no status; empty where there is."""


class AddressObject(TypedDict):
    """One address of an endpoint: what was negotiated, and what came of certificates beside the chain."""

    address: str
    version: str
    cipher: str
    group: str
    """Of the key exchange; empty where it is not known."""
    handshake_bytes: int
    """That the server sent until the handshake was over; 0 where it is not known."""
    client_certificate: ClientCertificateUse
    client_certificate_fault: str
    """Why that of the configuration was refused or could not be used; empty where it was neither."""
    staple: StapleObject | None
    """Null where none came."""


class VerdictObject(TypedDict):
    """A client's verdict on the chain that an endpoint presents."""

    client: str
    target: str
    """The endpoint."""
    accepts: bool | None
    """Null where it is not known."""
    why: str
    """Where the client does not accept: the cause and its cure."""


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
        "key": {
            "kind": certificate.key.kind,
            "bits": certificate.key.bits,
            "name": harmless(certificate.key.name),
            "strength": certificate.key.strength,
        },
        "spki_sha256": _public_key(certificate),
        "signature_hash": certificate.signature_hash,
        "signature": certificate.signature,
        "is_ca": certificate.is_ca,
        "failures": list(certificate.failures),
        "encoding_faults": list(certificate.encoding_faults),
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


def revocation_list_object(known: RevocationList) -> RevocationListObject:
    """Return a revocation list in JSON."""
    return {
        "issuer": known.issuer,
        "number": known.number,
        "base": known.base,
        "this_update": None if known.this_update is None else iso(known.this_update),
        "next_update": None if known.next_update is None else iso(known.next_update),
        "sha256": known.sha256,
        "faults": list(known.faults),
    }


def supported_object(supported: Supported, allowed: AllowedTLS) -> SupportedObject:
    """Return everything that a server takes, and whether it is allowed."""
    return {
        "address": supported.address,
        "versions": [
            {
                "version": one.version,
                "allowed": one.version in allowed.protocols,
                "ciphers": [{"name": each, "allowed": cipher_fault(each, allowed) is None} for each in one.suites],
                "groups": list(one.groups),
                "prime_bits": one.prime_bits,
                "signatures": list(one.signatures),
            }
            for one in supported.versions
        ],
        "hybrid_groups": list(supported.hybrid_groups),
        "classical_fallback": supported.is_classical_fallback,
        "unclear": list(supported.unclear),
        "connections": supported.connections,
    }


def staple_object(staple: OCSPAnswer | OCSPFault) -> StapleObject:
    """Return what an OCSP response says."""
    if isinstance(staple, OCSPFault):
        empty: StapleObject = {
            "status": None,
            "produced_at": None,
            "this_update": None,
            "next_update": None,
            "revoked_at": None,
            "reason": "",
            "signer": "",
            "why": staple.why,
        }
        return empty
    return {
        "status": staple.status,
        "produced_at": iso(staple.produced_at),
        "this_update": iso(staple.this_update),
        "next_update": iso(staple.next_update),
        "revoked_at": iso(staple.revoked_at),
        "reason": staple.reason,
        "signer": "" if staple.signer is None else staple.signer.title,
        "why": staple.doubt,
    }


def address_object(presented: Presented, others: Iterable[Certificate] = ()) -> AddressObject:
    """Return what an address presents beside its chain; `others` may have issued the chain, such as anchors."""
    staple = staple_of(presented, others)
    return {
        "address": presented.address,
        "version": presented.version,
        "cipher": presented.cipher,
        "group": presented.group,
        "handshake_bytes": presented.handshake_bytes,
        "client_certificate": presented.client_certificate,
        "client_certificate_fault": presented.client_certificate_fault,
        "staple": None if staple is None else staple_object(staple),
    }


class EdgeObject(VerdictObject):
    """The verdict, and whether the client validates at all."""

    unvalidated: str
    """Why it does not, so that it connects all the same; empty where it does."""


def edge_object(edge: Edge, target: str) -> EdgeObject:
    """Return the verdict of a client on the chain that an endpoint presents."""
    return {**verdict_object(edge.client, target, edge.accepted, edge.why), "unvalidated": edge.unvalidated}


def verdict_object(client: str, target: str, accepts: bool | None, why: str) -> VerdictObject:
    """Return the verdict of a client on the chain that an endpoint presents."""
    return {"client": client, "target": target, "accepts": accepts, "why": why}
