"""The command line without the commands that are not called, whose options take long to build."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from inspect import getdoc
from typing import Final

import typer
from typer.main import get_command_name
from typer.models import CommandInfo

_HELP: Final = frozenset({"", "--help", "-h"})


def narrowed(app: typer.Typer, words: Sequence[str]) -> typer.Typer:
    """Return `app` with the one command or group that `words` begin with; all of it where they begin with none.

    Where the help is asked for, which has a line for each command, no command has options.
    """
    name = next(iter(words), "")
    if name in _HELP:
        return _without_options(app)
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


def _without_options(app: typer.Typer) -> typer.Typer:
    bare = copy(app)
    bare.registered_commands = [_bare(each) for each in app.registered_commands]
    bare.registered_groups = [copy(each) for each in app.registered_groups]
    for each in bare.registered_groups:
        if each.typer_instance is not None:
            each.typer_instance = _without_options(each.typer_instance)
    return bare


def _bare(command: CommandInfo) -> CommandInfo:
    bare = copy(command)
    bare.name, bare.help = _name(command), command.help or getdoc(command.callback)
    bare.callback = _nothing
    return bare


def _nothing() -> None:
    pass


def _name(command: CommandInfo) -> str:
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))
