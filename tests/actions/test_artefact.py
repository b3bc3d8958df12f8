"""A candidate in the files of a component, and back."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.artefact import carried_over, keys_in, pem, render, says_the_same
from actions.candidate import Candidate, PrivateKey
from config.model import Artefacts
from config.vocabulary import FileRole
from monitor.lab.ca import Issued, KeyType, self_signed
from probes.certificate import decodable
from probes.container.registry import open_container
from tests.kit.candidates import ISSUING, NAME, ROOT, made, value
from tests.kit.examples import examples

UPPER = ROOT.intermediate("Upper")
LOWER = UPPER.intermediate("Lower")
LEAF = LOWER.issue(NAME)
CANDIDATE = made(LEAF, LOWER, UPPER, root=ROOT)
PARAMETERS = b"-----BEGIN DH PARAMETERS-----\nMIIBCAKCAQEA\n-----END DH PARAMETERS-----\n"
LAYOUTS = [
    Artefacts(certificate="/c"),
    Artefacts(certificate="/c", key="/k"),
    Artefacts(certificate="/c", key="/k", chain="/i"),
    Artefacts(combined="/p"),
    Artefacts(combined="/p", chain="/i"),
]
KINDS = {kind: ISSUING.issue(f"{kind}.example.com", key=kind) for kind in KeyType}


def traditional(issued: Issued) -> bytes:
    return issued.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def test_the_chain_follows_the_certificate_where_it_has_no_file_of_its_own() -> None:
    files = render(CANDIDATE, Artefacts(certificate="/c", key="/k"))
    assert files == {FileRole.CERTIFICATE: LEAF.chain_pem(), FileRole.KEY: LEAF.key_pem()}


def test_the_chain_has_a_file_of_its_own_where_there_is_one() -> None:
    files = render(CANDIDATE, Artefacts(certificate="/c", key="/k", chain="/i"))
    assert files[FileRole.CERTIFICATE] == LEAF.pem()
    assert files[FileRole.CHAIN] == LOWER.pem() + UPPER.pem()


def test_a_combined_file_holds_the_key_then_the_certificate_then_the_chain() -> None:
    assert render(CANDIDATE, Artefacts(combined="/p")) == {FileRole.COMBINED: LEAF.key_pem() + LEAF.chain_pem()}


def test_a_combined_file_beside_a_chain_file_does_not_repeat_the_chain() -> None:
    files = render(CANDIDATE, Artefacts(combined="/p", chain="/i"))
    assert files == {FileRole.COMBINED: LEAF.key_pem() + LEAF.pem(), FileRole.CHAIN: LOWER.pem() + UPPER.pem()}


@pytest.mark.parametrize(
    ("candidate", "held"),
    [
        pytest.param(made(own := ROOT.issue(NAME), root=ROOT), ROOT.pem(), id="the root"),
        pytest.param(made(own := self_signed(NAME)), own.pem(), id="the self-signed certificate"),
        pytest.param(made(ROOT.issue(NAME)), None, id="nothing"),
    ],
)
def test_a_chain_file_is_never_empty(candidate: Candidate, held: bytes | None) -> None:
    files = render(candidate, Artefacts(certificate="/c", key="/k", chain="/i"))
    assert files.get(FileRole.CHAIN) == held


@settings(deadline=None, max_examples=examples(50))
@given(st.sampled_from(LAYOUTS), st.sampled_from(list(KeyType)), st.integers(0, 3))
def test_what_was_rendered_reads_back_the_same(artefacts: Artefacts, kind: KeyType, length: int) -> None:
    chain = [ISSUING, LOWER, UPPER][:length]
    candidate = made(KINDS[kind], *chain, root=ROOT)
    files = render(candidate, artefacts)
    assert render(candidate, artefacts) == files
    assert files.keys() == artefacts.files.keys()
    assert all(data.endswith(b"-----\n") and b"\r" not in data for data in files.values())
    held = [open_container(data).blocks.certificates for role, data in files.items() if role is not FileRole.KEY]
    certificates = [each for ders in held for each in decodable(ders)]
    alone = artefacts.chain is not None and not chain
    assert certificates == [*candidate.presented, *([value(ROOT)] if alone else [])]
    keys = [each for data in files.values() for each in keys_in(data)]
    assert keys == ([candidate.key] if artefacts.key or artefacts.combined else [])


def test_the_same_content_may_be_written_down_in_many_ways() -> None:
    new = render(CANDIDATE, Artefacts(combined="/p"))[FileRole.COMBINED]
    assert says_the_same(b"# ours\r\n" + new.replace(b"\n", b"\r\n"), new)
    assert says_the_same(traditional(LEAF) + LEAF.chain_pem() + PARAMETERS, new)


@pytest.mark.parametrize(
    "before",
    [
        b"",
        LEAF.chain_pem(),
        LEAF.key_pem() + LEAF.pem() + UPPER.pem() + LOWER.pem(),
        LEAF.key_pem() + LEAF.chain_pem() + ROOT.pem(),
        ISSUING.key_pem() + LEAF.chain_pem(),
        LEAF.key_pem() + LEAF.chain_pem() + b"-----BEGIN CERTIFICATE-----\n",
        LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")) + LEAF.chain_pem(),
    ],
)
def test_other_content_is_not_the_same(before: bytes) -> None:
    assert not says_the_same(before, LEAF.key_pem() + LEAF.chain_pem())


def test_diffie_hellman_parameters_survive_a_replacement() -> None:
    assert carried_over(LEAF.key_pem() + PARAMETERS + LEAF.pem()) == PARAMETERS
    assert carried_over(LEAF.key_pem() + LEAF.pem()) == b""


def test_a_key_that_cannot_be_read_is_none() -> None:
    locked = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    broken = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    assert keys_in(locked + broken + LEAF.key_pem()) == (None, None, PrivateKey(LEAF.key))


def test_certificates_are_written_as_openssl_writes_them() -> None:
    assert pem((value(LEAF),)) == LEAF.certificate.public_bytes(Encoding.PEM)
