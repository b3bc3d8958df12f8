"""Debian's Prometheus scrapes a real daemon, and knows what the lab was given."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest

from monitor.lab.ca import DAY, Authority, Issued
from monitor.lab.servers import LocalServer, write_site
from tests.kit.daemon import RunningDaemon
from tests.kit.prometheus import Prometheus, check_metrics
from tests.kit.start import StartServer

NAME = "www.example.com"

pytestmark = [pytest.mark.server("prometheus"), pytest.mark.server("promtool")]


def end_of(issued: Issued) -> float:
    return issued.certificate.not_valid_after_utc.timestamp()


def test_prometheus_knows_what_the_lab_was_given(
    start_prometheus: Callable[..., Prometheus],
    start_local: StartServer[LocalServer],
    cleanup: ExitStack,
    issuing_ca: Authority,
    tmp_path: Path,
) -> None:
    now = time.time()
    good = issuing_ca.issue(NAME)
    late = issuing_ca.issue(NAME, not_before=now - 40 * DAY, not_after=now - DAY)
    (tmp_path / "root.pem").write_bytes(issuing_ca.anchor.pem())
    file = tmp_path / "file.pem"
    file.write_bytes(good.chain_pem())
    endpoints = [
        {
            "name": name,
            "address": start_local(write_site(str(tmp_path / name), issued)).address,
            "server_name": NAME,
            "clients": ["browser"],
        }
        for name, issued in (("good", good), ("late", late))
    ]
    daemon = cleanup.enter_context(
        RunningDaemon(
            {
                "watch": [{"files": [str(file)]}],
                "endpoints": endpoints,
                "trust_stores": {"corporate": {"bundle": str(tmp_path / "root.pem")}},
                "clients": {"browser": {"trusts": "corporate"}},
            }
        )
    )
    for name in ("good", "late"):
        daemon.wait_until("presents", target=name)
    page = daemon.page()
    assert check_metrics(page) == []
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert len(daemon.metrics()) == len(lines)

    prometheus = start_prometheus(daemon.web)
    prometheus.wait_until("up == 1")
    assert prometheus.target_errors() == {daemon.web: ""}
    prometheus.wait_until(f"scrape_samples_scraped == {len(lines)}")

    def ask(expression: str) -> dict[str, float]:
        """Return the value for each target."""
        return {labels["target"]: value for labels, value in prometheus.query(expression)}

    assert ask('certvigil_not_after_timestamp_seconds{position="0"}') == {
        str(file): end_of(good),
        "good": end_of(good),
        "late": end_of(late),
    }
    issuer = ask('certvigil_not_after_timestamp_seconds{position="1"}')
    assert issuer == dict.fromkeys((str(file), "good", "late"), end_of(issuing_ca))
    assert ask('certvigil_client_accepts{client="browser"}') == {"good": 1, "late": 0}
    assert ask("certvigil_target_up") == dict.fromkeys(("certvigil", str(file), "good", "late"), 1)
    assert ask("certvigil_target_expiry_timestamp_seconds < time()") == {"late": end_of(late)}
    assert ask('certvigil_findings{code="expired", severity="critical"}') == {"late": 1}
    assert ask('certvigil_findings{severity="critical", target!="late"}') == {}
    # Facts of a certificate are joined at query time.
    joined = prometheus.query(
        'certvigil_presented_info{target="good", position="0"}'
        " * on (sha256) group_left (subject, issuer, key) certvigil_certificate_info"
    )
    ((labels, _),) = joined
    assert (labels["subject"], labels["issuer"], labels["key"]) == (f"CN={NAME}", "CN=Lab Issuing CA", "ec 256")
    ((_, looks),) = prometheus.query('certvigil_looks_total{kind="endpoint", outcome="changed"}')
    assert looks == 2

    renewed = issuing_ca.issue(NAME, not_after=now + 70 * DAY)
    file.write_bytes(renewed.chain_pem())
    series = f'certvigil_target_expiry_timestamp_seconds{{target="{file}"}}'
    prometheus.wait_until(f"{series} == {end_of(renewed):.0f}")
    assert prometheus.target_errors() == {daemon.web: ""}


def test_prometheus_scrapes_with_tls_and_a_password(cleanup: ExitStack, root_ca: Authority, tmp_path: Path) -> None:
    daemon = RunningDaemon({})
    cleanup.callback(daemon.close)
    host = daemon.web.partition(":")[0]
    site = write_site(daemon.directory, root_ca.issue(host), stem="web")
    (tmp_path / "root.pem").write_bytes(root_ca.pem())
    secret = "open sesame"
    web_config = os.path.join(daemon.directory, "web.yml")
    with open(os.open(web_config, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        json.dump(
            {
                "tls_server_config": {"cert_file": os.path.basename(site.certificate), "key_file": site.key},
                "basic_auth_users": {"prometheus": bcrypt.hashpw(secret.encode(), bcrypt.gensalt(4)).decode()},
            },
            file,
        )
    daemon.configure({"web": {"listen": [daemon.web], "config_file": web_config}})
    daemon.start()

    trust = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"https://{daemon.web}/metrics", timeout=10, context=trust)
    assert refused.value.code == 401
    refused.value.close()
    with pytest.raises(OSError, match=r".+"):
        urllib.request.urlopen(f"http://{daemon.web}/metrics", timeout=10)

    scrape = {
        "scheme": "https",
        "tls_config": {"ca_file": str(tmp_path / "root.pem")},
        "basic_auth": {"username": "prometheus", "password": secret},
    }
    prometheus = cleanup.enter_context(Prometheus(str(tmp_path / "prometheus"), [daemon.web], scrape=scrape))
    prometheus.wait_until("up == 1")
    assert prometheus.target_errors() == {daemon.web: ""}
    assert prometheus.query("certvigil_build_info")
    assert secret not in daemon.text
