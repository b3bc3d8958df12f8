"""Validation of a document: its sound parts, and all its mistakes."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.document import KeyPath, Value, YAMLDocument
from config.schema.problem import Problem, path_of, problems
from config.schema.root import RootSection, json_schema
from config.schema.section import DeclaredNames
from config.schema.trust import RotationSection


class Validated(NamedTuple):
    """The result of a validation."""

    root: RootSection
    """Made of its sound parts only."""
    positions: Mapping[str, Sequence[int]]
    """For each list in `root`, the positions in the document that its items come from."""
    problems: tuple[Problem, ...]


def validate(document: YAMLDocument, names: DeclaredNames) -> Validated:
    """Return the sound parts of `document`, whose references may name `names`, and all its mistakes."""
    values = document.values
    found: tuple[Problem, ...] = ()
    try:
        root = RootSection.model_validate(values, context=names)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        errors += _rules_behind(errors, values, names)
        found = tuple(problems(errors, json_schema(), document))
        values = _without({problem.path[:2] for problem in found}, values)
        root = RootSection.model_validate(values, context=names)
    faulty = {problem.path[:2] for problem in found}
    positions = {
        key: [index for index in range(len(value)) if (key, index) not in faulty]
        for key, value in document.values.items()
        if isinstance(value, list)
    }
    return Validated(root, positions, found)


def _rules_behind(
    errors: Sequence[ErrorDetails], values: Mapping[str, Value], names: DeclaredNames
) -> list[ErrorDetails]:
    """Return the rules that sections with these errors break as well, though they are not about the faulty values.

    A rule about several keys is asked only where each of them is sound by itself: so it is asked of the rest.
    """
    faulty = {path_of(each) for each in errors}
    rest = deepcopy(dict(values))
    for path in sorted(faulty, key=len, reverse=True):
        _take_out(rest, path)
    try:
        RootSection.model_validate(rest, context=names)
    except ValidationError as error:
        more = error.errors(include_url=False)
        return [each for each in more if each["type"] == "rule" and not _concerns(each, faulty)]
    return []


_STAND_INS: Final[Mapping[str, Value]] = {
    "artefacts": {"combined": "/file"},
    "name": "name",
    "when": {"candidate_present": True},
    "do": ["activate"],
}
"""Sound values for keys that sections with rules must have."""


def _take_out(values: Value, path: KeyPath) -> None:
    """Take the value at `path` out of a mapping, or put a stand-in there; with an item of a list, the whole list."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    if not path:
        return
    *above, last = path
    for part in above:
        if isinstance(values, dict) and part in values:
            values = values[str(part)]
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return
    if isinstance(values, dict) and last in _STAND_INS:
        values[str(last)] = _STAND_INS[str(last)]
    elif isinstance(values, dict):
        values.pop(str(last), None)


def _concerns(rule: ErrorDetails, faulty: Collection[KeyPath]) -> bool:
    """Whether a rule reads one of these values, or one that may be meant by an unknown key."""
    where, about = path_of(rule), rule["ctx"]["about"]
    within = [path for path in faulty if path[: len(where)] == where]
    if not about or where in faulty:
        return bool(within)
    keys = {str(path[len(where)]) for path in within}
    return any(key in about or difflib.get_close_matches(key, about, 1) for key in keys)


_NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "rotation": frozenset(name for name, field in RotationSection.model_fields.items() if field.is_required())
}
"""The items that a section of the document must have."""


def _without(faulty: Collection[KeyPath], values: Mapping[str, Value]) -> dict[str, Value]:
    """Return `values` without the sections and the items of sections at these paths.

    A section with an item that it must have is left out with this item.
    """
    sound: dict[str, Value] = {}
    for key, value in values.items():
        if (key,) in faulty or any((key, name) in faulty for name in _NEEDED.get(key, ())):
            continue
        if isinstance(value, dict):
            sound[key] = {name: item for name, item in value.items() if (key, name) not in faulty}
        elif isinstance(value, list):
            sound[key] = [item for index, item in enumerate(value) if (key, index) not in faulty]
        else:
            sound[key] = value
    return sound
