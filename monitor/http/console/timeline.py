"""The page *Timeline*: the ends of the next year, windows, and what policies would do and tell. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from config.immutable import immutable
from config.model import DAY, Config
from config.window import opening
from monitor.decide.decision import action_name
from monitor.decide.foresee import ForeseenMessage, Recipients
from monitor.decide.simulate import Happening, timeline
from monitor.decide.situation import Situation
from monitor.http.console.table import NEVER, SortKey, TableIndex, TablePlace
from probes.judge.time import calendar, moment

DAYS: Final = 365
ENDS: Final = 500
"""Of a page and of the calendar: the certificates that end first."""
SIMULATED: Final = 50
"""Groups, components and other targets whose decisions are simulated: those whose certificates end first."""
FORESEEN: Final = 300
WINDOWS: Final = 50
WIDTH: Final = 1000
"""Of the drawing, in its own units; a year."""
_LINE: Final = 75
"""Octets of a line of a calendar (RFC 5545, 3.1)."""


@immutable
class CertificateEnd:
    """The end of a certificate."""

    at: int
    """Unix time."""
    title: str
    sha256: str
    names: tuple[str, ...]
    """Components and targets that have it, at most five."""
    places: int


@immutable
class MonthMark:
    """The begin of a month on the drawing."""

    x: float
    name: str


@immutable
class EndBar:
    """The ends of one week on the drawing."""

    x: float
    height: float
    count: int
    text: str


@immutable
class OpenWindow:
    """The next time at which a policy may act."""

    policy: str
    cron: str
    timezone: str
    since: float | None
    until: float | None


@immutable
class ForeseenStep:
    """A decision or a message of the simulated future."""

    at: float
    """Unix time."""
    subject: str
    what: str
    says: str
    is_message: bool


@immutable
class TimelinePage:
    """All that the page shows."""

    ends: tuple[CertificateEnd, ...]
    total: int
    months: tuple[MonthMark, ...]
    bars: tuple[EndBar, ...]
    windows: tuple[OpenWindow, ...]
    foreseen: tuple[ForeseenStep, ...]
    simulated: int
    """The number of subjects that were simulated."""
    subjects: int
    """The number of all subjects with a certificate."""


def ends_of(index: TableIndex, now: float) -> tuple[Sequence[CertificateEnd], Counter[int]]:
    """Return the first ends within a year from Unix time `now`, and how many come in each week."""
    ordered = index.ordered(SortKey.END)
    begin = bisect_left(ordered, now, key=_end)
    coming = ordered[begin : bisect_left(ordered, now + DAYS * DAY, lo=begin, key=_end)]
    first: dict[str, list[TablePlace]] = {}
    seen: set[str] = set()
    weeks: Counter[int] = Counter()
    for each in coming:
        sha256 = each.leaf.sha256
        if sha256 not in seen:
            seen.add(sha256)
            weeks[int((_end(each) - now) // (7 * DAY))] += 1
        if sha256 in first or len(first) < ENDS:
            first.setdefault(sha256, []).append(each)
    return [_one_end(those) for those in first.values()], weeks


def _end(place: TablePlace) -> float:
    return NEVER if place.leaf.not_after is None else place.leaf.not_after


def _one_end(those: Sequence[TablePlace]) -> CertificateEnd:
    leaf, names = those[0].leaf, tuple(dict.fromkeys(each.name for each in those))
    return CertificateEnd(leaf.not_after or 0, leaf.title, leaf.sha256, names[:5], len(names))


@immutable
class ForeseenYear:
    """What policies would do and tell in a year, if nothing changes but the time."""

    steps: tuple[ForeseenStep, ...]
    simulated: int
    """The number of subjects that were simulated."""
    subjects: int
    """The number of all subjects with a certificate."""


def foresee(config: Config, situations: Sequence[Situation], now: float) -> ForeseenYear:
    """Return what would happen from Unix time `now` on."""
    dated = sorted(
        (each for each in situations if each.certificate is not None and each.certificate.not_after >= now),
        key=lambda each: (not each.is_component, each.certificate.not_after if each.certificate else 0, each.subject),
    )
    chosen = dated[:SIMULATED]
    steps = timeline(chosen, config.policies, (now, now + DAYS * DAY), audience=Recipients(config))
    return ForeseenYear(tuple(map(_step, islice(steps, FORESEEN))), len(chosen), len(dated))


def timeline_page(config: Config, index: TableIndex, foreseen: ForeseenYear, now: float) -> TimelinePage:
    """Return the page at Unix time `now`."""
    ends, weeks = ends_of(index, now)
    return TimelinePage(
        ends=tuple(ends),
        total=weeks.total(),
        months=tuple(_months(now)),
        bars=tuple(_bars(weeks, now)),
        windows=tuple(islice(_windows(config, now), WINDOWS)),
        foreseen=foreseen.steps,
        simulated=foreseen.simulated,
        subjects=foreseen.subjects,
    )


def _x(at: float, now: float) -> float:
    return round((at - now) / (DAYS * DAY) * WIDTH, 1)


def _months(now: float) -> Iterator[MonthMark]:
    first = calendar(now)
    year, month = first.year, first.month
    for _ in range(12):
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        at = datetime(year, month, 1, tzinfo=UTC)
        yield MonthMark(_x(at.timestamp(), now), f"{at:%b}" if month > 1 else f"{at:%b %Y}")


def _bars(weeks: Mapping[int, int], now: float) -> Iterator[EndBar]:
    most = max(weeks.values(), default=1)
    for week, count in sorted(weeks.items()):
        begin = now + week * 7 * DAY
        noun = "certificate ends" if count == 1 else "certificates end"
        text = f"{count} {noun} in the week from {moment(begin)[:10]}"
        yield EndBar(_x(begin, now), round(8 + 92 * count / most, 1), count, text)


def _windows(config: Config, now: float) -> Iterator[OpenWindow]:
    for policy in config.policies:
        for window in policy.windows:
            state = opening(window, now)
            yield OpenWindow(policy.name, window.cron, window.timezone, state.since, state.until)


def _step(each: Happening | ForeseenMessage) -> ForeseenStep:
    if isinstance(each, ForeseenMessage):
        return ForeseenStep(each.at, "", f"tell {each.channel}", each.title, is_message=True)
    decision = each.decision
    stands = f"{decision.status}: {decision.waits_for}" if decision.waits_for else str(decision.status)
    what = f"{action_name(decision.action)} by {decision.policy}"
    return ForeseenStep(each.at, decision.subject, what, stands, is_message=False)


def as_calendar(ends: Sequence[CertificateEnd], host: str, now: float) -> str:
    """Return the ends as a calendar (RFC 5545)."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//certvigil//ends of certificates//EN", "METHOD:PUBLISH"]
    for each in ends:
        more = each.places - len(each.names)
        where = ", ".join(each.names) + (f" and {more} more" if more > 0 else "")
        lines += [
            "BEGIN:VEVENT",
            f"UID:{each.sha256}@{host}",
            f"DTSTAMP:{_stamp(now)}",
            f"DTSTART:{_stamp(each.at)}",
            f"SUMMARY:{_escaped(f'{each.title} ends')}",
            f"DESCRIPTION:{_escaped(f'on {host}: {where}')}",
            "TRANSP:TRANSPARENT",
            "END:VEVENT",
        ]
    return "".join(f"{_folded(line)}\r\n" for line in [*lines, "END:VCALENDAR"])


def _stamp(at: float) -> str:
    return calendar(at).strftime("%Y%m%dT%H%M%SZ").rjust(16, "0")


def _escaped(text: str) -> str:
    """Return text as a value (RFC 5545, 3.3.11); printable text has no line break."""
    return text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")


def _folded(line: str) -> str:
    """Return a line in parts of at most 75 octets, none of which ends within a character."""
    if line.isascii() and len(line) <= _LINE:
        return line
    parts, part, size = [], "", 0
    for character in line:
        octets = len(character.encode(errors="replace"))
        if size + octets > _LINE:
            parts.append(part)
            part, size = " ", 1
        part += character
        size += octets
    return "\r\n".join([*parts, part])
