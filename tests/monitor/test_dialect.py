"""Every `--json` is in one dialect, as its published schema says: one shape for times, certificates and verdicts."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from monitor.commands import app
from monitor.http.published import PUBLISHED, json_schema
from monitor.lab.ca import Authority
from monitor.lab.servers import replace_file
from tests.kit.actor import ActorHouse
from tests.kit.authority import fresh
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.dialect import validate

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
ABOUT_NOW = range(1_000_000_000, 5_000_000_000)
"""Unix times of this age."""
CERTIFICATE = {
    *("subject", "issuer", "serial", "not_before", "not_after", "sha256", "names", "key", "spki_sha256"),
    *("signature_hash", "signature", "is_ca", "failures"),
}


def objects(document: object, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every object in a document, with the path to it."""
    if isinstance(document, dict):
        yield where, document
        for key, value in document.items():
            yield from objects(value, f"{where}/{key}")
    elif isinstance(document, list):
        for value in document:
            yield from objects(value, f"{where}[]")


def check(command: str, text: str) -> Any:
    """Check what a command printed by its published schema and by what the schema cannot say, and return it."""
    document = json.loads(text)
    validate(document, command)
    for where, each in objects(document):
        for key, value in each.items():
            place = f"{command}: {where}/{key}"
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            assert not (is_number and int(value) in ABOUT_NOW), f"{place} is a Unix time"
            if isinstance(value, str) and value[4:5] == "-" and value[7:8] == "-":
                assert TIME.fullmatch(value), f"{place} is no time: {value}"
        if {"subject", "issuer"} <= each.keys():
            assert each.keys() >= CERTIFICATE, f"{command}: {where}"
            assert each["key"].keys() == {"kind", "bits", "name", "strength"}
        # A situation has the client's verdict with its time, in place of the cause.
        if "client" in each and "situations" not in where:
            assert {"client", "target", "accepts", "why"} <= each.keys(), f"{command}: {where}"
    return document


