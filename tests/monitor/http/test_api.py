from __future__ import annotations

import gzip
import math
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from config.document import Mistake
from config.expected import AllowedTLS
from config.model import Settings, Web
from config.text import Printable, harmless
from config.vocabulary import Code, EntryKind, Integrity, TargetKind, TLSVersion
from monitor.http.coding import accepts_gzip
from monitor.look.demand import ProbeRequest
from monitor.look.demand_places import RefusedProbe
from monitor.state.own import SELF
from monitor.state.target import Raised, TargetState
from monitor.store import Degraded, DegradedReason, HistoryEntry, What
from probes.finding import Edge, finding
from probes.keystore import Keystore, KeystoreEntry
from probes.observation import Presented
from probes.tls.support import Supported, SupportedVersion
from tests.kit.metrics import samples, some_certificate, some_file, text_of, value
from tests.kit.web_server import FakeView, RunningServer, running


def raised(known: TargetState, code: Code, subject: str = "", since: float = 1_795_000_000.0) -> TargetState:
    found = finding(code, Printable("as the test has it"), harmless(subject))
    return replace(known, findings={**known.findings, (code, subject): Raised(found, since)})


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest.fixture
def server(view: FakeView, tmp_path: Path) -> Iterator[RunningServer]:
    with running(view, Settings(socket=str(tmp_path / "s"), web=Web(listen=("127.0.0.1:0",)))) as started:
        assert started.problems == ()
        yield started


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.tcp() as tcp:
        yield tcp


@pytest.fixture
def local(server: RunningServer) -> Iterator[httpx.Client]:
    with server.unix() as unix:
        yield unix


def test_a_probe_says_what_it_lacks(view: FakeView, client: httpx.Client) -> None:
    waiting = {"x-prometheus-scrape-timeout-seconds": "soon"}
    assert client.get("/probe?target=web", headers=waiting).status_code == 400
    assert view.probed == []


def test_a_probe_is_asked_for_with_the_time_that_prometheus_leaves(view: FakeView, client: httpx.Client) -> None:
    refused = client.get("/probe?target=web", headers={"x-prometheus-scrape-timeout-seconds": "10"})
    assert refused.status_code == 403
    assert refused.json() == {"detail": "it is none of the endpoints"}
    client.get("/probe?target=web&module=smtp&hostname=www.example.com")
    assert view.probed == [
        ProbeRequest("web", "tls", None, 9.5),
        ProbeRequest("web", "smtp", "www.example.com", math.inf),
    ]


def test_a_probe_that_makes_no_sense_is_told_from_one_that_is_not_permitted(
    view: FakeView, client: httpx.Client
) -> None:
    view.refusal = RefusedProbe("there is no module ssh", is_mistake=True)
    answer = client.get("/probe?target=web&module=ssh")
    assert (answer.status_code, answer.json()["detail"]) == (400, "there is no module ssh")


def test_metrics_are_the_page_with_and_without_compression(view: FakeView, client: httpx.Client) -> None:
    view.add(*(some_file(f"/{number}.pem", some_certificate(str(number))) for number in range(3000)))
    plain = client.get("/metrics", headers={"accept-encoding": "identity"})
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "content-encoding" not in plain.headers
    assert samples(plain.text) == samples(text_of(view.page))
    with client.stream("GET", "/metrics", headers={"accept-encoding": "gzip"}) as compressed:
        assert compressed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(b"".join(compressed.iter_raw())).decode() == plain.text


def test_metrics_can_be_asked_for_without_their_body(client: httpx.Client) -> None:
    answer = client.head("/metrics")
    assert (answer.status_code, answer.content) == (200, b"")
    assert client.post("/metrics").status_code == 405


@pytest.mark.parametrize(
    ("header", "accepted"),
    [(b"gzip", True), (b"deflate, GZIP;q=0.5", True), (b"gzip;q=0", False), (b"gzip;q=0.000", False), (b"br", False)],
)
def test_gzip_is_given_to_those_who_accept_it(header: bytes, *, accepted: bool) -> None:
    assert accepts_gzip([(b"accept", b"*/*"), (b"accept-encoding", header)]) is accepted


