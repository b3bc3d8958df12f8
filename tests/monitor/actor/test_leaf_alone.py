"""A server that sends nothing but its own certificate: what it is given is judged by what its clients hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.lab.ca import Issued
from monitor.lab.servers import replace_file
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.lined_appliance import LinedAppliance, lined_appliance
from tests.kit.openssl_client import presented

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]


@pytest.fixture
def secondary() -> Iterator[LinedAppliance]:
    """Give an appliance whose engine never sends its chain, though it is configured."""
    with lined_appliance("secondary") as made:
        restart = f"{made.directory}/engine/restart"
        text = Path(restart).read_text().replace('[ -z "$chain" ] ||', "[ 1 ] ||")
        replace_file(restart, f"{text}echo >> {made.directory}/restarts\n".encode(), 0o755)
        replace_file(f"{made.directory}/issuing.pem", ISSUING.pem())
        yield made


def configure(machine: LinedAppliance, **client: object) -> None:
    server = machine.servers["engine"]
    endpoint = {"address": server.address, "name": NAME, "sends_intermediates": "not_expected"}
    machine.configure(
        {"engine": {"endpoints": [endpoint], "clients": ["web-api"]}},
        clients={"browser": {"trusts": "corporate"}, "web-api": {"trusts": "corporate", **client}},
    )


def holding(machine: LinedAppliance) -> dict[str, object]:
    return {"intermediates": [f"{machine.directory}/issuing.pem"]}


def given(machine: LinedAppliance, issued: Issued) -> tuple[int, str]:
    code, said = machine.command("replace", "secondary", "--from", machine.given(issued))
    return code, " ".join(said.split())


def sent(machine: LinedAppliance) -> list[bytes]:
    return [der for der in presented(machine.servers["engine"]) if der != ROOT.der()]


def test_is_replaced_and_rolled_back_where_its_clients_hold_the_intermediate(secondary: LinedAppliance) -> None:
    configure(secondary, **holding(secondary))
    first, second = fresh(), fresh()
    for issued in (first, second):
        code, said = given(secondary, issued)
        assert code == 0, said
        assert "web-api" in said
        assert sent(secondary) == [issued.der()]
    code, said = secondary.command("rollback", "secondary")
    assert code == 0, said
    assert sent(secondary) == [first.der()]
    code, said = secondary.command("backups", "engine", "--json")
    assert '"served": true' in said


def test_is_left_alone_where_a_client_that_accepts_it_would_lack_the_intermediate(secondary: LinedAppliance) -> None:
    configure(secondary)
    before = secondary.on_disk()
    code, said = given(secondary, fresh())
    assert code == 1, said
    assert "client_lost: engine: web-api would no longer accept engine/" in said
    assert "the server is not expected to send it: its clients must hold it" in said
    assert "rolled_back" not in said
    assert secondary.on_disk() == before
    assert not Path(f"{secondary.directory}/restarts").exists()


def test_a_server_that_sends_its_intermediates_all_the_same_is_replaced_too() -> None:
    with lined_appliance("secondary") as machine:
        replace_file(f"{machine.directory}/issuing.pem", ISSUING.pem())
        configure(machine, **holding(machine))
        new = fresh()
        code, said = given(machine, new)
        assert code == 0, said
        assert sent(machine) == [new.der(), ISSUING.der()]
