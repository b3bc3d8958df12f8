"""Choosing by name: what is meant by a name or a pattern, and which name was perhaps meant by one that is unknown."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from config.likeness import perhaps
from config.pattern import is_one_of
from config.text import Printable, printable, sentence


def unknown(wanted: Iterable[str], known: Collection[str], what: Printable) -> Printable | None:
    """Return a sentence about the first of `wanted` that neither is one of `known` nor stands for any of them.

    None where there is no such name; `what` is what they are called, such as `target`.
    """
    for each in wanted:
        if not any(is_one_of(name, [each]) for name in known):
            return sentence("there is no {} '{}'{}", what, printable(each, 200), perhaps(each, known))
    return None
