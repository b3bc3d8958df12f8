"""Long work in parts, between which others have their turn on the event loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batched(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Yield the items as they are now in tuples of `size`; a change of the collection meanwhile changes nothing."""
    rest = tuple(items)
    for start in range(0, len(rest), size):
        yield rest[start : start + size]
