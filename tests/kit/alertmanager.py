"""Debian's Alertmanager, and somebody to whom it sends."""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from monitor.lab.process import ServerProcess, accepts, free_address

Notice = Mapping[str, Any]

_AT_ONCE: Final = {"group_wait": "100ms", "group_interval": "100ms"}


class AlertReceiver:
    """Takes what Alertmanager sends to a webhook."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        """Each alert of each message, with the name of the receiver that it was meant for as `receiver`."""
        receiver = self

        class AlertHandler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.notices += [{**alert, "receiver": message["receiver"]} for alert in message["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), AlertHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self, alertname: str, status: str) -> list[Notice]:
        """Return what was said of alerts of that name: that they are `firing`, or `resolved`."""
        return [
            each for each in tuple(self.notices) if (each["labels"]["alertname"], each["status"]) == (alertname, status)
        ]


class Alertmanager:
    """An Alertmanager with a configuration whose receivers all send to one URL, at once."""

    def __init__(self, directory: str, config: Mapping[str, Any], url: str) -> None:
        self.host, self.port = free_address()
        self._directory = directory
        os.makedirs(directory, exist_ok=True)
        webhooks = [{"url": url, "send_resolved": True}]
        self._config = {
            **config,
            "route": _impatient(config["route"]),
            "receivers": [{**each, "webhook_configs": webhooks} for each in config["receivers"]],
        }

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def __enter__(self) -> Self:
        config_file = os.path.join(self._directory, "alertmanager.json")
        with open(config_file, "w", encoding="utf-8") as file:
            json.dump(self._config, file)
        self._process = ServerProcess(
            (
                "prometheus-alertmanager",
                f"--config.file={config_file}",
                f"--storage.path={self._directory}/data",
                f"--web.listen-address={self.address}",
                "--cluster.listen-address=",
                "--log.level=warn",
            ),
            os.path.join(self._directory, "alertmanager.log"),
        )
        self._process.wait_for_start(lambda: accepts(self.host, self.port), "listening", deadline=30)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def fire(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """Have alerts with these labels fire."""
        request = urllib.request.Request(
            f"http://{self.address}/api/v2/alerts",
            json.dumps([{"labels": labels} for labels in alerts]).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def inhibited(self) -> dict[str, bool]:
        """Return of each alert, by its name, whether another one inhibits it."""
        with urllib.request.urlopen(f"http://{self.address}/api/v2/alerts", timeout=10) as answer:
            return {each["labels"]["alertname"]: bool(each["status"]["inhibitedBy"]) for each in json.load(answer)}


def _impatient(route: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**route, **_AT_ONCE, "routes": [_impatient(each) for each in route.get("routes", ())]}
