"""The daemon's life: start, reload, trouble, end and start again, as a real process."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from monitor.lab.ca import DAY, Authority, Issued
from monitor.lab.process import free_address, wait_for
from monitor.lab.servers import LocalServer, write_site
from monitor.store import Degraded, load
from tests.kit import java_keystore
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.keystore import keystore
from tests.kit.metrics import Series, series
from tests.kit.peers import Behaviour, HostilePeer
from tests.kit.start import StartServer

NAME = "www.example.com"
ROOT = Authority.root()

Start = Callable[..., RunningDaemon]


@pytest.fixture
def start(cleanup: ExitStack) -> Start:
    """Start a daemon that ends with the test."""

    def started(config: Mapping[str, object], **more: Any) -> RunningDaemon:
        return cleanup.enter_context(RunningDaemon(config, **more))

    return started


def issue(days_left: float = 89) -> Issued:
    now = time.time()
    return ROOT.issue(NAME, not_before=now - (90 - days_left) * DAY, not_after=now + days_left * DAY)


def write(path: Path, days_left: float = 89) -> Path:
    path.write_bytes(issue(days_left).pem())
    return path


def watch(*paths: Path) -> dict[str, object]:
    return {"watch": [{"files": [str(path) for path in paths]}]}


def endpoint(name: str, address: str, **more: object) -> dict[str, object]:
    return {"name": name, "address": address, "clients": [], **more}


def expiry(path: Path) -> Series:
    return series("target_expiry_timestamp_seconds", target=str(path))


def finding(target: str, code: str, severity: str) -> Series:
    return series("findings", target=target, code=code, severity=severity)


DEGRADED = finding("certvigil", "database_degraded", "warning")


# The start


def test_it_is_ready_once_every_endpoint_answered_or_had_its_time(
    cleanup: ExitStack,
    start_local: StartServer[LocalServer],
    start_peer: Callable[[Behaviour], HostilePeer],
    tmp_path: Path,
) -> None:
    server, silent = start_local(write_site(str(tmp_path / "server"), issue())), start_peer(Behaviour.SILENT)
    good = endpoint("good", server.address)
    # It is looked at again at once: only three failed looks are sure.
    bad = endpoint("bad", f"{silent.host}:{silent.port}", every="1s", timeout="3s")
    daemon = RunningDaemon({"endpoints": [good, bad]})
    cleanup.callback(daemon.close)
    daemon.start(ready=False)
    daemon.wait_until("presents", target="good")
    answer = daemon.wait_for(lambda: not_ready(daemon), "an answer that it is not ready")
    assert answer == "it has looked at 1 of 2 endpoints, and waits for the others\n"
    assert "READY=1" not in daemon.manager.said
    daemon.wait_for(lambda: "STATUS=looked at 1 of 2 endpoints" in daemon.manager.said, "what the manager shows")
    daemon.wait_for(lambda: "READY=1" in daemon.manager.said, "its readiness")
    assert not_ready(daemon) is None
    daemon.wait_until("raised", target="bad", code="unreachable")


@pytest.mark.slow
def test_the_service_manager_waits_for_no_endpoint_longer_than_it_waits_for_a_start(
    cleanup: ExitStack, start_peer: Callable[[Behaviour], HostilePeer]
) -> None:
    silent = start_peer(Behaviour.SILENT)
    daemon = RunningDaemon({"endpoints": [endpoint("bad", f"{silent.host}:{silent.port}", timeout="120s")]})
    cleanup.callback(daemon.close)
    daemon.start(ready=False)
    started = time.monotonic()
    daemon.wait_for(lambda: "READY=1" in daemon.manager.said, "its readiness", patience=80)
    assert time.monotonic() - started > 14
    assert not_ready(daemon) is not None


def not_ready(daemon: RunningDaemon) -> str | None:
    """Return what `/readyz` answers where it is not ready, and once somebody answers."""
    try:
        with urllib.request.urlopen(f"http://{daemon.web}/readyz", timeout=10):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


# The end


def test_it_ends_in_time_while_an_endpoint_says_nothing(
    start: Start, start_peer: Callable[[Behaviour], HostilePeer]
) -> None:
    silent = start_peer(Behaviour.SILENT)
    daemon = start({"endpoints": [endpoint("silent", f"{silent.host}:{silent.port}", every="1s", timeout="1s")]})
    wait_for(lambda: silent.connections)
    daemon.wait_for(lambda: daemon.manager.said.count("WATCHDOG=1") > 2, "signs of life")
    assert daemon.stop() == 0
    assert daemon.manager.said[-1] == "STOPPING=1"
    # A machine that is busy may be too slow to record everything in time: that is said, and seen again by the next.
    late = "not everything that happened could be recorded"
    assert not [line for line in daemon.log if line["level"] in {"error", "critical"} and line["message"] != late]


def test_it_ends_in_time_in_the_middle_of_its_first_scan(tmp_path: Path, cleanup: ExitStack) -> None:
    """And says nothing of readiness before, whoever has it read its configuration again."""
    first = write(tmp_path / "0.pem")
    for number in range(1, 20_000):
        os.link(first, tmp_path / f"{number}.pem")
    daemon = RunningDaemon(watch(tmp_path))
    cleanup.callback(daemon.close)
    daemon.start(ready=False)
    daemon.wait_for(lambda: any(" of 20000 files" in line for line in daemon.manager.said), "the first scan")
    daemon.send(signal.SIGHUP)
    daemon.wait_for(lambda: "read the configuration again" in daemon.text, "the reload")
    assert daemon.stop() == 0
    assert "READY=1" not in daemon.manager.said


# Reading the configuration again


def test_a_reload_watches_what_is_new_and_forgets_what_is_gone(
    start: Start, start_local: StartServer[LocalServer], tmp_path: Path
) -> None:
    server = start_local(write_site(str(tmp_path / "server"), issue()))
    one, two = write(tmp_path / "one.pem"), write(tmp_path / "two.pem")
    daemon = start({**watch(one), "endpoints": [endpoint("old", server.address)]})
    daemon.wait_until("presents", target="old")
    said = len(daemon.manager.said)
    daemon.configure({**watch(two), "endpoints": [endpoint("new", server.address)]})
    daemon.send(signal.SIGHUP)
    daemon.wait_until("presents", target="new")
    daemon.wait_until("presents", target=str(two))
    daemon.wait_until("TargetRemoved", target=str(one))
    targets = {dict(labels)["target"] for name, labels in daemon.metrics() if name == "certvigil_target_info"}
    assert targets == {"certvigil", str(two), "new"}
    assert re.fullmatch(
        r"RELOADING=1 MONOTONIC_USEC=\d+ READY=1",
        " ".join(line for line in daemon.manager.said[said:] if not line.startswith(("STATUS=", "WATCHDOG="))),
    )


def test_a_reload_and_a_restart_with_nothing_changed_clear_and_raise_no_finding(
    start: Start, start_local: StartServer[LocalServer], tmp_path: Path
) -> None:
    """Some findings are about more than certificates: a password, a key beside them, entries that no server sends."""
    site, late = write_site(str(tmp_path / "server"), issue(-1)), issue(5)
    server = start_local(site)
    found = tmp_path / "found"
    found.mkdir()
    ended = Authority.root("Ended", not_before=1.0e9, not_after=1.1e9)
    java = java_keystore.trusted("one", ROOT.der()), java_keystore.trusted("old", ended.der())
    for name, data in {
        "cacerts": java_keystore.store(java[0], password=java_keystore.CHANGEIT),
        "old.jks": java_keystore.store(*java),
        "late.pem": late.pem(),
        "with-key.pem": late.pem() + late.key_pem(),
        "own.p12": keystore(late, None),
        "bundle.pem": ROOT.pem() + ended.pem() + Authority.root("Other", not_after=time.time() + DAY).pem(),
        "pinned.pem": b"".join(Authority.root(each, not_after=time.time() + DAY).pem() for each in "ab") + ROOT.pem(),
        "anchor.pem": ended.pem(),
        "damaged.pem": late.pem()[:300],
    }.items():
        (found / name).write_bytes(data)
        (found / name).chmod(0o644)
    artefacts = {"certificate": site.certificate, "key": site.key}
    daemon = start(
        {
            "watch": [{"files": [f"{found}/*"]}],
            "components": {"web": {"artefacts": artefacts, "endpoints": [endpoint("ours", server.address)]}},
            "endpoints": [endpoint("alone", server.address)],
        }
    )
    codes = {"default_store_password", "expired", "expiring", "unreadable"}
    daemon.wait_for(lambda: codes <= {each[1] for each in findings(daemon)}, "findings of all kinds")
    before = findings(daemon)
    lines = len(daemon.log)
    for restarted in (False, True):
        if restarted:
            daemon.wait_for(lambda: recorded(daemon) == {each[:3] for each in before}, "the record of all findings")
            daemon.stop()
            daemon.start()
        assert certvigil("reload", "--socket", daemon.socket).returncode == 0
        # Once a file that came after the reload is a target, those of before were judged anew.
        later = found / f"later-{restarted}.pem"
        later.write_bytes(ROOT.pem())
        daemon.wait_for(
            lambda later=later: str(later) in {each["target"] for each in daemon.ask("/api/v1/targets")["items"]},
            "a target that came after the reload",
        )
        assert findings(daemon) == before
    assert not [line for line in daemon.log[lines:] if line.get("event") in {"raised", "changed", "cleared"}]


def test_it_says_everywhere_on_which_host_it_runs_and_a_reload_does_not_change_that(start: Start) -> None:
    daemon = start({"host": "web1.example.com"})
    daemon.configure({"host": "web2.example.com"})
    assert certvigil("reload", "--socket", daemon.socket).returncode == 0
    assert daemon.ask("/api/v1/status")["host"] == "web1.example.com"
    assert series("host_info", host="web1.example.com") in daemon.metrics()
    assert "host, state_directory" in daemon.text
    assert {line["host"] for line in daemon.log} == {"web1.example.com"}


def test_a_broken_configuration_leaves_the_old_one_in_force_until_a_good_one_comes(
    start: Start, tmp_path: Path
) -> None:
    one, two = write(tmp_path / "one.pem"), write(tmp_path / "two.pem")
    rejected = finding("certvigil", "config_rejected", "warning")
    successful = series("config_last_reload_successful")
    daemon = start(watch(one))
    assert daemon.metrics()[successful] == 1
    daemon.configure_with(f"watch:\n  - files: [{two}]\n    colour: blue\nrescan: never\n")
    reload = certvigil("reload", "--socket", daemon.socket)
    assert reload.returncode == 1
    assert [line.partition(": ")[0] for line in reload.stderr.splitlines()] == [
        f"{daemon.config_file}:3",
        f"{daemon.config_file}:4",
        "certvigil reload",
    ]
    metrics = daemon.metrics()
    assert (metrics[successful], metrics.get(rejected)) == (0, 1)
    assert expiry(one) in metrics
    assert expiry(two) not in metrics
    assert len([line for line in daemon.log if line["level"] == "error"]) == 3
    daemon.send(signal.SIGHUP)
    daemon.wait_for(lambda: daemon.text.count("kept the old configuration") == 2, "the second refusal")
    assert len(daemon.happened("raised", code="config_rejected")) == 1

    daemon.configure(watch(one, two))
    reload = certvigil("reload", "--socket", daemon.socket)
    assert (reload.returncode, reload.stderr) == (0, "")
    daemon.wait_until("cleared", code="config_rejected")
    daemon.wait_until("presents", target=str(two))
    metrics = daemon.metrics()
    assert metrics[successful] == 1
    assert rejected not in metrics
    assert daemon.code is None


def test_a_component_whose_file_is_elsewhere_now_is_seen_there(start: Start, tmp_path: Path) -> None:
    def config(path: Path) -> dict[str, object]:
        return {"components": {"web": {"artefacts": {"certificate": str(path)}}}}

    def location() -> str:
        places = [dict(labels) for name, labels in daemon.metrics() if name == "certvigil_target_info"]
        (place,) = [labels["location"] for labels in places if labels["target"] == "web/certificate"]
        return place

    one, two, three = (write(tmp_path / f"{name}.pem") for name in ("one", "two", "three"))
    daemon = start(config(one))
    daemon.configure(config(two))
    daemon.send(signal.SIGHUP)
    daemon.wait_until("presents", target="web/certificate", location=str(two))
    assert location() == str(two)
    daemon.stop()
    daemon.configure(config(three))
    daemon.start()
    daemon.wait_until("presents", target="web/certificate", location=str(three))
    assert location() == str(three)


@pytest.mark.parametrize(
    ("text", "lines"),
    [("watch: 7\nrescan: never\ncolour: blue\n", [1, 2, 3]), ("watch: [\n", [2]), (None, [0])],
    ids=["mistakes", "not YAML", "missing"],
)
def test_a_bad_configuration_at_the_start_is_said_in_full_and_not_tried_again(
    tmp_path: Path, text: str | None, lines: list[int]
) -> None:
    path = tmp_path / "certvigil.yaml"
    if text is not None:
        path.write_text(text)
    ran = certvigil("run", "--config", str(path))
    assert ran.returncode == 78
    where = [f"{path}:{line}:" if line else f"{path}:" for line in lines]
    said = ran.stderr.splitlines()
    assert len(said) == len(where)
    assert all(line.startswith(begin) for line, begin in zip(said, where, strict=True)), said


# Rights

WITHOUT_RIGHTS = ("--bounding-set", "-all", "--inh-caps", "-all") if os.geteuid() == 0 else ()


def test_it_needs_no_rights_and_says_what_it_may_not_read(tmp_path: Path, cleanup: ExitStack) -> None:
    """Root without any capability may read what its owner's bits say, and no more."""
    readable, secret, hidden = write(tmp_path / "readable.pem"), tmp_path / "web.key", tmp_path / "hidden"
    issued = issue()
    (tmp_path / "web.crt").write_bytes(issued.pem())
    secret.write_bytes(issued.key_pem())
    hidden.mkdir()
    inside = write(hidden / "cert.pem")
    artefacts = {"certificate": str(tmp_path / "web.crt"), "key": str(secret)}
    config = {**watch(readable, hidden / "*.pem"), "components": {"web": {"artefacts": artefacts}}}
    daemon = RunningDaemon(config, wrapper=WITHOUT_RIGHTS)
    cleanup.callback(daemon.close)
    os.mkdir(daemon.state, 0o500)
    cleanup.callback(os.chmod, hidden, 0o700)
    secret.chmod(0)
    daemon.start()
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    assert re.search(r"CapEff:\t0+\n", status)
    raised = daemon.wait_until("raised", target="web/key", code="keys_unread")
    assert "the daemon may not read it" in raised["detail"]
    assert daemon.findings("web/key") == {"keys_unread"}
    assert expiry(readable) in daemon.metrics()

    # What cannot be searched any more has not gone.
    hidden.chmod(0)
    daemon.send(signal.SIGHUP)
    assert daemon.wait_until("raised", target="certvigil", code="unreadable")["subject"] == str(hidden)
    daemon.wait_until("raised", target=str(inside), code="unreadable")
    assert expiry(inside) in daemon.metrics()
    hidden.chmod(0o700)
    daemon.wait_until("cleared", target="certvigil", code="unreadable")
    daemon.wait_until("cleared", target=str(inside), code="unreadable")

    daemon.wait_until("raised", code="database_degraded")
    assert daemon.code is None
    os.chmod(daemon.state, 0o700)
    daemon.wait_until("cleared", code="database_degraded")
    secret.chmod(0o400)
    daemon.wait_until("cleared", target="web/key", code="keys_unread")


