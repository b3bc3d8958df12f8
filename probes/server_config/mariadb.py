"""MariaDB and MySQL: `ssl-cert` and `ssl-key` of the sections that the server reads."""

from __future__ import annotations

import os
import re
from typing import Final

from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import host_of, port_number, settings
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_MAIN: Final = ("/etc/my.cnf", "/etc/mysql/my.cnf")
_SECTION: Final = re.compile(r"(?:mysqld|server|mariadb|mariadbd)(?:-[\d.]+)?")
_DEEPEST: Final = 10


def read(files: HostFiles) -> ServerReading:
    """Return all sites of MariaDB or MySQL."""
    reading = ServerReading()
    found: dict[str, str] = {}
    places: dict[str, str] = {}
    for main in reading.begins(files, _MAIN):
        _take(files, main, found, places, 0)
    if "ssl-cert" not in found or "ssl-key" not in found or "skip-networking" in found or "skip-ssl" in found:
        return reading
    data = found.get("datadir", "/var/lib/mysql")
    paths = CertificateFiles(files.located(found["ssl-cert"], data), files.located(found["ssl-key"], data))
    port = port_number(found.get("port", "3306"))
    hosts = [host_of(each.strip()) for each in found.get("bind-address", "*").split(",")]
    if port is not None:
        listeners = (ConfiguredListener(each, port, EndpointProtocol.MYSQL) for each in hosts)
        reading.add(paths, listeners, (), places["ssl-cert"])
    return reading


def _take(files: HostFiles, path: str, found: dict[str, str], places: dict[str, str], depth: int) -> None:
    text = files.read(path)
    if text is None or depth > _DEEPEST:
        return
    for each in settings(text):
        if each.name in {"!include", "!includedir"}:
            where = files.located(each.value, os.path.dirname(path))
            inner = [where]
            if each.name == "!includedir":
                inner = [name for name in files.names(where) if name.endswith(".cnf")]
            for file in inner:
                _take(files, file, found, places, depth + 1)
        elif _SECTION.fullmatch(each.section):
            name = each.name.replace("_", "-").removeprefix("loose-")
            found[name], places[name] = each.value, path
