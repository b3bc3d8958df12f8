"""HAProxy: `crt` and `crt-list` of each `bind` with `ssl`; a directory stands for all certificates in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from config.text import printable, sentence
from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import listener
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_MAIN: Final = "/etc/haproxy/haproxy.cfg"
_SECTIONS: Final = frozenset(
    {"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache"}
    | {"program", "ring", "http-errors", "crt-store", "fcgi-app", "log-forward", "traces", "acme"}
)
_WORD: Final = re.compile(r"""(?:[^\s"'\\#]|\\.|"(?:\\.|[^"\\])*"|'[^']*')+""")
_BESIDE: Final = (".key", ".issuer", ".ocsp", ".sctl", ".dh")
"""Endings of files that belong to a certificate, and are none."""
_NO_TCP: Final = ("unix@", "/", "abns@", "fd@", "quic4@", "quic6@", "sockpair@")
"""How an address begins that is no port of TCP."""


def read(files: HostFiles) -> ServerReading:
    """Return all sites of HAProxy."""
    reading = ServerReading()
    main = files.located(_MAIN)
    if (text := files.read(main)) is not None:
        reading.main.append(main)
        _Reader(files, reading, main).lines(text)
    return reading


class _Reader:
    def __init__(self, files: HostFiles, reading: ServerReading, main: str) -> None:
        self._files = files
        self._reading = reading
        self._main = main
        self._base = os.path.dirname(main)

    def lines(self, text: str) -> None:
        """Take all lines of the configuration."""
        section = ""
        for line in text.splitlines():
            words = _words(line)
            if not words:
                continue
            if words[0] in _SECTIONS:
                section = words[0]
            elif section == "global" and words[0] == "crt-base" and len(words) > 1:
                self._base = words[1]
            elif words[0] == "bind" and section in {"frontend", "listen"} and "ssl" in words[2:]:
                self._bind(words)

    def _bind(self, words: Sequence[str]) -> None:
        proxied = "accept-proxy" in words
        listeners = []
        for each in words[1].split(","):
            if each.startswith(_NO_TCP):
                continue
            address = each.removeprefix("ipv4@").removeprefix("ipv6@")
            found = listener(address, EndpointProtocol.TLS, proxy_protocol=proxied)
            if found is None:
                self._reading.puzzle(self._main, sentence("bind {}", printable(each, 200)))
            else:
                listeners.append(found)
        for name, value in pairwise(words[2:]):
            if name == "crt":
                for path in self._certificates(value, self._main):
                    self._add(path, listeners, (), self._main)
            elif name == "crt-list":
                self._list(self._files.located(value, self._base), listeners)

    def _list(self, path: str, listeners: Sequence[ConfiguredListener]) -> None:
        """Take each line of a list: a file, options in brackets, and names."""
        for line in (self._files.read(path) or "").splitlines():
            before, _, rest = line.partition("#")[0].partition("[")
            given = [*before.split(), *rest.partition("]")[2].split()]
            if given:
                names = [each for each in given[1:] if not each.startswith("!")]
                for each in self._certificates(given[0], path):
                    self._add(each, listeners, names, path)

    def _certificates(self, value: str, place: str) -> Iterator[str]:
        if "$" in value or value.startswith("@"):
            self._reading.puzzle(place, sentence("crt {} is no path of a file", printable(value, 200)))
            return
        path = self._files.located(value, self._base)
        if not self._files.is_directory(path):
            yield path
            return
        for each in self._files.names(path):
            name = os.path.basename(each)
            if not name.startswith(".") and not name.endswith(_BESIDE) and not self._files.is_directory(each):
                yield each

    def _add(self, path: str, listeners: Sequence[ConfiguredListener], names: Sequence[str], place: str) -> None:
        # As HAProxy does: the key is in the file, or beside it.
        beside = f"{path}.key"
        key = beside if self._files.exists(beside) else path
        if listeners:
            self._reading.add(CertificateFiles(path, key), listeners, names, place)


def _words(line: str) -> list[str]:
    """Return the words of a line; a number sign begins a comment."""
    without = "" if line.lstrip().startswith("#") else line.partition(" #")[0]
    return [re.sub(r"\\(.)", r"\1", re.sub(r"""["']""", "", match[0])) for match in _WORD.finditer(without)]
