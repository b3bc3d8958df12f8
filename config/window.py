"""When a window is open: cron expressions on the wall clock of a time zone, also when that clock shifts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from config.immutable import immutable
from config.policy import Window
from config.text import printable

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_END: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""The search for a day that no month has ends here."""
_SHIFT: Final = timedelta(hours=3)
"""More than any shift of a wall clock for daylight saving."""
_COMPARED: Final = 300
"""The number of openings among which the closest two are sought: a day of all minutes, a year of all days."""
_REFERENCE: Final = datetime(2027, 1, 1, tzinfo=UTC)


@immutable
class Opening:
    """Whether a window is open, and until when."""

    since: float | None
    """Unix time at which it opened; None where it is closed."""
    until: float | None
    """Unix time at which it closes, or opens next; None where it never will."""


@lru_cache(maxsize=1024)
def opening(window: Window, now: float) -> Opening:
    """Return the state of `window` at Unix time `now`.

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


def check_cron(cron: str) -> None:
    """Raise ValueError with the expected form, where `cron` is no expression."""
    _trigger(cron)


def check_timezone(name: str) -> None:
    """Raise ValueError with an example, where there is no time zone of that name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        raise ValueError("a time zone such as Europe/Zurich") from None


def check_window(window: Window) -> None:
    """Raise ValueError with the mistake, where `window` never opens, or opens again before it has closed."""
    shortest = _shortest_interval(window.cron)
    if shortest is None:
        raise ValueError(f"'{printable(window.cron)}' never comes, expected a day that exists in that month")
    if window.duration > shortest:
        raise ValueError(f"it opens again after {shortest / 60:g} minutes, expected a duration of that at most")


@lru_cache(maxsize=256)
def _shortest_interval(cron: str) -> float | None:
    """Return the shortest time between two matching times in seconds; None where no time matches."""
    openings = list(islice(_matches(cron, _REFERENCE), _COMPARED))
    return min(((later - earlier).total_seconds() for earlier, later in pairwise(openings)), default=None)


def _wall(at: float, zone: ZoneInfo) -> datetime:
    """Return the time of the wall clock in `zone` at Unix time `at`, as a time of a clock that never shifts."""
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
    """Return the trigger of an expression; raises ValueError with the expected form."""
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError("five fields: minute, hour, day of the month, month, day of the week")
    minute, hour, day, month, weekday = fields
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415 (dear, and few have windows)

    try:
        days = _weekdays(weekday)
        return CronTrigger(
            minute=minute, hour=hour, day=day, month=month, day_of_week=days, timezone=UTC, end_date=_END
        )
    except ValueError as error:
        why = printable(str(error)).removeprefix("Error validating expression ")
        raise ValueError(
            f"a cron expression such as '0 2 * * tue' (minute, hour, day of the month, month, day of the week): {why}"
        ) from None


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
