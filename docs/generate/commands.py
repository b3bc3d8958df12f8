"""The page of the command line, made from the help of each command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import typer

from docs.generate.markdown import code, table
from docs.generate.markdown import page as whole_page
from monitor.commands import app

INTRODUCTION: Final = """Each command prints its section of this page with `--help`.

Commands read the configuration at `/etc/certvigil`, unless `--config` names another. Commands that ask the daemon find
it at `/run/certvigil/certvigil.sock`, unless `--socket` or the variable `CERTVIGIL_SOCKET` names another. An unknown
name is an error which suggests the nearest known name.

**Exit codes.** `check` and `status` exit as monitoring plugins do:

| code | `check` and `status` | commands that change a component |
|---|---|---|
| 0 | ok | committed, or nothing to do |
| 1 | warning | refused: no file was touched |
| 2 | critical | rolled back, superseded, or kept on the new files although a check failed |
| 3 | unknown, or a wrong command line | frozen, or a wrong command line |
| 4 | | the request makes no sense, or the state cannot be used |

**Output.** On a terminal, tables are drawn. In a pipe a table is one line of column names and one line for each row,
separated by tabs. `--json` prints JSON. Progress and remarks go to standard error. A reader that stops early, such as
`head`, changes no exit code."""


_VALUES: Final = {"<str>": "TEXT", "<int range>": "NUMBER", "<float range>": "NUMBER", "<float>": "NUMBER"}


def page() -> str:
    """Return the page."""
    return whole_page("Command line", INTRODUCTION, _lines())


def _lines() -> Iterator[str]:
    for names, command in leaves(typer.main.get_command(app), ()):
        yield f"## certvigil {' '.join(names)}"
        yield ""
        yield from _command(names, command)
        yield ""


def leaves(command: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command that does something, with its names, in the order of the help."""
    children = getattr(command, "commands", None)
    if children is None:
        yield names, command
        return
    for name in command.list_commands(None):
        yield from leaves(children[name], (*names, name))


def _command(names: tuple[str, ...], command: Any) -> Iterator[str]:
    context = command.make_context(" ".join(("certvigil", *names)), [], resilient_parsing=True)
    yield "```text"
    yield " ".join((context.command_path, *command.collect_usage_pieces(context)))
    yield "```"
    yield ""
    yield from (line.strip() for line in (command.help or "").strip().splitlines())
    yield ""
    rows = [
        row
        for parameter in command.get_params(context)
        if parameter.name != "help" and (row := _row(parameter, context)) is not None
    ]
    if rows:
        yield from table(("argument or option", "meaning", "default"), rows)


def _row(parameter: Any, context: Any) -> tuple[str, str, str] | None:
    record = parameter.get_help_record(context)
    if parameter.param_type_name == "argument":
        return code(parameter.make_metavar(context)), parameter.help or "", _default(parameter)
    if record is None:
        return None
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    metavar = "" if parameter.is_flag else f" {_VALUES.get(written := parameter.make_metavar(context), written)}"
    return code(f"{names}{metavar}"), parameter.help or "", _default(parameter)


def _default(parameter: Any) -> str:
    default = parameter.default
    if parameter.required:
        return "" if parameter.param_type_name == "argument" else "required"
    if default is None or default in ("", [], False) or callable(default):
        return ""
    if default is True:
        return code(parameter.opts[0])
    return code(str(getattr(default, "value", default)))
