"""What certificates, servers and file names say is harmless wherever it is shown; private keys are shown nowhere."""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from config.vocabulary import LogFormat
from monitor.lab.ca import Authority, Issued, KeyType, PrivateKey, new_key
from monitor.lab.servers import LocalServer, write_site
from tests.kit.daemon import RunningDaemon, Shown, certvigil, on_a_terminal
from tests.kit.hostile import FILES, NAME, hostile


@dataclass(frozen=True, slots=True)
class HostileWorld:
    """Daemons over the same hostile files and server, one for each form of the log."""

    daemon: RunningDaemon
    text: RunningDaemon
    directory: str
    server: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileWorld]:
    """Keep vigil over hostile files and a hostile server; one of the files gets unreadable."""
    directory, issued = tmp_path_factory.mktemp("hostile"), hostile()
    for name in FILES:
        with open(os.path.join(os.fsencode(directory), name), "wb") as file:
            file.write(issued.chain_pem())
    (directory / "root.pem").write_bytes(Authority.root().pem())
    with ExitStack() as running:
        server = running.enter_context(LocalServer([write_site(str(directory / "server"), issued)]))
        config = {
            "watch": [{"files": [f"{directory}/*.pem"], "trust_store": "corporate"}],
            "endpoints": [{"name": "live", "address": server.address, "clients": ["browser"]}],
            "trust_stores": {"corporate": {"bundle": str(directory / "root.pem")}},
            "clients": {"browser": {"trusts": "corporate"}},
        }
        text, daemon = (running.enter_context(RunningDaemon(config, log_format=each)) for each in LogFormat)
        with open(os.path.join(os.fsencode(directory), FILES[0]), "wb") as file:
            file.write(issued.pem()[:200])
        for each in (text, daemon):
            each.wait_for(lambda each=each: "presents live" in each.text, "a look at the endpoint")
            each.wait_for(lambda each=each: "unreadable" in each.text, "the file that is broken")
        daemon.wait_for(lambda: daemon.ask("/api/v1/history").get("items"), "the history")
        yield HostileWorld(daemon, text, str(directory), server.address)


