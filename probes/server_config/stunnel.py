"""stunnel: each file of /etc/stunnel; the global options hold in each service unless it has them, too."""

from __future__ import annotations

import os
from typing import Final

from config.text import printable, sentence
from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import Setting, listener, settings
from probes.server_config.terms import CertificateFiles, ServerReading

_MAIN: Final = "/etc/stunnel/*.conf"
_DEEPEST: Final = 5
_SPOKEN: Final = {
    "smtp": EndpointProtocol.SMTP,
    "imap": EndpointProtocol.IMAP,
    "pop3": EndpointProtocol.POP3,
    "nntp": EndpointProtocol.NNTP,
    "pgsql": EndpointProtocol.POSTGRES,
    "ldap": EndpointProtocol.LDAP,
}
"""The protocols in which a server asks for TLS, by the names of the option `protocol`."""


def read(files: HostFiles) -> ServerReading:
    """Return all sites of stunnel."""
    reading = ServerReading()
    for main in files.matching(files.located(_MAIN)):
        services: dict[str, dict[str, str]] = {"": {}}
        for each in _settings(files, main, 0):
            services.setdefault(each.section, {})[each.name.lower()] = each.value
        if not any(services.values()):
            continue
        reading.main.append(main)
        for name, own in services.items():
            if name:
                _add(files, reading, {**services[""], **own}, main)
    return reading


def _settings(files: HostFiles, path: str, depth: int, section: str = "") -> list[Setting]:
    found = []
    for each in settings(files.read(path) or "", "#;"):
        given = each if each.section else Setting(section, each.name, each.value)
        if given.name.lower() != "include":
            found.append(given)
        elif depth < _DEEPEST:
            for file in files.names(files.located(given.value)):
                if not os.path.basename(file).startswith("."):
                    inner = _settings(files, file, depth + 1, section)
                    found += inner
                    section = inner[-1].section if inner else section
    return found


def _add(files: HostFiles, reading: ServerReading, own: dict[str, str], main: str) -> None:
    certificate, accept = own.get("cert"), own.get("accept")
    if own.get("client", "no") == "yes" or certificate is None or accept is None or accept.startswith("/"):
        return
    protocol = own.get("protocol")
    if protocol is not None and protocol not in {*_SPOKEN, "proxy"}:
        reading.puzzle(main, sentence("protocol = {}", printable(protocol, 100)))
        return
    spoken = EndpointProtocol.TLS if protocol in {None, "proxy"} else _SPOKEN[str(protocol)]
    found = listener(accept, spoken)
    if found is None or any(each.startswith("pkcs11:") for each in (certificate, own.get("key", ""))):
        reading.puzzle(main, sentence("accept = {}, cert = {}", printable(accept, 100), printable(certificate, 200)))
        return
    names = [own["sni"].rpartition(":")[2]] if "sni" in own else []
    paths = CertificateFiles(files.located(certificate), files.located(own.get("key", certificate)))
    reading.add(paths, (found,), names, main)
