"""The command line as a contract: exit codes, shapes, what goes where."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from config.model import Endpoint
from config.vocabulary import EndpointProtocol, FileFormat
from monitor.commands import app
from monitor.commands.given import read_given
from monitor.commands.panel import Panel
from monitor.lab.ca import DAY, Authority, Issued, bundle
from monitor.lab.process import free_address
from monitor.lab.servers import LocalServer, write_site
from monitor.main import main
from tests.kit.daemon import CERTVIGIL, RunningDaemon, certvigil, on_a_terminal
from tests.kit.peers import Behaviour, HostilePeer

NAME = "www.example.com"

CHECK_SCHEMA = jsonschema.Draft202012Validator(
    {
        "type": "object",
        "required": ["schema", "at", "targets", "passed_over"],
        "additionalProperties": False,
        "properties": {
            "schema": {"const": 1},
            "at": {"$ref": "#/$defs/time"},
            "targets": {"type": "array", "items": {"$ref": "#/$defs/target"}},
            "passed_over": {"type": "array", "items": {"$ref": "#/$defs/passed_over"}},
        },
        "$defs": {
            "time": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
            "target": {
                "type": "object",
                "required": [
                    *("target", "verdict", "findings", "chain", "addresses", "format"),
                    *("keystore", "revocation_lists", "key", "supported"),
                ],
                "additionalProperties": False,
                "properties": {
                    "target": {"type": "string"},
                    "verdict": {"enum": ["ok", "warning", "critical", "unknown"]},
                    "findings": {"type": "array", "items": {"$ref": "#/$defs/finding"}},
                    "chain": {"type": "array", "items": {"$ref": "#/$defs/certificate"}},
                    "addresses": {"type": "array", "items": {"$ref": "#/$defs/address"}},
                    "format": {"enum": [None, *map(str, FileFormat)]},
                    # In full where it is one: tests/monitor/commands/test_check_files.py.
                    "keystore": {"type": "null"},
                    "revocation_lists": {"type": "array", "maxItems": 0},
                    "key": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/key"}]},
                    # In full where it was asked for: tests/monitor/commands/test_check_supported.py.
                    "supported": {"type": "null"},
                },
            },
            "key": {
                "type": "object",
                "required": ["where", "belongs", "why", "also"],
                "additionalProperties": False,
                "properties": {
                    "where": {"type": "string"},
                    "belongs": {"enum": [True, False, None]},
                    "why": {"type": "string"},
                    "also": {"type": "array", "items": {"type": "string"}},
                },
            },
            "passed_over": {
                "type": "object",
                "required": ["path", "why"],
                "additionalProperties": False,
                "properties": {"path": {"type": "string"}, "why": {"type": "string", "minLength": 1}},
            },
            "address": {
                "type": "object",
                "required": [
                    *("address", "version", "cipher", "group", "handshake_bytes"),
                    *("client_certificate", "client_certificate_fault", "staple"),
                ],
                "additionalProperties": False,
                "properties": {
                    "address": {"type": "string", "format": "ipv4"},
                    "version": {"enum": ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]},
                    "cipher": {"type": "string"},
                    "group": {"type": "string"},
                    "handshake_bytes": {"type": "integer", "minimum": 500},
                    "client_certificate": {"const": "not_requested"},
                    "client_certificate_fault": {"const": ""},
                    "staple": {"type": "null"},
                },
            },
            "finding": {
                "type": "object",
                "required": ["code", "severity", "subject", "detail"],
                "additionalProperties": False,
                "properties": {
                    "code": {"type": "string", "pattern": "^[a-z_]+$"},
                    "severity": {"enum": ["notice", "warning", "critical"]},
                    "subject": {"type": "string"},
                    "detail": {"type": "string", "minLength": 1},
                },
            },
            "certificate": {
                "type": "object",
                "required": ["subject", "issuer", "serial", "not_before", "not_after", "sha256", "names"],
                "properties": {
                    "subject": {"type": "string"},
                    "issuer": {"type": "string"},
                    "serial": {"type": "string", "pattern": "^-?[0-9a-f]+$"},
                    "not_before": {"$ref": "#/$defs/time"},
                    "not_after": {"$ref": "#/$defs/time"},
                    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                    "names": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    }
)


@dataclass(frozen=True, slots=True)
class RanCommand:
    """What a command wrote, and its exit code."""

    code: int
    output: str
    errors: str

    @property
    def document(self) -> Any:
        return json.loads(self.output)

    @property
    def targets(self) -> list[Any]:
        CHECK_SCHEMA.validate(self.document)
        targets: list[Any] = self.document["targets"]
        return targets

    @property
    def codes(self) -> set[str]:
        return {found["code"] for target in self.targets for found in target["findings"]}


Run = Callable[..., RanCommand]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process, its output going into pipes."""

    def ran(*arguments: str) -> RanCommand:
        monkeypatch.setattr(sys, "argv", ["certvigil", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main()
        assert isinstance(exited.value.code, int)
        return RanCommand(exited.value.code, *capfd.readouterr())

    return ran


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority.root()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[dict[str, str]]:
    """Give what there is to check, by what is to be said of it."""
    directory = tmp_path_factory.mktemp("lab")
    issuing, now = ca.intermediate(), time.time()

    def issue(days_left: float) -> Issued:
        return issuing.issue(NAME, not_before=now - (90 - days_left) * DAY, not_after=now + days_left * DAY)

    contents = {
        "ok.pem": issue(89).chain_pem(),
        "warning.pem": issue(20).chain_pem(),
        "critical.pem": issue(5).chain_pem(),
        "expired.pem": issue(-1).chain_pem(),
        "alone.pem": issue(89).pem(),
        "binary.der": ca.issue(NAME).der(),
        "text": b"this is no certificate\n",
        "root.pem": bundle([ca]),
        "some/ok.pem": issue(89).chain_pem(),
        "some/deep/warning.pem": issue(20).chain_pem(),
        "none/README": b"nothing here\n",
    }
    for name, data in contents.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    paths = {name: str(directory / name) for name in (*contents, "some", "none")}
    with ExitStack() as running:
        for name, issued in (("good", issue(89)), ("late", issue(-1)), ("odd", _odd(issuing))):
            site = write_site(str(directory / name), issued)
            paths[name] = running.enter_context(LocalServer([site])).address
        paths["dead"] = "{}:{}".format(*free_address())
        yield paths


def _odd(issuing: Authority) -> Issued:
    """Return what OpenSSL accepts and the web PKI's profile does not."""
    return issuing.issue(NAME, authority_key_identifier=False)


@pytest.mark.parametrize(
    ("targets", "code", "verdicts"),
    [
        (["ok.pem"], 0, ["ok"]),
        (["binary.der"], 0, ["ok"]),
        (["root.pem"], 0, ["ok"]),
        (["warning.pem"], 1, ["warning"]),
        (["critical.pem"], 2, ["critical"]),
        (["expired.pem"], 2, ["critical"]),
        (["text"], 2, ["critical"]),
        (["some"], 1, ["warning", "ok"]),
        (["none"], 3, []),
        (["good"], 0, ["ok"]),
        (["late"], 2, ["critical"]),
        (["dead"], 2, ["critical"]),
        (["warning.pem", "ok.pem", "expired.pem"], 2, ["warning", "ok", "critical"]),
        (["ok.pem", "good"], 0, ["ok", "ok"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else str(value),
)
def test_the_exit_code_is_that_of_the_worst_verdict(
    run: Run, lab: dict[str, str], targets: list[str], code: int, verdicts: list[str]
) -> None:
    ran = run("check", "--json", "--ca-file", lab["root.pem"], "--name", NAME, *(lab[target] for target in targets))
    assert ([target["verdict"] for target in ran.targets], ran.code) == (verdicts, code)
    assert ran.errors == ""


@pytest.mark.parametrize("scheme", ["https://{}", "https://{}/", "tls://{}", "TLS://{}"])
def test_an_endpoint_may_be_given_as_a_url(run: Run, lab: dict[str, str], scheme: str) -> None:
    target = scheme.format(lab["good"])
    ran = run("check", "--json", "--ca-file", lab["root.pem"], "--name", NAME, target)
    assert ran.code == 0
    assert [each["target"] for each in ran.targets] == [target]


def test_https_without_a_port_means_443(run: Run) -> None:
    host, _ = free_address()
    ran = run("check", "--json", f"https://{host}")
    assert ran.code == 2
    assert ran.targets[0]["findings"][0]["detail"].startswith("connection_refused")


@pytest.mark.parametrize(
    ("url", "port", "protocol"),
    [
        ("smtp://mail.example.com", 25, EndpointProtocol.SMTP),
        ("SMTP://mail.example.com:587", 587, EndpointProtocol.SMTP),
        ("postgres://mail.example.com/db", 5432, EndpointProtocol.POSTGRES),
        ("postgresql://mail.example.com:5433", 5433, EndpointProtocol.POSTGRES),
        ("xmpp-server://mail.example.com", 5269, EndpointProtocol.XMPP_SERVER),
        ("imaps://mail.example.com", 993, EndpointProtocol.TLS),
    ],
)
def test_a_url_says_which_protocol_asks_for_tls(url: str, port: int, protocol: EndpointProtocol) -> None:
    (target,) = read_given([url], NAME, 1.0).targets
    assert target == Endpoint(url, "mail.example.com", port, NAME, timeout=1.0, protocol=protocol)


@pytest.mark.parametrize("protocol", EndpointProtocol)
def test_each_protocol_is_the_scheme_of_a_url(protocol: EndpointProtocol) -> None:
    (target,) = read_given([f"{protocol}://mail.example.com:1"], NAME, 1.0).targets
    assert isinstance(target, Endpoint)
    assert target.protocol is protocol


def test_certificates_are_told_as_they_are(run: Run, lab: dict[str, str], ca: Authority) -> None:
    (target,) = run("check", "--json", lab["ok.pem"]).targets
    leaf, issuer = target["chain"]
    assert (leaf["subject"], leaf["names"], leaf["is_ca"]) == (f"CN={NAME}", [f"DNS:{NAME}"], False)
    assert (leaf["issuer"], issuer["issuer"]) == (issuer["subject"], "CN=Lab Root CA")
    (root,) = run("check", "--json", lab["root.pem"]).targets
    assert root["chain"][0]["serial"] == f"{ca.certificate.serial_number:x}"


@pytest.mark.parametrize(
    ("at", "code", "found"),
    [
        ("2099-01-01", 2, "expired"),
        ("2099-01-01T00:00:00Z", 2, "expired"),
        ("2001-01-01T01:00:00+01:00", 2, "not_yet_valid"),
    ],
)
def test_a_file_is_judged_as_of_the_given_time(run: Run, lab: dict[str, str], at: str, code: int, found: str) -> None:
    ran = run("check", "--json", "--at", at, lab["ok.pem"])
    assert (ran.code, ran.codes) == (code, {found})
    assert ran.document["at"] == ("2001-01-01T00:00:00Z" if at.startswith("2001") else "2099-01-01T00:00:00Z")


def test_without_a_name_the_certificate_must_name_what_was_typed(run: Run, lab: dict[str, str]) -> None:
    ran = run("check", "--json", "--ca-file", lab["root.pem"], lab["good"])
    assert ran.code == 2
    assert "hostname_mismatch" in ran.codes


def test_without_a_ca_file_the_system_decides(run: Run, lab: dict[str, str]) -> None:
    ran = run("check", "--json", "--name", NAME, lab["good"])
    assert ran.code == 2
    assert "client_rejects" in ran.codes


@pytest.mark.parametrize(("verifier", "code"), [("openssl", 0), ("webpki", 2)])
def test_the_verifier_decides_whether_a_nonconforming_chain_is_accepted(
    run: Run, lab: dict[str, str], verifier: str, code: int
) -> None:
    ran = run("check", "--json", "--ca-file", lab["root.pem"], "--name", NAME, "--verifier", verifier, lab["odd"])
    assert ran.code == code
    assert "nonconforming" in ran.codes


def test_a_file_is_judged_as_a_chain_where_a_ca_file_is_given(run: Run, lab: dict[str, str]) -> None:
    assert run("check", "--json", lab["alone.pem"]).code == 0
    ran = run("check", "--json", "--ca-file", lab["root.pem"], lab["alone.pem"])
    assert ran.code == 2
    assert "incomplete_chain" in ran.codes


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        ([], "TARGET"),
        (["/no/such/file"], "/no/such/file"),
        (["no.such.file"], "HOST:PORT"),
        (["host:99999"], "host:99999"),
        (["telnet://host:23"], "telnet"),
        (["http://host/"], "no TLS"),
        (["https://host:port/"], "not a URL"),
        (["tls://host"], "tls://HOST:PORT"),
        (["--key", "{ok.pem}", "{ok.pem}"], "holds no private key"),
        (["--key", "/no/such.key", "{ok.pem}"], "/no/such.key"),
        (["--key", "{text}", "{some}"], "no private key"),
        (["--password-file", "/no/such/password", "{ok.pem}"], "/no/such/password"),
        (["--at", "yesterday", "{ok.pem}"], "yesterday"),
        (["--ca-file", "/no/such/ca.pem", "{ok.pem}"], "/no/such/ca.pem"),
        (["--ca-file", "{text}", "{ok.pem}"], "text"),
        (["--verifier", "gnutls", "{ok.pem}"], "gnutls"),
        (["--timeout", "0", "{ok.pem}"], "--timeout"),
        (["--proxy", "ftp://proxy:1", "host:443"], "--proxy ftp://proxy:1"),
        (["--proxy", "http://proxy", "host:443"], "http://HOST:PORT"),
        (["--colour", "{ok.pem}"], "--colour"),
        (["{ok.pem}", "evil\x1b[31m\n"], r"evil\x1b[31m\x0a"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_in_one_line(
    run: Run, lab: dict[str, str], arguments: list[str], about: str
) -> None:
    ran = run("check", *(re.sub(r"\{(.+)\}", lambda match: lab[match[1]], each) for each in arguments))
    assert (ran.code, ran.output) == (3, "")
    assert about in ran.errors
    assert ran.errors.startswith("certvigil")
    assert ran.errors.count("\n") == 1
    assert ran.errors.rstrip("\n").isprintable()


def test_targets_are_answered_in_the_order_in_which_they_were_given(run: Run, lab: dict[str, str]) -> None:
    given = [lab[each] for each in ("dead", "warning.pem", "good", "some", "ok.pem", "late")]
    ran = run("check", "--json", "--ca-file", lab["root.pem"], *given)
    in_directory = [f"{lab['some']}/deep/warning.pem", f"{lab['some']}/ok.pem"]
    assert [each["target"] for each in ran.targets] == [*given[:3], *in_directory, *given[4:]]


def test_an_endpoint_that_never_answers_ends_at_its_time_limit(
    run: Run, start_peer: Callable[[Behaviour], HostilePeer]
) -> None:
    peer = start_peer(Behaviour.SILENT)
    started = time.monotonic()
    ran = run("check", "--json", "--timeout", "0.2", f"{peer.host}:{peer.port}")
    assert (ran.code, ran.codes) == (2, {"unreachable"})
    assert time.monotonic() - started < 3


def test_a_pipe_gets_plain_lines(lab: dict[str, str]) -> None:
    ran = certvigil("check", lab["ok.pem"], lab["expired.pem"], FORCE_COLOR="", TERM="xterm-256color")
    assert ran.returncode == 2
    assert "\x1b" not in ran.stdout + ran.stderr
    assert ran.stdout.startswith(f"ok       {lab['ok.pem']}\n")
    assert "critical expired: " in ran.stdout


def test_a_terminal_gets_colours(lab: dict[str, str]) -> None:
    shown = on_a_terminal("check", lab["ok.pem"], lab["expired.pem"])
    assert shown.code == 2
    assert "\x1b[32mok" in shown.output
    assert "\x1b[1;31mcritical" in shown.output
    assert shown.errors == ""


def test_many_files_show_progress_on_a_terminal_and_leave_the_output_alone(tmp_path: Path, ca: Authority) -> None:
    data = ca.issue(NAME).pem()
    for number in range(250):
        (tmp_path / f"{number}.pem").write_bytes(data)
    shown = on_a_terminal("check", "--json", str(tmp_path))
    assert shown.code == 0
    assert "looking at files" in shown.errors
    assert len(json.loads(shown.output)["targets"]) == 250
    piped = certvigil("check", "--json", str(tmp_path))
    assert piped.stderr == ""


def test_text_that_the_locale_cannot_say_is_said_in_escapes(tmp_path: Path, ca: Authority) -> None:
    path = tmp_path / "cert.pem"
    path.write_bytes(ca.issue(NAME, subject="Z\u00fcrich \u2713").pem())
    ran = certvigil("check", str(path), PYTHONIOENCODING="ascii")
    assert ran.returncode == 0
    assert r"CN=Z\xfcrich \u2713" in ran.stdout


def test_a_closed_pipe_is_no_reason_for_a_traceback(lab: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [*CERTVIGIL, "check", lab["ok.pem"]],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert b"Traceback" not in ran.stderr


def test_the_version_is_told_without_loading_the_rest() -> None:
    code = (
        "import sys; sys.argv = ['certvigil', '--version'];"
        "from monitor.main import main; main(); print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert re.fullmatch(r"certvigil \d+\.\d+\.\d+\n", ran.stdout)
    assert not {"typer", "rich", "cryptography", "config.vocabulary"} & set(ran.stderr.split())


@pytest.mark.parametrize(
    "command",
    [
        "",
        "run",
        "demo",
        "check",
        "status",
        "history",
        "reload",
        "config",
        *map("config {}".format, ("check", "schema", "show", "units")),
    ],
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_helps(run: Run, command: str, option: str) -> None:
    ran = run(*command.split(), option)
    assert (ran.code, ran.errors) == (0, "")
    assert "Usage: certvigil" in ran.output


@pytest.mark.parametrize("columns", [60, 80])
def test_the_help_has_each_command_in_its_panel_and_the_panels_in_their_order(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = run("--help").output
    assert re.findall("^(\\S.*):$", shown, re.MULTILINE) == ["Options", *Panel]
    commands = re.findall(r"^  ([a-z][a-z-]*) +\S", shown.partition("\nWatch:\n")[2], re.MULTILINE)
    assert sorted(commands) == sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert max(map(len, shown.splitlines())) <= columns


def write_config(directory: Path, text: str) -> str:
    path = directory / "certvigil.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


GOOD = """\
watch:
  - files: [/etc/ssl/private/*.pem]
endpoints:
  - {address: "www.example.com:443", every: 5m}
"""
BAD = """\
watch:
  - files: [relative.pem]
endpoints:
  - {address: "www.example.com", every: often}
colour: blue
"""


def test_a_good_configuration_is_ok(run: Run, tmp_path: Path) -> None:
    ran = run("config", "check", write_config(tmp_path, GOOD))
    assert (ran.code, ran.errors) == (0, "")
    assert "ok, 1 files and patterns, 1 endpoints" in ran.output


def test_every_mistake_is_reported_with_its_line(run: Run, tmp_path: Path) -> None:
    path = write_config(tmp_path, BAD)
    ran = run("config", "check", path)
    assert (ran.code, ran.output) == (1, "")
    assert [line.split(": ")[0] for line in ran.errors.splitlines()] == [f"{path}:{line}" for line in (2, 4, 4, 5)]
    for about in ("relative.pem", "www.example.com", "often", "colour"):
        assert about in ran.errors


def test_the_schema_is_one_and_takes_what_is_good(run: Run) -> None:
    ran = run("config", "schema")
    schema = ran.document
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(yaml.safe_load(GOOD))
    assert not validator.is_valid({"colour": "blue"})


def test_the_configuration_in_effect_is_itself_a_configuration(run: Run, tmp_path: Path) -> None:
    ran = run("config", "show", write_config(tmp_path, GOOD))
    assert ran.code == 0
    shown = write_config(tmp_path, ran.output)
    assert run("config", "check", shown).code == 0
    again = run("config", "show", shown).output
    # Each value now stands in the file that was shown.
    assert re.sub("  # .*", "", again) == re.sub("  # .*", "", ran.output)
    assert yaml.safe_load(ran.output)["endpoints"][0]["every"] == "5m"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[RunningDaemon]:
    """Give a daemon that saw a renewal and has ended."""
    directory = tmp_path_factory.mktemp("files")
    now = time.time()
    for name in ("a", "b"):
        soon = ca.issue(NAME, not_before=now - 80 * DAY, not_after=now + 5 * DAY)
        (directory / f"{name}.pem").write_bytes(soon.pem())
    with RunningDaemon({"watch": [{"files": [f"{directory}/*.pem"]}]}) as daemon:
        (directory / "a.pem").write_bytes(ca.issue(NAME).pem())
        daemon.wait_until("cleared", target=f"{directory}/a.pem")
        assert daemon.stop() == 0
        yield daemon


def entries(ran: RanCommand) -> list[tuple[str, str]]:
    assert (ran.code, ran.errors) == (0, "")
    assert ran.document["schema"] == 1
    return [(os.path.basename(entry["target"]), entry["what"]) for entry in ran.document["entries"]]


def test_history_tells_what_happened_newest_first(run: Run, lived: RunningDaemon) -> None:
    told = entries(run("history", "--json", "--config", lived.config_file))
    assert [each for each in told if each[0] == "a.pem"] == [
        ("a.pem", what) for what in ("cleared", "presented", "raised", "presented", "added")
    ]
    assert [each for each in told if each[0] == "b.pem"] == [
        ("b.pem", what) for what in ("raised", "presented", "added")
    ]
    assert ("certvigil", "added") in told


def test_history_is_filtered(run: Run, lived: RunningDaemon) -> None:
    database = ("--database", os.path.join(lived.state, "certvigil.db"))
    (of_a,) = {line["target"] for line in lived.happened("cleared")}
    assert len(entries(run("history", "--json", *database, of_a))) == 5
    assert entries(run("history", "--json", *database, "--limit", "1", of_a)) == [("a.pem", "cleared")]
    assert entries(run("history", "--json", *database, "--since", "0s")) == []
    backwards = run("history", "--json", *database, "--until", "2001-01-01")
    assert (backwards.code, backwards.output) == (3, "")
    assert "--until 2001-01-01 is before --since 30d" in backwards.errors
    until = run("history", "--json", *database, "--since", "2000-01-01", "--until", "2001-01-01")
    assert entries(until) == []
    assert len(entries(run("history", "--json", *database, "--since", "2001-01-01", "*/a.pem"))) == 5
    assert len(entries(run("history", "--json", *database, "--since", "1w"))) >= 8


def test_history_is_plain_in_a_pipe_and_a_table_on_a_terminal(run: Run, lived: RunningDaemon) -> None:
    piped = run("history", "--config", lived.config_file)
    header, first, *_ = piped.output.splitlines()
    assert header == "when\ttarget\twhat\thow"
    newest = first.split("\t")
    assert newest[2:] == ["cleared", newest[3]]
    assert newest[3].startswith("cleared: expiring")
    shown = on_a_terminal("history", "--config", lived.config_file)
    assert shown.output.splitlines()[0].startswith("\x1b[1mwhen")


def test_history_of_an_unknown_target_is_an_error_that_suggests_one(run: Run, lived: RunningDaemon) -> None:
    (of_a,) = {line["target"] for line in lived.happened("cleared")}
    ran = run("history", "--config", lived.config_file, of_a.removesuffix("m"))
    assert (ran.code, ran.output) == (3, "")
    assert "there is no target or component" in ran.errors
    assert f"did you mean '{of_a}'" in ran.errors
    assert run("history", "--config", lived.config_file, "shop/*").code == 3


def test_history_says_so_where_nothing_happened(run: Run, lived: RunningDaemon) -> None:
    (of_a,) = {line["target"] for line in lived.happened("cleared")}
    ran = run("history", "--config", lived.config_file, "--since", "0s", of_a)
    assert (ran.code, ran.errors) == (0, "")
    assert ran.output.startswith(f"no event to {of_a} is recorded since ")


def test_history_of_a_target_that_is_configured_and_was_not_looked_at_yet_is_no_error(
    run: Run, lived: RunningDaemon, tmp_path: Path
) -> None:
    config = yaml.safe_load(Path(lived.config_file).read_text())
    config["endpoints"] = [{"name": "mail", "address": "127.0.0.1:1"}]
    path = write_config(tmp_path, json.dumps(config))
    assert "no event to mail is recorded" in run("history", "--config", path, "mail").output
    assert "did you mean 'mail'" in run("history", "--config", path, "mial").errors


@pytest.mark.parametrize(
    "arguments", [["--since", "soon"], ["--database", "/no/such/file.db"], ["--config", "/no/such/file.yaml"]]
)
def test_history_says_why_there_is_none(run: Run, arguments: list[str]) -> None:
    ran = run("history", *arguments)
    assert (ran.code, ran.output) == (3, "")
    assert arguments[-1] in ran.errors


@pytest.mark.parametrize("command", ["status", "reload"])
def test_asking_without_a_daemon_says_so(run: Run, tmp_path: Path, command: str) -> None:
    ran = run(command, "--socket", str(tmp_path / "certvigil.sock"))
    assert (ran.code, ran.output) == (3, "")
    assert "no daemon listens" in ran.errors
