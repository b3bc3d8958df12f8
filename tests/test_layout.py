"""Tests mirror the tree, and share what lies in `tests/kit` alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent
ROOT: Final = TESTS.parent
WITH_PARTS: Final = frozenset({"kit", "bench", "scene", "machine"})
"""Folders of modules that are no tests: helpers, and programs of their own."""
_NAMES_A_TEST: Final = re.compile(r"\btests\b(?:[^\n(]|\([^)]*\))*?\b(?:test_\w+|conftest)\b")
"""What may import from a test."""
_A_TEST: Final = re.compile(r"\btests\.(?:\w+\.)*(?:test_\w+|conftest)\b")


def modules() -> Iterator[Path]:
    for each in sorted(TESTS.rglob("*.py")):
        if each.name != "__init__.py":
            yield each.relative_to(TESTS)


def imported(module: Path) -> Iterator[str]:
    text = (TESTS / module).read_text()
    # A parser is too dear for all of them.
    if not _NAMES_A_TEST.search(text):
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def test_each_folder_of_tests_is_one_of_the_tree() -> None:
    folders = {each.parent for each in modules() if each.name.startswith("test_")} - {
        Path("."),
        Path("bench"),
        Path("machine"),
    }
    assert [str(each) for each in sorted(folders) if not (ROOT / each / "__init__.py").exists()] == []


def test_what_is_no_test_is_a_helper_or_part_of_a_program() -> None:
    helpers = [each for each in modules() if not each.name.startswith("test_") and each.name != "conftest.py"]
    assert [str(each) for each in helpers if each.parts[0] not in WITH_PARTS] == []


def test_nothing_is_imported_from_a_test() -> None:
    assert [f"{each}: {name}" for each in modules() for name in imported(each) if _A_TEST.match(name)] == []
