"""Open ports with TLS that nobody declared are reported once each, and no port that is declared, closed or left out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from config.load import load
from config.model import Config, Endpoint, Settings, Undeclared, Web
from config.vocabulary import Code, Severity
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, write_site
from monitor.look.undeclared import UndeclaredPorts, is_declared
from probes.finding import Finding
from probes.listening import ListeningSocket
from tests.kit.authority import fresh
from tests.kit.monitors import Kept, registry_of, until

EVERY_PORT = frozenset(range(1, 65_536))


def only(port: int) -> Undeclared:
    """Return the settings by which other tests' servers are left alone."""
    return Undeclared(exclude_ports=EVERY_PORT - {port}, every=0.02)


def test_a_new_port_with_tls_is_reported_until_it_is_closed_or_declared(tmp_path: Path) -> None:
    server = LocalServer([write_site(str(tmp_path), fresh())])
    config = Config(Settings(undeclared=only(server.port)))
    registry = registry_of(config, Kept())
    reports: list[tuple[Finding, ...]] = []

    async def scene() -> None:
        with ThreadPoolExecutor(1) as threads:
            ports = UndeclaredPorts(registry, lambda found: reports.append(tuple(found)), threads)
            running = asyncio.get_running_loop().create_task(ports.run())
            await until(lambda: len(reports) > 2)
            assert not any(reports)
            with server:
                await until(lambda: bool(reports[-1]))
                # It is not looked at again, and stays reported.
                number = len(reports)
                await until(lambda: len(reports) > number + 5)
                assert len(set(reports[number - 1 :])) == 1
            await until(lambda: not reports[-1])
            with server:
                await until(lambda: bool(reports[-1]))
                declared = replace(config, endpoints={"it": Endpoint("it", server.host, server.port)})
                registry.trust_context = replace(registry.trust_context, config=declared)
                ports.reconfigure()
                await until(lambda: not reports[-1])
            running.cancel()

    asyncio.run(scene())
    (found,) = {each for report in reports for each in report}
    assert (found.code, found.severity) == (Code.UNDECLARED_ENDPOINT, Severity.INFORMATIONAL)
    assert found.subject == server.address
    assert found.detail.startswith(f"{server.address} (tls) presents CN=www.example.com, until ")
    assert found.detail.endswith(", and is not declared")


def test_a_port_without_tls_is_no_finding() -> None:
    reports: list[tuple[Finding, ...]] = []

    async def scene() -> None:
        def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(1)
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            writer.close()

        asked: list[int] = []
        server = await asyncio.start_server(answer, *free_address())
        port = server.sockets[0].getsockname()[1]
        with ThreadPoolExecutor(1) as threads:
            config = Config(Settings(undeclared=only(port)))
            ports = UndeclaredPorts(registry_of(config, Kept()), lambda found: reports.append(tuple(found)), threads)
            running = asyncio.get_running_loop().create_task(ports.run())
            await until(lambda: bool(asked))
            number = len(reports)
            await until(lambda: len(reports) > number + 5)
            running.cancel()
            server.close()
            assert asked == [1]

    asyncio.run(scene())
    assert not any(reports)


def opened(address: str, port: int = 443) -> ListeningSocket:
    return ListeningSocket(address, port, 0, 1)


def declares(*hosts: str, port: int = 443) -> Config:
    return Config(endpoints={each: Endpoint(each, each, port) for each in hosts})


@pytest.mark.parametrize(
    ("socket", "config", "declared"),
    [
        (opened("127.0.0.1"), declares("127.0.0.1"), True),
        (opened("0.0.0.0"), declares("127.0.0.1"), True),
        (opened("::"), declares("::1"), True),
        (opened("10.0.0.7"), declares("www.example.com"), True),
        (opened("0.0.0.0"), declares("192.0.2.7"), False),
        (opened("127.0.0.2"), declares("127.0.0.1"), False),
        (opened("127.0.0.1", 8443), declares("127.0.0.1"), False),
        (opened("127.0.0.1"), Config(Settings(undeclared=Undeclared(exclude_ports=frozenset({443})))), True),
        (opened("127.0.0.1", 9790), Config(Settings(web=Web(("127.0.0.1:9790",)))), True),
        (opened("127.0.0.1"), Config(), False),
    ],
)
def test_a_declared_port_is_known_by_its_address(socket: ListeningSocket, config: Config, declared: bool) -> None:
    assert is_declared(socket, config) is declared


def test_it_is_off_for_the_appliance_and_may_be_turned_off(tmp_path: Path) -> None:
    file = tmp_path / "certvigil.yaml"
    file.write_text("profile: nexthink-v6\nappliance: {role: single, external_name: nx.example.com}\n")
    file.chmod(0o600)
    appliance = load(str(file), {})
    assert isinstance(appliance, Config)
    assert not appliance.settings.undeclared.report
    reports: list[Iterable[Finding]] = []

    async def scene() -> None:
        with ThreadPoolExecutor(1) as threads:
            config = Config(Settings(undeclared=Undeclared(report=False)))
            running = asyncio.get_running_loop().create_task(
                UndeclaredPorts(registry_of(config, Kept()), reports.append, threads).run()
            )
            await until(lambda: bool(reports))
            running.cancel()

    asyncio.run(scene())
    assert reports == [()]
