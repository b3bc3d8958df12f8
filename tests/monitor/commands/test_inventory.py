"""`certvigil inventory`: what is installed and served, who issued it and who accepts it, on a laid-out appliance."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from monitor.lab.ca import DAY, Authority, bundle, self_signed
from tests.kit.appliance import Appliance, appliance
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.daemon import RunningDaemon, certvigil, on_a_terminal
from tests.kit.dialect import validate

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
OTHER = Authority.root("Another Root")
SOON = Authority.root("Soon over", not_before=time.time() - 300 * DAY, not_after=time.time() + 9 * DAY)
GONE = Authority.root("Over", not_before=time.time() - 300 * DAY, not_after=time.time() - 9 * DAY)
PORTAL_CONF = "globalconfig.portal.dispatcher.engine-ssl-ignore-certificate-problems"


def told(machine: Appliance, *arguments: str) -> Mapping[str, Any]:
    """Return what the command says, as JSON that fits its schema; no daemon runs."""
    ran = certvigil(
        "inventory", *arguments, "--json", "--config", machine.config_file, "--socket", f"{machine.directory}/none"
    )
    assert ran.returncode == 0, ran.stderr
    document: Mapping[str, Any] = json.loads(ran.stdout)
    validate(document, "inventory")
    return document


def component(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(each for each in document["components"] if each["component"] == name)
    return found


def where(configured: Mapping[str, Any]) -> Mapping[str, object]:
    """Return the one endpoint of a component as it is configured."""
    (endpoint,) = configured["endpoints"]
    found: Mapping[str, object] = endpoint
    return found


@pytest.fixture(scope="module")
def single() -> Iterator[Appliance]:
    """Give an appliance with a client whose store lacks the root, one that validates nothing, and a port of UDP."""
    with appliance("single") as machine:
        Path(machine.directory, "other.pem").write_bytes(bundle([OTHER, SOON, GONE, OTHER]))
        Path(machine.directory, "portal.conf").write_text(f"a=1\n{PORTAL_CONF}=true\n")
        switch = {"file": f"{machine.directory}/portal.conf", "key": PORTAL_CONF, "disables": "true", "default": "true"}
        machine.configure(
            {"engine": {"clients": ["browser", "finder", "portal"]}},
            trust_stores={
                "corporate": {"bundle": f"{machine.directory}/root.pem"},
                "jdk": {"bundle": f"{machine.directory}/other.pem"},
            },
            clients={
                "browser": {"trusts": "corporate"},
                "finder": {"trusts": "jdk"},
                "portal": {"trusts": "jdk", "validation_switch": switch},
            },
            watch=[{"files": [f"{machine.directory}/other.p*"]}],
            not_tls=[{"address": "127.0.0.1:999", "reason": "Collectors send here over UDP"}],
        )
        yield machine


def test_each_component_has_what_is_installed_who_issued_it_its_names_and_its_validity(single: Appliance) -> None:
    document = told(single)
    assert [(each["component"], each["group"]) for each in document["components"]] == [
        ("console", "single"),
        ("engine", "single"),
        ("portal", "single"),
    ]
    for each in document["components"]:
        certificate = each["certificate"]
        assert certificate["names"] == [f"DNS:{NAME}"]
        assert certificate["issuer"] == each["chain"][0]["subject"]
        assert certificate["not_before"] < document["at"] < certificate["not_after"]
        assert (each["origin"], each["root"]["subject"]) == (
            "own_ca",
            "CN=" + str(ROOT.certificate.subject.rfc4514_string())[3:],
        )
        (served,) = each["served"]
        assert served["certificate"] == certificate
        assert (served["as_installed"], served["sends_intermediates"]) == (True, True)
        assert served["negotiated"][0]["version"] == "TLSv1.3"
    assert {file["path"] for file in component(document, "engine")["files"]} == set(single.artefacts("engine").values())


def test_which_clients_accept_which_do_not_validate_and_which_stores_lack_the_root(single: Appliance) -> None:
    engine = component(told(single), "engine")
    (served,) = engine["served"]
    clients = {each["client"]: each for each in served["clients"]}
    assert {name: each["accepts"] for name, each in clients.items()} == {
        "browser": True,
        "finder": False,
        "portal": True,
    }
    assert f"says {PORTAL_CONF}=true" in clients["portal"]["unvalidated"]
    assert clients["portal"]["why"]
    assert not clients["browser"]["unvalidated"]
    root = ROOT.certificate.subject.rfc4514_string()
    assert engine["lacking_root"] == [{"trust_store": "jdk", "root": root, "clients": ["finder", "portal"]}]
    assert component(told(single), "console")["lacking_root"] == []


def test_a_trust_store_has_its_entries_and_the_entry_that_ends_first(single: Appliance) -> None:
    stores = {each["trust_store"]: each for each in told(single)["trust_stores"]}
    jdk = stores["jdk"]
    assert (jdk["entries"], jdk["duplicates"], jdk["clients"]) == (4, 1, ["finder", "portal"])
    assert jdk["ended"] == ["CN=Over"]
    assert jdk["earliest_end"]["entry"] == "CN=Over"
    assert jdk["next_end"]["entry"] == "CN=Soon over"
    assert stores["corporate"]["entries"] == 1


def test_a_port_without_tls_is_listed_and_gets_nothing(single: Appliance) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        address = "{}:{}".format(*udp.getsockname())
        given = json.loads(Path(single.config_file).read_text())
        given["not_tls"] = [{"address": address, "reason": "the Engine's own protocol"}]
        path = Path(single.directory, "udp.yaml")
        path.write_text(json.dumps(given))
        path.chmod(0o600)
        ran = certvigil("inventory", "--config", str(path), "--socket", "/none")
        assert f"not looked at: {address}/udp: the Engine's own protocol" in ran.stderr
        del given["state_directory"]
        with RunningDaemon(given) as daemon:
            (listed,) = daemon.ask("/api/v1/inventory")["not_looked_at"]
            assert listed == {"address": address, "transport": "udp", "reason": "the Engine's own protocol"}
            (listed,) = daemon.ask("/api/v1/status")["not_looked_at"]
            assert listed["address"] == address
        with pytest.raises(BlockingIOError):
            udp.recv(1)


def test_the_daemon_says_the_same_as_the_command_itself(single: Appliance) -> None:
    document = json.loads(Path(single.config_file).read_text())
    del document["state_directory"]
    itself = told(single)
    with RunningDaemon(document) as daemon:
        ran = certvigil("inventory", "--json", "--socket", daemon.socket)
        assert ran.returncode == 0, ran.stderr
        said = json.loads(ran.stdout)
        validate(said, "inventory")
        for key in ("components", "endpoints", "trust_stores", "not_looked_at"):
            assert without_sizes(said[key]) == without_sizes(itself[key])


def without_sizes(document: Any) -> Any:
    """Return a document without the sizes of handshakes: a signature is a byte shorter now and then."""
    return json.loads(json.dumps(document), object_hook=lambda each: each | {"handshake_bytes": 0})


def test_the_default_certificate_is_told_as_such_by_file_and_by_endpoint() -> None:
    with appliance("primary") as machine:
        signs = {"default_certificate": {"self_signed": True}}
        portal = machine.component("portal", **signs)
        portal["endpoints"] = [{**where(portal), "own_certificate": "mandatory"}]
        machine.configure({"console": signs, "portal": portal})
        machine.install(self_signed("appliance"))
        document = told(machine)
        assert {each["component"]: each["origin"] for each in document["components"]} == {
            "console": "default",
            "portal": "default",
        }
        ours = json.loads(Path(machine.config_file).read_text())
        del ours["state_directory"]
        with RunningDaemon(ours) as daemon:
            warning, critical = ("default_certificate", "warning"), ("default_certificate", "critical")
            console, portal_there = (machine.servers[name].address for name in ("console", "portal"))
            expected = {
                "console/combined": {warning},
                "portal/certificate": {warning},
                "portal/key": set[tuple[str, str]](),
                f"console/{console}": {warning, ("client_rejects", "warning")},
                f"portal/{portal_there}": {critical, ("client_rejects", "critical")},
            }

            def found() -> dict[str, set[tuple[str, str]]]:
                targets = [
                    each for each in daemon.ask("/api/v1/targets")["items"] if each["kind"] in {"file", "endpoint"}
                ]
                return {
                    each["target"]: {
                        (one["code"], one["severity"])
                        for one in (*each["findings"], *each["pending"])
                        if one["code"] != "nonconforming"
                    }
                    for each in targets
                }

            # A set on disk is judged once it was left alone.
            daemon.wait_for(lambda: found() == expected, "the default certificates")
        machine.install(fresh())
        assert {each["origin"] for each in told(machine)["components"]} == {"own_ca"}


@pytest.mark.parametrize("columns", [50, 80, 160])
def test_a_terminal_of_any_width_breaks_no_word(columns: int, single: Appliance) -> None:
    shown = on_a_terminal("inventory", "--config", single.config_file, "--socket", "/none", columns=columns).output
    for line in _COLOUR.sub("", shown).splitlines():
        assert len(line) <= columns or len(line.split()) <= 2, line
    assert "own, of a CA that is none of the web PKI" in " ".join(shown.split()) or columns < 80
    assert "127.0.0.1:999/udp" in shown


def test_a_pipe_gets_a_line_for_what_is_installed_and_one_for_each_endpoint(single: Appliance) -> None:
    ran = certvigil("inventory", "engine", "--config", single.config_file, "--socket", "/none")
    header, installed, served = [line.split("\t") for line in ran.stdout.splitlines()]
    first, second = dict(zip(header, installed, strict=True)), dict(zip(header, served, strict=True))
    assert (first["component"], first["group"], first["origin"]) == ("engine", "single", "own_ca")
    assert second["as installed"] == "yes"
    assert (second["accepted by"], second["rejected by"], second["root lacks in"]) == (
        "browser, portal (connects without validation)",
        "finder",
        "jdk",
    )


def test_each_trust_store_is_listed_though_no_client_uses_it_or_nobody_can_read_it(single: Appliance) -> None:
    document = single.document()
    unused = Path(single.directory, "unused.pem")
    unused.write_bytes(ISSUING.pem())
    stores = {**document["trust_stores"], "ldap": {"bundle": str(unused)}, "gone": {"bundle": "/nowhere/gone.pem"}}
    single.configure(trust_stores=stores, clients=document["clients"])
    found = {each["trust_store"]: each for each in told(single)["trust_stores"]}
    assert (found["ldap"]["entries"], found["gone"]["entries"]) == (1, None)
    ran = certvigil("inventory", "ldap", "--config", single.config_file, "--socket", "/none")
    assert ran.returncode == 0, ran.stderr
    header, store = [line.split("\t") for line in ran.stdout.splitlines()]
    row = dict(zip(header, store, strict=True))
    assert (row["verdict"], row["component"], row["place"]) == ("trust", "ldap", str(unused))
    assert row["ends"]


def test_a_name_that_nobody_has_and_a_configuration_with_mistakes_are_said(single: Appliance, tmp_path: Path) -> None:
    ran = certvigil("inventory", "engin", "--config", single.config_file, "--socket", "/none")
    assert ran.returncode == 3
    assert "there is no component or group 'engin'; did you mean 'engine'?" in ran.stderr
    ran = certvigil("inventory", "--config", str(tmp_path / "none.yaml"), "--socket", "/none")
    assert ran.returncode == 3
    assert "no daemon listens on /none" in ran.stderr
    assert "none.yaml" in ran.stderr


def test_a_server_that_sends_no_intermediates_is_seen_to_and_each_client_what_it_needs() -> None:
    with appliance("secondary") as machine:
        new = fresh()
        Path(machine.artefacts("console")["combined"]).write_bytes(new.pem() + new.key_pem())
        machine.servers["console"].reload()
        held = Path(machine.directory, "held.pem")
        held.write_bytes(ISSUING.pem())
        console = machine.component("console", clients=["browser", "finder"])
        console["endpoints"] = [{**where(console), "sends_intermediates": "not_expected"}]
        machine.configure(
            {"console": console},
            clients={
                "browser": {"trusts": "corporate"},
                "finder": {"trusts": "corporate", "intermediates": [str(held)]},
            },
        )
        (served,) = component(told(machine), "console")["served"]
        assert (served["sends_intermediates"], served["expected_to_send"]) == (False, "not_expected")
        assert {each["client"]: each["accepts"] for each in served["clients"]} == {"browser": False, "finder": True}
        assert "add that certificate to the intermediates that browser holds" in served["clients"][0]["why"]
