"""Postfix: the certificates of main.cf, and the services of master.cf that run `smtpd`, with their `-o` overrides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from config.text import Printable, printable, sentence
from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles
from probes.server_config.lines import listener
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


def read(files: HostFiles) -> ServerReading:
    """Return all sites of Postfix."""
    reading = ServerReading()
    main, master = files.located(f"{_DIRECTORY}/main.cf"), files.located(f"{_DIRECTORY}/master.cf")
    text = files.read(main)
    if text is None:
        return reading
    reading.main.append(main)
    general = {name.strip(): value.strip() for name, _, value in (each.partition("=") for each in _logical(text))}
    for line in _logical(files.read(master) or ""):
        words = line.split()
        if len(words) < 8 or words[1] != "inet" or words[7] not in _SERVERS:
            continue
        settings = {**general, **_overrides(words[8:])}
        found = _listener(words[0], settings)
        if found is None:
            if _has_tls(settings):
                reading.puzzle(master, sentence("the service {}", printable(words[0], 200)))
            continue
        if _has_tls(settings):
            if _expanded(settings.get("tls_server_sni_maps", ""), settings):
                reading.puzzle(main, Printable("tls_server_sni_maps: certificates by name are not read"))
            for each in _certificates(files, reading, settings, main):
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


def _overrides(words: list[str]) -> Mapping[str, str]:
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


def _expanded(text: str, settings: Mapping[str, str], depth: int = 0) -> str:
    if depth > _DEEPEST or "$" not in text:
        return text
    return _VARIABLE.sub(
        lambda found: _expanded(settings.get(found[1] or found[2] or found[3], ""), settings, depth + 1), text
    )


def _listener(service: str, settings: Mapping[str, str]) -> ConfiguredListener | None:
    wrapped = _expanded(settings.get("smtpd_tls_wrappermode", "no"), settings) == "yes"
    return listener(service, EndpointProtocol.TLS if wrapped else EndpointProtocol.SMTP)


def _has_tls(settings: Mapping[str, str]) -> bool:
    level = _expanded(settings.get("smtpd_tls_security_level", ""), settings)
    if level:
        return level in {"may", "encrypt"}
    names = ("smtpd_use_tls", "smtpd_enforce_tls", "smtpd_tls_wrappermode")
    return any(_expanded(settings.get(name, "no"), settings) == "yes" for name in names)


def _certificates(
    files: HostFiles, reading: ServerReading, settings: Mapping[str, str], main: str
) -> Iterator[CertificateFiles]:
    def located(path: str) -> str:
        return files.located(path, _DIRECTORY)

    if chains := re.split(r"[\s,]+", _expanded(settings.get("smtpd_tls_chain_files", ""), settings)):
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
        certificate = _expanded(settings.get(certificate_name, ""), settings)
        if certificate and certificate != "none":
            key = _expanded(settings.get(key_name, f"${certificate_name}"), settings)
            yield CertificateFiles(located(certificate), located(key))
