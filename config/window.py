"""When a window is open: cron expressions on the wall clock of a time zone, whatever that clock does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from typing import Final
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from config.policy import Window

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_END: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Where the search for a day that no month has gives up."""
_SHIFT: Final = timedelta(hours=3)
"""More than a wall clock is ever put forward or back for daylight saving."""
_COMPARED: Final = 2000
_REFERENCE: Final = datetime(2027, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether a window is open, and until when that stays so."""

    since: float | None
    """Unix time at which it opened; None where it is closed."""
    until: float | None
    """Unix time at which it closes, or opens next; None where it never will."""


@lru_cache(maxsize=1024)
def opening(window: Window, now: float) -> Opening:
    """Return how `window` stands at Unix time `now`.

    A time that the wall clock skips counts as that much after the skip; one that it shows twice counts once, the first
    time. The duration is true seconds.
    """
    zone = ZoneInfo(window.timezone)
    since = None
    for wall in _matches(window.cron, _wall(now - window.duration, zone) - _SHIFT):
        at = wall.replace(tzinfo=zone).timestamp()
        if at > now:
            return Opening(None, at) if since is None else Opening(since, since + window.duration)
        if now < at + window.duration:
            since = at if since is None else max(since, at)
    return Opening(None, None) if since is None else Opening(since, since + window.duration)


def check_window(window: Window) -> None:
    """Raise ValueError with what was expected, where `window` never opens or opens before it has closed."""
    openings = list(islice(_matches(window.cron, _REFERENCE), _COMPARED))
    if not openings:
        raise ValueError("a time that comes, not a day that no month has")
    shortest = min((later - earlier).total_seconds() for earlier, later in pairwise(openings))
    if window.duration > shortest:
        raise ValueError(f"at most {shortest / 60:g} minutes, after which it opens again")


def _wall(at: float, zone: ZoneInfo) -> datetime:
    """Return what the wall clock in `zone` shows at Unix time `at`, as a time of a clock that never shifts."""
    return datetime.fromtimestamp(at, zone).replace(tzinfo=UTC, fold=0)


def _matches(cron: str, start: datetime) -> Iterator[datetime]:
    """Yield the times from `start` on that match, on a clock that never shifts."""
    trigger = _trigger(cron)
    found = trigger.get_next_fire_time(None, start)
    while found is not None:
        yield found
        found = trigger.get_next_fire_time(None, found + timedelta(seconds=1))


@lru_cache(maxsize=256)
def _trigger(cron: str) -> CronTrigger:
    """Return the trigger of an expression; raises ValueError with what was expected."""
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError("five fields: minute, hour, day of the month, month, day of the week")
    minute, hour, day, month, weekday = fields
    try:
        days = _weekdays(weekday)
        return CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=days, timezone=UTC, end_date=_END
        )
    except ValueError as error:
        raise ValueError(f"a cron expression, but {_lower(str(error))}") from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _weekdays(text: str) -> str:
    """Return the days of the week that `text` names; APScheduler counts them from Monday, cron from Sunday."""
    if text == "*":
        return text
    chosen: set[int] = set()
    for part in text.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = ("0-6" if span == "*" else span).partition("-")
        low, high = _weekday(first), _weekday(last or first)
        if high < low and high == 0:
            high = 7
        if high < low or (step and not (step.isdecimal() and 0 < int(step) <= 7)):
            raise ValueError(f"the days of the week are given as '{text}'")
        chosen.update(each % 7 for each in range(low, high + 1, int(step or 1)))
    return ",".join(_DAYS[each] for each in sorted(chosen))


def _weekday(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"'{text}' is no day of the week")
