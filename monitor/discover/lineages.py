"""The places where clients of certificate authorities keep what they obtain, and stores that hosts trust.

A file of a lineage is never replaced by certvigil: its client would not know. It is watched, and the recipe says how
the client hands a new certificate over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

from config.immutable import immutable
from probes.server_config.files import HostFiles
from probes.server_config.lines import settings, unquoted
from probes.server_config.terms import CertificateFiles


class LineageClient(StrEnum):
    """The clients whose directories are known."""

    CERTBOT = "certbot"
    ACME_SH = "acme.sh"
    LEGO = "lego"
    STEP = "step"
    CERTMONGER = "certmonger"


@immutable
class Lineage:
    """A certificate that such a client renews."""

    client: LineageClient
    files: CertificateFiles
    directory: str

    @property
    def paths(self) -> tuple[str, ...]:
        """Its files."""
        return tuple(each for each in (self.files.certificate, self.files.key, self.files.chain) if each)


def lineages(files: HostFiles) -> list[Lineage]:
    """Return all lineages of the host, as far as this user sees them."""
    return [each for find in _FINDERS for each in find(files)]


def lineage_of(path: str, found: list[Lineage]) -> Lineage | None:
    """Return the lineage that a path belongs to, links followed; None where it belongs to none."""
    real = os.path.realpath(path)
    for each in found:
        if path in each.paths or real in map(os.path.realpath, each.paths):
            return each
        # The names beside the chosen ones, as cert.pem beside fullchain.pem.
        if each.client is LineageClient.CERTBOT and os.path.dirname(path) == each.directory:
            return each
    return None


def _certbot(files: HostFiles) -> Iterator[Lineage]:
    for directory in files.names(files.located("/etc/letsencrypt/live")):
        certificate, key = (os.path.join(directory, name) for name in ("fullchain.pem", "privkey.pem"))
        if files.exists(certificate):
            yield Lineage(LineageClient.CERTBOT, CertificateFiles(certificate, key), directory)


def _acme_sh(files: HostFiles) -> Iterator[Lineage]:
    for home in map(files.located, ("/root/.acme.sh", "/etc/acme.sh")):
        for directory in files.names(home) if files.is_directory(home) else ():
            name = os.path.basename(directory).removesuffix("_ecc")
            certificate, key = (os.path.join(directory, each) for each in ("fullchain.cer", f"{name}.key"))
            if not files.exists(certificate):
                continue
            yield Lineage(LineageClient.ACME_SH, CertificateFiles(certificate, key), directory)
            said = {
                each.name: unquoted(each.value)
                for each in settings(files.read(os.path.join(directory, f"{name}.conf")) or "", "#")
            }
            # It writes these by itself at each renewal.
            installed = said.get("Le_RealFullChainPath") or said.get("Le_RealCertPath")
            if installed and installed.startswith("/"):
                key = said.get("Le_RealKeyPath", "")
                paths = CertificateFiles(files.located(installed), files.located(key) if key.startswith("/") else None)
                yield Lineage(LineageClient.ACME_SH, paths, directory)


def _lego(files: HostFiles) -> Iterator[Lineage]:
    for home in ("/etc/lego", "/var/lib/lego", "/root/.lego"):
        directory = files.located(f"{home}/certificates")
        for path in files.names(directory) if files.is_directory(directory) else ():
            if path.endswith(".crt") and not path.endswith(".issuer.crt"):
                key = f"{path.removesuffix('.crt')}.key"
                yield Lineage(LineageClient.LEGO, CertificateFiles(path, key), directory)


def _step(files: HostFiles) -> Iterator[Lineage]:
    directory = files.located("/etc/step/certs")
    for path in files.names(directory) if files.is_directory(directory) else ():
        key = f"{path.rpartition('.')[0]}.key"
        if path.endswith(".crt") and files.exists(key):
            yield Lineage(LineageClient.STEP, CertificateFiles(path, key), directory)


def _certmonger(files: HostFiles) -> Iterator[Lineage]:
    directory = files.located("/var/lib/certmonger/requests")
    for path in files.names(directory) if files.is_directory(directory) else ():
        said = {each.name: each.value for each in settings(files.read(path) or "", "#")}
        certificate, key = said.get("cert_file", ""), said.get("key_file", "")
        if certificate.startswith("/"):
            paths = CertificateFiles(files.located(certificate), files.located(key) if key.startswith("/") else None)
            yield Lineage(LineageClient.CERTMONGER, paths, directory)


_FINDERS: Final[tuple[Callable[[HostFiles], Iterator[Lineage]], ...]] = (_certbot, _acme_sh, _lego, _step, _certmonger)

_STORES: Final = (
    *("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/java/cacerts"),
    *("/etc/pki/java/cacerts", "/usr/lib/jvm/*/lib/security/cacerts", "/usr/lib/jvm/*/jre/lib/security/cacerts"),
)
_DIRECTORIES: Final = ("/etc/ssl", "/etc/pki/tls")
PASSED_OVER: Final = ("/etc/ssl/certs", "/etc/ssl/private", "/etc/pki/tls/certs", "/etc/pki/tls/private")
"""Directories of trusted roots, of which the bundles are watched, and of keys, which the daemon may not read."""


def trusted_stores(files: HostFiles) -> list[str]:
    """Return the bundles of roots that the host trusts, each once, whatever links lead to it."""
    found: dict[str, str] = {}
    for pattern in _STORES:
        for path in files.matching(files.located(pattern)):
            if files.exists(path):
                found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def certificate_directories(files: HostFiles) -> list[str]:
    """Return the directories in which hosts keep certificates of their own."""
    return [each for each in map(files.located, _DIRECTORIES) if files.is_directory(each)]