def test_alive_is_not_ready(view: FakeView, client: httpx.Client) -> None:
    view.reasons = ("looked at 3 of 10 files",)
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "looked at 3 of 10 files\n")
    view.reasons = ()
    assert client.get("/readyz").status_code == 200


def test_the_landing_page_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "http:" not in answer.text
    assert "https:" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_every_link_of_the_landing_page_leads_somewhere(client: httpx.Client) -> None:
    links = [part.partition('"')[0] for part in client.get("/").text.split('href="')[1:]]
    assert len(links) > 5
    assert [client.get(link).status_code for link in links] == [200] * len(links)


def test_every_answer_says_which_host_it_is_about(server: RunningServer, client: httpx.Client) -> None:
    server.server.call("web1.example.com")
    for resource in ("/metrics", "/readyz", "/api/v1/status", "/api/v1/findings", "/api/v1/targets/none"):
        assert client.get(resource).headers["certvigil-host"] == "web1.example.com"


def test_headers_protect_and_do_not_tell_the_software(client: httpx.Client) -> None:
    headers = client.get("/healthz").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "date" in headers
    assert "server" not in headers
    assert "access-control-allow-origin" not in client.get("/", headers={"origin": "http://evil.example"}).headers


def test_targets_are_listed_by_name_in_pages(view: FakeView, client: httpx.Client) -> None:
    view.add(*(some_file(f"/{number}.pem") for number in (3, 1, 2)))
    answer = client.get("/api/v1/targets", params={"limit": 2, "offset": 1}).json()
    assert (answer["total"], answer["offset"]) == (3, 1)
    assert [each["target"] for each in answer["items"]] == ["/2.pem", "/3.pem"]


def test_targets_are_chosen_by_verdict(view: FakeView, client: httpx.Client) -> None:
    view.add(some_file("/good.pem"), raised(some_file("/bad.pem"), Code.EXPIRED))
    answer = client.get("/api/v1/targets", params={"verdict": "critical"}).json()
    assert [each["target"] for each in answer["items"]] == ["/bad.pem"]


