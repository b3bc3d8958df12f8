"""Findings that depend on what a site says of its servers and clients, and never the verdict of a client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from config.expected import AllowedTLS, DefaultCertificate, ValidationSwitch
from config.model import FileTarget
from config.text import Printable
from config.vocabulary import (
    CertificateOrigin,
    Code,
    FileContent,
    FileRole,
    OwnCertificate,
    Sending,
    Severity,
    TLSVersion,
)
from monitor.lab.ca import DAY, Authority, Issued, self_signed
from probes.assess import EndpointContext, FileContext, assess_endpoint, assess_file
from probes.file import look_at_file
from probes.finding import Assessment, Finding
from probes.judge.client import View
from probes.judge.roots import LackingClient, lacking, origin_of, root_of
from probes.judge.sharing import FileKeys, SharingServer, judge_shared_files, servers_leaf
from probes.observation import EndpointObservation
from probes.properties import value_of
from probes.property_edit import with_value
from probes.validation import SwitchReading, SwitchUnreadable, judge_switch, read_switch
from tests.kit.candidates import ENDPOINT, ISSUING, NAME, NOW, ROOT, presented, value, view

OTHER = Authority.root("Another Root")
FEDERATION = Authority.root("Appliance Federation CA")
SELF = self_signed("appliance")
LEAF = ISSUING.issue(NAME)
SIGNS = DefaultCertificate(self_signed=True, issuers=("CN=Appliance Federation*",))


def judge(
    chain: Sequence[Issued], *views: View, sharing: Sequence[SharingServer] = (), **endpoint: object
) -> Assessment:
    observation = EndpointObservation(ENDPOINT.name, NOW, presented(chain))
    where = replace(ENDPOINT, **endpoint)  # type: ignore[arg-type]
    return assess_endpoint(observation, EndpointContext(where, views or (view(ROOT),), sharing=tuple(sharing)), NOW)


def by_code(assessment: Assessment) -> dict[Code, Finding]:
    return {each.code: each for each in assessment.findings}


class TestADefaultCertificate:
    @pytest.mark.parametrize(
        ("own", "severity"), [(OwnCertificate.EXPECTED, "warning"), (OwnCertificate.MANDATORY, "critical")]
    )
    @pytest.mark.parametrize(
        "chain", [(SELF,), (FEDERATION.issue("appliance"),), (FEDERATION.issue("box"), FEDERATION)]
    )
    def test_is_one_finding_instead_of_a_pile(
        self, chain: Sequence[Issued], own: OwnCertificate, severity: str
    ) -> None:
        assessment = judge(chain, default_certificate=replace(SIGNS, own=own))
        found = by_code(assessment)
        assert found.keys() - {Code.ROOT_PRESENTED} == {Code.DEFAULT_CERTIFICATE, Code.CLIENT_REJECTS}
        assert {found[Code.DEFAULT_CERTIFICATE].severity, found[Code.CLIENT_REJECTS].severity} == {severity}
        (edge,) = assessment.edges
        assert not edge.accepted
        assert "is the default certificate" in edge.why
        assert edge.why.endswith("to cure it, replace it by a certificate of a CA that the clients trust")

    def test_hides_nothing_else_that_is_wrong_with_it(self) -> None:
        old = FEDERATION.issue("appliance", not_before=NOW - 9 * DAY, not_after=NOW - DAY)
        found = by_code(judge((old,), default_certificate=SIGNS))
        assert found[Code.EXPIRED].severity is Severity.CRITICAL
        assert found[Code.CLIENT_REJECTS].severity is Severity.CRITICAL

    def test_that_is_good_enough_is_informational_and_explains_no_rejection(self) -> None:
        found = by_code(judge((SELF,), default_certificate=replace(SIGNS, own=OwnCertificate.OPTIONAL)))
        assert found[Code.DEFAULT_CERTIFICATE].severity is Severity.INFORMATIONAL
        assert found[Code.SELF_SIGNED].severity is found[Code.CLIENT_REJECTS].severity is Severity.CRITICAL

    def test_is_told_where_a_client_accepts_it_too(self) -> None:
        chain = (FEDERATION.issue(NAME),)
        assessment = judge(chain, view(FEDERATION), default_certificate=SIGNS)
        assert by_code(assessment).keys() == {Code.DEFAULT_CERTIFICATE}
        assert assessment.edges[0].accepted

    def test_is_none_without_a_sign_of_it(self) -> None:
        for chain in ((LEAF, ISSUING), (OTHER.issue(NAME),), (SELF,)):
            declared = replace(SIGNS, self_signed=False)
            assert Code.DEFAULT_CERTIFICATE not in by_code(judge(chain, default_certificate=declared))
        assert Code.DEFAULT_CERTIFICATE not in by_code(judge((SELF,)))

    def test_is_none_where_it_is_known_to_be_an_own_one_signed_by_its_own_key(self) -> None:
        own = SIGNS.but_for([value(SELF).sha256])
        assert Code.SELF_SIGNED in by_code(judge((SELF,), default_certificate=own))
        assert Code.DEFAULT_CERTIFICATE not in by_code(judge((SELF,), default_certificate=own))
        another = self_signed("appliance")
        assert Code.DEFAULT_CERTIFICATE in by_code(judge((another,), default_certificate=own))
        # The product's own name on it speaks louder.
        named = FEDERATION.issue("appliance")
        assert Code.DEFAULT_CERTIFICATE in by_code(
            judge((named,), default_certificate=SIGNS.but_for([value(named).sha256]))
        )

    def test_is_told_of_the_file_as_well(self, tmp_path: Path) -> None:
        path = tmp_path / "certificate.pem"
        path.write_bytes(SELF.pem())
        target = FileTarget("web/certificate", str(path), FileRole.CERTIFICATE, "web", default_certificate=SIGNS)
        found = assess_file(look_at_file(target, NOW), FileContext(target), NOW).findings
        assert [each.severity for each in found if each.code is Code.DEFAULT_CERTIFICATE] == [Severity.WARNING]


class TestIntermediates:
    def test_that_a_server_is_not_expected_to_send_are_what_a_client_lacks(self) -> None:
        holding = replace(view(ROOT, name="finder"), held=(value(ISSUING),))
        assessment = judge((LEAF,), view(ROOT), holding, sends_intermediates=Sending.NOT_EXPECTED)
        assert {each.client: each.accepted for each in assessment.edges} == {"browser": False, "finder": True}
        found = by_code(assessment)
        assert found[Code.INCOMPLETE_CHAIN].severity is Severity.NOTICE
        assert found[Code.CLIENT_REJECTS].severity is Severity.CRITICAL
        why = assessment.edges[0].why
        assert "the certificate of CN=Issuing, which issued" in why
        assert "the server is not expected to send it" in why
        assert why.endswith("add that certificate to the intermediates that browser holds, or to its trust store")

    def test_are_the_servers_fault_where_nobody_says_otherwise(self) -> None:
        for expected in (None, Sending.EXPECTED):
            found = by_code(judge((LEAF,), sends_intermediates=expected))
            assert found[Code.INCOMPLETE_CHAIN].severity is Severity.CRITICAL

    def test_that_it_is_expected_to_send_are_missed_although_each_client_holds_them(self) -> None:
        holding = replace(view(ROOT), held=(value(ISSUING),))
        found = by_code(judge((LEAF,), holding, sends_intermediates=Sending.EXPECTED))
        assert found.keys() == {Code.INCOMPLETE_CHAIN}
        assert found[Code.INCOMPLETE_CHAIN].severity is Severity.WARNING
        assert "does not send CN=Issuing, which browser has by itself" in found[Code.INCOMPLETE_CHAIN].detail
        for sends, chain in ((None, (LEAF,)), (Sending.EXPECTED, (LEAF, ISSUING))):
            assert not judge(chain, holding, sends_intermediates=sends).findings

    def test_over_several_levels_are_each_missed_and_put_in_order(self) -> None:
        middle = ISSUING.intermediate("Middle")
        lower = middle.intermediate("Lower")
        leaf = lower.issue(NAME)
        assert not judge((leaf, lower, middle, ISSUING)).findings
        assert by_code(judge((leaf, middle, lower, ISSUING))).keys() == {Code.WRONG_ORDER}
        for missing in ((leaf,), (leaf, middle, ISSUING), (leaf, ISSUING)):
            found = by_code(judge(missing))
            assert "CN=Lower" in found[Code.INCOMPLETE_CHAIN].detail


class TestASharedKey:
    ELSEWHERE = SharingServer("engine-2", "engine2.example.com", frozenset({value(LEAF).public_key_sha256()}))

    def test_is_told_where_the_certificate_does_not_carry_the_names_of_both(self) -> None:
        (found,) = judge((LEAF, ISSUING), sharing=[self.ELSEWHERE]).findings
        assert (found.code, found.severity) == (Code.KEY_SHARED, Severity.WARNING)
        assert found.detail.startswith("engine-2 also has the key of CN=")
        assert found.detail.endswith("and the certificate does not carry engine2.example.com")

    def test_is_meant_where_the_certificate_carries_the_names_of_both(self) -> None:
        both = ISSUING.issue(NAME, "engine2.example.com")
        wildcard = ISSUING.issue("*.example.com")
        for leaf in (both, wildcard):
            there = replace(self.ELSEWHERE, keys=frozenset({value(leaf).public_key_sha256()}))
            assert not judge((leaf, ISSUING), sharing=[there]).findings

    def test_is_one_of_another_certificate_too(self) -> None:
        again = ISSUING.issue("engine2.example.com", key=LEAF.key)
        assert value(again).public_key_sha256() in self.ELSEWHERE.keys
        assert by_code(judge((again, ISSUING), sharing=[replace(self.ELSEWHERE, name=NAME)])).keys() >= {
            Code.KEY_SHARED
        }


class TestAKeyOfSeveralFiles:
    OTHER = ISSUING.issue("engine2.example.com", key=LEAF.key)

    @staticmethod
    def shared(*others: Issued, now: float = NOW) -> list[str]:
        keys = FileKeys()
        for number, each in enumerate((LEAF, *others)):
            keys.note(f"/etc/{number}.crt", servers_leaf(FileContent.LEAF, [value(each)]))
        found = judge_shared_files(value(LEAF), keys.sharing("/etc/0.crt"), now)
        return [each.detail for each in found if each.severity is Severity.NOTICE]

    def test_is_told_where_each_has_names_that_the_other_one_has_not(self) -> None:
        (found,) = self.shared(self.OTHER, self.OTHER)
        assert found.startswith("/etc/1.crt also has a certificate for the key of CN=")
        assert found.endswith("with other names")

    @pytest.mark.parametrize(
        "names", [(NAME,), (NAME, "more.example.com"), ("*.example.com",), ("www.example.com", "*.example.com")]
    )
    def test_is_none_of_a_renewal(self, names: tuple[str, ...]) -> None:
        assert self.shared(ISSUING.issue(*names, key=LEAF.key)) == []

    def test_is_none_of_what_is_over_and_of_cas(self) -> None:
        assert self.shared(self.OTHER, now=NOW + 400 * DAY) == []
        assert self.shared(ISSUING.issue("engine2.example.com", key=LEAF.key, ca=True)) == []

    def test_is_over_once_one_of_them_has_another(self) -> None:
        keys = FileKeys()
        for path, leaf in (("a", LEAF), ("b", self.OTHER), ("b", ISSUING.issue("engine2.example.com")), ("a", LEAF)):
            keys.note(path, value(leaf))
        assert keys.sharing("a") == ()
        keys.note("b", None)
        assert keys.sharing("b") == ()

    def test_of_very_many_is_compared_with_those_that_came_first_alone(self) -> None:
        keys, leaves = FileKeys(), [value(ISSUING.issue(f"{each}.example.com", key=LEAF.key)) for each in range(40)]
        for number, leaf in enumerate(leaves):
            keys.note(f"/{number}", leaf)
        keys.note("/copy", leaves[3])
        assert [each.leaf for each in keys.sharing("/39")] == leaves[:32]
        assert [each.leaf for each in keys.sharing("/copy")] == [*leaves[:3], *leaves[4:33]]
        assert [each for each in range(40) if keys.is_one_of_many(f"/{each}")] == list(range(33, 40))
        keys.note("/3", None)
        assert keys.sharing("/0")[2].path == "/copy"


class TestWhatIsNegotiated:
    @pytest.mark.parametrize(
        ("allowed", "code"),
        [
            (AllowedTLS(), None),
            (AllowedTLS(frozenset({TLSVersion.TLS1_2})), Code.OBSOLETE_PROTOCOL),
            (AllowedTLS(ciphers=("TLS_AES_256_GCM_SHA384",)), None),
            (AllowedTLS(ciphers=("ECDHE-*", "TLS_AES_*")), None),
            (AllowedTLS(ciphers=("ECDHE-*", "TLS_CHACHA20_*")), Code.WEAK_CIPHER),
        ],
    )
    def test_is_compared_with_what_the_site_allows(self, allowed: AllowedTLS, code: Code | None) -> None:
        found = judge((LEAF, ISSUING), tls=allowed).findings
        assert [(each.code, each.severity) for each in found] == ([(code, Severity.WARNING)] if code else [])

    def test_protects_nobody_whatever_the_site_allows(self) -> None:
        (one,) = presented((LEAF, ISSUING))
        observation = EndpointObservation("web", NOW, (replace(one, version="TLSv1.2", cipher="NULL-SHA256"),))
        endpoint = replace(ENDPOINT, tls=AllowedTLS(ciphers=("*",)))
        (found,) = assess_endpoint(observation, EndpointContext(endpoint, (view(ROOT),)), NOW).findings
        assert (found.code, found.severity) == (Code.WEAK_CIPHER, Severity.CRITICAL)


SWITCH = ValidationSwitch("/etc/portal.conf", "globalconfig.portal.ignore", "true", "true")


class TestASwitchOfValidation:
    @pytest.mark.parametrize(
        ("content", "validates"),
        [
            (b"globalconfig.portal.ignore=true\n", False),
            (b"globalconfig.portal.ignore = TRUE\r\n", False),
            (b"globalconfig.portal.ignore: false", True),
            (b'globalconfig.portal.ignore="false"\n', True),
            (b"# globalconfig.portal.ignore=false\n", False),
            (b"globalconfig.portal.ignored=false\n", False),
            (b"\xef\xbb\xbfglobalconfig.portal.ignore=false\nglobalconfig.portal.ignore=true\n", False),
            (b"globalconfig.portal.ignore=\\\n   false\n", True),
            (b"", False),
        ],
    )
    def test_is_as_the_file_says_and_else_as_shipped(self, content: bytes, validates: bool) -> None:
        read = judge_switch(SWITCH, content)
        assert read.validates is validates
        assert bool(read.disabled) is not validates
        absent = replace(SWITCH, default=None)
        assert judge_switch(absent, b"other=1\n").validates

    def test_that_is_off_is_told_and_the_client_judged_as_one_that_connects_all_the_same(self) -> None:
        read = judge_switch(SWITCH, b"globalconfig.portal.ignore=true\n")
        believing = replace(view(OTHER, name="portal", validates=False), disabled=read.disabled)
        assessment = judge((LEAF, ISSUING), believing)
        found = by_code(assessment)
        assert found[Code.CLIENT_REJECTS].severity is Severity.NOTICE
        assert (found[Code.VALIDATION_DISABLED].severity, found[Code.VALIDATION_DISABLED].subject) == (
            "warning",
            "portal",
        )
        assert found[Code.VALIDATION_DISABLED].detail == (
            "portal does not validate: /etc/portal.conf says globalconfig.portal.ignore=true; to cure it, give "
            "globalconfig.portal.ignore in /etc/portal.conf another value than true, or: certvigil trust enforce portal"
        )
        (edge,) = assessment.edges
        assert edge.accepted
        assert "says globalconfig.portal.ignore=true" in edge.unvalidated

    def test_is_no_finding_where_the_configuration_itself_says_that_it_does_not_validate(self) -> None:
        assessment = judge((LEAF, ISSUING), view(ROOT, validates=False))
        assert not assessment.findings
        assert assessment.edges[0].unvalidated == Printable("the configuration says `validates: false`")

    def test_gives_no_facts_where_its_file_cannot_be_read(self, tmp_path: Path) -> None:
        path = tmp_path / "portal.conf"
        there = replace(SWITCH, file=str(path))
        assert read_switch(there) == SwitchUnreadable(str(path), "No such file or directory")
        path.write_bytes(b"globalconfig.portal.ignore=false\n")
        assert read_switch(there) == SwitchReading(validates=True)
        assert isinstance(read_switch(replace(SWITCH, file=str(tmp_path))), SwitchUnreadable)


def test_a_value_of_properties_is_read_as_java_does() -> None:
    text = b"a.b = one\\\n  two\\u0041\\t\n!c=1\nkey\\ with\\:space=x\nempty\nlast:1\nlast 2"
    assert value_of(text, "a.b") == "onetwoA"
    assert value_of(text, "c") is None
    assert value_of(text, "key with:space") == "x"
    assert value_of(text, "empty") == ""
    assert value_of(text, "last") == "2"


@pytest.mark.parametrize("data", [b"", b"a=1\r\n", b"# a.b=x\na.b : 2", b'\xef\xbb\xbfa.b=1\na.b="2"\n', b"a.b\n"])
def test_a_value_that_was_set_is_the_one_that_is_read(data: bytes) -> None:
    edited = with_value(data, "a.b", "true")
    assert isinstance(edited, bytes)
    assert (value_of(edited, "a.b") or "").strip('"') == "true"


class TestARoot:
    CHAIN = (value(LEAF), value(ISSUING))

    def test_that_a_clients_store_lacks_is_named(self) -> None:
        has, lacks = view(ROOT, name="browser"), view(OTHER, name="portal")
        trusts = (has.trust, lacks.trust)
        assert root_of(self.CHAIN, trusts) == value(ROOT)
        assert lacking(self.CHAIN, (has, lacks), trusts, NOW) == (
            LackingClient("portal", "portal's store", value(ROOT), value(ROOT).title),
        )

    def test_that_is_nowhere_at_hand_is_called_the_issuer_of_the_last_that_is(self) -> None:
        (found,) = lacking(self.CHAIN, (view(OTHER),), (view(OTHER).trust,), NOW)
        assert (found.root, found.issuer) == (None, f"the issuer of {value(ISSUING).title}, {value(ROOT).subject}")

    def test_is_lacked_by_nobody_who_has_it_and_rejects_for_something_else(self) -> None:
        ended = value(ISSUING.issue(NAME, not_before=NOW - 9 * DAY, not_after=NOW - DAY))
        has = view(ROOT)
        assert lacking((ended, value(ISSUING)), (has,), (has.trust,), NOW) == ()

    def test_tells_who_issued(self) -> None:
        mine = view(ROOT).trust
        public = replace(mine, public=True)
        assert origin_of(self.CHAIN, value(ROOT), (mine,), None) is CertificateOrigin.OWN_CA
        assert origin_of(self.CHAIN, value(ROOT), (mine, public), None) is CertificateOrigin.PUBLIC_CA
        assert origin_of(self.CHAIN, None, (mine,), None) is CertificateOrigin.UNKNOWN
        assert origin_of((value(SELF),), None, (mine,), None) is CertificateOrigin.SELF_SIGNED
        assert origin_of((value(SELF),), None, (mine,), SIGNS) is CertificateOrigin.DEFAULT
