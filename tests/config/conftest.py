"""Configuration files as an administrator would leave them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from config.load import load
from config.model import Config

Write = Callable[..., str]
Loaded = Callable[..., Config]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration file that only its owner can change; return its path."""
    tmp_path.chmod(0o755)

    def write(text: str, name: str = "certvigil.yaml") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        path.chmod(0o644)
        return str(path)

    return write


@pytest.fixture
def loaded(write: Write) -> Loaded:
    """Load a document that must be without mistakes."""

    def loaded(text: str, **environ: str) -> Config:
        config = load(write(text), environ)
        assert isinstance(config, Config), "\n".join(map(str, config))
        return config

    return loaded
