"""Rendering a trust store: with keytool, and where that hangs, is not to be trusted or is missing, without it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from actions.backup import state_of
from actions.ending import Ground
from actions.keytool import Keytool, KeytoolChoice, find_keytool, why_untrusted
from actions.precheck import Objection
from actions.trust_change import AddAnchors, Deed, NewPassword, RemoveAnchor, Rendered, StoreFile, render
from actions.world import World
from config import trusted as trusted_files
from config.model import PemBundle, TrustStore
from config.trusted import changeable_below
from config.vocabulary import EntryKind, FileFormat, Integrity
from monitor.actor.confine import other_user
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
    assert find_keytool(None, str(cacerts), WORLD) == KeytoolChoice(str(own))
    assert find_keytool("/opt/keytool", str(cacerts), WORLD) == KeytoolChoice("/opt/keytool")


SERVICE = 4711
"""A user of a service."""


def _java(directory: Path) -> Path:
    """Return the keystore of an installation of Java, and have its keytool note that it ran."""
    for each in ("bin", "lib/security", "lib/server", "conf/security"):
        (directory / each).mkdir(parents=True)
    _program(directory / "bin" / "keytool", f"touch {directory}/ran")
    for each in ("lib/modules", "lib/server/libjvm.so", "conf/security/java.security", "lib/security/java.security"):
        (directory / each).touch()
    cacerts = directory / "lib" / "security" / "cacerts"
    cacerts.write_bytes(jks("one"))
    os.chown(cacerts, SERVICE, SERVICE)
    return cacerts


def _of_service(path: Path) -> None:
    os.chown(path, SERVICE, SERVICE)


def _linked(path: Path) -> None:
    """Put a link of root in the place of a file, which leads to the service's."""
    theirs = path.with_name(f"{path.name}.theirs")
    path.rename(theirs)
    os.chown(theirs, SERVICE, SERVICE)
    path.symlink_to(theirs)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
@pytest.mark.parametrize("change", [_of_service, lambda path: path.chmod(0o777), _linked])
@pytest.mark.parametrize(
    "part",
    [
        "conf",
        "conf/security/java.security",
        "lib",
        "lib/modules",
        "lib/server/libjvm.so",
        "lib/security",
        "bin/keytool",
    ],
)
def test_a_keytool_is_not_run_where_others_may_change_any_part_of_its_java(
    tmp_path: Path, part: str, change: Callable[[Path], None]
) -> None:
    cacerts = _java(tmp_path / "java")
    own = tmp_path / "java" / "bin" / "keytool"
    assert find_keytool(None, str(cacerts), WORLD) == KeytoolChoice(str(own)), "the keystore alone is the service's"
    change(tmp_path / "java" / part)
    assert why_untrusted(str(own), str(cacerts)).startswith(f"others may change what it runs: {tmp_path}/java/{part}")
    data = cacerts.read_bytes()
    program = Keytool(str(own), WORLD, str(tmp_path), store=str(cacerts))
    refusal = rendered(tmp_path / "store", data, ADD, program)
    assert refused(refusal, Ground.KEYTOOL, f"{own} is not run: others may change what it runs: ")
    assert refused(refusal, Ground.KEYTOOL, "name another one as `keytool` of the trust store")
    assert not (tmp_path / "java" / "ran").exists()


@pytest.mark.server("keytool")
@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_the_usual_keytool_is_taken_where_others_may_change_that_of_the_store(tmp_path: Path) -> None:
    cacerts = _java(tmp_path / "java")
    _of_service(tmp_path / "java" / "conf")
    found = find_keytool(None, str(cacerts), WORLD)
    assert found.program == "/usr/bin/keytool"
    (said,) = found.passed_over
    own = tmp_path / "java" / "bin" / "keytool"
    where = f"{tmp_path}/java/conf: belongs to user {SERVICE}, expected root"
    assert said == f"{own} is not run: others may change what it runs: {where}"


