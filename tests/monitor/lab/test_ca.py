from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from monitor.lab.ca import (
    HOSTILE_TEXT,
    UNKNOWN_CRITICAL,
    Authority,
    Issued,
    KeyType,
    Knobs,
    bundle,
    new_key,
    self_signed,
)
from probes.certificate import certificate


def test_the_chain_that_a_server_presents_ends_below_the_root(root_ca: Authority) -> None:
    inner = root_ca.intermediate("Outer").intermediate("Inner")
    leaf = inner.issue("www.example")
    assert [certificate(each.der()).subject for each in leaf.chain] == ["CN=www.example", "CN=Inner", "CN=Outer"]
    assert leaf.anchor is root_ca
    assert leaf.chain_pem() == bundle(leaf.chain)


def test_each_certificate_is_signed_by_the_one_above(issuing_ca: Authority) -> None:
    for each in issuing_ca.issue("www.example", key=KeyType.ED25519).chain:
        assert each.issuer is not None
        each.certificate.verify_directly_issued_by(each.issuer.certificate)


@pytest.mark.parametrize("serial", [0, -1, -129, 1, 2**170])
def test_any_serial_number_can_be_had_under_a_good_signature(issuing_ca: Authority, serial: int) -> None:
    leaf = issuing_ca.issue("www.example", serial=serial).certificate
    assert leaf.serial_number == serial
    leaf.verify_directly_issued_by(issuing_ca.certificate)


@pytest.mark.parametrize("key", list(KeyType))
def test_a_certificate_of_version_1_has_no_extensions(root_ca: Authority, key: KeyType) -> None:
    signer = root_ca.intermediate(f"Issuer {key}", key=key)
    leaf = signer.issue("www.example", version=1).certificate
    assert leaf.version is x509.Version.v1
    assert not list(leaf.extensions)
    leaf.verify_directly_issued_by(signer.certificate)


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        (Knobs(signature_hash="sha1"), "signature_hash='sha1'"),
        (Knobs(signature_hash="sha512"), "signature_hash='sha512'"),
        (Knobs(key=KeyType.RSA1024), "bits=1024"),
        (Knobs(not_before=1.0, not_after=2.0), "not_before=1, not_after=2"),
        (Knobs(ca=True, path_length=0), "is_ca=True"),
        (Knobs(subject="other.example"), "CN=other.example"),
        (Knobs(subject=""), "subject=''"),
    ],
)
def test_a_knob_shows_in_the_certificate(issuing_ca: Authority, knobs: Knobs, expected: str) -> None:
    got = certificate(issuing_ca.issue("www.example", **knobs).der())
    facts = f"{got.subject=} {got.signature_hash=} {got.key.bits=} {got.not_before=}, {got.not_after=} {got.is_ca=}"
    assert expected in facts.replace("got.key.", "").replace("got.", "")


def test_a_corrupt_signature_is_all_that_is_wrong(issuing_ca: Authority) -> None:
    leaf = issuing_ca.issue("www.example", corrupt_signature=True)
    assert not certificate(leaf.der()).failures
    with pytest.raises(InvalidSignature):
        leaf.certificate.verify_directly_issued_by(issuing_ca.certificate)


def test_extensions_can_be_left_out_and_put_in(issuing_ca: Authority) -> None:
    bare = issuing_ca.issue(
        subject="www.example",
        ca=None,
        key_usage=None,
        purposes=(),
        subject_key_identifier=False,
        authority_key_identifier=False,
        extensions=[UNKNOWN_CRITICAL],
    )
    assert [each.oid for each in bare.certificate.extensions] == [UNKNOWN_CRITICAL.oid]


def test_a_cross_signed_authority_keeps_its_name_and_key(root_ca: Authority) -> None:
    other_root = Authority.root("Other Root")
    crossed = root_ca.cross_sign(other_root)
    leaf = other_root.issue("www.example").certificate
    leaf.verify_directly_issued_by(other_root.certificate)
    leaf.verify_directly_issued_by(crossed.certificate)
    assert crossed.anchor is root_ca


def test_constraints_name_domains_and_networks(root_ca: Authority) -> None:
    constrained = root_ca.intermediate(
        "Constrained", permitted=["example.com", "10.0.0.0/8"], excluded=["bad.example.com"]
    )
    value = constrained.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    assert [str(each.value) for each in value.permitted_subtrees or []] == ["example.com", "10.0.0.0/8"]
    assert [str(each.value) for each in value.excluded_subtrees or []] == ["bad.example.com"]


def test_hostile_text_reaches_the_certificate_unchanged(issuing_ca: Authority) -> None:
    leaf = issuing_ca.issue("www.example", subject=HOSTILE_TEXT).certificate
    assert [each.value for each in leaf.subject] == [HOSTILE_TEXT]


def test_a_key_is_kept_for_its_subject_unless_a_fresh_one_is_given(issuing_ca: Authority) -> None:
    def key_of(issued: Issued) -> bytes:
        return issued.key_pem()

    assert key_of(issuing_ca.issue("a.example")) == key_of(issuing_ca.issue("a.example"))
    assert key_of(issuing_ca.issue("a.example")) != key_of(issuing_ca.issue("b.example"))
    assert key_of(issuing_ca.issue("a.example")) != key_of(issuing_ca.issue("a.example", key=new_key(KeyType.P256)))


def test_no_private_key_shows_in_a_representation(issuing_ca: Authority) -> None:
    assert "key" not in repr(self_signed("www.example")).lower()
