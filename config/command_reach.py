"""The options by which a command that certvigil prints reaches the certvigil that printed it.

Our sentences name commands as they are on a host with the default paths. Where the configuration or the socket is
elsewhere, `config.text.sentence` completes them: its templates are ours, its parts may be from outside and stay as
they are. Each process says once, by `speak_for`, which certvigil it is or asks.
"""

from __future__ import annotations

import re
import shlex
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from config.immutable import immutable

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


@immutable
class CommandReach:
    """The places by which commands reach a certvigil."""

    config: str = DEFAULT_CONFIG
    socket: str = DEFAULT_SOCKET

    @classmethod
    def of(cls, config: Config) -> CommandReach:
        """Return the places of a configuration."""
        return cls(config.given or DEFAULT_CONFIG, config.settings.socket)

    def options(self, command: str) -> tuple[tuple[str, str], ...]:
        """Return the options that a command of that name needs here, each with its value."""
        wanted = (("--config", self.config, DEFAULT_CONFIG), ("--socket", self.socket, DEFAULT_SOCKET))
        needed = TAKEN.get(command, ())
        return tuple((name, _shown(value)) for name, value, usual in wanted if name in needed and value != usual)

    @property
    def spelt(self) -> tuple[str, ...]:
        """All options that any command may need here, each as a shell takes it."""
        return tuple(shlex.join(each) for name in ("policy test", "status") for each in self.options(name))

    def completed(self, text: str) -> str:
        """Return a text of ours in which each command of certvigil has the options that it needs and lacks."""

        def with_options(found: re.Match[str]) -> str:
            command, rest = found.groups()
            lacked = (each for each in self.options(command) if each[0] not in rest)
            return found[0] + "".join(f" {shlex.join(each)}" for each in lacked)

        return text if self == _USUAL else _COMMAND.sub(with_options, text)


_USUAL: Final = CommandReach()


class _Process:
    """A process of certvigil is about one certvigil, as it is of one version."""

    reach = _USUAL


def speak_for(reach: CommandReach) -> None:
    """Have the sentences of this process name commands that reach that certvigil, from now on."""
    # Usual places are known by their identity: every sentence asks.
    _Process.reach = _USUAL if reach == _USUAL else reach
    _template.cache_clear()


def spoken_for() -> CommandReach:
    """Return the places of the certvigil that this process is about."""
    return _Process.reach


def completed(text: str) -> str:
    """Return a text of ours in which each command reaches the certvigil of this process."""
    return _Process.reach.completed(text)


def completed_template(template: str) -> str:
    """Return a template of `str.format` in which each command reaches the certvigil of this process."""
    return template if _Process.reach is _USUAL else _template(template)


@lru_cache(maxsize=1024)
def _template(template: str) -> str:
    reach = _Process.reach
    braces = str.maketrans({"{": "{{", "}": "}}"})
    return CommandReach(reach.config.translate(braces), reach.socket.translate(braces)).completed(template)


def command_line(*words: str) -> str:
    """Return a command of certvigil, named by its `words`, as a shell takes it: it reaches that of this process."""
    count = 2 if " ".join(words[:2]) in TAKEN else 1
    options = (each for option in _Process.reach.options(" ".join(words[:count])) for each in option)
    return shlex.join(("certvigil", *words[:count], *options, *words[count:]))


def _shown(path: str) -> str:
    r"""Return a path without characters that would do something to a terminal, as `\xNN`."""
    return path if path.isprintable() else ascii(path)[1:-1]
