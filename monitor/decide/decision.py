"""What a decision says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from actions.plan import Kind
from config.policy import Action, Activate, Notify, Replace, Rollback
from monitor.decide.check import Reason


class DecisionStatus(StrEnum):
    """What follows from a decision now."""

    ACT = "act"
    """It is to be done, once: whoever is to do it notes an attempt whatever comes of it, even if it was not begun."""
    NOTIFY = "notify"
    """People are to be told."""
    OBSERVE = "observe"
    """It would be done, if certvigil was to do more than observe."""
    PLAN = "plan"
    """A plan is to be made and shown."""
    AWAIT_APPROVAL = "await_approval"
    AWAIT_WINDOW = "await_window"
    AWAIT_CANDIDATE = "await_candidate"
    AWAIT_RETRY = "await_retry"
    REJECTED = "rejected"
    """An operator said no."""
    HELD = "held"
    """Nothing may be started there, for a reason of its own."""
    SPENT = "spent"
    """It was done and did not help, or what it acts with was at fault: doing it again would not help."""


ORDERED = frozenset({DecisionStatus.ACT, DecisionStatus.AWAIT_APPROVAL, DecisionStatus.PLAN})
"""What the actor is asked for, again at every start where it had not begun."""
PENDING = ORDERED | {DecisionStatus.AWAIT_WINDOW, DecisionStatus.AWAIT_RETRY}
"""What will be done, or waits for a person."""
PASSED_OVER = frozenset({DecisionStatus.AWAIT_CANDIDATE, DecisionStatus.SPENT, DecisionStatus.REJECTED})
"""What a policy further down may still act in spite of."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy makes of a situation."""

    subject: str
    """The name of the component, or of the target."""
    policy: str
    action: Action | Notify
    status: DecisionStatus
    reasons: tuple[Reason, ...]
    case: str
    """Identifies what is to be done about what: an approval is given to it, whatever it then waits for."""
    identity: str
    """Identifies the decision: the same again is the same decision, which is recorded, and carried out, once."""
    what: str = ""
    """What it acts with: a candidate, the leaf on disk, the transaction to be undone."""
    waits_for: str = ""
    """A sentence, printable; empty where it waits for nothing."""
    until: float | None = None
    """Unix time at which it may come out otherwise though nothing else changes; None for never."""


@dataclass(frozen=True, slots=True)
class DecisionMade:
    """A message: a policy came to a decision that it had not come to before."""

    decision: Decision


def kind_of(action: Action) -> Kind:
    """Return the kind of transaction that `action` is."""
    match action:
        case Replace():
            return Kind.REPLACE
        case Rollback():
            return Kind.ROLLBACK
        case Activate():
            return Kind.ACTIVATE


def kind_of_decision(decision: Decision) -> Kind:
    """Return the kind of transaction that a decision to act is about."""
    assert not isinstance(decision.action, Notify)  # noqa: S101 (what tells people is never ordered)
    return kind_of(decision.action)


def action_name(action: Action | Notify) -> str:
    """Return how the configuration calls `action`."""
    return "notify" if isinstance(action, Notify) else str(kind_of(action))


def digest(*parts: object) -> str:
    """Return what identifies these parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
