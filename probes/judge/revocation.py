"""Findings about revocation: which certificates are revoked, who rejects them for it, and what cannot be told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from cryptography import x509

from config.catalogue import TAKES_NEW_KEY
from config.immutable import immutable
from config.model import DAY, Client
from config.text import Printable, harmless, listed, sentence
from config.vocabulary import Code, RevocationCheck, RevocationReason, RevocationState, Severity
from probes.certificate import Certificate
from probes.chain import find_leaf
from probes.finding import Finding, finding
from probes.judge.path import extension_of
from probes.judge.subject import SubjectOf
from probes.judge.time import moment
from probes.observation import Presented
from probes.revocation.crl import RevocationList
from probes.revocation.evidence import Evidence
from probes.revocation.status import RevocationStatus, status_of

NEAR_SHARE: Final = 0.25
"""Of the time between two lists of a CA that is left when the next one is near."""
NEAR_DAYS: Final = 2
"""At most."""


@immutable
class SeenPath:
    """The path that a client builds from a presented chain, each certificate signed by the next one."""

    certificates: tuple[Certificate, ...]
    client: Client | None = None
    """None where no client is known."""

    @property
    def check(self) -> RevocationCheck:
        """Whether somebody asks for revocation on it."""
        asks = self.client is not None and self.client.validates
        return self.client.revocation if self.client is not None and asks else RevocationCheck.NONE


def refusals(path: SeenPath, evidence: Evidence, now: float, subject_of: SubjectOf) -> Iterator[Finding]:
    """Yield each cause of revocation for which the client of a path rejects it."""
    if evidence.is_empty or path.client is None or path.client.revocation is RevocationCheck.NONE:
        return
    for certificate, issuer in pairwise(path.certificates):
        status = status_of(certificate, issuer, evidence, now)
        if status.state is RevocationState.REVOKED:
            yield finding(Code.REVOKED, _was_revoked(certificate, status), subject_of(certificate))
        elif status.state is RevocationState.UNKNOWN and path.client.revocation is RevocationCheck.HARD_FAIL:
            yield _unknown(certificate, status, subject_of)


def judge_revocation(
    paths: Iterable[SeenPath], evidence: Evidence, now: float, subject_of: SubjectOf
) -> Iterator[Finding]:
    """Yield each certificate on the paths that is revoked, with its clients; and each of which that cannot be told."""
    # Nearly always: nothing is paid for that nobody asked for.
    if evidence.is_empty:
        return
    seen: dict[tuple[Certificate, Certificate], _Askers] = {}
    for path in paths:
        for pair in pairwise(path.certificates):
            seen.setdefault(pair, _Askers()).add(path)
    for (certificate, issuer), askers in seen.items():
        status = status_of(certificate, issuer, evidence, now)
        if status.state is RevocationState.REVOKED:
            detail = sentence("{}{}", _was_revoked(certificate, status), askers.shown())
            yield finding(Code.REVOKED, detail, subject_of(certificate))
        elif status.state is RevocationState.UNKNOWN:
            yield _unknown(certificate, status, subject_of)


@dataclass(slots=True)
class _Askers:
    """The clients that have a certificate on their path."""

    rejecting: dict[str, None] = field(default_factory=dict)
    others: dict[str, None] = field(default_factory=dict)

    def add(self, path: SeenPath) -> None:
        """Add the client of a path."""
        if path.client is not None:
            asks = path.check is not RevocationCheck.NONE
            (self.rejecting if asks else self.others)[path.client.name] = None

    def shown(self) -> Printable:
        """Say who rejects the certificate, and who does not ask; clauses that follow another."""
        by, aside = (listed(map(harmless, each), " and ") for each in (self.rejecting, self.others))
        parts = [sentence("; it is rejected for that by {}", by)] if by else []
        parts += [sentence("; not asked for by {}", aside)] if aside else []
        return listed(parts, "")


def _was_revoked(certificate: Certificate, status: RevocationStatus) -> Printable:
    return sentence(
        "CA {} revoked {} at {}; reason: {}{}",
        certificate.issuer,
        certificate.title,
        moment(status.at or 0),
        status.reason or Printable("unspecified"),
        harmless(f"; {TAKES_NEW_KEY}" if _is_key_compromised(certificate, status) else ""),
    )


def _is_key_compromised(certificate: Certificate, status: RevocationStatus) -> bool:
    is_revoked = status.state is RevocationState.REVOKED
    return is_revoked and status.reason is RevocationReason.KEY_COMPROMISE and not certificate.is_ca


def why_compromised(paths: Iterable[Sequence[Certificate]], evidence: Evidence, now: float) -> Printable:
    """Say that the first certificate of a path is revoked because its key is compromised; empty where none is."""
    for certificate, issuer in dict.fromkeys((path[0], path[1]) for path in paths if len(path) > 1):
        status = status_of(certificate, issuer, evidence, now)
        if _is_key_compromised(certificate, status):
            return _was_revoked(certificate, status)
    return Printable("")


def _unknown(certificate: Certificate, status: RevocationStatus, subject_of: SubjectOf) -> Finding:
    detail = sentence("whether {} is revoked cannot be told: {}", certificate.title, status.why)
    return finding(Code.REVOCATION_UNKNOWN, detail, subject_of(certificate))


def judge_staple(presented: Presented) -> Iterator[Finding]:
    """Yield that an address sends no OCSP answer although the certificate promises one (RFC 7633, 4.2.3.1)."""
    # Without a version, nobody knows the handshake any more in which the chain was presented.
    if presented.staple or not presented.version or not presented.chain:
        return
    leaf = find_leaf(presented.chain)
    feature = extension_of(leaf, x509.TLSFeature)
    if feature is not None and x509.TLSFeatureType.status_request in feature:
        detail = sentence("{} promises an OCSP answer with each handshake, and the server sends none", leaf.title)
        yield finding(Code.MUST_STAPLE_WITHOUT_STAPLE, detail, presented.address)


def judge_lists(lists: Sequence[RevocationList], now: float, *, found: bool) -> Iterator[Finding]:
    """Yield each list in a file that its next one should have followed, or that will be followed soon.

    A list that was `found` by a pattern is a notice at most: nobody is known to go by it.
    """
    for each in _newest(lists):
        if each.next_update is None:
            continue
        if now >= each.next_update + 1:
            detail = sentence(
                "the revocation list of {} should have been followed by another at {}",
                each.issuer,
                moment(each.next_update),
            )
            yield finding(Code.CRL_STALE, detail, each.issuer, Severity.NOTICE if found else None)
        elif now >= _near(each):
            detail = sentence("the next revocation list of {} is due at {}", each.issuer, moment(each.next_update))
            yield finding(Code.CRL_STALE, detail, each.issuer, Severity.NOTICE)


def list_boundaries(lists: Iterable[RevocationList]) -> Iterator[float]:
    """Yield the Unix times at which the verdict on lists in a file may change by itself."""
    for each in lists:
        if each.next_update is not None:
            yield _near(each)
            yield each.next_update + 1


def _newest(lists: Iterable[RevocationList]) -> Iterable[RevocationList]:
    """Return the newest list of each kind: whoever appends the next one to a file has renewed it."""
    newest: dict[object, RevocationList] = {}
    for each in lists:
        kind = (each.issuer_name, each.key_identifier, each.scope, each.base is None)
        if kind not in newest or newest[kind].age_order < each.age_order:
            newest[kind] = each
    return newest.values()


def _near(known: RevocationList) -> float:
    assert known.next_update is not None  # noqa: S101 (whoever calls this has looked)
    period = max(0, known.next_update - (known.this_update or known.next_update))
    return known.next_update - min(NEAR_SHARE * period, NEAR_DAYS * DAY)
