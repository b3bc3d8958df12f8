"""nginx: /etc/nginx/nginx.conf, with `ssl_certificate` of `http` and `mail` and the listeners of its servers.

A directive of an outer block holds in the inner ones unless they have it, too. Includes are relative to the directory
of the first file (nginx, Configuration file's structure).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from config.text import Printable, printable, sentence
from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import host_of, listener
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_MAIN: Final = ("/etc/nginx/nginx.conf", "/usr/local/nginx/conf/nginx.conf")
_TOKEN: Final = re.compile(
    r"""(?:\s|\#[^\n]*)*+(?:(?P<sign>[;{}])|"(?P<double>(?:\\.|[^"\\])*+)"|'(?P<single>(?:\\.|[^'\\])*+)'"""
    r"""|(?P<word>(?:\\.|\$\{[^}]*\}|[^\s;{}"'\\])(?:\\.|\$\{[^}]*\}|[^\s;{}\\])*+)|\Z)""",
    re.DOTALL,
)
_DEEPEST: Final = 12
"""Files that include each other."""
_MAIL: Final = {"smtp": EndpointProtocol.SMTP, "imap": EndpointProtocol.IMAP, "pop3": EndpointProtocol.POP3}
_INHERITED: Final = ("ssl_certificate", "ssl_certificate_key", "ssl", "starttls", "protocol")
_NO_FILE: Final = re.compile(r"(?:data|engine|store):")


@dataclass(slots=True)
class _Block:
    name: str
    file: str
    directives: dict[str, list[Sequence[str]]] = field(default_factory=dict)

    def words(self, name: str) -> list[Sequence[str]]:
        return self.directives.get(name, [])


def read(files: HostFiles) -> ServerReading:
    """Return all sites of nginx."""
    reading = ServerReading()
    for main in reading.begins(files, _MAIN):
        _Reader(files, reading, os.path.dirname(main)).file(main, [_Block("", main)], 0)
    return reading


class _Reader:
    def __init__(self, files: HostFiles, reading: ServerReading, base: str) -> None:
        self._files = files
        self._reading = reading
        self._base = base

    def file(self, path: str, blocks: list[_Block], depth: int) -> None:
        """Take the directives of a file into the innermost of the open blocks."""
        text = self._files.read(path)
        if text is None:
            return
        outer = len(blocks)
        for words in _statements(text):
            if words is None:
                self._reading.puzzle(path, Printable("it ends amid a statement"))
                break
            if words[-1] == "{":
                blocks.append(_Block(words[0], path))
            elif words[-1] == "}":
                if len(blocks) <= outer:
                    self._reading.puzzle(path, Printable("it closes a block that it has not opened"))
                    break
                self._close(blocks)
            elif words[0] == "include":
                self._include(words[1:], blocks, depth, path)
            else:
                blocks[-1].directives.setdefault(words[0], []).append(words[1:])
        if len(blocks) > outer:
            self._reading.puzzle(path, Printable("a block in it has no end"))
            del blocks[outer:]

    def _include(self, words: Sequence[str], blocks: list[_Block], depth: int, path: str) -> None:
        if len(words) != 1 or depth >= _DEEPEST:
            self._reading.puzzle(path, Printable("an include in it is not followed"))
            return
        for each in self._files.matching(self._files.located(words[0], self._base)):
            self.file(each, blocks, depth + 1)

    def _close(self, blocks: list[_Block]) -> None:
        block = blocks.pop()
        if block.name == "server" and blocks and blocks[-1].name in {"http", "mail", "stream"}:
            outer = {name: found for name in _INHERITED for each in blocks if (found := each.words(name))}
            self._server(block, outer, blocks[-1].name)

    def _server(self, block: _Block, outer: Mapping[str, Sequence[Sequence[str]]], kind: str) -> None:
        settings = {**outer, **block.directives}
        listeners = list(self._listeners(block, settings, kind))
        if not listeners:
            return
        names = [name for words in block.words("server_name") for name in words if name not in {"_", ""}]
        certificates = [words[0] for words in settings.get("ssl_certificate", ()) if words]
        keys = [words[0] for words in settings.get("ssl_certificate_key", ()) if words]
        if len(certificates) != len(keys):
            self._reading.puzzle(
                block.file, Printable("a server in it has another number of certificates than of keys")
            )
            return
        for certificate, key in zip(certificates, keys, strict=True):
            if (odd := next((each for each in (certificate, key) if _is_odd(each)), None)) is not None:
                self._reading.puzzle(block.file, sentence("{} is no path of a file", printable(odd, 200)))
                continue
            paths = CertificateFiles(self._located(certificate), self._located(key))
            self._reading.add(paths, listeners, names, block.file)

    def _located(self, path: str) -> str:
        return self._files.located(path, self._base)

    def _listeners(
        self, block: _Block, settings: Mapping[str, Sequence[Sequence[str]]], kind: str
    ) -> Iterator[ConfiguredListener]:
        always = any(words[:1] == ["on"] for words in settings.get("ssl", ()))
        starttls = any(words[:1] in (["on"], ["only"]) for words in settings.get("starttls", ()))
        spoken = next((_MAIL.get(words[0]) for words in settings.get("protocol", ()) if words), None)
        for words in block.words("listen"):
            if not words or words[0].startswith("unix:") or "quic" in words or "udp" in words:
                continue
            proxied = "proxy_protocol" in words
            if "ssl" in words or always:
                protocol = EndpointProtocol.TLS
            elif kind == "mail" and starttls and spoken is not None:
                protocol = spoken
            else:
                continue
            found = listener(words[0], protocol, proxy_protocol=proxied)
            if found is None and ":" not in words[0]:
                # An address alone: the port is nginx's default for root.
                found = ConfiguredListener(host_of(words[0]), 80, protocol, proxied)
            if found is None:
                self._reading.puzzle(block.file, sentence("listen {}", printable(words[0], 200)))
            else:
                yield found


def _is_odd(path: str) -> bool:
    return "$" in path or _NO_FILE.match(path) is not None


def _statements(text: str) -> Iterator[list[str] | None]:
    """Yield the words of each statement; the last is `{` or `}` of a block, None where the text is not understood."""
    at, words = 0, list[str]()
    while (found := _TOKEN.match(text, at)) is not None:
        at, kind = found.end(), found.lastgroup
        if kind is None:
            if words:
                yield None
            return
        if kind != "sign":
            word = found[kind]
            words.append(re.sub(r"\\(.)", r"\1", word) if "\\" in word else word)
        elif found[kind] == ";":
            if words:
                yield words
            words = []
        elif found[kind] == "{":
            yield [*(words or [""]), "{"]
            words = []
        else:
            yield ["", "}"]
            words = []
    yield None
