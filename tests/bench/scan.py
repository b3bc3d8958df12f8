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

from tests.bench.daemon import MeasuredDaemon
from tests.bench.estate import MeasuredEstate
from tests.bench.report import Measurement

ROUNDS: Final = 5
SETTLED: Final = 2.0
"""Seconds after which what an idle daemon holds no longer changes."""


def measure(directory: str, estate: MeasuredEstate) -> Iterator[Measurement]:
    """Measure the daemon on `estate`; in the end, its state is left in `directory`.

    A restart is compared with the first scan by the CPU time of all processes, from the start of the first one.
    """
    yield _idle(os.path.join(directory, "idle"))
    against_floor, against_first = [], []
    for _ in range(ROUNDS):
        _warm(estate)
        floor = _floor(estate)
        _warm(estate)
        shutil.rmtree(os.path.join(directory, "state"), ignore_errors=True)
        with MeasuredDaemon(directory, estate.pattern) as first:
            first_cpu = first.cpu_seconds()
            first.await_recorded(len(estate.files))
            first.scrape()
            time.sleep(SETTLED)
            resident = first.resident_mb()
        with MeasuredDaemon(directory, estate.pattern) as again:
            again_cpu = again.cpu_seconds()
        against_floor.append(first.since_loaded / floor)
        against_first.append(again_cpu / first_cpu)
        _say(f"floor {floor:.2f} s")
        for what, daemon, cpu in (("first scan", first, first_cpu), ("restart", again, again_cpu)):
            _say(f"{what} {daemon.since_loaded:.2f} s, {daemon.since_start:.2f} s from the start, CPU {cpu:.2f} s")
    yield Measurement("first_scan_vs_floor", round(statistics.median(against_floor), 2), "ratio", 1.5)
    yield Measurement("restart_vs_first_scan", round(statistics.median(against_first), 2), "ratio", 0.25)
    yield Measurement("rss_20k_mb", round(resident, 1), "MB", 200)


def _idle(directory: str) -> Measurement:
    os.makedirs(directory)
    with MeasuredDaemon(directory) as daemon:
        daemon.scrape()
        time.sleep(SETTLED)
        return Measurement("rss_idle_mb", round(daemon.resident_mb(), 1), "MB", 100)


def _warm(estate: MeasuredEstate) -> None:
    """Have every file in the page cache: the disk is not what is measured."""
    for path in estate.files:
        with open(path, "rb") as file:
            file.read()


def _floor(estate: MeasuredEstate) -> float:
    command = (sys.executable, "-m", "tests.bench.floor", estate.directory)
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