def test_a_target_is_shown_with_everything_believed_of_it(view: FakeView, client: httpx.Client) -> None:
    leaf = some_certificate()
    known = replace(
        raised(some_file("/etc/ssl/a b.pem", leaf), Code.WEAK_KEY, "position 0"),
        edges=(Edge("java", accepted=False, why=Printable("it does not trust the issuer")),),
        expiry=1_800_000_000,
        pending={
            (Code.KEY_MISMATCH, ""): Raised(finding(Code.KEY_MISMATCH, Printable("not its own")), 1_795_000_000.0)
        },
        since=1_700_000_000.5,
        failure=("bad_pem", "line 3"),
        addresses=(Presented(Printable("192.0.2.7"), (leaf,), "TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519"),),
        keystore=Keystore(
            (KeystoreEntry(EntryKind.TRUSTED, Printable("root"), 1_700_000_000.5, (leaf,)),), Integrity.VERIFIED
        ),
    )
    described = {
        "subject": "CN=www.example.com",
        "issuer": "CN=Lab Issuing CA",
        "serial": "2a",
        "not_before": "2023-11-14T22:13:20Z",
        "not_after": "2027-01-15T08:00:00Z",
        "sha256": leaf.sha256,
        "names": ["DNS:www.example.com"],
        "key": {"kind": "ec", "bits": 256, "name": "", "strength": 128},
        "spki_sha256": None,
        "signature_hash": "sha256",
        "signature": "",
        "is_ca": False,
        "failures": [],
        "encoding_faults": [],
    }
    view.add(known)
    answer = client.get("/api/v1/targets//etc/ssl/a b.pem").json()
    assert answer.pop("days_left") == pytest.approx((1_800_000_000 - time.time()) / 86_400, abs=0.1)
    assert answer == {
        "target": "/etc/ssl/a b.pem",
        "kind": "file",
        "location": "/etc/ssl/a b.pem",
        "component": None,
        "labels": {},
        "verdict": "warning",
        "up": False,
        "failure": {"reason": "bad_pem", "detail": "line 3"},
        "last_look": "1970-01-01T00:00:01.500000Z",
        "expiry": "2027-01-15T08:00:00Z",
        "presented": [leaf.sha256],
        "findings": [
            {
                "target": "/etc/ssl/a b.pem",
                "code": "weak_key",
                "severity": "warning",
                "subject": "position 0",
                "detail": "as the test has it",
                "since": "2026-11-18T11:06:40Z",
                "cure": "have a certificate issued for a stronger key, such as EC P-256 or RSA 2048",
            }
        ],
        "pending": [
            {
                "target": "/etc/ssl/a b.pem",
                "code": "key_mismatch",
                "severity": "critical",
                "subject": "",
                "detail": "not its own",
                "since": "2026-11-18T11:06:40Z",
                "cure": "put the key that belongs to the certificate beside it, or issue the certificate anew",
            }
        ],
        "clients": [
            {
                "client": "java",
                "target": "/etc/ssl/a b.pem",
                "accepts": False,
                "why": "it does not trust the issuer",
                "unvalidated": "",
            }
        ],
        "since": "2023-11-14T22:13:20.500000Z",
        "chain": [described],
        "addresses": [
            {
                "address": "192.0.2.7",
                "presented": [leaf.sha256],
                "version": "TLSv1.3",
                "cipher": "TLS_AES_256_GCM_SHA384",
                "group": "x25519",
                "handshake_bytes": 0,
                "client_certificate": "not_requested",
                "client_certificate_fault": "",
                "staple": None,
            }
        ],
        "keystore": {
            "integrity": "verified",
            "default_password": False,
            "entries": [
                {
                    "kind": "trusted",
                    "alias": "root",
                    "created": "2023-11-14T22:13:20Z",
                    "certificates": [described],
                }
            ],
        },
        "supported": None,
    }


def test_what_an_endpoint_supports_is_told_with_what_is_allowed_of_it(view: FakeView, client: httpx.Client) -> None:
    one = SupportedVersion("TLSv1.2", ("AES128-SHA", "AES256-SHA"), ("x25519",), 2048, ("rsa_pkcs1_sha256",))
    supported = Supported(Printable("192.0.2.1"), (one,), (Printable("does not answer"),), 7, 5.0)
    view.add(TargetState("mail", TargetKind.ENDPOINT, "mail:443", last_look=1.0, supported=supported))
    view.allowed = {"mail": AllowedTLS(frozenset({TLSVersion.TLS1_3}), ("AES256-*",))}
    assert client.get("/api/v1/targets/mail").json()["supported"] == {
        "address": "192.0.2.1",
        "versions": [
            {
                "version": "TLSv1.2",
                "allowed": False,
                "ciphers": [{"name": "AES128-SHA", "allowed": False}, {"name": "AES256-SHA", "allowed": True}],
                "groups": ["x25519"],
                "prime_bits": 2048,
                "signatures": ["rsa_pkcs1_sha256"],
            }
        ],
        "hybrid_groups": [],
        "classical_fallback": True,
        "unclear": ["does not answer"],
        "connections": 7,
    }


