"""Certificate revocation lists as immutable values (RFC 5280, 5): facts that print safely, and who signed them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from config.immutable import immutable
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import RevocationReason
from probes.certificate import Certificate
from probes.encoding import INTEGER, DERError, element_end, encoded, enter, plain_name
from probes.fields import Fields
from probes.remembered import Remembered
from probes.revocation.places import point_names

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of a list; the largest ones of public CAs have some tens of MiB."""
MOST_LISTS: Final = 100
"""In one file, or in one answer of a server."""


@immutable
class ListScope:
    """Of which certificates a list tells (RFC 5280, 5.2.5); as it stands, of all that its issuer issued."""

    only_users: bool = False
    only_authorities: bool = False
    only_attributes: bool = False
    indirect: bool = False
    """It tells of certificates of other issuers, too."""
    some_reasons: bool = False
    """It tells of revocations for some reasons alone."""
    names: tuple[str, ...] = ()
    """The names of its distribution point, as `point_names` has them; empty where it has no name."""
    unnamed: bool = False
    """Its distribution point is called in another way than by URIs and directory names."""


WHOLE: Final = ListScope()


@dataclass(frozen=True, slots=True, eq=False)
class RevocationList:
    """A list with its facts decoded; two are equal where their DER is. Nothing is verified yet.

    All text is printable as it stands.
    """

    der: bytes = field(repr=False)
    sha256: str
    """Of the DER, hexadecimal."""
    issuer: Printable
    """RFC 4514."""
    issuer_name: bytes = field(repr=False)
    """DER of the issuer's Name."""
    this_update: int | None
    """Unix time; None where it cannot be decoded."""
    next_update: int | None
    """Unix time by which the next list comes; None where the list does not say."""
    number: int | None
    """Larger in each list that its issuer signs."""
    base: int | None
    """Of a delta list: the least number of a complete one that it adds to. None for a complete one."""
    key_identifier: bytes | None
    """Of the key that signed it, where the list says so."""
    scope: ListScope
    faults: tuple[Printable, ...] = ()
    """Why nothing may be told by it, sentences: fields that cannot be decoded, critical extensions of unknown use."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RevocationList) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    @property
    def age_order(self) -> tuple[int, int]:
        """Orders the lists of one scope from the oldest to the newest."""
        return self.this_update or 0, self.number or 0

    def parsed(self) -> x509.CertificateRevocationList:
        """Return the library's object, parsed anew: values that live long do not hold it."""
        return x509.load_der_x509_crl(self.der)


@immutable
class RevokedEntry:
    """What a list says of one certificate."""

    at: int
    """Unix time of the revocation."""
    reason: RevocationReason


@immutable
class OddEntry:
    """A list says something of a certificate that may not be told further (RFC 5280, 5.3)."""

    why: Printable


def revocation_list(der: bytes) -> RevocationList:
    """Return the list with exactly these bytes; raises ValueError where they are no list, or more than `MOST_BYTES`.

    A single bad field is a fault inside the value.
    """
    if len(der) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES} bytes")
    try:
        name = _issuer_name(der)
        parsed = x509.load_der_x509_crl(der)
    except (DERError, IndexError, ValueError, TypeError, x509.InvalidVersion):
        raise ValueError("it is no revocation list in DER") from None
    fields = Fields(_fault)
    extensions = fields.get("extensions", lambda: parsed.extensions, x509.Extensions([]))
    known = {type(each.value): each.value for each in extensions}
    unknown = [each.oid.dotted_string for each in extensions if each.critical and each.oid not in _UNDERSTOOD]
    fields.faults += (
        sentence("it has the critical extension {}, which certvigil does not know", harmless(each)) for each in unknown
    )
    number, base = known.get(x509.CRLNumber), known.get(x509.DeltaCRLIndicator)
    key, scope = known.get(x509.AuthorityKeyIdentifier), known.get(x509.IssuingDistributionPoint)
    nowhere: int | None = None
    return RevocationList(
        der=der,
        sha256=hashlib.sha256(der).hexdigest(),
        issuer=fields.get("issuer", lambda: harmless(plain_name(name) or _text(parsed.issuer)), Printable("")),
        issuer_name=name,
        this_update=fields.get("thisUpdate", lambda: int(parsed.last_update_utc.timestamp()), nowhere),
        next_update=fields.get("nextUpdate", lambda: _next_update(parsed), nowhere),
        number=number.crl_number if isinstance(number, x509.CRLNumber) else None,
        base=base.crl_number if isinstance(base, x509.DeltaCRLIndicator) else None,
        key_identifier=key.key_identifier if isinstance(key, x509.AuthorityKeyIdentifier) else None,
        scope=fields.get("scope", lambda: _scope(scope, parsed.issuer), WHOLE)
        if isinstance(scope, x509.IssuingDistributionPoint)
        else WHOLE,
        faults=tuple(fields.faults),
    )


