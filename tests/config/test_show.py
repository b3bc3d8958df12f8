from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from config.fields import duration, duration_text, share_text
from config.load import load
from config.model import Config, Threshold, Thresholds, Watch
from config.show import show
from tests.kit.configuration import GOOD, Loaded, Write

DOCUMENTS = {
    "nothing said": "endpoints: []",
    "the good example": GOOD,
    "a profile": """
        profile: nexthink-v6
        appliance: {role: single, external_name: nx.example.com, finder_port: 999, collector_ports: [8443]}
        """,
    "text that looks like something else": r"""
        endpoints:
          - {address: "yes:1", name: "1e3"}
          - {address: "b:1", name: "0o17"}
          - {address: "c:1", name: "null"}
          - {address: "d:1", name: "$${HOME} $$${x}"}
          - {address: "e:1", name: "2027-03-31"}
          - {address: "f:1", name: "a: b # c"}
          - {address: "h:1", name: "Zürich 🔒"}
        watch: [{files: ["/a\nb", "/${X}"]}]
        """,
    "thresholds": """
        watch:
          - {files: [/a], thresholds: {}}
          - {files: [/b], thresholds: {notice: {share: 33.333333%, days: 59.5}, critical: 36h}}
        """,
    "protocols that ask for TLS in the clear": """
        endpoints:
          - {address: "mail.example.com:587", protocol: smtp}
          - {address: "db.example.com:5432", protocol: postgres, proxy: "socks5://[::1]:1080", proxy_protocol: v2}
        """,
    "labels": """
        watch: [{files: [/a], labels: {team: "1"}}]
        endpoints: [{address: "a:1", labels: {env: prod}}]
        components:
          web:
            artefacts: {certificate: /b}
            endpoints: [{address: "b:1"}, {address: "c:1", labels: {env: test}}]
            labels: {env: prod, team: web}
        """,
    "what others may ask for": """
        probe: {allow: [{networks: [10.0.0.0/8, "fd00::/8"], ports: [443, 8443]}]}
        metrics: {x509_cert: true}
        """,
    "where revocation is learnt": """
        revocation:
          crls: [/etc/pki/crl, "/srv/*.crl"]
          fetch: {ocsp: true, proxy: "http://proxy:3128", allow: [{networks: [10.0.0.0/8], ports: [8080]}], every: 1h}
        clients: {bank: {trusts: system, revocation: hard_fail}}
        """,
    "nothing but that it is fetched": "revocation: {fetch: {}}",
}


def declared(config: Config) -> Config:
    return replace(config, profile=None, sources=(), digest="")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_shown_loads_as_the_same(name: str, loaded: Loaded) -> None:
    config = loaded(DOCUMENTS[name], X="${Y}")
    text = show(config)
    assert text.isascii()
    assert declared(loaded(text)) == declared(config)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(name=st.text(max_size=30))
def test_any_path_comes_back_as_it_was(name: str, write: Write) -> None:
    assume("\0" not in name)
    config = Config(watches=(Watch((f"/{name}",)),))
    found = load(write(show(config)), {})
    assert isinstance(found, Config)
    assert found.watches == config.watches


@given(st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000))
def test_a_duration_is_written_as_it_is_read(seconds: float) -> None:
    assert duration(duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.25, "0.25s"), (90, "90s"), (300, "5m"), (5400, "90m"), (172800, "2d")]
)
def test_a_duration_is_written_in_the_largest_whole_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_share_is_written_as_people_do() -> None:
    assert [share_text(share) for share in (0.33, 0.125, 1.0, 0.0)] == ["33%", "12.5%", "100%", "0%"]


def test_a_fixed_number_of_days_is_a_cap_of_the_default_share(loaded: Loaded) -> None:
    (watch,) = loaded("watch: [{files: [/a], thresholds: {warning: 21d}}]").watches
    assert watch.thresholds == Thresholds(warning=Threshold(0.25, 21))
