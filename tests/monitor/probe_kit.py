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
from monitor.metrics.probed import Probed
from monitor.prober import MODULES, Prober, Refused
from monitor.surroundings import Surroundings, read_surroundings
from tests.lab.prometheus import check_metrics

NAME: Final = "www.example.com"

Surround = Callable[..., Surroundings]


def surroundings_of(directory: Path, root_ca: Authority) -> Surround:
    """Return what configures endpoints, and networks that may be probed, each judged by a client of the lab."""
    (directory / "root.pem").write_bytes(root_ca.pem())

    def surround(
        *endpoints: Endpoint, allow: Sequence[str] = (), ports: Sequence[int] = (), validates: bool = True
    ) -> Surroundings:
        """Return what is configured: endpoints, and networks that may be probed, each judged by a client of the lab."""
        reach = (Reach(tuple(map(ip_network, allow)), frozenset(ports)),) if allow else ()
        config = Config(
            settings=Settings(probe=reach),
            endpoints={each.name: each for each in endpoints},
            trust_stores={"lab": TrustStore("lab", PemBundle(str(directory / "root.pem")))},
            clients={"default": Client("default", "lab", validates=validates)},
        )
        surroundings, findings = read_surroundings(config)
        assert findings == ()
        return surroundings

    return surround


def probe(surroundings: Surroundings, target: str, module: str = "tls", seconds: float = 10.0) -> Probed | Refused:
    async def asked() -> Probed | Refused:
        with ThreadPoolExecutor(1) as worker:
            return await Prober(worker, 10).probe(target, MODULES[module], surroundings, seconds)

    return asyncio.run(asked())


def text(surroundings: Surroundings, target: str, module: str = "tls", seconds: float = 10.0) -> str:
    found = probe(surroundings, target, module, seconds)
    assert isinstance(found, Probed)
    page = found.text().decode()
    assert check_metrics(page) == []
    return page


def endpoint(server: Any, name: str = "web", **more: Any) -> Endpoint:
    return Endpoint(name, server.host, server.port, server_name=NAME, **{"clients": ("default",), **more})


def refused(surroundings: Surroundings, target: str, module: str = "tls") -> str:
    found = probe(surroundings, target, module)
    assert isinstance(found, Refused), found
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
