"""Plain values as JSON gives them, of which each is what it should be: one of another kind raises TypeError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def text(value: object) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def whole(value: object) -> int:
    """Return a whole number; true and false are none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected a whole number")
    return value


def items(value: object) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def texts(value: object) -> tuple[str, ...]:
    """Return a list of texts."""
    return tuple(map(text, items(value)))


def members(value: object) -> Mapping[str, Any]:
    """Return an object."""
    if not isinstance(value, dict):
        raise TypeError("expected an object")
    return value
