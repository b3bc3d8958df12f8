"""Changing the trust stores of clients from the command line: keystores that keytool wrote, and bundles of PEM."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from monitor.lab.ca import Authority, Issued, bundle
from monitor.lab.servers import replace_file
from probes.store_content import read_store
from tests.kit.authority import ISSUING, ROOT, fresh
from tests.kit.client_stores import ALIASES, KINDS, OTHER, SECOND, ClientStores, by_keytool, stores
from tests.kit.daemon import with_usual_paths
from tests.kit.java_keystore import CHANGEIT, keytool
from tests.kit.keystore import PASSWORD

__all__ = ["stores"]

pytestmark = pytest.mark.server("keytool")


MARKS = {"jceks": pytest.mark.slow}
"""A Java machine starts for each step; JCEKS is written by the code that writes JKS."""


def sha256(of: Issued) -> str:
    return hashlib.sha256(of.der()).hexdigest()


def unchanged(stores: ClientStores, before: bytes) -> bool:
    """Whether the keystore is as before, the Portal was left alone, and nothing lies about."""
    return (stores.cacerts.read_bytes(), stores.said(), stores.left()) == (before, [], set())


@pytest.mark.parametrize("kind", [pytest.param(each, marks=MARKS.get(each, ())) for each in KINDS])
def test_a_root_is_imported_and_the_client_accepts(stores: ClientStores, kind: str) -> None:
    stores.cacerts.write_bytes(by_keytool(kind))
    stores.cacerts.chmod(0o640)
    before = stores.held()
    code, said = stores.add("--alias", "root_engine", "--dry-run")
    assert code == 0, said
    assert "client     portal at nxengine: rejects -> accepts" in said
    here = hashlib.sha256(stores.cacerts.read_bytes()).hexdigest()[:16]
    assert re.search(
        rf"{here} -> [0-9a-f]{{16}} \(sha256 of the entries: the bytes of the file differ each time\)", said
    )
    assert (stores.held().digest, stores.said(), stores.left()) == (before.digest, [], set())

    code, said = stores.add("--alias", "root_engine")
    assert code == 0, said
    assert stores.aliases() == {*ALIASES, "root_engine"}
    assert stores.held().format == before.format
    assert {*before.entries} < {*stores.held().entries}
    assert stores.said() == ["stop", "start"]
    assert stores.running.read_bytes() == stores.cacerts.read_bytes()
    assert stat.S_IMODE(stores.cacerts.stat().st_mode) == 0o640
    assert stores.left() == set()
    listing = keytool(stores.directory, "-list", "-keystore", str(stores.cacerts), "-storepass", CHANGEIT.decode())
    assert "root_engine" in listing


def test_the_same_plan_has_the_same_hash_and_is_the_only_one_that_is_carried_out(stores: ClientStores) -> None:
    hashes = {json.loads(stores.add("--dry-run", "--json")[1])["plan"]["hash"] for _ in range(2)}
    (approved,) = hashes
    before = stores.cacerts.read_bytes()
    code, said = stores.add("--plan", approved[::-1])
    assert code == 4, said
    assert unchanged(stores, before)
    assert stores.add("--plan", approved)[0] == 0


def test_the_same_certificate_is_imported_once(stores: ClientStores) -> None:
    assert stores.add("--alias", "root_engine")[0] == 0
    before, done = stores.cacerts.read_bytes(), stores.said()
    for options in ((), ("--alias", "root_engine"), ("--alias", "another")):
        code, said = stores.add(*options)
        assert code == 0, said
        assert "CN=Lab Root CA is in portal-cacerts already, as root_engine" in said
    assert (stores.cacerts.read_bytes(), stores.said()) == (before, done)


def test_a_certificate_is_taken_only_where_it_is_the_one_that_is_named(stores: ClientStores) -> None:
    root, other, before = sha256(ROOT), sha256(OTHER), stores.cacerts.read_bytes()
    colons = ":".join(other[at : at + 2] for at in range(0, 64, 2)).upper()
    for named, why in (
        ((colons,), f"CN=Lab Root CA has the sha256 {root}, which --sha256 does not name"),
        ((root, other), f"no file has the certificate with the sha256 {other}"),
        ((root[:16],), f"--sha256 takes the 64 digits of a SHA-256, and not '{root[:16]}'"),
    ):
        code, said = stores.add(*(word for each in named for word in ("--sha256", each)))
        assert (code, said) == (4, f"certvigil: {why}\n")
        assert unchanged(stores, before)
    code, said = stores.add("--sha256", root, "--dry-run")
    assert code == 0, said


def test_an_alias_that_another_certificate_has_is_refused(stores: ClientStores) -> None:
    before = stores.cacerts.read_bytes()
    for alias in ("other", "OTHER"):
        code, said = stores.add("--alias", alias)
        assert code == 1, said
        why = f"alias_taken: alias other is another certificate, CN=Other Root CA (sha256 {sha256(OTHER)[:16]})"
        assert f"{why}: choose another one, or remove that first" in said
    assert unchanged(stores, before)


def test_an_alias_is_made_of_the_subject_and_is_unique(stores: ClientStores) -> None:
    again = Authority.root("Lab Root CA", key=ISSUING.key)
    stores.root.write_bytes(bundle((ROOT, ISSUING, again)))
    code, said = stores.add()
    assert code == 0, said
    made = {"lab-root-ca", "lab-issuing-ca", f"lab-root-ca-{sha256(again)[:8]}"}
    assert stores.aliases() == {*ALIASES, *made}
    assert "CN=Lab Issuing CA is no root" in said


def test_only_certificates_of_cas_that_have_not_ended_are_trusted(stores: ClientStores) -> None:
    before = stores.cacerts.read_bytes()
    ended = Authority.root("Ended", not_before=1_000_000_000, not_after=1_600_000_000)
    for given, why in (
        (fresh().pem(), "is not the certificate of a CA"),
        (ended.pem(), "CN=Ended ended at 2020-09-13"),
    ):
        stores.root.write_bytes(given)
        code, said = stores.add()
        assert code == 1, said
        assert "not_to_be_trusted: " in said
        assert why in said
    for given, why in (
        (ROOT.pem() + ROOT.key_pem(), "holds a private key, which no trust store takes"),
        (b"nothing", "holds no certificate"),
        (ROOT.pem()[:-40], "END CERTIFICATE is missing"),
    ):
        stores.root.write_bytes(given)
        code, said = stores.add()
        assert code == 4, said
        assert why in said
    assert unchanged(stores, before)


def test_a_removal_that_locks_a_client_out_must_name_it(stores: ClientStores) -> None:
    assert stores.add("--alias", "root_engine")[0] == 0
    before, done = stores.cacerts.read_bytes(), stores.said()
    for named in ("root_engine", sha256(ROOT), sha256(ROOT)[:8].upper()):
        code, said = stores.trust("remove", "portal-cacerts", named)
        assert code == 1, said
        assert "client_lost: portal would no longer accept nxengine" in said
        assert "client     portal at nxengine: accepts -> rejects" in said
    assert (stores.cacerts.read_bytes(), stores.said()) == (before, done)

    code, said = stores.trust("remove", "portal-cacerts", "ROOT_engine", "--lose", "portal")
    assert code == 0, said
    assert stores.aliases() == {*ALIASES}
    assert stores.said() == [*done, "stop", "start"]


def test_what_is_not_there_is_not_removed(stores: ClientStores) -> None:
    before = stores.cacerts.read_bytes()
    for named in ("secnd", "0123456789abcdef", "0123"):
        code, said = stores.trust("remove", "portal-cacerts", named)
        assert code == 1, said
        assert f"no_such_entry: portal-cacerts has no certificate {named}" in said
    assert "did you mean 'second'?" in stores.trust("remove", "portal-cacerts", "secnd")[1]
    assert unchanged(stores, before)


def test_the_last_certificate_stays(stores: ClientStores) -> None:
    assert stores.trust("remove", "portal-cacerts", "other")[0] == 0
    code, said = stores.trust("remove", "portal-cacerts", "second")
    assert code == 1, said
    assert "would hold no certificate: nothing would be trusted" in said


@pytest.mark.parametrize("kind", [pytest.param(each, marks=MARKS.get(each, ())) for each in KINDS])
def test_a_wrong_password_a_damaged_and_a_missing_keystore_are_refused(stores: ClientStores, kind: str) -> None:
    whole = by_keytool(kind)
    secret = stores.directory / "wrong.pass"
    secret.write_bytes(b"not the password")
    own = stores.directory / "own"
    own.write_bytes(whole)
    file = {"-keystore": "own", "-storepass": CHANGEIT.decode(), "-new": PASSWORD.decode()}
    keytool(stores.directory, "-storepasswd", *(each for pair in file.items() for each in pair))
    stores.options = {"password_file": str(secret)}
    stores.configure()
    for data, why in (
        (own.read_bytes(), "unreadable" if kind == "pkcs12" else "its password is not known"),
        (whole[:-60], "unreadable"),
        (whole[:40], "unreadable"),
    ):
        stores.cacerts.write_bytes(data)
        code, said = stores.add()
        assert code == 1, said
        assert why in said
        assert unchanged(stores, data)
    stores.cacerts.unlink()
    code, said = stores.add()
    assert code == 1, said
    assert "there is no such file, and certvigil makes no new store" in said
    assert not stores.cacerts.exists()


def test_a_keystore_with_several_names_is_written_over_only_where_that_is_wanted(stores: ClientStores) -> None:
    other = stores.directory / "java-cacerts"
    os.link(stores.cacerts, other)
    before = stores.cacerts.read_bytes()
    code, said = stores.add()
    assert code == 1, said
    assert "has 2 names: replacing one would leave the others with the old content" in said
    assert unchanged(stores, before)

    stores.options = {"write_mode": "in_place"}
    stores.configure()
    code, said = stores.add()
    assert code == 0, said
    assert other.read_bytes() == stores.cacerts.read_bytes() != before


def test_a_keystore_behind_a_link_is_changed_where_the_link_leads(stores: ClientStores) -> None:
    there = stores.directory / "etc" / "ssl" / "certs" / "java"
    there.mkdir(parents=True)
    stores.cacerts.rename(there / "cacerts")
    stores.cacerts.symlink_to(there / "cacerts")
    code, said = stores.add("--alias", "root_engine")
    assert code == 0, said
    assert stores.cacerts.is_symlink()
    assert "root_engine" in stores.aliases()


def program(stores: ClientStores, *lines: str) -> None:
    """Have a program of these lines in the place of keytool."""
    path = stores.directory / "keytool"
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    stores.options = {"keytool": str(path)}
    stores.configure()


REAL = '/usr/bin/keytool "$@"'
STORE = 'while [ "$1" != -keystore ]; do shift; done; store=$2'
"""Lines of a shell that find the copy."""


def test_a_keytool_that_fails_or_lies_changes_nothing(stores: ClientStores) -> None:
    before = stores.cacerts.read_bytes()
    empty = stores.directory / "empty"
    empty.write_bytes(by_keytool("pkcs12"))
    for lines, why in (
        (("echo it is broken; exit 3",), "keytool -importcert ended with status 3: it is broken"),
        (("exit 0",), "what was written has an entry lab-root-ca that is missing, or another"),
        ((STORE, "echo nonsense >$store"), "what was written is other instead of jks"),
        ((STORE, f"cp {empty} $store"), "what was written is pkcs12 instead of jks"),
        ((STORE, "rm $store"), "No such file"),
        (
            (
                '/usr/bin/keytool "$@"',
                STORE,
                "/usr/bin/keytool -delete -alias other -keystore $store -storepass changeit",
            ),
            "what was written has an entry other that is missing, or another; nothing was changed",
        ),
    ):
        program(stores, *lines)
        code, said = stores.add()
        assert code in (1, 4), said
        assert why in said
        assert unchanged(stores, before)
    stores.options = {"keytool": str(stores.directory / "none")}
    stores.configure()
    code, said = stores.add()
    assert code == 1, said
    assert "none is not run: No such file or directory" in said
    assert unchanged(stores, before)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_the_java_of_the_keystore_is_not_run_where_others_may_change_its_configuration(stores: ClientStores) -> None:
    own, ran = stores.directory / "jre" / "bin" / "keytool", stores.directory / "ran"
    (stores.directory / "jre" / "conf").mkdir()
    own.parent.mkdir()
    own.write_text(f"#!/bin/sh\ntouch {ran}\n")
    own.chmod(0o755)
    assert stores.add("--dry-run")[0] == 1
    assert ran.exists(), "a Java of root's is run"
    ran.unlink()
    os.chown(stores.directory / "jre" / "conf", 4711, 4711)
    os.chown(stores.cacerts, 4711, 4711)
    code, said = stores.add("--dry-run")
    assert code == 0, said
    assert f"{own} is not run: others may change what it runs: {own.parents[1]}/conf: belongs to user 4711" in said
    assert stores.add()[0] == 0
    assert not ran.exists()


def test_no_password_is_an_argument_or_a_variable_of_keytool(stores: ClientStores) -> None:
    secret = stores.directory / "store.pass"
    secret.write_bytes(PASSWORD + b"\n")
    keystore = str(stores.cacerts)
    keytool(
        stores.directory, "-storepasswd", "-keystore", keystore, "-storepass", "changeit", "-new", PASSWORD.decode()
    )
    heard = stores.directory / "heard"
    program(stores, f'echo "$@" >>{heard}', f"env >>{heard}", 'exec /usr/bin/keytool "$@"')
    stores.options["password_file"] = str(secret)
    stores.configure()
    new = stores.directory / "new.pass"
    new.write_bytes(b"battery staple\n")
    os.environ["LEAKED"] = "leaked"
    assert stores.add()[0] == 0
    code, said = stores.trust("password", "portal-cacerts", "--new-password-file", str(new))
    assert code == 0, said
    text = heard.read_bytes()
    assert b"-importcert" in text
    assert b"-storepasswd" in text
    assert not any(each in text for each in (PASSWORD, b"battery staple", b"LEAKED"))
    assert stores.held(b"battery staple").password == b"battery staple"
    written = [path for path in stores.directory.rglob("*") if path.is_file() and path not in (secret, new)]
    assert [path for path in written if any(each in path.read_bytes() for each in (PASSWORD, b"battery staple"))] == []


def test_the_password_is_changed_and_another_one_is_no_longer_the_default(stores: ClientStores) -> None:
    before = stores.held()
    assert before.has_default_password
    new = stores.directory / "new.pass"
    new.write_bytes(PASSWORD + b"\n")
    code, said = stores.trust("password", "portal-cacerts", "--new-password-file", str(new))
    assert code == 0, said
    assert "set `password_file` of the trust store to a file with the new password" in said
    assert stores.held(PASSWORD).password == PASSWORD
    assert {*stores.held(PASSWORD).entries} == {*before.entries}
    code, said = stores.add()
    assert code == 1, said
    assert "its password is not known: name a file with it as `password_file`" in said
    stores.options = {"password_file": str(new)}
    stores.configure()
    assert stores.add()[0] == 0
    code, said = stores.trust("password", "portal-cacerts", "--new-password-file", str(new))
    assert (code, "has that password already" in said) == (0, True)
    new.write_bytes(b"short")
    assert stores.trust("password", "engine-bundle", "--new-password-file", str(new))[0] == 1


def test_giving_back_a_store_says_that_its_password_changes_too(stores: ClientStores) -> None:
    new = stores.directory / "new.pass"
    new.write_bytes(PASSWORD + b"\n")
    code, said = stores.trust("password", "portal-cacerts", "--new-password-file", str(new))
    assert code == 0, said
    stores.options["password_file"] = str(new)
    stores.configure()
    for options in (["--dry-run"], []):
        code, said = stores.trust("restore", "portal-cacerts", "--to", "default", *options)
        assert code == 0, said
        assert "nothing but the password of portal-cacerts changes" in said
        assert "its password changes, from the one in its `password_file` to changeit" in said
        assert "have `password_file` of the trust store, and the configuration of each program" in said
    code, said = stores.act("reset-to-default", "portal-cacerts")
    assert code == 4, said
    assert "`certvigil trust restore portal-cacerts --to default`" in with_usual_paths(said)


@pytest.mark.skipif(not os.path.exists("/etc/ssl/certs/java/cacerts"), reason="no package of Java's certificates")
def test_a_keystore_of_a_package_keeps_its_password(stores: ClientStores) -> None:
    stores.options = {"bundle": "/etc/ssl/certs/java/cacerts"}
    stores.configure()
    new = stores.directory / "new.pass"
    new.write_bytes(PASSWORD)
    code, said = stores.trust("password", "portal-cacerts", "--new-password-file", str(new), "--dry-run")
    assert code == 1, said
    assert "package_owned: a package owns /etc/ssl/certs/java/cacerts" in said
    code, said = stores.add("--dry-run")
    assert code == 0, said
    assert "and may write it anew: it is looked at again then" in said


def test_the_service_is_started_again_whatever_fails(stores: ClientStores) -> None:
    before = stores.cacerts.read_bytes()
    fails = ["/bin/sh", "-c", f"echo tried >>{stores.directory}/portal.log; exit 1"]
    stores.configure(start=fails)
    code, said = stores.add()
    assert code == 2, said
    assert "rolled_back" in said
    assert stores.cacerts.read_bytes() == before
    assert stores.running.read_bytes() == before
    assert stores.said()[-1] == "start"

    stores.configure(stop=fails)
    code, said = stores.add()
    assert code in (1, 2), said
    assert stores.cacerts.read_bytes() == before
    assert stores.running.read_bytes() == before
    assert stores.left() == set()


def test_the_bundle_of_the_engine_is_appended_to_once_and_given_back_byte_for_byte(stores: ClientStores) -> None:
    before = stores.bundle.read_bytes()
    code, said = stores.add(store="engine-bundle")
    assert code == 0, said
    assert "client     engine at nxengine: rejects -> accepts" in said
    comment = f"# certvigil: CN=Lab Root CA, sha256 {sha256(ROOT)}\n".encode()
    assert stores.bundle.read_bytes() == before + b"\n" + comment + ROOT.pem()
    code, said = stores.add(store="engine-bundle")
    assert (code, "is in engine-bundle already" in said) == (0, True)

    for _ in range(2):
        code, said = stores.trust("remove", "engine-bundle", sha256(ROOT)[:16])
        assert (code, "client_lost: engine" in said) == (1, True)
    code, said = stores.act("audit", "--action", "trust")
    assert (code, said.count("declined trust engine-bundle")) == (0, 1), said
    code, said = stores.trust("remove", "engine-bundle", sha256(ROOT)[:16], "--lose", "engine")
    assert code == 0, said
    assert stores.bundle.read_bytes() == before + b"\n"
    code, said = stores.act("backups", "engine-bundle")
    assert code == 0, said
    code, said = stores.trust("restore", "engine-bundle", "--to", "default")
    assert code == 0, said
    assert stores.bundle.read_bytes() == before
    assert stores.left() == set()


def test_what_nobody_may_change_says_why(stores: ClientStores) -> None:
    for store, why in (
        ("watched", "watched is only observed: set `mode: approve` of that trust store"),
        ("system", "system is not certvigil's to change: put the root into /usr/local/share/ca-certificates and run "),
        ("mozilla", "mozilla is not certvigil's to change: it holds Mozilla's roots, as a package ships them"),
        ("portal-cacert", "there is no trust store 'portal-cacert'; did you mean 'portal-cacerts'?"),
    ):
        code, said = stores.add(store=store)
        assert (code, why in said) == (4, True), said
    code, said = stores.act("activate", "portal-cacerts")
    assert (code, "portal-cacerts is a trust store: `certvigil trust` changes it" in said) == (4, True), said


def test_a_client_that_does_not_validate_is_no_reason_to_refuse(stores: ClientStores) -> None:
    stores.clients = {"validates": False}
    stores.configure()
    code, said = stores.add("--alias", "root_engine")
    assert code == 0, said
    assert "portal does not validate; if it did, at nxengine: rejects" in said
    assert stores.trust("remove", "portal-cacerts", "root_engine")[0] == 0


def test_a_switch_that_cannot_be_read_is_told_only_where_it_matters(stores: ClientStores) -> None:
    missing = stores.directory / "portal.conf"
    stores.clients = {"validation_switch": {"file": str(missing), "key": "ignore", "disables": "true"}}
    stores.configure()
    code, said = stores.add("--alias", "root_engine", "--dry-run")
    assert (code, str(missing) in said) == (0, False), said
    assert str(missing) in stores.trust("enforce", "portal", "--dry-run")[1]


def test_a_server_that_does_not_answer_is_said_and_hinders_nothing(stores: ClientStores) -> None:
    stores.server.stop()
    code, said = stores.add("--alias", "root_engine")
    assert code == 0, said
    assert "nxengine does not answer" in said
    assert "whether portal will accept it is not known" in said


def test_stores_are_listed_without_java(stores: ClientStores) -> None:
    os.environ["PATH_BEFORE"] = ""
    code, said = stores.trust("list")
    assert code == 0, said
    (row,) = [each for each in said.splitlines() if each.startswith("portal-cacerts\t")]
    assert row.split("\t")[2:4] == ["jks", "2"]
    assert row.split("\t")[5:] == ["changeit", "portal"]
    code, said = stores.trust("list", "portal-cacerts")
    assert {each.split("\t")[0] for each in said.splitlines()} >= {"alias", *ALIASES}
    assert sha256(OTHER) in said
    (listed,) = json.loads(stores.trust("list", "portal-cacerts", "--json")[1])["stores"]
    assert {each["alias"] for each in listed["entries"]} == {*ALIASES}
    assert (listed["default_password"], listed["integrity"], listed["changeable"]) == (True, "verified", True)
    stores.cacerts.unlink()
    code, said = stores.trust("list", "portal-cacerts")
    assert (code, "No such file" in said) == (3, True)


def test_certificates_are_exported_for_another_machine(stores: ClientStores) -> None:
    code, said = stores.trust("export", "portal-cacerts", "--entry", "second")
    assert (code, said.encode()) == (0, SECOND.pem())
    code, said = stores.trust("export", "portal-cacerts")
    assert {*read_store(said.encode()).anchors} == {OTHER.der(), SECOND.der()}
    path = stores.directory / "second.der"
    given = ("--entry", sha256(SECOND)[:12], "--format", "der", "--out", str(path))
    assert stores.trust("export", "portal-cacerts", *given)[0] == 0
    assert path.read_bytes() == SECOND.der()
    code, said = stores.trust("export", "portal-cacerts", *given)
    assert (code, f"{path} exists: an export is written to a new file" in said) == (4, True)
    code, said = stores.trust("export", "portal-cacerts", "--format", "der")
    assert (code, "DER holds one certificate, and 2 are chosen" in said) == (4, True)
    code, said = stores.trust("export", "portal-cacerts", "--entry", "none")
    assert (code, "no trusted certificate is called none" in said) == (4, True)
    secret, made = stores.directory / "export.pass", stores.directory / "made.p12"
    secret.write_bytes(PASSWORD)
    given = ("--format", "pkcs12", "--out", str(made), "--password-file", str(secret))
    assert stores.trust("export", "portal-cacerts", *given)[0] == 0
    assert {each.alias for each in read_store(made.read_bytes(), (PASSWORD,)).entries} == {*ALIASES}
    held = pkcs12.load_pkcs12(made.read_bytes(), PASSWORD)
    assert held.key is None
    listing = keytool(stores.directory, "-list", "-keystore", "made.p12", "-storepass", PASSWORD.decode())
    assert "second" in listing


def test_what_is_done_is_recorded_with_the_certificates(stores: ClientStores) -> None:
    assert stores.add("--alias", "root_engine")[0] == 0
    code, said = stores.act("audit", "portal-cacerts", "--json")
    assert code == 0, said
    assert f'"root_engine": "{sha256(ROOT)}"' in said
    journal = Path(stores.directory, "actor", "journal.jsonl").read_bytes()
    assert CHANGEIT not in journal


def test_a_change_that_another_writer_makes_meanwhile_is_not_overwritten(stores: ClientStores) -> None:
    theirs = stores.directory / "theirs"
    replace_file(str(theirs), by_keytool("jceks"))
    program(stores, '/usr/bin/keytool "$@" || exit 1', f"cp {theirs} {stores.cacerts}")
    code, said = stores.add()
    assert code == 1, said
    assert "was changed after the plan was made" in said
    assert stores.cacerts.read_bytes() == by_keytool("jceks")
    assert stores.said() == []
