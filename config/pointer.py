"""JSON pointers (RFC 6901): places in a document of YAML or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MOST_STEPS: Final = 32
LONGEST: Final = 1_000
ANY: Final = "*"
"""In a pattern: any key, any index. RFC 6901 knows no patterns."""

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)+")


def is_pointer(text: str) -> bool:
    """Whether `text` is a JSON pointer to something inside of a document."""
    return len(text) <= LONGEST and text.count("/") <= MOST_STEPS and _POINTER.fullmatch(text) is not None


def steps(pointer: str) -> tuple[str, ...]:
    """Return the keys and indices on the way that a pointer says."""
    return tuple(each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")[1:])


def written(place: Iterable[str]) -> str:
    """Return the pointer to a place."""
    return "".join(f"/{each.replace('~', '~0').replace('/', '~1')}" for each in place)
