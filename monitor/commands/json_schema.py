"""`certvigil json-schema`."""

from __future__ import annotations

import json
import sys

from config.text import Printable
from monitor.commands.choice import unknown
from monitor.commands.complain import complain
from monitor.http.published import PUBLISHED
from monitor.http.published import json_schema as schema_of

_UNKNOWN = 3


def json_schema(command: str) -> int:
    """Print the JSON Schema of `command` with `--json`, or the names of all such commands where it is empty."""
    if not command:
        sys.stdout.write("".join(f"{each}\n" for each in PUBLISHED))
        return 0
    if wrong := unknown([command], tuple(PUBLISHED), Printable("command with --json")):
        complain("certvigil json-schema: {}", wrong)
        return _UNKNOWN
    sys.stdout.write(json.dumps(schema_of(command), indent=2) + "\n")
    return 0
