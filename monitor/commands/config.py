"""`certvigil config check|schema|show`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable

from config.document import Mistake
from config.load import Marked, examine, load, load_marked
from config.model import Config
from config.schema.root import json_schema
from config.show import show_marked as render
from config.text import harmless
from monitor.commands import here
from monitor.commands.complain import complain


def check(path: str) -> int:
    """Print each mistake in the configuration at `path`, and contradictions to this host; return 1 for a mistake.

    The host is looked at with what is sound, so that one mistake does not hide the others.
    """
    here.about(path)
    found = examine(path, os.environ)
    warnings: list[Mistake] = []
    mistakes = list(found.mistakes)
    if found.sound is not None:
        from monitor.host.outside import doubts  # noqa: PLC0415 (parses certificates, which other commands need not)

        config, document = found.sound
        known = {(each.file, each.line, each.key) for each in mistakes}
        for doubt in doubts(config, document):
            mistake = document.mistake(doubt.path, doubt.problem)
            if (mistake.file, mistake.line, mistake.key) not in known:
                (mistakes if doubt.is_hopeless else warnings).append(mistake)
    for warning in sorted(warnings, key=_place):
        complain("warning: {}", harmless(str(warning)))
    if mistakes or found.sound is None:
        return _print(mistakes)
    config = found.sound.config
    files, endpoints = len(config.watches) + len(config.files), len(config.endpoints)
    more = f", warnings: {len(warnings)}" if warnings else ""
    sys.stdout.write(f"{path}: ok, {files} files and patterns, {endpoints} endpoints{more}\n")
    return 0


def schema() -> int:
    """Print the JSON Schema."""
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
    return 0


def show(path: str) -> int:
    """Print the effective configuration, and where each value of a component comes from."""
    found = load_marked(path, os.environ, secrets=False)
    if not isinstance(found, Marked):
        return _print(found)
    sys.stdout.write(render(*found))
    return 0


def loaded(path: str, *, secrets: bool = False) -> Config | None:
    """Return the configuration at `path`; where it has mistakes, print them all and return None.

    Only who delivers messages needs the `secrets`, and the right to read them.
    """
    here.about(path)
    config = load(path, os.environ, secrets=secrets)
    if isinstance(config, Config):
        here.about_config(config)
        return config
    _print(config)
    return None


def _place(mistake: Mistake) -> tuple[str, int]:
    return mistake.file, mistake.line


def _print(mistakes: Iterable[Mistake]) -> int:
    for mistake in sorted(mistakes, key=_place):
        complain("{}", harmless(str(mistake)))
    return 1
