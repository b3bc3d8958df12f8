"""The outlook of a subject in words: the actions that certvigil will take by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from actions.plan import Kind
from config.policy import Notify
from config.text import printable
from monitor.decide.decision import Decision, DecisionStatus, kind_of
from monitor.notify.mute import ABOUT_TO


def outlook(decisions: Iterable[Decision]) -> str:
    """Return the consequences of the decisions on a subject, a sentence; empty where nothing happens by itself."""
    return "; ".join(filter(None, map(_follows, decisions)))


def _follows(decision: Decision) -> str:
    if isinstance(decision.action, Notify):
        return ""
    what = f"{_DOES[kind_of(decision.action)].format(printable(decision.subject))}, by policy {decision.policy}"
    match decision.status:
        case DecisionStatus.ACT:
            return f"{ABOUT_TO} {what}"
        case (
            DecisionStatus.AWAIT_APPROVAL
            | DecisionStatus.AWAIT_WINDOW
            | DecisionStatus.AWAIT_CANDIDATE
            | DecisionStatus.AWAIT_RETRY
        ):
            return f"certvigil will {what}; that waits for {decision.waits_for}"
        case DecisionStatus.HELD:
            return f"certvigil would {what}, but must not now: {decision.waits_for}"
        case _:
            return ""


_DOES: Final = {
    Kind.REPLACE: "replace the certificate of {}",
    Kind.ROLLBACK: "put back the former files of {}",
    Kind.ACTIVATE: "have {} load its files from disk",
    Kind.TRUST: "change the trust store {}",
}
