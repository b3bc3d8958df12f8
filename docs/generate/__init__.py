"""Pages that are made from the code: the command line, the configuration reference, the metrics, the findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from docs.generate import commands, configuration, findings, metrics

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "commands.md": commands.page,
    "configuration.md": configuration.page,
    "findings.md": findings.page,
    "metrics.md": metrics.page,
}
"""The generator of each page, by its file name in `docs/`."""
