"""Pages that are made from the code: command line, configuration reference, metrics, findings, runbooks, profiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from docs.generate import commands, configuration, findings, guide, metrics, profiles

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "commands.md": commands.page,
    "configuration.md": configuration.page,
    "findings.md": findings.page,
    "guide.md": guide.page,
    "metrics.md": metrics.page,
    "profiles.md": profiles.page,
}
"""The generator of each page, by its file name in `docs/`."""
