"""Whatever a real service lies about, a transaction has one expected end, and says it in a sentence."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from actions.ending import Cause, Ending, Outcome
from config.service import Service
from monitor.actor.authority import ourselves
from monitor.lab.ca import DAY, HOUR, Issued
from monitor.lab.process import free_address, wait_for
from monitor.lab.servers import Lighttpd, Nginx, Server, Site, replace_file
from tests.kit.authority import NAME, fresh
from tests.kit.component import InstalledComponent, ServerMachine
from tests.kit.daemon import begun, certvigil
from tests.kit.forks import Piped
from tests.kit.openssl_client import presented
from tests.kit.real_server import service_of
from tests.kit.workers import Workers

pytestmark = pytest.mark.server("openssl")
needs_nginx = pytest.mark.server("nginx")
needs_lighttpd = pytest.mark.server("lighttpd")


@pytest.fixture
def machine(tmp_path: Path, cleanup: ExitStack) -> ServerMachine:
    return ServerMachine(tmp_path, cleanup)


def shell(line: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", line)


def ended(ending: Ending) -> tuple[Outcome, Cause]:
    return ending.outcome, ending.cause


def serves(server: Server, issued: Issued, name: str | None = NAME) -> bool:
    return presented(server, name) == [each.der() for each in issued.chain]


def quarantined(component: InstalledComponent) -> bool:
    return b'"quarantined"' in Path(f"{component.directory}/actor/journal.jsonl").read_bytes()


# Restarts


@needs_lighttpd
def test_a_restart_that_succeeds_and_does_nothing_is_found_out_by_the_old_certificate(machine: ServerMachine) -> None:
    server = machine.start(Lighttpd, machine.site())
    component = machine.component(server, Service(restart=("/bin/true",)))
    before = component.on_disk()
    ending = component.replace(fresh())
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
    assert f"the new certificate is not served: web/{server.address} ({server.host}) presents" in ending.sentence
    assert component.on_disk() == before
    assert serves(server, machine.old)
    assert not quarantined(component), "it was not the candidate's fault"


@needs_lighttpd
def test_a_restart_that_fails_is_undone_though_the_new_certificate_is_served(machine: ServerMachine) -> None:
    site = machine.site()
    server = machine.start(Lighttpd, site)
    honest = service_of(server)
    line = f"{' '.join(honest.restart)}; {machine.unless_old(site, 'echo the unit entered failed state; exit 1')}"
    component = machine.component(server, replace(honest, restart=shell(line)))
    before = component.on_disk()
    ending = component.replace(fresh())
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.ACTIVATION)
    assert "ended with status 1: the unit entered failed state; undone, the old files are in place" in ending.sentence
    assert component.on_disk() == before
    wait_for(lambda: serves(server, machine.old))
    assert quarantined(component)


@needs_lighttpd
def test_a_restart_that_hangs_is_ended_and_undone(machine: ServerMachine) -> None:
    site = machine.site()
    server = machine.start(Lighttpd, site)
    honest = service_of(server)
    line = machine.unless_old(site, "sleep 60") + " ".join(honest.restart)
    component = machine.component(server, replace(honest, restart=shell(line), timeout=0.5))
    before = component.on_disk()
    ending = component.replace(fresh())
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.ACTIVATION_TIMEOUT)
    # The shell may have the time to say that it was killed.
    assert re.search(r"did not end within 0\.5 s(: Killed)?; undone", ending.sentence)
    assert component.on_disk() == before
    assert serves(server, machine.old)
    assert not quarantined(component)


@needs_lighttpd
def test_a_service_under_a_supervisor_is_restarted_and_proven_by_its_new_process(machine: ServerMachine) -> None:
    component, server = machine.supervised(":")
    new = fresh()
    assert component.replace(new).outcome is Outcome.COMMITTED
    assert serves(server, new)


@needs_lighttpd
@pytest.mark.parametrize(
    "with_the_new",
    [
        pytest.param("exec timeout 0.15 {lighttpd}", id="comes up and dies until its supervisor gives up"),
        pytest.param("exit 1", id="dies at once until its supervisor gives up"),
        pytest.param("exec sleep 60", id="runs and never opens its port"),
    ],
)
def test_a_service_that_does_not_live_with_the_new_certificate_is_brought_back_with_the_old(
    with_the_new: str, machine: ServerMachine
) -> None:
    component, server = machine.supervised(with_the_new)
    # Longer than its supervisor tries: else each look might meet it in one of its moments.
    component.validation = {"successes": 12, "interval": "0.2s", "deadline": "15s", "handshakes": 2}
    before = component.on_disk()
    ending = component.replace(fresh())
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
    assert f"web/{server.address} ({server.host}) does not answer: Connection refused; " in ending.sentence
    assert component.on_disk() == before
    assert serves(server, machine.old)


@needs_lighttpd
@pytest.mark.parametrize(
    ("with_the_new", "is_over"),
    [
        pytest.param("exit 1", True, id="dies until its supervisor gives up"),
        pytest.param("sleep 3; exec {lighttpd}", False, id="starts slowly"),
        pytest.param("test -e {flag} || {{ touch {flag}; exit 1; }}; exec {lighttpd}", False, id="dies once"),
    ],
)
def test_a_service_that_its_supervisor_has_given_up_is_not_waited_for_and_any_other_is(
    with_the_new: str, is_over: bool, machine: ServerMachine
) -> None:
    component, _ = machine.supervised(with_the_new.replace("{flag}", str(machine.directory / "flag")))
    component.validation = {"successes": 2, "interval": "0.3s", "deadline": "60s", "handshakes": 2}
    began = time.monotonic()
    ending = component.replace(fresh())
    if is_over:
        assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
        assert "the service of web has ended: its unit web.service has failed; undone" in ending.sentence
        assert time.monotonic() - began < 30, "the deadline of 60 s was not waited for"
    else:
        assert ended(ending) == (Outcome.COMMITTED, Cause.NONE), ending.sentence


# Some who ask get the new certificate, others the old one


def with_a_lying_worker(machine: ServerMachine) -> tuple[InstalledComponent, Workers]:
    """Return a component whose reload leaves one worker of four as it was, and its server."""
    server = machine.start(Workers, machine.site())
    component = machine.component(server, replace(service_of(server), reload=server.lying_command))
    # Three looks, as by default: the odds that all of them miss the one are one to a million.
    component.validation = {"successes": 3, "interval": "0.1s", "deadline": "2s"}
    return component, server


def test_one_worker_of_four_that_keeps_the_old_certificate_is_found_out(machine: ServerMachine) -> None:
    component, server = with_a_lying_worker(machine)
    before = component.on_disk()
    ending = component.replace(fresh())
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
    assert f"({server.host}) sometimes presents" in ending.sentence
    assert component.on_disk() == before
    assert all(serves(server, machine.old) for _ in range(12))


def test_one_worker_of_four_that_keeps_an_expired_certificate_is_no_reason_to_give_it_to_all(
    machine: ServerMachine,
) -> None:
    now = time.time()
    machine.old = fresh(not_before=now - 90 * DAY, not_after=now - DAY)
    component, server = with_a_lying_worker(machine)
    new = fresh()
    ending = component.replace(new)
    assert ended(ending) == (Outcome.FAILED_FORWARD, Cause.NOT_SERVED)
    assert "sometimes presents" in ending.sentence
    assert "nobody would be better off with the old files, so the new ones stay. Look at it soon." in ending.sentence
    assert component.on_disk()["site.crt"] == new.chain_pem()
    subprocess.run(service_of(server).restart, check=True)
    wait_for(lambda: all(serves(server, new) for _ in range(12)))


@needs_nginx
def test_an_expired_certificate_is_replaced_like_any_other(machine: ServerMachine) -> None:
    now = time.time()
    machine.old = fresh(not_before=now - 90 * DAY, not_after=now - DAY)
    server = machine.start(Nginx, machine.site())
    new = fresh()
    assert machine.component(server).replace(new).outcome is Outcome.COMMITTED
    assert serves(server, new)


@needs_nginx
def test_an_ipv6_address_that_keeps_the_old_certificate_is_found_out(
    machine: ServerMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _ = free_address()
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("no IPv6 here")
    site = machine.site()
    four = machine.start(Nginx, site, address=(host, port))
    six = machine.start(Nginx, site, address=("::1", port))
    monkeypatch.setattr(socket, "getaddrinfo", resolver({NAME: (host, "::1")}))
    component = machine.declared(site, service_of(four), {"address": f"{NAME}:{port}"})
    before = component.on_disk()
    ending = component.replace(fresh())
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
    assert f"not served: web/{NAME}:{port} (::1) presents" in ending.sentence
    assert host not in ending.sentence
    assert component.on_disk() == before
    assert serves(four, machine.old)
    assert serves(six, machine.old)
    both = shell("; ".join(" ".join(each) for each in (service_of(four).restart, service_of(six).restart)))
    component.service = replace(component.service, reload=both)
    assert component.replace(fresh()).outcome is Outcome.COMMITTED


def resolver(known: dict[str, tuple[str, ...]]) -> Callable[..., Any]:
    """Return what resolves these names to these addresses, and leaves others to the machine."""
    others = socket.getaddrinfo

    def resolve(host: str, port: Any, *given: Any, **named: Any) -> list[Any]:
        return [found for each in known.get(host, (host,)) for found in others(each, port, *given, **named)]

    return resolve


@needs_nginx
def test_a_name_that_is_served_from_other_files_than_the_default_one_is_found_out(machine: ServerMachine) -> None:
    site, forgotten = machine.site(), machine.site("forgotten", name=NAME)
    server = machine.start(Nginx, site, forgotten)
    by_name = {"address": server.address, "name": NAME}
    component = machine.declared(site, service_of(server), {"address": server.address}, by_name)
    before = component.on_disk()
    ending = component.replace(fresh())
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.NOT_SERVED)
    assert f"not served: web/{server.address}/{NAME} ({server.host}) presents" in ending.sentence
    assert ending.sentence.count("presents") == 1, "the default name is served as it should be"
    assert component.on_disk() == before
    assert serves(server, machine.old)
    assert serves(server, machine.old, None)


# Clients


@needs_nginx
def test_a_client_that_no_longer_accepts_what_another_does_undoes_and_is_named(machine: ServerMachine) -> None:
    """The plan was made before anybody knew of the second client, or it would have been refused."""
    machine.old = fresh("legacy.example.com")
    server = machine.start(Nginx, machine.site())
    component = machine.component(server)
    order = component.order(fresh())
    component.clients = {"browser": {}, "java": {"names": ["legacy.example.com"]}}
    before = component.on_disk()
    ending = component.carry_out(order)
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.CLIENT_LOST)
    assert f"clients that accepted the old certificate refuse the new: java at web/{server.address};" in ending.sentence
    assert component.on_disk() == before
    assert serves(server, machine.old)
    assert quarantined(component)


@needs_lighttpd
def test_a_candidate_that_expires_while_the_service_restarts_is_undone(machine: ServerMachine) -> None:
    site = machine.site()
    server = machine.start(Lighttpd, site)
    honest = service_of(server)
    end = int(time.time()) + 3
    waits = f"while test $(date +%s) -le {end}; do sleep 0.05; done"
    component = machine.component(
        server, replace(honest, restart=shell(machine.unless_old(site, waits) + " ".join(honest.restart)))
    )
    before = component.on_disk()
    # It was planned when there was time.
    ending = component.carry_out(component.order(fresh(not_before=end - DAY, not_after=end), at=end - HOUR))
    assert ended(ending) == (Outcome.ROLLED_BACK, Cause.CLIENT_LOST)
    assert "refuse the new: browser at web/" in ending.sentence
    assert component.on_disk() == before
    assert serves(server, machine.old)


# What was wrong before


@needs_nginx
def test_a_configuration_that_is_broken_before_is_left_alone(machine: ServerMachine) -> None:
    server = machine.start(Nginx, machine.site())
    component = machine.component(server)
    order = component.order(fresh())
    before = component.on_disk()
    with open(server.config_file, "a", encoding="ascii") as file:
        file.write("nonsense on;\n")
    ending = component.carry_out(order)
    assert ended(ending) == (Outcome.REFUSED, Cause.CONFIG_TEST_BEFORE)
    assert "its configuration test fails already before the change" in ending.sentence
    assert 'unknown directive "nonsense"' in ending.sentence
    assert ending.sentence.endswith("; nothing was changed.")
    assert component.on_disk() == before
    assert serves(server, machine.old)


# On the command line


def act(component: InstalledComponent, *arguments: str) -> tuple[int, str]:
    ran = certvigil(*arguments, "--config", component.config_file)
    assert "PRIVATE KEY" not in ran.stdout + ran.stderr
    return ran.returncode, ran.stdout + ran.stderr


def candidate(machine: ServerMachine, issued: Issued, key: bytes | None = None) -> list[str]:
    path = machine.directory / "candidate.pem"
    path.write_bytes(issued.chain_pem() + (key or issued.key_pem()))
    return ["--from", str(path)]


@pytest.fixture
def component(machine: ServerMachine) -> InstalledComponent:
    return machine.component(machine.start(Nginx, machine.site()))


@needs_nginx
def test_who_comes_while_another_is_at_work_is_told_who_that_is_and_waits_and_is_judged_anew(
    machine: ServerMachine,
) -> None:
    server = machine.start(Nginx, machine.site())
    gate = str(machine.directory / "gate")
    os.mkfifo(gate)
    honest = service_of(server)
    assert honest.reload is not None
    component = machine.component(server, replace(honest, reload=shell(f"cat {gate}; {' '.join(honest.reload)}")))
    component.declare()
    new, before = fresh(), component.on_disk()
    files = candidate(machine, new)

    def begin(*arguments: str) -> Piped:
        given = (*arguments, "--config", component.config_file)
        return begun(*given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with begin("replace", "web", *files) as first:
        # Opening waits until the reload of the first has come as far as to read.
        with open(gate, "wb"):
            during = component.on_disk()
            code, said = act(component, "recover")
            who = f"process {first.pid} is at work on web (replace of web for {ourselves().name})"
            assert (code, said) == (0, f"note       web: not recovered now: {who}.\n")
            code, said = act(component, "replace", "web", *files, "--dry-run")
            assert "nothing to do" in said, "by the files of now, that certificate is there already"
            same, back = begin("replace", "web", *files), begin("rollback", "web")
            for each in (same, back):
                assert each.stderr is not None
                waits = f"waiting for {who.replace(' is at work', ', which is at work')}"
                assert waits in each.stderr.readline()
            assert component.on_disk() == during
            # The first has it open; no later reload waits at it.
            os.unlink(gate)
            Path(gate).touch()
        said = first.communicate(timeout=60)[0]
        assert first.returncode == 0, said
    told = {}
    for name, each in (("same", same), ("back", back)):
        with each:
            out, err = each.communicate(timeout=120)
            told[name] = (each.returncode, out + err)
    assert told["same"][0] == 0, told
    assert told["back"][0] == 1, told
    assert "web changed after this rollback was asked for, by the replace for " in told["back"][1]
    # While the first was at work, files of its own lay there, too.
    assert component.on_disk() == {name: during[name] for name in before}


@needs_nginx
def test_of_persons_who_come_at_once_none_is_refused(machine: ServerMachine, component: InstalledComponent) -> None:
    """Whoever had waited found a third at work once it began, and was refused; a renewal hook comes only once."""
    component.declare()
    commands = []
    for number in range(4):
        given = machine.directory / f"of-{number}.pem"
        new = fresh()
        given.write_bytes(new.chain_pem() + new.key_pem())
        commands.append(("replace", "web", "--from", str(given), "--config", component.config_file))
    with ExitStack() as running:
        processes = [
            running.enter_context(begun(*each, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
            for each in commands
        ]
        said = [each.communicate(timeout=120)[0] for each in processes]
    assert [each.returncode for each in processes] == [0] * len(processes), said


@needs_nginx
def test_a_record_that_a_crash_tore_is_no_obstacle(component: InstalledComponent) -> None:
    assert component.replace(fresh()).outcome is Outcome.COMMITTED
    journal = Path(f"{component.directory}/actor/journal.jsonl")
    whole = journal.read_bytes().rstrip(b"\0")
    journal.write_bytes(whole + b'{"at":1.0,"transact' + bytes(1000))
    new = fresh()
    assert component.replace(new).outcome is Outcome.COMMITTED
    assert journal.read_bytes().startswith(whole)
    assert component.on_disk()["site.crt"] == new.chain_pem()


@needs_nginx
def test_a_journal_that_was_tampered_with_stops_everything_and_is_named(
    machine: ServerMachine, component: InstalledComponent
) -> None:
    assert component.replace(fresh()).outcome is Outcome.COMMITTED
    journal = Path(f"{component.directory}/actor/journal.jsonl")
    data = bytearray(journal.read_bytes())
    data[40] ^= 1
    journal.write_bytes(data)
    before = component.on_disk()
    for arguments in (["replace", "web", *candidate(machine, fresh())], ["recover"]):
        code, said = act(component, *arguments)
        assert (code, said) == (
            4,
            "certvigil: line 1 of the journal is not what was written: its checksum is wrong\n",
        )
    assert component.on_disk() == before


@needs_nginx
def test_a_backup_with_a_flipped_bit_is_not_given_back(machine: ServerMachine, component: InstalledComponent) -> None:
    assert component.replace(fresh()).outcome is Outcome.COMMITTED
    (copy,) = Path(f"{component.directory}/actor/backups/web").glob("*/0000")
    data = bytearray(copy.read_bytes())
    data[3] ^= 1
    copy.write_bytes(data)
    before = component.on_disk()
    code, said = act(component, "rollback", "web")
    assert code == 1, said
    assert "damaged" in said
    assert component.on_disk() == before


@needs_nginx
def test_an_encrypted_key_is_asked_a_password_for(machine: ServerMachine, component: InstalledComponent) -> None:
    new, before = fresh(), component.on_disk()
    locked = new.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    options = candidate(machine, new, locked)
    component.declare()
    code, said = act(component, "replace", "web", *options)
    assert code == 1, said
    assert "is encrypted, and no password was given" in said
    assert component.on_disk() == before
    (machine.directory / "password").write_bytes(b"secret\n")
    code, said = act(component, "replace", "web", *options, "--password-file", str(machine.directory / "password"))
    assert code == 0, said
    assert component.on_disk()["site.crt"] == new.chain_pem()
    assert b"ENCRYPTED" not in component.on_disk()["site.key"]


@needs_nginx
def test_a_lineage_of_certbot_is_refused_with_advice(machine: ServerMachine) -> None:
    live, archive = machine.directory / "live" / NAME, machine.directory / "archive" / NAME
    live.mkdir(parents=True)
    archive.mkdir(parents=True)
    (machine.directory / "renewal").mkdir()
    (machine.directory / "renewal" / f"{NAME}.conf").touch()
    for name, data in (("fullchain", machine.old.chain_pem()), ("privkey", machine.old.key_pem())):
        replace_file(str(archive / f"{name}1.pem"), data, 0o600)
        (live / f"{name}.pem").symlink_to(f"../../archive/{NAME}/{name}1.pem")
    server = machine.start(Nginx, Site(str(live / "fullchain.pem"), str(live / "privkey.pem")))
    component = machine.component(server)
    component.declare()
    code, said = act(component, "replace", "web", *candidate(machine, fresh()))
    assert code == 1, said
    assert "belongs to certbot, which would undo the change: give the service a copy by a deploy hook" in said
    assert (archive / "fullchain1.pem").read_bytes() == machine.old.chain_pem()
    assert os.readlink(live / "fullchain.pem") == f"../../archive/{NAME}/fullchain1.pem"
    assert serves(server, machine.old)
