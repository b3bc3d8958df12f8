"""Open ports with TLS that nobody declared are reported once each, and no port that is declared, closed or left out."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from config.load import load
from config.model import Config, Endpoint, Settings, Undeclared, Web
from config.text import Printable, printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, write_site
from monitor.look.undeclared import DeclaredPorts, UndeclaredPorts
from monitor.state.own import SELF
from monitor.state.target import TargetState
from probes.finding import Finding, finding
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
    assert DeclaredPorts(config).has((socket.address, socket.port)) is declared


def test_many_open_ports_and_many_endpoints_do_not_hold_up_the_daemon() -> None:
    hosts = [f"10.0.{number // 250}.{number % 250}" for number in range(1_000)]
    declared = DeclaredPorts(declares(*hosts))
    began = time.process_time()
    found = [declared.has((f"127.0.{number // 250}.{number % 250}", 443)) for number in range(10_000)]
    assert time.process_time() - began < 0.5
    assert not any(found)


def test_a_finding_from_before_a_restart_stays_while_its_port_is_open(tmp_path: Path) -> None:
    reports: list[tuple[Finding, ...]] = []

    async def scene() -> None:
        with ThreadPoolExecutor(1) as threads, LocalServer([write_site(str(tmp_path), fresh())]) as server:
            registry = registry_of(Config(Settings(undeclared=only(server.port))), Kept())
            ports = UndeclaredPorts(registry, lambda found: reports.append(tuple(found)), threads)
            before = [
                finding(Code.UNDECLARED_ENDPOINT, Printable("as before"), printable(each))
                for each in (server.address, "127.0.0.1:1")
            ]
            itself = TargetState(SELF, TargetKind.SELF, SELF)
            registry.about(itself, before, 1.0)
            assert set(ports.remember(registry.targets[SELF])) == set(before)
            running = asyncio.get_running_loop().create_task(ports.run())
            await until(lambda: len(reports) > 3)
            running.cancel()

    asyncio.run(scene())
    assert [each.detail for each in reports[0]] == ["as before"]
    assert all(reports)
    assert "presents" in reports[-1][0].detail


def test_it_is_off_for_the_appliance(tmp_path: Path) -> None:
    file = tmp_path / "certvigil.yaml"
    file.write_text("profile: nexthink-v6\nappliance: {role: single, external_name: nx.example.com}\n")
    file.chmod(0o600)
    appliance = load(str(file), {})
    assert isinstance(appliance, Config)
    assert not appliance.settings.undeclared.report


def test_another_configuration_is_gone_by_at_once_and_is_no_second_look(tmp_path: Path) -> None:
    reports: list[tuple[Finding, ...]] = []

    async def scene() -> None:
        with ThreadPoolExecutor(1) as threads, LocalServer([write_site(str(tmp_path), fresh())]) as server:
            slow = Config(Settings(undeclared=replace(only(server.port), every=300.0)))
            registry = registry_of(slow, Kept())
            ports = UndeclaredPorts(registry, lambda found: reports.append(tuple(found)), threads)
            running = asyncio.get_running_loop().create_task(ports.run())
            await until(lambda: len(reports) == 1)
            for number in (2, 3):
                ports.reconfigure()
                await until(lambda: len(reports) == number)  # noqa: B023 (awaited here)
            running.cancel()
            quick = Config(Settings(undeclared=only(server.port)))
            registry.trust_context = replace(registry.trust_context, config=quick)
            running = asyncio.get_running_loop().create_task(ports.run())
            await until(lambda: bool(reports[-1]))
            off = Config(Settings(undeclared=Undeclared(report=False, every=300.0)))
            registry.trust_context = replace(registry.trust_context, config=off)
            ports.reconfigure()
            await until(lambda: not reports[-1])
            running.cancel()

    asyncio.run(scene())
    assert not any(reports[:3])
