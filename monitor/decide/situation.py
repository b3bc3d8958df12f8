"""What decisions rest on: everything that is known of one component, or of one target that belongs to none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from actions.ending import CANDIDATES_FAULT, Cause, Outcome
from actions.plan import Kind
from config.model import Thresholds
from config.vocabulary import Code, Mode, Severity
from probes.lifetime import leaf_thresholds

LEVELS: Final = (Severity.NOTICE, Severity.WARNING, Severity.CRITICAL)
"""As what a certificate is expiring, one after the other."""
STEPPED: Final = 60.0
"""Seconds: what is said to have happened so much later than now, happened before the clock was put back."""


@dataclass(frozen=True, slots=True)
class FindingState:
    """A finding of one of the component's targets. One that is waived is none."""

    target: str
    code: Code
    severity: Severity
    since: float
    """Unix time, as all times here."""
    subject: str = ""
    live: bool = False
    """It is of an endpoint: what clients meet, rather than what lies in a file."""


@dataclass(frozen=True, slots=True)
class Accepts:
    """What a client that validates makes of an endpoint."""

    client: str
    target: str
    accepts: bool
    since: float


@dataclass(frozen=True, slots=True)
class Validity:
    """The certificate in use: the one that ends first where there are several."""

    sha256: str
    not_before: float
    not_after: float
    """Earliest end on the verified path."""
    thresholds: Thresholds | None = None
    """None means the default ones."""

    @property
    def lifetime(self) -> float:
        """Seconds from begin to end."""
        return max(0.0, self.not_after - self.not_before)

    def reaches(self, severity: Severity) -> float:
        """Return when it comes to be expiring at that level."""
        thresholds = self.thresholds or leaf_thresholds(self.lifetime)
        levels = {
            Severity.NOTICE: thresholds.notice,
            Severity.WARNING: thresholds.warning,
            Severity.CRITICAL: thresholds.critical,
        }
        return self.not_after - levels[severity].seconds_left(self.lifetime)


@dataclass(frozen=True, slots=True)
class KnownCandidate:
    """What lies in the component's inbox."""

    identity: str
    """The same for the same content."""
    since: float
    quarantined: str = ""
    """Why it is in quarantine; empty where it is not."""
    not_after: float | None = None


class Result(StrEnum):
    """How an attempt ended, as far as further ones depend on it."""

    COMMITTED = "committed"
    FAILED_FORWARD = "failed_forward"
    """It is in use, though not for the good of everybody."""
    SUPERSEDED = "superseded"
    """Somebody else's set is in use, which came meanwhile."""
    TRANSIENT = "transient"
    """It failed for a reason that may pass."""
    CANDIDATE = "candidate"
    """The candidate, or what is on disk, is at fault: trying it again would only repeat what happened."""


def result_of(outcome: Outcome, cause: Cause) -> Result:
    """Return what the ending of a transaction means for further attempts."""
    if outcome is Outcome.COMMITTED:
        return Result.COMMITTED
    if outcome is Outcome.FAILED_FORWARD:
        return Result.FAILED_FORWARD
    if outcome is Outcome.SUPERSEDED:
        return Result.SUPERSEDED
    return Result.CANDIDATE if cause in CANDIDATES_FAULT | {Cause.QUARANTINED} else Result.TRANSIENT


@dataclass(frozen=True, slots=True)
class Attempt:
    """A transaction that ended, or a plan that was refused (which is transient: nothing was touched)."""

    kind: Kind
    what: str
    """What was installed, by `Decision.what`: a candidate, the certificate on disk, or the transaction undone."""
    began: float
    ended: float
    result: Result
    transaction: str = ""
    leaf: str = ""
    """SHA-256 of the leaf that was installed; empty where that is not known."""
    accepted: frozenset[tuple[str, str]] = frozenset()
    """Each client and the endpoint that it accepted once the transaction was committed."""
    undoable: bool = True
    """It is the last thing done to every component that it changed as one."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What an operator said of a case."""

    case: str
    """Of the decision."""
    approved: bool
    until: float
    by: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said of doing that to the component, whatever policy calls for it."""

    kind: Kind
    what: str
    """As `Decision.what`."""
    approved: bool
    until: float
    """Unix time until which it holds."""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything known that a decision may rest on; the same situation is the same value."""

    subject: str
    """The name of the component, or of the target."""
    mode: Mode | None = None
    """How far to go where a policy does not say; None where nothing can be done to it at all, as to a mere target."""
    targets: tuple[str, ...] = ()
    is_component: bool = False
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    profile: str | None = None
    findings: tuple[FindingState, ...] = ()
    edges: tuple[Accepts, ...] = ()
    certificate: Validity | None = None
    on_disk: str = ""
    """SHA-256 of the leaf on disk; empty where none is known."""
    drift_since: float | None = None
    """Since when another leaf than that is served; None where it is served."""
    candidate: KnownCandidate | None = None
    attempts: tuple[Attempt, ...] = ()
    """In the order in which they ended."""
    approvals: tuple[Approval, ...] = ()
    said: tuple[Said, ...] = ()
    allowed_issuers: bool = False
    """Whether the component says whose certificates may be installed."""
    held: str = ""
    """Why nothing may be started, such as that the component is frozen or the clock suspect; empty where it may."""
    contested: str = ""
    """How somebody else undoes what is done to it; empty where nobody does."""
    renewed: bool = False
    """A candidate came after that."""
    unreached: bool = False
    """Not every endpoint was seen, so that what was not found there may be there."""
    unproven: str = ""
    """Why nothing that is worse since a replacement is evidence against it; empty where it may be."""
    apart: float = 0.0
    """Seconds for which what is worse must have been seen to be evidence."""
    given_up: str = ""
    """Why the private key with which it would be done may not be used again; empty where it may."""

    def word(self, kind: Kind, what: str, now: float) -> Said | None:
        """Return what a person said last of doing that, as far as it holds at Unix time `now`; None where nothing."""
        found = [each for each in self.said if (each.kind, each.what) == (kind, what) and now < each.until]
        return found[-1] if found else None