def lists_in(ders: Iterable[bytes]) -> tuple[RevocationList, ...]:
    """Return the lists in that order, each once; one that cannot be decoded is passed over."""
    found: dict[RevocationList, None] = {}
    for der in ders:
        try:
            found[revocation_list(der)] = None
        except ValueError:
            continue
    return tuple(found)


_signed: Final = Remembered[bool](16_384)


def signed_by(known: RevocationList, issuer: Certificate) -> bool:
    """Whether the key of `issuer`, which has the name of the list's issuer, made its signature; no costly key is tried.

    A key with a key usage must be for signing lists (RFC 5280, 6.3.3 f).
    """
    if known.issuer_name != issuer.outline().subject or issuer.is_costly or not _may_sign(issuer):
        return False
    return _signed.get((known.sha256, issuer.sha256), lambda: _is_signed_by(known, issuer))


def _is_signed_by(known: RevocationList, issuer: Certificate) -> bool:
    try:
        key = issuer.decoded().public_key()
        return known.parsed().is_signature_valid(key)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 (a hostile key can make the library raise what is documented nowhere)
        return False


def is_of_another_key(known: RevocationList, issuer: Certificate) -> bool:
    """Whether a list says itself that another key than that of `issuer` signed it."""
    try:
        own = issuer.extensions().get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return False
    return known.key_identifier is not None and known.key_identifier != own


def entry_of(known: RevocationList, serial: int) -> RevokedEntry | OddEntry | None:
    """Return what a list of one issuer says of its certificate with that serial number; None where it says nothing."""
    # Where the bytes of the number are nowhere in a list, no entry has it: most are looked up, and few are there.
    content = serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)
    if encoded(INTEGER, content) not in known.der:
        return None
    try:
        found = known.parsed().get_revoked_certificate_by_serial_number(serial)
        if found is None:
            return None
        extensions = {each.oid: each for each in found.extensions}
        unknown = [
            each.oid.dotted_string for each in extensions.values() if each.critical and each.oid not in _OF_ENTRY
        ]
        if unknown:
            return OddEntry(
                sentence("its entry has the critical extension {}, which certvigil does not know", harmless(unknown[0]))
            )
        stated = extensions.get(CRLEntryExtensionOID.CRL_REASON)
        reason = stated.value.reason if stated is not None and isinstance(stated.value, x509.CRLReason) else None
        return RevokedEntry(
            int(found.revocation_date_utc.timestamp()),
            RevocationReason.UNSPECIFIED if reason is None else RevocationReason[reason.name.upper()],
        )
    except Exception:  # noqa: BLE001 (the library raises exceptions without a common base)
        return OddEntry(Printable("its entry cannot be decoded"))


_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.DELTA_CRL_INDICATOR,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        ExtensionOID.FRESHEST_CRL,
        ExtensionOID.ISSUER_ALTERNATIVE_NAME,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS,
    }
)
# The issuer of an entry is that of the list: indirect lists are not gone by.
_OF_ENTRY: Final = frozenset({CRLEntryExtensionOID.CRL_REASON, CRLEntryExtensionOID.INVALIDITY_DATE})


def _fault(name: str, _error: Exception) -> Printable:
    return sentence("its {} cannot be decoded", harmless(name))


def _text(name: x509.Name) -> str:
    return printable(name.rfc4514_string())


def _next_update(parsed: x509.CertificateRevocationList) -> int | None:
    at = parsed.next_update_utc
    return None if at is None else int(at.timestamp())


def _issuer_name(der: bytes) -> bytes:
    """Return the DER of the issuer's Name (RFC 5280, 5.1.2); raises DERError, IndexError."""
    at, _ = enter(der, 0)
    at, _ = enter(der, at)
    if der[at] == INTEGER:
        at = element_end(der, at)
    start = element_end(der, at)  # behind the signature algorithm
    return der[start : element_end(der, start)]


def _scope(found: x509.IssuingDistributionPoint, issuer: x509.Name) -> ListScope:
    names = point_names(found.full_name, found.relative_name, issuer)
    is_named = bool(found.full_name) or found.relative_name is not None
    return ListScope(
        found.only_contains_user_certs,
        found.only_contains_ca_certs,
        found.only_contains_attribute_certs,
        found.indirect_crl,
        found.only_some_reasons is not None,
        names,
        unnamed=is_named and not names,
    )


def _may_sign(issuer: Certificate) -> bool:
    try:
        return issuer.extensions().get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True
