"""The cure of a finding in words: the cure that the finding names itself, else the cure in the catalogue."""

from __future__ import annotations

from typing import Final

from config.catalogue import CATALOGUE, NAMED_CURE
from config.command_reach import completed
from config.text import Printable, harmless, sentence
from config.vocabulary import Code, UnreadableReason

BUSY: Final = CATALOGUE[Code.UNREADABLE].cure_for(UnreadableReason.READER_BUSY)
"""The cure where an actor runs and has not read the files that it was asked to read."""
_NAMED: Final = harmless(NAMED_CURE)


def cure(code: Code, detail: str = "") -> str:
    """Return the cure of a finding with that code and detail, a phrase without a full stop.

    A cure that the detail names itself comes first.
    """
    if _NAMED in detail:
        return detail.rpartition(_NAMED)[2]
    return completed(CATALOGUE[code].cure_for(detail.partition(":")[0]))


def names_cure(detail: str) -> bool:
    """Whether a finding names its cure itself."""
    return _NAMED in detail


def curable(detail: Printable, by: Printable) -> Printable:
    """Return the detail of a finding with the cure that the finding names itself."""
    return sentence("{}{}{}", detail, _NAMED, by)


def without_cure(detail: str) -> str:
    """Return the detail of a finding without the cure that it may name itself."""
    return detail.rpartition(_NAMED)[0] if _NAMED in detail else detail
