"""Each objection to a candidate, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from actions.candidate import Candidate
from actions.ending import Ground
from actions.precheck import HOUR, Demands, Issuers, dropped_names, precheck, unfit, why_rejected
from config.text import Printable
from config.vocabulary import Code, VerifierName
from monitor.lab.ca import DAY, Authority, KeyType, new_key, self_signed
from probes.finding import Edge, finding
from tests.kit.candidates import ISSUING, NAME, NOW, ROOT, good, made, value, view

OTHER_ROOT = Authority.root("Other Root")
INSTALLED = (value(ISSUING.issue(NAME, not_after=NOW + 20 * DAY)), value(ISSUING))
DEMANDS = Demands((NAME,), (view(ROOT), view(ROOT, name="strict", verifier=VerifierName.WEBPKI)), INSTALLED)


def grounds(candidate: Candidate, demands: Demands = DEMANDS) -> list[Ground]:
    return [each.ground for each in precheck(candidate, demands, NOW)]


def test_there_is_nothing_against_a_good_candidate() -> None:
    assert grounds(good()) == []
    assert grounds(good(), Demands()) == []


def weak_intermediate() -> Candidate:
    weak = ROOT.intermediate("Weak", key=KeyType.RSA1024)
    return made(weak.issue(NAME), weak)


def ends_with_its_issuer() -> Candidate:
    brief = ROOT.intermediate("Brief", not_after=NOW + DAY)
    return made(brief.issue(NAME), brief)


@pytest.mark.parametrize(
    ("candidate", "ground", "said"),
    [
        pytest.param(
            made(ISSUING.issue(NAME), ISSUING, key=ISSUING),
            Ground.KEY_MISMATCH,
            "does not belong to CN=www.example.com",
            id="another's key",
        ),
        pytest.param(
            good("other.example.com"),
            Ground.NAMES_MISSING,
            "www.example.com is not among its names: DNS:other.example.com",
            id="another name",
        ),
        pytest.param(good(not_before=NOW + DAY), Ground.NOT_VALID_NOW, "is valid only from", id="not yet valid"),
        pytest.param(good(not_after=NOW - 10), Ground.NOT_VALID_NOW, "ended at", id="expired"),
        pytest.param(
            good(not_before=NOW - 80 * DAY, not_after=NOW + 10 * DAY),
            Ground.TOO_SHORT,
            "before the installed certificate",
            id="expiring, and shorter than today's",
        ),
        pytest.param(
            ends_with_its_issuer(), Ground.TOO_SHORT, "before the installed certificate", id="its issuer ends"
        ),
        pytest.param(good(key=KeyType.RSA1024), Ground.WEAK_KEY, "has a key of rsa 1024", id="weak key"),
        pytest.param(weak_intermediate(), Ground.WEAK_KEY, "CN=Weak has a key of rsa 1024", id="weak issuer"),
        pytest.param(good(signature_hash="sha1"), Ground.WEAK_SIGNATURE, "is signed with sha1", id="weak signature"),
        pytest.param(
            made(ISSUING.issue(NAME)), Ground.INCOMPLETE_CHAIN, "the certificate of CN=Issuing", id="no intermediate"
        ),
        pytest.param(
            made(OTHER_ROOT.issue(NAME), root=OTHER_ROOT),
            Ground.NO_CLIENT_ACCEPTS,
            "CN=Other Root, a root in the store of the candidate",
            id="nobody's root",
        ),
    ],
)
def test_what_is_against_a_candidate_is_said(candidate: Candidate, ground: Ground, said: str) -> None:
    found = precheck(candidate, DEMANDS, NOW)
    assert ground in [each.ground for each in found]
    assert any(each.ground is ground and said in each.detail for each in found)
    assert {each.ground for each in found} <= {ground, Ground.NO_CLIENT_ACCEPTS, Ground.WEAK_SIGNATURE}


def test_a_revoked_candidate_is_never_installed() -> None:
    demands = replace(DEMANDS, revoked=lambda presented: f"{presented[0].title} is revoked")
    assert grounds(good(), demands) == [Ground.REVOKED]
    assert [each.ground for each in unfit(good(), demands, NOW)] == [Ground.REVOKED]


def test_a_candidate_with_the_key_of_a_certificate_that_is_revoked_as_compromised_is_never_installed() -> None:
    compromised = replace(DEMANDS, compromised=lambda presented: f"{presented[0].title} is revoked")
    kept, other = good(), made(ISSUING.issue(NAME, key=new_key(KeyType.P256)))
    for served in (replace(compromised, installed=kept.presented), replace(compromised, served=kept.presented)):
        assert Ground.REVOKED in grounds(kept, served)
        assert Ground.REVOKED in [each.ground for each in unfit(kept, served, NOW)]
        assert Ground.REVOKED not in grounds(other, served), "it has a new key"
    assert Ground.REVOKED not in grounds(kept, replace(DEMANDS, installed=kept.presented)), "it is not revoked"


def test_the_wrong_order_is_an_objection() -> None:
    """Of what lies on disk: a candidate that was read is in order."""
    lower = ISSUING.intermediate("Lower")
    assert Ground.WRONG_ORDER in grounds(made(lower.issue(NAME), ISSUING, lower))


def test_every_objection_is_told_not_the_first() -> None:
    found = grounds(good("other.example.com", key=KeyType.RSA1024, not_before=NOW - 80 * DAY, not_after=NOW + DAY))
    assert {Ground.NAMES_MISSING, Ground.WEAK_KEY, Ground.TOO_SHORT} <= set(found)


@pytest.mark.parametrize(
    ("left", "fits"), [(HOUR - 1, False), (HOUR, True)], ids=["a second less than an hour", "an hour"]
)
def test_it_must_be_valid_for_an_hour_at_least(left: float, fits: bool) -> None:
    demands = replace(DEMANDS, allow_shorter=True)
    assert (Ground.TOO_SHORT not in grounds(good(not_after=NOW + left), demands)) is fits


def test_a_shorter_one_may_be_allowed() -> None:
    assert grounds(good(not_after=NOW + 10 * DAY), replace(DEMANDS, allow_shorter=True)) == []


def test_one_that_ends_at_the_same_time_is_not_shorter() -> None:
    assert grounds(good(not_after=NOW + 20 * DAY)) == []


def test_an_expired_one_may_be_replaced_by_any() -> None:
    expired = (value(ISSUING.issue(NAME, not_after=NOW - 1)), value(ISSUING))
    assert grounds(good(not_after=NOW + DAY), replace(DEMANDS, installed=expired)) == []


def test_one_that_has_ended_is_only_said_to_have_ended() -> None:
    expired = (value(ISSUING.issue(NAME, not_before=NOW - 9 * DAY, not_after=NOW - DAY)), value(ISSUING))
    ended = good(not_before=NOW - 9 * DAY, not_after=NOW - 2 * DAY)
    assert set(grounds(ended, replace(DEMANDS, installed=expired))) == {Ground.NOT_VALID_NOW, Ground.NO_CLIENT_ACCEPTS}


@pytest.mark.parametrize(("old", "new"), [(3650, 90), (200, 47), (47, 6)])
def test_a_shorter_certificate_takes_the_place_of_a_longer_one_while_it_is_not_expiring(old: int, new: int) -> None:
    installed = (value(ISSUING.issue(NAME, not_after=NOW + old * DAY)), value(ISSUING))
    candidate = good(not_before=NOW - DAY, not_after=NOW + (new - 1) * DAY)
    assert grounds(candidate, replace(DEMANDS, installed=installed)) == []
    demands = replace(DEMANDS, installed=installed, min_lifetime=new * DAY)
    assert grounds(candidate, demands) == [Ground.TOO_SHORT]
    assert grounds(candidate, replace(demands, min_lifetime=(new - 1) * DAY)) == []


KEY = value(ISSUING).public_key_sha256()
NAMESAKE = Authority.root("Issuing", key=new_key(KeyType.P256))


@pytest.mark.parametrize(
    ("allowed", "fits"),
    [
        pytest.param([Issuers("our CA", KEY)], True, id="its key"),
        pytest.param([Issuers("another", "0" * 64), Issuers("our CA", KEY)], True, id="one of two keys"),
        pytest.param([Issuers("our root", value(ROOT).public_key_sha256())], False, id="the key of a CA further up"),
        pytest.param([Issuers("corporate", view=view(ROOT))], True, id="a store that it leads to"),
        pytest.param([Issuers("other", view=view(OTHER_ROOT))], False, id="a store that it does not lead to"),
        pytest.param([Issuers("lost")], False, id="a store that cannot be read"),
    ],
)
def test_only_allowed_issuers_may_have_issued_it(allowed: list[Issuers], fits: bool) -> None:
    demands = replace(DEMANDS, allowed_issuers=tuple(allowed))
    assert (Ground.ISSUER_NOT_ALLOWED not in grounds(good(), demands)) is fits


@pytest.mark.parametrize("times", [{"not_after": NOW - 10}, {"not_before": NOW + DAY}], ids=["expired", "not yet"])
def test_what_is_wrong_with_its_dates_alone_is_no_fault_of_its_issuer(times: dict[str, float]) -> None:
    of_ours = replace(DEMANDS, allowed_issuers=(Issuers("corporate", view=view(ROOT)),))
    assert grounds(good(**times), of_ours) == [Ground.NOT_VALID_NOW]
    of_others = replace(DEMANDS, allowed_issuers=(Issuers("other", view=view(OTHER_ROOT)),))
    assert grounds(good(**times), of_others) == [Ground.NOT_VALID_NOW, Ground.ISSUER_NOT_ALLOWED]


def test_a_ca_that_calls_itself_as_the_allowed_one_is_told_by_its_key() -> None:
    forged = made(NAMESAKE.issue(NAME), NAMESAKE)
    assert forged.certificate.issuer == good().certificate.issuer
    found = precheck(forged, replace(DEMANDS, allowed_issuers=(Issuers("our CA", KEY),)), NOW)
    (said,) = [each.detail for each in found if each.ground is Ground.ISSUER_NOT_ALLOWED]
    assert f"spki_sha256 {value(NAMESAKE).public_key_sha256()}" in said
    with_ours = made(NAMESAKE.issue(NAME), ISSUING)
    assert Ground.ISSUER_NOT_ALLOWED in grounds(with_ours, replace(DEMANDS, allowed_issuers=(Issuers("our CA", KEY),)))


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("www.example.com", "api.example.com", "10.0.0.1"), False),
        (("*.example.com", "10.0.0.1"), True),
        (("WWW.example.com", "api.example.com", "*.example.com", "10.0.0.1"), False),
        (("www.example.com", "api.example.com"), True),
    ],
)
def test_without_declared_names_those_of_the_certificate_in_use_count(names: tuple[str, ...], missing: bool) -> None:
    old = value(ISSUING.issue("www.example.com", "api.example.com", "10.0.0.1"))
    found = grounds(good(*names), Demands(installed=(old,)))
    assert (Ground.NAMES_MISSING in found) is (missing and "10.0.0.1" not in names)


def test_a_wildcard_that_is_dropped_is_told() -> None:
    old = value(ISSUING.issue("*.example.com", "example.com"))
    assert dropped_names(good("example.com", "www.example.com").certificate, (old,)) == ("DNS:*.example.com",)
    assert dropped_names(good("*.EXAMPLE.com", "example.com").certificate, (old,)) == ()


def test_a_wildcard_in_use_is_covered_only_by_itself() -> None:
    old = value(ISSUING.issue("*.example.com"))
    assert dropped_names(good("*.example.com").certificate, (old,)) == ()
    assert dropped_names(good("*.com", "any.example.com").certificate, (old,)) == ("DNS:*.example.com",)


def test_a_validity_that_cannot_be_decoded_is_an_objection() -> None:
    candidate = good()
    blurred = replace(candidate.certificate, not_after=None)
    found = precheck(replace(candidate, certificate=blurred), Demands(), NOW)
    assert [(each.ground, each.detail) for each in found] == [
        (Ground.NOT_VALID_NOW, f"the validity of CN={NAME} cannot be decoded")
    ]


def test_a_name_below_a_new_wildcard_is_covered() -> None:
    old = value(ISSUING.issue("www.example.com"))
    assert dropped_names(good("*.example.com").certificate, (old, value(ISSUING))) == ()


def test_a_chain_that_is_as_incomplete_as_todays_is_no_objection() -> None:
    """The client that finds it so is lost already, and another accepts."""
    holder = replace(view(ROOT, name="holder"), held=(value(ISSUING),))
    today = (value(ISSUING.issue(NAME)),)
    assert grounds(made(ISSUING.issue(NAME)), Demands((NAME,), (view(ROOT), holder), today)) == []


def test_a_client_that_does_not_validate_has_no_say() -> None:
    demands = replace(DEMANDS, views=(view(OTHER_ROOT, validates=False),))
    assert grounds(good(), demands) == []


def test_one_client_that_accepts_is_enough_for_the_precheck() -> None:
    assert grounds(good(), replace(DEMANDS, views=(view(OTHER_ROOT, name="old"), view(ROOT)))) == []


def test_clients_that_are_sent_no_intermediate_must_hold_it() -> None:
    lacking, holding = view(ROOT), replace(view(ROOT, name="holder"), held=(value(ISSUING),))
    alone = frozenset({lacking, holding})
    demands = Demands((NAME,), (lacking,), leaf_alone=alone)
    assert grounds(good(), replace(demands, views=(lacking, holding))) == []
    assert grounds(good(), demands) == [Ground.NO_CLIENT_ACCEPTS]


def test_a_self_signed_certificate_is_accepted_by_who_trusts_it() -> None:
    own = self_signed(NAME)
    assert grounds(made(own), Demands((NAME,), (view(own),))) == []


@pytest.mark.parametrize("knob", [dict, lambda: {"not_before": NOW + DAY}])
def test_the_same_question_has_the_same_answer(knob: Callable[[], dict[str, object]]) -> None:
    candidate = good(**knob())
    assert precheck(candidate, DEMANDS, NOW) == precheck(candidate, DEMANDS, NOW)


def test_what_a_candidate_lacks_is_put_beside_it_and_not_onto_a_server() -> None:
    (gap,) = [
        each for each in precheck(made(ISSUING.issue(NAME)), DEMANDS, NOW) if each.ground is Ground.INCOMPLETE_CHAIN
    ]
    assert gap.detail.rpartition("; to cure it, ")[2].startswith("put the missing certificate beside the candidate (")
    elsewhere = Edge("browser", False, Printable("it is another name"))
    assert why_rejected(elsewhere) == "it is another name"
    gap_at_a_server = finding(Code.UNTRUSTED_ISSUER, Printable("it is not there"), may_lack_in_chain=True)
    said = why_rejected(replace(elsewhere, cause=gap_at_a_server))
    assert said.startswith("it is not there; to cure it, put the missing certificate beside the candidate (")
    clock = finding(Code.NOT_YET_VALID, Printable("the clock is wrong"))
    assert why_rejected(replace(elsewhere, cause=clock)).startswith("the clock is wrong; to cure it, check the clocks")
