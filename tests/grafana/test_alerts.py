"""Alerts from a certificate that runs out to somebody who is told, over a real Prometheus and a real Alertmanager."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from monitor.lab.ca import Authority
from monitor.lab.process import find_command, wait_for
from monitor.lab.servers import Nginx, Site, write_site
from tests.kit.alertmanager import Alertmanager, AlertReceiver
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.dashboards import GRAFANA, RULES, rules
from tests.kit.prometheus import Prometheus
from tests.kit.start import StartServer

NAME: Final = "www.example.com"

pytestmark = pytest.mark.server("prometheus-alertmanager")


@pytest.fixture
def receiver(cleanup: ExitStack) -> AlertReceiver:
    return cleanup.enter_context(AlertReceiver())


@pytest.fixture
def alertmanager(tmp_path: Path, cleanup: ExitStack, receiver: AlertReceiver) -> Alertmanager:
    config = yaml.safe_load((GRAFANA / "alertmanager.yaml").read_text())
    return cleanup.enter_context(Alertmanager(str(tmp_path / "alertmanager"), config, receiver.url))


def component(server: Nginx, site: Site) -> Mapping[str, Any]:
    test = [find_command("nginx"), *server.test_command[1:]]
    reload = [*test[:-1], "-s", "reload"]
    return {
        "artefacts": {"certificate": site.certificate, "key": site.key},
        "endpoints": [{"address": server.address, "name": NAME, "every": "0.5s"}],
        "clients": ["browser"],
        "service": {"test": test, "activate": "reload", "reload": reload, "restart": reload},
    }


@pytest.mark.server("nginx")
@pytest.mark.server("prometheus")
def test_a_certificate_that_runs_out_is_told_and_told_to_be_replaced(
    start_nginx: StartServer[Nginx],
    alertmanager: Alertmanager,
    receiver: AlertReceiver,
    cleanup: ExitStack,
    tmp_path: Path,
) -> None:
    """It takes long: a daemon, Prometheus and Alertmanager at work for as long as an alert waits."""
    root = Authority.root()
    site = write_site(str(tmp_path / "site"), root.issue(NAME))
    server = start_nginx(site)
    (tmp_path / "root.pem").write_bytes(root.pem())
    daemon = cleanup.enter_context(
        RunningDaemon(
            {
                "actor": {"directory": str(tmp_path / "actor")},
                "trust_stores": {"corporate": {"bundle": str(tmp_path / "root.pem")}},
                "clients": {"browser": {"trusts": "corporate"}},
                "components": {"web": component(server, site)},
                "validation": {"successes": 1, "interval": "0.1s", "deadline": "5s", "handshakes": 2},
            }
        )
    )
    endpoint = f"web/{server.address}"
    prometheus = cleanup.enter_context(
        Prometheus(str(tmp_path / "prometheus"), [daemon.web], [str(RULES)], alertmanagers=[alertmanager.address])
    )
    prometheus.wait_until(f'certvigil_target_up{{target="{endpoint}"}} == 1')
    site.install(root.issue(NAME, not_after=int(time.time()) + 5))
    server.reload()

    def told(alertname: str, status: str) -> list[Mapping[str, Any]]:
        return [each for each in receiver.told(alertname, status) if each["labels"]["target"] == endpoint]

    expiring = wait_for(lambda: told("CertificateExpiring", "firing"), 20, "word that it expires soon")
    assert expiring[0]["labels"]["severity"] == "critical"
    expired = wait_for(lambda: told("CertificateExpired", "firing"), 20, "word that it has expired")
    assert expired[0]["receiver"] == "on-call"
    assert expired[0]["annotations"]["summary"] == f"A certificate of {endpoint} has expired"

    (tmp_path / "new.pem").write_bytes((new := root.issue(NAME)).chain_pem() + new.key_pem())
    replaced = certvigil("replace", "web", "--from", str(tmp_path / "new.pem"), "--config", daemon.config_file)
    assert replaced.returncode == 0, replaced.stdout + replaced.stderr
    wait_for(lambda: told("CertificateExpired", "resolved"), 20, "word that it is replaced")


@pytest.mark.parametrize(
    ("source", "inhibited", "free"),
    [
        ("CertificateExpired", {"CertificateExpiring", "ClientRejectsCertificate"}, {"CertificateUnreadable"}),
        ("NetworkUnreachable", {"EndpointUnreachable", "EndpointPartlyUnreachable"}, {"CertificateExpired"}),
        ("ComponentFrozen", {"ComponentTrouble", "ApprovalPending", "ChangeUndone"}, {"CertificateExpired"}),
        ("ClientRejectsCertificate", {"CertificateFaulty"}, {"CertificateUnreadable"}),
    ],
)
def test_what_follows_from_something_worse_is_not_told(
    alertmanager: Alertmanager, receiver: AlertReceiver, source: str, inhibited: set[str], free: set[str]
) -> None:
    labels = {"job": "certvigil", "instance": "web1:9790", "target": "web/www:443", "component": "web"}
    labels |= {"code": "incomplete_chain", "severity": "critical"}
    alertmanager.fire([labels | {"alertname": source}])
    wait_for(lambda: receiver.told(source, "firing"), 10, source)
    alertmanager.fire([labels | {"alertname": each} for each in inhibited | free])
    for each in free:
        wait_for(lambda each=each: receiver.told(each, "firing"), 10, each)  # type: ignore[misc]
    found = alertmanager.inhibited()
    assert {name for name, by_another in found.items() if by_another} == inhibited
    assert {each["labels"]["alertname"] for each in receiver.notices} == {source, *free}
    # On another host nothing of that is known.
    elsewhere = labels | {"instance": "web2:9790"}
    alertmanager.fire([elsewhere | {"alertname": each} for each in inhibited])
    for each in inhibited:
        wait_for(lambda each=each: receiver.told(each, "firing"), 10, each)  # type: ignore[misc]


def test_one_certificate_on_many_hosts_is_one_message(alertmanager: Alertmanager, receiver: AlertReceiver) -> None:
    config = yaml.safe_load((GRAFANA / "alertmanager.yaml").read_text())
    assert config["route"]["group_by"] == ["alertname", "sha256"]
    hosts = [f"web{number}:9790" for number in range(3)]
    labels = {"alertname": "CertificateExpiring", "severity": "warning", "sha256": "aa"}
    alertmanager.fire([labels | {"instance": each} for each in hosts])
    wait_for(lambda: len(receiver.told("CertificateExpiring", "firing")) >= len(hosts), 10, "word of all hosts")
    assert {each["receiver"] for each in receiver.notices} == {"team"}


def test_a_watcher_that_is_gone_is_told_to_those_who_run_it(
    alertmanager: Alertmanager, receiver: AlertReceiver
) -> None:
    watching = [rule["alert"] for rule in rules() if rule.get("alert", "").startswith("Certvigil")]
    alertmanager.fire([{"alertname": each, "severity": "critical", "instance": "web1:9790"} for each in watching])
    wait_for(lambda: {each["labels"]["alertname"] for each in receiver.notices} == set(watching), 10, "all of them")
    assert {each["receiver"] for each in receiver.notices} == {"watchers"}


def test_every_alert_that_inhibits_or_is_inhibited_exists() -> None:
    names = {rule["alert"] for rule in rules() if "alert" in rule}
    config = yaml.safe_load((GRAFANA / "alertmanager.yaml").read_text())
    for rule in config["inhibit_rules"]:
        for matcher in (rule["source_matchers"][0], rule["target_matchers"][0]):
            assert set(matcher.partition('"')[2].removesuffix('"').split("|")) <= names