def strings(value: Any) -> Iterator[str]:
    """Yield every string in a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = value.values()
    if isinstance(value, list | type({}.values())):
        for each in value:
            yield from strings(each)


def assert_harmless(text: str) -> None:
    """Fail where a terminal would do more with `text` than show it and begin a new line."""
    odd = {character for character in text if not character.isprintable()} - {"\n"}
    assert not odd


def assert_harmless_on_a_terminal(shown: Shown) -> None:
    """Fail where anything but our own colours reaches a terminal."""
    assert "\x1b[31m" not in shown.output, "the red of the certificate"
    ours = re.sub(r"\x1b\[[0-9;]*m", "", shown.output)
    assert_harmless(ours.replace("\r\n", "\n"))
    assert_harmless(shown.errors)
    assert "script" in ours


def test_files_of_any_name_are_targets_of_their_own(world: HostileWorld) -> None:
    targets = {dict(labels)["target"] for name, labels in world.daemon.metrics() if name == "certvigil_target_info"}
    assert len(targets) == len(FILES) + len(["root.pem", "live", "certvigil"])


def test_labels_are_harmless(world: HostileWorld) -> None:
    page = world.daemon.page()
    values = [value for _, labels in world.daemon.metrics() for _, value in labels]
    assert any("script" in value for value in values)
    for value in values:
        assert value.isprintable()
    assert_harmless(page)


@pytest.mark.parametrize("command", ["check", "status", "history"])
def test_a_terminal_shows_it_and_does_nothing_else(world: HostileWorld, command: str) -> None:
    arguments = {
        "check": (world.directory, world.server),
        "status": ("--socket", world.daemon.socket),
        "history": ("--config", world.daemon.config_file),
    }[command]
    assert_harmless_on_a_terminal(on_a_terminal(command, *arguments))


@pytest.mark.parametrize("command", ["check", "status", "history"])
def test_a_pipe_gets_one_line_for_each_thing(world: HostileWorld, command: str) -> None:
    arguments = {
        "check": (world.directory, world.server),
        "status": ("--socket", world.daemon.socket),
        "history": ("--config", world.daemon.config_file),
    }[command]
    ran = certvigil(command, *arguments)
    assert_harmless(ran.stdout.replace("\t", ""))
    assert "script" in ran.stdout
    document = json.loads(certvigil(command, "--json", *arguments).stdout)
    for text in strings(document):
        assert text.isprintable()
    if command == "history":
        assert len(ran.stdout.splitlines()) == 1 + len(document["entries"]), "the first names the columns"


def test_the_log_has_one_harmless_line_for_each_event(world: HostileWorld) -> None:
    events = [line for line in world.daemon.log if "event" in line]
    assert events
    for line in world.daemon.log:
        for text in strings(line):
            assert text.isprintable()
    assert_harmless(world.text.text)
    for written in world.text.text.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT[0-9:.]+Z (debug|info|warning|error) ", written), written


@pytest.mark.parametrize("resource", ["status", "targets", "findings", "certificates", "history"])
def test_the_api_says_it_as_printable_text(world: HostileWorld, resource: str) -> None:
    found = list(strings(world.daemon.ask(f"/api/v1/{resource}")))
    assert found
    for text in found:
        assert text.isprintable()
    assert any("script" in text for text in found) == (resource != "status")


def test_every_target_can_be_asked_for_by_its_name(world: HostileWorld) -> None:
    for target in world.daemon.ask("/api/v1/targets")["items"]:
        path = urllib.parse.quote(target["target"], safe="")
        assert world.daemon.ask(f"/api/v1/targets/{path}")["target"] == target["target"]


# Private keys


def traces(issued: Issued) -> Iterator[bytes]:
    """Yield what must be found nowhere: the lines of the PEM, and each secret number in every usual notation."""
    pem = issued.key_pem()
    # The first line and the last hold what is public as well, in some keys.
    yield from (line for line in pem.splitlines()[1:-1] if len(line) > 20)
    for number in secret_numbers(issued.key):
        data = number.to_bytes((number.bit_length() + 7) // 8, "big")
        yield data
        yield data.hex().encode()
        yield data.hex().upper().encode()
        yield data.hex(":").encode()
        yield str(number).encode()
        # Whatever stands before it, two of three ways of encoding have it in common.
        for offset in range(3):
            yield base64.b64encode(bytes(offset) + data)[4:-4]


def secret_numbers(key: PrivateKey) -> list[int]:
    match key:
        case rsa.RSAPrivateKey():
            numbers = key.private_numbers()
            return [numbers.d, numbers.p, numbers.q]
        case ec.EllipticCurvePrivateKey():
            return [key.private_numbers().private_value]
        case _:
            raise AssertionError


def test_no_trace_of_a_private_key_is_found_anywhere(tmp_path: Path) -> None:
    root = Authority.root()
    apart, combined, exposed = (
        root.issue(NAME, key=new_key(kind)) for kind in (KeyType.RSA2048, KeyType.P256, KeyType.P384)
    )
    site = write_site(str(tmp_path), apart)
    files = {
        "combined.pem": combined.key_pem() + combined.pem(),
        "exposed.pem": exposed.pem() + exposed.key_pem(),
        "key alone.pem": exposed.key_pem(),
        "torn.pem": exposed.key_pem()[:200],
        "mislabelled.pem": exposed.key_pem().replace(b"PRIVATE KEY", b"CERTIFICATE"),
        "key.der": base64.b64decode(b"".join(exposed.key_pem().splitlines()[1:-1])),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in files]
    config = {
        "settle": "0.2s",
        "pending": "0s",
        "watch": [{"files": [str(tmp_path)], "exclude": [paths[0], site.certificate, site.key]}],
        "components": {
            "web": {"artefacts": {"certificate": site.certificate, "key": site.key}},
            "mail": {"artefacts": {"combined": paths[0]}},
            "wrong": {"artefacts": {"certificate": str(tmp_path / "missing.pem"), "key": paths[2]}},
        },
    }
    said: dict[str, bytes] = {}
    with RunningDaemon(config) as daemon:
        daemon.wait_for(lambda: daemon.findings("mail/combined") == {"key_exposed"}, "the exposed key")
        # A key that does not belong, a torn one, and one in the wrong place have more to be said of them.
        for data in (exposed.key_pem(), exposed.key_pem()[:200], exposed.pem()):
            before = len(daemon.log)
            Path(site.key).write_bytes(data)
            daemon.wait_for(lambda before=before: len(daemon.log) > before, "the change of the key")
        for command in (
            *(["check", *paths, site.key], ["check", "--json", *paths, site.key]),
            *(["config", "show", daemon.config_file], ["config", "check", daemon.config_file]),
            *(["status", "--socket", daemon.socket], ["status", "--json", "--socket", daemon.socket]),
        ):
            ran = certvigil(*command)
            said[" ".join(command[:2])] = (ran.stdout + ran.stderr).encode()
        said["metrics"] = daemon.page().encode()
        for resource in ("status", "targets?limit=500", "certificates", "findings", "history", "targets/web/key"):
            said[resource] = json.dumps(daemon.ask(f"/api/v1/{resource}")).encode()
        assert daemon.stop() == 0
        said["history"] = certvigil("history", "--json", "--config", daemon.config_file).stdout.encode()
        said["log"] = daemon.text.encode()
        assert all(said.values())
        said |= {each.name: each.read_bytes() for each in Path(daemon.state).iterdir()}
    assert said["certvigil.db"]
    for issued in (apart, combined, exposed):
        assert any(issued.der() in data for data in said.values()), "or nothing was looked at"
        searched_for = list(traces(issued))
        assert any(trace in issued.key_pem() for trace in searched_for)
        for trace in searched_for:
            assert [where for where, data in said.items() if trace in data] == []
