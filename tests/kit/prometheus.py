"""Debian's Prometheus, scraping what a test gives it, and promtool."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

from monitor.lab.process import ServerProcess, accepts, find_command, free_address, wait_for

Sample = tuple[Mapping[str, str], float]
Line = tuple[Mapping[str, str], Sequence[tuple[float, float]]]


class Prometheus:
    """A Prometheus that scrapes `/metrics` of `targets` (`host:port`), by default five times a second."""

    def __init__(
        self,
        directory: str,
        targets: Sequence[str],
        rules: Sequence[str] = (),
        *,
        scrape: Mapping[str, object] = MappingProxyType({}),
        alertmanagers: Sequence[str] = (),
        every: str = "200ms",
        more: Sequence[Mapping[str, object]] = (),
    ) -> None:
        """Take from `scrape` what else the scrape configuration says; alerts go to `alertmanagers` (`host:port`).

        `more` are further scrape configurations.
        """
        self.directory = directory
        self.host, self.port = free_address()
        self._targets = list(targets)
        self._rules = list(rules)
        self._scrape = dict(scrape)
        self._alertmanagers = list(alertmanagers)
        self._every = every
        self._more = list(more)
        self._process: ServerProcess | None = None

    def start(self) -> None:
        """Return once it answers."""
        os.makedirs(self.directory, exist_ok=True)
        config_file = os.path.join(self.directory, "prometheus.json")
        # Prometheus reads YAML, of which JSON is a part.
        with open(config_file, "w", encoding="utf-8") as file:
            json.dump(self._config(), file)
        self._process = process = ServerProcess(
            (
                "prometheus",
                f"--config.file={config_file}",
                f"--storage.tsdb.path={self.directory}/data",
                f"--web.listen-address={self.host}:{self.port}",
                "--log.level=warn",
            ),
            os.path.join(self.directory, "prometheus.log"),
        )
        process.wait_for_start(self._ready, "getting ready", deadline=30)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """Return the labels (`__name__` among them) and the value of each series of an instant vector.

        They are as of now, or of Unix time `at`.
        """
        moment = {} if at is None else {"time": str(at)}
        answer = self._get("/api/v1/query", query=expression, **moment)
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[Line]:
        """Return the labels and the points (Unix time, value) of each series, one every `step` seconds."""
        answer = self._get("/api/v1/query_range", query=expression, start=str(start), end=str(end), step=str(step))
        return [
            (each["metric"], [(float(at), float(value)) for at, value in each["values"]])
            for each in answer["data"]["result"]
        ]

    def rule_seconds(self) -> dict[str, float]:
        """Return how long each group of rules took when it was evaluated last."""
        groups = self._get("/api/v1/rules")["data"]["groups"]
        return {each["name"]: float(each["evaluationTime"]) for each in groups}

    def wait_until(
        self, expression: str, condition: Callable[[list[Sample]], bool] = bool, deadline: float = 15.0
    ) -> list[Sample]:
        """Return the first answer to `expression` that meets `condition`, which by default is not to be empty."""
        answers = wait_for(lambda: [each for each in [self.query(expression)] if condition(each)], deadline, expression)
        return answers[0]

    def target_errors(self) -> dict[str, str]:
        """Return the last scrape error by scrape address, empty where it went well."""
        active = self._get("/api/v1/targets", state="active")["data"]["activeTargets"]
        return {each["discoveredLabels"]["__address__"]: each["lastError"] for each in active}

    def _config(self) -> dict[str, Any]:
        return {
            "global": {
                "scrape_interval": self._every,
                "scrape_timeout": self._every,
                "evaluation_interval": self._every,
            },
            "rule_files": self._rules,
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": self._alertmanagers}]}]},
            "scrape_configs": [
                {"job_name": "certvigil", "static_configs": [{"targets": self._targets}], **self._scrape},
                *self._more,
            ],
        }

    def _ready(self) -> bool:
        if not accepts(self.host, self.port):
            return False
        try:
            self._open("/-/ready")
        except OSError:
            return False
        return True

    def _get(self, path: str, **parameters: str) -> Any:
        return json.loads(self._open(f"{path}?{urllib.parse.urlencode(parameters)}"))

    def _open(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=10) as response:
            body: bytes = response.read()
        return body


def check_metrics(page: str | bytes) -> list[str]:
    """Return the complaints of `promtool check metrics` about a page of metrics, one per line."""
    command = find_command("promtool")
    assert command is not None
    checked = subprocess.run(
        [command, "check", "metrics"],
        input=page.encode() if isinstance(page, str) else page,
        capture_output=True,
        timeout=30,
        check=False,
    )
    complaints = (checked.stdout + checked.stderr).decode().splitlines()
    return complaints or ([f"promtool ended with status {checked.returncode}"] if checked.returncode else [])
