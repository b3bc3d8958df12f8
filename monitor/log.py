"""Structured logs: one line for each event, as text for people or JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from actions.ending import Outcome
from config.text import printable
from config.vocabulary import LogFormat, LogLevel, Severity
from monitor.events import (
    ActionEnded,
    Event,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    IdentityChanged,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    TargetAdded,
    TargetRemoved,
)

log = logging.getLogger("certvigil")

_LEVEL: Final = {
    Severity.NOTICE: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.ERROR,
}


class _JSON(logging.Formatter):
    def __init__(self, host: str) -> None:
        super().__init__()
        self._host = host

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": _time(record),
            "host": self._host,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", {})
        said = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in facts.items())
        line = f"{_time(record)} {record.levelname.lower():<8} {printable(record.getMessage())}"
        line = f"{line} {_one_line(said)}" if said else line
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _one_line(text: str) -> str:
    """Return text whose quotes and backslashes were escaped already, without a character that breaks a line."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def set_up(form: LogFormat, level: LogLevel, host: str) -> None:
    """Send every log line to standard error in that form, from `level` up; JSON says on which `host` it was written."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSON(host) if form is LogFormat.JSON else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    log.setLevel(level.upper())


def log_events(events: Sequence[Event]) -> None:
    """Write a line for each event that a person would want to read."""
    for event in events:
        match event:
            case FindingRaised(finding=found):
                _say(
                    _LEVEL[found.severity], "raised", event, code=found.code, subject=found.subject, detail=found.detail
                )
            case FindingChanged(finding=found):
                _say(
                    _LEVEL[found.severity],
                    "changed",
                    event,
                    code=found.code,
                    subject=found.subject,
                    detail=found.detail,
                )
            case FindingCleared(finding=found):
                _say(logging.INFO, "cleared", event, code=found.code, subject=found.subject, detail=found.detail)
            case PresentedChanged(before=before, after=after):
                leaf = after[0] if after else None
                _say(
                    # What is there at first sight is no news: a first scan would say it of every file.
                    logging.INFO if before else logging.DEBUG,
                    "presents",
                    event,
                    subject=leaf.subject if leaf else "",
                    sha256=leaf.sha256 if leaf else "",
                )
            case LookFailed(reason=reason, detail=detail):
                _say(logging.DEBUG, "failed", event, reason=reason, detail=detail)
            case ActionEnded():
                level = logging.INFO if event.outcome is Outcome.COMMITTED else logging.ERROR
                _say(
                    level,
                    "ended",
                    event,
                    transaction=event.transaction,
                    action=event.action,
                    outcome=event.outcome,
                    cause=event.cause,
                    detail=event.reason,
                    by=event.by,
                )
            case LookRecovered() | TargetAdded() | TargetRemoved() | IdentityChanged():
                _say(logging.DEBUG, type(event).__name__, event)


def _say(level: int, what: str, event: Event, **facts: str) -> None:
    if log.isEnabledFor(level):
        log.log(level, "%s %s", what, event.target, extra={"facts": {"event": what, "target": event.target, **facts}})
