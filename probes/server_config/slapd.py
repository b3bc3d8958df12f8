"""slapd: the TLS files of slapd.conf, or of the entry cn=config, and the URLs with which the system starts it."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from config.text import printable, sentence
from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import host_of, settings
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_ENTRY: Final = ("/etc/ldap/slapd.d/cn=config.ldif", "/etc/openldap/slapd.d/cn=config.ldif")
_FILE: Final = ("/etc/ldap/slapd.conf", "/etc/openldap/slapd.conf")
_STARTS: Final = (("/etc/default/slapd", "SLAPD_SERVICES"), ("/etc/sysconfig/slapd", "SLAPD_URLS"))
_SPOKEN: Final = {"ldap": (EndpointProtocol.LDAP, 389), "ldaps": (EndpointProtocol.TLS, 636)}
_DEEPEST: Final = 10


def read(files: HostFiles) -> ServerReading:
    """Return the site of slapd. The entry cn=config counts before slapd.conf, as for slapd itself."""
    reading = ServerReading()
    for path in map(files.located, _ENTRY):
        if (text := files.read(path)) is not None:
            found = {name.lower().removeprefix("olc"): value for name, value in _attributes(text)}
            _add(files, reading, found, path)
        if reading.main or path in files.unread:
            return reading
    for path in map(files.located, _FILE):
        if files.exists(path):
            directives: dict[str, str] = {}
            _take(files, path, directives, 0)
            _add(files, reading, directives, path)
            return reading
    return reading


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    """Yield the attributes of an entry in LDIF (RFC 2849); a line that begins with a blank continues the one before."""
    for line in text.replace("\r\n", "\n").replace("\n ", "").splitlines():
        name, colon, value = line.partition(":")
        if not colon or name.startswith("#"):
            continue
        if value.startswith(":"):
            try:
                yield name, base64.b64decode(value[1:].strip(), validate=True).decode("utf-8", "surrogateescape")
            except ValueError:
                continue
        else:
            yield name, value.strip()


def _take(files: HostFiles, path: str, found: dict[str, str], depth: int) -> None:
    text = files.read(path)
    if text is None or depth > _DEEPEST:
        return
    for raw in text.replace("\n\t", " ").replace("\n ", " ").splitlines():
        try:
            words = shlex.split(raw, comments=raw.startswith("#"))
        except ValueError:
            continue
        if len(words) == 2 and words[0].lower() == "include":
            _take(files, files.located(words[1]), found, depth + 1)
        elif len(words) == 2:
            found[words[0].lower()] = words[1]


def _add(files: HostFiles, reading: ServerReading, found: Mapping[str, str], path: str) -> None:
    reading.main.append(path)
    certificate, key = found.get("tlscertificatefile"), found.get("tlscertificatekeyfile")
    if not certificate or not key:
        return
    listeners = list(_listeners(files, reading))
    reading.add(CertificateFiles(files.located(certificate), files.located(key)), listeners, (), path)


def _listeners(files: HostFiles, reading: ServerReading) -> Iterator[ConfiguredListener]:
    given = "ldap:///"
    for path, name in _STARTS:
        for each in settings(files.read(files.located(path)) or ""):
            if each.name == name and each.value:
                given = each.value
                place = files.located(path)
                if "$" in given:
                    reading.puzzle(place, sentence("{}", printable(name)))
    for url in given.split():
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            continue
        if parts.scheme in _SPOKEN:
            spoken, default = _SPOKEN[parts.scheme]
            yield ConfiguredListener(host_of(host), port or default, spoken)
