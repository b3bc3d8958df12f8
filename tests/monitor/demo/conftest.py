"""Fixtures for demonstrations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def directory() -> Iterator[Path]:
    """Give a short one, since the path of a socket may have 107 characters only."""
    with tempfile.TemporaryDirectory(prefix="cv-") as path:
        yield Path(path)
