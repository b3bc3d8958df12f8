"""A keystore takes the place of another that services know by its name, its password and its encryption."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12

import actions.keystore
from actions.candidate import Candidates, PrivateKey
from actions.component_files import keys_at_hand
from actions.component_site import ComponentSite
from actions.ending import Ground
from actions.keystore import loss, seal
from actions.plan import Kind, candidate_of, plan_from_json, plan_to_json
from actions.plan_activation import plan_activation
from actions.plan_replacement import plan_replacement
from actions.plan_rollback import plan_rollback
from actions.prepare import Prepared, RefusedPlan
from actions.rehearse import RehearsalStage
from actions.world import World
from config.model import Artefacts, Component
from config.vocabulary import FileRole
from monitor.lab.ca import DAY, KeyType, new_key
from monitor.lab.process import find_command
from probes.container.pkcs12 import seal_of
from tests.kit import java_keystore
from tests.kit.candidates import ENDPOINT, ISSUING, NAME, NOW, ROOT, made, presented, value, view
from tests.kit.keystore import PASSWORD, keystore
from tests.kit.scene import new_state

OLD = ISSUING.issue(NAME, not_after=NOW + 20 * DAY)
NEW = ISSUING.issue(NAME, key=new_key(KeyType.RSA2048))
CANDIDATE = made(NEW, ISSUING, root=ROOT)


def opened(data: bytes, password: bytes | None = PASSWORD) -> pkcs12.PKCS12KeyAndCertificates:
    return pkcs12.load_pkcs12(data, password)


def sealed_by(data: bytes, directory: Path, password: bytes = PASSWORD) -> str:
    """Return how a keystore is encrypted, as openssl sees it."""
    path = directory / "sealed.p12"
    path.write_bytes(data)
    command = [find_command("openssl") or "", "pkcs12", "-in", str(path), "-info", "-noout"]
    return subprocess.run(
        [*command, "-passin", f"pass:{password.decode()}"], check=True, capture_output=True, text=True
    ).stderr


@pytest.mark.parametrize("name", [b"site", "Zürich".encode(), None])
def test_the_new_keystore_has_key_and_chain_and_the_name_and_password_of_the_old(name: bytes | None) -> None:
    store = opened(seal(CANDIDATE, keystore(OLD, name=name), PASSWORD))
    assert store.cert is not None
    assert (store.cert.friendly_name, store.cert.certificate) == (name, NEW.certificate)
    assert [each.certificate for each in store.additional_certs] == [ISSUING.certificate]
    assert isinstance(store.key, type(NEW.key))
    assert PrivateKey(store.key) == CANDIDATE.key


@pytest.mark.server("openssl")
def test_a_keystore_is_encrypted_as_the_old_one_was(tmp_path: Path) -> None:
    """Java 8 before 8u301 opens the second, and not the first."""
    today = sealed_by(seal(CANDIDATE, keystore(OLD), PASSWORD), tmp_path)
    assert today.count("PBES2, PBKDF2, AES-256-CBC") == 2
    assert today.startswith("MAC: sha256")
    old = sealed_by(seal(CANDIDATE, keystore(OLD, old=True), PASSWORD), tmp_path)
    assert old.count("pbeWithSHA1And3-KeyTripleDES-CBC") == 2
    assert old.startswith("MAC: sha1")


@pytest.mark.server("openssl")
@pytest.mark.parametrize("old", [b"", b"no keystore", keystore(OLD)[:-3]])
def test_where_the_old_encryption_cannot_be_told_it_is_todays(old: bytes, tmp_path: Path) -> None:
    assert "AES-256-CBC" in sealed_by(seal(CANDIDATE, old, PASSWORD), tmp_path)


@pytest.mark.parametrize("password", [None, b""])
def test_a_keystore_without_a_password_stays_without(password: bytes | None) -> None:
    assert opened(seal(CANDIDATE, keystore(OLD, None), password), None).key is not None


def beside(*certificates: x509.Certificate) -> bytes:
    chain = [ISSUING.certificate, *certificates]
    return pkcs12.serialize_key_and_certificates(b"site", OLD.key, OLD.certificate, chain, NoEncryption())


def test_a_keystore_that_is_nothing_but_a_chain_and_its_key_is_no_loss() -> None:
    for old in (keystore(OLD), keystore(OLD, chain=[ROOT, ISSUING]), b"", b"no keystore"):
        assert loss(old, PASSWORD) is None


def test_what_else_a_keystore_holds_would_be_lost() -> None:
    other = ROOT.intermediate("Another")
    assert loss(beside(other.certificate), None) == (
        "holds certificates outside its chain, and a new one would not: CN=Another"
    )
    two = keystore(OLD)
    assert loss(two, b"wrong") == (
        "cannot be opened, so its service may not use this password: the password does not open it"
    )


def test_a_keystore_of_another_format_would_be_lost_as_a_whole() -> None:
    why = loss(bytes.fromhex("feedfeed") + bytes(28), PASSWORD)
    assert why is not None
    assert why.startswith("is a JKS keystore, and certvigil writes PKCS#12 alone")


def test_the_second_key_in_a_keystore_would_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Java writes such keystores, the tools at hand do not: so one with a single key is taken for it."""
    old = keystore(OLD)
    seen = replace(seal_of(old), keys=2)
    monkeypatch.setattr(actions.keystore, "seal_of", lambda _: seen)
    assert loss(old, PASSWORD) == "holds 2 private keys, and a new one would hold one"


