"""Fixtures for transactions."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def room() -> Iterator[Path]:
    """Return a new directory, in memory where that can be: a kill, unlike a power cut, forgets nothing."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    directory = tempfile.mkdtemp(prefix="certvigil-test-", dir=parent)
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory)
