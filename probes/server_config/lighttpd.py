"""lighttpd: `ssl.pemfile` of the global scope, of sockets and of hosts; read by the tokens of its own grammar."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from config.immutable import immutable
from config.text import printable, sentence
from config.vocabulary import EndpointProtocol
from probes.line.lighttpd import ConfigToken, tokens
from probes.line.syntax import OddFileError
from probes.server_config.files import HostFiles
from probes.server_config.lines import TOO_MUCH, Expansion, host_of, listener, port_number
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_MAIN: Final = "/etc/lighttpd/lighttpd.conf"
_DEEPEST: Final = 12
_COMMANDS: Final = {
    "create-mime": (),
    "include-conf-enabled": ("conf-enabled/*.conf",),
    "use-ipv6": (),
}
"""The commands of Debian's own configuration, with the files that they include."""
_OPENED: Final = re.compile(r"use-ipv6\.pl ([0-9]+)")
"""Debian's command that opens a port for IPv6."""
_WANTED: Final = frozenset(
    {"ssl.engine", "ssl.pemfile", "ssl.privkey", "ssl.ca-file", "server.port", "server.bind", "server.socket"}
)


@immutable
class _Scope:
    """The settings of a block and of those around it."""

    socket: str = ""
    names: tuple[str, ...] = ()
    is_odd: bool = False
    """Whether it is under a condition that is not followed."""


@dataclass(slots=True)
class _Settings:
    file: str
    scope: _Scope
    values: dict[str, str] = field(default_factory=dict)


def read(files: HostFiles) -> ServerReading:
    """Return all sites of lighttpd."""
    reading = ServerReading()
    for main in reading.begins(files, [_MAIN]):
        reader = _Reader(files, reading, main)
        reader.file(main, _Scope(), 0)
        reader.conclude()
    return reading


class _Reader:
    def __init__(self, files: HostFiles, reading: ServerReading, main: str) -> None:
        self._files = files
        self._reading = reading
        self._main = main
        self._base = os.path.dirname(main)
        self._found: dict[_Scope, _Settings] = {}
        self._variables: dict[str, str] = {}
        self._expansion = Expansion()

    def file(self, path: str, outer: _Scope, depth: int) -> None:
        """Take all statements of a file that stands in a scope."""
        text = self._files.read(path)
        if text is None or depth > _DEEPEST:
            return
        try:
            given = list(tokens(text.encode("utf-8", "surrogateescape").decode("latin-1")))
        except OddFileError as error:
            self._reading.puzzle(path, error.why)
            return
        self._statements(path, given, outer, depth)

    def _statements(self, path: str, given: Sequence[ConfigToken], outer: _Scope, depth: int) -> None:
        scopes, at = [outer], 0
        while at < len(given):
            token = given[at]
            follows = given[at + 1] if at + 1 < len(given) else None
            if token.kind == "word" and follows is not None and follows.text in {"=", ":=", "+="}:
                at, value = self._value(given, at + 2)
                self._set(path, scopes[-1], token.text, value, adds=follows.text == "+=")
            elif token.kind == "word" and token.text in {"include", "include_shell"}:
                at, value = self._value(given, at + 1)
                self._include(path, scopes[-1], token.text, value, depth)
            elif token.kind == "sign" and token.text == "$":
                at, scope = _condition(given, at, scopes[-1])
                scopes.append(scope)
            elif token.kind == "sign" and token.text == "{":
                # `global`, or `else`, which has no condition that could be told.
                is_else = at > 0 and given[at - 1].text == "else"
                scopes.append(replace(scopes[-1], is_odd=True) if is_else else scopes[-1])
                at += 1
            elif token.kind == "sign" and token.text == "}":
                if len(scopes) > 1:
                    scopes.pop()
                at += 1
            else:
                at += 1

    def _value(self, given: Sequence[ConfigToken], at: int) -> tuple[int, str | None]:
        """Return where a value ends, and the value where it is made of texts, numbers and known variables alone."""
        parts: list[str | None] = []
        while at < len(given):
            token = given[at]
            if token.kind == "sign" and token.text == "(":
                at = _behind_brackets(given, at)
                parts.append(None)
            elif token.kind == "string":
                parts.append(token.text[1:-1].replace('\\"', '"'))
                at += 1
            else:
                known = token.text if token.text.isdecimal() else self._variables.get(token.text)
                parts.append(known if known is not None and self._expansion.allows(len(known)) else None)
                at += 1
            if at >= len(given) or given[at].text != "+":
                break
            at += 1
        texts = [each for each in parts if each is not None]
        return at, "".join(texts) if texts and len(texts) == len(parts) else None

    def _set(self, path: str, scope: _Scope, name: str, value: str | None, *, adds: bool) -> None:
        if value is not None:
            before = self._variables.get(name, "") if adds else ""
            if self._expansion.allows(len(before)):
                self._variables[name] = before + value
        if name not in _WANTED:
            return
        if value is None or adds:
            self._reading.puzzle(path, sentence("{} is no single text", printable(name, 100)))
        elif scope.is_odd and name != "ssl.engine":
            self._reading.puzzle(path, sentence("{} depends on a condition that is not followed", printable(name, 100)))
        else:
            settings = self._found.setdefault(scope, _Settings(path, scope))
            settings.values[name] = value.encode("latin-1").decode("utf-8", "surrogateescape")
            settings.file = path

    def _include(self, path: str, scope: _Scope, kind: str, value: str | None, depth: int) -> None:
        patterns: Sequence[str] = [value] if value is not None else []
        if kind == "include_shell" or value is None:
            known = next((each for name, each in _COMMANDS.items() if value is not None and name in value), None)
            if known is None:
                self._reading.puzzle(path, sentence("{} is not followed", printable(kind, 100)))
            patterns = known or ()
            if (opened := _OPENED.search(value or "")) is not None:
                socket = replace(scope, socket=f"[::]:{opened[1]}")
                self._found.setdefault(socket, _Settings(path, socket))
                if opened[1] == "443":
                    self._found[socket].values.setdefault("ssl.engine", "enable")
        for pattern in patterns:
            for each in self._files.matching(self._files.located(pattern, self._base)):
                self.file(each, scope, depth + 1)

    def conclude(self) -> None:
        """Add the sites of all scopes."""
        if self._expansion.is_spent:
            self._reading.puzzle(self._main, TOO_MUCH)
            return
        top = self._found.get(_Scope(), _Settings("", _Scope()))
        for scope, settings in self._found.items():
            socket = self._found.get(replace(scope, names=()), top)
            values = {**top.values, **socket.values, **settings.values}
            certificate = values.get("ssl.pemfile")
            if certificate is None or not _is_new(scope, settings, socket):
                continue
            key, chain = values.get("ssl.privkey", certificate), values.get("ssl.ca-file")
            paths = CertificateFiles(
                self._located(certificate), self._located(key), self._located(chain) if chain else None
            )
            if listeners := list(self._listeners(scope, top)):
                self._reading.add(paths, listeners, scope.names, settings.file)

    def _located(self, path: str) -> str:
        return self._files.located(path, self._base)

    def _listeners(self, scope: _Scope, top: _Settings) -> Iterator[ConfiguredListener]:
        """Yield the sockets with TLS that a scope is within; of the global scope, and of a host there, all others."""
        port = port_number(top.values.get("server.port", "80")) or 80
        bind = top.values.get("server.bind", "")
        always = top.values.get("ssl.engine") == "enable"
        if not scope.socket and always and not bind.startswith("/"):
            yield ConfiguredListener(host_of(bind), port, EndpointProtocol.TLS)
        for each, settings in self._found.items():
            engine = settings.values.get("ssl.engine")
            is_open = engine == "enable" or (engine is None and always)
            if not each.socket or each.names or not is_open or scope.socket not in {"", each.socket}:
                continue
            own = "ssl.pemfile" in settings.values
            if scope.socket or not own or scope.names:
                found = listener(each.socket)
                if found is not None:
                    yield found


