"""The input of decisions: all facts about one group, one component or one target that belongs to no component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from actions.ending import CANDIDATES_FAULT, Cause, Outcome
from actions.plan import Kind
from config.immutable import immutable
from config.model import Thresholds
from config.vocabulary import Code, Mode, Severity
from monitor.dialect import UnixTime
from probes.lifetime import leaf_thresholds

LEVELS: Final = (Severity.NOTICE, Severity.WARNING, Severity.CRITICAL)
"""The severities through which `expiring` goes, in order."""
BY_TIME: Final = frozenset({Code.EXPIRING, Code.EXPIRED, Code.NOT_YET_VALID})
"""Findings that time alone raises and clears."""
STEPPED: Final = 60.0
"""Seconds. An event with a time so much later than now happened before the clock was put back."""


@immutable
class FindingState:
    """A finding on one of the component's targets; findings that are waived are left out."""

    target: str
    code: Code
    severity: Severity
    since: UnixTime
    subject: str = ""
    at_endpoint: bool = False
    """Whether the target is an endpoint, so that clients meet the fault; a file alone hurts no client."""
    seen: UnixTime | None = None
    """Time of the look that saw it last; None where it is seen now."""


@immutable
class Accepts:
    """The verdict of one client that validates, on one endpoint."""

    client: str
    target: str
    accepts: bool
    since: UnixTime
    seen: UnixTime | None = None
    """Time of the look that saw it last; None where it is seen now."""


@immutable
class Validity:
    """The validity of the certificate in use; where there are several, of the one that ends first."""

    sha256: str
    not_before: UnixTime
    not_after: UnixTime
    """Earliest end on the verified path."""
    thresholds: Thresholds | None = None
    """None for the defaults."""

    @property
    def lifetime(self) -> float:
        """Seconds from its start to its end."""
        return max(0.0, self.not_after - self.not_before)

    def reaches(self, severity: Severity) -> float:
        """Return the Unix time from which `expiring` has that severity."""
        thresholds = self.thresholds or leaf_thresholds(self.lifetime)
        levels = {
            Severity.NOTICE: thresholds.notice,
            Severity.WARNING: thresholds.warning,
            Severity.CRITICAL: thresholds.critical,
        }
        return self.not_after - levels[severity].seconds_left(self.lifetime)


@immutable
class KnownCandidate:
    """The candidate in the component's inbox."""

    identity: str
    """A hash of its content."""
    since: UnixTime
    quarantined: str = ""
    """Why it is in quarantine; empty where it is not."""
    not_after: UnixTime | None = None


class Result(StrEnum):
    """How an attempt ended, as far as later attempts depend on it."""

    COMMITTED = "committed"
    FAILED_FORWARD = "failed_forward"
    """The new set is in use, although a check failed."""
    SUPERSEDED = "superseded"
    """Somebody else put another set in place meanwhile, and that set is in use."""
    TRANSIENT = "transient"
    """The attempt failed for a reason that may pass."""
    CANDIDATE = "candidate"
    """The candidate, or the set on disk, is at fault: another attempt would fail the same way."""


def result_of(outcome: Outcome, cause: Cause) -> Result:
    """Return the meaning of a transaction's ending for later attempts."""
    if outcome is Outcome.COMMITTED:
        return Result.COMMITTED
    if outcome is Outcome.FAILED_FORWARD:
        return Result.FAILED_FORWARD
    if outcome is Outcome.SUPERSEDED:
        return Result.SUPERSEDED
    return Result.CANDIDATE if cause in CANDIDATES_FAULT | {Cause.QUARANTINED} else Result.TRANSIENT


@immutable
class Attempt:
    """A transaction that ended, or a plan that was refused (which is transient: nothing was touched)."""

    kind: Kind
    what: str
    """As `Decision.what`: the candidate that was installed, the leaf on disk, or the transaction that was undone."""
    began: UnixTime
    ended: UnixTime
    result: Result
    transaction: str = ""
    leaf: str = ""
    """SHA-256 of the leaf that was installed; empty where it is not known."""
    accepted: frozenset[tuple[str, str]] = frozenset()
    """The pairs of client and endpoint where the client accepted at the commit."""
    undoable: bool = True
    """Whether it is the last transaction on every component that it changed."""
    settled: bool = False
    """Whether an operator declared every component of it right since, so that no wait follows its failure."""


@immutable
class Approval:
    """An operator's approval or rejection of a case."""

    case: str
    """As `Decision.case`."""
    approved: bool
    until: UnixTime
    by: str = ""


@immutable
class Said:
    """A person's approval or rejection of one action on the component, whatever policy calls for it."""

    kind: Kind
    what: str
    """As `Decision.what`."""
    approved: bool
    until: UnixTime
    """It holds until then."""
    by: str = ""


