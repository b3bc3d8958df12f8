"""`certvigil reload`."""

from __future__ import annotations

import sys

from config.text import printable
from monitor.commands import here
from monitor.commands.client import NoDaemonAnswer, ask
from monitor.commands.complain import complain


def reload(socket: str) -> int:
    """Have the daemon read its configuration again; return 1 where it kept the old one, 3 where no daemon answers."""
    here.about_daemon(socket)
    answer = ask(socket, "/api/v1/reload", method="POST")
    if isinstance(answer, NoDaemonAnswer):
        complain("certvigil reload: {}", answer.why)
        return 3
    for mistake in answer.get("mistakes", ()):
        complain("{}", printable(str(mistake)))
    if answer.get("mistakes"):
        complain("certvigil reload: the configuration in force stays")
        return 1
    sys.stdout.write("the configuration was read again\n")
    return 0
