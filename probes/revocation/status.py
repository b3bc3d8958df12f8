"""Whether a certificate is revoked, by the evidence that is at hand (RFC 5280, 6.3.3): pure, and fail-safe.

A list counts only where its issuer's own key signed it, its dates fit and it tells of this certificate. Indirect lists
are not gone by. A list that tells of some reasons alone proves that a certificate is revoked, and never that it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cryptography import x509

from config.immutable import immutable
from config.model import DAY
from config.text import Printable, sentence
from config.vocabulary import RevocationReason, RevocationState
from probes.certificate import Certificate
from probes.judge.time import moment
from probes.lifetime import lifetime
from probes.ocsp import OCSPAnswer, OCSPStatus, ocsp_answer
from probes.revocation.crl import OddEntry, RevocationList, entry_of, is_of_another_key, signed_by
from probes.revocation.evidence import MOST_OF_ISSUER, Evidence, sha256_of
from probes.revocation.places import list_urls, places_of, points_of, responder_urls

SHORT_LIVED: Final = ((1_773_532_800, 7), (1_710_460_800, 10))
"""Days for which a certificate counts as short-lived at most, by its notBefore, newest rule first: from 2026-03-15, and
from 2024-03-15 (Baseline Requirements, 1.6.1). Its CA need not say whether it is revoked."""
_NO_REVOCATION: Final = x509.ObjectIdentifier("2.5.29.56")
"""noRevAvail (RFC 9608)."""
_NOTHING: Final = Printable("")


@immutable
class RevocationStatus:
    """What is known of the revocation of one certificate."""

    state: RevocationState
    why: Printable = _NOTHING
    """Where it is unknown or was not looked for: why, a clause."""
    at: int | None = None
    """Where it is revoked: since when, Unix time."""
    reason: RevocationReason | None = None


_UNCHECKED: Final = RevocationState.UNCHECKED
_UNKNOWN: Final = RevocationState.UNKNOWN
_TELLING: Final = (
    RevocationState.REVOKED,
    RevocationState.GOOD,
    RevocationState.UNKNOWN,
    RevocationState.UNCHECKED,
)
"""The first of these counts where sources differ."""


def status_of(certificate: Certificate, issuer: Certificate, evidence: Evidence, now: float) -> RevocationStatus:
    """Return what `evidence` tells of a certificate that `issuer` signed, at Unix time `now`."""
    if is_revoked_by_nobody(certificate):
        return RevocationStatus(RevocationState.BY_DESIGN)
    told = [_by_lists(certificate, issuer, evidence, now), *_by_answers(certificate, issuer, evidence, now)]
    best = min(told, key=lambda each: _TELLING.index(each.state))
    if best.state is not _UNCHECKED:
        return best
    failed = next((evidence.failed[each] for each in places_of(certificate) if each in evidence.failed), None)
    return best if failed is None else RevocationStatus(_UNKNOWN, failed)


def _by_answers(
    certificate: Certificate, issuer: Certificate, evidence: Evidence, now: float
) -> Iterator[RevocationStatus]:
    """Yield what each answer of a responder says, fetched or stapled: none of them hides another."""
    for der in evidence.answers.get(certificate.sha256, ()):
        told = ocsp_answer(der, certificate, (issuer,))
        if isinstance(told, OCSPAnswer):
            yield _answered(told, evidence.moment_for(sha256_of(der), told.end, now))
        else:
            yield RevocationStatus(_UNKNOWN, sentence("the OCSP answer {}", told.why))


def _answered(told: OCSPAnswer, now: float) -> RevocationStatus:
    if why := told.why_no_proof(now):
        return RevocationStatus(_UNKNOWN, sentence("the OCSP answer proves nothing: {}", why))
    if told.status is OCSPStatus.REVOKED:
        return RevocationStatus(RevocationState.REVOKED, at=told.revoked_at, reason=_reason(told.reason))
    if told.status is OCSPStatus.GOOD:
        return RevocationStatus(RevocationState.GOOD)
    return RevocationStatus(_UNKNOWN, Printable("the responder of its CA does not know it"))


def _reason(word: str) -> RevocationReason:
    """Return the reason that RFC 5280 spells so."""
    return next(
        (RevocationReason[each.name.upper()] for each in x509.ReasonFlags if each.value == word),
        RevocationReason.UNSPECIFIED,
    )


def _by_lists(certificate: Certificate, issuer: Certificate, evidence: Evidence, now: float) -> RevocationStatus:
    """Return what the lists tell."""
    name = certificate.outline().issuer
    candidates = [each for each in evidence.lists if each.issuer_name == name and not is_of_another_key(each, issuer)]
    covering = [each for each in candidates if tells_of(each, certificate)]
    complete = sorted((each for each in covering if each.base is None), key=lambda each: each.age_order, reverse=True)
    why: Printable | None = None
    for each in complete:
        at = evidence.moment_for(each.sha256, each.next_update, now)
        if fault := why_not(each, issuer, at):
            why = why or fault
            continue
        told = _told(each, _deltas(each, covering, issuer, evidence, now), certificate)
        if told.state is not _UNKNOWN or not each.scope.some_reasons:
            return told
        why = why or told.why
    if name in evidence.crowded:
        why = sentence(
            "files hold more than {} revocation lists in the name of {}, and no others are looked at",
            MOST_OF_ISSUER,
            certificate.issuer,
        )
    if why is not None:
        return RevocationStatus(_UNKNOWN, why)
    return RevocationStatus(_UNCHECKED, sentence("no revocation list of {} is at hand", certificate.issuer))


def is_revoked_by_nobody(certificate: Certificate) -> bool:
    """Whether its CA says of a server's certificate, or need not say, that it is never revoked: it ends soon instead.

    So it is by the extension noRevAvail, and with a short-lived certificate that names no place to ask.
    """
    if certificate.is_ca:
        return False
    if any(each.oid == _NO_REVOCATION for each in certificate.extensions()):
        return True
    begin = certificate.not_before
    days = next((days for since, days in SHORT_LIVED if begin is not None and begin >= since), None)
    # Both ends count (RFC 5280, 4.1.2.5).
    is_short = days is not None and 0 < lifetime(certificate) < days * DAY
    return is_short and not list_urls(certificate) and not responder_urls(certificate)


def why_not(known: RevocationList, issuer: Certificate, now: float) -> Printable:
    """Say why a list tells nothing at Unix time `now`, a clause; empty where it is valid, and `issuer` signed it."""
    if known.faults:
        return sentence("the revocation list of {} cannot be gone by: {}", known.issuer, known.faults[0])
    if known.this_update is None or known.next_update is None:
        return sentence("the revocation list of {} does not say when the next one comes", known.issuer)
    if now < known.this_update:
        return sentence("the revocation list of {} begins only at {}", known.issuer, moment(known.this_update))
    if now >= known.next_update + 1:
        return sentence(
            "the revocation list of {} should have been followed by another at {}",
            known.issuer,
            moment(known.next_update),
        )
    if not signed_by(known, issuer):
        return sentence("the signature of the revocation list of {} was not made by that CA's key", known.issuer)
    return _NOTHING


def tells_of(known: RevocationList, certificate: Certificate) -> bool:
    """Whether a list of its issuer tells of such a certificate, by its scope (RFC 5280, 6.3.3 b)."""
    scope = known.scope
    if scope.indirect or scope.only_attributes or scope.unnamed:
        return False
    if (scope.only_users and certificate.is_ca) or (scope.only_authorities and not certificate.is_ca):
        return False
    return not scope.names or bool(points_of(certificate).intersection(scope.names))


def _deltas(
    complete: RevocationList,
    covering: Sequence[RevocationList],
    issuer: Certificate,
    evidence: Evidence,
    now: float,
) -> Sequence[RevocationList]:
    """Return the valid delta lists that add to a complete one, oldest first (RFC 5280, 5.2.4)."""
    number = complete.number
    if number is None:
        return ()
    found = [
        each
        for each in covering
        if each.base is not None
        and each.number is not None
        and each.base <= number <= each.number
        and each.scope == complete.scope
        and not why_not(each, issuer, evidence.moment_for(each.sha256, each.next_update, now))
    ]
    return sorted(found, key=lambda each: each.age_order)


def _told(complete: RevocationList, deltas: Sequence[RevocationList], certificate: Certificate) -> RevocationStatus:
    """Return what a complete list tells, and the newest delta list that says something else."""
    if not certificate.serial:
        return RevocationStatus(_UNKNOWN, Printable("its serial number cannot be decoded"))
    serial = certificate.decoded().serial_number
    said = entry_of(complete, serial)
    for each in deltas:
        said = entry_of(each, serial) or said
    if isinstance(said, OddEntry):
        return RevocationStatus(_UNKNOWN, sentence("the revocation list of {}: {}", complete.issuer, said.why))
    if said is not None and said.reason is not RevocationReason.REMOVE_FROM_CRL:
        return RevocationStatus(RevocationState.REVOKED, at=said.at, reason=said.reason)
    if complete.scope.some_reasons:
        return RevocationStatus(
            _UNKNOWN, sentence("the revocation list of {} tells of some reasons alone", complete.issuer)
        )
    return RevocationStatus(RevocationState.GOOD)
