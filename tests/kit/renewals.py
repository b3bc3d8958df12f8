"""Renewals as people, configuration management and ACME clients write them: file by file, with pauses between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from monitor.lab.ca import Issued, bundle
from tests.kit.keystore import keystore

Pause = Callable[[float], None]

_PASSWORD: Final = b"of this keystore alone"


class RenewalShape(StrEnum):
    """What a component has on disk, and how it is written."""

    KEY_FIRST = "key_first"
    """A pair, the key written before the certificate, each by rename."""
    CERTIFICATE_FIRST = "certificate_first"
    IN_PLACE = "in_place"
    """A pair, each file written over, as `cp` does."""
    SEPARATE_CHAIN = "separate_chain"
    """Certificate, key and chain in three files."""
    COMBINED = "combined"
    """One PEM with key and chain, by rename."""
    COMBINED_SLOWLY = "combined_slowly"
    """One PEM, written over in two halves."""
    KEYSTORE = "keystore"
    """PKCS#12, by rename."""
    SYMLINKS = "symlinks"
    """As certbot's `live` and `archive`: new files, then each link is turned."""


@dataclass(frozen=True, slots=True)
class RenewedFiles:
    """The files of one component below `directory`."""

    directory: str
    shape: RenewalShape
    owner: int = 0
    """The user whose the files are; for others than root, only root can give them away."""

    def path(self, name: str) -> str:
        """Return the path of the file called `name`."""
        return os.path.join(self.directory, name)

    @property
    def artefacts(self) -> dict[str, str]:
        """The section `artefacts` of the component."""
        match self.shape:
            case RenewalShape.COMBINED | RenewalShape.COMBINED_SLOWLY:
                return {"combined": self.path("site.pem")}
            case RenewalShape.KEYSTORE:
                return {"keystore": self.path("site.p12"), "password_file": self.path("password")}
            case RenewalShape.SEPARATE_CHAIN:
                return {name: self.path(f"site.{name}") for name in ("certificate", "key", "chain")}
            case _:
                return {name: self.path(f"site.{name}") for name in ("certificate", "key")}

    def create(self, issued: Issued) -> None:
        """Write the first certificate."""
        os.makedirs(self.directory)
        if self.shape is RenewalShape.KEYSTORE:
            self._replace(self.path("password"), _PASSWORD + b"\n")
        self.renew(issued, 0.0, lambda _: None)

    def renew(self, issued: Issued, gap: float, pause: Pause = time.sleep) -> None:
        """Write another certificate with its key, `gap` seconds between two of its files (or halves)."""
        for number, write in enumerate(self._writes(issued)):
            if number:
                pause(gap)
            write()

    def _writes(self, issued: Issued) -> Iterator[Callable[[], None]]:
        whole = issued.key_pem() + issued.chain_pem()
        match self.shape:
            case RenewalShape.COMBINED:
                yield lambda: self._replace(self.path("site.pem"), whole)
            case RenewalShape.COMBINED_SLOWLY:
                half = len(issued.key_pem()) + len(issued.pem()) // 2
                yield lambda: self._write_over(self.path("site.pem"), whole[:half])
                yield lambda: _append(self.path("site.pem"), whole[half:])
            case RenewalShape.KEYSTORE:
                data = keystore(issued, _PASSWORD)
                yield lambda: self._replace(self.path("site.p12"), data)
            case RenewalShape.SEPARATE_CHAIN:
                yield lambda: self._replace(self.path("site.key"), issued.key_pem())
                yield lambda: self._replace(self.path("site.certificate"), issued.pem())
                yield lambda: self._replace(self.path("site.chain"), bundle(issued.chain[1:]))
            case RenewalShape.SYMLINKS:
                yield from self._turn_links(issued)
            case RenewalShape.CERTIFICATE_FIRST:
                yield lambda: self._replace(self.path("site.certificate"), issued.chain_pem())
                yield lambda: self._replace(self.path("site.key"), issued.key_pem())
            case RenewalShape.IN_PLACE:
                yield lambda: self._write_over(self.path("site.certificate"), issued.chain_pem())
                yield lambda: self._write_over(self.path("site.key"), issued.key_pem())
            case RenewalShape.KEY_FIRST:
                yield lambda: self._replace(self.path("site.key"), issued.key_pem())
                yield lambda: self._replace(self.path("site.certificate"), issued.chain_pem())

    def _turn_links(self, issued: Issued) -> Iterator[Callable[[], None]]:
        archive = self.path("archive")
        os.makedirs(archive, exist_ok=True)
        number = len(os.listdir(archive)) // 2 + 1
        for name, data in (("key", issued.key_pem()), ("certificate", issued.chain_pem())):
            self._replace(os.path.join(archive, f"{name}{number}.pem"), data)
        for name in ("certificate", "key"):
            yield lambda name=name: _link(f"archive/{name}{number}.pem", self.path(f"site.{name}"))  # type: ignore[misc]

    def _replace(self, path: str, data: bytes) -> None:
        new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
        self._write_over(new, data)
        os.rename(new, path)

    def _write_over(self, path: str, data: bytes) -> None:
        mode = 0o644 if path.endswith((".certificate", ".chain", ".chain.new", ".certificate.new")) else 0o600
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
            if self.owner:
                os.fchown(file.fileno(), self.owner, -1)
            file.write(data)


def _append(path: str, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def _link(target: str, path: str) -> None:
    new = f"{path}.new"
    os.symlink(target, new)
    os.rename(new, path)
