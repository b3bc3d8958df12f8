"""How long a person waits for the command line."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Final

from monitor.lab.ca import Authority
from monitor.lab.servers import LocalServer, write_site
from tests.bench.report import Measurement
from tests.kit.daemon import RunningDaemon

RUNS: Final = 9


def measure(file: str) -> Iterator[Measurement]:
    """Measure `certvigil --version`, `certvigil check` of that file with certificates, and `certvigil inventory`."""
    yield Measurement("version_s", median_seconds("--version"), "s", 0.25)
    yield Measurement("check_file_s", median_seconds("check", file), "s", 0.6)
    yield from _measure_inventory()


def _measure_inventory() -> Iterator[Measurement]:
    """Measure `certvigil inventory` of a server, where a daemon is asked, and where the command looks itself."""
    with tempfile.TemporaryDirectory() as directory:
        site = write_site(os.path.join(directory, "site"), Authority.root("Bench").issue("www.example.com"))
        with LocalServer([site]) as server:
            config = {
                "components": {
                    "web": {
                        "artefacts": {"certificate": site.certificate, "key": site.key},
                        "endpoints": [{"address": server.address, "server_name": "www.example.com"}],
                    }
                }
            }
            with RunningDaemon(config) as daemon:
                seconds = median_seconds("inventory", "--socket", daemon.socket)
                yield Measurement("inventory_s", seconds, "s", 0.5)
                alone = ("inventory", "--config", daemon.config_file, "--socket", os.path.join(directory, "none"))
                # Not one of the limits: the configuration is read, and a handshake made.
                yield Measurement("inventory_alone_s", median_seconds(*alone), "s", 1.5)


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
