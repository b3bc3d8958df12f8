"""`certvigil run` and `certvigil actor`."""

from __future__ import annotations

import gc
import logging

from config.text import Log
from config.vocabulary import LogFormat, LogLevel
from monitor.commands.config import loaded
from monitor.host.entry import HostUser, installed_at, why_no_entry
from monitor.state.log import set_up

log: Log = logging.getLogger("certvigil.actor")

BAD_CONFIGURATION = 78
"""EX_CONFIG of sysexits(3): the manager need not try again."""


def run(path: str, log_format: LogFormat, log_level: LogLevel) -> int:
    """Run the daemon until it is told to stop, and return its exit code."""
    config = loaded(path, secrets=True)
    if config is None:
        return BAD_CONFIGURATION
    from monitor.daemon import run_daemon  # noqa: PLC0415 (an actor does not need it)

    set_up(log_format, log_level, config.host)
    gc.freeze()
    gc.enable()
    return run_daemon(path, config)


def run_actor(path: str, log_format: LogFormat, log_level: LogLevel) -> int:
    """Run the actor until it is told to stop, and return its exit code."""
    config = loaded(path)
    if config is None:
        return BAD_CONFIGURATION
    from monitor.actor.server import run_actor as start  # noqa: PLC0415 (a daemon does not need it)

    set_up(log_format, log_level, config.host)
    # The daemon itself would not come so far as to say it.
    user = HostUser.named(config.settings.actor.daemon_user)
    if user.exists and (why := why_no_entry(user, installed_at())) is not None:
        log.warning("%s", why)
    return start(path, config)
