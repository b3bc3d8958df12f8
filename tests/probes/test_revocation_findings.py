"""Findings about revocation: who rejects a revoked certificate, and what is nobody's news."""

from __future__ import annotations

import time
from base64 import encodebytes

import pytest
from cryptography import x509

from config.model import Client, Endpoint, FileTarget
from config.text import Printable, harmless
from config.vocabulary import Code, FileRole, RevocationCheck, Severity, VerifierName
from monitor.lab.ca import DAY, Authority, Issued, bundle
from probes.assess import EndpointContext, FileContext, assess_endpoint, assess_file, is_worth_watching
from probes.certificate import Certificate, certificate
from probes.file import look_into
from probes.finding import Assessment, Finding
from probes.judge.client import View
from probes.observation import EndpointObservation, Presented
from probes.revocation.crl import lists_in
from probes.revocation.evidence import NO_EVIDENCE, Evidence
from probes.trust import Trust
from tests.kit.crl import LISTS_AT, Entry, crl, crl_pem, lists_at
from tests.kit.responder import answer

NOW = float(int(time.time()))
ROOT = Authority.root("Root")
CA = ROOT.intermediate("Issuing")
LEAF = CA.issue("www.example.com", extensions=[lists_at(LISTS_AT)])
STORE = Trust("store", (certificate(ROOT.der()),))
GONE = Entry(LEAF, NOW - DAY)
DAMAGED = "the name of its server cannot be resolved"


def value(issued: Issued) -> Certificate:
    return certificate(issued.der())


def client(name: str, check: RevocationCheck, *, validates: bool = True) -> View:
    return View(Client(name, "store", validates=validates, revocation=check), STORE)


BROWSER = client("browser", RevocationCheck.SOFT_FAIL)
BANK = client("bank", RevocationCheck.HARD_FAIL)
SCRIPT = client("script", RevocationCheck.NONE)
CARELESS = client("careless", RevocationCheck.SOFT_FAIL, validates=False)


def judge(evidence: Evidence, *views: View, chain: tuple[Issued, ...] = (LEAF, CA), now: float = NOW) -> Assessment:
    shown = Presented(harmless("127.0.0.1"), tuple(map(value, chain)), "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519")
    endpoint = Endpoint("web", "www.example.com", 443)
    context = EndpointContext(endpoint, views, revocation=evidence)
    return assess_endpoint(EndpointObservation("web", now, (shown,)), context, now)


def evidence(*ders: bytes) -> Evidence:
    return Evidence(lists_in(ders))


def found(assessment: Assessment, code: Code) -> list[Finding]:
    return [each for each in assessment.findings if each.code is code]


def test_a_revoked_certificate_is_critical_and_says_who_rejects_it_and_who_does_not_ask() -> None:
    seen = judge(evidence(crl(CA, NOW, GONE)), BROWSER, BANK, SCRIPT, CARELESS)
    (revoked,) = found(seen, Code.REVOKED)
    assert revoked.severity is Severity.CRITICAL
    assert revoked.subject == "position 0"
    assert revoked.detail.startswith(f"CA CN=Issuing revoked {value(LEAF).title} at 20")
    assert "; reason: key_compromise" in revoked.detail
    assert "rejected for that by browser and bank; not asked for by script and careless" in revoked.detail
    accepted = {each.client: each.accepted for each in seen.edges}
    assert accepted == {"browser": False, "bank": False, "script": True, "careless": True}
    rejects = {str(each.subject): each for each in found(seen, Code.CLIENT_REJECTS)}
    assert rejects["browser"].severity is Severity.CRITICAL
    assert "CA CN=Issuing revoked " in rejects["browser"].detail
    assert rejects["careless"].severity is Severity.NOTICE
    assert "script" not in rejects


def test_nothing_is_said_where_the_ca_says_that_all_is_well() -> None:
    seen = judge(evidence(crl(CA, NOW)), BROWSER, BANK, SCRIPT)
    assert not seen.findings
    assert all(each.accepted for each in seen.edges)


