"""The state of notifications as rows: alerts, messages, silences.

Each is read and written as a whole, so it is kept as one JSON document, beside the columns that are asked for.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from config.channel import FindingMatch, Silence
from config.text import printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.deliver import Message, Tone
from monitor.notify.delivery import Delivery, DeliveryFate
from monitor.notify.lifecycle import Acknowledgement, Alert, AlertKey
from monitor.notify.outbox import OutboxState, RequestedSilence
from monitor.store.database import reading
from monitor.store.health import Degraded, DegradedReason, UnusableError, degraded
from monitor.store.text import restored, stored

Row = dict[str, Any]

_ALERTS: Final = "SELECT channel, key, content FROM alerts"
_LETTERS: Final = (
    "SELECT id, channel, at, fate, ended_at, content FROM deliveries WHERE fate IN ('pending', 'dead') ORDER BY at"
)
_SILENCES: Final = "SELECT id, content FROM silences"


def load_kept(path: str) -> OutboxState | Degraded:
    """Return the state of notifications from the database at `path`, with the messages that are not delivered yet."""
    try:
        with reading(path) as connection:
            return OutboxState(
                {(alert.channel, alert.key): alert for alert in _alerts(connection)},
                {delivery.id: delivery for delivery in _deliveries(connection)},
                {requested.id: requested for requested in _silences(connection)},
            )
    except (OSError, sqlite3.Error, UnusableError) as error:
        return degraded(error)
    except (ValueError, TypeError, LookupError) as error:
        return Degraded(DegradedReason.CORRUPT, f"a row makes no sense: {printable(str(error), 200)}")


def alert_row(about: AlertKey, alert: Alert | None) -> Row:
    """Return the row of an alert; without content where that is over."""
    channel, key = about
    row: Row = {"channel": channel, "key": stored(key), "content": None}
    if alert is not None:
        known = alert.acknowledged
        row["content"] = json.dumps(
            {
                "severity": alert.severity,
                "codes": sorted(alert.codes),
                "targets": sorted(alert.targets),
                "since": alert.since,
                "opened_at": alert.opened_at,
                "told_at": alert.told_at,
                "what": alert.what,
                "about": alert.about,
                "messages": alert.messages,
                "cleared_at": alert.cleared_at,
                "acknowledged": None if known is None else [known.who, known.at, known.until],
                "gone": dict(alert.gone),
                "flapping": dict(alert.flapping),
                "begins": dict(alert.begins),
                "hurt": sorted(alert.hurt),
                "asking": sorted(alert.asking),
                "certificates": sorted(alert.certificates),
            }
        )
    return row


def delivery_row(delivery: Delivery) -> Row:
    """Return the row of a message."""
    message = delivery.message
    return {
        "id": delivery.id,
        "channel": delivery.channel,
        "at": delivery.at,
        "fate": str(delivery.fate),
        "ended_at": delivery.ended_at,
        "content": json.dumps(
            {
                "problems": delivery.problems,
                "message": [message.title, message.text, message.markdown, message.brief, message.tone],
                "attempts": delivery.attempts,
                "delivered_to": sorted(delivery.delivered_to),
                "why": delivery.why,
            }
        ),
    }


def silence_row(identifier: str, requested: RequestedSilence | None) -> Row:
    """Return the row of a silence; without content where it is over."""
    row: Row = {"id": identifier, "content": None}
    if requested is not None:
        match = requested.silence.match
        row["content"] = json.dumps(
            {
                "match": [match.targets, match.components, match.kinds, match.codes, match.labels],
                "reason": requested.silence.reason,
                "until": requested.silence.until,
                "who": requested.who,
                "since": requested.since,
            }
        )
    return row


def _alerts(connection: sqlite3.Connection) -> Iterator[Alert]:
    for channel, key, content in connection.execute(_ALERTS):
        said = json.loads(content)
        yield Alert(
            channel=channel,
            key=restored(key),
            severity=Severity(said["severity"]),
            codes=frozenset(Code(each) for each in said["codes"] if each in _CODES),
            targets=frozenset(said["targets"]),
            since=said["since"],
            opened_at=said["opened_at"],
            told_at=said["told_at"],
            what=said["what"],
            about=said["about"],
            messages=said["messages"],
            cleared_at=said["cleared_at"],
            acknowledged=Acknowledgement(*said["acknowledged"]) if said["acknowledged"] else None,
            gone=said["gone"],
            flapping={target: (count, since) for target, (count, since) in said["flapping"].items()},
            begins=said["begins"],
            hurt=frozenset(said["hurt"]),
            asking=frozenset(said["asking"]),
            certificates=frozenset(said["certificates"]),
        )


_CODES: Final = frozenset(Code)
"""A later version with the same tables may know more."""


def _deliveries(connection: sqlite3.Connection) -> Iterator[Delivery]:
    for identifier, channel, at, fate, ended_at, content in connection.execute(_LETTERS):
        said = json.loads(content)
        title, text, markdown, brief, tone = said["message"]
        yield Delivery(
            id=identifier,
            channel=channel,
            problems=tuple(said["problems"]),
            message=Message(title, text, markdown, brief, Tone(tone)),
            at=at,
            fate=DeliveryFate(fate),
            attempts=said["attempts"],
            delivered_to=frozenset(said["delivered_to"]),
            why=said["why"],
            ended_at=ended_at,
        )


def _silences(connection: sqlite3.Connection) -> Iterator[RequestedSilence]:
    for identifier, content in connection.execute(_SILENCES):
        said = json.loads(content)
        targets, components, kinds, codes, labels = said["match"]
        match = FindingMatch(
            tuple(targets),
            tuple(components),
            tuple(map(TargetKind, kinds)),
            tuple(map(Code, codes)),
            tuple((name, tuple(values)) for name, values in labels),
        )
        yield RequestedSilence(identifier, Silence(match, said["reason"], said["until"]), said["who"], said["since"])
