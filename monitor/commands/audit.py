"""`certvigil audit`: who asked for what, who approved it, and how it ended, as the actor's journal has it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from actions.journal import Event, Journal, JournalError
from actions.world import World
from config.model import Config
from config.text import printable
from monitor.actor.client import NoActor, talking
from monitor.actor.request import Request, Verb
from monitor.actor.workbench import journal_path
from monitor.commands.check import iso
from monitor.commands.config import loaded
from monitor.commands.screen import Screen

_UNUSABLE: Final = 4
_PATIENCE: Final = 30.0
_TOLD: Final = frozenset(
    {
        *(Event.PROPOSED, Event.APPROVED, Event.REJECTED, Event.REFUSED, Event.BEGIN, Event.ROLLING_BACK),
        *(Event.COMMITTED, Event.ROLLED_BACK, Event.FAILED_FORWARD, Event.FROZEN, Event.THAWED),
        *(Event.QUARANTINED, Event.RELEASED, Event.RECOVERING, Event.WITHDRAWN, Event.UNNEEDED),
    }
)
"""Records that say who did what; the others are steps on the way."""


def audit(config_path: str, *, as_json: bool) -> int:
    """Print the journal, oldest first: with JSON, each record whole on a line of its own."""
    config = loaded(config_path)
    if config is None:
        return _UNUSABLE
    try:
        records = list(_records(config))
    except (JournalError, OSError) as error:
        sys.stderr.write(f"certvigil audit: {printable(str(error))}\n")
        return _UNUSABLE
    if as_json:
        for each in records:
            sys.stdout.write(json.dumps(each) + "\n")
        return 0
    told = (each for each in records if each["event"] in _TOLD)
    Screen().table(("when", "what", "transaction or plan", "who", "why"), map(_row, told))
    return 0


def _records(config: Config) -> Iterator[Mapping[str, Any]]:
    try:
        with talking(config.settings.actor.socket, Request(Verb.FOLLOW), _PATIENCE) as answers:
            for document in answers:
                if "cannot" in document:
                    raise JournalError(document["cannot"])
                if "here" in document:
                    return
                yield document["record"]
    except NoActor:
        with closing(Journal(World(), journal_path(config))) as journal:
            for record in journal.records():
                yield {
                    "at": record.at,
                    "transaction": record.transaction,
                    "event": record.event,
                    "data": dict(record.data),
                }


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    data = record["data"]
    about = record["transaction"] or str(data.get("hash") or data.get("candidate") or "")[:16]
    what = next((each for each in (data.get("plan"), data.get("wish")) if isinstance(each, dict)), data)
    components = ", ".join(map(str, what.get("components", ())))
    said = " ".join(filter(None, (str(record["event"]), str(what.get("kind", "")), components)))
    why = str(data.get("why") or data.get("reason") or "")
    return (
        iso(record["at"]) or "",
        printable(said),
        printable(about),
        printable(str(data.get("by", ""))),
        printable(why),
    )
