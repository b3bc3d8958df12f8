"""The rules for Prometheus do what they say: promtool runs `rules.yaml`, and no alert is left out there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from monitor.lab.process import find_command

RULES: Final = Path(__file__).parents[2] / "grafana" / "rules" / "certvigil.yaml"
TESTS: Final = Path(__file__).with_name("rules.yaml")

pytestmark = pytest.mark.server("promtool")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = find_command("promtool")
    assert command is not None
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=300, check=False)


def test_every_alert_fires_and_resolves_as_promtool_is_told() -> None:
    ran = promtool("test", "rules", str(TESTS))
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_for_every_alert_something_is_told() -> None:
    alerts = {rule["alert"] for group in read(RULES)["groups"] for rule in group["rules"] if "alert" in rule}
    for expected in (True, False):
        told = {
            each["alertname"]
            for test in read(TESTS)["tests"]
            for each in test.get("alert_rule_test", ())
            if bool(each["exp_alerts"]) is expected
        }
        assert told == alerts


def test_every_alert_says_what_it_is_about() -> None:
    for group in read(RULES)["groups"]:
        for rule in group["rules"]:
            assert "alert" not in rule or set(rule["annotations"]) == {"summary", "description"}
