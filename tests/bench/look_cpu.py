"""CPU of a look at a live endpoint whose chain is unchanged, against blackbox_exporter probing the same servers.

Ours is the whole of it: agenda, handshake, comparison with what was judged, page. Both are measured in turn, several
times, and the median of the ratios counts, since other work on the machine slows both.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from threading import local
from typing import Final, Self

import uvloop

from config.model import Client, Config, Endpoint, PemBundle, Settings, TrustStore
from config.vocabulary import EndpointProtocol, LookOutcome
from monitor.lab.ca import Authority, KeyType, bundle
from monitor.lab.servers import Nginx, replace_file, write_site
from monitor.look.endpoints import EndpointMonitor
from monitor.metrics import Page
from monitor.state.bus import Bus, route
from monitor.state.endpoints import EndpointRegistry
from monitor.state.messages import Looked
from monitor.state.registry import TargetRegistry
from monitor.state.sets import SetRegistry
from monitor.state.trust import read_trust_context
from tests.bench.report import Measurement
from tests.kit import blackbox as lab

LIMIT: Final = 1.0
LOOKS: Final = 2_000
ROUNDS: Final = 5
CONCURRENCY: Final = 20
SERVER_NAME: Final = "www.lab.example"


def measure() -> Iterator[Measurement]:
    """Yield the ratio of CPU times for `LOOKS` looks, half of them at an RSA and half at an EC certificate."""
    with (
        tempfile.TemporaryDirectory() as directory,
        rsa_and_ec(directory) as (ca_file, rsa, ec),
        MeasuredBlackbox(directory, ca_file, SERVER_NAME) as blackbox,
        Monitored(ca_file, [(rsa.host, rsa.port), (ec.host, ec.port)]) as monitored,
    ):
        addresses = [rsa.address, ec.address]
        ratios = []
        # The first round is not counted: it learns the chains, and warms both up.
        for each in range(ROUNDS + 1):
            ours, theirs = monitored.look_at_all(), blackbox.probe_all(addresses)
            sys.stderr.write(f"ours {ours / LOOKS * 1e6:.0f} us, blackbox {theirs / LOOKS * 1e6:.0f} us a look\n")
            if each:
                ratios.append(ours / theirs)
    yield Measurement("look_cpu_vs_blackbox", round(statistics.median(ratios), 3), "ratio", LIMIT)


@contextmanager
def rsa_and_ec(directory: str) -> Iterator[tuple[str, Nginx, Nginx]]:
    """Yield the file with the root, and a server with a certificate for each type of key."""
    issuing = (root := Authority.root()).intermediate()
    ca_file = os.path.join(directory, "ca.pem")
    replace_file(ca_file, bundle([root]))
    sites = [
        write_site(directory, issuing.issue(SERVER_NAME, key=kind), stem=kind)
        for kind in (KeyType.RSA2048, KeyType.P256)
    ]
    with Nginx(os.path.join(directory, "rsa"), sites[:1]) as rsa, Nginx(os.path.join(directory, "ec"), sites[1:]) as ec:
        yield ca_file, rsa, ec


class Monitored:
    """Our own monitor of as many endpoints as there are looks in a round."""

    def __init__(
        self,
        ca_file: str,
        addresses: Sequence[tuple[str, int]],
        protocol: EndpointProtocol = EndpointProtocol.TLS,
        looks: int = LOOKS,
    ) -> None:
        names = [str(number) for number in range(looks)]
        config = Config(
            settings=Settings(concurrency=CONCURRENCY),
            endpoints={
                name: Endpoint(
                    name,
                    *addresses[number % len(addresses)],
                    server_name=SERVER_NAME,
                    every=86_400,
                    clients=("all",),
                    protocol=protocol,
                )
                for number, name in enumerate(names)
            },
            trust_stores={"lab": TrustStore("lab", PemBundle(ca_file))},
            clients={"all": Client("all", "lab")},
        )
        self._names = names
        bus = Bus(routes=(route(Looked, self._looked),))
        self._registry = TargetRegistry(read_trust_context(config)[0], bus, Page())
        self._worker = ThreadPoolExecutor(1)
        self._monitor = EndpointMonitor(EndpointRegistry(SetRegistry(self._registry)), bus, self._worker)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._outcomes: list[LookOutcome] = []
        self._all_looked = asyncio.Event()

    def __enter__(self) -> Monitored:
        self._monitor.reconfigure()
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()
        self._worker.shutdown()

    def look_at_all(self) -> float:
        """Look at each endpoint once and return the CPU time in seconds."""
        known = bool(self._outcomes)
        before = os.times()
        self._runner.run(self._round())
        after = os.times()
        expected = {LookOutcome.UNCHANGED if known else LookOutcome.CHANGED}
        if set(self._outcomes) != expected or any(each.findings for each in self._registry.targets.values()):
            raise RuntimeError(f"the looks went wrong: {set(self._outcomes)}")
        return after.user - before.user + after.system - before.system

    async def _round(self) -> None:
        self._outcomes.clear()
        self._all_looked.clear()
        self._monitor.hasten(self._names)
        task = asyncio.create_task(self._monitor.run())
        await self._all_looked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _looked(self, look: Looked) -> None:
        self._outcomes.append(look.outcome)
        if len(self._outcomes) == len(self._names):
            self._all_looked.set()


class MeasuredBlackbox(lab.Blackbox):
    """Debian's prometheus-blackbox-exporter, asked by clients whose own CPU time is not counted."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._connections = local()
        self._clients = ThreadPoolExecutor(CONCURRENCY)
        return self

    def __exit__(self, *_: object) -> None:
        self._clients.shutdown()
        super().__exit__()

    def probe_all(self, addresses: Sequence[str]) -> float:
        """Have `addresses` probed in turn, `LOOKS` times in all, and return the CPU time in seconds."""
        before = self._cpu()
        targets = (addresses[number % len(addresses)] for number in range(LOOKS))
        if not all(self._clients.map(self._probe, targets)):
            raise RuntimeError("a probe of blackbox_exporter failed")
        return self._cpu() - before

    def _probe(self, address: str) -> bool:
        if not hasattr(self._connections, "http"):
            self._connections.http = HTTPConnection(self.host, self.port)
        http: HTTPConnection = self._connections.http
        http.request("GET", f"/probe?module=tls&target={address}")
        return b"\nprobe_success 1\n" in http.getresponse().read()

    def _cpu(self) -> float:
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    for measurement in measure():
        sys.stdout.write(f"{measurement.line()}\n")
