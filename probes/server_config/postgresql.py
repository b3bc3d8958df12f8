"""PostgreSQL: `ssl_cert_file` and `ssl_key_file` of each cluster, which are relative to its data directory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import host_of, port_number
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_MAIN: Final = (
    "/etc/postgresql/*/*/postgresql.conf",
    "/var/lib/pgsql/data/postgresql.conf",
    "/var/lib/pgsql/*/data/postgresql.conf",
)
_LINE: Final = re.compile(
    r"\s*+([A-Za-z_][\w.]*+)(?:\s*+=\s*+|\s++)(?:'((?:''|\\.|[^'\\])*+)'|([^\s#']++))\s*+(?:#.*+)?"
)
_TRUE: Final = frozenset({"on", "true", "yes", "1", "tru", "tr", "t", "ye", "y"})
_DEEPEST: Final = 10
_CONCERNING: Final = ("ssl", "ssl_cert_file", "ssl_key_file", "port", "listen_addresses")
_INCLUDES: Final = frozenset({"include", "include_if_exists", "include_dir"})


def read(files: HostFiles) -> ServerReading:
    """Return all sites of PostgreSQL."""
    reading = ServerReading()
    for pattern in _MAIN:
        for main in files.matching(files.located(pattern)):
            settings: dict[str, str] = {}
            _take(files, main, settings, 0)
            if not settings:
                continue
            reading.main.append(main)
            data = settings.get("data_directory", os.path.dirname(main))
            _alter(files, files.located(f"{data}/postgresql.auto.conf"), settings)
            _add(files, reading, settings, main, data)
    return reading


def _alter(files: HostFiles, path: str, settings: dict[str, str]) -> None:
    """Take what ALTER SYSTEM has set, which counts last.

    The file belongs to the user of the server: who may change it matters where it has a say.
    """
    before, apart = {name: settings.get(name) for name in _CONCERNING}, HostFiles(files.root)
    _take(apart, path, settings, 0)
    files.unread.update(apart.unread)
    if before != {name: settings.get(name) for name in _CONCERNING}:
        files.doubts.update(apart.doubts)


def _take(files: HostFiles, path: str, settings: dict[str, str], depth: int) -> None:
    text = files.read(path)
    if text is None or depth > _DEEPEST:
        return
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        name = found[1].lower()
        value = found[3] if found[2] is None else re.sub(r"''|\\(.)", lambda each: each[1] or "'", found[2])
        if name not in _INCLUDES:
            settings[name] = value
            continue
        if files.is_full:
            return
        where = files.located(value, os.path.dirname(path))
        inner = [where]
        if name == "include_dir":
            inner = [each for each in files.names(where) if each.endswith(".conf")]
        for each in inner:
            _take(files, each, settings, depth + 1)


def _add(files: HostFiles, reading: ServerReading, settings: Mapping[str, str], main: str, data: str) -> None:
    if settings.get("ssl", "off").lower() not in _TRUE:
        return
    port = port_number(settings.get("port", "5432"))
    hosts = [each.strip() for each in settings.get("listen_addresses", "localhost").split(",")]
    listeners = [ConfiguredListener(host_of(each), port, EndpointProtocol.POSTGRES) for each in hosts if each and port]
    certificate, key = settings.get("ssl_cert_file", "server.crt"), settings.get("ssl_key_file", "server.key")
    reading.add(CertificateFiles(files.located(certificate, data), files.located(key, data)), listeners, (), main)
