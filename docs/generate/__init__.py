"""Pages that are made from the code: command line, configuration reference, metrics, findings, runbooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from docs.generate import commands, configuration, findings, guide, metrics

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "commands.md": commands.page,
    "configuration.md": configuration.page,
    "findings.md": findings.page,
    "guide.md": guide.page,
    "metrics.md": metrics.page,
}
"""The generator of each page, by its file name in `docs/`."""
