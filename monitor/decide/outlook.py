"""What will happen by itself, said to a person."""

from __future__ import annotations

from collections.abc import Iterable

from config.policy import Notify
from monitor.decide.decision import Decision, Standing, action_name


def outlook(decisions: Iterable[Decision]) -> str:
    """Return what follows from what stands about a subject, a sentence; empty where nothing happens by itself."""
    return "; ".join(filter(None, map(_follows, decisions)))


def _follows(decision: Decision) -> str:
    if isinstance(decision.action, Notify):
        return ""
    what = f"{action_name(decision.action)} by policy {decision.policy}"
    match decision.standing:
        case Standing.ACT:
            return f"{what}, now"
        case (
            Standing.AWAIT_APPROVAL
            | Standing.AWAIT_WINDOW
            | Standing.AWAIT_CANDIDATE
            | Standing.AWAIT_RETRY
            | Standing.HELD
        ):
            return f"{what}, which waits for {decision.waits_for}"
        case _:
            return ""
