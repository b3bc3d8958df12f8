"""How long after a finding is raised a channel has the message about it."""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

from monitor.lab.ca import DAY, Authority
from tests.bench.daemon import PATIENCE, MeasuredDaemon
from tests.bench.report import Measurement

FINDINGS: Final = 200
PER_SECOND: Final = 5
SETTLED: Final = 10.0
"""Seconds after the daemon is ready, by when whatever is loaded late has been."""
_RAISED: Final = re.compile(r"^(\S+) error +raised (\S+/\d+\.pem) ", re.MULTILINE)
_TOLD: Final = re.compile(rb" on (\S+/\d+\.pem)\"")


def measure(directory: str) -> Iterator[Measurement]:
    """Measure while certificates that have expired come one after the other, each a problem of its own."""
    here = os.path.join(directory, "told")
    os.makedirs(here)
    root, now = Authority.root(), time.time()
    pems = [
        root.issue(f"{number}.example.com", not_before=now - 90 * DAY, not_after=now - DAY).pem()
        for number in range(FINDINGS)
    ]
    told: dict[str, float] = {}
    server = _receiver(told)
    daemon = MeasuredDaemon(here, os.path.join(here, "*.pem"))
    with open(daemon.config_file, "r+", encoding="utf-8") as file:
        config = json.load(file)
        config["channels"] = {"bench": {"urls": ["json://{}:{}/".format(*server.server_address[:2])]}}
        file.seek(0)
        json.dump(config, file)
    with daemon:
        time.sleep(SETTLED)
        for number, pem in enumerate(pems):
            # By rename, so that nothing is seen half written.
            new = os.path.join(here, f"{number}.new")
            with open(new, "wb") as file_of_it:
                file_of_it.write(pem)
            os.rename(new, os.path.join(here, f"{number}.pem"))
            time.sleep(1 / PER_SECOND)
        end = time.monotonic() + PATIENCE
        while len(told) < FINDINGS:
            if time.monotonic() > end:
                raise TimeoutError(f"only {len(told)} of {FINDINGS} findings were told")
            time.sleep(0.1)
    server.shutdown()
    server.server_close()
    with open(daemon.log_file, encoding="utf-8") as log:
        raised = {path: datetime.fromisoformat(at).timestamp() for at, path in _RAISED.findall(log.read())}
    seconds = [told[path] - raised[path] for path in told]
    sys.stderr.write(
        f"told after: median {statistics.median(seconds) * 1000:.0f} ms, most {max(seconds) * 1000:.0f} ms\n"
    )
    p99 = statistics.quantiles(seconds, n=100)[98]
    yield Measurement("finding_to_channel_p99_ms", round(p99 * 1000, 1), "ms", 1000)


def _receiver(told: dict[str, float]) -> ThreadingHTTPServer:
    """Return a server that notes when a message about each path arrives first."""

    class NotifyHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived = time.time()
            said = self.rfile.read(int(self.headers["Content-Length"]))
            for path in _TOLD.findall(said):
                told.setdefault(path.decode(), arrived)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), NotifyHandler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server
