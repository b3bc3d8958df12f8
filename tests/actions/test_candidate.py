"""Files in any disorder become a candidate, or the one reason why they do not."""

from __future__ import annotations

import copy
import pickle
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs7,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.candidate import (
    MOST_BYTES,
    MOST_CERTIFICATES,
    MOST_PARTS,
    Candidate,
    Candidates,
    Flaw,
    Given,
    NoCandidate,
    PrivateKey,
    read_candidates,
)
from actions.candidate import read_candidate as read
from monitor.lab.ca import Authority, Issued, KeyType, self_signed
from probes.certificate import certificate
from tests.kit import java_keystore
from tests.kit.examples import examples
from tests.kit.keystore import indefinite
from tests.kit.keystore import keystore as keystore_of

ROOT = Authority.root("Root")
UPPER = ROOT.intermediate("Upper")
ISSUING = UPPER.intermediate("Issuing")
LEAF = ISSUING.issue("www.example.com")
OTHER = ISSUING.issue("other.example.com")
PASSWORD = b"correct horse"


def given_pem(*parts: bytes, name: str = "site.pem") -> Given:
    return Given(name, b"".join(parts))


def key_der(issued: Issued, encryption: KeySerializationEncryption | None = None) -> bytes:
    return issued.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, encryption or NoEncryption())


def locked_key(issued: Issued, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return issued.key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(PASSWORD))


def keystore(password: bytes | None) -> bytes:
    return keystore_of(LEAF, password, chain=[UPPER, ISSUING])


def java_store() -> bytes:
    key = java_keystore.locked(key_der(LEAF, NoEncryption()), PASSWORD)
    entry = java_keystore.private("site", key, [each.der() for each in LEAF.chain])
    return java_keystore.store(entry, password=PASSWORD)


def signed_data(encoding: Encoding) -> bytes:
    return pkcs7.serialize_certificates([each.certificate for each in (UPPER, LEAF, ISSUING)], encoding)


def crl(encoding: Encoding) -> bytes:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(ISSUING.subject).last_update(at)
    return builder.next_update(at + timedelta(days=7)).sign(ISSUING.key, SHA256()).public_bytes(encoding)


def candidate(*files: Given, password: bytes | None = None) -> Candidate:
    """Return what `files` make; it must be the one candidate that all of these tests are about."""
    made = read(files, password)
    assert isinstance(made, Candidate), made
    assert [each.der for each in made.presented] == [LEAF.der(), ISSUING.der(), UPPER.der()]
    assert made.key.pem() == LEAF.key_pem()
    return made


def refused(*files: Given, password: bytes | None = None) -> NoCandidate:
    made = read(files, password)
    assert isinstance(made, NoCandidate)
    return made


