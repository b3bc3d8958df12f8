"""Pages as HTML: Jinja2 with autoescape in every template, and an error for a name that is not given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from config.command_reach import command_line
from config.text import Printable
from monitor.http.console.drawing import plural
from monitor.span import left, span
from probes.judge.time import calendar, moment

_TEMPLATES: Final = os.path.join(os.path.dirname(__file__), "templates")
_SHORT: Final = 16
"""Digits of a hash that a page shows."""


def render(template: str, given: Mapping[str, Any]) -> bytes:
    """Return a page as UTF-8; a lone surrogate of a file's name becomes a question mark."""
    return _environment().get_template(template).render(given).encode(errors="replace")


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.filters.update(
        moment=_moment, iso=_iso, ago=_ago, short=_short, segment=segment, left=_left, plural=plural
    )
    environment.globals["command_line"] = command_line
    return environment


def _unix(at: datetime | float) -> float:
    return at.timestamp() if isinstance(at, datetime) else at


def _moment(at: datetime | float | None) -> str:
    """Return a time to the second, UTC."""
    return "not known" if at is None else moment(_unix(at))


def _iso(at: datetime | float) -> str:
    return calendar(_unix(at)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def _ago(at: datetime | float, now: float) -> Printable:
    """Return for how long a time is past."""
    return span(max(0.0, now - _unix(at)))


def _left(at: datetime | float | None, now: float) -> Printable:
    return Printable("its end is not known") if at is None else left(_unix(at) - now)


def _short(sha256: str) -> str:
    return sha256[:_SHORT]


def segment(name: str) -> str:
    """Return a name as one segment of a path, which a slash in it must not end."""
    return quote(name, safe="", errors="replace")
