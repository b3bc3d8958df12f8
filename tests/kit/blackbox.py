"""Debian's blackbox_exporter, to compare with."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Mapping
from typing import Self

from monitor.lab.process import ServerProcess, accepts, free_address


class Blackbox:
    """A blackbox_exporter with modules for TLS alone and for HTTPS, that trust one CA; it asks for one name."""

    def __init__(self, directory: str, ca_file: str, server_name: str) -> None:
        self.host, self.port = free_address()
        os.makedirs(directory, exist_ok=True)
        self._log = os.path.join(directory, "blackbox.log")
        self._config_file = os.path.join(directory, "blackbox.json")
        tls = {"ca_file": ca_file, "server_name": server_name}
        modules: Mapping[str, object] = {
            "tls": {"prober": "tcp", "tcp": {"tls": True, "tls_config": tls}},
            # As ssl_exporter's module of that name: any answer is one.
            "https": {
                "prober": "http",
                "http": {"tls_config": tls, "valid_status_codes": list(range(200, 600)), "follow_redirects": False},
            },
            "http_2xx": {"prober": "http", "http": {"tls_config": tls}},
        }
        with open(self._config_file, "w", encoding="utf-8") as file:
            json.dump({"modules": modules}, file)

    def __enter__(self) -> Self:
        self._process = ServerProcess(
            (
                "prometheus-blackbox-exporter",
                f"--config.file={self._config_file}",
                f"--web.listen-address={self.host}:{self.port}",
                "--log.level=error",
            ),
            self._log,
        )
        self._process.wait_for_start(lambda: accepts(self.host, self.port), "listening")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def probe(self, target: str, module: str) -> str:
        """Return the metrics of one look."""
        url = f"http://{self.host}:{self.port}/probe?module={module}&target={target}"
        with urllib.request.urlopen(url, timeout=20) as response:
            text: str = response.read().decode()
        return text
