"""A candidate is really served, and each client says what it makes of it, before and after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actions.candidate import Candidate
from actions.rehearse import CannotBeServed, Effect, RehearsalStage, rehearse, serve
from config.vocabulary import KeyKind, TLSVersion
from monitor.lab.ca import DAY, Authority, KeyType, self_signed
from probes.observation import Presented
from tests.kit.candidates import ENDPOINT, ISSUING, NAME, NOW, ROOT, good, made, presented, value, view

OTHER_ROOT = Authority.root("Other Root")
SERVED = presented([ISSUING.issue(NAME), ISSUING])
VERSIONS = (TLSVersion.TLS1_2, TLSVersion.TLS1_3)


def effects(candidate: Candidate, *stages: RehearsalStage) -> tuple[Effect, ...]:
    shown = rehearse(candidate, stages, NOW)
    assert not isinstance(shown, CannotBeServed)
    return shown


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [KeyType.RSA2048, KeyType.P256, KeyType.P384, KeyType.ED25519])
def test_every_kind_of_key_is_served_by_every_version(kind: KeyType, version: TLSVersion) -> None:
    candidate = good(key=kind)
    shown = serve(candidate, version)
    assert isinstance(shown, Presented)
    assert shown.chain == candidate.presented
    assert shown.version == version


@pytest.mark.parametrize("version", VERSIONS)
def test_a_long_chain_is_presented_in_its_order(version: TLSVersion) -> None:
    chain = [ISSUING]
    while len(chain) < 12:
        chain.insert(0, chain[0].intermediate(f"CA {len(chain)}"))
    candidate = made(chain[0].issue(NAME), *chain)
    shown = serve(candidate, version)
    assert isinstance(shown, Presented)
    assert shown.chain == candidate.presented


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        pytest.param(made(ISSUING.issue(NAME), ISSUING, key=OTHER_ROOT), "key values mismatch", id="another's key"),
        pytest.param(good(key=KeyType.RSA1024), "ee key too small", id="weak key"),
        pytest.param(
            made(ISSUING.issue(NAME, key=KeyType.RSA2048), key=ISSUING), "refuses to load it", id="another kind of key"
        ),
    ],
)
def test_what_a_tls_library_refuses_cannot_be_served(candidate: Candidate, said: str) -> None:
    shown = rehearse(candidate, [RehearsalStage(ENDPOINT, (view(ROOT),), SERVED)], NOW)
    assert isinstance(shown, CannotBeServed)
    assert said in shown.detail


@pytest.mark.parametrize(("asked", "other"), [(KeyKind.RSA, KeyType.P256), (KeyKind.EC, KeyType.RSA2048)])
def test_where_one_type_of_key_is_asked_for_another_cannot_be_served(asked: KeyKind, other: KeyType) -> None:
    stages = [
        RehearsalStage(replace(ENDPOINT, key_types=(kind,) if kind else ()), (view(ROOT),), SERVED)
        for kind in (None, asked)
    ]
    shown = rehearse(good(key=other), stages, NOW)
    assert isinstance(shown, CannotBeServed)
    assert shown.detail.startswith(f"no handshake by TLSv1.2 with a client that takes {asked} keys only: ")
    assert len(effects(good(key=KeyType.P256 if asked is KeyKind.EC else KeyType.RSA2048), *stages)) == 2


def test_a_good_candidate_loses_and_gains_nobody() -> None:
    (effect,) = effects(good(), RehearsalStage(ENDPOINT, (view(ROOT),), SERVED))
    assert effect.before is not None
    assert effect.before.accepted
    assert effect.after.accepted
    assert not effect.lost
    assert not effect.gained


def test_the_client_whose_store_lacks_the_new_root_is_lost() -> None:
    candidate = made(OTHER_ROOT.issue(NAME), root=OTHER_ROOT)
    both = view(ROOT, OTHER_ROOT, name="browser")
    java = view(ROOT, name="java")
    shown = effects(candidate, RehearsalStage(ENDPOINT, (both, java), SERVED))
    assert [(each.after.client, each.lost) for each in shown] == [("browser", False), ("java", True)]
    assert "CN=Other Root, a root in the store browser's store" in shown[1].after.why
    assert "add that root to the client's store" in shown[1].after.why


def test_the_client_that_trusts_only_the_new_root_is_gained() -> None:
    own = self_signed(NAME)
    (effect,) = effects(good(), RehearsalStage(ENDPOINT, (view(ROOT),), presented([own])))
    assert effect.gained


@pytest.mark.parametrize(
    "candidate",
    [
        pytest.param(made(ISSUING.issue(NAME)), id="no intermediate"),
        pytest.param(good("other.example.com"), id="another name"),
        pytest.param(good(not_after=NOW - DAY / 2, not_before=NOW - DAY), id="expired"),
    ],
)
def test_who_rejects_the_candidate_and_accepts_today_is_lost(candidate: Candidate) -> None:
    (effect,) = effects(candidate, RehearsalStage(ENDPOINT, (view(ROOT),), SERVED))
    assert effect.lost


def test_who_rejects_today_is_not_lost() -> None:
    expired = presented([ISSUING.issue(NAME, not_before=NOW - 2 * DAY, not_after=NOW - DAY), ISSUING])
    (effect,) = effects(good("other.example.com"), RehearsalStage(ENDPOINT, (view(ROOT),), expired))
    assert not effect.after.accepted
    assert not effect.lost


def test_who_does_not_validate_is_never_lost() -> None:
    candidate = made(OTHER_ROOT.issue(NAME))
    (effect,) = effects(candidate, RehearsalStage(ENDPOINT, (view(ROOT, validates=False),), SERVED))
    assert not effect.lost


def test_the_names_of_each_endpoint_and_client_count() -> None:
    inner = view(ROOT, name="inner", names=("inner.example.com",))
    other = replace(ENDPOINT, name="portal", server_name="portal.example.com")
    served = presented([ISSUING.issue(NAME, "inner.example.com", "portal.example.com"), ISSUING])
    shown = effects(
        good(NAME), RehearsalStage(ENDPOINT, (view(ROOT), inner), served), RehearsalStage(other, (view(ROOT),), served)
    )
    lost = {(each.endpoint, each.after.client) for each in shown if each.lost}
    assert lost == {("web", "inner"), ("portal", "browser")}


def test_what_is_served_today_may_be_unknown() -> None:
    (effect,) = effects(good(), RehearsalStage(ENDPOINT, (view(ROOT),)))
    assert effect.before is None
    assert effect.after.accepted
    assert not effect.lost
    assert not effect.gained


def test_a_client_that_holds_the_intermediate_itself_does_not_miss_it() -> None:
    holder = replace(view(ROOT), held=(value(ISSUING),))
    (effect,) = effects(made(ISSUING.issue(NAME)), RehearsalStage(ENDPOINT, (holder,), SERVED))
    assert effect.after.accepted
