"""Spans of time in words, the same on pages and on screens. Pure."""

from __future__ import annotations

from typing import Final

from config.text import Printable, sentence

_UNITS: Final = ((86_400, Printable("days")), (3600, Printable("hours")), (60, Printable("minutes")))


def span(seconds: float) -> Printable:
    """Return a span of time in the largest unit of which it has two; a part of a unit is left out."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return sentence("{:.0f} {}", int(seconds // size), unit)
    return sentence("{:.0f} seconds", int(seconds))


def left(seconds: float) -> Printable:
    """Return how long it is until an end, or how long ago that was."""
    return sentence("ended {} ago", span(-seconds)) if seconds < 0 else sentence("{} left", span(seconds))
