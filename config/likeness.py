"""The names that may be meant by one that is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from config.text import Printable, listed, printable, sentence


def perhaps(word: str, known: Collection[str]) -> Printable:
    """Return the end of a sentence that proposes the nearest names: alike, or with the word in them."""
    alike = difflib.get_close_matches(word, known, 3, 0.6)
    inside = sorted((name for name in known if word.strip("*") and word.strip("*").lower() in name.lower()), key=len)
    near = list(dict.fromkeys((*alike[:1], *inside[:2], *alike)))[:3]
    if near:
        return sentence("; did you mean {}?", listed((sentence("'{}'", printable(each, 200)) for each in near), " or "))
    shown = listed(printable(each, 100) for each in sorted(known)[:5])
    if len(known) > 5:
        return sentence("; there are {} and {} more", shown, len(known) - 5)
    return sentence("; there are {}", shown) if shown else Printable("")
