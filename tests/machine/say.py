"""Telling whoever waits what is done."""

from __future__ import annotations

import sys
import time


def say(what: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {what}\n")
    sys.stderr.flush()
