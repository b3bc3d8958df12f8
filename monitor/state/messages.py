"""Messages: news from one part of the daemon to others, at once and without a record.

An event (`monitor.state.events`) says how a target changed, and is recorded. A message is counted, or says that
something is due.
"""

from __future__ import annotations

from config.immutable import immutable
from config.vocabulary import LookOutcome, TargetKind


@immutable
class Looked:
    """A look ended."""

    target: str
    kind: TargetKind
    outcome: LookOutcome
    seconds: float
    """Duration of the look."""
    lag: float
    """Seconds by which it started later than it was due."""


@immutable
class ClockStepped:
    """The wall clock was put forward or back, or has stood for long enough since: verdicts by it are void."""


@immutable
class ArtefactsChanged:
    """The files of a component hold something else than before, so its endpoints may serve something else."""

    component: str


@immutable
class ReadingDue:
    """The actor is to be asked again for the files of a component, which it did not read when it was asked last."""

    component: str


@immutable
class ServiceTouched:
    """The files of a component, or its service, may have been changed: by a transaction, or by somebody unseen."""

    component: str


@immutable
class TrustFilesChanged:
    """A file of a trust store or of a client may have been changed."""


@immutable
class JournalNews:
    """The actor recorded something by which it may answer differently."""

    components: frozenset[str] | None = None
    """About which it may; None for all."""


@immutable
class CandidateConsidered:
    """The actor was asked about the inbox of a group or a component."""

    subject: str


@immutable
class DecisionInputsChanged:
    """Decisions about components may come out differently, for a reason that no event tells."""

    components: frozenset[str] | None = None
    """About which they may; None for all."""


@immutable
class ComponentsChanged:
    """The status of components that certvigil may change may be another."""


@immutable
class DatabaseHealthChanged:
    """The database can be used again, or no longer."""

    problem: str = ""
    """Why it cannot be used, a sentence; empty where it can."""
