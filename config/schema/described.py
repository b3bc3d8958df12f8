"""The JSON Schema of a model, in which each field is described by the docstring below it.

Pydantic can read these docstrings too, but does so whenever a model is declared, from the source of its module: that
was a fifth of what a daemon took to start. They are read here when a schema is asked for, which is seldom.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelFieldsSchema, ModelSchema


class DescribedSchema(GenerateJsonSchema):
    """Makes a schema with these descriptions."""

    def __init__(self, *given: Any, **named: Any) -> None:
        """Take what Pydantic gives."""
        super().__init__(*given, **named)
        self._within: list[type[BaseModel]] = []
        """The models whose schema is being made, the outermost first."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Return the schema of one model."""
        self._within.append(schema["cls"])
        try:
            return super().model_schema(schema)
        finally:
            self._within.pop()

    def model_fields_schema(self, schema: ModelFieldsSchema) -> JsonSchemaValue:
        """Return the schema of its fields."""
        made, model = super().model_fields_schema(schema), self._within[-1]
        for name, text in _documented(model).items():
            made["properties"][model.model_fields[name].alias or name].setdefault("description", text)
        return made


def _documented(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstring of each field of a model, its bases' included, that has one."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= _docstrings(each.__module__).get(each.__qualname__, {})
    return {name: text for name, text in found.items() if name in model.model_fields}


@cache
def _docstrings(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings of the attributes of each class in the source of a module."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {each.name: dict(_of_class(each)) for each in tree.body if isinstance(each, ast.ClassDef)}


def _of_class(declared: ast.ClassDef) -> list[tuple[str, str]]:
    found = []
    for statement, next_one in zip(declared.body, declared.body[1:], strict=False):
        match statement, next_one:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found.append((name, inspect.cleandoc(text)))
    return found
