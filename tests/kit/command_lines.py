"""Whether certvigil takes a command line; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import typer.main

from monitor.commands import app

_TOP_LEVEL: Final = frozenset({"--help", "-h", "--version"})


@lru_cache
def _all_commands() -> Any:
    return typer.main.get_command(app)


def refusal(words: Sequence[str]) -> Exception | None:
    """Return why certvigil does not take these arguments; None where it does."""
    command = _all_commands()
    rest = list(words)
    if rest and rest[0] in _TOP_LEVEL:
        return None
    while hasattr(command, "commands"):
        if not rest:
            return None
        called = rest.pop(0)
        if called not in command.commands:
            return LookupError(f"there is no command {called!r}")
        command = command.commands[called]
    try:
        command.make_context(command.name, rest)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return error
    return None


def why(error: Exception | None) -> str:
    """Return what is wrong, a sentence; empty where nothing is."""
    if error is None:
        return ""
    return str(error.format_message()) if hasattr(error, "format_message") else str(error)
