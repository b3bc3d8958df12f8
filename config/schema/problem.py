"""The mistakes of a document, in the words of the JSON Schema of its model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from config.document import KeyPath, YAMLDocument, shown
from config.schema.described import DescribedSchema
from config.schema.section import unlike


class Problem(NamedTuple):
    """A mistake in the value at `path`, and the expected value."""

    path: KeyPath
    text: str


@cache
def schema_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """Return the JSON Schema of a model, made once: making it takes longer than all the rest."""
    return model.model_json_schema(schema_generator=DescribedSchema)


def path_of(error: ErrorDetails) -> KeyPath:
    """Return the path of the value that an error is about."""
    path = error["loc"]
    return path[:-1] if path[-1:] == ("[key]",) and error["type"] != "extra_forbidden" else path


def problems(
    errors: Iterable[ErrorDetails], schema: Mapping[str, Any], document: YAMLDocument, base: KeyPath = ()
) -> Iterator[Problem]:
    """Yield the mistakes of `errors` in the value at `base`, in the words of the JSON Schema of its model."""
    for each in errors:
        path = path_of(each)
        whole = (*base, *path)
        mark = document.marks.get(whole)
        found = shown(each["input"] if mark is None or mark.text is None else mark.text)
        if any(whole[: len(secret)] == secret for secret in _SECRET) and isinstance(each["input"], str):
            found = "text"
        text = _problem_text(each, found, path, schema)
        # A guess would show the value of a variable.
        guess = getattr(each.get("ctx", {}).get("error"), "guess", "") if mark is None or mark.text is None else ""
        yield Problem(whole, f"{text} (did you mean '{guess}'?)" if guess else text)


_SECRET: Final = (("channels",), ("notifications", "heartbeat"))
"""Places of secrets, or of texts that may be a secret in the wrong place."""
_TYPES: Final = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "bool_type": "true or false",
    "too_short": "at least one item",
}


_WORDS: Final = re.compile(r"[A-Za-z0-9/._-]+( [A-Za-z0-9/._-]+)*")
"""Words that need no quotes in a list."""


def _problem_text(error: ErrorDetails, found: str, path: KeyPath, schema: Mapping[str, Any]) -> str:
    word = str(error["input"])
    match error["type"]:
        case "rule":
            return error["msg"]
        case "reference":
            # The name is declared, so it is harmless.
            hint = f": it is a group, so 'group: [{word}]' names it" if error["ctx"].get("is_group") else ""
            return f"there is no {error['ctx']['what']} {found}{hint}{unlike(word, error['ctx']['known'])}"
        case "value_error":
            return f"found {found}, expected {error['ctx']['error']}"
        case "missing":
            description = _schema_at(path, schema)["description"].removesuffix(".")
            return f"missing, expected {description[0].lower()}{description[1:]}"
        case "extra_forbidden":
            return f"unknown key{unlike(str(path[-1]), _resolved(_schema_at(path[:-1], schema), schema)['properties'])}"
        case "enum" | "literal_error":
            node = _resolved(_schema_at(path, schema), schema)
            allowed = node["enum"] if "enum" in node else [node["const"]]
            return f"found {found}{unlike(word, (each if isinstance(each, str) else shown(each) for each in allowed))}"
        case "string_type" if isinstance(error["input"], bool | int | float):
            return f"found {found}, expected text: put it in quotes"
        case "list_type" if isinstance(error["input"], str) and found == shown(word) and _WORDS.fullmatch(word):
            return f"found {found}, expected a list, such as [{', '.join(word.split())}]"
        case kind:
            return f"found {found}, expected {_TYPES.get(kind, error['msg'])}"


def _schema_at(path: KeyPath, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of `schema` that the value at `path` must fit."""
    node = schema
    for part in path:
        node = _resolved(node, schema)
        if isinstance(part, int):
            node = node["items"]
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            (node,) = node["patternProperties"].values()
    return node


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node or "anyOf" in node:
        node = node["anyOf"][0] if "anyOf" in node else schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node
