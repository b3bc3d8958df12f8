"""What compose.yaml starts fits together, and each program takes what it is given."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from monitor.lab.process import find_command, free_address
from tests.kit.daemon import CERTVIGIL
from tests.kit.dashboards import DASHBOARDS, GRAFANA
from tests.kit.prometheus import Prometheus

ROOT: Final = GRAFANA.parent


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture
def services() -> Any:
    return read(ROOT / "compose.yaml")["services"]


def check(command: str, *arguments: str) -> None:
    program = find_command(command)
    assert program is not None
    ran = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.server("promtool")
def test_prometheus_takes_its_configuration() -> None:
    check("promtool", "check", "config", str(GRAFANA / "prometheus.yaml"))


@pytest.mark.server("amtool")
def test_alertmanager_takes_its_configuration() -> None:
    check("amtool", "check-config", str(GRAFANA / "alertmanager.yaml"))


def mounts(service: Any) -> dict[str, Path]:
    """Return what lies where in a container."""
    places = [each.split(":") for each in service.get("volumes", ())]
    return {inside: (ROOT / outside).resolve() for outside, inside, _ in places}


def test_everything_that_is_mounted_is_there(services: Any) -> None:
    for service in services.values():
        assert all(path.exists() for path in mounts(service).values())
    assert services["certvigil"]["build"] == "."


def test_the_programs_find_each_other(services: Any) -> None:
    prometheus = read(GRAFANA / "prometheus.yaml")
    sources = read(GRAFANA / "provisioning" / "datasources" / "prometheus.yaml")["datasources"]
    (scraped,) = prometheus["scrape_configs"][0]["static_configs"]
    (told,) = prometheus["alerting"]["alertmanagers"][0]["static_configs"]
    asked = [*scraped["targets"], *told["targets"], *(each["url"].removeprefix("http://") for each in sources)]
    assert {each.partition(":")[0] for each in asked} <= set(services)
    # certvigil answers only to names that it knows: its own, as the container has it, is one.
    assert services["certvigil"]["hostname"] == "certvigil"
    (rules,) = prometheus["rule_files"]
    inside = mounts(services["prometheus"])
    assert list(inside[os.path.dirname(rules)].glob("*.yaml")) == [GRAFANA / "rules" / "certvigil.yaml"]


def test_grafana_finds_the_dashboards_and_shows_one(services: Any) -> None:
    grafana = services["grafana"]
    inside = mounts(grafana)
    (provider,) = read(GRAFANA / "provisioning" / "dashboards" / "certvigil.yaml")["providers"]
    assert inside[provider["options"]["path"]] == DASHBOARDS
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (inside[os.path.dirname(home)] / os.path.basename(home)).exists()


@pytest.mark.server("prometheus")
def test_prometheus_reaches_the_demonstration_where_it_is_told_to_listen(tmp_path: Path) -> None:
    """It takes long: the demonstration is started as its user starts it."""
    address = "{}:{}".format(*free_address())
    with (
        Prometheus(str(tmp_path / "prometheus"), [address]) as prometheus,
        subprocess.Popen([*CERTVIGIL, "demo", "--listen", address], stdout=subprocess.PIPE, text=True) as demo,
    ):
        assert demo.stdout is not None
        try:
            # It says so once it listens; without a word of that it ends, and so does its output.
            assert any(f"http://{address}/metrics" in line for line in demo.stdout)
            prometheus.wait_until('count(certvigil_target_info{kind="endpoint"}) == 4', deadline=30)
        finally:
            demo.terminate()
            demo.communicate(timeout=20)
