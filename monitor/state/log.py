"""Structured logs: one line for each event, as text for people or JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from actions.ending import Outcome
from config.text import harmless
from config.vocabulary import LogFormat, LogLevel, Severity
from monitor.state.bus import Subscriber
from monitor.state.events import (
    ActionEnded,
    FileJudged,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    StateEvent,
    SupportedChanged,
    TargetAdded,
    TargetRemoved,
)
from probes.finding import Finding

log = logging.getLogger("certvigil")

_LEVEL: Final = {
    Severity.INFORMATIONAL: logging.INFO,
    Severity.NOTICE: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.CRITICAL: logging.ERROR,
}


class _Formatter(logging.Formatter):
    def __init__(self, host: str) -> None:
        super().__init__()
        self._host = host

    def facts(self, record: logging.LogRecord) -> dict[str, str]:
        """Return the facts of a line beside its message."""
        return {**getattr(record, "facts", {}), "host": self._host}


class _JSON(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.facts(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


class _Text(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = self.facts(record).items()
        said = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in facts)
        line = f"{_time(record)} {record.levelname.lower():<8} {harmless(record.getMessage())}"
        line = f"{line} {_one_line(said)}" if said else line
        if not record.exc_info:
            return line
        # The message of an exception may hold text from outside, and lines that look like ours.
        trace = (f"  {harmless(each)}" for each in self.formatException(record.exc_info).split("\n"))
        return "\n".join((line, *trace))


def _one_line(text: str) -> str:
    """Return text whose quotes and backslashes were escaped already, without a character that breaks a line."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def set_up(form: LogFormat, level: LogLevel, host: str) -> None:
    """Send every log line to standard error in that form, from `level` up; each line says the `host`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSON(host) if form is LogFormat.JSON else _Text(host))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    log.setLevel(level.upper())


def event_log(location: Callable[[str], str]) -> Subscriber:
    """Return a subscriber that writes a line for each event that a person would want to read.

    `location` gives the path or the address of a target, which is said where its name does not say it.
    """

    def write(events: Sequence[StateEvent]) -> None:
        for event in events:
            if (line := _line(event)) is None or not log.isEnabledFor(line[0]):
                continue
            level, what, facts = line
            where = location(event.target)
            place = {} if not where or where in event.target else {"location": where}
            facts = {"event": what, "target": event.target, **place, **facts}
            log.log(level, "%s %s", what, event.target, extra={"facts": facts})

    return write


def _line(event: StateEvent) -> tuple[int, str, dict[str, str]] | None:
    """Return level, word and facts of an event; None for one that is no news to a person."""
    match event:
        case FindingRaised(finding=found):
            return _LEVEL[found.severity], "raised", _of_finding(found)
        case FindingChanged(finding=found):
            return _LEVEL[found.severity], "changed", _of_finding(found)
        case FindingCleared(finding=found):
            return logging.INFO, "cleared", _of_finding(found)
        case PresentedChanged(before=before, after=after):
            leaf = after[0] if after else None
            facts = {"subject": leaf.subject if leaf else "", "sha256": leaf.sha256 if leaf else ""}
            # The first look at a target is no news: a first scan would write a line for every file.
            return logging.INFO if before else logging.DEBUG, "presents", facts
        case LookFailed(reason=reason, detail=detail):
            return logging.DEBUG, "failed", {"reason": reason, "detail": detail}
        case ActionEnded():
            is_well = event.ending.outcome in {Outcome.COMMITTED, Outcome.SUPERSEDED}
            level = logging.INFO if is_well else logging.ERROR
            facts = {name: str(fact) for name, fact in event.ending.facts().items()}
            # A line of the log calls the reason of anything its detail.
            return level, "ended", {"detail" if name == "reason" else name: fact for name, fact in facts.items()}
        case LookRecovered() | TargetAdded() | TargetRemoved() | FileJudged() | SupportedChanged():
            return logging.DEBUG, type(event).__name__, {}
        case _:
            return None


def _of_finding(found: Finding) -> dict[str, str]:
    return {"code": found.code, "subject": found.subject, "detail": found.detail}
