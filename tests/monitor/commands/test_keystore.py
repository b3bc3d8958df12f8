"""Replacing, rolling back and watching a PKCS#12 keystore that a real process serves, from the command line."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from monitor.lab.ca import Authority, Issued, KeyType, new_key
from monitor.lab.servers import replace_file
from tests.kit.component import on_disk
from tests.kit.daemon import Running, certvigil
from tests.kit.keystore import PASSWORD, KeystoreServer, keystore
from tests.kit.openssl_client import presented

NAME = "www.example.com"
ROOT = Authority.root()
ISSUING = ROOT.intermediate()

pytestmark = pytest.mark.server("openssl")


def fresh() -> Issued:
    return ISSUING.issue(NAME, key=new_key(KeyType.P256))


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
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "3s"},
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


def test_a_keystore_is_replaced_as_it_was_approved_and_rolled_back_byte_for_byte(java: Java) -> None:
    new, before = fresh(), java.path.read_bytes()
    hashes = set()
    for _ in range(2):
        code, said = java.replace(new, "--dry-run", "--json")
        assert code == 0, said
        hashes.add(json.loads(said)["plan"]["hash"])
    (approved,) = hashes
    code, said = java.replace(new, "--plan", approved)
    assert code == 0, said
    assert java.serves() == new.der()
    assert java.entry() == (b"site", new.der())
    assert stat.S_IMODE(java.path.stat().st_mode) == 0o640

    code, said = java.act("rollback", "java")
    assert code == 0, said
    assert java.path.read_bytes() == before
    assert java.serves() == java.old.der()


def test_a_new_keystore_is_opened_with_the_component_s_own_password(java: Java) -> None:
    new = fresh()
    given = java.directory / "new.p12"
    given.write_bytes(keystore(new))
    code, said = java.act("replace", "java", "--from", str(given), "--dry-run")
    assert code == 0, said


def test_a_new_keystore_under_another_password_is_refused_with_the_file_that_was_tried(java: Java) -> None:
    given = java.directory / "new.p12"
    given.write_bytes(keystore(fresh(), password=b"another"))
    code, said = java.act("replace", "java", "--from", str(given), "--dry-run")
    assert code == 1, said
    assert f"new.p12 cannot be opened with the password in {java.secret}" in said


def test_a_keystore_that_is_not_served_is_undone_byte_for_byte(java: Java) -> None:
    java.declare("/bin/true")
    before, inode = java.path.read_bytes(), java.path.stat().st_ino
    code, said = java.replace(fresh())
    assert code == 2, said
    assert "rolled_back" in said
    assert (java.path.read_bytes(), java.path.stat().st_ino) == (before, inode)
    assert java.serves() == java.old.der()
    assert set(on_disk(java.path.parent, java.directory / "actor")) == {"site.p12", "site.pass"}


def test_a_keystore_whose_password_is_not_known_is_left_alone(java: Java) -> None:
    before = java.path.read_bytes()
    java.secret.write_bytes(b"wrong")
    code, said = java.replace(fresh())
    assert code == 1, said
    assert "keystore_would_be_lost" in said
    assert "the password does not open it" in said
    assert java.path.read_bytes() == before


def test_no_password_is_written_anywhere(java: Java) -> None:
    assert java.replace(fresh())[0] == 0
    written = [path for path in java.directory.rglob("*") if path.is_file() and path != java.secret]
    assert any("journal" in path.name for path in written)
    assert [path for path in written if PASSWORD in path.read_bytes()] == []


def test_a_keystore_is_watched_with_its_password(java: Java) -> None:
    target, endpoint = "java/keystore", f"java/{java.server.address}"
    with ExitStack() as stack:
        daemon = stack.enter_context(Running(java.declare()))
        daemon.wait_until("presents", target=target)
        assert daemon.findings(target) == set()

        replace_file(str(java.path), keystore(fresh()), 0o640)
        daemon.wait_until("raised", target=endpoint, code="not_served")

        replace_file(str(java.secret), b"another", 0o600)
        raised = daemon.wait_until("raised", target=target, code="unreadable")
        why = f"wrong_password: a PKCS#12 keystore that this password does not open (password of {java.secret})"
        assert why in str(raised)
        replace_file(str(java.secret), PASSWORD, 0o600)
        daemon.wait_until("cleared", target=target, code="unreadable")
        assert PASSWORD.decode() not in daemon.text
        assert daemon.stop() == 0
        state = java.directory / "state"
        assert [path for path in state.rglob("*") if PASSWORD in path.read_bytes()] == []
