"""Open problems as a person finds them who looks: whether or not a channel was told of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from config.immutable import immutable
from config.vocabulary import Severity
from monitor.notify.lifecycle import Acknowledgement
from monitor.notify.problem import Member
from monitor.notify.text import ProblemText


class Quiet(StrEnum):
    """Why nobody is told of an open problem at the moment."""

    NOT = "told"
    """Its channels are told of it."""
    SILENCED = "silenced"
    UNDER_TRANSACTION = "under_transaction"
    """A transaction on its component is under way, or has just ended."""
    NO_CHANNEL = "no_channel"
    """No channel is for it."""


@immutable
class OpenProblem:
    """A problem with findings at this moment."""

    id: str
    """Its short name, the same in every message."""
    severity: Severity
    headline: str
    members: tuple[Member, ...]
    """The worst first."""
    text: ProblemText
    told: Mapping[str, float]
    """By channel: the Unix time at which it was last told."""
    quiet: Quiet
    acknowledged: Acknowledgement | None
