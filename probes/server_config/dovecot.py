"""Dovecot: `ssl_cert` and `ssl_key`, also of a `local_name`, and the `inet_listener` of the protocols in use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from config.text import Printable, printable, sentence
from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import TOO_MUCH, Expansion, host_of, port_number, unquoted
from probes.server_config.terms import ANY_ADDRESS, CertificateFiles, ConfiguredListener, ServerReading

_MAIN: Final = "/etc/dovecot/dovecot.conf"
_DEEPEST: Final = 12
_CERTIFICATE: Final = ("ssl_cert", "ssl_server_cert_file")
"""Until 2.3, and since 2.4."""
_KEY: Final = ("ssl_key", "ssl_server_key_file")
_OWN_PROTOCOLS: Final = re.compile(r"\$(?:SET:)?protocols")
"""Those so far, until 2.3 and since 2.4."""
_BLOCK: Final = re.compile(r"([\w-]++)([^{]*+)\{")


class _Kind(NamedTuple):
    """A listener that a protocol has by default."""

    service: str
    protocol: str
    port: int
    spoken: EndpointProtocol


_LISTENERS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        "imap": _Kind("imap-login", "imap", 143, EndpointProtocol.IMAP),
        "imaps": _Kind("imap-login", "imap", 993, EndpointProtocol.TLS),
        "pop3": _Kind("pop3-login", "pop3", 110, EndpointProtocol.POP3),
        "pop3s": _Kind("pop3-login", "pop3", 995, EndpointProtocol.TLS),
        "submission": _Kind("submission-login", "submission", 587, EndpointProtocol.SMTP),
        "submissions": _Kind("submission-login", "submission", 465, EndpointProtocol.TLS),
        "sieve": _Kind("managesieve-login", "sieve", 4190, EndpointProtocol.SIEVE),
    }
)
_SPOKEN: Final = {
    **{each.service: each.spoken for each in _LISTENERS.values() if each.spoken is not EndpointProtocol.TLS},
    "lmtp": EndpointProtocol.LMTP,
}
_PROTOCOL_OF: Final = {**{each.service: each.protocol for each in _LISTENERS.values()}, "lmtp": "lmtp"}

_Path = tuple[str, ...]
"""Each open block, as `service imap-login`."""


def read(files: HostFiles) -> ServerReading:
    """Return all sites of Dovecot."""
    reading = ServerReading()
    for main in reading.begins(files, [_MAIN]):
        reader = _Reader(files, reading)
        reader.file(main, (), 0)
        reader.conclude(main)
    return reading


class _Reader:
    def __init__(self, files: HostFiles, reading: ServerReading) -> None:
        self._files = files
        self._reading = reading
        self._settings: dict[_Path, dict[str, str]] = {}
        self._file_of: dict[_Path, str] = {}
        self._expansion = Expansion()

    def file(self, path: str, blocks: _Path, depth: int) -> None:
        """Take all settings of a file."""
        text = self._files.read(path)
        if text is None or depth > _DEEPEST:
            return
        outer = blocks
        for raw in text.splitlines():
            line = re.sub(r"(^|\s)#.*", "", raw).strip()
            if not line:
                continue
            if line.startswith("!include"):
                self._include(line, path, blocks, depth)
            elif (opened := _BLOCK.fullmatch(line)) is not None:
                blocks = (*blocks, f"{opened[1]} {unquoted(opened[2].strip())}".strip())
                self._settings.setdefault(blocks, {})
            elif line == "}":
                blocks = blocks[:-1] if len(blocks) > len(outer) else blocks
            else:
                name, equals, value = line.partition("=")
                if equals:
                    self._set(path, blocks, name.strip(), unquoted(value.strip()))

    def _include(self, line: str, path: str, blocks: _Path, depth: int) -> None:
        _, _, pattern = line.partition(" ")
        for each in self._files.matching(self._files.located(pattern.strip(), os.path.dirname(path))):
            self.file(each, blocks, depth + 1)

    def _set(self, path: str, blocks: _Path, name: str, value: str) -> None:
        here = self._settings.setdefault(blocks, {})
        if name == "protocols":
            value = self._expansion.put(_OWN_PROTOCOLS, value, lambda _: here.get("protocols", ""))
        here[name] = value
        if name in (*_CERTIFICATE, *_KEY):
            self._file_of[blocks] = path

    def conclude(self, main: str) -> None:
        """Add the sites of the global settings, and of each block with a certificate of its own."""
        if self._expansion.is_spent:
            self._reading.puzzle(main, TOO_MUCH)
            return
        top = self._settings.get((), {})
        if top.get("ssl", "yes") == "no":
            return
        in_use = (top.get("protocols") or "imap pop3 lmtp").split()
        listeners = [*self._listeners(in_use, main)]
        for blocks, settings in self._settings.items():
            certificate = next((settings[name] for name in _CERTIFICATE if name in settings), None)
            key = next((settings[name] for name in _KEY if name in settings), None)
            if certificate is None or key is None:
                continue
            place = self._file_of[blocks]
            if any(not each.startswith(("local_name ", "protocol ")) for each in blocks):
                self._reading.puzzle(place, sentence("ssl_cert within {}", printable(" ".join(blocks), 200)))
                continue
            paths = [self._path(each) for each in (certificate, key)]
            if None in paths:
                self._reading.puzzle(place, Printable("ssl_cert or ssl_key is no path of a file"))
                continue
            protocol = next((each.removeprefix("protocol ") for each in blocks if each.startswith("protocol ")), None)
            named = [name for each in blocks if each.startswith("local_name ") for name in each.split()[1:]]
            own = [found for of, found in listeners if protocol in {None, of}]
            if own:
                self._reading.add(CertificateFiles(str(paths[0]), paths[1]), own, named, place)

    def _path(self, value: str) -> str | None:
        """Return the path of a file in `<PATH`, or in a setting that is a path; None for anything else."""
        value = value.removeprefix("<").strip()
        return self._files.located(value, os.path.dirname(_MAIN)) if value.startswith("/") else None

    def _listeners(self, in_use: list[str], main: str) -> Iterator[tuple[str, ConfiguredListener]]:
        """Yield each listener with its protocol."""
        every = self._settings.get((), {}).get("listen", "*, ::")
        hosts = list(dict.fromkeys(host_of(each) for each in re.split(r"[,\s]+", every) if each))
        seen: set[str] = set()
        for blocks, settings in self._settings.items():
            if len(blocks) != 2 or not blocks[0].startswith("service ") or not blocks[1].startswith("inet_listener"):
                continue
            service, name = blocks[0].removeprefix("service "), blocks[1].removeprefix("inet_listener").strip()
            kind = _LISTENERS.get(name)
            if service not in _SPOKEN:
                continue
            seen.add(name)
            port = port_number(settings.get("port", str(kind.port) if kind else "0"))
            is_tls = settings.get("ssl", "yes" if kind and kind.spoken is EndpointProtocol.TLS else "no") == "yes"
            if port is None:
                if settings.get("port") not in {"0", None}:
                    self._reading.puzzle(main, sentence("the port of inet_listener {}", printable(name, 100)))
                continue
            spoken = EndpointProtocol.TLS if is_tls else _SPOKEN[service]
            own = settings.get("address", "")
            places = [host_of(each) for each in re.split(r"[,\s]+", own) if each] or hosts
            if _PROTOCOL_OF[service] in in_use:
                proxied = settings.get("haproxy") == "yes"
                yield from ((_PROTOCOL_OF[service], ConfiguredListener(each, port, spoken, proxied)) for each in places)
        for name, kind in _LISTENERS.items():
            if name not in seen and kind.protocol in in_use and name != "submissions":
                for each in hosts or [ANY_ADDRESS]:
                    yield kind.protocol, ConfiguredListener(each, kind.port, kind.spoken)