# In a plan


class JavaComponent:
    """A component whose one file is a keystore."""

    def __init__(self, directory: Path) -> None:
        self.path, self.secret = directory / "site.p12", directory / "site.pass"
        self.secret.write_bytes(PASSWORD + b"\n")
        self.write(keystore(OLD))
        artefacts = Artefacts(keystore=str(self.path), password_file=str(self.secret))
        stage = RehearsalStage(ENDPOINT, (view(ROOT),), presented([OLD, ISSUING]))
        self.component = Component("java", artefacts, ("web",))
        self.site = ComponentSite(self.component, (stage,))

    def write(self, data: bytes) -> None:
        self.path.write_bytes(data)
        self.path.chmod(0o640)

    def plan(self) -> Prepared:
        prepared = plan_replacement([self.site], Candidates((CANDIDATE,)), World(), NOW)
        assert isinstance(prepared, Prepared), prepared
        return prepared

    def grounds(self) -> dict[Ground, str]:
        refused = plan_replacement([self.site], Candidates((CANDIDATE,)), World(), NOW)
        assert isinstance(refused, RefusedPlan)
        return {each.ground: each.detail for each in refused.objections}


@pytest.fixture
def java(tmp_path: Path) -> JavaComponent:
    return JavaComponent(tmp_path)


def test_a_plan_has_the_same_hash_each_time_though_the_bytes_never_are_the_same(java: JavaComponent) -> None:
    first, second = java.plan().order, java.plan().order
    assert first.content != second.content
    assert first.plan.changes != second.plan.changes, "what is on disk is compared with is bytes"
    assert first.plan.hash == second.plan.hash
    assert candidate_of(first.plan.changes) == candidate_of(second.plan.changes)
    for order in (first, second):
        (change,) = order.plan.changes
        assert change.new_sha256 == hashlib.sha256(order.content[change.path]).hexdigest()
        assert plan_from_json(plan_to_json(order.plan)) == order.plan


def test_the_hash_of_a_plan_binds_what_a_keystore_is_to_say(java: JavaComponent) -> None:
    first = java.plan().order.plan
    other = plan_replacement([java.site], Candidates((made(ISSUING.issue(NAME), ISSUING),)), World(), NOW)
    assert isinstance(other, Prepared)
    assert other.order.plan.hash != first.hash
    assert candidate_of(other.order.plan.changes) != candidate_of(first.changes)
    java.write(keystore(OLD))
    assert java.plan().order.plan.hash != first.hash, "another file is on disk"


def test_what_is_served_and_is_to_be_is_read_from_keystores(java: JavaComponent) -> None:
    plan = java.plan().order.plan
    new, old, issuing = (value(each).sha256 for each in (NEW, OLD, ISSUING))
    assert plan.serves[0].chains[0] == (new, issuing)
    assert plan.served[0].chains == ((old, issuing),)


def test_there_is_nothing_to_do_where_a_keystore_says_so_already(java: JavaComponent) -> None:
    java.write(keystore(NEW, old=True, name=b"another"))
    assert java.grounds().keys() == {Ground.NOTHING_TO_DO}


