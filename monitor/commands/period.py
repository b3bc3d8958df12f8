"""Spans of time in the arguments of a command: so long ago, or a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from config.text import printable

_UNIT: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class PeriodError(ValueError):
    """The text is no point in time; the sentence has the right form."""


def period(since: str | None, until: str | None, now: float) -> tuple[float, float | None]:
    """Return the Unix times of `--since` and `--until`, 0 and None if they are absent; raises PeriodError."""
    begin = 0.0 if since is None else point_in_time(since, now, "--since")
    end = None if until is None else point_in_time(until, now, "--until")
    if end is not None and end < begin:
        what = f"--until {printable(until or '', 200)} is before --since {printable(since or '', 200)}"
        raise PeriodError(f"{what}: there is no time between the two")
    return begin, end


def point_in_time(text: str, now: float, option: str) -> float:
    """Return the Unix time of `text`: `12h` ago, or an ISO 8601 date or time, in UTC where it names no zone.

    Raises PeriodError, which names the `option`.
    """
    back = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if back is not None:
        return now - int(back[1]) * _UNIT[back[2]]
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise PeriodError(
            f"{option} {printable(text, 200)}: write a span of time, such as 12h, or a time, such as 2027-03-20"
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
