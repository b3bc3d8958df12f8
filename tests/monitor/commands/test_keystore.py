"""Replacing, rolling back and watching a PKCS#12 keystore that a real process serves, from the command line."""

from __future__ import annotations

import json
import stat
from contextlib import ExitStack

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from monitor.lab.servers import replace_file
from tests.kit.authority import fresh
from tests.kit.component import on_disk
from tests.kit.daemon import RunningDaemon
from tests.kit.java import Java, java
from tests.kit.java_keystore import locked, private, store
from tests.kit.keystore import PASSWORD, keystore

__all__ = ["java"]

pytestmark = pytest.mark.server("openssl")


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


def test_a_keystore_of_java_s_own_format_is_not_written(java: Java) -> None:
    chain = [each.der() for each in java.old.chain]
    key = java.old.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    before = store(private("site", locked(key), chain))
    java.path.write_bytes(before)
    code, said = java.replace(fresh())
    assert code == 1, said
    assert "keystore_would_be_lost" in said
    assert "is a JKS keystore, and certvigil writes PKCS#12 alone; convert it" in said
    assert java.path.read_bytes() == before


def test_no_password_is_written_anywhere(java: Java) -> None:
    assert java.replace(fresh())[0] == 0
    written = [path for path in java.directory.rglob("*") if path.is_file() and path != java.secret]
    assert any("journal" in path.name for path in written)
    assert [path for path in written if PASSWORD in path.read_bytes()] == []


def test_a_keystore_is_watched_with_its_password(java: Java) -> None:
    target, endpoint = "java/keystore", f"java/{java.server.address}"
    with ExitStack() as stack:
        daemon = stack.enter_context(RunningDaemon(java.declare()))
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
