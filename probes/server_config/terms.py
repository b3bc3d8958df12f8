"""The terms of every reader: a site with its files and listeners, and what a reader did not understand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from config.immutable import immutable
from config.text import Printable
from config.vocabulary import EndpointProtocol
from probes.server_config.files import HostFiles

ANY_ADDRESS: Final = ""
"""The host of a listener on every address."""


class ConfiguredListener(NamedTuple):
    """A port that a server is told to open."""

    host: str
    """A name, an IP address, or `ANY_ADDRESS`."""
    port: int
    protocol: EndpointProtocol = EndpointProtocol.TLS
    proxy_protocol: bool = False
    """Whether it expects the header of the PROXY protocol first."""


@immutable
class CertificateFiles:
    """The files of one certificate; each path is absolute."""

    certificate: str
    """The keystore, where it is one."""
    key: str | None = None
    """The same path as `certificate` where one file holds both; None where no file is named."""
    chain: str | None = None
    is_keystore: bool = False


@immutable
class ConfiguredSite:
    """A certificate that a server is told to serve."""

    files: CertificateFiles
    listeners: tuple[ConfiguredListener, ...]
    names: tuple[str, ...]
    """The names for which it is served; empty where it is for everybody. Not printable."""
    file: str
    """The configuration file that names it."""


@immutable
class NotUnderstood:
    """A statement that may concern a certificate, and that a reader cannot follow."""

    file: str
    why: Printable
    """The end of a sentence."""


@dataclass(slots=True)
class ServerReading:
    """All that the configuration of one kind of server says, while it is read."""

    sites: list[ConfiguredSite] = field(default_factory=list)
    not_understood: list[NotUnderstood] = field(default_factory=list)
    main: list[str] = field(default_factory=list)
    """The files with which the server begins, where they are there."""
    _known: set[ConfiguredSite | NotUnderstood] = field(default_factory=set)

    def begins(self, files: HostFiles, paths: Iterable[str]) -> Iterator[str]:
        """Yield the files at these paths of the host with which the server begins, where they are there."""
        for main in map(files.located, paths):
            if files.exists(main):
                self.main.append(main)
                yield main

    def add(
        self, files: CertificateFiles, listeners: Iterable[ConfiguredListener], names: Iterable[str], file: str
    ) -> None:
        """Add a site, each once."""
        site = ConfiguredSite(files, tuple(dict.fromkeys(listeners)), tuple(dict.fromkeys(names)), file)
        if site not in self._known:
            self._known.add(site)
            self.sites.append(site)

    def puzzle(self, file: str, why: Printable) -> None:
        """Add a statement that is not understood, each once."""
        if (each := NotUnderstood(file, why)) not in self._known:
            self._known.add(each)
            self.not_understood.append(each)


class Lines(NamedTuple):
    """The lines of a file that have content."""

    file: str
    lines: Sequence[str]
