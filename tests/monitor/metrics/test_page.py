from __future__ import annotations

import re
import subprocess
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.text import Printable, printable
from config.vocabulary import ClientCertificateUse, Code, Severity, TargetKind
from monitor.lab.ca import Authority
from monitor.lab.process import find_command
from monitor.metrics import Counters, Page, Piece, piece, plain_text
from monitor.metrics import family as family_module
from monitor.state.target import Raised, TargetState
from probes.certificate import certificate
from probes.finding import Edge, finding
from probes.judge.tls import SUPPORTED
from probes.observation import Presented
from probes.ocsp import OCSPAnswer, staple_of
from probes.tls.support import Supported, SupportedVersion
from tests.kit.asking_servers import ocsp_response
from tests.kit.metrics import page_of, samples, some_certificate, some_file, text_of, value


def test_each_fact_of_a_target_is_a_series() -> None:
    leaf, issuer = some_certificate("www.example.com"), some_certificate("ca", not_after=1_900_000_000)
    raised: dict[tuple[Code, str], Raised] = {
        (each.code, each.subject): Raised(each, 1.0)
        for each in (
            finding(Code.WEAK_KEY, Printable("too short"), Printable("position 0")),
            finding(Code.WEAK_KEY, Printable("too short"), Printable("position 1")),
            finding(Code.CLIENT_REJECTS, Printable("java does not trust it"), Printable("java")),
        )
    }
    known = TargetState(
        "mail",
        TargetKind.ENDPOINT,
        "mail.example.com:443",
        "post",
        presented=(leaf, issuer),
        findings=raised,
        edges=(Edge("browser", accepted=True), Edge("java", accepted=False, why=Printable("unknown issuer"))),
        expiry=1_800_000_000,
        last_look=1_795_000_000.25,
    )
    assert samples(text_of(page_of([known]))) == {
        (name, frozenset(labels.items())): number
        for name, labels, number in (
            (
                "certvigil_target_info",
                {"target": "mail", "kind": "endpoint", "component": "post", "location": "mail.example.com:443"},
                1,
            ),
            ("certvigil_target_up", {"target": "mail"}, 1),
            ("certvigil_target_expiry_timestamp_seconds", {"target": "mail"}, 1_800_000_000),
            ("certvigil_target_last_look_timestamp_seconds", {"target": "mail"}, 1_795_000_000.25),
            ("certvigil_not_before_timestamp_seconds", {"target": "mail"}, 1_700_000_000),
            ("certvigil_not_after_timestamp_seconds", {"target": "mail", "position": "0"}, 1_800_000_000),
            ("certvigil_not_after_timestamp_seconds", {"target": "mail", "position": "1"}, 1_900_000_000),
            (
                "certvigil_presented_info",
                {"target": "mail", "component": "post", "position": "0", "sha256": leaf.sha256},
                1,
            ),
            (
                "certvigil_presented_info",
                {"target": "mail", "component": "post", "position": "1", "sha256": issuer.sha256},
                1,
            ),
            ("certvigil_findings", {"target": "mail", "code": "weak_key", "severity": "warning"}, 2),
            ("certvigil_findings", {"target": "mail", "code": "client_rejects", "severity": "critical"}, 1),
            ("certvigil_client_accepts", {"target": "mail", "client": "browser"}, 1),
            ("certvigil_client_accepts", {"target": "mail", "client": "java"}, 0),
            *(
                (
                    "certvigil_certificate_info",
                    {
                        "sha256": each.sha256,
                        "subject": each.subject,
                        "issuer": "CN=Lab Issuing CA",
                        "serial": "2a",
                        "key": "ec 256",
                        "signature_hash": "sha256",
                        "signature": "",
                        "ca": "false",
                    },
                    1,
                )
                for each in (leaf, issuer)
            ),
        )
    }


