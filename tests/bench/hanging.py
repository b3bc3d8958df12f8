"""How late healthy endpoints are looked at beside others that accept and never answer: seen from the servers.

`make bench` takes a minute for it; `python -m tests.bench.hanging 300` takes the five minutes of the issue.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from monitor.host.schedule import spread
from monitor.lab.ca import Authority
from monitor.lab.servers import write_site
from tests.bench.daemon import PATIENCE, MeasuredDaemon
from tests.bench.report import Measurement

HEALTHY: Final = 700
HANGING: Final = 300
EVERY: Final = 10.0
"""Seconds between two looks at each."""
SECONDS: Final = 60.0
SETTLE: Final = 3 * EVERY
"""Seconds from readiness on, in which everything is looked at for the first time, all at once, and finds its beat."""
LIMIT: Final = 2.0


def measure(directory: str, seconds: float = SECONDS) -> Iterator[Measurement]:
    """Measure for so many seconds, once each endpoint has found its beat."""
    with tempfile.TemporaryDirectory(prefix="hanging-", dir=directory) as place:
        site = write_site(os.path.join(place, "site"), Authority.root().intermediate().issue("localhost"))
        command = (sys.executable, "-m", "tests.bench.hanging", "serve", site.certificate, site.key, f"{place}/seen")
        with subprocess.Popen(command, stdout=subprocess.PIPE) as servers:
            try:
                assert servers.stdout is not None
                healthy, hanging = map(int, servers.stdout.readline().split())
                endpoints = {f"healthy {n}": f"{_host(n)}:{healthy}" for n in range(HEALTHY)}
                endpoints |= {f"hanging {n}": f"{_host(n)}:{hanging}" for n in range(HANGING)}
                started = time.monotonic()
                with MeasuredDaemon(place, endpoints=endpoints, every=f"{EVERY:g}s") as daemon:
                    ready = time.monotonic()
                    time.sleep(SETTLE + seconds)
                    end = time.monotonic()
                    share = daemon.cpu_seconds() / (end - started)
            finally:
                servers.send_signal(signal.SIGTERM)
                servers.wait(PATIENCE)
        with open(f"{place}/seen", encoding="utf-8") as file:
            seen: Mapping[str, Sequence[float]] = json.load(file)
    first = [seen[_host(n)][0] - started for n in range(HEALTHY)]
    lags = sorted(lag for n in range(HEALTHY) for lag in _lags(f"healthy {n}", seen[_host(n)], ready + SETTLE, end))
    _say(f"{len(lags)} looks that were due; every healthy endpoint was looked at {max(first):.1f} s after the start")
    _say(f"lag: median {lags[len(lags) // 2]:.3f} s, most {lags[-1]:.3f} s; the daemon took {share:.0%} of a core")
    yield Measurement("lag_p99_s_with_hanging", round(lags[len(lags) * 99 // 100], 3), "s", LIMIT)


def _lags(name: str, looks: Sequence[float], begin: float, end: float) -> Iterator[float]:
    """Yield how long after each of its beats an endpoint was looked at; a beat that nobody came for counts in full."""
    beat = begin - begin % EVERY + spread(name, EVERY)
    while beat < end - EVERY / 2:
        if beat > begin:
            index = bisect_left(looks, beat)
            yield (looks[index] if index < len(looks) else end) - beat
        beat += EVERY


def _host(number: int) -> str:
    return f"127.77.{number // 250}.{number % 250 + 1}"


def _say(text: str) -> None:
    sys.stderr.write(f"  {text}\n")


async def _serve(certificate: str, key: str) -> Mapping[str, Sequence[float]]:
    """Serve on all of loopback at two ports, which are printed; on SIGTERM, return when who was connected to."""
    seen: dict[str, list[float]] = defaultdict(list)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    work: set[asyncio.Task[None]] = set()

    def spawn(coroutine: Coroutine[object, object, None]) -> None:
        task = loop.create_task(coroutine)
        work.add(task)
        task.add_done_callback(work.discard)

    async def answer(connection: socket.socket) -> None:
        with suppress(OSError):
            await loop.connect_accepted_socket(asyncio.Protocol, connection, ssl=context)

    async def hang(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while await loop.sock_recv(connection, 4096):
                pass

    async def accept(listening: socket.socket, *, healthy: bool) -> None:
        while True:
            connection, _ = await loop.sock_accept(listening)
            if healthy:
                seen[connection.getsockname()[0]].append(time.monotonic())
            spawn(answer(connection) if healthy else hang(connection))

    listening = [socket.create_server(("0.0.0.0", 0), backlog=1024) for _ in range(2)]
    for each, healthy in zip(listening, (True, False), strict=True):
        each.setblocking(False)
        spawn(accept(each, healthy=healthy))
    sys.stdout.write(" ".join(str(each.getsockname()[1]) for each in listening) + "\n")
    sys.stdout.flush()
    await stop.wait()
    for task in work:
        task.cancel()
    return seen


def main(arguments: Sequence[str]) -> None:
    """Serve, or measure for as many seconds as are given."""
    if arguments[0] == "serve":
        _, certificate, key, seen_file = arguments
        seen = asyncio.run(_serve(certificate, key))
        with open(seen_file, "w", encoding="utf-8") as file:
            json.dump(seen, file)
        return
    with tempfile.TemporaryDirectory(prefix="certvigil-bench-") as directory:
        for each in measure(directory, float(arguments[0])):
            sys.stdout.write(f"{each.line()}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
