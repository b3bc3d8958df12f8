"""Each capability is held by tests that `make test` runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.kit.capabilities import CAPABILITIES, Capability, result, table

ROOT: Final = Path(__file__).parent.parent


def defined_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each test of a file, with its class where it has one, and its decorators."""
    tree = ast.parse(path.read_text())
    classes = [each for each in tree.body if isinstance(each, ast.ClassDef)]
    for prefix, body in (("", tree.body), *((f"{each.name}::", each.body) for each in classes)):
        for each in body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}{each.name}", " ".join(map(ast.unparse, each.decorator_list))


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda each: each.id)
def test_each_test_of_a_capability_exists_and_is_not_slow(capability: Capability) -> None:
    assert capability.is_done, capability.missing
    assert capability.tests
    for node in capability.tests:
        path, _, name = node.partition("::")
        found = dict(defined_in(ROOT / path))
        assert name in found, node
        assert "slow" not in found[name], node


def test_a_capability_is_named_once() -> None:
    assert len({each.id for each in CAPABILITIES}) == len(CAPABILITIES)


@pytest.mark.parametrize(
    ("missing", "outcomes", "said"),
    [
        ("", {"a": {"passed"}, "b": {"passed"}}, "passed"),
        ("", {"a": {"passed"}, "b": {"passed", "failed"}}, "failed"),
        ("", {"a": {"passed"}}, "missing: a test did not run"),
        ("", {"a": {"passed"}, "b": {"passed", "skipped"}}, "missing: a test did not run"),
        ("the half", {"a": {"passed"}, "b": {"passed"}}, "missing: the half"),
    ],
)
def test_a_row_passes_where_all_of_it_does(missing: str, outcomes: dict[str, set[str]], said: str) -> None:
    row = Capability("N99", "what it does", ("a", "b"), missing)
    assert result(row, outcomes) == said
    assert list(table([row], outcomes)) == [f"N99  {said:<10}  what it does", "     a", "     b"]