def test_files_in_order_need_nothing_put_right() -> None:
    made = candidate(given_pem(LEAF.chain_pem(), LEAF.key_pem()))
    assert made.put_right == ()
    assert made.root is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(
            [given_pem(UPPER.pem(), LEAF.key_pem(), LEAF.pem(), ISSUING.pem())],
            "site.pem: the certificates were put in order",
            id="wrong order",
        ),
        pytest.param(
            [given_pem((LEAF.chain_pem() + LEAF.key_pem()).replace(b"\n", b"\r\n"))],
            "site.pem: Windows line ends were removed",
            id="CRLF",
        ),
        pytest.param(
            [given_pem(b"\xef\xbb\xbf", LEAF.chain_pem(), LEAF.key_pem())],
            "site.pem: a byte order mark was removed",
            id="byte order mark",
        ),
        pytest.param(
            [Given("site.pem", (LEAF.chain_pem() + LEAF.key_pem()).decode().encode("utf-16"))],
            "site.pem: text in UTF-16 was converted",
            id="UTF-16",
        ),
        pytest.param(
            [given_pem(b"# renewed 2026\nsubject=/CN=x\n", LEAF.chain_pem(), b"bag attributes\n", LEAF.key_pem())],
            "site.pem: text around the PEM blocks was left out",
            id="comments",
        ),
        pytest.param(
            [given_pem(LEAF.pem(), LEAF.chain_pem(), LEAF.key_pem())],
            "CN=www.example.com was given more than once",
            id="duplicates",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem(), ROOT.pem(), LEAF.key_pem())],
            "the root CN=Root was left out: clients must hold it themselves",
            id="root included",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem(), ROOT.intermediate("Stranger").pem(), LEAF.key_pem())],
            "CN=Stranger was left out: no path from the server's certificate needs it",
            id="an unneeded intermediate",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem(), LEAF.key_pem(), OTHER.key_pem())],
            "a private key that does not belong to the certificate was left out",
            id="a second key",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem(), name="a.key"), given_pem(LEAF.key_pem(), name="b.crt")],
            "a.key holds certificates and no key, though its name says otherwise",
            id="wrong extension",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem(), LEAF.key_pem(), name="a.der")],
            "a.der holds PEM, though its name says otherwise",
            id="PEM called DER",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem(), LEAF.key_pem()), Given("README", b"install these on Tuesday")],
            "README was passed over: it holds neither certificate nor key",
            id="a stray file",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem(), LEAF.key_pem()), Given("ca.crl", crl(Encoding.DER))],
            "ca.crl was passed over: it is a certificate revocation list",
            id="a CRL",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem(), LEAF.key_pem()), Given("ca.crl", crl(Encoding.PEM))],
            "ca.crl was passed over: it is a certificate revocation list",
            id="a CRL as PEM",
        ),
        pytest.param(
            [
                Given("l.crt", LEAF.der()),
                Given("i.crt", ISSUING.der()),
                Given("u.crt", UPPER.der()),
                Given("k.key", key_der(LEAF)),
            ],
            "l.crt: DER was converted to PEM",
            id="DER",
        ),
        pytest.param(
            [Given("all.bin", LEAF.der() + ISSUING.der() + key_der(LEAF) + UPPER.pem())],
            "all.bin: DER was converted to PEM",
            id="joined",
        ),
        pytest.param(
            [Given("chain.p7b", signed_data(Encoding.DER)), given_pem(LEAF.key_pem())],
            "chain.p7b: PKCS#7 was converted to PEM",
            id="PKCS#7",
        ),
        pytest.param(
            [given_pem(signed_data(Encoding.PEM), LEAF.key_pem())],
            "site.pem: PKCS#7 was converted to PEM",
            id="PKCS#7 as PEM",
        ),
        pytest.param(
            [given_pem(signed_data(Encoding.PEM).replace(b"PKCS7", b"CERTIFICATE"), LEAF.key_pem())],
            "site.pem: PKCS#7 was converted to PEM",
            id="PKCS#7 called a certificate, as certutil -encode does",
        ),
        pytest.param(
            [Given("site.pfx", keystore(None))], "site.pfx: PKCS#12 was converted to PEM", id="PKCS#12, no password"
        ),
    ],
)
def test_disorder_is_put_right_and_said(files: list[Given], said: str) -> None:
    assert any(each.startswith(said) for each in candidate(*files).put_right)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(Given("site.p12", keystore(PASSWORD)), id="PKCS#12"),
        pytest.param(Given("site.jks", java_store()), id="JKS"),
        pytest.param(given_pem(LEAF.chain_pem(), locked_key(LEAF)), id="PKCS#8"),
        pytest.param(given_pem(LEAF.chain_pem(), locked_key(LEAF, PrivateFormat.TraditionalOpenSSL)), id="traditional"),
        pytest.param(
            Given("x", key_der(LEAF, BestAvailableEncryption(PASSWORD)) + LEAF.chain_pem()), id="PKCS#8 as DER"
        ),
    ],
)
class TestAnEncryptedKey:
    def test_is_opened_with_its_password(self, file: Given) -> None:
        assert candidate(file, password=PASSWORD)

    def test_needs_a_password(self, file: Given) -> None:
        flaw = refused(file)
        assert flaw.flaw is Flaw.KEY_ENCRYPTED
        assert file.name in flaw.detail

    @pytest.mark.parametrize("wrong", [b"battery staple", b"", PASSWORD + b"\n"])
    def test_is_refused_with_another_password(self, file: Given, wrong: bytes) -> None:
        flaw = refused(file, password=wrong)
        assert flaw.flaw is Flaw.WRONG_PASSWORD
        assert "staple" not in flaw.detail


@pytest.mark.filterwarnings("ignore:PKCS#.* could not be parsed as DER:UserWarning")
def test_keystores_of_indefinite_length_are_taken() -> None:
    candidate(Given("old.p12", indefinite(keystore(None))))
    candidate(Given("old.p7b", indefinite(signed_data(Encoding.DER))), given_pem(LEAF.key_pem()))


def test_that_a_key_will_be_written_without_its_password_is_said() -> None:
    made = candidate(given_pem(LEAF.chain_pem(), locked_key(LEAF)), password=PASSWORD)
    assert made.put_right == ("site.pem: the private key was encrypted and will be written without a password",)


