"""The history, read from the database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Any, Final

from config.immutable import immutable
from config.text import printable
from config.vocabulary import TargetKind
from monitor.state.events import What
from monitor.store.database import reading
from monitor.store.health import Degraded, DegradedReason, UnusableError, degraded
from monitor.store.text import restored, stored
from probes.judge.time import moment


@immutable
class HistoryEntry:
    """An event of the past. The fields with a default depend on its kind."""

    at: float
    """Unix time."""
    target: str
    what: What
    sentence: str
    """For a person, printable."""
    certificates: tuple[str, ...] = ()
    """SHA-256 of each certificate presented."""
    code: str | None = None
    severity: str | None = None
    subject: str = ""
    reason: str | None = None
    """Why the look failed, or how an action ended."""
    detail: str = ""


@immutable
class HistoryPlace:
    """A place between two entries of a list of the history, from which another list goes on."""

    at: float
    """Unix time of the entry before it."""
    skipped: int
    """How many entries of that time are before it."""


# Every branch has the same columns: time, target, order among events of the same time, row, kind, and four facts.
_HISTORY: Final = """
SELECT * FROM (
    SELECT added_at AS at, name, 0 AS place, it.id AS row, 'added' AS what, kind, location, NULL, NULL
        FROM targets AS it
    UNION ALL
    SELECT failed_at, name, 1, it.id, 'failed', reason, detail, NULL, NULL
        FROM failed_looks AS it JOIN targets ON targets.id = it.target
    UNION ALL
    SELECT recovered_at, name, 2, it.id, 'recovered', reason, detail, NULL, NULL
        FROM failed_looks AS it JOIN targets ON targets.id = it.target WHERE recovered_at IS NOT NULL
    UNION ALL
    SELECT since, name, 3, it.id, 'presented',
            (SELECT json_group_array(sha256) FROM json_each(it.certificates) AS each
                CROSS JOIN certificates ON certificates.id = each.value),
            leaf.subject, leaf.not_after, NULL
        FROM presentations AS it JOIN targets ON targets.id = it.target
        LEFT JOIN certificates AS leaf ON leaf.id = json_extract(it.certificates, '$[0]')
    UNION ALL
    SELECT cleared_at, name, 4, it.id, 'cleared', code, severity, subject, detail
        FROM findings AS it JOIN targets ON targets.id = it.target WHERE cleared_at IS NOT NULL
    UNION ALL
    SELECT raised_at, name, 5, it.id, 'raised', code, severity, subject, detail
        FROM findings AS it JOIN targets ON targets.id = it.target WHERE changed_at IS NULL
    UNION ALL
    SELECT changed_at, name, 6, it.id, 'changed', code, severity, subject, detail
        FROM findings AS it JOIN targets ON targets.id = it.target WHERE changed_at IS NOT NULL
    UNION ALL
    SELECT ended_at, name, 8, it.id, 'ended', action, outcome, reason, "by"
        FROM actions AS it JOIN targets ON targets.id = it.target
    UNION ALL
    SELECT decided_at, subject, 9, it.id, 'decided', action || ' by ' || policy, status, reasons, waits_for
        FROM decisions AS it
    UNION ALL
    SELECT at, name, 10, it.id, 'left_out', left_out, NULL, NULL, NULL FROM days AS it WHERE left_out > 0
    UNION ALL
    SELECT removed_at, name, 7, it.id, 'removed', NULL, NULL, NULL, NULL FROM targets AS it WHERE removed_at IS NOT NULL
)
WHERE at >= :since AND (:until IS NULL OR at < :until) AND (:target IS NULL OR name = :target) AND is_meant(name)
    AND (:what IS NULL OR what = :what) AND (:place IS NULL OR at <= :place)
