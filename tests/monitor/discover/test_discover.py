"""`certvigil discover`: every port and file of a host with real servers; `config check` takes what it writes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from config.load import load
from config.model import Config
from config.vocabulary import ServerSoftware
from monitor.lab.ca import Authority
from tests.kit.daemon import certvigil
from tests.kit.server_host import NAME, PROGRAMS, QUICK, UNITS, ServerHost

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="these servers are started by root")
S = ServerSoftware
QUICK_ONES = [pytest.mark.server(PROGRAMS[each]) for each in QUICK]
ALL = [pytest.mark.slow, *(pytest.mark.server(each) for each in PROGRAMS.values())]


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def place(stack: ExitStack) -> str:
    """Return a directory that servers without rights may enter, and that root alone may change."""
    directory = stack.enter_context(TemporaryDirectory())
    os.chmod(directory, 0o755)
    return directory


def discover(host: ServerHost, *arguments: str) -> tuple[int, str, str]:
    ports = [word for each in host.servers.values() for word in ("--port", str(each.port))]
    ran = certvigil("discover", "--root", host.root, *ports, *arguments)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize(
    "software",
    [pytest.param(QUICK, id="some", marks=QUICK_ONES), pytest.param(tuple(PROGRAMS), id="all", marks=ALL)],
)
def test_every_port_and_file_is_found_and_each_component_is_ready(
    software: tuple[ServerSoftware, ...], issuing_ca: Authority, cleanup: ExitStack
) -> None:
    directory = cleanup.enter_context(TemporaryDirectory())
    os.chmod(directory, 0o755)
    host = ServerHost(f"{directory}/root", issuing_ca)
    host.start(software, cleanup)
    written = (path for path in Path(host.root, "etc").rglob("*") if path.is_file() and path.suffix != ".log")
    before = {path: path.read_bytes() for path in written}
    out = f"{directory}/certvigil.yaml"
    code, shown, errors = discover(host, "--json", "--write", out)
    assert code == 0, errors
    found = json.loads(shown)
    by_port = {each["port"]: each for each in found["ports"]}
    by_server = {each["server"]: each for each in found["certificates"]}
    assert set(by_server) == set(software)
    for each, server in host.servers.items():
        port = by_port[server.port]
        assert (port["server"], port["address"]) == (each, server.host)
        assert port["files"] == [server.sites[0].certificate]
        assert by_server[each]["served_at"] == [server.address]
        assert by_server[each]["component"] == each
        assert by_server[each]["only_watched"] == []
        assert by_server[each]["unit"] == UNITS[each]
    config = load(out, {})
    assert isinstance(config, Config), config
    for each, server in host.servers.items():
        component = config.components[each]
        assert set(component.artefacts.files.values()) == {server.sites[0].certificate, server.sites[0].key}
        assert component.service is not None
        assert component.service.unit == UNITS[each]
        assert [(config.endpoints[name].port, config.endpoints[name].server_name) for name in component.endpoints] == [
            (server.port, NAME)
        ]
    checked = certvigil("config", "check", out)
    assert checked.returncode == 0, checked.stderr
    assert "refused" not in checked.stderr
    assert {path: path.read_bytes() for path in before} == before
