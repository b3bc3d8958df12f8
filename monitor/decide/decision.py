"""Decisions as values: the result of a policy for a situation, and its status."""

from __future__ import annotations

import hashlib
from enum import StrEnum

from actions.plan import Kind
from config.immutable import immutable
from config.policy import Action, Activate, Notify, Replace, Rollback
from monitor.decide.check import Reason


class DecisionStatus(StrEnum):
    """The status of a decision, and its present consequence."""

    ACT = "act"
    """The actor is to do it, once; the actor records an attempt whatever its result, even if it did not begin."""
    NOTIFY = "notify"
    """People are to be notified."""
    OBSERVE = "observe"
    """The mode is to observe only, so nothing is done."""
    PLAN = "plan"
    """A plan is to be made and shown."""
    AWAIT_APPROVAL = "await_approval"
    AWAIT_WINDOW = "await_window"
    AWAIT_CANDIDATE = "await_candidate"
    AWAIT_RETRY = "await_retry"
    REJECTED = "rejected"
    """An operator rejected it."""
    HELD = "held"
    """Nothing may be started on the component now, for a reason that `waits_for` gives."""
    SPENT = "spent"
    """An attempt did not help, or its candidate was at fault: another attempt would not help."""


ORDERED = frozenset({DecisionStatus.ACT, DecisionStatus.AWAIT_APPROVAL, DecisionStatus.PLAN})
"""The daemon orders these from the actor, and again at every start where the actor had not begun."""
PENDING = ORDERED | {DecisionStatus.AWAIT_WINDOW, DecisionStatus.AWAIT_RETRY}
"""Such a decision will be carried out, or waits for a person."""
PASSED_OVER = frozenset({DecisionStatus.AWAIT_CANDIDATE, DecisionStatus.SPENT, DecisionStatus.REJECTED})
"""A decision with one of these lets a policy further down act."""


@immutable
class Decision:
    """The result of one policy for one situation."""

    subject: str
    """The name of the component, or of the target."""
    policy: str
    action: Action | Notify
    status: DecisionStatus
    reasons: tuple[Reason, ...]
    case: str
    """Identifies the action and its reason. An approval is for a case, so it holds whatever the decision waits for."""
    identity: str
    """Identifies the decision. Each identity is recorded once, and carried out once."""
    what: str = ""
    """The object of the action: a candidate, the leaf on disk, or the transaction to undo."""
    waits_for: str = ""
    """A sentence, printable; empty where the decision waits for nothing."""
    until: float | None = None
    """Unix time at which time alone may change the result; None for never."""


@immutable
class DecisionMade:
    """A message: a policy came to a decision that it had not come to before."""

    decision: Decision


def kind_of(action: Action) -> Kind:
    """Return the kind of transaction that carries out `action`."""
    match action:
        case Replace():
            return Kind.REPLACE
        case Rollback():
            return Kind.ROLLBACK
        case Activate():
            return Kind.ACTIVATE


def kind_of_decision(decision: Decision) -> Kind:
    """Return the kind of transaction of a decision to act."""
    assert not isinstance(decision.action, Notify)  # noqa: S101 (a notification is never ordered)
    return kind_of(decision.action)


def action_name(action: Action | Notify) -> str:
    """Return the name of `action` in the configuration."""
    return "notify" if isinstance(action, Notify) else str(kind_of(action))


def short_hash(*parts: object) -> str:
    """Return a short hash of these parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
