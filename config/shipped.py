"""Shipped policies, as data in the language of the configuration."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from config.document import parse
from config.policy import Policy
from config.schema.policy import Policies
from config.schema.section import DeclaredNames

_FILE: Final = "shipped.yaml"


@cache
def shipped_policies() -> tuple[Policy, ...]:
    """Return the shipped policies, in order. A policy of the configuration with the same name takes their place."""
    document, mistakes = parse((files("config") / "policies" / _FILE).read_bytes(), _FILE)
    if document is None or mistakes:
        raise ValueError(f"{_FILE} is shipped with mistakes: {mistakes}")
    section = Policies.model_validate(document.values, context=DeclaredNames(None, None, None, None))
    return tuple(each.build() for each in section.policies)
