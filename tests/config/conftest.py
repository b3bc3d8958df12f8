"""Fixtures for configuration files."""

from __future__ import annotations

from tests.kit.configuration import loaded, write

__all__ = ["loaded", "write"]
