"""The page *History and audit*: what was seen, and who had what changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Final, Self
from urllib.parse import urlencode

from actions.journal import Event
from config.immutable import immutable
from config.text import harmless, printable
from monitor.audit import AuditEntry
from monitor.http.answers import Happened
from monitor.http.console.table import QueryError
from monitor.store import Degraded, HistoryEntry, HistoryPlace, What

ENTRIES: Final = 200
"""Of a page."""
_LONGEST: Final = 300
_LONGEST_PLACE: Final = 40
_MOST_SKIPPED: Final = 10**9


@immutable
class RecordQuery:
    """What is to be shown, as the address has it. An empty field admits all."""

    target: str = ""
    what: What | None = None
    until: str = ""
    """A time in ISO 8601, before which the entries are."""
    place: HistoryPlace | None = None
    """Behind which the entries are; None for the first page."""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """Return the query of an address; raises QueryError."""
        wanted = parameters.get("what", "")
        if wanted and wanted not in set(What):
            raise QueryError(f"what is none of {', '.join(What)}")
        until = parameters.get("until", "").strip()
        if until and _unix(until) is None:
            raise QueryError("until is no time such as 2026-11-29T12:00:00Z")
        target = parameters.get("target", "").strip()[:_LONGEST]
        return cls(target, What(wanted) if wanted else None, until, _place(parameters.get("place", "")))

    @property
    def before(self) -> float | None:
        """Unix time before which the entries are; None for now."""
        return _unix(self.until)

    def address(self, place: HistoryPlace) -> str:
        """Return the query part of the address of the entries behind `place`."""
        written = f"{place.at!r}_{place.skipped}"
        given = {"target": self.target, "what": self.what or "", "until": self.until, "place": written}
        return f"?{urlencode({name: value for name, value in given.items() if value}, errors='replace')}"


def _place(text: str) -> HistoryPlace | None:
    if not text:
        return None
    at, _, skipped = text.partition("_")
    try:
        place = HistoryPlace(float(at), int(skipped))
    except ValueError:
        place = None
    if len(text) > _LONGEST_PLACE or place is None or not (isfinite(place.at) and 0 <= place.skipped < _MOST_SKIPPED):
        raise QueryError("place is no place in the history")
    return place


def _unix(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


@immutable
class AuditRow:
    """A record of the actor: who had what done, approved it or rejected it."""

    at: float
    """Unix time."""
    event: str
    action: str
    subject: str
    about: str
    """The transaction, or the begin of a plan's hash."""
    by: str
    why: str


@immutable
class RecordPage:
    """All that the page shows."""

    query: RecordQuery
    entries: tuple[Happened, ...]
    earlier: HistoryPlace | None
    """Where the next page begins; None where there is none."""
    no_history: str
    """Why the history cannot be read; empty where it can."""
    audit: tuple[AuditRow, ...]
    no_audit: str
    """Why the actor's records cannot be read; empty where they can."""

    @property
    def kinds(self) -> tuple[What, ...]:
        """The kinds of entries, for the filter."""
        return tuple(What)


def record_page(
    query: RecordQuery, history: Sequence[HistoryEntry] | Degraded, audit: Sequence[AuditEntry] | str
) -> RecordPage:
    """Return the page for what the database and the actor gave, the newest first.

    Of the history, the page shows `ENTRIES`, and one more says that there is another page.
    """
    found = () if isinstance(history, Degraded) else history
    shown = found[:ENTRIES]
    return RecordPage(
        query=query,
        entries=tuple(map(Happened.of, shown)),
        earlier=_behind(shown, query.place) if len(found) > ENTRIES else None,
        no_history=harmless(str(history.detail)) if isinstance(history, Degraded) else "",
        audit=() if isinstance(audit, str) else tuple(_row(each) for each in audit if _is_meant(each, query)),
        no_audit=audit if isinstance(audit, str) else "",
    )


def _behind(shown: Sequence[HistoryEntry], place: HistoryPlace | None) -> HistoryPlace:
    """Return the place behind these entries, which begin at `place`."""
    at = shown[-1].at
    before = place.skipped if place is not None and place.at == at else 0
    return HistoryPlace(at, before + sum(each.at == at for each in shown))


def _is_meant(entry: AuditEntry, query: RecordQuery) -> bool:
    is_early = query.before is None or entry.at < query.before
    is_early &= query.place is None or entry.at <= query.place.at
    names = (*entry.components, entry.group)
    # A target of a component has its name before the slash.
    return is_early and (not query.target or query.target in names or query.target.partition("/")[0] in names)


def _row(entry: AuditEntry) -> AuditRow:
    record = entry.record
    data = record["data"]
    named = next((data[name] for name in ("hash", "candidate", "key", "root") if data.get(name)), "")
    event = str(record["event"])
    return AuditRow(
        at=entry.at,
        event=Event(event).value if event in set(Event) else printable(event),
        action=printable(entry.kind),
        subject=printable(entry.group or ", ".join(entry.components)),
        about=printable(str(record["transaction"] or str(named)[:16])),
        by=printable(entry.by),
        why=printable(str(data.get("why") or data.get("reason") or "")),
    )
