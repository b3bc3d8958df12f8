"""Dashboards and rules that people have for other exporters go on working."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from monitor.lab.ca import DAY, Authority, Issued
from monitor.lab.process import free_address
from monitor.lab.servers import write_site
from tests.kit.answering_server import AnsweringServer, page
from tests.kit.crl import crl, crl_pem
from tests.kit.daemon import RunningDaemon
from tests.kit.keystore import keystore
from tests.kit.prometheus import Prometheus

OTHERS: Final = yaml.safe_load(Path(__file__).with_name("other_dashboards.yaml").read_text())
VALUES: Final = {"$instance": ".+", "$job": ".+", "$cluster": "one"}
NAME: Final = "www.example.com"
BROKEN: Final = 6
"""Files that break while Prometheus looks: a rule tells of more than five errors."""

pytestmark = pytest.mark.server("prometheus")


class Host:
    """A daemon with files and servers of every kind that a query is about."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._root = Authority.root()
        self._now = int(time.time())
        (directory / "root.pem").write_bytes(self._root.pem())
        self.endpoints = [self._serve(each) for each in (self._issue(90), self._issue(5, wild=True), self._issue(-1))]
        gone = "{}:{}".format(*free_address())
        self.tree = directory / "tls"
        self._write_files()
        self.daemon = RunningDaemon(
            {
                "rescan": "0.5s",
                "watch": [
                    {"files": [f"{self.tree}/**/*.pem"]},
                    {"files": [f"{directory}/keystores/*"], "password_file": f"{directory}/password"},
                ],
                "trust_stores": {"lab": {"bundle": f"{directory}/root.pem"}},
                "clients": {"default": {"trusts": "lab"}},
                "endpoints": [{"address": each, "server_name": NAME} for each in (*self.endpoints, gone)],
                "metrics": {"x509_cert": True, "x509_relative": True},
            }
        )
        stack.callback(self.daemon.close)
        self.daemon.start()
        self.probed = [*self.endpoints, gone]

    def _issue(self, days: float, begin: float = -90, *, wild: bool = False, **more: Any) -> Issued:
        """Return a certificate that begins and ends so many days from now, perhaps with a wildcard for its name."""
        begins, ends = int(self._now + begin * DAY), int(self._now + days * DAY)
        names = ("*.example.com", NAME) if wild else (NAME,)
        return self._root.issue(*names, not_before=begins, not_after=ends, **more)

    def _serve(self, issued: Issued) -> str:
        site = write_site(str(self._directory / f"site{issued.certificate.serial_number}"), issued)
        return self._stack.enter_context(AnsweringServer(site, lambda _path: [page("200 OK", b"hello")])).address

    def _write_files(self) -> None:
        self.tree.mkdir()
        for name, days, begin in (("good", 90, -90), ("soon", 5, -90), ("ended", -1, -90), ("future", 90, 1)):
            (self.tree / f"{name}.pem").write_bytes(self._issue(days, begin).pem())
        twins = [self._issue(90, serial=1) for _ in "12"]
        (self.tree / "twins.pem").write_bytes(b"".join(each.pem() for each in twins))
        for number, days in enumerate((1, -1)):
            listed = crl(self._root, self._now, this_update=self._now - 9 * DAY, next_update=self._now + days * DAY)
            (self.tree / f"list{number}.pem").write_bytes(crl_pem(listed))
        for number in range(BROKEN):
            (self.tree / f"broken{number}.pem").write_bytes(self._root.pem())
        (self._directory / "password").write_bytes(b"wrong")
        (self._directory / "keystores").mkdir()

    def break_files(self) -> None:
        """Damage files, lock a keystore, and put a directory in the tree that nobody may search."""
        for number in range(BROKEN):
            (self.tree / f"broken{number}.pem").write_bytes(self._root.pem()[:100] + b"\n-----END CERTIFICATE-----\n")
        (self._directory / "keystores" / "site.p12").write_bytes(keystore(self._issue(90), b"correct"))
        closed = self._directory / "closed"
        closed.mkdir()
        (self.tree / "closed").symlink_to(closed)
        if os.getuid() == 0:
            # A link beneath ** of somebody else's is not followed.
            os.lchown(self.tree / "closed", 65_534, 65_534)
        else:
            closed.chmod(0)


def asking(host: Host, module: str, targets: list[str]) -> Mapping[str, object]:
    """Return a job that has `/probe` look at `targets`, as the documents of other exporters have it."""
    return {
        "job_name": f"probe-{module}",
        "metrics_path": "/probe",
        "params": {"module": [module]},
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "static_configs": [{"targets": targets}],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": host.daemon.web},
            {"target_label": "cluster", "replacement": "one"},
        ],
    }


def as_asked(expression: str) -> str:
    for name, value in VALUES.items():
        expression = expression.replace(name, value)
    return expression


def test_every_query_of_theirs_finds_something(cleanup: ExitStack, tmp_path: Path) -> None:
    """It takes long: a daemon at which everything is wrong, and each query of others."""
    host = Host(tmp_path, cleanup)
    files = asking(host, "file", [f"{host.tree}/**/*.pem"])
    prometheus = cleanup.enter_context(
        Prometheus(str(tmp_path / "prometheus"), [host.daemon.web], more=[asking(host, "https", host.probed), files])
    )
    prometheus.wait_until("x509_source_up == 1")
    host.break_files()
    missing = [
        expression
        for other in OTHERS
        for expression in other["expressions"]
        if not found(prometheus, as_asked(expression))
    ]
    assert missing == []
    for other in OTHERS:
        for expression in other["absent"]:
            # It is an expression all the same.
            assert prometheus.query(as_asked(expression)) == [], expression
    # As with the exporters, the instance is what was probed.
    instances = {labels["instance"] for labels, _ in prometheus.query('ssl_probe_success{job="probe-https"}')}
    assert instances == set(host.probed)


def found(prometheus: Prometheus, expression: str) -> bool:
    try:
        return bool(prometheus.wait_until(expression))
    except TimeoutError:
        return False


def test_the_documents_name_each_reason_why_a_query_finds_nothing() -> None:
    text = (Path(__file__).parents[2] / "docs" / "grafana.md").read_text()
    for other in OTHERS:
        for reason in other["absent"].values():
            assert reason in " ".join(text.split()), reason
