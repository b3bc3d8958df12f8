"""What a daemon that watches ten thousand files does once it is ready: scrapes, changes of files, nothing new."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Final

from monitor.lab.ca import Authority
from monitor.lab.servers import Nginx, write_site
from monitor.store import database_path
from tests.bench.daemon import PATIENCE, MeasuredDaemon
from tests.bench.estate import MeasuredEstate
from tests.bench.measured import LOOKS
from tests.bench.report import Measurement

SCRAPES: Final = 40
BETWEEN: Final = 0.25
"""Seconds between two scrapes."""
ENDPOINTS: Final = 20
_COMMAND: Final = ("-m", "tests.bench.measured")


def measure_scrapes(directory: str, estate: MeasuredEstate) -> Iterator[Measurement]:
    """Measure scraping, while files are looked at every two seconds and endpoints forty times a second."""
    site = write_site(os.path.join(directory, "site"), Authority.root().intermediate().issue("localhost"))
    with Nginx(os.path.join(directory, "nginx"), [site]) as server:
        endpoints = {f"endpoint {number}": server.address for number in range(ENDPOINTS)}
        with MeasuredDaemon(directory, estate.pattern, rescan="2s", endpoints=endpoints, command=_COMMAND) as daemon:
            ready = time.monotonic()
            scrapes = []
            for _ in range(SCRAPES):
                scrapes.append(daemon.scrape())
                time.sleep(BETWEEN)
            end = time.monotonic()
    stalls = [late for due, late in _seen(daemon)["stalls"] if ready < due < end]
    seconds = [each for each, _ in scrapes]
    _say(f"scrape: first {seconds[0] * 1000:.0f} ms, most {max(seconds[1:]) * 1000:.0f} ms, {scrapes[-1][1]} bytes")
    _say(f"stalls of the event loop over 20 ms: {sorted(round(each * 1000) for each in stalls if each > 0.02)}")
    yield Measurement("scrape_p50_ms", round(statistics.median(seconds) * 1000, 1), "ms", 150)
    yield Measurement("loop_stall_max_ms", round(max(stalls, default=0.0) * 1000, 1), "ms", 50)


def measure_rows(directory: str, estate: MeasuredEstate) -> Iterator[Measurement]:
    """Measure how the database grows while nothing changes."""
    with MeasuredDaemon(directory, estate.pattern, command=_COMMAND) as daemon:
        daemon.await_recorded(len(estate.files))
        before = _rows(daemon.state)
        done = f"{daemon.config_file}.looked"
        daemon.signal(signal.SIGUSR1)
        end = time.monotonic() + PATIENCE
        while not os.path.exists(done):
            if time.monotonic() > end:
                raise TimeoutError(f"{LOOKS} looks were not done in time")
            time.sleep(0.1)
    # Closing writes whatever waits.
    grown = _rows(daemon.state) - before
    with open(done, encoding="utf-8") as file:
        _say(f"{json.load(file)} looks, {before} rows before, {grown} more after")
    yield Measurement("rows_per_100k_unchanged_looks", grown, "rows", 0)


def _rows(state: str) -> int:
    with sqlite3.connect(f"file:{database_path(state)}?mode=ro", uri=True) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return sum(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables)


def _seen(daemon: MeasuredDaemon) -> dict[str, list[list[float]]]:
    with open(f"{daemon.config_file}.seen", encoding="utf-8") as file:
        seen: dict[str, list[list[float]]] = json.load(file)
    return seen


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
