"""Choosing by name: the things that a name or a pattern stands for, and proposals for an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from config.pattern import is_one_of
from config.text import Printable, listed, printable, sentence


def unknown(wanted: Iterable[str], known: Collection[str], what: Printable) -> Printable | None:
    """Return a sentence about the first name or pattern in `wanted` that fits no name in `known`; None if all fit.

    `what` is the noun for them, such as `target`.
    """
    for each in wanted:
        if not any(is_one_of(name, [each]) for name in known):
            return sentence("there is no {} '{}'{}", what, printable(each, 200), _perhaps(each, known))
    return None


def _perhaps(word: str, known: Collection[str]) -> Printable:
    """Return the end of a sentence with the nearest names: similar names, and names that contain the word."""
    alike = difflib.get_close_matches(word, known, 3, 0.6)
    inside = sorted((name for name in known if word.strip("*") and word.strip("*").lower() in name.lower()), key=len)
    near = list(dict.fromkeys((*alike[:1], *inside[:2], *alike)))[:3]
    if near:
        return sentence("; did you mean {}?", listed((sentence("'{}'", printable(each, 200)) for each in near), " or "))
    shown = listed(printable(each, 100) for each in sorted(known)[:5])
    if len(known) > 5:
        return sentence("; there are {} and {} more", shown, len(known) - 5)
    return sentence("; there are {}", shown) if shown else Printable("")