# The database


def test_whatever_befalls_the_database_looking_and_exporting_go_on(tmp_path: Path, cleanup: ExitStack) -> None:
    path = write(tmp_path / "cert.pem")
    daemon = RunningDaemon(watch(path))
    cleanup.callback(daemon.close)
    os.mkdir(daemon.state)
    database = Path(daemon.state) / "certvigil.db"
    database.write_bytes(os.urandom(20_000))

    daemon.start()
    daemon.wait_until("cleared", code="database_degraded")
    (raised,) = daemon.happened("raised", code="database_degraded")
    assert raised["detail"].startswith("corrupt")
    assert len(list(database.parent.glob("*.corrupt-*"))) == 1

    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        changed(daemon, path, 70)
        daemon.wait_until("raised", after=1, code="database_degraded")
        assert daemon.metrics()[DEGRADED] == 1
        assert daemon.metrics()[series("database_degraded")] == 1
        changed(daemon, path, 60)
        other.execute("ROLLBACK")
    daemon.wait_until("cleared", after=1, code="database_degraded")
    assert DEGRADED not in daemon.metrics()
    assert daemon.metrics()[series("database_degraded")] == 0

    for each in database.parent.glob("certvigil.db*"):
        each.unlink()
    changed(daemon, path, 50)
    daemon.wait_until("cleared", after=2, code="database_degraded")
    assert daemon.stop() == 0
    told = json.loads(certvigil("history", "--json", "--config", daemon.config_file, str(path)).stdout)
    assert {entry["what"] for entry in told["entries"]} == {"presented", "added"}, "what is believed, written anew"


