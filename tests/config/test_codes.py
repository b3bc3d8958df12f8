"""The closed list of findings, against the code that raises them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.vocabulary import Code

ROOT = Path(__file__).parents[2]
RAISING = {"finding", "_weak"}
"""The functions whose first argument is the code of a finding that they return."""


def raised() -> Iterator[str]:
    """Yield the name of each code with which the code calls a function that returns a finding."""
    for room in ("probes", "actions", "monitor"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text()
            # Most modules raise none, and need not be parsed.
            if not any(f"{name}(" in text for name in RAISING):
                continue
            for function in ast.walk(ast.parse(text)):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from raised_in(function)


def raised_in(function: ast.AST) -> Iterator[str]:
    assigned = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISING:
            code = node.args[0]
            yield from codes_in(assigned.get(code.id, code) if isinstance(code, ast.Name) else code)


def codes_in(expression: ast.expr) -> Iterator[str]:
    # The condition of a conditional expression is compared, not raised.
    branches = (expression.body, expression.orelse) if isinstance(expression, ast.IfExp) else (expression,)
    for branch in branches:
        if isinstance(branch, ast.Attribute) and isinstance(branch.value, ast.Name) and branch.value.id == "Code":
            yield branch.attr


@pytest.fixture(scope="module")
def all_raised() -> frozenset[str]:
    return frozenset(raised())


@pytest.mark.parametrize("code", Code)
def test_each_code_is_raised_somewhere(code: Code, all_raised: frozenset[str]) -> None:
    assert code.name in all_raised


def test_each_code_that_is_raised_is_in_the_list(all_raised: frozenset[str]) -> None:
    assert {Code[name] for name in all_raised} == set(Code)


def test_every_file_and_name_in_the_guide_to_a_new_finding_exists() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add a finding\n")[2].partition("\n## ")[0]
    assert guide.count("\n1. ") == guide.count("\n6. ") == 1
    for path in re.findall(r"`([\w/]+(?:/|\.py|\.md))`", guide):
        assert (ROOT / path).exists(), path
    for line in re.findall(r"^- (.*?): ", guide, re.MULTILINE):
        path, *names = re.findall(r"`([^`]+)`", line)
        assert names
        for name in names:
            assert f"\n{name}: Final" in (ROOT / path).read_text(), f"{name} in {path}"
