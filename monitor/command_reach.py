"""The options by which a command that certvigil prints reaches the certvigil that printed it.

Texts name commands as they are on a host with the default paths. Where the configuration or the socket is elsewhere,
each text is completed here when it leaves the process: a message, an answer of the API, a line on a screen, JSON.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from config.immutable import immutable
from config.text import printable

if TYPE_CHECKING:
    # The command line knows the default paths without loading what a configuration is made of.
    from config.model import Config

DEFAULT_CONFIG: Final = "/etc/certvigil"
DEFAULT_SOCKET: Final = "/run/certvigil/certvigil.sock"
"""That of `config.model.Settings`."""

_CONFIG: Final = ("--config",)
_SOCKET: Final = ("--socket",)
TAKEN: Final = MappingProxyType(
    {
        **dict.fromkeys(("run", "actor", "history", "doctor", "guide", "export", "rotate", "why"), _CONFIG),
        **dict.fromkeys(("plan", "replace", "activate", "rollback", "reset-to-default"), _CONFIG),
        **dict.fromkeys(("approve", "reject", "recover", "audit", "backups", "csr", "offer"), _CONFIG),
        **dict.fromkeys(("trust list", "trust add", "trust remove", "trust restore", "trust confirm"), _CONFIG),
        **dict.fromkeys(("trust password", "trust enforce", "trust relax", "trust export"), _CONFIG),
        **dict.fromkeys(("config check", "config show", "config units", "notify test"), _CONFIG),
        **dict.fromkeys(("inventory", "policy explain", "policy test"), (*_CONFIG, *_SOCKET)),
        **dict.fromkeys(("status", "reload", "notify show", "notify acknowledge", "notify silence"), _SOCKET),
        **dict.fromkeys(("notify unsilence", "notify retry", "notify drop"), _SOCKET),
    }
)
"""By command, the options of these two that it needs; `doctor` takes the socket from the configuration."""
_COMMAND: Final = re.compile(
    rf"(?<![\w/.-])certvigil ({'|'.join(sorted(TAKEN, key=len, reverse=True))})(?![\w:-])(?=([^`\"\n;]*))"
)
"""A command, and what follows it. The name of a command before a colon begins a line of an error."""


def _as_it_is(text: str) -> str:
    return text


@immutable
class CommandReach:
    """The places by which commands reach a certvigil."""

    config: str = DEFAULT_CONFIG
    socket: str = DEFAULT_SOCKET

    @classmethod
    def of(cls, config: Config) -> CommandReach:
        """Return the places of a configuration."""
        return cls(config.given or DEFAULT_CONFIG, config.settings.socket)

    def completed(self, text: str, escape: Callable[[str], str] = _as_it_is) -> str:
        """Return a text in which each command of certvigil has the options that it needs and lacks.

        `escape` makes the options what the text is, such as JSON.
        """
        wanted = {"--config": (self.config, DEFAULT_CONFIG), "--socket": (self.socket, DEFAULT_SOCKET)}
        options = {each: shlex.quote(printable(value)) for each, (value, usual) in wanted.items() if value != usual}
        if not options:
            return text

        def with_options(found: re.Match[str]) -> str:
            command, rest = found.groups()
            lacked = [each for each in TAKEN[command] if each in options and each not in rest]
            return found[0] + "".join(f" {escape(f'{each} {options[each]}')}" for each in lacked)

        return _COMMAND.sub(with_options, text)