def test_what_an_endpoint_negotiates_is_a_series_for_each_pair_and_whether_it_is_allowed() -> None:
    def at(address: str, version: str, cipher: str) -> Presented:
        return Presented(Printable(address), (some_certificate(),), version, cipher, "x25519")

    new, old = ("TLSv1.3", "TLS_AES_256_GCM_SHA384"), ("TLSv1", "DES-CBC3-SHA")
    addresses = (at("192.0.2.1", *new), at("192.0.2.2", *new), at("192.0.2.3", *old))
    known = TargetState("mail", TargetKind.ENDPOINT, "mail:443", last_look=1.0, addresses=addresses)
    found = finding(Code.OBSOLETE_PROTOCOL, Printable("negotiated TLSv1"), Printable("192.0.2.3"))
    text = text_of(page_of([replace(known, findings={(found.code, found.subject): Raised(found, 1.0)})]))
    for version, cipher in (new, old):
        assert (
            value(text, "certvigil_negotiated_info", target="mail", protocol=version, cipher=cipher, group="x25519")
            == 1
        )
    assert text.count("\ncertvigil_negotiated_info{") == 2
    assert value(text, "certvigil_negotiated_allowed", target="mail") == 0
    page = page_of([known])
    assert value(text_of(page), "certvigil_negotiated_allowed", target="mail") == 1
    # What a server negotiated before it went away is not known of it now.
    page.update(replace(known, failure=("timed_out", "it is silent")))
    assert "\ncertvigil_negotiated_" not in text_of(page)


def test_what_a_server_wants_of_its_clients_and_what_it_staples_are_series() -> None:
    root = Authority.root()
    leaf = root.issue("www.example.com")
    chain = (certificate(leaf.der()), certificate(root.der()))
    staple = ocsp_response(leaf, root)
    seen = Presented(Printable("192.0.2.1"), chain, "TLSv1.3", "c", "g", staple, ClientCertificateUse.REQUIRED)
    # Its issuer does not come with it, so nobody vouches for the staple.
    alone = replace(seen, address=Printable("192.0.2.2"), chain=chain[:1])
    known = TargetState("mail", TargetKind.ENDPOINT, "mail:443", last_look=1.0, addresses=(seen, alone))
    text = text_of(page_of([known]))
    assert value(text, "certvigil_client_certificate_info", target="mail", use="required") == 1
    for verified in ("true", "false"):
        assert value(text, "certvigil_staple_info", target="mail", status="good", verified=verified) == 1
    answer = staple_of(seen)
    assert isinstance(answer, OCSPAnswer)
    assert value(text, "certvigil_staple_next_update_timestamp_seconds", target="mail") == answer.next_update
    vouched = text_of(page_of([replace(known, addresses=(alone,), issuers=chain[1:])]))
    assert value(vouched, "certvigil_staple_info", target="mail", status="good", verified="true") == 1
    bare = replace(seen, staple=b"", client_certificate=ClientCertificateUse.NOT_REQUESTED)
    page = page_of([known])
    page.update(replace(known, addresses=(bare,)))
    assert not re.search("certvigil_(client_certificate|staple)_[a-z_]+{", text_of(page))


def test_what_an_endpoint_supports_is_a_series_for_each_cipher_and_group_and_says_nothing_of_what_it_negotiates() -> (
    None
):
    modern = SupportedVersion("TLSv1.3", ("TLS_AES_128_GCM_SHA256",), ("X25519MLKEM768", "x25519"))
    supported = Supported(Printable("192.0.2.1"), (modern, SupportedVersion("TLSv1", ("AES128-SHA",))), at=7.0)
    found = finding(Code.OBSOLETE_PROTOCOL, Printable("supports TLSv1"), SUPPORTED)
    addresses = (Presented(Printable("192.0.2.1"), (some_certificate(),), "TLSv1.3", "TLS_AES_128_GCM_SHA256", ""),)
    known = TargetState("mail", TargetKind.ENDPOINT, "mail:443", last_look=1.0, addresses=addresses)
    page = page_of([known])
    assert "\ncertvigil_supported" not in text_of(page)
    known = replace(known, supported=supported, findings={(found.code, found.subject): Raised(found, 1.0)})
    page.update(known)
    text = text_of(page)
    assert value(text, "certvigil_supported_info", target="mail", protocol="TLSv1", cipher="AES128-SHA") == 1
    assert text.count("\ncertvigil_supported_info{") == 2
    groups = {"X25519MLKEM768", "x25519"}
    for group in groups:
        assert value(text, "certvigil_supported_group_info", target="mail", protocol="TLSv1.3", group=group) == 1
    assert value(text, "certvigil_supported_allowed", target="mail") == 0
    assert value(text, "certvigil_negotiated_allowed", target="mail") == 1
    assert value(text, "certvigil_supported_last_inquiry_timestamp_seconds", target="mail") == 7
    # The same answer later changes the time alone.
    page.update(replace(known, supported=replace(supported, at=9.0)))
    assert value(text_of(page), "certvigil_supported_last_inquiry_timestamp_seconds", target="mail") == 9


