"""What `/probe` is asked for in tests, and where it may look."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest

from config.model import Client, Config, Endpoint, PemBundle, Settings, TrustStore
from config.reach import Reach
from monitor.lab.ca import Authority
from monitor.look.demand import Prober, ProbeRequest
from monitor.look.demand_places import RefusedProbe
from monitor.metrics.probed import Probed, ProbedFiles
from monitor.state.trust import TrustContext, read_trust_context
from tests.kit.prometheus import check_metrics

NAME: Final = "www.example.com"

Surround = Callable[..., TrustContext]


def trust_context_of(directory: Path, root_ca: Authority) -> Surround:
    """Return what configures endpoints, and networks that may be probed, each judged by a client of the lab."""
    (directory / "root.pem").write_bytes(root_ca.pem())

    def surround(
        *endpoints: Endpoint, allow: Sequence[str] = (), ports: Sequence[int] = (), validates: bool = True
    ) -> TrustContext:
        """Return what is configured: endpoints, and networks that may be probed, each judged by a client of the lab."""
        reach = (Reach(tuple(map(ip_network, allow)), frozenset(ports)),) if allow else ()
        config = Config(
            settings=Settings(probe=reach),
            endpoints={each.name: each for each in endpoints},
            trust_stores={"lab": TrustStore("lab", PemBundle(str(directory / "root.pem")))},
            clients={"default": Client("default", "lab", validates=validates)},
        )
        trust_context, findings = read_trust_context(config)
        assert findings == ()
        return trust_context

    return surround


def probe(
    trust_context: TrustContext, target: str, module: str = "tls", seconds: float = 10.0, hostname: str | None = None
) -> Probed | ProbedFiles | RefusedProbe:
    request = ProbeRequest(target, module, hostname, seconds)

    async def asked() -> Probed | ProbedFiles | RefusedProbe:
        with ThreadPoolExecutor(1) as worker:
            return await Prober(worker, worker, 10).probe(request, trust_context)

    found = asyncio.run(asked())
    if not isinstance(found, RefusedProbe):
        # Whatever was found can be told.
        assert b"probe_success" in found.text()
    return found


def text(trust_context: TrustContext, target: str, module: str = "tls", seconds: float = 10.0) -> str:
    found = probe(trust_context, target, module, seconds)
    assert isinstance(found, Probed)
    page = found.text().decode()
    assert check_metrics(page) == []
    return page


def endpoint(server: Any, name: str = "web", **more: Any) -> Endpoint:
    return Endpoint(name, server.host, server.port, server_name=NAME, **{"clients": ("default",), **more})


def refused(trust_context: TrustContext, target: str, module: str = "tls") -> str:
    found = probe(trust_context, target, module)
    assert isinstance(found, RefusedProbe), found
    return found.why


class Resolver:
    """A name server that gives another answer each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]) -> None:
        self.asked = 0
        self._answers = answers
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: Any, *more: Any, **options: Any) -> Any:
        if host != "rebinding.example.com":
            return self._real(host, port, *more, **options)
        self.asked += 1
        answer = self._answers[min(self.asked, len(self._answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answer]
