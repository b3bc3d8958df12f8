"""Whether a daemon at steady work stays as large as it is: `python -m tests.bench.soak [SECONDS]`.

A thousand endpoints are looked at every ten seconds, and ten of ten thousand files change every second. What counts are
all processes of the daemon, after it has settled: their memory as it is shared (PSS), their descriptors and threads.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from multiprocessing import get_context
from typing import Final

from monitor.lab.ca import Authority
from monitor.lab.servers import Nginx, replace_file, write_site
from tests.bench.daemon import MeasuredDaemon
from tests.bench.estate import FILES, MeasuredEstate, build, chain
from tests.bench.report import Measurement

ENDPOINTS: Final = 1_000
EVERY: Final = 10.0
"""Seconds between two looks at each."""
CHANGES: Final = 10
"""Of files in each second."""
SECONDS: Final = 900.0
SETTLE: Final = 60.0
"""Seconds of this work before the first sample."""
SAMPLE_EVERY: Final = 2.0
SAMPLES_OF_SCRAPE: Final = 8
"""Samples from one scrape to the next."""
ENDS: Final = 10
"""The part of the samples, at the begin and at the end, that is compared."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large all processes of the daemon are."""

    memory_mb: float
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Soak:
    """The sizes of a daemon over some time, and how much it did meanwhile."""

    seconds: float
    sizes: Sequence[Size]
    looks: int
    """At endpoints."""
    changes: int
    """Of files, that somebody made."""
    noticed: int
    """Of files, that the daemon took up."""

    @property
    def growth(self) -> Size:
        """By how much it is larger in the end: the memory in per cent, by medians; the others by their least numbers.

        Connections come and go, and a leak raises the least number, too.
        """
        part = max(1, len(self.sizes) // ENDS)
        first, last = self.sizes[:part], self.sizes[-part:]
        before, after = (statistics.median(each.memory_mb for each in some) for some in (first, last))
        return Size(
            100 * (after / before - 1),
            min(each.descriptors for each in last) - min(each.descriptors for each in first),
            min(each.threads for each in last) - min(each.threads for each in first),
        )


def measure(directory: str, estate: MeasuredEstate, seconds: float = SECONDS) -> Iterator[Measurement]:
    """Measure for so many seconds, once the daemon has settled; `estate` is another after it."""
    soak = run(directory, estate, seconds, SETTLE)
    growth, part = soak.growth, max(1, len(soak.sizes) // ENDS)
    for number in range(0, len(soak.sizes), part):
        size = soak.sizes[number]
        _say(f"{size.memory_mb:.1f} MB, {size.descriptors} descriptors, {size.threads} threads")
    _say(f"{soak.looks} looks at endpoints, {soak.noticed} of {soak.changes} changes noticed")
    if soak.looks < 0.9 * soak.seconds / EVERY * ENDPOINTS or soak.noticed < 0.9 * soak.changes:
        raise RuntimeError("the daemon did not do the work over which it is measured")
    yield Measurement("memory_growth_soak_pct", round(growth.memory_mb, 2), "%", 5)
    yield Measurement("descriptors_growth_soak", growth.descriptors, "descriptors", 0)
    yield Measurement("threads_growth_soak", growth.threads, "threads", 0)


def run(directory: str, estate: MeasuredEstate, seconds: float, settle: float, endpoints: int = ENDPOINTS) -> Soak:
    """Return the sizes over so many seconds of work, after `settle` seconds of it."""
    site = write_site(os.path.join(directory, "soak"), Authority.root().intermediate().issue("localhost"))
    with (
        Nginx(os.path.join(directory, "soak-nginx"), [site]) as server,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        MeasuredDaemon(
            directory,
            estate.pattern,
            endpoints={f"endpoint {number}": server.address for number in range(endpoints)},
            every=f"{EVERY:g}s",
        ) as daemon,
    ):
        changes = pool.submit(keep_changing, estate.files, settle + seconds)
        time.sleep(settle)
        begun, looks, noticed = time.monotonic(), daemon.sample(_LOOKS), daemon.sample(_NOTICED)
        sizes: list[Size] = []
        while (at := time.monotonic()) < begun + seconds:
            sizes.append(_size(daemon))
            if len(sizes) % SAMPLES_OF_SCRAPE == 0:
                daemon.scrape()
            time.sleep(max(0.0, at + SAMPLE_EVERY - time.monotonic()))
        took = time.monotonic() - begun
        looks, noticed = daemon.sample(_LOOKS) - looks, daemon.sample(_NOTICED) - noticed
        made = changes.result() * took / (settle + seconds)
    return Soak(took, sizes, round(looks), round(made), round(noticed))


_LOOKS: Final = 'certvigil_looks_total{kind="endpoint"'
_NOTICED: Final = "certvigil_event_latency_seconds_count"


def _size(daemon: MeasuredDaemon) -> Size:
    each = daemon.processes()
    return Size(
        sum(one.memory_mb() for one in each),
        sum(one.descriptors() for one in each),
        sum(one.threads() for one in each),
    )


def keep_changing(paths: Sequence[str], seconds: float) -> int:
    """Change one file after the other for so many seconds, `CHANGES` of them in each; return how many that were.

    Most are replaced by a rename, and every tenth is written over in its place.
    """
    begun, number = time.monotonic(), 0
    for path in cycle(paths):
        if time.monotonic() > begun + seconds:
            break
        data = chain(f"soak-{number}", ends_soon=number % 50 == 0)
        if number % 10:
            replace_file(path, data)
        else:
            with open(path, "wb") as file:
                file.write(data)
        number += 1
        time.sleep(max(0.0, begun + number / CHANGES - time.monotonic()))
    return number


def _say(text: str) -> None:
    sys.stderr.write(f"  {text}\n")


def main(arguments: Sequence[str]) -> int:
    """Measure for as many seconds as are given; return 1 where something is over its limit."""
    within = True
    with tempfile.TemporaryDirectory(prefix="certvigil-bench-") as directory:
        estate = build(os.path.join(directory, "files"), FILES)
        for each in measure(directory, estate, float(arguments[0]) if arguments else SECONDS):
            sys.stdout.write(f"{each.line()}\n")
            within &= each.ok
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