def test_what_cannot_be_shown_takes_nothing_else_with_it(
    view: FakeView, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a code had no cure: no target at all was shown."""

    def cure(code: Code, _: str) -> str:
        if code is Code.EXPIRED:
            raise KeyError(code)
        return "as ever"

    monkeypatch.setattr("monitor.http.answers.cure", cure)
    odd = raised(some_file("/odd.pem", some_certificate("odd")), Code.EXPIRED)
    itself = raised(TargetState(SELF, TargetKind.SELF, SELF), Code.EXPIRED)
    view.add(odd, raised(some_file("/plain.pem", some_certificate("plain")), Code.EXPIRING), itself)
    listed = {each["target"]: each for each in client.get("/api/v1/targets").json()["items"]}
    assert listed.keys() == {SELF, odd.target, "/plain.pem"}
    assert [each["cure"] for each in listed["/plain.pem"]["findings"]] == ["as ever"]
    assert listed[odd.target]["verdict"] == "critical"
    assert [each["code"] for each in listed[odd.target]["findings"]] == ["expired"]
    assert "by a fault of certvigil" in listed[odd.target]["failure"]["detail"]
    assert "cannot be shown" in caplog.text
    assert client.get(f"/api/v1/targets/{odd.target}").json()["verdict"] == "critical"
    assert client.get("/api/v1/findings").json()["total"] == len(client.get("/api/v1/findings").json()["items"])
    assert client.get("/api/v1/status").status_code == 200


def test_a_target_that_nobody_watches_is_not_found(client: httpx.Client) -> None:
    assert client.get("/api/v1/targets/nothing").status_code == 404


def test_certificates_are_listed_once_the_first_to_end_first(view: FakeView, client: httpx.Client) -> None:
    early, late = some_certificate("early", not_after=1), some_certificate("late", not_after=2)
    view.add(some_file("/a.pem", late, early), some_file("/b.pem", early, early))
    answer = client.get("/api/v1/certificates").json()
    assert answer["total"] == 2
    assert [(each["subject"], each["targets"]) for each in answer["items"]] == [
        ("CN=early", ["/a.pem", "/b.pem"]),
        ("CN=late", ["/a.pem"]),
    ]
    assert client.get(f"/api/v1/certificates/{late.sha256.upper()}").json() == answer["items"][1]
    assert client.get("/api/v1/certificates/00").status_code == 404


def test_findings_are_listed_the_worst_first(view: FakeView, client: httpx.Client) -> None:
    view.add(
        raised(raised(some_file("/a.pem"), Code.WEAK_KEY), Code.EXPIRED), raised(some_file("/b.pem"), Code.EXPIRED)
    )
    answer = client.get("/api/v1/findings").json()
    assert [(each["target"], each["code"]) for each in answer["items"]] == [
        ("/a.pem", "expired"),
        ("/b.pem", "expired"),
        ("/a.pem", "weak_key"),
    ]
    assert client.get("/api/v1/findings", params={"severity": "warning"}).json()["total"] == 1
    assert client.get("/api/v1/findings", params={"code": "expired"}).json()["total"] == 2


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "offset=-1", "limit=x"])
def test_pages_have_bounds(query: str, client: httpx.Client) -> None:
    assert client.get(f"/api/v1/targets?{query}").status_code == 422


def test_the_history_is_asked_for_by_target_and_time(view: FakeView, client: httpx.Client) -> None:
    view.happened = [
        HistoryEntry(1_795_000_000.0, "mail", What.RAISED, "critical: expired", code="expired", severity="critical")
    ]
    parameters: dict[str, str | int] = {
        "target": "mail",
        "since": "2026-01-01T00:00:00Z",
        "until": "2026-12-01T01:00:00+01:00",
        "limit": 7,
    }
    answer = client.get("/api/v1/history", params=parameters).json()
    assert view.asked_for == [("mail", 1_767_225_600.0, 1_796_083_200.0, 7)]
    assert answer["items"][0]["at"] == "2026-11-18T11:06:40Z"
    assert answer["items"][0]["what"] == "raised"
    assert client.get("/api/v1/history", params={"since": "2026-01-01T00:00:00"}).status_code == 422


def test_a_history_that_cannot_be_read_is_no_empty_one(view: FakeView, client: httpx.Client) -> None:
    view.happened = Degraded(DegradedReason.LOCKED, "another process keeps it locked")
    answer = client.get("/api/v1/history")
    assert answer.status_code == 503
    assert "locked" in answer.text


def test_the_status_counts_targets_and_shows_what_is_wrong_with_certvigil(view: FakeView, client: httpx.Client) -> None:
    itself = raised(TargetState(SELF, TargetKind.SELF, SELF, last_look=1.0), Code.DATABASE_DEGRADED)
    view.add(
        itself, some_file("/a.pem"), some_file("/b.pem", last_look=None), raised(some_file("/c.pem"), Code.EXPIRED)
    )
    view.reasons = ["still looking"]
    answer = client.get("/api/v1/status").json()
    assert answer["targets"] == {"ok": 1, "warning": 1, "critical": 1, "unknown": 1}
    assert [each["code"] for each in answer["findings"]] == ["database_degraded"]
    assert (answer["ready"], answer["not_ready"]) == (False, ["still looking"])
    assert answer["host"] == "web1.example.com"
    assert answer["configuration"]["loaded"] == "2026-11-18T11:06:40Z"


def test_reloading_is_refused_over_tcp(view: FakeView, client: httpx.Client) -> None:
    assert client.post("/api/v1/reload").status_code == 403
    assert view.asked_by == []


def test_reloading_over_the_unix_socket_is_recorded_with_who_asked(view: FakeView, local: httpx.Client) -> None:
    answer = local.post("/api/v1/reload")
    assert (answer.status_code, answer.json()) == (200, {"mistakes": []})
    assert len(view.asked_by) == 1
    assert f"uid {os.getuid()}, pid {os.getpid()}" in view.asked_by[0]


def test_what_is_wrong_with_a_new_configuration_is_answered(view: FakeView, local: httpx.Client) -> None:
    view.mistakes = [Mistake("main.yaml", 3, "watch", "missing")]
    answer = local.post("/api/v1/reload")
    assert (answer.status_code, answer.json()) == (422, {"mistakes": ["main.yaml:3: watch: missing"]})


def test_the_api_describes_itself_without_loading_anything(client: httpx.Client) -> None:
    described = client.get("/api/v1/openapi.json").json()
    assert set(described["paths"]) == {
        "/api/v1/targets",
        "/api/v1/problems",
        "/api/v1/events",
        "/api/v1/targets/{name}",
        "/api/v1/findings",
        "/api/v1/inventory",
        "/api/v1/rotation",
        "/api/v1/certificates",
        "/api/v1/certificates/{sha256}",
        "/api/v1/status",
        "/api/v1/components",
        "/api/v1/situations",
        "/api/v1/history",
        "/api/v1/reload",
        "/api/v1/plans/{plan}/approve",
        "/api/v1/plans/{plan}/reject",
        "/api/v1/notifications",
        "/api/v1/notifications/acknowledge/{problem}",
        "/api/v1/notifications/silences",
        "/api/v1/notifications/silences/{identifier}",
        "/api/v1/notifications/retry",
        "/api/v1/notifications/drop",
    }
    assert client.get("/docs").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("get", "/api/v1/targets/{name}", "name"),
        ("get", "/api/v1/certificates/{sha256}", "sha256"),
        ("post", "/api/v1/notifications/acknowledge/{problem}", "problem"),
        ("delete", "/api/v1/notifications/silences/{identifier}", "identifier"),
    ],
)
def test_that_there_may_be_none_of_that_name_is_described(
    local: httpx.Client, method: str, path: str, name: str
) -> None:
    answer = local.request(method, path.replace(f"{{{name}}}", "nothing"))
    assert answer.status_code == 404
    assert answer.json()["detail"]
    assert "404" in local.get("/api/v1/openapi.json").json()["paths"][path][method]["responses"]


def test_a_history_that_ends_before_it_begins_is_an_error(view: FakeView, client: httpx.Client) -> None:
    span = {"since": "2026-12-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"}
    answer = client.get("/api/v1/history", params=span)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["msg"] == "until is before since"
    assert view.asked_for == []
    same = {"since": span["until"], "until": span["until"]}
    assert client.get("/api/v1/history", params=same).status_code == 200


def test_metrics_show_the_same_target_as_the_api(view: FakeView, client: httpx.Client, local: httpx.Client) -> None:
    view.add(some_file('/a"\\n.pem', some_certificate()))
    assert value(local.get("/metrics").text, "certvigil_target_up", target='/a"\\n.pem') == 1
    assert local.get("/api/v1/targets").json()["items"][0]["target"] == '/a"\\n.pem'
