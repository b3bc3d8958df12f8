"""The certvigil that the command of this process is about, for the commands that it prints."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from config.text import Printable, harmless
from monitor.command_reach import DEFAULT_SOCKET, CommandReach

if TYPE_CHECKING:
    from config.model import Config


class _Here:
    """The places are known one after the other: from the command line, from the configuration, from the daemon."""

    reach = CommandReach()


def about(path: str, socket: str | None = None) -> None:
    """Note the configuration that a command is given, and the socket where the command line names one."""
    _Here.reach = CommandReach(os.path.abspath(path), socket or DEFAULT_SOCKET)


def about_config(config: Config, socket: str | None = None) -> None:
    """Note the places of a configuration, and the socket where the command line names one."""
    reach = CommandReach.of(config)
    _Here.reach = reach if socket is None else CommandReach(reach.config, socket)


def about_daemon(socket: str, path: str | None = None) -> None:
    """Note the socket of a daemon, and the path of its configuration where it has told it."""
    _Here.reach = CommandReach(socket=socket) if path is None else CommandReach(path, socket)


def completed(text: str) -> Printable:
    """Return text in which each command of certvigil has its options."""
    return harmless(_Here.reach.completed(text))


def completed_json(text: str) -> str:
    """Return a document in JSON in which each command of certvigil has its options."""
    return _Here.reach.completed(text, lambda option: json.dumps(option)[1:-1])
