"""Looks for each second of CPU by the whole daemon, with its database and its metrics, against blackbox_exporter.

Both look at the same servers, half of them with an RSA and half with an EC certificate, by the same trust store. The
daemon is counted with all its processes, over some time in which Prometheus would scrape it; of blackbox_exporter, the
best round counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Final

from tests.bench.daemon import MeasuredDaemon
from tests.bench.look_cpu import LOOKS, SERVER_NAME, MeasuredBlackbox, rsa_and_ec
from tests.bench.report import Measurement

LIMIT: Final = 1.0
ENDPOINTS: Final = 1_000
EVERY: Final = 5.0
SETTLE: Final = 2 * EVERY
"""Seconds from readiness on, in which each endpoint finds its beat."""
SCRAPES: Final = 4
BETWEEN: Final = 15.0
"""Seconds between two scrapes."""
ROUNDS: Final = 5
_DONE: Final = 'certvigil_looks_total{kind="endpoint"'


def measure(directory: str) -> Iterator[Measurement]:
    """Yield blackbox_exporter's looks for each second of CPU, divided by the daemon's."""
    with (
        tempfile.TemporaryDirectory(prefix="sustained-", dir=directory) as place,
        rsa_and_ec(place) as (ca_file, rsa, ec),
        MeasuredBlackbox(place, ca_file, SERVER_NAME) as blackbox,
        MeasuredDaemon(place, more=_sections(ca_file, rsa.address, ec.address)) as daemon,
    ):
        time.sleep(SETTLE)
        begun, before, cpu = time.monotonic(), daemon.sample(_DONE), daemon.cpu_seconds()
        for _ in range(SCRAPES):
            time.sleep(BETWEEN)
            daemon.scrape()
        spent, seconds = daemon.cpu_seconds() - cpu, time.monotonic() - begun
        looks = daemon.sample(_DONE) - before
        theirs = min(blackbox.probe_all([rsa.address, ec.address]) for _ in range(ROUNDS)) / LOOKS
    if looks < ENDPOINTS:
        raise RuntimeError(f"only {looks:.0f} looks in {seconds:.0f} s")
    ours = spent / looks
    sys.stderr.write(
        f"{looks / seconds:.0f} looks a second of {ENDPOINTS / EVERY:.0f}; "
        f"ours {ours * 1e6:.0f} us, blackbox {theirs * 1e6:.0f} us a look\n"
    )
    yield Measurement("sustained_looks_vs_blackbox", round(ours / theirs, 3), "ratio", LIMIT)


def _sections(ca_file: str, *addresses: str) -> dict[str, object]:
    return {
        "trust_stores": {"lab": {"bundle": ca_file}},
        "clients": {"all": {"trusts": "lab"}},
        "endpoints": [
            {
                "name": f"endpoint {number}",
                "address": addresses[number % len(addresses)],
                "server_name": SERVER_NAME,
                "every": f"{EVERY:g}s",
                "clients": ["all"],
            }
            for number in range(ENDPOINTS)
        ],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="certvigil-bench-") as scratch:
        for measurement in measure(scratch):
            sys.stdout.write(f"{measurement.line()}\n")