@immutable
class LeftToPerson:
    """An action that the actor does not carry out for the daemon alone, however often it is asked."""

    kind: Kind
    what: str
    """As `Decision.what`."""
    why: str
    """A sentence, printable."""


@immutable
class Situation:
    """All facts that a decision may depend on; equal facts are equal values."""

    subject: str
    """The name of the group, of the component, or of the target."""
    mode: Mode | None = None
    """The mode where a policy gives none; None where certvigil cannot act on the subject, such as a mere target."""
    targets: tuple[str, ...] = ()
    is_component: bool = False
    """Whether it is a component, or a group of components."""
    members: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    """Of a group: each component, with its labels."""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    profile: str | None = None
    findings: tuple[FindingState, ...] = ()
    edges: tuple[Accepts, ...] = ()
    certificate: Validity | None = None
    on_disk: str = ""
    """SHA-256 of the leaf on disk; empty where it is not known."""
    drift_since: UnixTime | None = None
    """Unix time since when another leaf than the one on disk is served; None where that one is served."""
    candidate: KnownCandidate | None = None
    attempts: tuple[Attempt, ...] = ()
    """In the order in which they ended."""
    approvals: tuple[Approval, ...] = ()
    said: tuple[Said, ...] = ()
    left_to_person: tuple[LeftToPerson, ...] = ()
    allowed_issuers: bool = False
    """Whether the component says whose certificates may be installed."""
    held: str = ""
    """Why nothing may be started, such as a frozen component or a suspect clock; empty where actions may start."""
    contested: str = ""
    """A sentence about another tool that reverts transactions on the component; empty where none does."""
    renewed: bool = False
    """Whether a candidate arrived after the other tool's last change."""
    unreached: bool = False
    """Whether an endpoint was not reached, so that a fault that was not found may exist there."""
    unproven: str = ""
    """Why a regression since a replacement is no evidence against the replacement; empty where it may be."""
    apart: float = 0.0
    """Seconds for which a regression must have been seen before it is evidence."""
    given_up: str = ""
    """Why the private key of the action may not be used again; empty where it may."""

    def word(self, kind: Kind, what: str, now: float) -> Said | None:
        """Return the last approval or rejection of that action which holds at Unix time `now`; None without one."""
        found = [each for each in self.said if (each.kind, each.what) == (kind, what) and now < each.until]
        return found[-1] if found else None

    def why_left(self, kind: Kind, what: str) -> str:
        """Return why the actor leaves that action to a person; empty where it does not."""
        return next((each.why for each in self.left_to_person if (each.kind, each.what) == (kind, what)), "")


def of_group(group: str, members: Sequence[Situation]) -> Situation:
    """Return the situation of a group: what is so of a member is so of all; `members` is not empty, and sorted by name.

    A fact that permits an action must be one of each member, a fact that forbids it need be one of any.
    """
    modes = [each.mode for each in members]
    known = {each.transaction or each: each for member in members for each in member.attempts}
    certificates = [each.certificate for each in members if each.certificate is not None]
    drifts = [each.drift_since for each in members if each.drift_since is not None]
    contested = [each for each in members if each.contested]
    return Situation(
        subject=group,
        mode=None if None in modes else min(filter(None, modes), key=list(Mode).index),
        targets=tuple(dict.fromkeys(target for each in members for target in each.targets)),
        is_component=True,
        members=tuple((each.subject, tuple(sorted(each.labels.items()))) for each in members),
        profile=members[0].profile,
        findings=tuple(found for each in members for found in each.findings),
        edges=tuple(edge for each in members for edge in each.edges),
        certificate=min(certificates, key=lambda each: each.not_after, default=None),
        # As a transaction of them all records it.
        on_disk=members[0].on_disk,
        drift_since=min(drifts, default=None),
        candidate=next((each.candidate for each in members if each.candidate is not None), None),
        attempts=tuple(sorted(known.values(), key=lambda each: each.ended)),
        approvals=tuple(dict.fromkeys(word for each in members for word in each.approvals)),
        said=tuple(dict.fromkeys(word for each in members for word in each.said)),
        left_to_person=tuple(dict.fromkeys(left for each in members for left in each.left_to_person)),
        allowed_issuers=all(each.allowed_issuers for each in members),
        held=next((f"{each.subject}: {each.held}" for each in members if each.held), ""),
        contested=contested[0].contested if contested else "",
        renewed=bool(contested) and all(each.renewed for each in contested),
        unreached=any(each.unreached for each in members),
        unproven=next((each.unproven for each in members if each.unproven), ""),
        apart=max(each.apart for each in members),
        given_up=next((each.given_up for each in members if each.given_up), ""),
    )
