"""Whether a server can use a set, its key included: what keeps it from starting, and what only may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from config.model import FileTarget
from config.vocabulary import Code, FileRole
from monitor.lab.ca import DAY, Authority, KeyType, new_key
from probes.assess_set import judge_use
from probes.set import reading_of
from tests.kit.candidates import ISSUING, NAME, NOW
from tests.kit.keystore import PASSWORD, keystore

LEAF: Final = ISSUING.issue(NAME, key=new_key(KeyType.P256))
OTHER: Final = ISSUING.issue(NAME, key=new_key(KeyType.P256))
ENDED: Final = ISSUING.issue(NAME, not_before=NOW - 9 * DAY, not_after=NOW - DAY, key=new_key(KeyType.P256))
ENCRYPTED: Final = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
PAIR: Final = (FileRole.CERTIFICATE, FileRole.KEY)
ONE: Final = (FileRole.COMBINED,)
STORE: Final = (FileRole.KEYSTORE,)
WITH_CHAIN: Final = (*PAIR, FileRole.CHAIN)


def found(roles: tuple[FileRole, ...], *held: bytes | None) -> set[tuple[Code, str, bool]]:
    targets = [FileTarget(str(role), f"/etc/tls/{role}", role) for role in roles]
    content: Mapping[str, bytes | None] = {str(role): data for role, data in zip(roles, held, strict=True)}
    return {
        (each.code, each.target, each.certain)
        for each in judge_use(reading_of(targets, content, NOW, PASSWORD), targets, NOW)
    }


@pytest.mark.parametrize(
    ("roles", "held"),
    [
        (PAIR, (LEAF.chain_pem(), LEAF.key_pem())),
        (PAIR, (LEAF.chain_pem(), ENCRYPTED)),
        (WITH_CHAIN, (LEAF.pem(), LEAF.key_pem(), ISSUING.pem())),
        (ONE, (LEAF.key_pem() + LEAF.chain_pem(),)),
        (ONE, (LEAF.chain_pem() + LEAF.key_pem(),)),
        (STORE, (keystore(LEAF),)),
        ((FileRole.CERTIFICATE,), (LEAF.chain_pem(),)),
    ],
    ids=["pair", "encrypted key", "chain of its own", "combined", "key last", "keystore", "key elsewhere"],
)
def test_nothing_is_known_to_keep_a_server_from_a_set(roles: tuple[FileRole, ...], held: tuple[bytes, ...]) -> None:
    assert found(roles, *held) == set()


@pytest.mark.parametrize(
    ("roles", "held", "code", "where"),
    [
        (PAIR, (LEAF.chain_pem(), OTHER.key_pem()), Code.KEY_MISMATCH, FileRole.CERTIFICATE),
        (PAIR, (LEAF.chain_pem(), None), Code.UNREADABLE, FileRole.KEY),
        (PAIR, (None, LEAF.key_pem()), Code.UNREADABLE, FileRole.CERTIFICATE),
        (PAIR, (LEAF.chain_pem(), b""), Code.NO_CERTIFICATE, FileRole.KEY),
        (PAIR, (b"", LEAF.key_pem()), Code.NO_CERTIFICATE, FileRole.CERTIFICATE),
        (PAIR, (LEAF.chain_pem()[:300], LEAF.key_pem()), Code.UNREADABLE, FileRole.CERTIFICATE),
        (PAIR, (LEAF.chain_pem(), LEAF.key_pem()[:90]), Code.UNREADABLE, FileRole.KEY),
        (ONE, (LEAF.chain_pem(),), Code.KEY_MISMATCH, FileRole.COMBINED),
        (ONE, (OTHER.key_pem() + LEAF.chain_pem(),), Code.KEY_MISMATCH, FileRole.COMBINED),
        (STORE, (keystore(LEAF, b"another"),), Code.UNREADABLE, FileRole.KEYSTORE),
        (STORE, (keystore(LEAF)[:-9],), Code.UNREADABLE, FileRole.KEYSTORE),
        (STORE, (LEAF.chain_pem() + LEAF.key_pem(),), Code.UNREADABLE, FileRole.KEYSTORE),
    ],
)
def test_no_server_starts_with_a_broken_set(
    roles: tuple[FileRole, ...], held: tuple[bytes | None, ...], code: Code, where: FileRole
) -> None:
    assert (code, str(where), True) in found(roles, *held)


def test_a_keystore_that_its_password_does_not_open_is_told_from_one_that_is_damaged() -> None:
    targets = [FileTarget("store", "/etc/tls/store", FileRole.KEYSTORE)]
    for data, locked in ((keystore(LEAF, b"another"), True), (b"no keystore", False)):
        (fault,) = judge_use(reading_of(targets, {"store": data}, NOW, PASSWORD), targets, NOW)
        assert fault.locked is locked


def test_what_depends_on_the_server_is_not_certain() -> None:
    reversed_chain = b"".join(each.pem() for each in (ISSUING, LEAF))
    assert found(PAIR, reversed_chain, LEAF.key_pem()) == {(Code.WRONG_ORDER, "certificate", False)}
    assert found(WITH_CHAIN, LEAF.pem(), LEAF.key_pem(), None) == {(Code.UNREADABLE, "chain", False)}


def test_servers_start_with_a_certificate_that_has_ended_so_it_explains_no_failing_test() -> None:
    assert found(PAIR, ENDED.chain_pem(), ENDED.key_pem()) == {(Code.EXPIRED, "certificate", False)}
    targets = [FileTarget("pem", "/etc/tls/pem", FileRole.COMBINED)]
    reading = reading_of(targets, {"pem": ENDED.key_pem() + ENDED.chain_pem()}, NOW)
    (fault,) = judge_use(reading, targets, NOW)
    assert not fault.explains_test


def test_a_ca_that_ended_is_no_fault_of_the_set() -> None:
    gone = Authority.root("Gone")
    leaf = gone.issue(NAME, key=new_key(KeyType.P256))
    assert found(PAIR, leaf.chain_pem(), leaf.key_pem()) == set()
