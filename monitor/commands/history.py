"""`certvigil history`: what happened, from the database."""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import asdict

from config.text import printable
from monitor.commands.checked import iso
from monitor.commands.config import loaded
from monitor.commands.screen import Screen
from monitor.store import Degraded, database_path
from monitor.store import history as read_history

_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def history(
    target: str | None, since: str, limit: int, config_path: str, database: str | None, *, as_json: bool
) -> int:
    """Print what happened, newest first; return 3 where the database cannot be read."""
    back = re.fullmatch(r"(\d+)([smhdw])", since)
    if back is None:
        sys.stderr.write(f"certvigil history: --since {printable(since)}: write a number and a unit, such as 12h\n")
        return 3
    if database is None:
        config = loaded(config_path)
        if config is None:
            return 3
        database = database_path(config.settings.state_directory)
    found = read_history(database, target, time.time() - int(back[1]) * _UNIT[back[2]], limit=limit)
    if isinstance(found, Degraded):
        sys.stderr.write(f"certvigil history: {printable(database)} cannot be read: {found.detail}\n")
        return 3
    if as_json:
        entries = [{**asdict(entry), "at": iso(entry.at)} for entry in found]
        json.dump({"schema": 1, "entries": entries}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    rows = ((iso(entry.at) or "", entry.target, entry.what, entry.sentence) for entry in found)
    Screen().table(("when", "target", "what", "how"), rows)
    return 0