def test_a_password_does_not_hinder_a_key_that_needs_none() -> None:
    candidate(given_pem(LEAF.chain_pem(), LEAF.key_pem()), password=PASSWORD)
    candidate(Given("site.pfx", keystore(None)), password=PASSWORD)


def test_a_locked_key_beside_the_right_one_does_not_matter() -> None:
    candidate(given_pem(LEAF.chain_pem(), LEAF.key_pem(), locked_key(OTHER)))


def test_certificates_for_two_kinds_of_key_are_two_candidates_with_their_own_keys_and_chains() -> None:
    second = ROOT.intermediate("Second")
    ec, rsa = UPPER.issue("www.example.com"), second.issue("www.example.com", key=KeyType.RSA2048)
    pile = given_pem(ROOT.pem(), rsa.key_pem(), second.pem(), ec.pem(), UPPER.pem(), rsa.pem(), ec.key_pem())
    made = read_candidates([pile])
    assert not isinstance(made, NoCandidate)
    assert made.keyless == ()
    assert [(each.certificate, each.chain, each.key, each.root) for each in made.usable] == [
        (certificate(ec.der()), (certificate(UPPER.der()),), PrivateKey(ec.key), certificate(ROOT.der())),
        (certificate(rsa.der()), (certificate(second.der()),), PrivateKey(rsa.key), certificate(ROOT.der())),
    ]
    assert {each.put_right for each in made.usable} == {
        (
            "site.pem: the certificates were put in order, from the server's to its issuers'",
            "the root CN=Root was left out: clients must hold it themselves",
        )
    }
    several = read([pile])
    assert isinstance(several, NoCandidate)
    assert several.flaw is Flaw.SEVERAL_LEAVES


def test_of_two_certificates_the_one_without_its_key_is_told_and_the_other_is_usable() -> None:
    ec, rsa = ISSUING.issue("ec.example.com"), ISSUING.issue("rsa.example.com", key=KeyType.RSA2048)
    found = read_candidates([given_pem(ec.chain_pem(), rsa.pem(), ec.key_pem())])
    assert isinstance(found, Candidates)
    assert [each.certificate for each in found.usable] == [certificate(ec.der())]
    (keyless,) = found.keyless
    assert keyless.certificate == certificate(rsa.der())
    assert keyless.why == NoCandidate(Flaw.KEY_MISMATCH, "the private key does not belong to CN=rsa.example.com")
    assert not any("left out" in each for each in found.usable[0].put_right), "what waits for its key is not left out"


def test_where_no_certificate_has_its_key_the_newest_is_told() -> None:
    now = time.time()
    old, new = (
        ISSUING.issue(f"{name}.example.com", not_before=now - days * 86_400) for name, days in (("a", 9), ("b", 1))
    )
    found = read_candidates([given_pem(new.chain_pem(), old.pem())])
    assert found == NoCandidate(Flaw.NO_KEY, "there is no private key for CN=b.example.com")


def test_a_key_that_is_used_again_is_said_of_the_certificate_that_came_without_one() -> None:
    found = read_candidates([given_pem(LEAF.chain_pem(), OTHER.pem(), OTHER.key_pem())], at_hand=[PrivateKey(LEAF.key)])
    assert isinstance(found, Candidates)
    assert [any("is used again" in said for said in each.put_right) for each in found.usable] == [True, False]


