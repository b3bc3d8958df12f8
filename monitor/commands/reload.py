"""`certvigil reload`."""

from __future__ import annotations

import sys

from config.text import printable
from monitor.client import NoAnswer, ask


def reload(socket: str) -> int:
    """Have the daemon read its configuration again; return 1 where it kept the old one, 3 where nobody answers."""
    answer = ask(socket, "/api/v1/reload", method="POST")
    if isinstance(answer, NoAnswer):
        sys.stderr.write(f"certvigil reload: {answer.why}\n")
        return 3
    for mistake in answer.get("mistakes", ()):
        sys.stderr.write(f"{printable(str(mistake))}\n")
    if answer.get("mistakes"):
        sys.stderr.write("certvigil reload: the configuration in force stays\n")
        return 1
    sys.stdout.write("the configuration was read again\n")
    return 0
