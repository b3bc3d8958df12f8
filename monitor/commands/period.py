"""Spans of time as people give them to a command: how far back, or since when."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from config.text import printable

_UNIT: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class PeriodError(ValueError):
    """The text is no point in time; a sentence that says what to write."""


def period(since: str | None, until: str | None, now: float) -> tuple[float, float | None]:
    """Return the Unix times that `--since` and `--until` mean: 0 and None for what is not given; raises PeriodError."""
    begin = 0.0 if since is None else point_in_time(since, now, "--since")
    end = None if until is None else point_in_time(until, now, "--until")
    if end is not None and end < begin:
        what = f"--until {printable(until or '', 200)} is before --since {printable(since or '', 200)}"
        raise PeriodError(f"{what}: nothing lies between")
    return begin, end


def point_in_time(text: str, now: float, option: str) -> float:
    """Return the Unix time that `text` means: `12h` ago, or an ISO 8601 date or time, in UTC where it names no zone.

    Raises PeriodError, which names the `option`.
    """
    back = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if back is not None:
        return now - int(back[1]) * _UNIT[back[2]]
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise PeriodError(
            f"{option} {printable(text, 200)}: write how far back, such as 12h, or a time, such as 2027-03-20"
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