def test_a_revoked_intermediate_is_told_by_its_place() -> None:
    (revoked,) = found(judge(evidence(crl(ROOT, NOW, Entry(CA, NOW - DAY))), BROWSER), Code.REVOKED)
    assert revoked.subject == "position 1"


def test_where_nobody_looked_nothing_is_said_even_for_a_client_that_insists() -> None:
    seen = judge(NO_EVIDENCE, BANK)
    assert not seen.findings
    assert seen.edges[0].accepted


def test_what_cannot_be_told_is_a_notice_and_hurts_who_insists() -> None:
    failed = Evidence(failed={LISTS_AT: Printable(DAMAGED)})
    seen = judge(failed, BROWSER, BANK)
    (unknown,) = found(seen, Code.REVOCATION_UNKNOWN)
    assert unknown.severity is Severity.NOTICE
    assert DAMAGED in unknown.detail
    assert {each.client: each.accepted for each in seen.edges} == {"browser": True, "bank": False}


def test_a_list_that_cannot_be_had_is_nobodys_news_as_long_as_a_valid_one_is_left() -> None:
    seen = judge(Evidence(lists_in([crl(CA, NOW)]), {LISTS_AT: Printable(DAMAGED)}), BANK)
    assert not seen.findings


def test_the_verdict_changes_by_itself_when_the_list_ends() -> None:
    known = evidence(crl(CA, NOW, next_update=NOW + 3600))
    seen = judge(known, BROWSER)
    assert seen.until == NOW + 3601
    assert found(judge(known, BROWSER, now=NOW + 3601), Code.REVOCATION_UNKNOWN)


def test_without_a_client_the_presented_chain_is_judged() -> None:
    (revoked,) = found(judge(evidence(crl(CA, NOW, GONE))), Code.REVOKED)
    assert "rejected" not in revoked.detail


@pytest.mark.parametrize("view", [None, SCRIPT])
def test_a_revoked_certificate_in_a_file_is_found(view: View | None) -> None:
    target = FileTarget("/x", "/x", FileRole.LISTED)
    seen = look_into(bundle(LEAF.chain), target, NOW)
    context = FileContext(target, view, revocation=evidence(crl(CA, NOW, GONE)))
    assert found(assess_file(seen, context, NOW), Code.REVOKED)
    assert not found(assess_file(seen, FileContext(target, view), NOW), Code.REVOKED)


# Lists in files

WEEK = crl(CA, NOW, this_update=NOW, next_update=NOW + 8 * DAY)
NEXT = crl(CA, NOW, this_update=NOW + DAY, next_update=NOW + 20 * DAY)
OF_ROOT = crl(ROOT, NOW, next_update=NOW + 20 * DAY)


@pytest.mark.parametrize(
    ("data", "role", "after", "severity"),
    [
        (WEEK, FileRole.LISTED, 0, None),
        (WEEK, FileRole.LISTED, 6 * DAY - 1, None),
        (WEEK, FileRole.LISTED, 6 * DAY, Severity.NOTICE),
        (WEEK, FileRole.LISTED, 8 * DAY, Severity.NOTICE),
        (WEEK, FileRole.LISTED, 8 * DAY + 1, Severity.WARNING),
        (WEEK, FileRole.FOUND, 8 * DAY + 1, Severity.NOTICE),
        (crl_pem(WEEK) + crl_pem(NEXT), FileRole.LISTED, 9 * DAY, None),
        (crl_pem(WEEK) + crl_pem(OF_ROOT), FileRole.LISTED, 9 * DAY, Severity.WARNING),
        (crl(CA, NOW, this_update=NOW, next_update=NOW + 3600), FileRole.LISTED, 1800, None),
        (crl(CA, NOW, this_update=NOW, next_update=NOW + 3600), FileRole.LISTED, 2700, Severity.NOTICE),
    ],
)  # fmt: skip
def test_a_list_in_a_file_goes_stale(data: bytes, role: FileRole, after: float, severity: Severity | None) -> None:
    target = FileTarget("/x.crl", "/x.crl", role)
    seen = look_into(data, target, NOW)
    assert is_worth_watching(seen, FileContext(target))
    assessment = assess_file(seen, FileContext(target), NOW + after)
    assert [each.code for each in assessment.findings] == ([] if severity is None else [Code.CRL_STALE])
    assert [each.severity for each in assessment.findings] == ([] if severity is None else [severity])
    if after == 0:
        assert assessment.until == NOW + 6 * DAY


