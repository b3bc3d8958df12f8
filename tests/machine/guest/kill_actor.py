"""Kills the actor as soon as its journal has an event; run inside the guest. Only the standard library.

The arguments are the event, and a command that is started meanwhile. Exits with 1 where it ended before the event came.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

JOURNAL = "/var/lib/certvigil-actor/journal.jsonl"


def main() -> int:
    """Kill it."""
    event, *command = sys.argv[1:]
    shown = subprocess.run(
        ["systemctl", "show", "-P", "MainPID", "certvigil-actor"], capture_output=True, text=True, check=True
    )
    wanted = f'"event":"{event}"'.encode()
    with open(JOURNAL, "rb") as journal:
        # Behind the last record lies reserved space.
        before = len(journal.read().rstrip(b"\0"))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while process.poll() is None:
            if wanted in os.pread(journal.fileno(), 1 << 20, before):
                os.kill(int(shown.stdout), signal.SIGKILL)
                process.communicate(timeout=300)
                return 0
            time.sleep(0.002)
        print(process.communicate()[0].decode(errors="replace"))  # noqa: T201 (its output)
    return 1


sys.exit(main())
