"""prosody: Lua of the plain kind, `name = value` with texts, numbers and tables; hosts, and the ports of modules.

Certificates are those that `ssl` names, and else those that prosody finds in its directory `certificates` by the name
of a host (prosody, Certificates).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from config.immutable import immutable
from config.text import Printable
from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import host_of
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_MAIN: Final = "/etc/prosody/prosody.cfg.lua"
_TOKEN: Final = re.compile(
    r"(?:\s++|--\[\[.*?(?:\]\]|\Z)|--[^\n]*+)*+"
    r"""(?:"(?P<double>(?:\\.|[^"\\\n])*+)(?:"|(?=\n)|\\?\Z)|'(?P<single>(?:\\.|[^'\\\n])*+)(?:'|(?=\n)|\\?\Z)"""
    r"|\[\[(?P<long>.*?)(?:\]\]|\Z)"
    r"|(?P<number>\d[\w.]*)|(?P<word>[A-Za-z_]\w*)|(?P<sign>\.\.|.)|\Z)",
    re.DOTALL,
)
"""A text or comment that nothing ends goes on to the end: no part of a file is read for several of them."""
_LONGEST_NAME: Final = 253
"""Characters of a host's name (RFC 1035, 2.3.4)."""
_DEEPEST: Final = 10
_NEST: Final = 50
_HOSTS: Final = frozenset({"VirtualHost", "Host", "Component"})


class _Port(NamedTuple):
    module: str
    default: tuple[int, ...]
    spoken: EndpointProtocol


_PORTS: Final = {
    "c2s_ports": _Port("c2s", (5222,), EndpointProtocol.XMPP),
    "s2s_ports": _Port("s2s", (5269,), EndpointProtocol.XMPP_SERVER),
    "c2s_direct_tls_ports": _Port("c2s", (), EndpointProtocol.TLS),
    "legacy_ssl_ports": _Port("c2s", (), EndpointProtocol.TLS),
    "s2s_direct_tls_ports": _Port("s2s", (), EndpointProtocol.TLS),
}


@immutable
class _Table:
    """A table of Lua: its list, and its named values."""

    items: tuple[_Value, ...] = ()
    named: tuple[tuple[str, _Value], ...] = ()


_Value = str | int | _Table | None
"""None for anything that is not plain."""


@dataclass(slots=True)
class _Host:
    name: str
    file: str
    settings: dict[str, _Value] = field(default_factory=dict)


def read(files: HostFiles) -> ServerReading:
    """Return all sites of prosody."""
    reading = ServerReading()
    for main in reading.begins(files, [_MAIN]):
        reader = _Reader(files, reading, main)
        reader.file(main, 0)
        reader.conclude()
    return reading