@pytest.mark.parametrize(
    ("files", "flaw", "said"),
    [
        pytest.param([], Flaw.NO_CERTIFICATE, "there is no certificate", id="nothing"),
        pytest.param(
            [given_pem(LEAF.key_pem())], Flaw.NO_CERTIFICATE, "there is no certificate in site.pem", id="only a key"
        ),
        pytest.param(
            [Given("full.pem", b""), given_pem(LEAF.key_pem())],
            Flaw.NO_CERTIFICATE,
            "there is no certificate in full.pem, site.pem; empty: full.pem",
            id="an empty file",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem()), Given("new.key", b"")],
            Flaw.NO_KEY,
            "no private key for CN=www.example.com; empty: new.key",
            id="an empty key file",
        ),
        pytest.param(
            [given_pem(ISSUING.pem(), ROOT.pem(), LEAF.key_pem())],
            Flaw.NO_CERTIFICATE,
            "only CA certificates: CN=Issuing",
            id="only CAs",
        ),
        pytest.param([given_pem(LEAF.chain_pem())], Flaw.NO_KEY, "no private key for CN=www.example.com", id="no key"),
        pytest.param(
            [given_pem(LEAF.pem(), OTHER.pem(), LEAF.key_pem())],
            Flaw.SEVERAL_LEAVES,
            "there are 2 servers' certificates: CN=www.example.com",
            id="several leaves",
        ),
        pytest.param(
            [given_pem(LEAF.pem(), OTHER.key_pem())],
            Flaw.KEY_MISMATCH,
            "does not belong to CN=www.example.com",
            id="another's key",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem()[:-40], LEAF.key_pem())],
            Flaw.UNDECODABLE,
            "site.pem: the PEM block at line",
            id="damaged PEM",
        ),
        pytest.param(
            [Given("site.der", LEAF.der()[:-1]), given_pem(LEAF.key_pem())],
            Flaw.UNDECODABLE,
            "site.der: the DER data is cut short",
            id="damaged DER",
        ),
        pytest.param(
            [given_pem(LEAF.pem(), b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")],
            Flaw.UNDECODABLE,
            "site.pem: the private key cannot be decoded",
            id="damaged key",
        ),
        pytest.param(
            [given_pem(LEAF.pem(), b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n")],
            Flaw.UNDECODABLE,
            "site.pem: a certificate cannot be decoded",
            id="no certificate inside",
        ),
        pytest.param(
            [given_pem(LEAF.pem(), b"-----BEGIN PKCS7-----\nMAMCAQE=\n-----END PKCS7-----\n")],
            Flaw.UNDECODABLE,
            "site.pem: the PKCS#7 data cannot be decoded",
            id="damaged PKCS#7",
        ),
        pytest.param(
            [
                Given(
                    "dh.der",
                    x25519.X25519PrivateKey.generate().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
                )
            ],
            Flaw.UNDECODABLE,
            "of a kind that cannot be rehearsed here",
            id="a key that signs nothing",
        ),
        pytest.param(
            [given_pem(LEAF.chain_pem(), LEAF.key_pem()), Given("site.jks", bytes.fromhex("feedfeed") + bytes(28))],
            Flaw.UNDECODABLE,
            "site.jks: a JKS keystore that has version 0, which certvigil does not read",
            id="a keystore that is not read",
        ),
        pytest.param(
            [Given("pile.der", bytes.fromhex("3081030a0106") * (MOST_PARTS + 1))],
            Flaw.UNDECODABLE,
            "pile.der: it is joined from more than 256 parts",
            id="a pile of nothing",
        ),
        pytest.param([Given("zeros", bytes(MOST_BYTES + 1))], Flaw.TOO_LARGE, "more than", id="too large"),
        pytest.param(
            [given_pem(ISSUING.pem() * (MOST_CERTIFICATES + 1))], Flaw.TOO_LARGE, "a trust store", id="a trust store"
        ),
    ],
)
def test_what_makes_no_candidate_says_why(files: list[Given], flaw: Flaw, said: str) -> None:
    made = refused(*files)
    assert made.flaw is flaw
    assert said in made.detail


def test_a_certificate_may_belong_to_a_key_that_the_host_has() -> None:
    made = read([given_pem(LEAF.chain_pem())], at_hand=[PrivateKey(OTHER.key), PrivateKey(LEAF.key)])
    assert isinstance(made, Candidate)
    assert made.key.pem() == LEAF.key_pem()
    assert made.put_right == (
        "no private key was given: the installed one, to which the certificate belongs, is used again",
    )


@pytest.mark.parametrize("ca", [True, False, None])
def test_a_self_signed_certificate_is_a_leaf_whatever_it_says_of_itself(ca: bool | None) -> None:
    own = self_signed("box.example.com", ca=ca)
    made = read([given_pem(own.pem(), own.key_pem())])
    assert isinstance(made, Candidate)
    assert made.presented == (certificate(own.der()),)
    assert made.root is None


def test_an_intermediate_that_does_not_say_it_is_a_ca_is_no_leaf() -> None:
    old = ROOT.intermediate("Old", ca=None)
    leaf = old.issue("www.example.com")
    made = read([given_pem(old.pem(), leaf.pem(), leaf.key_pem())])
    assert isinstance(made, Candidate)
    assert made.certificate == certificate(leaf.der())


def test_both_ways_of_a_cross_signed_chain_are_kept() -> None:
    """Some client may trust the one root only, some client the other."""
    new_root = Authority.root("New Root")
    cross = new_root.cross_sign(UPPER)
    made = read([given_pem(LEAF.pem(), cross.pem(), ISSUING.pem(), UPPER.pem(), LEAF.key_pem())])
    assert isinstance(made, Candidate)
    assert set(made.chain) == {certificate(each.der()) for each in (ISSUING, UPPER, cross)}
    assert made.chain[0] == certificate(ISSUING.der())


def test_the_longest_way_comes_first() -> None:
    cross = Authority.root("New Root").cross_sign(UPPER)
    made = read([given_pem(LEAF.pem(), cross.pem(), ROOT.pem(), UPPER.pem(), ISSUING.pem(), LEAF.key_pem())])
    assert isinstance(made, Candidate)
    assert made.chain == tuple(certificate(each.der()) for each in (ISSUING, UPPER, cross))


def test_a_wrong_key_beside_a_certificate_for_one_of_the_hosts_is_left_out_and_said() -> None:
    made = read([given_pem(LEAF.chain_pem(), OTHER.key_pem())], at_hand=[PrivateKey(LEAF.key)])
    assert isinstance(made, Candidate)
    assert "a private key that does not belong to the certificate was left out" in made.put_right


def test_the_certificates_of_a_keystore_have_no_order_to_be_wrong() -> None:
    for made in (
        candidate(Given("a.p12", keystore(None))),
        candidate(Given("a.p7b", signed_data(Encoding.DER)), given_pem(LEAF.key_pem())),
    ):
        assert not any("in order" in each for each in made.put_right)


def test_the_root_that_was_given_is_known_but_not_presented() -> None:
    made = candidate(given_pem(ROOT.pem(), name="root.crt"), given_pem(LEAF.chain_pem(), LEAF.key_pem()))
    assert made.root == certificate(ROOT.der())


@pytest.mark.parametrize("kind", KeyType)
def test_a_key_of_any_kind_is_taken(kind: KeyType) -> None:
    leaf = ISSUING.issue("www.example.com", key=kind)
    made = read([given_pem(leaf.chain_pem(), leaf.key_pem())])
    assert isinstance(made, Candidate)
    assert made.key.pem() == leaf.key_pem()


def test_names_of_files_are_printable_in_every_sentence() -> None:
    made = refused(Given("\x1b[31mevil\n.pem", LEAF.der()[:-1]))
    assert made.detail.isprintable()


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda each: repr([each])])
def test_nothing_shows_a_private_key(show: Callable[[object], str]) -> None:
    file = given_pem(LEAF.chain_pem(), LEAF.key_pem())
    made = candidate(file)
    secrets = [LEAF.key_pem().decode().splitlines()[1], key_der(LEAF).hex(), "PRIVATE KEY-----"]
    for each in (file, made, made.key):
        assert not any(secret in show(each) for secret in secrets)


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_private_key_is_neither_pickled_nor_copied(duplicate: Callable[[object], object]) -> None:
    made = candidate(given_pem(LEAF.chain_pem(), LEAF.key_pem()))
    for each in (made, made.key):
        if not (duplicate is copy.copy and each is made):
            with pytest.raises(TypeError, match="neither pickled nor copied"):
                duplicate(each)


