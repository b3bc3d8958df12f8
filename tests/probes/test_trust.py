"""What a trust store holds, and which of its anchors are the web PKI's."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import certifi
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from config.expected import ValidationSwitch
from config.model import CertifiStore, Client, PemBundle, SystemStore, TrustStore
from config.vocabulary import Code, UnreadableReason
from monitor.lab.ca import DAY, Authority
from probes import trust
from probes.certificate import certificate
from probes.container.bundle import MOST_ANCHORS
from probes.judge.client import View
from probes.judge.presented import Audience, judge_presented
from probes.store_content import MOST_OF_ONE_NAME, read_store
from probes.trust import Trust, TrustUnreadable, own_password, read_anchor_file, read_certificates, read_trust
from probes.validation import SwitchUnreadable, read_switch
from probes.verify.engine import verify
from probes.verify.families import OPENSSL
from tests.kit import java_keystore
from tests.kit.keystore import keystore
from tests.kit.many_certificates import many, pem

NOW = time.time()
OWN = Authority.root("Corp Root")


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trust:
    """Return the system's store, to which a site has added a CA of its own."""
    path = tmp_path / "ca-certificates.crt"
    path.write_bytes(Path(certifi.where()).read_bytes() + OWN.pem())
    monkeypatch.setattr(trust, "_SYSTEM_BUNDLES", (str(path),))
    read = read_trust(TrustStore("system", SystemStore()))
    assert isinstance(read, Trust)
    return read


def test_the_web_pkis_anchors_are_told_from_those_that_a_site_has_added(system: Trust) -> None:
    mozilla = read_trust(TrustStore("mozilla", CertifiStore()))
    assert isinstance(mozilla, Trust)
    own, other = certificate(OWN.der()), mozilla.anchors[0]
    assert [system.holds_as_public(each) for each in (own, other)] == [False, True]
    assert [mozilla.holds_as_public(each) for each in (own, other)] == [False, True]


