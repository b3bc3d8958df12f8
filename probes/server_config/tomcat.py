"""Tomcat: the `Certificate` of each `SSLHostConfig` in server.xml, or the older attributes of a `Connector`.

Relative paths begin at the directory above that of server.xml (`catalina.base`). A document type is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from config.text import Printable, printable, sentence
from probes.server_config.files import HostFiles
from probes.server_config.lines import host_of, port_number
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_MAIN: Final = ("/var/lib/tomcat*/conf/server.xml", "/etc/tomcat/server.xml", "/opt/tomcat*/conf/server.xml")
_BASE: Final = {"/etc/tomcat/server.xml": "/usr/share/tomcat"}
_HOME: Final = ("${catalina.base}/", "${catalina.home}/")
_MOST: Final = 20_000
_TRUE: Final = "true"


@dataclass(slots=True)
class _Connector:
    attributes: Mapping[str, str]
    certificates: list[tuple[Mapping[str, str], Mapping[str, str]]] = field(default_factory=list)
    """Each with the attributes of its `SSLHostConfig`."""


def read(files: HostFiles) -> ServerReading:
    """Return all sites of Tomcat."""
    reading = ServerReading()
    for pattern in _MAIN:
        for main in files.matching(files.located(pattern)):
            if (text := files.read(main)) is None:
                continue
            reading.main.append(main)
            found = _connectors(text)
            if isinstance(found, str):
                reading.puzzle(main, printable(found, 200))
                continue
            base = files.located(_BASE[pattern]) if pattern in _BASE else os.path.dirname(os.path.dirname(main))
            for each in found:
                _add(files, reading, each, base, main)
    return reading


def _connectors(text: str) -> list[_Connector] | str:
    """Return the connectors with TLS; or why the document is not understood."""
    found: list[_Connector] = []
    hosts: list[Mapping[str, str]] = []
    parser = expat.ParserCreate()
    number = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal number
        number += 1
        if number > _MOST:
            raise ValueError("it has too many elements")
        if name == "Connector":
            found.append(_Connector(attributes))
        elif name == "SSLHostConfig" and found:
            hosts.append(attributes)
            if "certificateFile" in attributes or "certificateKeystoreFile" in attributes:
                found[-1].certificates.append((attributes, attributes))
        elif name == "Certificate" and found and hosts:
            found[-1].certificates.append((attributes, hosts[-1]))

    def doctype(*_: object) -> None:
        raise ValueError("it has a document type")

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text.encode("utf-8", "surrogateescape"), True)
    except (expat.ExpatError, ValueError) as error:
        return str(error)
    return [each for each in found if each.attributes.get("SSLEnabled", "").lower() == _TRUE]


def _add(files: HostFiles, reading: ServerReading, connector: _Connector, base: str, main: str) -> None:
    port = port_number(connector.attributes.get("port", ""))
    if port is None:
        reading.puzzle(main, sentence("port={}", printable(connector.attributes.get("port", ""), 100)))
        return
    listeners = [ConfiguredListener(host_of(connector.attributes.get("address", "")), port)]
    for certificate, host in connector.certificates or [(connector.attributes, {})]:
        name = host.get("hostName", "_default_")
        for paths in _paths(files, reading, certificate, base, main):
            reading.add(paths, listeners, () if name == "_default_" else (name,), main)


def _paths(
    files: HostFiles, reading: ServerReading, given: Mapping[str, str], base: str, main: str
) -> Iterator[CertificateFiles]:
    def located(value: str) -> str | None:
        for prefix in _HOME:
            value = value.removeprefix(prefix)
        return None if "${" in value or ":/" in value else files.located(value, base)

    certificate = given.get("certificateFile", given.get("SSLCertificateFile"))
    keystore = given.get("certificateKeystoreFile", given.get("keystoreFile"))
    if certificate is None and keystore is None:
        reading.puzzle(main, Printable("a connector with TLS names no certificate: its keystore is that of its user"))
        return
    if certificate is None:
        path = located(str(keystore))
        found = None if path is None else CertificateFiles(path, path, is_keystore=True)
    else:
        key = given.get("certificateKeyFile", given.get("SSLCertificateKeyFile", certificate))
        chain = given.get("certificateChainFile", given.get("SSLCertificateChainFile"))
        one, other = located(certificate), located(key)
        found = None
        if one is not None and other is not None:
            found = CertificateFiles(one, other, located(chain) if chain else None)
    if found is None:
        reading.puzzle(main, sentence("{} is no path of a file", printable(certificate or str(keystore), 200)))
    else:
        yield found
