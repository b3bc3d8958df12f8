"""Dashboards and rules that people have for other exporters go on working."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.kit.estate import Estate
from tests.kit.prometheus import Prometheus

ASKED: Final = {
    "ssl_exporter, grafana.com 11279": [
        'count(max(ssl_cert_not_after{instance=~"$instance",job=~"$job"}) by (issuer_cn,serial_no))',
        'count(max(ssl_cert_not_after{instance=~"$instance",job=~"$job"}) by (instance))',
        '(up{job=~"$job", instance=~"$instance"} == 0 or ssl_probe_success{job=~"$job", instance=~"$instance"} == 0)^0',
        'ssl_probe_success{instance=~"$instance",job=~"$job"} == 0',
        '((ssl_cert_not_after{instance=~"$instance",job=~"$job"} - time())/24/60/60)',
        'ssl_verified_cert_not_after{chain_no="0"} - time() < 86400 * 7',
    ],
    "blackbox_exporter, grafana.com 7587 and 13230, awesome-prometheus-alerts": [
        'probe_ssl_earliest_cert_expiry{instance=~"$instance"} - time()',
        '(probe_ssl_earliest_cert_expiry{instance=~"$instance",job="$job"} - time()) / (60*60*24)',
        'probe_success{instance=~"$instance"}',
        'probe_http_ssl{instance=~"$instance"}',
        'avg(probe_duration_seconds{instance=~"$instance"})',
        'probe_tls_version_info{instance=~"$instance"}',
        "3 <= round((last_over_time(probe_ssl_earliest_cert_expiry[10m]) - time()) / 86400, 0.1) < 20",
        "round((last_over_time(probe_ssl_earliest_cert_expiry[10m]) - time()) / 86400, 0.1) < 0",
    ],
    "x509-certificate-exporter, grafana.com 13922": [
        "count(x509_cert_not_after)",
        "sum(((x509_cert_not_after - time()) / 86400) < bool 0)",
        "sum(0 < ((x509_cert_not_after - time()) / 86400) < bool 28)",
        'count(x509_cert_not_after{filepath!="",embedded_key=""})',
        '((x509_cert_not_after{filepath!=""} - time()) / 86400) < 100',
        "topk(10, count by (issuer_CN) (x509_cert_not_after))",
        'bottomk(10, (x509_cert_not_after{secret_name=""} - x509_cert_not_before) / 86400)',
        "count by (subject_CN, instance, filepath) (x509_cert_not_after)",
        "x509_cert_expired",
    ],
}

pytestmark = pytest.mark.server("prometheus")


def test_every_query_of_theirs_finds_something(cleanup: ExitStack, tmp_path: Path) -> None:
    estate = Estate(str(tmp_path), cleanup)
    by_target = [
        {"source_labels": ["__address__"], "target_label": "__param_target"},
        {"source_labels": ["__param_target"], "target_label": "instance"},
        {"target_label": "__address__", "replacement": estate.busy.web},
    ]
    asking = {
        "job_name": "ssl",
        "metrics_path": "/probe",
        "params": {"module": ["https"]},
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "relabel_configs": by_target,
    }
    addresses = [estate.busy.ask(f"/api/v1/targets/{name}")["location"] for name in ("expired", "expiring", "gone")]
    prometheus = {
        "probes": cleanup.enter_context(Prometheus(str(tmp_path / "probes"), addresses, scrape=asking)),
        "files": cleanup.enter_context(Prometheus(str(tmp_path / "files"), [estate.busy.web])),
    }
    for dashboard, queries in ASKED.items():
        chosen = prometheus["files" if dashboard.startswith("x509") else "probes"]
        for each in queries:
            chosen.wait_until(each.replace("$instance", ".*").replace("$job", "ssl"))
    prometheus["probes"].wait_until(f"count(ssl_probe_success) == {len(addresses)}")
    # As with the exporters, the instance is what was probed.
    instances = {labels["instance"] for labels, _ in prometheus["probes"].query("ssl_probe_success")}
    assert instances == set(addresses)
