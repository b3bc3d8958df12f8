"""The certvigil that the command of this process is about, for the commands that it prints.

The places are known one after the other: from the command line, from the configuration, from the daemon.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from config.command_reach import DEFAULT_CONFIG, DEFAULT_SOCKET, CommandReach, speak_for

if TYPE_CHECKING:
    from config.model import Config


def about(path: str, socket: str | None = None) -> None:
    """Note the configuration that a command is given, and the socket where the command line names one."""
    speak_for(CommandReach(os.path.abspath(path), socket or DEFAULT_SOCKET))


def about_config(config: Config, socket: str | None = None) -> None:
    """Note the places of a configuration, and the socket where the command line names one."""
    reach = CommandReach.of(config)
    speak_for(reach if socket is None else replace(reach, socket=socket))


def about_daemon(socket: str, path: str | None = None) -> None:
    """Note the socket of a daemon, and the path of its configuration where it has told it."""
    speak_for(CommandReach(path or DEFAULT_CONFIG, socket))
