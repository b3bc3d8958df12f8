"""Functions, files and tests that the documents name exist."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import pytest

from tests.kit.documents import DOCUMENTS, ROOT, Text, blocks, inline, line_of, name

_DOTTED: Final = re.compile(r"(?<![\w./-])(?:config|probes|actions|monitor)(?:\.[A-Za-z_]\w*)+(?![\w/-])")
_PATH: Final = re.compile(r"(?:config|probes|actions|monitor|grafana|docs|tests)/[\w./*-]*(?:::\w+)?")


def resolve(dotted: str) -> object:
    """Return what a dotted name stands for; raises LookupError where there is no such thing any more."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found: object = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part):
                raise LookupError(f"{dotted}: {module} has no {'.'.join(parts[length:])}")
            found = getattr(found, part)
        return found
    raise LookupError(f"{dotted}: there is no package {parts[0]}")


def dotted_names(document: Path) -> Iterator[Text]:
    """Yield each dotted name of the four packages, in code blocks and in inline code."""
    for text in (*blocks(document), *inline(document)):
        if text.language not in {"yaml", "console"}:
            for match in _DOTTED.finditer(text.text):
                yield Text(line_of(text, match.start()), match[0])


@lru_cache
def defined_in(path: Path) -> frozenset[str]:
    """Return the names of the tests in a file, which is not imported."""
    tree = ast.parse(path.read_text())
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_each_function_that_is_named_exists(document: Path) -> None:
    gone = []
    for text in dotted_names(document):
        try:
            resolve(text.text)
        except LookupError as error:
            gone.append(f"{text.where}: {error.args[0]}")
    assert not gone, "\n".join(gone)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_each_file_and_each_test_that_is_named_exists(document: Path) -> None:
    gone = []
    for code in inline(document):
        if not _PATH.fullmatch(code.text):
            continue
        path, _, test = code.text.partition("::")
        if not list(ROOT.glob(path)):
            gone.append(f"{code.where}: there is no {path}")
        elif test and test not in defined_in(ROOT / path):
            gone.append(f"{code.where}: {path} has no {test}")
    assert not gone, "\n".join(gone)


@pytest.mark.parametrize(
    ("dotted", "said"),
    [
        ("actions.verdict.decides", "actions.verdict has no decides"),
        ("actions.transactions.Transaction", "actions has no transactions.Transaction"),
        ("actions.transaction_state.TransactionContext.nowhere", "has no TransactionContext.nowhere"),
    ],
)
def test_a_name_that_is_gone_is_said(dotted: str, said: str) -> None:
    with pytest.raises(LookupError, match=re.escape(said)):
        resolve(dotted)


def test_the_flows_name_functions() -> None:
    named = {text.text for text in dotted_names(ROOT / "docs" / "architecture.md")}
    assert len(named) > 50
