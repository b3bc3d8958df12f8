"""The version of certvigil."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version


@cache
def own_version() -> str:
    """Return the version that is installed, read once: its metadata take 8 ms."""
    return version("certvigil")
