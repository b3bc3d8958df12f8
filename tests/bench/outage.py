"""How long it takes until people are told that everything is dark, while something else comes and goes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from monitor.lab.ca import Authority
from monitor.lab.process import free_address
from monitor.lab.servers import Site, write_site
from tests.bench.daemon import PATIENCE, MeasuredDaemon
from tests.bench.report import Measurement

ENDPOINTS: Final = 100
EVERY: Final = "2s"
FLAPS_FOR: Final = 150.0
"""Seconds for which one endpoint flaps before the others go dark."""
FLAP: Final = 7.0
"""Seconds for which it answers, and for which it does not."""
_OUTAGE: Final = re.compile(r"\bunreachable: (\d+) targets$")


def measure(directory: str) -> Iterator[Measurement]:
    """Measure with real listeners that are closed, a real daemon, and a receiver of what it says."""
    here = os.path.join(directory, "outage")
    os.makedirs(here)
    site = write_site(os.path.join(here, "site"), Authority.root().issue("localhost"))
    told: list[tuple[float, str]] = []
    receiver = _receiver(told)
    addresses = {f"endpoint {number}": free_address() for number in range(ENDPOINTS)}
    flapper = free_address()
    endpoints = {name: "{}:{}".format(*each) for name, each in {**addresses, "flapper": flapper}.items()}
    daemon = MeasuredDaemon(here, endpoints=endpoints)
    with open(daemon.config_file, "r+", encoding="utf-8") as file:
        config = json.load(file)
        config["channels"] = {"bench": {"urls": ["json://{}:{}/".format(*receiver.server_address[:2])]}}
        config["endpoints"] = [{**each, "every": EVERY} for each in config["endpoints"]]
        file.seek(0)
        file.truncate()
        json.dump(config, file)
    with _Listeners(site, [*addresses.values(), flapper]) as listeners, daemon:
        end = time.monotonic() + FLAPS_FOR
        while time.monotonic() < end:
            listeners.close(flapper)
            time.sleep(FLAP)
            listeners.open(flapper)
            time.sleep(FLAP)
        listeners.close(flapper)
        before = len(told)
        dark = time.time()
        listeners.close(*addresses.values())
        named = _await_outage(told, before, ENDPOINTS // 2)
        whole = _await_outage(told, before, ENDPOINTS)
    receiver.shutdown()
    receiver.server_close()
    sys.stderr.write(
        f"told before the outage: {before} messages; of it after {named - dark:.1f} s, "
        f"of all {ENDPOINTS} endpoints after {whole - dark:.1f} s\n"
    )
    yield Measurement("outage_told_s", round(named - dark, 1), "s", 10)


def _await_outage(told: list[tuple[float, str]], before: int, targets: int) -> float:
    """Return the Unix time at which a message came that says so many targets to be dark."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for arrived, title in told[before:]:
            found = _OUTAGE.search(title)
            if found and int(found[1]) >= targets:
                return arrived
        time.sleep(0.1)
    raise TimeoutError(f"no message names the outage of {targets}: {[title for _, title in told[before:]]}")


class _Listeners:
    """Serves TLS at many addresses from one thread, each of which can be closed and opened again."""

    def __init__(self, site: Site, addresses: list[tuple[str, int]]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(site.certificate, site.key)
        self._addresses = addresses
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Self:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.open(*self._addresses)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(*self._servers)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def open(self, *addresses: tuple[str, int]) -> None:
        """Have these accept."""
        self._do(self._open(addresses))

    def close(self, *addresses: tuple[str, int]) -> None:
        """Have these refuse."""
        self._do(self._close(addresses))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _open(self, addresses: tuple[tuple[str, int], ...]) -> None:
        for each in addresses:
            self._servers[each] = await asyncio.start_server(self._serve, *each, ssl=self._context)

    async def _close(self, addresses: tuple[tuple[str, int], ...]) -> None:
        for each in addresses:
            self._servers.pop(each).close()

    async def _serve(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()


def _receiver(told: list[tuple[float, str]]) -> ThreadingHTTPServer:
    """Return a server that notes when which message arrives."""

    class OutageHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived = time.time()
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append((arrived, said["title"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), OutageHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
