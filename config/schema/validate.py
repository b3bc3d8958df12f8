"""Validation of a document: its sound parts, and all its mistakes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from config.document import Document, Path, Value
from config.schema.problem import Problem, problems, schema_of
from config.schema.root import RootSection
from config.schema.section import DeclaredNames


class Validated(NamedTuple):
    """The result of a validation."""

    root: RootSection
    """Made of its sound parts only."""
    positions: Mapping[str, Sequence[int]]
    """For each list in `root`, the positions in the document that its items come from."""
    problems: tuple[Problem, ...]


def validate(document: Document, names: DeclaredNames) -> Validated:
    """Return the sound parts of `document`, whose references may name `names`, and all its mistakes."""
    values = document.values
    found: tuple[Problem, ...] = ()
    try:
        root = RootSection.model_validate(values, context=names)
    except ValidationError as error:
        found = tuple(problems(error, schema_of(RootSection), document))
        values = _without({problem.path[:2] for problem in found}, values)
        root = RootSection.model_validate(values, context=names)
    faulty = {problem.path[:2] for problem in found}
    positions = {
        key: [index for index in range(len(value)) if (key, index) not in faulty]
        for key, value in document.values.items()
        if isinstance(value, list)
    }
    return Validated(root, positions, found)


def _without(faulty: Collection[Path], values: Mapping[str, Value]) -> dict[str, Value]:
    """Return `values` without the sections and the items of sections at these paths."""
    sound: dict[str, Value] = {}
    for key, value in values.items():
        if (key,) in faulty:
            continue
        if isinstance(value, dict):
            sound[key] = {name: item for name, item in value.items() if (key, name) not in faulty}
        elif isinstance(value, list):
            sound[key] = [item for index, item in enumerate(value) if (key, index) not in faulty]
        else:
            sound[key] = value
    return sound
