"""Rendering a trust store: with keytool, and where that hangs, is not to be trusted or is missing, without it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from actions.backup import state_of
from actions.ending import Ground
from actions.keytool import Keytool, find_keytool
from actions.precheck import Objection
from actions.trust_change import AddAnchors, Deed, NewPassword, RemoveAnchor, Rendered, StoreFile, render
from actions.world import World
from config.model import PemBundle, TrustStore
from config.vocabulary import EntryKind, FileFormat, Integrity
from monitor.lab.ca import Issued
from monitor.lab.process import find_command
from probes.certificate import certificate
from probes.keystore import StoreEntry
from probes.store_content import StoreContent, read_store
from tests.kit.authority import ROOT, fresh
from tests.kit.client_stores import ALIASES, OTHER, SECOND, by_keytool
from tests.kit.java_keystore import CHANGEIT, keytool, store, trust_store, trusted
from tests.kit.keystore import PASSWORD, keystore

WORLD = World()
ADD = AddAnchors((certificate(ROOT.der()),), "root")


def rendered(path: Path, data: bytes, deed: Deed, keytool: Keytool | None = None) -> Rendered | Objection:
    path.write_bytes(data)
    content = read_store(data, (PASSWORD, None, CHANGEIT))
    file = StoreFile(
        TrustStore("java", PemBundle(str(path))), str(path), state_of(*WORLD.read(str(path))), data, content
    )
    return render(file, deed, keytool, WORLD.now())


def refused(found: Rendered | Objection, ground: Ground, why: str) -> bool:
    assert isinstance(found, Objection), found
    assert (found.ground, why in found.detail) == (ground, True), found
    return True


def aliases(data: bytes, password: bytes = CHANGEIT) -> set[str]:
    return {each.alias for each in read_store(data, (password,)).entries}


def jks(*aliases_: str) -> bytes:
    return store(*(trusted(each, OTHER.der()) for each in aliases_), password=CHANGEIT)


class TestWithoutKeytool:
    @pytest.mark.server("keytool")
    def test_pkcs12_that_java_wrote_gets_and_loses_certificates_that_java_trusts(self, tmp_path: Path) -> None:
        added = rendered(tmp_path / "store", by_keytool("pkcs12"), ADD)
        assert isinstance(added, Rendered), added
        assert aliases(added.data) == {*ALIASES, "root"}
        (tmp_path / "added").write_bytes(added.data)
        listing = keytool(tmp_path, "-list", "-keystore", "added", "-storepass", CHANGEIT.decode(), "-v")
        assert listing.count("trustedCertEntry") == 3
        removed = rendered(tmp_path / "store", added.data, RemoveAnchor("root"))
        assert isinstance(removed, Rendered), removed
        assert aliases(removed.data) == {*ALIASES}

    def test_the_password_of_pkcs12_is_changed(self, tmp_path: Path) -> None:
        changed = rendered(tmp_path / "store", trust_store((OTHER, SECOND), ALIASES), NewPassword(PASSWORD))
        assert isinstance(changed, Rendered), changed
        assert read_store(changed.data, (PASSWORD,)).password == PASSWORD
        assert aliases(changed.data, PASSWORD) == {*ALIASES}

    def test_jks_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        found = rendered(tmp_path / "store", jks("one"), ADD)
        assert refused(found, Ground.KEYTOOL, "is a JKS keystore, which only Java's keytool writes, and there is none")
        assert refused(found, Ground.KEYTOOL, "name one as `keytool` of the trust store, or install a Java runtime")

    def test_a_keystore_that_is_only_read_is_refused_with_and_without_it(self, tmp_path: Path) -> None:
        path = tmp_path / "store"
        path.write_bytes(b"it is not read again")
        held = StoreEntry("one", EntryKind.TRUSTED, (OTHER.der(),))
        content = StoreContent(FileFormat.BKS, (held,), integrity=Integrity.VERIFIED, password=CHANGEIT)
        java = TrustStore("java", PemBundle(str(path)))
        file = StoreFile(java, str(path), state_of(*WORLD.read(str(path))), path.read_bytes(), content)
        for tool in (None, Keytool("/nowhere/keytool", WORLD, str(tmp_path))):
            found = render(file, ADD, tool, WORLD.now())
            assert refused(found, Ground.CANNOT_BE_WRITTEN, "(BKS), which certvigil reads and does not write")

    def test_pkcs12_of_which_something_would_be_lost_is_refused(self, tmp_path: Path) -> None:
        key = keystore(fresh(), CHANGEIT)
        old = PrivateFormat.PKCS12.encryption_builder().key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        held = [pkcs12.PKCS12Certificate(OTHER.certificate, b"other")]
        for data, why in (
            (key, "holds a private key"),
            (_by_openssl(tmp_path), "holds a certificate that Java does not take for trusted, and a new one would be"),
            (
                pkcs12.serialize_java_truststore(held, old.build(CHANGEIT)),
                "is encrypted as Java did until 2021, which is not written any more",
            ),
        ):
            found = rendered(tmp_path / "store", data, ADD)
            assert refused(found, Ground.CANNOT_BE_WRITTEN, why)
            assert refused(found, Ground.CANNOT_BE_WRITTEN, "keytool, which keeps all of it, is not installed")


def _by_openssl(directory: Path) -> bytes:
    (directory / "other.pem").write_bytes(OTHER.pem())
    command = [find_command("openssl") or "", "pkcs12", "-export", "-nokeys", "-in", "other.pem", "-out", "openssl.p12"]
    given = ["-passout", f"pass:{CHANGEIT.decode()}", "-caname", "other"]
    subprocess.run([*command, *given], cwd=directory, check=True, capture_output=True, timeout=60)
    return (directory / "openssl.p12").read_bytes()


@pytest.mark.server("keytool")
def test_pkcs12_of_openssl_which_java_does_not_trust_is_not_written_by_keytool_either(tmp_path: Path) -> None:
    found = rendered(tmp_path / "store", _by_openssl(tmp_path), ADD, Keytool("/usr/bin/keytool", WORLD, str(tmp_path)))
    assert refused(found, Ground.CANNOT_BE_WRITTEN, "what was written has an entry other that is missing, or another")


@pytest.mark.server("keytool")
def test_a_keystore_with_a_private_key_keeps_it(tmp_path: Path) -> None:
    leaf = fresh()
    made = rendered(
        tmp_path / "store", keystore(leaf, PASSWORD), ADD, Keytool("/usr/bin/keytool", WORLD, str(tmp_path))
    )
    assert isinstance(made, Rendered), made
    held = pkcs12.load_pkcs12(made.data, PASSWORD)
    assert held.key is not None
    assert held.key.public_key() == leaf.key.public_key()
    assert made.content.anchors == (ROOT.der(),)


@pytest.mark.server("keytool")
def test_pkcs12_without_a_password_stays_without_one(tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(OTHER.pem())
    bare = [f"-J-Dkeystore.pkcs12.{each}=NONE" for each in ("macAlgorithm", "certProtectionAlgorithm")]
    given = ("-alias", "other", "-file", "other.pem", "-keystore", "bare.p12", "-storetype", "PKCS12")
    keytool(tmp_path, *bare, "-importcert", "-noprompt", *given, "-storepass", CHANGEIT.decode())
    for each in (None, Keytool("/usr/bin/keytool", WORLD, str(tmp_path))):
        made = rendered(tmp_path / "store", (tmp_path / "bare.p12").read_bytes(), ADD, each)
        assert isinstance(made, Rendered), made
        assert (made.content.integrity, made.content.password) == (Integrity.UNPROTECTED, None)
        assert {each.alias for each in made.content.entries} == {"other", "root"}


def _program(path: Path, *lines: str) -> str:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


def test_a_keytool_that_hangs_is_ended_and_leaves_nothing(tmp_path: Path) -> None:
    hangs = Keytool(_program(tmp_path / "keytool", "sleep 60"), WORLD, str(tmp_path), 0.2)
    found = rendered(tmp_path / "store", jks("one"), ADD, hangs)
    assert refused(found, Ground.KEYTOOL, "-importcert did not end within 0.2 s")
    assert [*(tmp_path / "keytool.d").iterdir()] == []


def test_a_keytool_that_somebody_else_could_change_is_not_run(tmp_path: Path) -> None:
    program = _program(tmp_path / "keytool", f"touch {tmp_path}/ran")
    Path(program).chmod(0o777)
    found = rendered(tmp_path / "store", jks("one"), ADD, Keytool(program, WORLD, str(tmp_path)))
    assert refused(found, Ground.KEYTOOL, "is not run")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("alias", ["-J-version", "@file", " x", "a\nb"])
def test_an_alias_that_could_be_an_option_is_not_given_to_keytool(tmp_path: Path, alias: str) -> None:
    program = Keytool(_program(tmp_path / "keytool", f"touch {tmp_path}/ran"), WORLD, str(tmp_path))
    both = store(trusted(alias, OTHER.der()), trusted("second", SECOND.der()), password=CHANGEIT)
    found = rendered(tmp_path / "store", both, RemoveAnchor(alias), program)
    assert refused(found, Ground.CANNOT_BE_WRITTEN, "cannot be named to keytool: remove it by hand")
    added = rendered(tmp_path / "store", jks("one"), AddAnchors(ADD.certificates, alias), program)
    assert refused(added, Ground.ALIAS_TAKEN, "is no alias that keytool would take")
    assert not (tmp_path / "ran").exists()


def test_what_a_killed_run_of_keytool_left_is_removed_by_the_next(tmp_path: Path) -> None:
    work = tmp_path / "keytool.d"
    work.mkdir()
    (work / "password").write_bytes(PASSWORD)
    rendered(
        tmp_path / "store", jks("one"), ADD, Keytool(_program(tmp_path / "keytool", "exit 1"), WORLD, str(tmp_path))
    )
    assert [*work.iterdir()] == []


def test_keytool_is_that_of_the_java_of_the_store(tmp_path: Path) -> None:
    cacerts = tmp_path / "java" / "jre" / "lib" / "security" / "cacerts"
    cacerts.parent.mkdir(parents=True)
    own = tmp_path / "java" / "jre" / "bin" / "keytool"
    own.parent.mkdir()
    own.touch()
    assert find_keytool(None, str(cacerts), WORLD) == str(own)
    assert find_keytool("/opt/keytool", str(cacerts), WORLD) == "/opt/keytool"


def _sha256(of: Issued) -> str:
    return certificate(of.der()).sha256
