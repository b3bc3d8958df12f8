"""The Portal's keystore and the Engine's bundle, in small: a server, the stores of its clients, and who reads these."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from monitor.lab.ca import Authority, bundle
from monitor.lab.servers import LocalServer, replace_file, write_site
from probes.store_content import StoreContent, read_store
from tests.kit.authority import NAME, ROOT, fresh
from tests.kit.component import on_disk
from tests.kit.daemon import certvigil
from tests.kit.java_keystore import CHANGEIT, keytool, trust_store

OTHER: Final = Authority.root("Other Root CA")
SECOND: Final = Authority.root("Second Root CA")
ALIASES: Final = ("other", "second")
KINDS: Final = ("jks", "jceks", "pkcs12")


@cache
def by_keytool(kind: str) -> bytes:
    """Return a trust store with `OTHER` and `SECOND` under `ALIASES`, as keytool writes that kind."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "given.p12").write_bytes(trust_store((OTHER, SECOND), ALIASES))
        given = ("-srckeystore", "given.p12", "-srcstoretype", "PKCS12", "-srcstorepass", CHANGEIT.decode())
        made = ("-destkeystore", "made", "-deststoretype", kind.upper(), "-deststorepass", CHANGEIT.decode())
        keytool(Path(directory), "-importkeystore", *given, *made, "-noprompt")
        return Path(directory, "made").read_bytes()


@dataclass
class ClientStores:
    """Below a directory: a Java installation's `cacerts` and a bundle, the service that reads them, a configuration."""

    directory: Path
    server: LocalServer
    options: dict[str, Any] = field(default_factory=dict)
    """More of the trust store `portal`, as it is configured."""
    clients: dict[str, Any] = field(default_factory=dict)
    """More of the client `portal`."""

    @property
    def cacerts(self) -> Path:
        return self.directory / "jre" / "lib" / "security" / "cacerts"

    @property
    def bundle(self) -> Path:
        return self.directory / "engine" / "ca-bundle.crt"

    @property
    def root(self) -> Path:
        """A file with the root of the server, which no store has at first."""
        return self.directory / "root.crt"

    @property
    def running(self) -> Path:
        """Is there while the Portal runs; holds the store that it was started with."""
        return self.directory / "portal.running"

    def service(self, **more: object) -> dict[str, object]:
        up = ["/bin/sh", "-c", f"echo start >>{self.directory}/portal.log; cp {self.cacerts} {self.running}"]
        down = ["/bin/sh", "-c", f"echo stop >>{self.directory}/portal.log; rm -f {self.running}"]
        return {"restart": up, "start": up, "stop": down, "quiesce": True, **more}

    def said(self) -> list[str]:
        """Return what was done to the Portal, in order."""
        log = self.directory / "portal.log"
        return log.read_text().split() if log.exists() else []

    def configure(self, **service: object) -> None:
        portal = {"bundle": str(self.cacerts), "mode": "approve", "service": self.service(**service), **self.options}
        document = {
            "state_directory": str(self.directory / "state"),
            "actor": {"directory": str(self.directory / "actor"), "socket": str(self.directory / "actor.sock")},
            "trust_stores": {
                "portal-cacerts": portal,
                "engine-bundle": {"bundle": str(self.bundle), "mode": "approve"},
                "watched": {"bundle": str(self.root)},
            },
            "clients": {
                "portal": {"trusts": "portal-cacerts", **self.clients},
                "engine": {"trusts": "engine-bundle"},
            },
            "endpoints": [
                {
                    "name": "nxengine",
                    "address": self.server.address,
                    "server_name": NAME,
                    "clients": ["portal", "engine"],
                    "timeout": "2s",
                }
            ],
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "3s", "handshakes": 2},
        }
        replace_file(str(self.directory / "certvigil.yaml"), json.dumps(document).encode())

    def act(self, *arguments: str) -> tuple[int, str]:
        """Run a command, and return its exit code and all that it says."""
        ran = certvigil(*arguments, "--config", str(self.directory / "certvigil.yaml"))
        return ran.returncode, ran.stdout + ran.stderr

    def trust(self, *arguments: str) -> tuple[int, str]:
        """Run a command of `certvigil trust`."""
        return self.act("trust", *arguments)

    def add(self, *options: str, store: str = "portal-cacerts") -> tuple[int, str]:
        """Add the root of the server."""
        return self.trust("add", store, "--from", str(self.root), *options)

    def held(self, *passwords: bytes) -> StoreContent:
        """Return what the keystore holds."""
        return read_store(self.cacerts.read_bytes(), passwords or (CHANGEIT,))

    def aliases(self) -> set[str]:
        return {each.alias for each in self.held().entries}

    def left(self) -> set[str]:
        """Return what lies where it should not: beside the stores, and in the directory of keytool."""
        actor = self.directory / "actor"
        beside = {*on_disk(self.cacerts.parent, actor)} - {"cacerts"}
        beside |= {*on_disk(self.bundle.parent, actor)} - {"ca-bundle.crt"}
        work = actor / "keytool.d"
        return beside | ({each.name for each in work.iterdir()} if work.exists() else set())


def laid_out(directory: Path, server: LocalServer, kind: str = "jks") -> ClientStores:
    """Return the stores of a new place, with a keystore of that kind."""
    stores = ClientStores(directory, server)
    for each in (stores.cacerts, stores.bundle):
        each.parent.mkdir(parents=True, exist_ok=True)
    stores.cacerts.write_bytes(by_keytool(kind))
    stores.cacerts.chmod(0o644)
    stores.bundle.write_bytes(b"# what the vendor trusts\n\n" + bundle((OTHER, SECOND)) + b"# the end")
    stores.root.write_bytes(ROOT.pem())
    stores.running.write_bytes(stores.cacerts.read_bytes())
    stores.configure()
    return stores


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[ClientStores]:
    with serving(tmp_path) as server:
        yield laid_out(tmp_path, server)


def serving(directory: Path, sites: Sequence[Any] = ()) -> LocalServer:
    """Return a server of a certificate that `ROOT` vouches for, not running yet."""
    return LocalServer(sites or [write_site(str(directory / "tls"), fresh())])
