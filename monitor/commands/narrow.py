"""The command line without the commands that are not called, whose options take long to build."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import typer
from typer.main import get_command_name
from typer.models import CommandInfo


def narrowed(app: typer.Typer, words: Sequence[str]) -> typer.Typer:
    """Return `app` with the one command or group that `words` begin with; all of it where they begin with none."""
    name = next(iter(words), "")
    commands = [each for each in app.registered_commands if _name(each) == name]
    groups = [each for each in app.registered_groups if each.name == name]
    if not commands and not groups:
        return app
    found = copy(app)
    found.registered_commands = commands
    found.registered_groups = [copy(each) for each in groups]
    for each in found.registered_groups:
        if each.typer_instance is not None:
            each.typer_instance = narrowed(each.typer_instance, words[1:])
    return found


def _name(command: CommandInfo) -> str:
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))
