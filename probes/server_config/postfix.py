"""Postfix: the certificates of main.cf, and the services of master.cf that run `smtpd`, with their `-o` overrides."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Final

from config.text import Printable, printable, sentence
from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import TOO_MUCH, Expansion, listener
from probes.server_config.terms import CertificateFiles, ConfiguredListener, ServerReading

_DIRECTORY: Final = "/etc/postfix"
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|\((\w+)\)|(\w+))")
_DEEPEST: Final = 10
_PAIRS: Final = (
    ("smtpd_tls_cert_file", "smtpd_tls_key_file"),
    ("smtpd_tls_eccert_file", "smtpd_tls_eckey_file"),
    ("smtpd_tls_dcert_file", "smtpd_tls_dkey_file"),
)
_SERVERS: Final = frozenset({"smtpd", "postscreen"})


class _Settings:
    """The settings of one service."""

    def __init__(self, written: Mapping[str, str], expansion: Expansion) -> None:
        self._written = written
        self._expansion = expansion

    def value(self, name: str, default: str = "") -> str:
        """Return a setting with the values of all settings that it names."""
        return self._expanded(self._written.get(name, default), 0)

    def _expanded(self, text: str, depth: int) -> str:
        def value(found: re.Match[str]) -> str:
            return self._expanded(self._written.get(found[1] or found[2] or found[3], ""), depth + 1)

        return text if depth > _DEEPEST else self._expansion.put(_VARIABLE, text, value)


def read(files: HostFiles) -> ServerReading:
    """Return all sites of Postfix."""
    reading = ServerReading()
    main, master = files.located(f"{_DIRECTORY}/main.cf"), files.located(f"{_DIRECTORY}/master.cf")
    text = files.read(main)
    if text is None:
        return reading
    reading.main.append(main)
    general = {name.strip(): value.strip() for name, _, value in (each.partition("=") for each in _logical(text))}
    expansion = Expansion()
    for line in _logical(files.read(master) or ""):
        words = line.split()
        if len(words) < 8 or words[1] != "inet" or words[7] not in _SERVERS:
            continue
        settings = _Settings(ChainMap(_overrides(words[8:]), general), expansion)
        found = _listener(words[0], settings)
        has_tls = _has_tls(settings)
        certificates = list(_certificates(files, reading, settings, main)) if has_tls and found is not None else []
        if expansion.is_spent:
            reading.puzzle(main, TOO_MUCH)
            break
        if found is None:
            if has_tls:
                reading.puzzle(master, sentence("the service {}", printable(words[0], 200)))
            continue
        if has_tls:
            if settings.value("tls_server_sni_maps"):
                reading.puzzle(main, Printable("tls_server_sni_maps: certificates by name are not read"))
            for each in certificates:
                reading.add(each, (found,), (), main)
    return reading


def _logical(text: str) -> Iterator[str]:
    """Yield each line; one that begins with a blank continues the line before."""
    held = ""
    for raw in text.splitlines():
        if not raw.strip() or raw.lstrip().startswith("#"):
            continue
        if raw[0] in " \t":
            held += f" {raw.strip()}"
        else:
            if held:
                yield held
            held = raw.strip()
    if held:
        yield held


def _overrides(words: list[str]) -> dict[str, str]:
    """Return the settings of `-o NAME=VALUE`, also as `-o { NAME = VALUE }`."""
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word == "-o":
            given = next(rest, "")
            if given == "{":
                given = " ".join(iter(lambda: next(rest, "}"), "}"))
            name, _, value = given.partition("=")
            found[name.strip()] = value.strip()
        elif word.startswith("-o"):
            name, _, value = word[2:].partition("=")
            found[name] = value
    return found


def _listener(service: str, settings: _Settings) -> ConfiguredListener | None:
    wrapped = settings.value("smtpd_tls_wrappermode", "no") == "yes"
    return listener(service, EndpointProtocol.TLS if wrapped else EndpointProtocol.SMTP)


def _has_tls(settings: _Settings) -> bool:
    level = settings.value("smtpd_tls_security_level")
    if level:
        return level in {"may", "encrypt"}
    names = ("smtpd_use_tls", "smtpd_enforce_tls", "smtpd_tls_wrappermode")
    return any(settings.value(name, "no") == "yes" for name in names)


def _certificates(
    files: HostFiles, reading: ServerReading, settings: _Settings, main: str
) -> Iterator[CertificateFiles]:
    def located(path: str) -> str:
        return files.located(path, _DIRECTORY)

    if chains := re.split(r"[\s,]+", settings.value("smtpd_tls_chain_files")):
        given = [located(each) for each in chains if each]
        if len(given) == 1:
            yield CertificateFiles(given[0], given[0])
        elif given and len(given) % 2 == 0:
            # Each key stands before its certificates.
            for key, certificate in zip(given[::2], given[1::2], strict=True):
                yield CertificateFiles(certificate, key)
        elif given:
            reading.puzzle(main, Printable("smtpd_tls_chain_files: which file has the key is not told by their number"))
        if given:
            return
    for certificate_name, key_name in _PAIRS:
        certificate = settings.value(certificate_name)
        if certificate and certificate != "none":
            key = settings.value(key_name, f"${certificate_name}")
            yield CertificateFiles(located(certificate), located(key))
