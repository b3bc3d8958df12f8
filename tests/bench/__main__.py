"""Measures everything that there is a limit for: `python -m tests.bench` prints a line of JSON for each."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator

from tests.bench import (
    acting,
    appliance,
    clean_install,
    commands,
    console,
    deciding,
    discover,
    events,
    hanging,
    look_cpu,
    notify,
    outage,
    renewals,
    rogue,
    scan,
    show,
    start,
    starttls,
    steady,
    sustained,
    verdicts,
)
from tests.bench.estate import build
from tests.bench.report import Measurement


def measurements(directory: str) -> Iterator[Measurement]:
    """Yield every number; all that is needed is made below `directory`."""
    yield from acting.measure(directory)
    yield from appliance.measure(os.path.join(directory, "appliance"))
    estate = build(os.path.join(directory, "files"))
    yield from commands.measure(estate.files[0])
    yield from start.measure(directory, estate)
    yield from deciding.measure()
    yield from verdicts.measure()
    yield from discover.measure()
    yield from scan.measure(directory, estate)
    yield from steady.measure_rows(directory, estate)
    yield from steady.measure_scrapes(directory, estate)
    yield from show.measure(directory, estate)
    yield from console.measure(directory, estate)
    # From here on, the estate is another.
    yield from events.measure(directory, estate)
    yield from look_cpu.measure()
    yield from starttls.measure()
    yield from sustained.measure(directory)
    yield from notify.measure(directory)
    yield from outage.measure(directory)
    yield from renewals.measure(directory)
    yield from rogue.measure(directory)
    yield from clean_install.measure()
    yield from hanging.measure(directory)


def main() -> int:
    """Print each number as soon as it is known; return 1 where one is over its limit."""
    within = True
    with tempfile.TemporaryDirectory(prefix="certvigil-bench-") as directory:
        for each in measurements(directory):
            sys.stdout.write(f"{each.line()}\n")
            sys.stdout.flush()
            within &= each.ok
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