def test_the_same_candidate_has_the_same_fingerprint_in_whatever_files_it_comes() -> None:
    one = candidate(given_pem(LEAF.chain_pem(), LEAF.key_pem()))
    two = candidate(Given("site.pfx", keystore(PASSWORD)), password=PASSWORD)
    assert one.sha256 == two.sha256


PARTS = (LEAF.pem(), ISSUING.pem(), UPPER.pem(), ROOT.pem(), LEAF.key_pem())


@settings(deadline=None, max_examples=examples(60))
@given(st.permutations(PARTS), st.integers(1, 5), st.sampled_from([b"\n", b"\r\n"]), st.randoms())
def test_any_distribution_over_files_makes_the_same_candidate(
    parts: list[bytes], count: int, line_end: bytes, chance: random.Random
) -> None:
    files: list[list[bytes]] = [[] for _ in range(count)]
    for part in parts:
        chance.choice(files).append(part.replace(b"\n", line_end))
    candidate(*(given_pem(*each, name=f"{number}.txt") for number, each in enumerate(files)))


@settings(deadline=None, max_examples=examples(200))
@given(st.binary(max_size=400), st.integers(0, 2000), st.sampled_from([LEAF.pem(), LEAF.der(), keystore(None)]))
def test_whatever_bytes_there_are_reading_them_does_not_raise(noise: bytes, at: int, data: bytes) -> None:
    read([Given("noise", noise), Given("damaged", data[:at] + noise + data[at + len(noise) :])], PASSWORD)