class _Reader:
    def __init__(self, files: HostFiles, reading: ServerReading, main: str) -> None:
        self._files = files
        self._reading = reading
        self._base = os.path.dirname(main)
        self._hosts = [_Host("", main)]

    def file(self, path: str, depth: int) -> None:
        """Take all statements of a file."""
        text = self._files.read(path)
        if text is None or depth > _DEEPEST:
            return
        tokens, at = _tokens(text), 0
        while at < len(tokens):
            kind, word = tokens[at]
            follows = tokens[at + 1] if at + 1 < len(tokens) else ("", "")
            if kind == "word" and follows == ("sign", "="):
                at, self._hosts[-1].settings[word] = _value(tokens, at + 2, 0)
            elif kind == "word" and (word in _HOSTS or word in {"Include", "RunScript"}):
                at += 2 if follows != ("sign", "(") else 3
                given = tokens[at - 1] if at <= len(tokens) else ("", "")
                if given[0] != "text":
                    self._reading.puzzle(path, Printable("a host or an include in it has no plain name"))
                elif word == "Include":
                    for each in self._files.matching(self._files.located(given[1], os.path.dirname(path))):
                        self.file(each, depth + 1)
                elif word != "RunScript":
                    self._hosts.append(_Host(given[1], path))
            else:
                at += 1

    def conclude(self) -> None:
        """Add the sites of all hosts."""
        top = self._hosts[0]
        for host in self._hosts[1:]:
            listeners = list(self._listeners(top))
            found = self._named(host) or self._by_name(host) or self._named(top)
            if found is not None and listeners:
                self._reading.add(found, listeners, (host.name,), host.file)

    def _named(self, host: _Host) -> CertificateFiles | None:
        given = host.settings.get("ssl")
        named = dict(given.named) if isinstance(given, _Table) else {}
        certificate, key = named.get("certificate"), named.get("key")
        if "ssl" in host.settings and not (isinstance(certificate, str) and isinstance(key, str)):
            if not isinstance(given, _Table) or {"certificate", "key"} & set(named):
                self._reading.puzzle(host.file, Printable("`ssl` names no certificate with its key as plain texts"))
            return None
        if isinstance(certificate, str) and isinstance(key, str):
            return CertificateFiles(self._files.located(certificate, self._base), self._files.located(key, self._base))
        return None

    def _by_name(self, host: _Host) -> CertificateFiles | None:
        """Return the files that prosody finds by the name of a host, or of the domain above it."""
        given = host.settings.get("certificates", self._hosts[0].settings.get("certificates", "certs"))
        directory = self._files.located(given if isinstance(given, str) else "certs", self._base)
        name = host.name if len(host.name) <= _LONGEST_NAME else ""
        while "/" not in name and name not in {"", ".", ".."}:
            for certificate, key in ((f"{name}.crt", f"{name}.key"), (f"{name}/fullchain.pem", f"{name}/privkey.pem")):
                paths = CertificateFiles(os.path.join(directory, certificate), os.path.join(directory, key))
                if self._files.exists(paths.certificate):
                    return paths
            name = name.partition(".")[2]
        return None

    def _listeners(self, top: _Host) -> Iterator[ConfiguredListener]:
        disabled = _texts(top.settings.get("modules_disabled"))
        hosts = [host_of(each) for each in _texts(top.settings.get("interfaces"))] or [""]
        for setting, port in _PORTS.items():
            given = top.settings.get(setting)
            numbers = port.default if setting not in top.settings else _numbers(given)
            if port.module not in disabled:
                yield from (ConfiguredListener(host, each, port.spoken) for host in hosts for each in numbers)


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while (match := _TOKEN.match(text, at)) is not None and match.lastgroup is not None:
        kind, at = match.lastgroup, match.end()
        is_text = kind in {"double", "single", "long"}
        found.append(("text", re.sub(r"\\(.)", r"\1", match[kind])) if is_text else (kind, match[kind]))
    return found


def _value(tokens: Sequence[tuple[str, str]], at: int, depth: int) -> tuple[int, _Value]:
    """Return where a value ends, and the value."""
    if at >= len(tokens) or depth > _NEST:
        return at + 1, None
    kind, text = tokens[at]
    value: _Value = None
    if kind == "text":
        value = text
    elif kind == "number" and text.isdecimal() and len(text) < 10:
        value = int(text)
    elif (kind, text) == ("sign", "{"):
        at, value = _table(tokens, at + 1, depth + 1)
        return at, value
    if at + 1 < len(tokens) and tokens[at + 1] in {("sign", ".."), ("sign", "("), ("sign", ".")}:
        return at + 2, None
    return at + 1, value


def _table(tokens: Sequence[tuple[str, str]], at: int, depth: int) -> tuple[int, _Table]:
    items: list[_Value] = []
    named: list[tuple[str, _Value]] = []
    while at < len(tokens):
        kind, text = tokens[at]
        if (kind, text) == ("sign", "}"):
            return at + 1, _Table(tuple(items), tuple(named))
        if kind == "sign" and text in {",", ";"}:
            at += 1
        elif kind == "sign" and text == "[" and tokens[at + 2 : at + 4] == [("sign", "]"), ("sign", "=")]:
            name = tokens[at + 1][1]
            at, value = _value(tokens, at + 4, depth)
            named.append((name, value))
        elif kind == "word" and at + 1 < len(tokens) and tokens[at + 1] == ("sign", "="):
            at, value = _value(tokens, at + 2, depth)
            named.append((text, value))
        else:
            at, value = _value(tokens, at, depth)
            items.append(value)
    return at, _Table(tuple(items), tuple(named))


def _texts(value: _Value) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [each for each in value.items if isinstance(each, str)] if isinstance(value, _Table) else []


def _numbers(value: _Value) -> tuple[int, ...]:
    given = value.items if isinstance(value, _Table) else (value,)
    return tuple(each for each in given if isinstance(each, int) and 0 < each < 65_536)
