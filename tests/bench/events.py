"""How long after a change of a file the metrics show it."""

from __future__ import annotations

import json
import os
import ssl
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from multiprocessing import get_context
from typing import Final

from tests.bench.daemon import MeasuredDaemon
from tests.bench.estate import MeasuredEstate, chain
from tests.bench.report import Measurement

CHANGES: Final = 1_000
PER_SECOND: Final = 100
SETTLED: Final = 2.0
"""Seconds after the last change, by when it must have shown."""


class ChangeKind(Enum):
    """How a file changes."""

    REPLACED = "replaced"
    """By the rename of a new one."""
    REWRITTEN = "rewritten"
    """In its place."""
    MOVED_OUT = "moved out"
    """Of the tree."""


@dataclass(frozen=True, slots=True)
class FileChangeRun:
    """Something was done to a file."""

    at: float
    """Monotonic time just before the last system call of it."""
    path: str
    kind: ChangeKind
    first: str
    """SHA-256 of its first certificate now; empty where it is gone."""


def measure(directory: str, estate: MeasuredEstate) -> Iterator[Measurement]:
    """Measure while a process of its own changes files of `estate`."""
    elsewhere = os.path.join(directory, "elsewhere")
    os.makedirs(elsewhere)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        MeasuredDaemon(directory, estate.pattern, command=("-m", "tests.bench.measured")) as daemon,
    ):
        daemon.await_recorded(len(estate.files))
        changes = pool.submit(change, estate.files[:: len(estate.files) // CHANGES], elsewhere).result()
        time.sleep(SETTLED)
    latencies = _latencies(daemon, changes)
    for kind, some in latencies.items():
        _say(
            f"{len(some)} {kind.value}: median {statistics.median(some) * 1000:.1f} ms, most {max(some) * 1000:.1f} ms"
        )
    cuts = statistics.quantiles([each for some in latencies.values() for each in some], n=100)
    yield Measurement("event_latency_p50_ms", round(cuts[49] * 1000, 1), "ms", 50)
    yield Measurement("event_latency_p99_ms", round(cuts[98] * 1000, 1), "ms", 250)


def change(paths: tuple[str, ...], elsewhere: str) -> list[FileChangeRun]:
    """Change each of these files, so many per second, and say when."""
    new = [chain(f"new-{number}") for number in range(len(paths))]
    begin = time.monotonic()
    changes = []
    for number, (path, data) in enumerate(zip(paths, new, strict=True)):
        time.sleep(max(0.0, begin + number / PER_SECOND - time.monotonic()))
        kind = (
            ChangeKind.MOVED_OUT
            if number % 10 == 3
            else ChangeKind.REWRITTEN
            if number % 10 == 7
            else ChangeKind.REPLACED
        )
        first = "" if kind is ChangeKind.MOVED_OUT else _first(data)
        changes.append(FileChangeRun(_apply(kind, path, data, elsewhere), path, kind, first))
    return changes


def _apply(kind: ChangeKind, path: str, data: bytes, elsewhere: str) -> float:
    if kind is ChangeKind.MOVED_OUT:
        at = time.monotonic()
        os.rename(path, os.path.join(elsewhere, os.path.basename(path)))
        return at
    written = path if kind is ChangeKind.REWRITTEN else f"{path}.new"
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    os.write(descriptor, data)
    at = time.monotonic()
    os.close(descriptor)
    if kind is ChangeKind.REPLACED:
        at = time.monotonic()
        os.rename(written, path)
    return at


def _first(pem: bytes) -> str:
    end = pem.index(b"-----END CERTIFICATE-----") + len(b"-----END CERTIFICATE-----")
    return sha256(ssl.PEM_cert_to_DER_cert(pem[:end].decode())).hexdigest()


def _latencies(daemon: MeasuredDaemon, changes: list[FileChangeRun]) -> dict[ChangeKind, list[float]]:
    shown: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    with open(f"{daemon.config_file}.seen", encoding="utf-8") as file:
        for at, target, first in json.load(file)["shown"]:
            shown[target, first].append(at)
    latencies: defaultdict[ChangeKind, list[float]] = defaultdict(list)
    for each in changes:
        after = [at for at in shown[each.path, each.first] if at >= each.at]
        if not after:
            raise RuntimeError(f"{each.path} was {each.kind.value}, which never showed")
        latencies[each.kind].append(min(after) - each.at)
    return latencies


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
