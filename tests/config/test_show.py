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
from tests.kit.examples import examples

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
    "how an endpoint is reached": """
        endpoints:
          - {address: "a.example.com:443", addresses: ipv6, source_address: "2001:db8::7", sni: false}
          - {address: "b.example.com:443", client_certificate: /etc/client.crt, client_key: /etc/client.key}
          - {address: "c.example.com:443", client_certificate: /etc/both.pem, key_types: [rsa, ec]}
          - {address: "d.example.com:443", proxy: "http://[::1]:3128", proxy_credentials_file: /etc/proxy.credentials}
          - {address: "192.0.2.1:443", server_names: [one.example.com, two.example.com], key_type: rsa}
        components:
          web: {artefacts: {combined: /etc/web.pem}, endpoints: [{address: "127.0.0.1:443", addresses: first}]}
        """,
    "labels": """
        watch: [{files: [/a], labels: {team: "1"}, pointers: [/a/*], expression: "/(?P<x>a)", password_files: [/b, /c]}]
        endpoints: [{address: "a:1", labels: {env: prod}}]
        components:
          web:
            artefacts: {certificate: /b}
            endpoints: [{address: "b:1"}, {address: "c:1", labels: {env: test}}]
            labels: {env: prod, team: web}
        """,
    "what others may ask for": """
        probe:
          allow: [{networks: [10.0.0.0/8, "fd00::/8"], ports: [443, 8443]}, {names: ["*.example.com"], ports: [443]}]
          files: [/etc/kubernetes/**/*.crt]
          modules:
            smtp:
              prober: tcp
              timeout: 5s
              tls_config: {server_name: mail.example.com, insecure_skip_verify: true}
              tcp:
                query_response: [{expect: ^220, send: EHLO me}, {expect_bytes: "2", starttls: true}, {send: QUIT}]
            pop3s: {prober: tcp, tcp: {tls: true, query_response: [{expect: '^\\+OK'}]}}
            imap: {prober: tcp, tcp: {starttls: imap}}
            far: {prober: https, https: {proxy_url: "http://proxy.example.com:3128"}, target: "https://www.example.com/"}
            bundle: {prober: file, target: /etc/ssl/certs/ca-certificates.crt}
        metrics: {x509_cert: true, x509_relative: true, x509_trim_path_components: 2}
        """,
    "where revocation is learnt": """
        revocation:
          crls: [/etc/pki/crl, "/srv/*.crl"]
          fetch:
            ocsp: true
            proxy: "http://proxy:3128"
            proxy_credentials_file: /etc/proxy.credentials
            allow: [{networks: [10.0.0.0/8], ports: [8080]}]
            every: 1h
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(100))
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