def test_labels_of_the_configuration_stand_on_the_targets_own_series_alone() -> None:
    known = replace(some_file("/a.pem", some_certificate()), labels=(("env", "prod"), ("team", 'web "one"')))
    page = page_of([known])
    text = text_of(page)
    labels = {"kind": "file", "component": "", "location": "/a.pem"}
    assert value(text, "certvigil_target_info", target="/a.pem", env="prod", team='web "one"', **labels) == 1
    assert text.count("prod") == 1
    page.update(replace(known, labels=()))
    assert "prod" not in text_of(page)


def test_each_target_says_how_often_it_is_due_and_what_is_due_at_no_time_does_not() -> None:
    intervals = {"mail": 30.0, "/a.pem": 86_400.0}
    page = Page(interval=lambda known: intervals.get(known.target))
    for known in (
        TargetState("mail", TargetKind.ENDPOINT, "mail:993"),
        TargetState("certvigil", TargetKind.SELF, "certvigil"),
    ):
        page.update(known)
    page.update(TargetState("/a.pem", TargetKind.FILE, "/a.pem"))
    assert value(text_of(page), "certvigil_target_interval_seconds", target="mail") == 30
    assert value(text_of(page), "certvigil_target_interval_seconds", target="/a.pem") == 86_400
    assert value(text_of(page), "certvigil_target_interval_seconds", target="certvigil") is None
    # A reload changes what no look has to.
    intervals["mail"] = 300.0
    page.reconfigure()
    assert value(text_of(page), "certvigil_target_interval_seconds", target="mail") == 300


def test_what_is_unknown_is_absent() -> None:
    undated = some_certificate(not_after=None)
    text = text_of(page_of([some_file("/a.pem", undated, last_look=None)]))
    names = {name for name, _ in samples(text)}
    assert "certvigil_presented_info" in names
    for absent in ("not_after", "target_expiry", "target_up", "target_last_look", "findings", "client_accepts"):
        assert not [name for name in names if name.startswith(f"certvigil_{absent}")], absent


def test_a_failed_look_leaves_the_facts_and_shows_as_down() -> None:
    known = some_file("/a.pem", some_certificate())
    page = page_of([known])
    page.update(replace(known, failure=("bad_pem", "line 3 makes no sense"), failures=1))
    text = text_of(page)
    assert value(text, "certvigil_target_up", target="/a.pem") == 0
    assert value(text, "certvigil_not_after_timestamp_seconds", target="/a.pem") == 1_800_000_000
    assert "makes no sense" not in text
    assert "bad_pem" not in text


def test_a_certificate_that_two_targets_present_is_described_once_and_until_neither_does() -> None:
    shared = some_certificate()
    page = page_of([some_file("/a.pem", shared), some_file("/b.pem", shared)])
    assert value(text_of(page), "certvigil_certificate_info", sha256=shared.sha256) == 1
    page.remove("/a.pem")
    assert value(text_of(page), "certvigil_certificate_info", sha256=shared.sha256) == 1
    page.update(some_file("/b.pem", some_certificate("other")))
    assert value(text_of(page), "certvigil_certificate_info", sha256=shared.sha256) is None


def test_a_certificate_twice_in_one_chain_is_described_once() -> None:
    twice = some_certificate()
    known = some_file("/a.pem", twice, twice)
    page = page_of([known])
    text = text_of(page)
    assert value(text, "certvigil_certificate_info", sha256=twice.sha256) == 1
    assert value(text, "certvigil_presented_info", position="1", sha256=twice.sha256) == 1
    page.update(replace(known, presented=(twice,)))
    assert value(text_of(page), "certvigil_certificate_info", sha256=twice.sha256) == 1
    page.remove("/a.pem")
    assert not samples(text_of(page))


