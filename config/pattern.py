"""Patterns that stand for several names."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of `patterns` is `name`, or stands for it with `*`, `?` and `[...]`.

    A name stands for itself whatever is in it: `[::1]:443` is an address.
    """
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)
