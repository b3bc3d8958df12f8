"""The first scan, the restart after it, and the memory that is held then."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from tests.bench.daemon import Daemon
from tests.bench.estate import Estate
from tests.bench.report import Measurement

ROUNDS: Final = 3
SETTLED: Final = 2.0
"""Seconds after which what an idle daemon holds no longer changes."""


def measure(directory: str, estate: Estate) -> Iterator[Measurement]:
    """Measure the daemon on `estate`; in the end, its state is left in `directory`."""
    yield _idle(os.path.join(directory, "idle"))
    ratios, firsts = [], []
    for _ in range(ROUNDS):
        floor = _floor(estate)
        shutil.rmtree(os.path.join(directory, "state"), ignore_errors=True)
        with Daemon(directory, estate.pattern) as daemon:
            _say(f"first scan {daemon.since_scan:.2f} s ({daemon.since_start:.2f} s with start), floor {floor:.2f} s")
            daemon.await_recorded(len(estate.files))
            daemon.scrape()
            time.sleep(SETTLED)
            resident = daemon.resident_mb()
        ratios.append(daemon.since_scan / floor)
        firsts.append(daemon.since_start)
    yield Measurement("first_scan_vs_floor", round(statistics.median(ratios), 2), "ratio", 1.5)
    restarts = []
    for _ in range(ROUNDS):
        with Daemon(directory, estate.pattern) as daemon:
            _say(f"restart {daemon.since_scan:.2f} s ({daemon.since_start:.2f} s with start)")
        restarts.append(daemon.since_start)
    ratio = statistics.median(restarts) / statistics.median(firsts)
    yield Measurement("restart_vs_first_scan", round(ratio, 2), "ratio", 0.5)
    yield Measurement("rss_20k_mb", round(resident, 1), "MB", 200)


def _idle(directory: str) -> Measurement:
    os.makedirs(directory)
    with Daemon(directory) as daemon:
        daemon.scrape()
        time.sleep(SETTLED)
        return Measurement("rss_idle_mb", round(daemon.resident_mb(), 1), "MB", 100)


def _floor(estate: Estate) -> float:
    command = (sys.executable, "-m", "tests.bench.floor", estate.directory)
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