def test_a_keytool_outside_of_any_java_is_judged_by_the_java_that_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java, system = tmp_path / "java", tmp_path / "tools"
    for each in (java / "bin", java / "lib", system):
        each.mkdir(parents=True)
    for each in (java / "bin/keytool", java / "bin/java", java / "lib/libjli.so"):
        each.write_bytes(b"\x7fELF")
    wrapper, link = system / "keytool", tmp_path / "current"
    link.symlink_to(java)
    monkeypatch.setattr("actions.keytool._BY_PATH", ())
    for text in (f"#!/bin/sh\nexec '{link}/bin/keytool' \"$@\"\n", "#!/bin/sh\n. /etc/java\n", "\x7fELF"):
        wrapper.write_text(text)
        named = str(link) in text
        assert why_untrusted(str(wrapper)) == (
            "" if named else "nobody knows which Java it runs: it lies in none, and names none"
        )
        (system / "java").symlink_to(java / "bin/java")
        assert why_untrusted(str(wrapper)) == ""
        (java / "lib/libjli.so").chmod(0o666)
        assert why_untrusted(str(wrapper)).startswith(f"others may change what it runs: {java}/lib/libjli.so: writable")
        (java / "lib/libjli.so").chmod(0o644)
        (system / "java").unlink()
    wrapper.write_text(f"#!/bin/sh\nexec {link}/bin/keytool\n")
    if os.geteuid() == 0:
        os.lchown(link, 65534, 65534)
        assert why_untrusted(str(wrapper)).startswith(f"others may change what it runs: {link}: belongs to user 65534")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user on")
def test_root_runs_keytool_as_a_user_who_can_reach_nothing_but_the_copy(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        heard = Path(place, "heard")
        heard.touch()
        heard.chmod(0o666)
        lines = (
            f"exec >>{heard} 2>&1",
            "id -u; id -G; grep -E '^Cap(Prm|Eff|Inh|Amb)' /proc/self/status; pwd -P",
            f"touch new; ln store other; rm password; cat {tmp_path}/secret; ls {tmp_path}",
            "wc -c <store; cat password; echo; echo more >store",
        )
        (tmp_path / "secret").write_text("not for others\n")
        os.chmod(tmp_path, 0o700)
        (tmp_path / "keytool.d").mkdir(mode=0o700)
        program = Keytool(_program(Path(place, "keytool"), *lines), WORLD, str(tmp_path), lesser=(SERVICE, SERVICE + 1))
        found = rendered(tmp_path / "store", jks("one"), ADD, program)
        assert refused(found, Ground.CANNOT_BE_WRITTEN, "what was written is other instead of jks")
        said = heard.read_text()
    assert said.startswith(f"{SERVICE}\n{SERVICE + 1}\n")
    assert said.count("\t0000000000000000\n") == len(["CapInh", "CapPrm", "CapEff", "CapAmb"])
    assert said.count("ermission denied") == len(["touch", "ln", "rm", "cat", "ls"]), said
    assert "not for others" not in said
    assert f"\n{len(jks('one'))}\n{CHANGEIT.decode()}\n" in said
    assert [*(tmp_path / "keytool.d").iterdir()] == []


@pytest.mark.server("keytool")
@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user on")
@pytest.mark.parametrize("kind", ["jks", "pkcs12"])
@pytest.mark.parametrize("deed", [ADD, RemoveAnchor("other"), NewPassword(PASSWORD)])
def test_the_real_keytool_works_without_rights(tmp_path: Path, kind: str, deed: Deed) -> None:
    tmp_path.chmod(0o700)
    program = Keytool("/usr/bin/keytool", WORLD, str(tmp_path), lesser=other_user())
    made = rendered(tmp_path / "store", by_keytool(kind), deed, program)
    assert isinstance(made, Rendered), made
    assert program._place().user == other_user()[0] != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_a_tree_is_followed_over_links_and_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, away = tmp_path / "tree", tmp_path / "away"
    for each in (tree / "in", away / "deep"):
        each.mkdir(parents=True)
    (tree / "link").symlink_to(away)
    (away / "round").symlink_to(tree)
    (tree / "nothing").symlink_to(tmp_path / "none" / "none")
    assert changeable_below(str(tree)) == ""
    (away / "deep" / "file").touch()
    _of_service(away / "deep" / "file")
    assert changeable_below(str(tree)) == f"{tree}/link/deep/file: belongs to user {SERVICE}, expected root"
    assert changeable_below(str(tree), spared=(str(away / "deep" / "file"),)) == ""
    assert changeable_below(str(tree), SERVICE) == ""
    (away / "deep" / "file").unlink()
    os.lchown(tree / "nothing", SERVICE, SERVICE)
    assert changeable_below(str(tree)) == f"{tree}/nothing: belongs to user {SERVICE}, expected root"
    (tree / "nothing").unlink()
    monkeypatch.setattr(trusted_files, "MOST_BELOW", 3)
    assert changeable_below(str(tree)).startswith(f"{tree} holds more than 3 files")


def _sha256(of: Issued) -> str:
    return certificate(of.der()).sha256
