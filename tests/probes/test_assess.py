"""The verdict on what an endpoint presents: each thing that can be wrong with a chain, seen by clients."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from config.expected import AllowedTLS
from config.model import CertifiStore, Client, Endpoint, TrustStore
from config.text import Printable, harmless
from config.vocabulary import ClientCertificateUse as Use
from config.vocabulary import Code, KeyKind, Severity, TLSVersion, UnreachableReason, Verdict, VerifierName
from monitor.lab.ca import DAY, UNKNOWN_CRITICAL, Authority, Issued, KeyType, Knobs
from probes.assess import EndpointContext, assess_endpoint
from probes.certificate import Certificate, certificate
from probes.chain import presented_path
from probes.finding import Assessment, verdict
from probes.judge.client import View
from probes.judge.state import OnDisk, judge_agreement
from probes.judge.time import moment as utc
from probes.observation import EndpointObservation, Presented, Unreachable
from probes.trust import Trust, read_trust
from tests.kit.examples import examples

NOW = float(int(time.time()))
ROOT = Authority.root("Root")
ISSUING = ROOT.intermediate("Issuing")
NAME = "www.example.com"
ENDPOINT = Endpoint("web", NAME, 443, clients=("client",))


def value(issued: Issued) -> Certificate:
    return certificate(issued.der())


def trust(*anchors: Issued, name: str = "store") -> Trust:
    return Trust(name, tuple(map(value, anchors)))


def view(store: Trust, verifier: VerifierName = VerifierName.OPENSSL, name: str = "client", **more: object) -> View:
    return View(replace(Client(name, store.name, verifier), **more), store)  # type: ignore[arg-type]


def presented(*chain: Issued, address: str = "127.0.0.1") -> Presented:
    return Presented(harmless(address), tuple(map(value, chain)), "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519")


def judge(
    chain: Sequence[Issued], *views: View, endpoint: Endpoint = ENDPOINT, now: float = NOW, **context: object
) -> Assessment:
    observation = EndpointObservation("web", now, (presented(*chain),))
    return assess_endpoint(
        observation,
        EndpointContext(endpoint, views or (view(trust(ROOT)),), **context),  # type: ignore[arg-type]
        now,
    )


def codes(assessment: Assessment) -> set[Code]:
    return {each.code for each in assessment.findings}


def both_verifiers(store: Trust) -> tuple[View, View]:
    return view(store, VerifierName.OPENSSL, "openssl"), view(store, VerifierName.WEBPKI, "webpki")


def test_a_complete_chain_is_accepted_by_both_verifiers_without_a_finding() -> None:
    leaf = ISSUING.issue(NAME)
    assessment = judge((leaf, ISSUING), *both_verifiers(trust(ROOT)))
    assert assessment.findings == ()
    assert [edge.accepted for edge in assessment.edges] == [True, True]
    assert assessment.expiry == value(leaf).not_after


@pytest.mark.parametrize("verifier", VerifierName)
def test_a_missing_intermediate_is_named_with_its_cure(verifier: VerifierName) -> None:
    assessment = judge((ISSUING.issue(NAME),), view(trust(ROOT), verifier))
    assert codes(assessment) == {Code.INCOMPLETE_CHAIN, Code.CLIENT_REJECTS}
    assert "CN=Issuing" in assessment.findings[0].detail
    (edge,) = assessment.edges
    assert not edge.accepted
    assert "append the certificate of CN=Issuing to the server's chain if it is an intermediate" in edge.why


def test_a_client_that_holds_the_intermediate_accepts_an_incomplete_chain() -> None:
    holding = replace(view(trust(ROOT)), held=(value(ISSUING),))
    assessment = judge((ISSUING.issue(NAME),), holding)
    assert [edge.accepted for edge in assessment.edges] == [True]
    assert codes(assessment) == set()


@pytest.mark.parametrize("verifier", VerifierName)
def test_a_root_that_only_another_store_holds_is_an_untrusted_issuer(verifier: VerifierName) -> None:
    other = trust(Authority.root("Other"), name="mine")
    leaf = ROOT.issue(NAME)
    assessment = judge((leaf,), view(other, verifier), elsewhere=(trust(ROOT, name="theirs"),))
    assert codes(assessment) == {Code.UNTRUSTED_ISSUER, Code.CLIENT_REJECTS}
    assert "theirs" in assessment.findings[0].detail or "theirs" in assessment.findings[1].detail


@pytest.mark.parametrize("verifier", VerifierName)
def test_a_presented_root_that_is_not_trusted_is_an_untrusted_issuer(verifier: VerifierName) -> None:
    assessment = judge((ISSUING.issue(NAME), ISSUING, ROOT), view(trust(Authority.root("Other")), verifier))
    assert codes(assessment) == {Code.UNTRUSTED_ISSUER, Code.CLIENT_REJECTS, Code.ROOT_PRESENTED}


def test_one_client_accepts_while_another_rejects() -> None:
    yes, no = view(trust(ROOT), name="yes"), view(trust(Authority.root("Other")), name="no")
    assessment = judge((ISSUING.issue(NAME), ISSUING), yes, no)
    assert [(edge.client, edge.accepted) for edge in assessment.edges] == [("yes", True), ("no", False)]
    rejects = [each for each in assessment.findings if each.code is Code.CLIENT_REJECTS]
    assert [each.subject for each in rejects] == ["no"]
    assert "web" in rejects[0].detail


def test_a_client_that_does_not_validate_is_a_notice_and_connects() -> None:
    assessment = judge((ISSUING.issue(NAME),), view(trust(ROOT), validates=False))
    assert {each.severity for each in assessment.findings} == {Severity.NOTICE}
    assert codes(assessment) == {Code.INCOMPLETE_CHAIN, Code.CLIENT_REJECTS}
    assert assessment.edges[0].accepted


FAULTS = {
    "expired": (
        (ISSUING.issue(NAME, not_before=NOW - 90 * DAY, not_after=NOW - DAY), ISSUING),
        {Code.EXPIRED, Code.CLIENT_REJECTS},
    ),
    "not yet valid": (
        (ISSUING.issue(NAME, not_before=NOW + DAY, not_after=NOW + 90 * DAY), ISSUING),
        {Code.NOT_YET_VALID, Code.CLIENT_REJECTS},
    ),
    "wrong name": ((ISSUING.issue("other.example.com"), ISSUING), {Code.HOSTNAME_MISMATCH, Code.CLIENT_REJECTS}),
    "corrupt signature": (
        (ISSUING.issue(NAME, corrupt_signature=True), ISSUING),
        {Code.BAD_SIGNATURE, Code.CLIENT_REJECTS},
    ),
    "excluded name": (
        (
            (constrained := ROOT.intermediate("Constrained", excluded=["example.com"])).issue(NAME),
            constrained,
        ),
        {Code.PATH_REJECTED, Code.CLIENT_REJECTS},
    ),
    "unknown critical extension": (
        (ISSUING.issue(NAME, extensions=[UNKNOWN_CRITICAL]), ISSUING),
        {Code.PATH_REJECTED, Code.CLIENT_REJECTS},
    ),
    "path length exceeded": (
        (
            (below := (short := ROOT.intermediate("Short", path_length=0)).intermediate("Below")).issue(NAME),
            below,
            short,
        ),
        {Code.INVALID_CA, Code.CLIENT_REJECTS},
    ),
    "expired intermediate": (
        (
            (old := ROOT.intermediate("Old", not_before=NOW - 90 * DAY, not_after=NOW - DAY)).issue(NAME),
            old,
        ),
        {Code.EXPIRED, Code.CLIENT_REJECTS},
    ),
}


@pytest.mark.parametrize("verifier", VerifierName)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_own_code(fault: str, verifier: VerifierName) -> None:
    chain, expected = FAULTS[fault]
    assessment = judge(chain, view(trust(ROOT), verifier))
    assert codes(assessment) == expected
    assert all(each.severity is Severity.CRITICAL for each in assessment.findings)


def test_a_self_signed_certificate_is_called_that() -> None:
    alone = Authority.root("alone", ca=False)
    assert Code.SELF_SIGNED in codes(judge((alone,)))
    assert Code.SELF_SIGNED not in codes(judge((alone,), view(trust(alone))))


def test_an_end_entity_that_signed_another_is_an_invalid_ca() -> None:
    fake = ISSUING.intermediate("Fake", ca=False)
    assert Code.INVALID_CA in codes(judge((fake.issue(NAME), fake, ISSUING)))


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        ({"authority_key_identifier": False}, "RFC 5280 4.2.1.1"),
        ({"purposes": ()}, "Baseline Requirements 7.1.2.7.10"),
        ({"serial": 0}, "RFC 5280 4.1.2.2"),
    ],
)
def test_a_broken_rule_that_clients_overlook_is_a_notice_that_names_it(broken: Knobs, rule: str) -> None:
    (found,) = judge((ISSUING.issue(NAME, **broken), ISSUING)).findings
    assert (found.code, found.severity) == (Code.NONCONFORMING, Severity.NOTICE)
    assert rule in found.detail


def test_what_a_public_ca_does_is_informational_and_leaves_the_verdict_alone() -> None:
    """Who installs its certificates cannot change how they are issued."""
    public = replace(trust(ROOT), public=True)
    year = ISSUING.issue(NAME, authority_key_identifier=False, not_before=NOW - DAY, not_after=NOW + 399 * DAY)
    assessment = judge((year, ISSUING), view(public))
    informational = {found.code for found in assessment.findings if found.severity is Severity.INFORMATIONAL}
    assert informational == {Code.NONCONFORMING, Code.VALIDITY_TOO_LONG}
    assert verdict(assessment.findings) is Verdict.OK


def test_a_client_of_the_strict_verifier_rejects_what_others_accept() -> None:
    leaf = ISSUING.issue(NAME, authority_key_identifier=False)
    lenient, strict = both_verifiers(trust(ROOT))
    assert [edge.accepted for edge in judge((leaf, ISSUING), lenient, strict).edges] == [True, False]


def test_a_chain_signed_with_sha1_is_weak_not_wrong() -> None:
    old = ROOT.intermediate("Old RSA", key=KeyType.RSA2048)
    leaf = old.issue(NAME, signature_hash="sha1")
    store = trust(Authority.root("Other"))
    assert Code.WEAK_SIGNATURE in codes(judge((leaf, old)))
    assert Code.BAD_SIGNATURE not in codes(judge((leaf, old), view(store)))
    assert presented_path([value(leaf), value(old)]) == (value(leaf), value(old))


def test_a_common_name_alone_is_a_name_to_openssl_and_none_to_the_web_pki() -> None:
    chain = (ISSUING.issue(subject=NAME), ISSUING)
    assert [edge.accepted for edge in judge(chain, *both_verifiers(trust(ROOT))).edges] == [True, False]
    assert codes(judge(chain)) == {Code.COMMON_NAME_ONLY, Code.NONCONFORMING}
    assert Code.HOSTNAME_MISMATCH in codes(judge(chain, view(trust(ROOT), VerifierName.WEBPKI)))


def test_what_only_looks_like_a_common_name_is_none() -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"CN={NAME}")])
    leaf = ISSUING.issue(subject=subject)
    assert "CN=" in value(leaf).subject
    assert Code.COMMON_NAME_ONLY not in codes(judge((leaf, ISSUING)))


def test_a_presented_root_is_a_notice() -> None:
    (found,) = judge((ISSUING.issue(NAME), ISSUING, ROOT)).findings
    assert (found.code, found.severity) == (Code.ROOT_PRESENTED, Severity.NOTICE)


def test_a_certificate_that_no_path_needs_is_told_with_its_end() -> None:
    stray = Authority.root("Stray", not_before=NOW - 20 * DAY, not_after=NOW - DAY)
    (found,) = judge((ISSUING.issue(NAME), ISSUING, stray)).findings
    assert (found.code, found.severity, found.subject) == (
        Code.UNNEEDED_CERTIFICATE,
        Severity.NOTICE,
        "position 2",
    )


def test_an_expired_cross_signed_intermediate_beside_a_good_path_does_not_alarm() -> None:
    """The way AddTrust and DST Root X3 ended: the end of what a verifier does not use is not the end of the chain."""
    ancient = Authority.root("Ancient", not_before=NOW - 900 * DAY, not_after=NOW - DAY)
    crossed = ancient.cross_sign(ROOT, not_before=NOW - 900 * DAY, not_after=NOW - DAY)
    leaf = ISSUING.issue(NAME)
    assessment = judge((leaf, ISSUING, crossed))
    assert [edge.accepted for edge in assessment.edges] == [True]
    assert codes(assessment) == {Code.UNNEEDED_CERTIFICATE}
    assert assessment.expiry == value(leaf).not_after


def test_addresses_that_differ_disagree() -> None:
    one, two = ISSUING.issue(NAME), ISSUING.issue(NAME)
    observation = EndpointObservation("web", NOW, (presented(one, ISSUING), presented(two, ISSUING, address="::1")))
    assessment = assess_endpoint(observation, EndpointContext(ENDPOINT, (view(trust(ROOT)),)), NOW)
    assert codes(assessment) == {Code.ENDPOINTS_DISAGREE}
    groups = sorted([f"{value(one).short_sha256} at 127.0.0.1", f"{value(two).short_sha256} at ::1"])
    told = "; ".join(groups)
    assert assessment.findings[0].detail == f"addresses present different certificates (sha256): {told}"


def test_a_finding_on_one_of_several_addresses_names_it() -> None:
    dark = Unreachable(Printable("::1"), UnreachableReason.CONNECTION_REFUSED, Printable("Connection refused"))
    seen = (presented(ISSUING.issue(NAME), ISSUING),)
    for answering, told in ((seen, "Connection refused (at ::1)"), ((), "Connection refused")):
        observation = EndpointObservation("web", NOW, answering, (dark,))
        (found,) = assess_endpoint(observation, EndpointContext(ENDPOINT, (view(trust(ROOT)),)), NOW).findings
        assert (found.code, found.detail) == (Code.UNREACHABLE, f"connection_refused: {told}")


def test_many_addresses_that_disagree_are_told_in_short() -> None:
    one, two = ISSUING.issue(NAME), ISSUING.issue(NAME)
    many = [presented(one, ISSUING, address=f"192.0.2.{number}") for number in range(10, 50)]
    (found,) = judge_agreement([*many, presented(two, ISSUING, address="::1")])
    assert f"{value(one).short_sha256} at 192.0.2.10, 192.0.2.11, " in found.detail
    assert "192.0.2.17 and 32 more" in found.detail
    assert f"{value(two).short_sha256} at ::1" in found.detail


def test_certificates_for_two_kinds_of_key_agree_where_both_are_asked_for() -> None:
    ec, rsa, other = ISSUING.issue(NAME), ISSUING.issue(NAME, key=KeyType.RSA2048), ISSUING.issue(NAME)
    endpoint = replace(ENDPOINT, key_types=(KeyKind.RSA, KeyKind.EC))
    both = tuple(presented(each, ISSUING, address=address) for each in (rsa, ec) for address in ("192.0.2.1", "::1"))
    context = EndpointContext(endpoint, (view(trust(ROOT)),))
    assert codes(assess_endpoint(EndpointObservation("web", NOW, both), context, NOW)) == set()
    odd = EndpointObservation("web", NOW, (*both, presented(other, ISSUING, address="192.0.2.2")))
    (found,) = assess_endpoint(odd, context, NOW).findings
    assert (found.code, found.subject) == (Code.ENDPOINTS_DISAGREE, "ec")


@pytest.mark.parametrize(
    ("use", "fault", "detail"),
    [
        (Use.REFUSED, "the server refused it with the alert unknown_ca", "refused: the server refused it"),
        (Use.REQUIRED, "/client.key: Permission denied", "unusable: /client.key: Permission denied"),
        (Use.UNUSABLE, "/client.key: Permission denied", "unusable: /client.key: Permission denied"),
        (Use.REQUIRED, "", None),
        (Use.REQUESTED, "", None),
        (Use.ACCEPTED, "", None),
    ],
)
def test_a_client_certificate_that_serves_nobody_is_a_warning_beside_a_chain_that_was_seen(
    use: Use, fault: str, detail: str | None
) -> None:
    seen = replace(
        presented(ISSUING.issue(NAME), ISSUING), client_certificate=use, client_certificate_fault=harmless(fault)
    )
    assessment = assess_endpoint(
        EndpointObservation("web", NOW, (seen,)), EndpointContext(ENDPOINT, (view(trust(ROOT)),)), NOW
    )
    assert [edge.accepted for edge in assessment.edges] == [True]
    told = [(each.code, each.severity, each.subject) for each in assessment.findings]
    if detail is None:
        assert told == []
    else:
        assert told == [(Code.CLIENT_CERTIFICATE_FAILED, Severity.WARNING, "127.0.0.1")]
        assert assessment.findings[0].detail.startswith(detail)


def test_a_certificate_on_disk_that_is_not_served_counts_after_the_grace() -> None:
    served, renewed = ISSUING.issue(NAME), ISSUING.issue(NAME)
    on_disk = OnDisk((value(renewed),), since=NOW, grace=120, where="/etc/web.pem")
    early = judge((served, ISSUING), on_disk=on_disk, now=NOW + 119)
    assert codes(early) == set()
    assert early.until == NOW + 120
    assert codes(judge((served, ISSUING), on_disk=on_disk, now=NOW + 120)) == {Code.NOT_SERVED}
    assert codes(judge((renewed, ISSUING), on_disk=on_disk, now=NOW + 120)) == set()
    # The set was whole only later: the grace counts from then, the file holds its certificate for longer.
    late = judge((served, ISSUING), on_disk=replace(on_disk, held_since=NOW - 300), now=NOW + 120)
    assert f" since {utc(NOW - 300)}, but" in late.findings[0].detail


@pytest.mark.parametrize("verifier", VerifierName)
def test_one_store_serves_verdicts_at_many_times(verifier: VerifierName) -> None:
    """OpenSSL keeps the first time that a store is given: whoever shares a store judges the past."""
    store = trust(ROOT)
    for begin in (NOW - 3000, NOW - 2000, NOW - 1000):
        chain = (ISSUING.issue(NAME, not_before=begin), ISSUING)
        at = {moment: judge(chain, view(store, verifier), now=moment).edges[0].accepted for moment in (begin, NOW)}
        assert at == {begin: True, NOW: True}
        assert not judge(chain, view(store, verifier), now=begin - 1).edges[0].accepted


@pytest.mark.parametrize("verifier", VerifierName)
def test_an_anchor_among_many_is_found_by_its_name(verifier: VerifierName) -> None:
    mozilla = read_trust(TrustStore("mozilla", CertifiStore()))
    assert isinstance(mozilla, Trust)
    store = Trust("many", (*mozilla.anchors, value(ROOT)))
    chain = (ISSUING.issue(NAME), ISSUING)
    assert judge(chain, view(store, verifier)).edges[0].accepted
    assert not judge(chain, view(mozilla, verifier)).edges[0].accepted


def test_an_old_protocol_is_told() -> None:
    observation = EndpointObservation("web", NOW, (replace(presented(ISSUING.issue(NAME), ISSUING), version="TLSv1"),))
    assessment = assess_endpoint(observation, EndpointContext(ENDPOINT, (view(trust(ROOT)),)), NOW)
    assert codes(assessment) == {Code.OBSOLETE_PROTOCOL}
    allowing = replace(ENDPOINT, tls=AllowedTLS(frozenset(TLSVersion)))
    assert assess_endpoint(observation, EndpointContext(allowing, (view(trust(ROOT)),)), NOW).findings == ()


@pytest.mark.parametrize(
    ("cipher", "severity"),
    [
        ("NULL-SHA256", "critical"),
        ("ECDHE-RSA-NULL-SHA", "critical"),
        ("ADH-AES256-GCM-SHA384", "critical"),
        ("AECDH-AES128-SHA", "critical"),
        ("TLS_SHA256_SHA256", "critical"),
        ("DES-CBC3-SHA", "notice"),
        ("ECDHE-RSA-RC4-SHA", "notice"),
        ("EXP-RC2-CBC-MD5", "notice"),
        ("ECDHE-RSA-AES128-SHA256", None),
        ("TLS_AES_128_GCM_SHA256", None),
    ],
)
def test_a_cipher_that_protects_nobody_is_critical(cipher: str, severity: str | None) -> None:
    observation = EndpointObservation("web", NOW, (replace(presented(ISSUING.issue(NAME), ISSUING), cipher=cipher),))
    found = assess_endpoint(observation, EndpointContext(ENDPOINT, (view(trust(ROOT)),)), NOW).findings
    assert [(each.code, each.severity) for each in found] == ([(Code.WEAK_CIPHER, severity)] if severity else [])


@pytest.mark.parametrize(("failures", "severity"), [(1, "warning"), (2, "warning"), (3, "critical"), (9, "critical")])
def test_unreachable_grows_critical_over_three_looks(failures: int, severity: str) -> None:
    refused = Unreachable(Printable("127.0.0.1"), UnreachableReason.CONNECTION_REFUSED, Printable("port 443 is closed"))
    context = EndpointContext(ENDPOINT, (view(trust(ROOT)),), failures_in_a_row=failures)
    (found,) = assess_endpoint(EndpointObservation("web", NOW, (), (refused,)), context, NOW).findings
    assert (found.code, found.severity) == (Code.UNREACHABLE, severity)


def test_what_was_presented_is_still_judged_while_nothing_answers() -> None:
    refused = Unreachable(Printable("127.0.0.1"), UnreachableReason.CONNECTION_REFUSED, Printable("port 443 is closed"))
    context = EndpointContext(ENDPOINT, (view(trust(ROOT)),), last_known=(presented(ISSUING.issue(NAME)),))
    assessment = assess_endpoint(EndpointObservation("web", NOW, (), (refused,)), context, NOW)
    assert codes(assessment) == {Code.UNREACHABLE, Code.INCOMPLETE_CHAIN, Code.CLIENT_REJECTS}
    assert assessment.expiry is not None


LOWER = ISSUING.intermediate("Lower")
DEEP = (LOWER.issue(NAME), LOWER, ISSUING, ROOT)


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(DEEP)))))
def test_any_order_of_a_chain_gives_the_same_path_and_is_told(order: Sequence[int]) -> None:
    chain = [DEEP[index] for index in order]
    assert presented_path([value(each) for each in chain]) == tuple(map(value, DEEP))
    assessment = judge(chain)
    assert [edge.accepted for edge in assessment.edges] == [True]
    assert (Code.WRONG_ORDER in codes(assessment)) == (list(order) != sorted(order))


@settings(max_examples=examples(60), deadline=None)
@given(days=st.integers(1, 4000), moments=st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_severity_never_falls_as_time_passes(days: int, moments: list[float]) -> None:
    leaf = ISSUING.issue(NAME, not_before=NOW, not_after=NOW + days * DAY)
    worst = []
    for share in sorted(moments):
        found = judge((leaf, ISSUING), now=NOW + share * days * DAY * 1.1).findings
        times = [
            each.severity.rank + (10 if each.code is Code.EXPIRED else 0)
            for each in found
            if each.subject == "position 0" and each.code in {Code.EXPIRING, Code.EXPIRED}
        ]
        worst.append(max(times, default=-1))
    assert worst == sorted(worst)


@settings(max_examples=examples(60), deadline=None)
@given(days=st.integers(1, 4000), share=st.floats(0, 1.2))
def test_a_verdict_holds_until_the_moment_it_names(days: int, share: float) -> None:
    leaf = ISSUING.issue(NAME, not_before=NOW, not_after=NOW + days * DAY)
    now = NOW + share * days * DAY
    first = judge((leaf, ISSUING), now=now)
    if first.until is not None:
        assert judge((leaf, ISSUING), now=(now + first.until) / 2).findings == first.findings
        assert first.until > now