def test_a_list_that_cannot_be_decoded_makes_the_file_unreadable() -> None:
    target = FileTarget("/x.crl", "/x.crl", FileRole.LISTED)
    broken = WEEK[:40] + b"\xff" + WEEK[41:]
    seen = look_into(crl_pem(WEEK) + LEAF.pem() + _as_pem(broken), target, NOW)
    assert seen.failure is not None
    assert "revocation list 2 of 2: it is no revocation list in DER" in seen.failure.detail
    assert len(seen.lists) == len(seen.certificates) == 1


def _as_pem(der: bytes) -> bytes:
    return b"-----BEGIN X509 CRL-----\n" + encodebytes(der) + b"-----END X509 CRL-----\n"


def test_the_same_file_with_a_certificate_before_lacks_it_now() -> None:
    target = FileTarget("/x", "/x", FileRole.LISTED)
    context = FileContext(target, last_known=(value(LEAF),))
    assert found(assess_file(look_into(WEEK, target, NOW), context, NOW), Code.NO_CERTIFICATE)


# Staples

MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])
PROMISING = CA.issue("www.example.com", extensions=[x509.Extension(MUST_STAPLE.oid, False, MUST_STAPLE)])


def with_staple(staple: bytes, of: Issued, view: View = BROWSER, version: str = "TLSv1.3") -> Assessment:
    shown = Presented(harmless("192.0.2.1"), tuple(map(value, (of, CA))), version, "", "", staple=staple)
    context = EndpointContext(Endpoint("web", "www.example.com", 443), (view,))
    return assess_endpoint(EndpointObservation("web", NOW, (shown,)), context, NOW)


def test_a_promised_staple_that_does_not_come_is_told_of_the_address() -> None:
    (missing,) = with_staple(b"", PROMISING).findings
    assert (missing.code, missing.severity) == (Code.MUST_STAPLE_WITHOUT_STAPLE, Severity.WARNING)
    assert missing.subject == "192.0.2.1"
    assert not with_staple(answer(CA, PROMISING, NOW), PROMISING).findings
    assert not with_staple(b"", LEAF).findings
    assert not with_staple(b"", PROMISING, version="").findings, "nobody knows the handshake"


def test_gnutls_refuses_a_server_that_breaks_the_promise_of_a_staple() -> None:
    view = View(Client("wget", "corp", VerifierName.GNUTLS), BROWSER.trust)
    accepted = [
        with_staple(staple, PROMISING, view, version).edges[0].accepted
        for staple, version in ((b"", "TLSv1.3"), (b"", ""), (answer(CA, PROMISING, NOW), "TLSv1.3"))
    ]
    assert accepted == [False, True, True]


def test_a_staple_tells_whether_the_certificate_is_revoked() -> None:
    seen = with_staple(answer(CA, LEAF, NOW, NOW - DAY), LEAF)
    (revoked,) = found(seen, Code.REVOKED)
    assert "; reason: superseded" in revoked.detail
    assert not seen.edges[0].accepted
    (unknown,) = with_staple(answer(CA, LEAF, NOW, lasts=-1000), LEAF, BANK).findings[:1]
    assert unknown.code in {Code.REVOCATION_UNKNOWN, Code.CLIENT_REJECTS}
    assert found(with_staple(b"damaged", LEAF), Code.REVOCATION_UNKNOWN)
    assert not with_staple(answer(ROOT, CA, NOW, NOW), LEAF).findings[1:]
