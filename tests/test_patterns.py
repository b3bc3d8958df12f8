"""Every regular expression takes time in proportion to its text: whoever writes a file must not choose the time."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.kit.pattern_steps import Steps, may_be_slow, worst

ROOT: Final = Path(__file__).parents[1]
USES: Final = frozenset({"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"})
ASKED: Final = re.compile(rf"\b([A-Za-z_]\w*)\.({'|'.join(USES)})\b")
WRITTEN: Final = re.compile(rf"\bre\.(?:compile|{'|'.join(USES)})\(")
MADE: Final = frozenset(
    {
        # Of the patterns in the schema, which are in the list themselves.
        "config.schema.component: pattern",
        # Of the configuration's own wildcards, for names in a directory.
        "probes.find: fnmatch.translate(part)",
        # Of the configuration, which are refused where their choices multiply.
        "config.pattern: text",
        "probes.find: watch.expression",
        "probes.tls.preamble.dialogue: turn.expect",
        # Of a path, letter by letter, in the first lines that a service's test has printed.
        "actions.refusal: f'(?<![\\\\w./-]){re.escape(printable(path))}(?![\\\\w/-]|\\\\.\\\\w)'",
        # Of our own options and commands, letter by letter.
        "monitor.notify.text: f\"({'|'.join(map(re.escape, own))})\"",
    }
)
"""Patterns that are made at run time."""


class Use(NamedTuple):
    """A pattern, and the methods by which it is asked."""

    name: str
    pattern: re.Pattern[Any] | None
    """None where it is made at run time."""
    uses: frozenset[str]


@cache
def sources() -> Mapping[str, str]:
    """Return the source by module."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
        for package in ("config", "probes", "actions", "monitor")
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def with_patterns() -> list[str]:
    """Return the modules that have regular expressions; a parser is too dear for all of them."""
    return [module for module, text in sources().items() if WRITTEN.search(text)]


@cache
def patterns(module: str) -> tuple[Use, ...]:
    """Return every regular expression of a module, by its name, or the line where it is used."""
    return tuple(_in_module(module, ast.parse(sources()[module]), asked()))


@cache
def asked() -> Mapping[str, set[str]]:
    """Return how names are asked, as in `NAME.search`: those of one module by it."""
    found: dict[str, set[str]] = {}
    for module, text in sources().items():
        for name, use in ASKED.findall(text):
            found.setdefault(_whose(module, name), set()).add(use)
    return found


def _whose(module: str, name: str) -> str:
    return f"{module}.{name}" if name.startswith("_") else name


def _in_module(module: str, tree: ast.Module, asked: Mapping[str, set[str]]) -> Iterator[Use]:
    named: set[ast.AST] = set()
    node: ast.AST
    for node in tree.body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Call) and _called(node.value):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            assert isinstance(target, ast.Name)
            named.add(node.value)
            pattern = getattr(importlib.import_module(module), target.id)
            assert isinstance(pattern, re.Pattern)
            yield Use(f"{module}.{target.id}", pattern, frozenset(asked.get(_whose(module, target.id), USES)))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or node in named or (how := _called(node)) is None:
            continue
        given, flags = node.args[0], 0
        name = f"{module}: {ast.unparse(given)}"
        for each in node.keywords:
            if each.arg == "flags":
                flags = eval(ast.unparse(each.value), {"re": re})
        text: Any = None
        if isinstance(given, ast.Constant):
            text = given.value
        elif isinstance(given, ast.Name):
            text = getattr(importlib.import_module(module), given.id, None)
        if isinstance(text, re.Pattern):
            yield Use(name, text, frozenset({how}))
        else:
            made = None if text is None else re.compile(text, flags)
            yield Use(name, made, frozenset({how} if how in USES else USES))


def _called(node: ast.Call) -> str | None:
    """Return the name of a function of `re` that takes a pattern; None for another call."""
    function = node.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re":
        return function.attr if function.attr in USES | {"compile"} else None
    return None


def test_all_patterns_are_found() -> None:
    found = [each for module in with_patterns() for each in patterns(module)]
    assert len(found) == sum(len(WRITTEN.findall(text)) for text in sources().values()) > 90
    assert {each.name for each in found if each.pattern is None} == MADE


@pytest.mark.parametrize("module", with_patterns())
def test_twice_the_text_takes_twice_the_steps(module: str) -> None:
    slow = {
        f"{each.name} by {how}": text
        for each in patterns(module)
        if each.pattern is not None
        for how in sorted(each.uses)
        if may_be_slow(each.pattern, how) and (text := worst(each.pattern, how)) is not None
    }
    assert slow == {}


@pytest.mark.parametrize(
    ("pattern", "use"),
    [
        (rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----.*?-----END \1-----", "finditer"),
        (
            rb"[ \t\f]*(?P<key>(?:\\.|[^\\=: \t\f\r\n])*)[=:]?[ \t\f]*(?P<value>[^\r\n]*?)[ \t\f]*(?:\r\n|\n|\Z)",
            "match",
        ),
        (r"(?:a|ab?)*c", "match"),
        (r"\s+$", "search"),
        (r"(\w+)=\1;", "search"),
    ],
)
def test_a_slow_pattern_is_found_to_be_slow(pattern: str | bytes, use: str) -> None:
    compiled = re.compile(pattern, re.DOTALL)
    assert may_be_slow(compiled, use)
    assert worst(compiled, use) is not None


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"a*?b|(?P<x>c+)(?=d)|\bé", "aab cccd é ccc"),
        (r"(?<!x)y(?>z|zz)z?$", "xyzz yzz\nyzzz"),
        (r"([ab])\1+|[^\d\s]{2,3}|\w\Z", "abba 12 c--d 7"),
        (r"(?:ab?){2,}+c|^q", "abaabc\nq aac"),
    ],
)
def test_the_counting_finds_as_python_does(pattern: str, text: str) -> None:
    compiled = re.compile(pattern, re.MULTILINE)
    found = [each.end() for each in compiled.finditer(text)]
    steps = Steps(compiled)
    assert list(steps.ends(text)) == found
