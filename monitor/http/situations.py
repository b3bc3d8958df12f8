"""The input of decisions in JSON, as the API gives it and as a file gives it back.

Times have microseconds: a simulation starts from exactly the facts by which the daemon decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from config.document import key_text
from config.schema.section import unlike
from config.text import printable
from monitor.decide.situation import Situation
from monitor.http.answers import API
from monitor.http.view import DaemonView

_ADAPTER: Final = TypeAdapter(tuple[Situation, ...])
_FIELDS: Final = frozenset(each.name for each in fields(Situation))


class SituationsError(ValueError):
    """A text does not hold situations; says where and why, printable."""


def situations_to_plain(situations: Iterable[Situation]) -> list[dict[str, Any]]:
    """Return situations as plain values."""
    # Pydantic knows no read-only mapping: it warns, and leaves the mapping to `fallback`.
    plain: list[dict[str, Any]] = _ADAPTER.dump_python(tuple(situations), mode="json", fallback=dict, warnings=False)
    return plain


def situations_from_plain(plain: object) -> tuple[Situation, ...]:
    """Return the situations of `situations_to_plain`; an absent key has its default. Raises SituationsError."""
    for position, each in enumerate(plain if isinstance(plain, list) else ()):
        for key in each if isinstance(each, dict) else ():
            if key not in _FIELDS:
                where = printable(key_text((position, str(key))))
                raise SituationsError(f"{where}: unknown key{unlike(str(key), _FIELDS)}")
    try:
        return _ADAPTER.validate_json(json.dumps(plain))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SituationsError(printable(f"{key_text(first['loc'])}: {first['msg']}")) from None


def add_situations(app: FastAPI, view: DaemonView) -> None:
    """Add the input of decisions."""

    @app.get(f"{API}/situations")
    async def situations() -> Response:
        """List the input of decisions for each component, and for each target without a component."""
        found = sorted(view.situations(), key=lambda each: each.subject)
        return Response(
            json.dumps({"schema": 1, "situations": situations_to_plain(found)}), media_type="application/json"
        )