ORDER BY at DESC, name, place DESC, row DESC
LIMIT :limit OFFSET :skip
"""


_NAMES: Final = """
SELECT name, component FROM targets UNION SELECT subject, NULL FROM decisions
"""


def history(
    path: str,
    target: str | Collection[str] | None = None,
    since: float = 0.0,
    until: float | None = None,
    limit: int = 1000,
    *,
    what: What | None = None,
    place: HistoryPlace | None = None,
) -> list[HistoryEntry] | Degraded:
    """Return the events from Unix time `since` until just before `until`, newest first, at most `limit` of them.

    `target` is one target, several, or None for all; `what` None admits every kind; the list goes on behind `place`.
    Needs no daemon: any process that may read the file at `path` may ask.
    """
    one = stored(target) if isinstance(target, str) else None
    several = None if target is None or isinstance(target, str) else frozenset(map(stored, target))
    arguments = {"since": since, "until": until, "target": one, "limit": limit, "what": what}
    arguments |= {"place": None, "skip": 0} if place is None else {"place": place.at, "skip": place.skipped}
    try:
        with reading(path) as connection:
            connection.create_function("is_meant", 1, lambda name: several is None or name in several)
            return [_entry(*row) for row in connection.execute(_HISTORY, arguments)]
    except (OSError, sqlite3.Error, UnusableError) as error:
        return degraded(error)
    except (ValueError, TypeError, OverflowError) as error:
        return Degraded(DegradedReason.CORRUPT, f"a row makes no sense: {printable(str(error), 200)}")


def names(path: str) -> dict[str, str | None] | Degraded:
    """Return every target and component with an entry, and the component of each target."""
    try:
        with reading(path) as connection:
            rows = connection.execute(_NAMES).fetchall()
            return {restored(name): None if component is None else restored(component) for name, component in rows}
    except (OSError, sqlite3.Error, UnusableError) as error:
        return degraded(error)


def _entry(at: float, name: str | bytes, _place: int, _row: int, what: str, *facts: Any) -> HistoryEntry:
    target, happened = restored(name), What(what)
    match happened:
        case What.ADDED:
            kind, location, *_ = facts
            where = "" if kind == TargetKind.SELF else f": {kind} {printable(restored(location))}"
            return HistoryEntry(at, target, happened, f"watched from now on{where}")
        case What.REMOVED:
            return HistoryEntry(at, target, happened, "no longer watched")
        case What.LEFT_OUT:
            count = int(facts[0])
            changes = "one more change" if count == 1 else f"{count} more changes"
            said = f"{changes} on this day, not recorded one by one: the target changes too often"
            return HistoryEntry(at, target, happened, said)
        case What.PRESENTED:
            certificates, subject, not_after, *_ = facts
            chain = tuple(json.loads(certificates))
            return HistoryEntry(at, target, happened, _presents(chain, subject, not_after), chain)
        case What.ENDED:
            action, outcome, detail, by = *facts[:2], restored(facts[2]), restored(facts[3])
            on_behalf = f", for {printable(by)}" if by else ""
            sentence = f"{action} {outcome}{on_behalf}: {printable(detail)}"
            return HistoryEntry(at, target, happened, sentence, reason=outcome, detail=detail)
        case What.DECIDED:
            what, status, reasons, waits_for = *facts[:2], restored(facts[2]), restored(facts[3])
            detail = printable("; ".join(reasons.splitlines()), 4096)
            wait = f", for {printable(waits_for)}" if waits_for else ""
            return HistoryEntry(
                at, target, happened, f"{what}: {status}{wait}, because {detail}", reason=status, detail=detail
            )
        case What.FAILED | What.RECOVERED:
            reason, detail = restored(facts[0]), restored(facts[1])
            failed = f"could not be looked at ({reason}): {printable(detail)}"
            sentence = failed if happened is What.FAILED else f"could be looked at again (was {reason})"
            return HistoryEntry(at, target, happened, sentence, reason=reason, detail=detail)
        case What.RAISED | What.CHANGED | What.CLEARED:
            code, severity = facts[:2]
            subject, detail = restored(facts[2]), restored(facts[3])
            sentence = _says(happened, code, severity, subject, detail)
            return HistoryEntry(
                at, target, happened, sentence, code=code, severity=severity, subject=subject, detail=detail
            )


def _presents(chain: tuple[str, ...], subject: str | None, not_after: int | None) -> str:
    if not chain:
        return "presents no certificate"
    ends = "an unknown time" if not_after is None else moment(not_after)
    more = f", and {len(chain) - 1} more" if len(chain) > 1 else ""
    return f"presents {subject or 'a certificate without a name'}, valid until {ends}{more}"


def _says(what: What, code: str, severity: str, subject: str, detail: str) -> str:
    which = f"{code} ({subject})" if subject else code
    prefix = {What.RAISED: severity, What.CHANGED: f"now {severity}"}.get(what, "cleared")
    return f"{prefix}: {which}: {detail}"
