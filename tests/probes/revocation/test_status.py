"""What lists tell of a certificate: each rule of RFC 5280, 6.3.3 by one list that keeps it and one that breaks it."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509

from config.vocabulary import RevocationReason, RevocationState
from monitor.lab.ca import DAY, UNKNOWN_CRITICAL, Authority, Issued, KeyType, new_key
from probes.certificate import Certificate, certificate
from probes.ocsp import CLOCK_SKEW
from probes.revocation import status
from probes.revocation.crl import RevocationList, lists_in, revocation_list, signed_by
from probes.revocation.evidence import MOST_OF_ISSUER, NO_EVIDENCE, Evidence
from probes.revocation.places import answer_key, delta_urls, list_urls
from probes.revocation.status import RevocationStatus, is_revoked_by_nobody, status_of
from tests.kit.crl import LISTS_AT, Entry, ListKnobs, crl, lists_at, point, uri
from tests.kit.responder import answer, responder_at

NOW = float(int(time.time()))
ROOT = Authority.root("Root")
CA = ROOT.intermediate("Issuing", extensions=[lists_at("http://crl.example.com/root.crl")])
LEAF = CA.issue("www.example.com", extensions=[lists_at(LISTS_AT)])
OTHER = CA.issue("other.example.com")
STRANGER = Authority.root("Issuing", key=new_key(KeyType.P256))
"""It has the name of the CA, and another key."""

HOUR = 3600

GOOD, REVOKED = RevocationState.GOOD, RevocationState.REVOKED
UNKNOWN, UNCHECKED = RevocationState.UNKNOWN, RevocationState.UNCHECKED

GONE = Entry(LEAF, NOW - DAY)
ODD = UNKNOWN_CRITICAL.value


def value(issued: Issued) -> Certificate:
    return certificate(issued.der())


def told(*ders: bytes, of: Issued = LEAF, issuer: Issued = CA, now: float = NOW) -> RevocationStatus:
    return status_of(value(of), value(issuer), Evidence(lists_in(ders)), now)


@pytest.mark.parametrize(
    ("entries", "knobs", "state", "why"),
    [
        ((), {}, GOOD, ""),
        ((Entry(OTHER, NOW - DAY),), {}, GOOD, ""),
        ((GONE,), {}, REVOKED, ""),
        ((GONE,), {"number": None, "key_identifier": False}, REVOKED, ""),
        # dates
        ((GONE,), {"this_update": NOW - 9 * DAY, "next_update": NOW - 1}, UNKNOWN, "followed by another at"),
        ((GONE,), {"this_update": NOW - 9 * DAY, "next_update": NOW}, REVOKED, ""),
        ((GONE,), {"this_update": NOW + 1}, UNKNOWN, "begins only at"),
        ((GONE,), {"this_update": NOW}, REVOKED, ""),
        # signature
        ((GONE,), {"signer": STRANGER, "key_identifier": False}, UNKNOWN, "not made by that CA's key"),
        ((GONE,), {"signer": STRANGER}, UNCHECKED, "at hand"),
        # scope
        ((GONE,), {"point": point(only_contains_user_certs=True)}, REVOKED, ""),
        ((GONE,), {"point": point(only_contains_ca_certs=True)}, UNCHECKED, ""),
        ((GONE,), {"point": point(only_contains_attribute_certs=True)}, UNCHECKED, ""),
        ((GONE,), {"point": point(indirect_crl=True)}, UNCHECKED, ""),
        ((GONE,), {"point": point(full_name=[uri("http://a/"), uri(LISTS_AT)])}, REVOKED, ""),
        ((), {"point": point(full_name=[uri("http://crl.example.com/2.crl")])}, UNCHECKED, ""),
        ((), {"point": point(full_name=[x509.DNSName("crl.example.com")])}, UNCHECKED, ""),
        ((), {"point": point(relative_name=x509.RelativeDistinguishedName([*ROOT.subject]))}, UNCHECKED, ""),
        (
            (GONE,),
            {"point": point(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))},
            REVOKED,
            "",
        ),
        (
            (),
            {"point": point(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))},
            UNKNOWN,
            "some reasons alone",
        ),
        # extensions that nobody here knows
        ((GONE,), {"critical": [ODD]}, UNKNOWN, "critical extension 1.3.6.1.4.1.55555.1"),
        ((Entry(LEAF, NOW - DAY, critical=[ODD]),), {}, UNKNOWN, "critical extension 1.3.6.1.4.1.55555.1"),
        # a delta list alone
        ((GONE,), {"base": 5}, UNCHECKED, ""),
        # taken back
        ((Entry(LEAF, NOW - DAY, x509.ReasonFlags.remove_from_crl),), {}, GOOD, ""),
    ],
)
def test_a_list_tells_what_it_may(entries: Sequence[Entry], knobs: ListKnobs, state: RevocationState, why: str) -> None:
    status = told(crl(CA, NOW, *entries, **knobs))
    assert status.state is state, status
    assert why in status.why


def test_the_time_and_the_reason_are_those_of_the_entry() -> None:
    status = told(crl(CA, NOW, Entry(LEAF, NOW - DAY, x509.ReasonFlags.superseded)))
    assert (status.at, status.reason) == (NOW - DAY, RevocationReason.SUPERSEDED)
    assert told(crl(CA, NOW, Entry(LEAF, NOW, None))).reason is RevocationReason.UNSPECIFIED


def test_every_reason_of_the_library_has_its_word() -> None:
    for each in x509.ReasonFlags:
        assert RevocationReason[each.name.upper()]


def test_a_key_that_is_for_certificates_alone_signs_no_list() -> None:
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    ca = ROOT.intermediate("No Lists", key_usage=usage)
    leaf = ca.issue("a.example.com")
    assert told(crl(ca, NOW, Entry(leaf, NOW)), of=leaf, issuer=ca).state is UNKNOWN
    free = ROOT.intermediate("Free", key_usage=None)
    leaf = free.issue("b.example.com")
    assert told(crl(free, NOW, Entry(leaf, NOW)), of=leaf, issuer=free).state is REVOKED


def test_the_list_of_a_ca_tells_nothing_of_its_own_certificate() -> None:
    assert told(crl(CA, NOW, Entry(CA, NOW)), of=CA, issuer=ROOT).state is UNCHECKED
    assert told(crl(ROOT, NOW, Entry(CA, NOW)), of=CA, issuer=ROOT).state is REVOKED
    only_users = crl(ROOT, NOW, Entry(CA, NOW), point=point(only_contains_user_certs=True))
    assert told(only_users, of=CA, issuer=ROOT).state is UNCHECKED


def test_the_newest_valid_list_counts() -> None:
    hold = Entry(LEAF, NOW - DAY, x509.ReasonFlags.certificate_hold)
    before = crl(CA, NOW, hold, number=6, this_update=NOW - 2 * HOUR)
    after = crl(CA, NOW, number=7, this_update=NOW - HOUR)
    assert told(before, after).state is GOOD
    assert told(after, before).state is GOOD
    forged = crl(CA, NOW, number=8, this_update=NOW, signer=STRANGER, key_identifier=False)
    assert told(before, forged).state is REVOKED
    outdated = crl(CA, NOW, number=5, this_update=NOW - 9 * DAY, next_update=NOW - DAY)
    assert told(outdated, before).state is REVOKED


def test_a_list_of_some_reasons_beside_one_of_all_takes_nothing_from_it() -> None:
    some = point(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))
    newer = {"number": 9, "this_update": NOW}
    assert told(crl(CA, NOW), crl(CA, NOW, point=some, **newer)).state is GOOD  # type: ignore[arg-type]
    assert told(crl(CA, NOW), crl(CA, NOW, GONE, point=some, **newer)).state is REVOKED  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("complete", "delta", "state"),
    [
        ({}, {"base": 7, "number": 8}, REVOKED),
        ({}, {"base": 5, "number": 7}, REVOKED),
        ({}, {"base": 8, "number": 9}, GOOD),
        ({}, {"base": 5, "number": 6}, GOOD),
        ({}, {"base": 5, "number": None}, GOOD),
        ({"number": None}, {"base": 5}, GOOD),
        ({}, {"base": 7, "number": 8, "next_update": NOW - 1, "this_update": NOW - DAY}, GOOD),
        ({}, {"base": 7, "number": 8, "signer": STRANGER, "key_identifier": False}, GOOD),
        ({}, {"base": 7, "number": 8, "point": point(only_contains_user_certs=True)}, GOOD),
        ({"next_update": NOW - 1, "this_update": NOW - DAY}, {"base": 7, "number": 8}, UNKNOWN),
    ],
)
def test_a_delta_list_adds_to_the_complete_one_that_it_is_for(
    complete: ListKnobs, delta: ListKnobs, state: RevocationState
) -> None:
    assert told(crl(CA, NOW, **complete), crl(CA, NOW, GONE, **delta)).state is state


def test_a_delta_list_takes_back_what_was_on_hold() -> None:
    held = crl(CA, NOW, Entry(LEAF, NOW - DAY, x509.ReasonFlags.certificate_hold))
    back = crl(CA, NOW, Entry(LEAF, NOW, x509.ReasonFlags.remove_from_crl), base=7, number=8)
    assert told(held).state is REVOKED
    assert told(held, back).state is GOOD
    again = crl(CA, NOW, Entry(LEAF, NOW, x509.ReasonFlags.key_compromise), base=7, number=9)
    assert told(held, back, again).state is REVOKED


def test_what_could_not_be_had_is_unknown_and_what_nobody_sought_is_unchecked() -> None:
    leaf, ca = value(LEAF), value(CA)
    assert status_of(leaf, ca, NO_EVIDENCE, NOW).state is UNCHECKED
    failed = Evidence(failed={LISTS_AT: revocation_list(crl(CA, NOW)).issuer})
    assert status_of(leaf, ca, failed, NOW).state is UNKNOWN
    assert status_of(leaf, ca, Evidence(lists_in([crl(CA, NOW)]), failed.failed), NOW).state is GOOD


NO_REVOCATION = x509.ObjectIdentifier("2.5.29.56")


@pytest.mark.parametrize(
    ("days", "extensions", "by_design"),
    [
        (7, [], False),
        (7 - 1 / DAY, [], True),
        (6, [lists_at(LISTS_AT)], False),
        (90, [x509.Extension(NO_REVOCATION, False, x509.UnrecognizedExtension(NO_REVOCATION, b"\x05\x00"))], True),
        (90, [], False),
    ],
)
def test_a_short_lived_certificate_is_revoked_by_nobody(
    days: float, extensions: list[x509.Extension[x509.ExtensionType]], *, by_design: bool
) -> None:
    leaf = CA.issue("s.example.com", not_before=NOW, not_after=NOW + days * DAY, extensions=extensions)
    assert is_revoked_by_nobody(value(leaf)) is by_design
    state = told(crl(CA, NOW), of=leaf).state
    assert state is (RevocationState.BY_DESIGN if by_design else GOOD)


def test_a_ca_is_never_short_lived() -> None:
    short = ROOT.intermediate("Short", not_before=NOW, not_after=NOW + DAY)
    assert not is_revoked_by_nobody(value(short))


def test_the_places_are_those_of_the_issuer_itself() -> None:
    indirect = x509.DistributionPoint([uri("http://other/")], None, None, [x509.DirectoryName(ROOT.subject)])
    own = x509.DistributionPoint([x509.DNSName("x"), uri("http://own/")], None, None, None)
    named = [x509.Extension(kind.oid, False, kind([indirect, own])) for kind in (x509.CRLDistributionPoints,)]
    fresh = x509.FreshestCRL([own])
    leaf = value(CA.issue("p.example.com", extensions=[*named, x509.Extension(fresh.oid, False, fresh)]))
    assert list_urls(leaf) == ("http://own/",)
    assert delta_urls(leaf) == ("http://own/",)


def test_evidence_about_some_certificates_is_no_more_than_they_need() -> None:
    lists = lists_in([crl(CA, NOW), crl(ROOT, NOW)])
    failed = {LISTS_AT: lists[0].issuer, "http://elsewhere/": lists[0].issuer}
    part = Evidence(lists, failed).about([value(LEAF)])
    assert part.lists == lists[:1]
    assert dict(part.failed) == {LISTS_AT: lists[0].issuer}
    assert Evidence(lists).about([value(ROOT.issue("x"))]).lists == lists[1:]
    assert Evidence(lists[:1]).about([value(ROOT.issue("x"))]).is_empty


def test_evidence_travels_to_another_process() -> None:
    known = Evidence(lists_in([crl(CA, NOW)]), {LISTS_AT: value(CA).subject})
    assert pickle.loads(pickle.dumps(known)) == known


@pytest.mark.parametrize(
    ("lists", "answer_of", "state"),
    [
        ([], {}, GOOD),
        ([], {"revoked": NOW - DAY}, REVOKED),
        ([crl(CA, NOW)], {"revoked": NOW - DAY}, REVOKED),
        ([crl(CA, NOW, GONE)], {}, REVOKED),
        ([crl(CA, NOW, this_update=NOW - 9 * DAY, next_update=NOW - DAY)], {}, GOOD),
        ([], {"lasts": -1000}, UNKNOWN),
        ([crl(CA, NOW)], {"lasts": -1000}, GOOD),
        ([], {"ca": STRANGER}, UNKNOWN),
    ],
)
def test_an_answer_counts_beside_lists_and_the_worse_word_wins(
    lists: list[bytes], answer_of: dict[str, Any], state: RevocationState
) -> None:
    der = answer(answer_of.pop("ca", CA), LEAF, NOW, **answer_of)
    evidence = Evidence(lists_in(lists), answers={value(LEAF).sha256: (der,)})
    status = status_of(value(LEAF), value(CA), evidence, NOW)
    assert status.state is state
    if "revoked" in answer_of:
        assert (status.at, status.reason) == (NOW - DAY, RevocationReason.SUPERSEDED)
    assert evidence.about([value(OTHER)]).answers == {}
    assert evidence.about([value(LEAF)]).answers == evidence.answers


GOOD_ANSWER, ENDED_ANSWER = answer(CA, LEAF, NOW), answer(CA, LEAF, NOW, lasts=-1000)
REVOKED_ANSWER = answer(CA, LEAF, NOW, NOW - DAY)


@pytest.mark.parametrize(
    ("fetched", "stapled", "state"),
    [
        (ENDED_ANSWER, GOOD_ANSWER, GOOD),
        (GOOD_ANSWER, ENDED_ANSWER, GOOD),
        (GOOD_ANSWER, REVOKED_ANSWER, REVOKED),
        (REVOKED_ANSWER, GOOD_ANSWER, REVOKED),
        (GOOD_ANSWER, answer(STRANGER, LEAF, NOW, NOW - DAY), GOOD),
        (ENDED_ANSWER, b"<html>", UNKNOWN),
    ],
)
def test_no_answer_hides_another_and_the_worst_one_that_is_valid_counts(
    fetched: bytes, stapled: bytes, state: RevocationState
) -> None:
    about = value(LEAF).sha256
    both = Evidence(answers={about: (fetched,)}).beside([(about, stapled), (about, stapled)])
    assert both.answers == {about: (fetched, stapled)}
    assert status_of(value(LEAF), value(CA), both, NOW).state is state


def test_a_verdict_is_due_when_an_answer_begins_and_when_it_ends() -> None:
    about = value(LEAF).sha256
    evidence = NO_EVIDENCE.beside([(about, GOOD_ANSWER), (about, b"<html>")])
    begin, end = sorted(evidence.boundaries())

    def state(at: float) -> RevocationState:
        return status_of(value(LEAF), value(CA), evidence, at).state

    assert begin == NOW - HOUR - CLOCK_SKEW
    assert [state(at) for at in (NOW, end - 1, end)] == [GOOD, GOOD, UNKNOWN]
    assert NO_EVIDENCE.beside([]) is NO_EVIDENCE


def test_what_is_awaited_counts_beyond_its_time_and_what_nobody_has_signed_does_not() -> None:
    ended: dict[str, Any] = {"this_update": NOW - 9 * DAY, "next_update": NOW - DAY}
    own, foreign = lists_in([crl(CA, NOW, GONE, **ended), crl(CA, NOW, signer=STRANGER, key_identifier=False, **ended)])
    for known, awaited, state in ((own, True, REVOKED), (own, False, UNKNOWN), (foreign, True, UNKNOWN)):
        evidence = Evidence((known,), awaited=frozenset([known.sha256] if awaited else []))
        assert status_of(value(LEAF), value(CA), evidence.about([value(LEAF)]), NOW).state is state
        assert not evidence.about([value(CA)]).awaited, "it is none of that certificate"
    ended_answer = {value(LEAF).sha256: (ENDED_ANSWER,)}
    awaited_answer = Evidence(answers=ended_answer, awaited=frozenset([hashlib.sha256(ENDED_ANSWER).hexdigest()]))
    assert status_of(value(LEAF), value(CA), awaited_answer, NOW).state is GOOD


def test_what_a_responder_did_not_give_is_unknown() -> None:
    leaf = CA.issue("r.example.com", extensions=[responder_at("http://ocsp.example.com/")])
    failed = Evidence(failed={answer_key("http://ocsp.example.com/", value(leaf)): value(CA).subject})
    assert status_of(value(leaf), value(CA), failed, NOW).state is UNKNOWN
    assert failed.about([value(leaf)]) == failed
    assert status_of(value(OTHER), value(CA), failed, NOW).state is UNCHECKED


@pytest.mark.parametrize("first", [True, False], ids=["first of its file", "behind others"])
def test_who_floods_files_with_forged_lists_costs_few_signatures_and_hides_no_list_of_another_file(
    *, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = list[str]()

    def verify(known: RevocationList, issuer: Certificate) -> bool:
        verified.append(known.sha256)
        return signed_by(known, issuer)

    monkeypatch.setattr(status, "signed_by", verify)
    (template,) = lists_in([crl(CA, NOW, signer=STRANGER, key_identifier=False)])
    forged = [replace(template, sha256=f"{number:064x}") for number in range(3 * MOST_OF_ISSUER)]
    flood = [forged[each : each + 100] for each in range(0, len(forged), 100)]
    (own,) = lists_in([crl(CA, NOW, GONE)])
    evidence = NO_EVIDENCE.with_lists([*flood, (own,) if first else (*forged[:99], own)]).about([value(LEAF)])
    known = status_of(value(LEAF), value(CA), evidence, NOW)
    assert len(verified) <= MOST_OF_ISSUER
    assert known.state is (REVOKED if first else UNKNOWN)
    assert first or f"more than {MOST_OF_ISSUER} revocation lists in the name of CN=Issuing" in known.why
    assert not evidence.about([value(CA)]).crowded, "that is the name of another issuer"
