"""A command builds its own options alone; it is the command that it is among all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from monitor.commands import app
from monitor.commands.narrow import narrowed


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, each in group.commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, (*before, name))
        else:
            yield (*before, name), each


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_command_is_built_alone_and_as_among_the_others(words: tuple[str, ...]) -> None:
    ((found, command),) = commands(typer.main.get_command(narrowed(app, [*words, "--help"])))
    assert found == words
    assert (command.help, command.context_settings) == (ALL[words].help, ALL[words].context_settings)
    assert [_shown(each) for each in command.params] == [_shown(each) for each in ALL[words].params]


@pytest.mark.parametrize("words", [[], ["--help"], ["--version"], ["chekc"], ["check.", "check"], ["--", "check"]])
def test_words_that_begin_with_no_command_have_all(words: list[str]) -> None:
    assert dict(commands(typer.main.get_command(narrowed(app, words)))).keys() == ALL.keys()


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_help_has_the_lines_that_it_has_of_commands_with_their_options(words: list[str]) -> None:
    helps = [each.get_help(each.make_context("certvigil", [], resilient_parsing=True)) for each in _both(words)]
    assert helps[0] == helps[1]


@pytest.mark.parametrize("words", [["notify"], ["notify", "--help"], ["notify", "chekc"]])
def test_a_group_without_a_command_of_its_own_has_all_of_them_and_no_other(words: list[str]) -> None:
    found = dict(commands(typer.main.get_command(narrowed(app, words)))).keys()
    assert found == {each for each in ALL if each[0] == "notify"}


def test_what_was_narrowed_before_changes_nothing_for_the_next() -> None:
    narrowed(app, ["notify", "drop"])
    assert dict(commands(typer.main.get_command(app))).keys() == ALL.keys()


def _both(words: list[str]) -> tuple[Any, Any]:
    return typer.main.get_command(narrowed(app, words)), typer.main.get_command(app)


def _shown(parameter: Any) -> dict[str, Any]:
    return {
        name: each if isinstance(each, (str, int, float, list)) else type(each)
        for name, each in vars(parameter).items()
    }
