"""What a site expects of its servers and clients: as it is written, inherited, and shown again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.expected import AllowedTLS, DefaultCertificate, NotTLS, ValidationSwitch
from config.load import load
from config.model import Config
from config.show import show
from config.vocabulary import OwnCertificate, Sending, TLSVersion
from tests.kit.configuration import Loaded, Write

SITE = """
tls: {ciphers: ["ECDHE-*-GCM-*", "TLS_*"]}
endpoints:
  - {address: "mail.example.com:465", sends_intermediates: not_expected, tls: {protocols: [TLSv1.3]}}
  - {address: "old.example.com:443", tls: {protocols: [TLSv1, TLSv1.2], ciphers: []}, sends_intermediates: expected}
  - address: "box.example.com:8443"
    default_certificate: {subjects: ["CN=box*"]}
    own_certificate: optional
components:
  web:
    artefacts: {certificate: /srv/web.crt, key: /srv/web.key}
    default_certificate: {self_signed: true, issuers: ["CN=Federation*"]}
    endpoints:
      - {address: "127.0.0.1:99"}
      - {address: "127.0.0.1:443", own_certificate: mandatory}
      - {address: "127.0.0.1:444", default_certificate: {issuers: ["CN=Other"]}}
trust_stores: {jdk: {bundle: /etc/jdk.pem}}
clients:
  portal:
    trusts: jdk
    validates: false
    validation_switch: {file: /etc/portal.conf, key: portal.ignore, disables: "true", default: "true"}
not_tls: [{address: "127.0.0.1:999", reason: "a protocol of its own, over UDP"}]
"""
CIPHERS = ("ECDHE-*-GCM-*", "TLS_*")
FEDERATION = DefaultCertificate(self_signed=True, issuers=("CN=Federation*",))


def test_what_is_allowed_is_as_in_the_whole_configuration_but_for_what_an_endpoint_says(loaded: Loaded) -> None:
    endpoints = loaded(SITE).endpoints
    assert endpoints["mail.example.com:465"].tls == AllowedTLS(frozenset({TLSVersion.TLS1_3}), CIPHERS)
    assert endpoints["old.example.com:443"].tls == AllowedTLS(frozenset({TLSVersion.TLS1_0, TLSVersion.TLS1_2}))
    assert endpoints["web/127.0.0.1:99"].tls == AllowedTLS(ciphers=CIPHERS)
    assert loaded("endpoints: [{address: 'a:1'}]").endpoints["a:1"].tls == AllowedTLS()


def test_the_sites_own_certificates_are_known_where_a_key_of_its_own_is_the_sign(loaded: Loaded) -> None:
    config = loaded(SITE)
    assert config.with_own({"web": ()}) is config
    told, own = config.with_own({"web": {"ab" * 32}}), frozenset({"ab" * 32})
    assert {name: _own(each.default_certificate) for name, each in told.endpoints.items() if each.component} == {
        "web/127.0.0.1:99": own,
        "web/127.0.0.1:443": own,
        "web/127.0.0.1:444": frozenset(),
    }
    assert {_own(each.default_certificate) for each in told.files} == {own}
    assert _own(told.components["web"].default_certificate) == own
    written = loaded(SITE.replace("self_signed: true,", f"self_signed: true, own_sha256: [{'cd' * 32}],"))
    assert _own(written.components["web"].default_certificate) == {"cd" * 32}
    assert "own_sha256" in str(show(written))


def _own(default: DefaultCertificate | None) -> frozenset[str]:
    return frozenset() if default is None else default.own_sha256


def test_the_default_certificate_is_told_as_at_the_component_but_for_what_an_endpoint_says(loaded: Loaded) -> None:
    config = loaded(SITE)
    assert {name: each.default_certificate for name, each in config.endpoints.items() if each.component} == {
        "web/127.0.0.1:99": FEDERATION,
        "web/127.0.0.1:443": replace(FEDERATION, own=OwnCertificate.MANDATORY),
        "web/127.0.0.1:444": DefaultCertificate(issuers=("CN=Other",)),
    }
    assert {each.default_certificate for each in config.files} == {FEDERATION}
    box = config.endpoints["box.example.com:8443"]
    assert box.default_certificate == DefaultCertificate(subjects=("CN=box*",), own=OwnCertificate.OPTIONAL)


def test_whether_a_server_sends_its_intermediates_is_never_assumed(loaded: Loaded) -> None:
    endpoints = loaded(SITE).endpoints
    assert endpoints["web/127.0.0.1:99"].sends_intermediates is None
    assert endpoints["mail.example.com:465"].sends_intermediates is Sending.NOT_EXPECTED
    assert endpoints["old.example.com:443"].sends_intermediates is Sending.EXPECTED


def test_a_client_says_where_it_is_told_to_validate(loaded: Loaded) -> None:
    config = loaded(SITE)
    switch = ValidationSwitch("/etc/portal.conf", "portal.ignore", "true", "true")
    assert config.clients["portal"].validation_switch == switch
    assert config.not_tls == (NotTLS("127.0.0.1", 999, "a protocol of its own, over UDP"),)


@pytest.mark.parametrize("role", ["primary", "secondary", "single"])
def test_what_is_shown_loads_as_the_same(role: str, loaded: Loaded, write: Write) -> None:
    profile = f"profile: nexthink-v6\nappliance: {{role: {role}, external_name: a.example.com}}"
    for text in (SITE, profile):
        config = loaded(text)
        again = load(write(show(config), "shown.yaml"), {})
        assert isinstance(again, Config), again
        assert replace(again, sources=(), digest="") == replace(config, profile=None, sources=(), digest="")