def _is_new(scope: _Scope, settings: _Settings, socket: _Settings) -> bool:
    """Whether a scope names a certificate itself, or is a socket with TLS that inherits one."""
    return "ssl.pemfile" in settings.values or (
        bool(scope.socket) and not scope.names and socket.values.get("ssl.engine") == "enable"
    )


def _behind_brackets(given: Sequence[ConfigToken], at: int) -> int:
    depth = 0
    while at < len(given):
        if given[at].kind == "sign":
            depth += (given[at].text == "(") - (given[at].text == ")")
        at += 1
        if not depth:
            break
    return at


def _condition(given: Sequence[ConfigToken], at: int, outer: _Scope) -> tuple[int, _Scope]:
    """Return where the block of a condition begins, and its scope."""
    end = at
    while end < len(given) and not (given[end].kind == "sign" and given[end].text == "{"):
        end += 1
    words = [each.text for each in given[at:end] if each.kind != "end"]
    # $ WORD [ "field" ] OPERATOR "text"
    if len(words) != 7 or words[2] != "[" or given[at].text != "$":
        return end + 1, replace(outer, is_odd=True)
    kind, what, sign, value = words[1], words[3].strip('"'), words[5], words[6].strip('"')
    if kind == "SERVER" and what == "socket" and sign == "==" and not outer.socket:
        return end + 1, replace(outer, socket=value)
    if kind == "HTTP" and what == "host" and (names := _host_names(sign, value)):
        return end + 1, replace(outer, names=(*outer.names, *names))
    if kind == "HTTP" and what == "scheme" and sign == "==":
        return end + 1, outer
    return end + 1, replace(outer, is_odd=True)


def _host_names(sign: str, value: str) -> tuple[str, ...]:
    """Return the names of a condition on the host; a regular expression counts where it is one plain name."""
    if sign == "==":
        return (value,)
    plain = re.fullmatch(r"\^?((?:[A-Za-z0-9-]+\\\.)+[A-Za-z0-9-]+)\$?", value)
    return (plain[1].replace("\\.", "."),) if sign == "=~" and plain is not None else ()
