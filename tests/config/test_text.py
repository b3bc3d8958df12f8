"""Text from outside becomes printable, and what mypy cannot see of that: templates are literals."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from config.text import Printable, harmless, listed, printable, sentence

ROOT = Path(__file__).parents[2]
ROOMS = ("config", "probes", "actions", "monitor")
LOGGING = {"debug": 0, "info": 0, "warning": 0, "error": 0, "exception": 0, "log": 1}


TOLD = re.compile(rf"\b(?:sentence|complain|Printable|say|write|{'|'.join(LOGGING)})\(")
"""The calls that are looked at; a parser is too dear for modules that have none."""


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call in such a module of the product, with its place: several may be in one line."""
    for path in (each for room in ROOMS for each in sorted((ROOT / room).rglob("*.py"))):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if TOLD.search(text) else ():
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(ROOT)}:{node.lineno}:{node.col_offset}", node


def is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return is_literal(node.body) and is_literal(node.orelse)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def template_of(call: ast.Call) -> ast.expr | None:
    """Return the template of a call that takes one."""
    match call.func:
        case ast.Name("sentence" | "complain"):
            return call.args[0]
        case ast.Attribute(_, "say") if call.args:
            return call.args[0]
        case ast.Attribute(ast.Name("log" | "_log"), name) if name in LOGGING:
            return call.args[LOGGING[name]]
        case ast.Attribute(ast.Name("lines") | ast.Attribute(_, "lines"), "write"):
            return call.args[2]
    return None


def forwards(node: ast.expr) -> bool:
    """Whether a template is the parameter of a function that itself takes a template."""
    return isinstance(node, ast.Name) and node.id == "template"


class Calls(NamedTuple):
    """What calls are given that concern text, by their place."""

    templates: Mapping[str, ast.expr]
    called_printable: Mapping[str, ast.expr]
    """The argument of `Printable`."""


@pytest.fixture(scope="module")
def found() -> Calls:
    templates, called_printable = {}, {}
    for where, call in calls():
        if (template := template_of(call)) is not None:
            templates[where] = template
        if isinstance(call.func, ast.Name) and call.func.id == "Printable":
            called_printable[where] = call.args[0]
    return Calls(templates, called_printable)


def test_every_template_is_a_literal(found: Calls) -> None:
    templates = found.templates
    assert len(templates) > 100, "the calls are found"
    assert [where for where, each in templates.items() if not is_literal(each) and not forwards(each)] == []


def test_only_a_literal_is_called_printable_without_being_made_so(found: Calls) -> None:
    called = found.called_printable
    assert len(called) > 10, "the calls are found"
    assert [
        where for where, each in called.items() if not where.startswith("config/text.py") and not is_literal(each)
    ] == []


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb", "\u202e", "\x85", "\ud800", "{0.__class__}"])
def test_a_sentence_holds_its_parts_as_they_were_made_printable(hostile: str) -> None:
    made = sentence("{}: {:>3} of {}", printable(hostile), 7, listed([printable(hostile), Printable("web")], " and "))
    assert made == f"{printable(hostile)}:   7 of {printable(hostile)} and web"
    assert made.isprintable()
    assert harmless(made) == made, "it is not escaped twice"