def test_anchors_of_a_file_are_not_the_web_pkis(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_bytes(OWN.pem())
    read = read_trust(TrustStore("corp", PemBundle(str(tmp_path / "roots.pem"))))
    assert isinstance(read, Trust)
    assert not read.holds_as_public(read.anchors[0])


def test_a_store_may_be_pkcs7_in_der(tmp_path: Path) -> None:
    (tmp_path / "roots.p7b").write_bytes(pkcs7.serialize_certificates([OWN.certificate], Encoding.DER))
    read = read_trust(TrustStore("corp", PemBundle(str(tmp_path / "roots.p7b"))))
    assert isinstance(read, Trust)
    assert read.anchors == (certificate(OWN.der()),)


@pytest.mark.parametrize("magic", [java_keystore.JKS, java_keystore.JCEKS])
def test_a_store_may_be_java_s_of_which_only_trusted_entries_are_anchors(tmp_path: Path, magic: bytes) -> None:
    leaf = OWN.issue("www.example.com")
    own = java_keystore.private("site", java_keystore.locked(b"key"), [leaf.der()])
    data = java_keystore.store(own, java_keystore.trusted("corp", OWN.der()), magic=magic)
    (tmp_path / "cacerts").write_bytes(data)
    read = read_trust(TrustStore("java", PemBundle(str(tmp_path / "cacerts"))))
    assert isinstance(read, Trust)
    assert read.anchors == (certificate(OWN.der()),)


def test_a_store_is_no_keystore_that_takes_work_to_open(tmp_path: Path) -> None:
    (tmp_path / "cacerts").write_bytes(keystore(OWN.issue("www.example.com"), None))
    read = read_trust(TrustStore("corp", PemBundle(str(tmp_path / "cacerts"))))
    assert isinstance(read, TrustUnreadable)


@pytest.mark.parametrize("public", [True, False], ids=["of the web PKI", "a site's own"])
def test_a_certificate_is_valid_for_too_long_only_under_an_anchor_of_the_web_pki(public: bool) -> None:
    root = certificate(OWN.der())
    store = Trust("system", (root,), public_anchors=frozenset({root} if public else ()))
    leaf = certificate(OWN.issue("www.example.com", not_after=NOW + 400 * DAY).der())
    audience = Audience("it", (View(Client("client", "system"), store),), ("www.example.com",))
    found = {each.code for each in judge_presented([(leaf,)], audience, NOW).findings}
    assert found == ({Code.VALIDITY_TOO_LONG} if public else set())


USER = 64_001
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of others")


@as_root
def test_no_link_of_a_lesser_user_chooses_what_root_reads_as_a_trust_store(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    secret = tmp_path / "closed" / "roots.pem"
    secret.write_bytes(OWN.pem())
    laid = tmp_path / "laid"
    laid.symlink_to(secret)
    store = TrustStore("corp", PemBundle(str(laid)), password_file=str(laid))
    assert isinstance(read_trust(store), Trust), "a link of root's own is followed"
    assert own_password(store)
    os.chown(laid, USER, USER, follow_symlinks=False)
    found = read_trust(store)
    assert isinstance(found, TrustUnreadable)
    assert f"belongs to user {USER}" in found.detail
    assert own_password(store) == ()
    assert isinstance(read_switch(ValidationSwitch(str(laid), "verify", "no")), SwitchUnreadable)


@as_root
def test_a_link_of_a_user_to_a_file_of_that_user_is_followed(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_bytes(OWN.pem())
    (tmp_path / "laid").symlink_to("roots.pem")
    for name in ("roots.pem", "laid"):
        os.chown(tmp_path / name, USER, USER, follow_symlinks=False)
    assert isinstance(read_trust(TrustStore("corp", PemBundle(str(tmp_path / "laid")))), Trust)


def test_a_fifo_in_place_of_a_trust_store_is_not_even_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    opened = threading.Event()

    def write() -> None:
        # Is held until somebody opens the other end.
        os.close(os.open(fifo, os.O_WRONLY))
        opened.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            assert isinstance(read_trust(TrustStore("corp", PemBundle(str(fifo)))), TrustUnreadable)
            assert not opened.wait(0.01)
    finally:
        os.close(os.open(fifo, os.O_RDONLY))
        writer.join()


def test_a_file_that_is_missing_or_too_large_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        read_anchor_file(str(tmp_path / "none"))
    (tmp_path / "roots.pem").write_bytes(OWN.pem())
    monkeypatch.setattr(trust, "LARGEST", 10)
    with pytest.raises(OSError, match="File too large"):
        read_anchor_file(str(tmp_path / "roots.pem"))


def read(path: Path, *ders: bytes) -> Trust | TrustUnreadable:
    path.write_bytes(pem(list(ders)))
    return read_trust(TrustStore("corp", PemBundle(str(path))))


def test_a_store_has_as_many_certificates_as_any_site_has(tmp_path: Path) -> None:
    ders = many(MOST_ANCHORS + 1)
    begun = time.process_time()
    found = read(tmp_path / "roots.pem", *ders[:-1])
    assert isinstance(found, Trust)
    # The index and the look at one anchor are not once more for each of the others.
    assert time.process_time() - begun < 20.0
    assert all(map(found.holds, found.anchors))
    more = read(tmp_path / "roots.pem", *ders)
    assert isinstance(more, TrustUnreadable)
    assert more.detail == f"it holds more than {MOST_ANCHORS} certificates, and is not read"


def test_a_store_of_very_many_certificates_with_one_subject_is_not_read(tmp_path: Path) -> None:
    ders = many(MOST_OF_ONE_NAME + 1, one_name=True)
    assert isinstance(read(tmp_path / "roots.pem", *ders[:-1]), Trust)
    found = read(tmp_path / "roots.pem", *ders)
    assert isinstance(found, TrustUnreadable)
    assert found.detail == f"it holds more than {MOST_OF_ONE_NAME} certificates with one subject, and is not read"
    with pytest.raises(OSError, match="with one subject"):
        read_certificates(str(tmp_path / "roots.pem"))
    assert read_store((tmp_path / "roots.pem").read_bytes()).faults[0].reason is UnreadableReason.TOO_LARGE


def test_a_store_of_very_many_keys_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "roots.pem"
    path.write_bytes(OWN.pem() + OWN.key_pem() * 101)
    found = read_trust(TrustStore("corp", PemBundle(str(path))))
    assert isinstance(found, TrustUnreadable)
    assert found.detail == "it holds more than 100 keys and revocation lists, and is not read"


def test_cas_that_name_each_other_in_a_row_do_not_hold_a_verdict_up() -> None:
    ders = many(4000)
    # Each is issued, by its name, by the next one.
    chained = [
        each.replace(b"Number %06d" % number, b"Number %06d" % (number + 1), 1) for number, each in enumerate(ders)
    ]
    trust_of_many = Trust("many", tuple(map(certificate, chained)))
    leaf = trust_of_many.anchors[0]
    begun = time.process_time()
    verify([leaf], trust_of_many, OPENSSL, None, NOW)
    assert time.process_time() - begun < 3.0
