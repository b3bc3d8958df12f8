"""The backup sets that the appliance's own console keeps are listed, and given back with their configuration lines."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.lab.ca import Authority, Issued, self_signed
from monitor.lab.servers import replace_file
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.lined_appliance import LinedAppliance, lined_appliance
from tests.kit.openssl_client import presented

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]


@pytest.fixture
def primary() -> Iterator[LinedAppliance]:
    with lined_appliance("primary") as made:
        made.configure(made.with_folder())
        yield made


def sets(machine: LinedAppliance) -> list[dict[str, Any]]:
    code, said = machine.command("backups", machine.role, "--json")
    assert code == 0, said
    return list(json.loads(said)["sets"])


def done(machine: LinedAppliance, *arguments: str) -> str:
    code, said = machine.command(*arguments)
    assert code == 0, said
    return said


def refused(machine: LinedAppliance, *arguments: str) -> str:
    before = machine.on_disk()
    code, said = machine.command(*arguments)
    assert code != 0, said
    assert machine.on_disk() == before
    return " ".join(said.split())


def sent(machine: LinedAppliance) -> dict[str, list[bytes]]:
    chains = {name: presented(server) for name, server in machine.servers.items()}
    return {name: [der for der in chain if der != ROOT.der()] for name, chain in chains.items()}


def by_all(machine: LinedAppliance, *chain: Issued | Authority) -> dict[str, list[bytes]]:
    return {name: [each.der() for each in chain] for name in machine.servers}


def test_sets_of_the_folder_are_listed_beside_certvigil_s_own_by_date_and_component(primary: LinedAppliance) -> None:
    primary.keep("20200102", fresh())
    primary.keep("20200101-0930", ROOT.issue(NAME))
    replace_file(f"{primary.folder}/20200103-console-something.pem", b"")
    replace_file(f"{primary.folder}/note.txt", b"")
    done(primary, "replace", "primary", "--from", primary.given(fresh()))
    found = sets(primary)
    for name in primary.servers:
        of = [each for each in found if each["component"] == name]
        assert [each["set"] for each in of][:2] == ["20200101-0930", "20200102"]
        assert [each["folder"] for each in of] == [primary.folder, primary.folder, ""]
        assert of[0]["taken"].startswith("2020-01-01T09:30:00")
        assert all(each["unusable"] == "" for each in of)
        assert [each["default"] for each in of] == [True, False, False]
    said = done(primary, "backups", "primary")
    assert "20200101-0930" in said
    assert "of another program" in said


def test_a_whole_set_is_given_back_with_its_lines_and_one_without_a_chain_without_them(
    primary: LinedAppliance,
) -> None:
    with_chain, without = fresh(), ROOT.issue(NAME)
    primary.keep("20200102", with_chain)
    primary.keep("20200101", without)
    done(primary, "rollback", "primary", "--to", "20200102")
    assert sent(primary) == by_all(primary, with_chain, ISSUING)
    assert primary.lines("console") == [True]
    done(primary, "rollback", "primary", "--to", "20200101")
    assert sent(primary) == by_all(primary, without)
    assert primary.lines("console") == [False]
    assert not os.path.exists(primary.chain("console"))
    # And back to what certvigil kept of the first of these.
    done(primary, "rollback", "primary")
    assert sent(primary) == by_all(primary, with_chain, ISSUING)


def test_the_product_s_own_certificate_comes_back_from_the_folder_over_an_own_one(primary: LinedAppliance) -> None:
    primary.keep("20200101", default := self_signed("appliance"))
    done(primary, "replace", "primary", "--from", primary.given(fresh()))
    assert primary.lines("console") == [True]
    said = refused(primary, "rollback", "primary", "--to", "20200101")
    assert "names_missing:" not in said.split("refused")[1]
    lost = sorted(set(re.findall(r"client_lost: (?:[a-z, ]+: )?(\S+) would no longer accept", said)))
    assert lost, said
    assert "`--lose CLIENT` for each of these clients gives it back all the same" in said
    done(primary, "rollback", "primary", "--to", "20200101", *(word for each in lost for word in ("--lose", each)))
    assert sent(primary) == by_all(primary, default)
    assert primary.lines("console") == [False]


def test_every_component_of_a_single_appliance_is_given_its_part_of_a_set() -> None:
    with lined_appliance("single") as machine:
        machine.configure(machine.with_folder())
        kept = fresh()
        machine.keep("20200102", kept)
        done(machine, "rollback", "single", "--to", "20200102")
        assert sent(machine) == by_all(machine, kept, ISSUING)
        assert machine.lines("engine") == [True, True]


@pytest.mark.parametrize(
    ("left_out", "why"),
    [
        (("portal-nginx.key",), "half a set: there is no 20200102-portal-nginx.key in {folder}"),
        (("portal-nginx.key", "portal-nginx.crt"), "half a set: it holds nothing of portal"),
        (("console-certificate.pem",), "half a set: there is no 20200102-console-certificate.pem in {folder}"),
    ],
)
def test_half_a_set_is_said_to_be_one_and_cannot_be_given_back(
    left_out: tuple[str, ...], why: str, primary: LinedAppliance
) -> None:
    primary.keep("20200102", fresh(), *left_out)
    expected = why.format(folder=primary.folder)
    assert expected in [each["unusable"] for each in sets(primary)]
    assert expected in refused(primary, "rollback", "primary", "--to", "20200102")


def test_a_set_whose_key_belongs_to_another_certificate_is_of_no_use(primary: LinedAppliance) -> None:
    primary.keep("20200102", fresh())
    replace_file(f"{primary.folder}/20200102-portal-nginx.key", fresh().key_pem(), 0o600)
    assert any("no server starts with it" in each["unusable"] for each in sets(primary))
    refused(primary, "rollback", "primary", "--to", "20200102")


def test_the_default_is_the_first_set_of_the_folder_where_it_is_older_than_certvigil_s_own(
    primary: LinedAppliance,
) -> None:
    first, second = ROOT.issue(NAME), fresh()
    primary.keep("20200102", second)
    primary.keep("20200101", first)
    primary.keep("20191231", fresh(), "portal-nginx.key")
    done(primary, "replace", "primary", "--from", primary.given(fresh()))
    said = done(primary, "reset-to-default", "primary")
    assert f"the default is set 20200101 of {primary.folder}" in " ".join(said.split())
    assert sent(primary) == by_all(primary, first)


def test_the_default_is_certvigil_s_own_where_the_folder_has_only_later_sets(primary: LinedAppliance) -> None:
    done(primary, "replace", "primary", "--from", primary.given(fresh()))
    primary.keep("20990101", fresh())
    primary.keep("later", fresh())
    assert {each["set"] for each in sets(primary) if each["default"]}.isdisjoint({"20990101", "later"})
    done(primary, "reset-to-default", "primary")
    assert sent(primary) == by_all(primary, primary.old)


def test_what_is_no_regular_file_in_the_folder_is_no_part_of_a_set(primary: LinedAppliance) -> None:
    primary.keep("20200102", fresh())
    key = f"{primary.folder}/20200102-portal-nginx.key"
    os.rename(key, f"{primary.directory}/elsewhere.key")
    os.symlink(f"{primary.directory}/elsewhere.key", key)
    assert any("there is no 20200102-portal-nginx.key" in each["unusable"] for each in sets(primary))
    refused(primary, "rollback", "primary", "--to", "20200102")


def undeclared(machine: LinedAppliance) -> dict[str, tuple[bytes, int, int]]:
    """Return content, mode and time of every file that no component has, the servers' and certvigil's own aside."""
    declared = {os.path.realpath(path) for path in machine.on_disk()}
    declared |= {machine.chain(name) for name in machine.servers}
    found: dict[str, tuple[bytes, int, int]] = {}
    for directory, _, names in os.walk(machine.directory):
        ours = os.path.relpath(directory, machine.directory).partition("/")[0].startswith(("actor", "server-", "state"))
        for path in () if ours else (os.path.join(directory, name) for name in names):
            if path not in declared and not os.path.basename(path).startswith((".", "given", "actor")):
                status = os.stat(path)
                found[path] = (Path(path).read_bytes(), status.st_mode, status.st_mtime_ns)
    return found


def test_a_customer_key_and_whatever_else_is_not_declared_is_never_touched() -> None:
    with lined_appliance("secondary") as machine:
        machine.configure(machine.with_folder())
        machine.keep("20200102", fresh())
        machine.keep("20200101", ROOT.issue(NAME))
        for path in (
            "engine/customer.key",
            "engine/01/license.xml",
            "console/intermediate.crt.rpmsave",
            "customer.key",
        ):
            replace_file(f"{machine.directory}/{path}", b"a secret of the customer", 0o600)
        before = undeclared(machine)
        assert f"{machine.directory}/engine/customer.key" in before
        done(machine, "replace", "secondary", "--from", machine.given(fresh()))
        done(machine, "rollback", "secondary", "--to", "20200102")
        done(machine, "replace", "secondary", "--from", machine.given(ROOT.issue(NAME)))
        done(machine, "reset-to-default", "secondary")
        assert undeclared(machine) == before