@pytest.mark.server("nginx")
def test_what_every_command_prints_as_json_is_as_its_published_schema_says(web: ActorHouse) -> None:
    printed: set[str] = set()

    def run(command: str, *arguments: str, code: int | None = 0) -> Any:
        ran = certvigil(*command.split(), *arguments, "--json")
        assert code is None or ran.returncode == code, ran.stdout + ran.stderr
        printed.add(command)
        return check(command, ran.stdout)

    document, switch = web.document({"mode": "approve"}), Path(web.directory, "browser.conf")
    switch.write_text("ignore=false\n")
    document["trust_stores"]["corporate"]["mode"] = "approve"
    document["trust_stores"]["windows"] = {"elsewhere": "windows"}
    of_actor = web.document()
    of_actor["trust_stores"]["windows"] = {"elsewhere": "windows"}
    replace_file(web.config_file, json.dumps(of_actor).encode())
    document["clients"]["browser"]["validation_switch"] = {"file": str(switch), "key": "ignore", "disables": "true"}
    daemon = RunningDaemon(document)
    config, socket = ("--config", daemon.config_file), ("--socket", daemon.socket)
    with web.actor(), daemon:
        assert run(
            "check", web.site.certificate, web.server.address, "--ca-file", f"{web.directory}/root.pem", code=None
        )
        assert run("doctor", *config, *socket, code=None)["checks"]
        assert run("why", "browser", web.server.address, *config, code=None)["chains"]
        assert run("inventory", *socket)["components"][0]["component"] == "web"
        assert run("backups", *config)["sets"] == []
        assert run("recover", "--thaw", "web", *config)["not_frozen"] == ["web"]
        assert "refused" in run("plan", "web", *config, code=1)
        made = run("csr", "web", *config)["csr"]
        assert run("csr", "--list", *config)["requests"][0]["key"] == made["key"]
        assert run("csr", "web", "--dry-run", *config)["csr"]["made"] is False
        assert run("csr", "--cancel", made["key"], *config)["cancelled"] == made["key"]
        assert run("offer", "web", f"{web.directory}/root.pem", *config)["offered"]["way"] == "socket"
        (waiting,) = run("offer", "--list", *config)["offers"]
        assert run("plan", "web", *config, code=None)["offers_waiting"]["count"] == 1
        assert run("offer", "--withdraw", waiting["offer"], *config)["withdrawn"] == waiting["offer"]
        web.put(fresh())
        planned = run("plan", "web", *config)
        assert planned["effects"][0]["client"] == "browser"
        proposed = daemon.wait_for(lambda: run("plan", "web", *config).get("waiting"), "the daemon's proposal")[0]
        assert run("reject", proposed["hash"], *config)["rejected"] == proposed["hash"]
        web.put(fresh())
        proposed = daemon.wait_for(lambda: run("plan", "web", *config).get("waiting"), "another proposal")[0]
        assert run("approve", proposed["hash"], *config)["until"]
        daemon.wait_until("ended", target="web/actions", action="replace", outcome="committed")
        # The used files go after the commit, and the next ones have their names.
        daemon.wait_for(lambda: not os.listdir(web.inbox), "the empty inbox")
        web.put(fresh())
        assert run("replace", "web", *config)["endings"][0]["outcome"] == "committed"
        assert run("activate", "web", "--force", *config)["endings"]
        assert run("rollback", "web", *config)["endings"]
        assert run("reset-to-default", "web", "--dry-run", *config, code=0)
        assert run("backups", *config)["sets"]
        assert run("status", *socket)["components"]
        assert run("history", *config)["entries"]
        assert run("explain")["findings"]
        assert run("notify show", *socket) is not None
        assert run("policy explain", "web", *socket, *config)["subject"] == "web"
        assert run("policy test", *socket, *config) is not None
        other = Path(web.directory, "other.pem")
        other.write_bytes(Authority.root("Other Root CA").pem())
        assert run("rotate", str(other), *config, code=1)["steps"]
        confirmed = run("trust confirm", "windows", "--root", str(other), *config)["confirmed"]
        assert (confirmed["trust_store"], confirmed["has"]) == ("windows", True)
        (store,) = run("trust list", "corporate", *config)["stores"]
        assert store["entries"][0]["certificates"]
        added = run("trust add", "corporate", "--from", str(other), *config)
        assert added["trust"]["added"][0]["certificate"]["subject"] == "CN=Other Root CA"
        (digest,) = (each["alias"] for each in added["trust"]["added"])
        assert run("trust remove", "corporate", digest, *config)["endings"]
        assert run("trust restore", "corporate", "--to", "default", *config)["refused"]
        password = run("trust password", "corporate", "--new-password-file", str(switch), *config, code=1)
        assert password["refused"]["objections"][0]["ground"] == "cannot_be_written"
        assert run("trust enforce", "browser", *config)["refused"]
        assert run("trust relax", "browser", "--dry-run", *config)["plan"]
        lines = certvigil("audit", "--json", *config).stdout.splitlines()
        assert [check("audit", line) for line in lines]
    with tempfile.TemporaryDirectory() as directory:
        kit = ("windows", f"{web.directory}/root.pem", "--out", f"{directory}/kit")
        assert run("discover", "--port", "1", "--root", directory)["ports"] == []
        assert run("export", *kit, *appliance_config(directory))["certificates"]
        assert run("guide", *appliance_config(directory))["topics"]
        assert run("guide", "replace", *appliance_config(directory))["steps"]
    printed |= {"audit", "notify test"}
    assert printed == PUBLISHED.keys()


def appliance_config(directory: str) -> tuple[str, str]:
    """Return the option for a configuration with topics of `certvigil guide`."""
    path = Path(directory, "certvigil.yaml")
    path.write_text("profile: nexthink-v6\nappliance: {role: single, external_name: nx.example.com}\n")
    path.chmod(0o600)
    return "--config", str(path)


def test_the_schema_of_every_command_that_prints_json_is_published() -> None:
    def commands(typed: Any, *before: str) -> Iterator[str]:
        for each in typed.registered_commands:
            if "as_json" in each.callback.__annotations__:
                yield " ".join((*before, each.name or each.callback.__name__.replace("_", "-")))
        for group in typed.registered_groups:
            yield from commands(group.typer_instance, *before, group.name)

    assert set(commands(app)) == PUBLISHED.keys()


def test_a_command_without_json_is_not_guessed() -> None:
    ran = certvigil("json-schema", "chek")
    assert (ran.returncode, "did you mean 'check'?" in ran.stderr) == (3, True)
    assert json.loads(certvigil("json-schema", "audit").stdout) == json_schema("audit")
    assert certvigil("json-schema").stdout.splitlines() == list(PUBLISHED)
