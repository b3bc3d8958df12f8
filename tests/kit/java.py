"""A server that reads a keystore, as a component that the command line changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from monitor.lab.ca import Issued
from tests.kit.authority import NAME, ROOT, fresh
from tests.kit.daemon import certvigil
from tests.kit.keystore import PASSWORD, KeystoreServer, keystore
from tests.kit.openssl_client import presented


@dataclass
class Java:
    """A server whose keystore is encrypted as Java 8 wants it."""

    directory: Path
    server: KeystoreServer
    old: Issued

    @property
    def path(self) -> Path:
        return self.directory / "app" / "site.p12"

    @property
    def secret(self) -> Path:
        return self.directory / "app" / "site.pass"

    def declare(self, *reload: str, test: list[str] | None = None) -> dict[str, object]:
        component = {
            "artefacts": {"keystore": str(self.path), "password_file": str(self.secret)},
            "endpoints": [{"address": self.server.address, "name": NAME, "every": "0.2s"}],
            "clients": ["browser"],
            "not_served_after": "0s",
            "service": {
                **({} if test is None else {"test": test}),
                "activate": "reload",
                "reload": list(reload or ("/bin/kill", "-HUP", str(self.server.pid))),
                "restart": ["/bin/true"],
            },
        }
        document: dict[str, object] = {
            "state_directory": str(self.directory / "state"),
            "actor": {"directory": str(self.directory / "actor")},
            "trust_stores": {"corporate": {"bundle": str(self.directory / "root.pem")}},
            "clients": {"browser": {"trusts": "corporate"}},
            "components": {"java": component},
            "settle": "0.2s",
            "pending": "0s",
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "3s", "handshakes": 2},
        }
        (self.directory / "certvigil.yaml").write_text(json.dumps(document))
        return document

    def act(self, *arguments: str) -> tuple[int, str]:
        ran = certvigil(*arguments, "--config", str(self.directory / "certvigil.yaml"))
        assert PASSWORD.decode() not in ran.stdout + ran.stderr
        return ran.returncode, ran.stdout + ran.stderr

    def replace(self, new: Issued, *options: str) -> tuple[int, str]:
        pem = self.directory / "new.pem"
        pem.write_bytes(new.key_pem() + new.chain_pem())
        return self.act("replace", "java", "--from", str(pem), *options)

    def sets(self) -> list[str]:
        """Return the names of the backup sets, oldest first."""
        return [each["set"] for each in json.loads(self.act("backups", "java", "--json")[1])["sets"]]

    def entry(self) -> tuple[bytes | None, bytes]:
        """Return the friendly name and the certificate in the keystore."""
        held = pkcs12.load_pkcs12(self.path.read_bytes(), PASSWORD).cert
        assert held is not None
        return held.friendly_name, held.certificate.public_bytes(Encoding.DER)

    def serves(self) -> bytes:
        return presented(self.server)[0]


@pytest.fixture
def java(tmp_path: Path) -> Iterator[Java]:
    old = fresh()
    (tmp_path / "app").mkdir()
    (tmp_path / "root.pem").write_bytes(ROOT.pem())
    path, secret = tmp_path / "app" / "site.p12", tmp_path / "app" / "site.pass"
    path.write_bytes(keystore(old, old=True))
    path.chmod(0o640)
    secret.write_bytes(PASSWORD + b"\n")
    secret.chmod(0o600)
    with KeystoreServer(str(tmp_path), str(path), str(secret)) as server:
        java = Java(tmp_path, server, old)
        java.declare()
        yield java
