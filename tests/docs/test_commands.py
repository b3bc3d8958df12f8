"""Each command line in the documents is one that certvigil takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.kit.command_lines import refusal, why
from tests.kit.documents import DOCUMENTS, Text, blocks, inline, name

_PROMPT: Final = re.compile(r"^\s*[$#] +")
_STEP: Final = re.compile(r"&&|\|\||[;|]")
_REDIRECTION: Final = re.compile(r"\s\d?>.*")
_IN_SHORT: Final = frozenset({"MissingParameter", "BadOptionUsage"})
"""How a command fails that the text only names."""


def in_blocks(document: Path) -> Iterator[Text]:
    """Yield each command line of `certvigil` in the code blocks, without what surrounds it."""
    for block in blocks(document):
        if block.language in {"yaml", "promql", "{toctree}", "{include}"}:
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            # What a terminal shows is a command only behind a prompt.
            if block.language in {"text", "console"} and not _PROMPT.match(line):
                continue
            for step in _STEP.split(_PROMPT.sub("", line)):
                words = _REDIRECTION.sub("", step).strip().removeprefix("exec ")
                if words.startswith("certvigil "):
                    yield Text(block.where, words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_each_command_line_in_a_code_block_is_taken(document: Path) -> None:
    wrong = [
        f"{line.where}: {line.text}: {refused}"
        for line in in_blocks(document)
        if (refused := why(refusal(shlex.split(line.text, comments=True)[1:])))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_each_command_that_the_text_names_exists_with_its_options(document: Path) -> None:
    wrong = []
    for code in inline(document):
        if not code.text.startswith("certvigil "):
            continue
        error = refusal(shlex.split(code.text.replace("...", ""))[1:])
        if error is not None and type(error).__name__ not in _IN_SHORT:
            wrong.append(f"{code.where}: {code.text}: {why(error)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["replace", "web", "--form", "new.pem"], "--form"),
        (["replce", "web"], "no command 'replce'"),
        (["policy", "tset"], "no command 'tset'"),
        (["history", "--limit", "none"], "none"),
        (["replace"], "COMPONENT"),
    ],
)
def test_a_command_line_that_is_wrong_is_noticed(words: list[str], said: str) -> None:
    assert said in why(refusal(words))


def test_commands_are_found_in_the_documents() -> None:
    assert sum(1 for document in DOCUMENTS for _ in in_blocks(document)) > 40