def test_a_change_shows_in_the_next_page() -> None:
    known = some_file("/a.pem", some_certificate())
    page = page_of([known, some_file("/b.pem")])
    text_of(page)
    page.update(replace(known, expiry=1_900_000_000, last_look=2.0))
    text = text_of(page)
    assert value(text, "certvigil_target_expiry_timestamp_seconds", target="/a.pem") == 1_900_000_000
    assert value(text, "certvigil_target_last_look_timestamp_seconds", target="/a.pem") == 2.0


def test_a_look_that_changes_nothing_makes_no_text_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    known = some_file("/a.pem", some_certificate())
    page = page_of([known])
    text_of(page)
    made: list[bytes] = []

    def counted(text: bytes) -> Piece:
        made.append(text)
        return piece(text)

    monkeypatch.setattr(family_module, "piece", counted)
    page.update(replace(known, last_look=7.0))
    assert value(text_of(page), "certvigil_target_last_look_timestamp_seconds") == 7.0
    assert [text for text in made if not text.startswith(b"certvigil_target_last_look_timestamp_seconds{")] == []


def test_a_target_that_is_gone_leaves_no_series() -> None:
    page = page_of([some_file("/a.pem", some_certificate()), some_file("/b.pem")])
    text_of(page)
    page.remove("/a.pem")
    page.remove("/never.pem")
    assert "/a.pem" not in text_of(page)
    assert "/b.pem" in text_of(page)


def test_targets_may_change_while_a_page_is_read() -> None:
    page = page_of(some_file(f"/{number}.pem", some_certificate(str(number))) for number in range(500))
    shown = bytearray()
    for step, chunk in enumerate(plain_text(page.pieces())):
        shown += chunk
        page.update(some_file(f"/{step}.pem", some_certificate(f"new {step}")))
        page.update(some_file(f"/new-{step}.pem", some_certificate(f"newer {step}")))
        page.remove(f"/{499 - step}.pem")
    assert step > 50
    assert "certvigil_target_up" in {name for name, _ in samples(shown.decode())}


def test_every_family_is_one_group() -> None:
    page = page_of(some_file(f"/{number}.pem", some_certificate(str(number))) for number in range(300))
    names = [line.partition("{")[0] for line in text_of(page).splitlines() if not line.startswith("#")]
    groups = [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]
    assert Counter(groups).most_common(1)[0][1] == 1
    headers = re.findall(r"^# (HELP|TYPE) (\S+)", text_of(page), re.MULTILINE)
    assert Counter(headers).most_common(1)[0][1] == 1
    assert {name for _, name in headers} >= set(names)


@given(st.dictionaries(st.text(min_size=1), st.tuples(st.text(), st.integers(0, 253_402_300_799)), max_size=20))
def test_whatever_a_name_holds_it_is_read_back(named: dict[str, tuple[str, int]]) -> None:
    page = Page()
    expected: dict[tuple[str, str], int] = {}
    for name, (component, expiry) in named.items():
        target = printable(name)
        page.update(
            TargetState(target, TargetKind.FILE, target, printable(component), expiry=expiry, last_look=1.0),
        )
        expected[target, printable(component)] = expiry
    found = samples(text_of(page))
    infos = {
        (labels["target"], labels["component"])
        for labels in (dict(pairs) for name, pairs in found if name == "certvigil_target_info")
    }
    assert infos == set(expected)
    for (name, _), expiry in expected.items():
        assert found["certvigil_target_expiry_timestamp_seconds", frozenset({("target", name)})] == expiry


def test_quotes_backslashes_and_newlines_are_escaped() -> None:
    text = text_of(page_of([some_file('/a"} 1\n\\n.pem')]))
    assert r'certvigil_target_up{target="/a\"} 1\n\\n.pem"} 1' in text.splitlines()


@pytest.mark.server("promtool")
def test_promtool_finds_nothing_to_complain_about() -> None:
    promtool = find_command("promtool")
    assert promtool is not None
    known = replace(some_file("/a.pem", some_certificate()), expiry=1, edges=(Edge("java", accepted=True),))
    weak = finding(Code.WEAK_KEY, Printable("too short"), severity=Severity.NOTICE)
    known = replace(known, findings={(weak.code, weak.subject): Raised(weak, 1.0)})
    text = text_of(page_of([known])).encode() + Counters("1.0", 1.0).text()
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
