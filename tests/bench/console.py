"""What the console costs: its pages over 20,000 certificates, what a browser loads, and ten browsers that wait."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Final

from monitor.lab.ca import DAY, Authority
from tests.bench.daemon import PATIENCE, MeasuredDaemon
from tests.bench.estate import MeasuredEstate
from tests.bench.report import Measurement

PAGES: Final = (
    *(
        "/",
        "/certificates",
        "/certificates?sort=issuer&page=50",
        "/certificates?state=critical",
        "/certificates?q=00199",
    ),
    *("/certificates.json", "/clients", "/timeline", "/timeline.ics", "/history", "/settings"),
)
ROUNDS: Final = 10
PROBLEMS: Final = 20
BROWSERS: Final = 10
IDLE: Final = 30.0
"""Seconds."""


def measure(directory: str, estate: MeasuredEstate) -> Iterator[Measurement]:
    """Measure with one daemon that watches all files, and one that watches faulty ones."""
    with MeasuredDaemon(os.path.join(directory), estate.pattern) as daemon:
        seconds, _ = _get(daemon, "/")
        yield Measurement("first_page_ms", round(1000 * seconds, 1), "ms", 300)
        times = sorted(_get(daemon, page)[0] for _ in range(ROUNDS) for page in PAGES)
        yield Measurement("page_ms_p95", round(1000 * times[int(len(times) * 0.95)], 1), "ms", 100)
        yield Measurement("console_idle_cpu_pct", round(_idle(daemon), 2), "%", 0.5)
    faulty = os.path.join(directory, "faulty")
    os.makedirs(faulty)
    issuer, now = Authority.root(), time.time()
    for number in range(PROBLEMS):
        issued = issuer.issue(f"host{number}.example.com", not_before=now - 90 * DAY, not_after=now - DAY)
        with open(os.path.join(faulty, f"{number}.pem"), "wb") as file:
            file.write(issued.pem())
    with MeasuredDaemon(faulty, f"{faulty}/*.pem") as daemon:
        page = _when_told(daemon)
        assets = set(re.findall(r'(?:href|src)="(assets/[^"]+)"', page))
        total = _get(daemon, "/")[1] + sum(_get(daemon, f"/{each}")[1] for each in assets)
        yield Measurement("page_kb", round(total / 1024, 1), "KiB", 60)


def _get(daemon: MeasuredDaemon, path: str) -> tuple[float, int]:
    """Return the seconds until a whole answer has come, and its bytes as they were sent."""
    connection = HTTPConnection(daemon.listen, timeout=PATIENCE)
    started = time.monotonic()
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    size = len(answer.read())
    seconds = time.monotonic() - started
    connection.close()
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"{path} answered {answer.status}")
    return seconds, size


def _when_told(daemon: MeasuredDaemon) -> str:
    """Return the page *Now* once all problems stand on it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        connection = HTTPConnection(daemon.listen, timeout=PATIENCE)
        connection.request("GET", "/")
        page = connection.getresponse().read().decode()
        connection.close()
        if page.count('id="problem-') == PROBLEMS:
            return page
        time.sleep(0.2)
    raise TimeoutError("not all problems stand on the page")


def _idle(daemon: MeasuredDaemon) -> float:
    """Return the per cent of a processor that the daemon takes more while browsers wait for events."""
    alone = _spent(daemon)
    with ExitStack() as open_streams:
        for _ in range(BROWSERS):
            connection = HTTPConnection(daemon.listen, timeout=PATIENCE)
            open_streams.callback(connection.close)
            connection.request("GET", "/api/v1/events")
            connection.getresponse().readline()
        return max(0.0, _spent(daemon) - alone)


def _spent(daemon: MeasuredDaemon) -> float:
    before = daemon.cpu_seconds()
    time.sleep(IDLE)
    return 100 * (daemon.cpu_seconds() - before) / IDLE
