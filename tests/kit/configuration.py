"""Configuration files as an administrator would leave them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from config.load import load
from config.model import Config

Write = Callable[..., str]


Loaded = Callable[..., Config]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration file that only its owner can change; return its path."""
    tmp_path.chmod(0o755)

    def write(text: str, name: str = "certvigil.yaml") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        path.chmod(0o644)
        return str(path)

    return write


@pytest.fixture
def loaded(write: Write) -> Loaded:
    """Load a document that must be without mistakes."""

    def loaded(text: str, **environ: str) -> Config:
        config = load(write(text), environ)
        assert isinstance(config, Config), "\n".join(map(str, config))
        return config

    return loaded


GOOD = """\
watch:
  - files: [/etc/ssl/private/**/*.pem, /etc/pki/tls/certs/*.crt]
    exclude: [/etc/ssl/private/old]
    trust_store: mozilla
    thresholds: {notice: {share: 50%, days: 40}, warning: 21d, critical: {share: 10%}}
endpoints:
  - {name: mail, address: "mail.example.com:465", every: 90s, timeout: 2.5s, clients: [java]}
  - {address: "[2001:db8::1]:8443", server_name: www.example.com, minimum_version: TLSv1.2, clients: []}
  - {address: "www.example.com:443", protocol: tls, server_name: www.example.com, tls: {protocols: [TLSv1.3]}}
components:
  web:
    artefacts: {certificate: /etc/nginx/tls/site.crt, key: /etc/nginx/tls/site.key, chain: /etc/nginx/tls/chain.pem}
    endpoints:
      - {address: "127.0.0.1:443", server_name: www.example.com}
      - {address: "127.0.0.1:443", name: shop.example.com, clients: [java]}
      - {address: "127.0.0.1:443", server_name: www.example.com, key_type: rsa}
      - {address: "127.0.0.1:443", server_name: www.example.com, key_type: ec}
    clients: [browser, java]
    not_served_after: 0s
    service: {test: [/usr/sbin/nginx, -t], activate: reload, reload: [/bin/r], restart: [/bin/s], timeout: 5s}
    allowed_issuers: [{trust_store: system}]
  proxy:
    artefacts: {combined: /etc/haproxy/site.pem}
    service: haproxy
    write_mode: in_place
  java:
    artefacts: {keystore: /etc/java/site.p12, password_file: /etc/java/site.pass}
services:
  haproxy: {unit: haproxy.service}
trust_stores:
  jdk: {bundle: /etc/ssl/java.pem}
clients:
  browser: {trusts: mozilla, verifier: webpki, names: [www.example.com]}
  java: {trusts: jdk, intermediates: [/etc/ssl/intermediate.pem], validates: false, security_level: 1}
policies:
  - name: renew-web
    match: {component: [web]}
    when: {any: [{remaining_below: 33%}, {finding: bad_signature}]}
    windows: [{cron: "0 2 * * 2", duration: 3h, timezone: Europe/Zurich}]
    override_window_when: {any: [{remaining_below: 8%}]}
    mode: auto
    do: [{replace: {from: inbox, allowed_issuers: [{trust_store: system}]}}]
  - name: serve-what-is-on-disk
    match: {component: [web]}
    when: {finding: not_served, for: 15m}
    mode: approve
    do: [activate]
waivers:
  - {target: mail, finding: weak_key, reason: "appliance replaced in Q1", until: 2027-03-31}
  - {target: web/key, finding: key_exposed, reason: "read by the backup", until: "2027-12-31"}
  - {target: /etc/ssl/private/a.pem, finding: expired, reason: "test data", until: 2026-12-31}
host: web1.example.com
state_directory: /srv/certvigil
socket: /run/vigil.sock
rescan: 1h
concurrency: 5
history_days: 30
web: {listen: ["[::]:9790", "127.0.0.1:0"], config_file: /etc/certvigil/web.yaml, allowed_hosts: [vigil.example.com]}
"""
