"""The published schema of a command's `--json`, against which a test holds what the command printed."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema

from monitor.http.answers import Answer
from monitor.http.published import PUBLISHED, json_schema


def validate(document: object, command: str) -> None:
    """Raise jsonschema.ValidationError unless a document is as the schema of a command says."""
    _validator(PUBLISHED[command]).validate(document)


@cache
def _validator(shape: type[Answer]) -> Any:
    """Return what validates documents of a shape: to check the schema itself takes longer than any document does."""
    schema = next(json_schema(command) for command, each in PUBLISHED.items() if each is shape)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
