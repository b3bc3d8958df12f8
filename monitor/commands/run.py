"""`certvigil run`."""

from __future__ import annotations

from config.vocabulary import LogFormat, LogLevel
from monitor.commands.config import loaded
from monitor.daemon import run_daemon
from monitor.log import set_up

BAD_CONFIGURATION = 78
"""EX_CONFIG of sysexits(3): the manager need not try again."""


def run(path: str, log_format: LogFormat, log_level: LogLevel) -> int:
    """Run the daemon until it is told to stop, and return its exit code."""
    config = loaded(path)
    if config is None:
        return BAD_CONFIGURATION
    set_up(log_format, log_level)
    return run_daemon(path, config)
