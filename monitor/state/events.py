"""Events: how targets changed. They travel on the bus in batches, to be recorded, exported and told to people."""

from __future__ import annotations

from enum import StrEnum

from actions.ending import Outcome
from actions.journal_state import RecordedEnding
from actions.plan import Kind
from config.immutable import immutable
from config.vocabulary import TargetKind
from probes.certificate import Certificate
from probes.finding import Finding
from probes.observation import FileIdentity
from probes.tls.support import Supported


class What(StrEnum):
    """The kind of an event, as the history and the feed call it."""

    ADDED = "added"
    REMOVED = "removed"
    PRESENTED = "presented"
    RAISED = "raised"
    CHANGED = "changed"
    CLEARED = "cleared"
    FAILED = "failed"
    RECOVERED = "recovered"
    ENDED = "ended"
    DECIDED = "decided"
    LEFT_OUT = "left_out"
    """Further changes on that day are not recorded."""


@immutable
class TargetAdded:
    """A target is watched from now on."""

    target: str
    at: float
    kind: TargetKind
    location: str
    component: str | None


@immutable
class TargetRemoved:
    """A target is watched no longer."""

    target: str
    at: float


@immutable
class PresentedChanged:
    """A target presents other certificates than before, or is seen for the first time."""

    target: str
    at: float
    before: tuple[str, ...]
    """SHA-256 of each certificate; empty where nothing was known."""
    after: tuple[Certificate, ...]


@immutable
class KeptVerdict:
    """A verdict on a file that needs not be given again as long as the file has the same identity."""

    rules: str
    """The digest of the rules by which it was given, as `monitor.state.rules.rules_of` has it."""
    since: float
    """Unix time from which on it holds."""
    until: float | None
    """Unix time before which it holds; None where time changes nothing."""
    expiry: int | None
    """Earliest end of a certificate, as `Assessment` has it."""

    def holds(self, rules: str, now: float) -> bool:
        """Whether the same would be found by these rules at Unix time `now`."""
        return self.rules == rules and self.since <= now and (self.until is None or now < self.until)


@immutable
class FileJudged:
    """A file has another identity, or its verdict holds on other terms: it comes after all that was found in it.

    After a restart the file is read again unless it has this identity, and judged again unless the verdict holds.
    """

    target: str
    at: float
    identity: FileIdentity | None
    verdict: KeptVerdict | None
    """None where it is to be judged again."""


@immutable
class SupportedChanged:
    """An endpoint was asked for everything that it takes, with the same result or another."""

    target: str
    at: float
    supported: Supported | None
    """None where nobody asks any more."""


@immutable
class FindingRaised:
    """Something is wrong that was not."""

    target: str
    at: float
    finding: Finding


@immutable
class FindingChanged:
    """Something is still wrong, with another severity or detail."""

    target: str
    at: float
    before: Finding
    finding: Finding


@immutable
class FindingCleared:
    """Something is no longer wrong."""

    target: str
    at: float
    finding: Finding
    since: float
    """Unix time at which it had been raised."""


@immutable
class LookFailed:
    """A target could not be looked at: the first time in a row, or for another reason than the time before."""

    target: str
    at: float
    reason: str
    detail: str


@immutable
class LookRecovered:
    """A target could be looked at again."""

    target: str
    at: float


CountedAction = tuple[str, Kind, Outcome]
"""Component, kind of transaction, and outcome."""
Queue = tuple[int, float | None]
"""How many of something wait, and the Unix time since when the oldest does; None where none does."""


@immutable
class ActionEnded:
    """A transaction ended, or was refused, as the actor's journal has it."""

    target: str
    ending: RecordedEnding

    @property
    def at(self) -> float:
        """Unix time of the ending."""
        return self.ending.at


@immutable
class Decided:
    """A policy made a new decision."""

    target: str
    """The subject: the name of a component, or of a target that belongs to none."""
    at: float
    policy: str
    action: str
    status: str
    """The status of the decision."""
    identity: str
    """The same decision has the same."""
    reasons: tuple[str, ...]
    """Sentences, printable."""
    waits_for: str
    """A sentence, printable; empty where it waits for nothing."""


StateEvent = (
    TargetAdded
    | TargetRemoved
    | PresentedChanged
    | SupportedChanged
    | FindingRaised
    | FindingChanged
    | FindingCleared
    | LookFailed
    | LookRecovered
    | FileJudged
    | ActionEnded
    | Decided
)
"""Every event is a change: a target that stays the same causes no write."""