def test_no_password_is_shown(java: JavaComponent) -> None:
    prepared = java.plan()
    assert PASSWORD.decode() not in repr(prepared) + repr(plan_to_json(prepared.order.plan))


def test_a_keystore_that_its_password_does_not_open_is_not_replaced(java: JavaComponent) -> None:
    java.secret.write_bytes(b"wrong")
    assert java.grounds()[Ground.KEYSTORE_WOULD_BE_LOST].startswith(f"{java.path} cannot be opened, so its service")


@pytest.mark.parametrize(("magic", "form"), [(java_keystore.JKS, "JKS"), (java_keystore.JCEKS, "JCEKS")])
@pytest.mark.parametrize("entries", [(), (b"damaged",)])
def test_a_keystore_in_a_format_of_java_s_own_is_not_written(
    java: JavaComponent, magic: bytes, form: str, entries: tuple[bytes, ...]
) -> None:
    java.write(java_keystore.store(*entries, magic=magic))
    said = java.grounds()[Ground.KEYSTORE_WOULD_BE_LOST]
    assert said.startswith(f"{java.path} is a {form} keystore, and certvigil writes PKCS#12 alone; convert it")
    assert "-deststoretype PKCS12" in said


@pytest.mark.parametrize(("old", "said"), [(b"", "is empty"), (b"no keystore", "is no keystore")])
def test_a_plan_says_that_what_it_replaces_is_no_keystore(java: JavaComponent, old: bytes, said: str) -> None:
    about = f"java: {java.path} {said}; it becomes a PKCS#12 keystore, whatever its name says"
    assert about not in java.plan().remarks
    java.write(old)
    assert about in java.plan().remarks


def test_a_keystore_with_more_in_it_is_not_replaced(java: JavaComponent) -> None:
    java.write(keystore(OLD, chain=[ISSUING, ROOT.intermediate("Another")]))
    assert java.grounds().keys() == {Ground.KEYSTORE_WOULD_BE_LOST}


@pytest.mark.parametrize(("secret", "why"), [(None, "No such file or directory"), (b"\xff", "no UTF-8 text")])
def test_a_password_that_cannot_be_read_is_an_objection(java: JavaComponent, secret: bytes | None, why: str) -> None:
    java.secret.unlink()
    if secret is not None:
        java.secret.write_bytes(secret)
    detail = java.grounds()[Ground.UNREADABLE]
    assert detail.startswith(f"{java.secret}: ")
    assert why in detail


def test_a_keystore_that_is_missing_is_made_for_its_owner_alone(java: JavaComponent) -> None:
    java.path.unlink()
    (change,) = java.plan().order.plan.changes
    after = new_state(change)
    assert (change.before, after.mode, after.owner) == (None, 0o600, os.getuid())


def test_a_rollback_gives_back_the_very_bytes_and_says_nothing_of_putting_right(java: JavaComponent) -> None:
    old = java.path.read_bytes()
    java.write(keystore(NEW))
    rolled = plan_rollback([java.site], {str(java.path): old}, World(), NOW)
    assert isinstance(rolled, Prepared)
    assert rolled.order.content == {str(java.path): old}
    assert rolled.order.plan.kind is Kind.ROLLBACK
    assert not [each for each in rolled.remarks if "PKCS#12" in each]


def test_a_rollback_to_a_keystore_of_another_password_is_refused(java: JavaComponent) -> None:
    old = keystore(OLD, b"before")
    refused = plan_rollback([java.site], {str(java.path): old}, World(), NOW)
    assert isinstance(refused, RefusedPlan)
    assert [each.ground for each in refused.objections] == [Ground.UNUSABLE]
    assert "cannot be opened with this password" in refused.objections[0].detail


def test_what_an_administrator_put_into_a_keystore_is_activated(java: JavaComponent) -> None:
    java.write(keystore(NEW))
    prepared = plan_activation([java.site], World(), NOW)
    assert isinstance(prepared, Prepared)
    assert prepared.order.plan.serves[0].chains[0][0] == value(NEW).sha256


def test_the_key_in_a_keystore_is_at_hand_for_a_certificate_that_comes_without_one(java: JavaComponent) -> None:
    assert keys_at_hand(java.component, World()) == (PrivateKey(OLD.key),)


def test_a_keystore_is_the_only_file_of_its_component(java: JavaComponent) -> None:
    assert java.component.artefacts.files == {FileRole.KEYSTORE: str(java.path)}
