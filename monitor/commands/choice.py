"""Choosing by name: the things that a name or a pattern stands for, and proposals for an unknown name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from config.likeness import perhaps
from config.pattern import is_one_of
from config.text import Printable, printable, sentence


def unknown(wanted: Iterable[str], known: Collection[str], what: Printable) -> Printable | None:
    """Return a sentence about the first name or pattern in `wanted` that fits no name in `known`; None if all fit.

    `what` is the noun for them, such as `target`.
    """
    for each in wanted:
        if not any(is_one_of(name, [each]) for name in known):
            return sentence("there is no {} '{}'{}", what, printable(each, 200), perhaps(each, known))
    return None


def with_members(wanted: Iterable[str], groups: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Return names and patterns with the members of each group that they fit; `groups` are the members by group."""
    wanted = tuple(wanted)
    members = (each for group, those in groups.items() if is_one_of(group, wanted) for each in those)
    return tuple(dict.fromkeys((*wanted, *members)))
