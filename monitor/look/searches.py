"""Where to search again: the watched trees take turns, and a search of a directory covers all below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Tree:
    queued: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Monotonic times of the first and of the last notice, by place."""
    searched: dict[str, float] = field(default_factory=dict)
    """Monotonic times at which a search began, by place; of those since the queue was empty."""


class Searches:
    """Places to search, one at a time: a tree with many changes does not keep other trees waiting for long."""

    def __init__(self) -> None:
        self._trees: dict[str, _Tree] = {}
        """By the path of the tree; the first has the next turn."""

    def __bool__(self) -> bool:
        return bool(self._trees)

    def add(self, tree: str, place: str, since: float) -> None:
        """Have `place` in `tree` searched, because of a notice at monotonic time `since`."""
        queued = self._trees.setdefault(tree, _Tree()).queued
        first, last = queued.get(place, (since, since))
        queued[place] = (min(first, since), max(last, since))

    def take(self, now: float) -> tuple[str, float] | None:
        """Return the next place to search, at monotonic time `now`, and its first notice; None without any."""
        while self._trees:
            name = next(iter(self._trees))
            tree = self._trees.pop(name)
            found = _take(tree, now)
            if tree.queued:
                self._trees[name] = tree
            if found is not None:
                return found
        return None


def _take(tree: _Tree, now: float) -> tuple[str, float] | None:
    place = next(iter(tree.queued))
    first, last = tree.queued.pop(place)
    for above in ways_up(place):
        if tree.searched.get(above, float("-inf")) >= last:
            return None
        if above in tree.queued:
            place, first = above, min(first, tree.queued[above][0])
    tree.queued.pop(place, None)
    tree.searched[place] = now
    return place, first


def ways_up(path: str) -> Iterator[str]:
    """Yield each directory above an absolute path, the nearest first."""
    while path != os.sep and path:
        path = os.path.dirname(path)
        yield path
