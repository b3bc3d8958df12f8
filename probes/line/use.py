"""Whether a chain is in use, by the configuration files that name it; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from config.model import FileTarget
from config.vocabulary import LineState, UnreadableReason
from probes.observation import FileObservation

Observations = Mapping[str, FileObservation]
"""By target."""


def is_missing(seen: FileObservation) -> bool:
    """Whether there is no such file."""
    return seen.absent or (seen.failure is not None and seen.failure.reason is UnreadableReason.NOT_FOUND)


def is_chain_used(targets: Sequence[FileTarget], observations: Observations) -> bool:
    """Whether the server reads the chain of a component: no configuration file that should name it is without it.

    A file that could not be read, or is not understood, says nothing against it.
    """
    readings = (observations[each.name].line for each in targets if each.line is not None)
    return not any(each is not None and each.state in {LineState.ABSENT, LineState.OTHER} for each in readings)


def may_chain_be_missing(targets: Sequence[FileTarget], observations: Observations) -> bool:
    """Whether a component is in order without its chain: there are files that would name it, and none does."""
    lines = [each for each in targets if each.line is not None]
    named = (observations[each.name].line for each in lines)
    return bool(lines) and not any(each is not None and each.state is LineState.PRESENT for each in named)
