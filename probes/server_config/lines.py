"""Small parts that several readers share: ports, addresses, lines of `name = value`, values of variables."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from config.text import Printable
from config.vocabulary import EndpointProtocol
from probes.server_config.terms import ANY_ADDRESS, ConfiguredListener

_PORT_NAMES: Final = {
    "smtp": 25,
    "submission": 587,
    "smtps": 465,
    "submissions": 465,
    "imap": 143,
    "imaps": 993,
    "pop3": 110,
    "pop3s": 995,
    "https": 443,
    "ldap": 389,
    "ldaps": 636,
}
_EVERY: Final = frozenset({"*", "0.0.0.0", "::", "[::]", "_default_", "", "all"})  # noqa: S104 (compared with)

MOST_EXPANDED: Final = 1024 * 1024
"""Characters that variables bring into all texts of one server's configuration, and what stands for their work."""
_STEP: Final = 16
"""Characters that stand for the work on one variable."""
TOO_MUCH: Final = Printable("its variables make more text than is read")


class Expansion:
    """Puts the values of variables into texts, within one bound over a whole configuration.

    Values that hold each other double with each line. Behind the bound, each text stays as it is written, and
    `is_spent` says so: then none of the texts can be trusted.
    """

    def __init__(self) -> None:
        self._left = MOST_EXPANDED

    @property
    def is_spent(self) -> bool:
        """Whether the bound was met."""
        return self._left < 0

    def allows(self, characters: int) -> bool:
        """Whether this many characters more may be made, which are counted from now on."""
        self._left = max(self._left - characters, -1)
        return not self.is_spent

    def put(self, variable: re.Pattern[str], text: str, value: Callable[[re.Match[str]], str]) -> str:
        """Return `text` with the value of each variable in its place."""
        parts: list[str] = []
        at = 0
        for found in variable.finditer(text):
            if self.is_spent:
                return text
            put = value(found)
            if not self.allows(len(put) + _STEP):
                return text
            parts += text[at : found.start()], put
            at = found.end()
        return "".join((*parts, text[at:]))


class Setting(NamedTuple):
    """One `name = value` of a file."""

    section: str
    """The name in brackets before it; empty where there is none."""
    name: str
    value: str


def port_number(text: str) -> int | None:
    """Return a port that is given by its number or by a name of a service; None for anything else."""
    if text.isascii() and text.isdecimal():
        return number if 0 < (number := int(text[:9])) < 65_536 else None
    if text in _PORT_NAMES:
        return _PORT_NAMES[text]
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError):
        return None


def host_of(text: str) -> str:
    """Return a host without brackets; `ANY_ADDRESS` for the words that mean every address."""
    return ANY_ADDRESS if text in _EVERY else text.strip("[]")


def listener(
    text: str, protocol: EndpointProtocol = EndpointProtocol.TLS, *, proxy_protocol: bool = False
) -> ConfiguredListener | None:
    """Return the listener at `[HOST:]PORT`; None where it is no such text."""
    host, _, name = text.strip().rpartition(":")
    port = port_number(name)
    is_bracketed = host.startswith("[") and host.endswith("]")
    if port is None or (not is_bracketed and frozenset("[]/@ ") & frozenset(host)):
        return None
    return ConfiguredListener(host_of(host), port, protocol, proxy_protocol)


def settings(text: str, comments: str = "#;") -> Iterator[Setting]:
    """Yield the settings of a file in the manner of an INI file; `!word value` is a setting called `!word`."""
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in comments:
            continue
        if line.startswith("["):
            section = line[1:].partition("]")[0].strip()
        elif line.startswith("!"):
            name, _, value = line.partition(" ")
            yield Setting(section, name, value.strip())
        else:
            name, _, value = line.partition("=")
            yield Setting(section, name.strip(), unquoted(value.strip()))


def unquoted(text: str) -> str:
    """Return a text without the quotation marks around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