def changed(daemon: RunningDaemon, path: Path, days_left: float) -> None:
    """Replace a file, and wait until the metrics say so."""
    before = daemon.metrics()[expiry(path)]
    write(path, days_left)
    daemon.wait_for(lambda: daemon.metrics()[expiry(path)] != before, "a new expiry in the metrics")


def test_a_database_locked_from_the_start_is_caught_up_with(tmp_path: Path, cleanup: ExitStack) -> None:
    path = write(tmp_path / "cert.pem", 5)
    daemon = RunningDaemon(watch(path))
    cleanup.callback(daemon.close)
    os.mkdir(daemon.state)
    database = Path(daemon.state) / "certvigil.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("CREATE TABLE held (x)")
        other.execute("BEGIN EXCLUSIVE")
        daemon.start()
        daemon.wait_until("raised", code="database_degraded")
        assert daemon.findings(str(path)) == {"expiring"}
        other.execute("DROP TABLE held")
        other.execute("COMMIT")
    daemon.wait_until("cleared", code="database_degraded")
    told = json.loads(certvigil("history", "--json", "--config", daemon.config_file, str(path)).stdout)
    assert {entry["what"] for entry in told["entries"]} == {"added", "presented", "raised"}


# Starting again


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_a_restart_raises_nothing_twice_and_remembers_since_when(
    start: Start, start_local: StartServer[LocalServer], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path, dead = write(tmp_path / "cert.pem", 5), "{}:{}".format(*free_address())
    server = start_local(write_site(str(tmp_path / "server"), issue(-1)))
    daemon = start(
        {
            **watch(path),
            "endpoints": [endpoint("late", server.address), endpoint("dead", dead, every="0.2s", timeout="0.2s")],
        }
    )
    daemon.wait_until("raised", target="late", code="expired")
    daemon.wait_for(lambda: "critical" in severities(daemon, "dead"), "the third look that fails")
    before = findings(daemon)
    assert {(target, severity) for target, _, severity, _ in before} == {
        (str(path), "critical"),
        ("late", "critical"),
        ("dead", "critical"),
    }
    # What is not written yet, SIGKILL loses.
    daemon.wait_for(lambda: recorded(daemon) == {each[:3] for each in before}, "the record of all findings")
    lines = len(daemon.log)
    assert daemon.stop(number) == code
    daemon.start()
    daemon.wait_for(lambda: all(each["last_look"] for each in daemon.ask("/api/v1/targets")["items"]), "new looks")
    assert findings(daemon) == before
    assert not [line for line in daemon.log[lines:] if line.get("event") in {"raised", "changed", "cleared"}]
    assert daemon.stop() == 0


def severities(daemon: RunningDaemon, target: str) -> set[str]:
    return {severity for name, _, severity, _ in findings(daemon) if name == target}


def findings(daemon: RunningDaemon) -> set[tuple[str, str, str, str]]:
    found = daemon.ask("/api/v1/findings")["items"]
    return {(each["target"], each["code"], each["severity"], each["since"]) for each in found}


def recorded(daemon: RunningDaemon) -> set[tuple[str, str, str]]:
    known = load(os.path.join(daemon.state, "certvigil.db"))
    if isinstance(known, Degraded):
        return set()
    return {
        (target, raised.finding.code, raised.finding.severity)
        for target, each in known.items()
        for raised in each.findings.values()
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives links to others")
def test_what_is_not_searched_is_known_since_before_a_restart(cleanup: ExitStack, tmp_path: Path) -> None:
    laid = tmp_path / "root"
    laid.symlink_to("/")
    os.chown(laid, 1234, 1234, follow_symlinks=False)
    daemon = cleanup.enter_context(RunningDaemon({"watch": [{"files": [f"{tmp_path}/**/*.pem"]}]}))
    (before,) = daemon.wait_for(lambda: findings(daemon), "what is not searched")
    assert before[:3] == ("certvigil", "unreadable", "warning")
    assert daemon.stop() == 0
    logged = len(daemon.log)
    daemon.start()
    (after,) = daemon.wait_for(lambda: findings(daemon), "what is not searched")
    assert after == before
    assert not [line for line in daemon.log[logged:] if "unsafe_link" in str(line)]
    # Once it is searched, that is over, also when nothing is left to say.
    assert daemon.stop() == 0
    laid.unlink()
    daemon.start()
    daemon.wait_for(lambda: not findings(daemon), "that nothing is left")
