"""How long a person waits for the command line."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from tests.bench.report import Measurement

RUNS: Final = 9


def measure(file: str) -> Iterator[Measurement]:
    """Measure `certvigil --version`, and `certvigil check` of that file with certificates."""
    yield Measurement("version_s", median_seconds("--version"), "s", 0.25)
    yield Measurement("check_file_s", median_seconds("check", file), "s", 0.6)


def median_seconds(*arguments: str) -> float:
    command = (os.path.join(os.path.dirname(sys.executable), "certvigil"), *arguments)
    return round(statistics.median(_seconds(command) for _ in range(RUNS)), 3)


def _seconds(command: tuple[str, ...]) -> float:
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode not in {0, 1, 2}:
        raise RuntimeError(f"{command} ended with status {done.returncode}: {done.stderr.decode()}")
    return seconds
