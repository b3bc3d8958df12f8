"""An installation by the units: the daemon never needs to open a key, and nobody needs to loosen a mode."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.actor.client import ask
from monitor.actor.request import Request, Verb
from tests.kit.actor import StartedActor
from tests.kit.authority import fresh
from tests.kit.daemon import RunningDaemon
from tests.kit.installation import DAEMON, HAPROXY, JAVA, POSTGRES, InstalledHost, host, installed, status, wrong
from tests.kit.keystore import keystore
from tests.kit.metrics import series
from tests.kit.unprivileged import answered_as

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can install for several users")


@pytest.fixture
def made() -> Iterator[InstalledHost]:
    with host() as found:
        yield found


def looked_up(daemon: RunningDaemon, target: str) -> bool:
    return daemon.metrics()[series("target_up", target=target)] == 1


def test_status_is_clean_where_every_key_is_root_s_or_its_service_s_alone(made: InstalledHost) -> None:
    """Also after each was renewed, below directories that the daemon may not even enter."""
    with installed(made, made.document()) as (daemon, _):
        assert wrong(daemon) == []
        code, text = status(daemon)
        assert code == 0, text
        for name, files in made.components.items():
            for role in files:
                if role != "password_file":
                    assert looked_up(daemon, f"{name}/{role}")
        assert Path(f"/proc/{daemon.pid}/status").read_text().count(f"Uid:\t{DAEMON}\t{DAEMON}\t{DAEMON}\t") == 1

        raised = len(daemon.happened("raised"))
        renewed = {name: fresh() for name in ("certbot", "postgresql", "java", "haproxy")}
        made.certbot(renewed["certbot"], 2)
        made.put("postgresql/server.key", renewed["postgresql"].key_pem(), 0o600, POSTGRES)
        made.put("postgresql/server.crt", renewed["postgresql"].chain_pem(), 0o600, POSTGRES)
        made.put("java/keystore.p12", keystore(renewed["java"]), 0o640, JAVA)
        made.put("haproxy/site.pem", renewed["haproxy"].chain_pem() + renewed["haproxy"].key_pem(), 0o640, 0, HAPROXY)
        started = time.monotonic()
        for name, issued in renewed.items():
            (holder,) = {"certificate", "combined", "keystore"} & made.components[name].keys()
            daemon.wait_until("presents", target=f"{name}/{holder}", sha256=hashlib.sha256(issued.der()).hexdigest())
        # A look again that nobody asked for comes after five minutes at the earliest.
        assert time.monotonic() - started < 60
        daemon.wait_for(lambda: wrong(daemon) == [], "that nothing is wrong")
        assert daemon.happened("raised")[raised:] == []


DENIED = {
    *("certbot/key", "nginx/key", "postfix/key", "dovecot/key", "lighttpd/combined", "haproxy/combined"),
    *("java/keystore", "postgresql/key"),
}
"""Of each component, the file that says that nobody reads its keys."""


def test_an_actor_that_is_started_a_little_later_is_not_missed_yet(made: InstalledHost) -> None:
    with installed(made, made.document(), actor=False) as (daemon, actor):
        # Files that were written just now are judged once they are quiet.
        daemon.wait_for(lambda: all(daemon.findings(each) == {"keys_unread"} for each in DENIED), "keys not read")
        assert daemon.findings("nginx/certificate") == set()
        assert wrong(daemon) == []
        actor.start()
        daemon.wait_for(lambda: all(daemon.findings(each) == set() for each in DENIED), "facts by the actor")


@pytest.mark.slow
def test_without_an_actor_each_component_is_one_warning_that_says_what_helps(made: InstalledHost) -> None:
    """What may be read is judged all the same; `keys: unread` says that it is meant."""
    document = made.document()
    document["components"]["java"]["keys"] = "unread"
    with installed(made, document, actor=False) as (daemon, _):
        warned = DENIED - {"java/keystore"}
        daemon.wait_for(lambda: len(wrong(daemon)) == len(warned), "that the actor is missed", patience=120)
        found = wrong(daemon)
        assert {(target, code, severity) for target, code, severity, _ in found} == {
            (each, "keys_unread", "warning") for each in warned
        }
        for *_, detail in found:
            assert "start it" in detail
            assert "keys: unread" in detail


def test_while_the_actor_is_away_facts_are_stale_and_nothing_is_critical(made: InstalledHost) -> None:
    made.components = {name: made.components[name] for name in ("nginx", "haproxy")}
    with installed(made, made.document()) as (daemon, actor):
        actor.kill()
        daemon.wait_for(lambda: daemon.metrics()[series("actor_up")] == 0, "that the actor is missed")
        # Something has them looked at.
        os.utime(made.path("nginx/tls/site.crt"))
        made.path("nginx/tls/site.crt").touch()
        daemon.wait_until("raised", target="nginx/key", code="keys_unread")
        severities = {severity for _, _, severity, _ in wrong(daemon)}
        assert "critical" not in severities
        assert all(target.endswith("/actions") for target, *_ in wrong(daemon))
        actor.start()
        daemon.wait_until("cleared", target="nginx/key", code="keys_unread")
        daemon.wait_for(lambda: wrong(daemon) == [], "that nothing is wrong")


def test_the_daemon_has_facts_of_configured_components_alone_and_others_have_none(made: InstalledHost) -> None:
    with installed(made, made.document()) as (daemon, actor):
        answer = actor.ask(Request(Verb.READ, components=("nginx",)))
        assert answer["host"] == "mail.example.com"
        assert [each["path"] for each in answer["facts"]["files"]] == list(made.components["nginx"].values())
        assert "there is no component" in actor.ask(Request(Verb.READ, components=("shadow",)))["cannot"]
        asked = as_user(DAEMON, actor, "nginx")
        assert '"facts"' in asked
        assert "PRIVATE" not in asked
        assert "may ask the actor for nothing" in as_user(POSTGRES, actor, "nginx", group=DAEMON)
        assert "you may not ask the actor: only root and members of its group may" in as_user(POSTGRES, actor, "nginx")
        assert daemon.code is None


def as_user(user: int, actor: StartedActor, component: str, group: int | None = None) -> str:
    """Return what the actor answers to a user who wants to have a component read, or why it cannot be asked."""

    def answer() -> bytes:
        try:
            request = Request(Verb.READ, components=(component,))
            return json.dumps(ask(actor.socket, request, lambda _step: None)).encode()
        except PermissionError as error:
            return str(error).encode()

    return answered_as(user, answer, group or user)


def test_what_nobody_may_read_below_watch_is_one_finding_for_each_path_or_tree(made: InstalledHost) -> None:
    made.components = {}
    made.make("some", 0o755)
    for number in range(5):
        made.put(f"some/{number}.pem", fresh().chain_pem(), 0o600)
    made.put("some/open.pem", fresh().chain_pem(), 0o644)
    made.make("closed", 0o700)
    made.put("closed/it.pem", fresh().chain_pem(), 0o644)
    made.put("single.pem", fresh().chain_pem(), 0o600)
    document = made.document()
    paths = ("some/*.pem", "closed/*.pem", "single.pem")
    document["watch"] = [{"files": [f"{made.directory}/{each}"]} for each in paths]
    with installed(made, document, actor=False) as (daemon, _):
        found = {(target, severity): detail for target, _, severity, detail in wrong(daemon)}
        single = (f"{made.directory}/single.pem", "warning")
        assert len(wrong(daemon)) == 2
        assert found.keys() == {("certvigil", "warning"), single}
        own = [each for each in daemon.ask("/api/v1/findings")["items"] if each["target"] == "certvigil"]
        assert sorted(each["severity"] for each in own) == ["notice", "warning"]
        details = sorted(each["detail"] for each in own)
        assert details == [
            (
                "not every file is found: permission_denied: reading it is not permitted"
                "; to cure it, let certvigil's user search the directories, or exclude them"
            ),
            (
                "the daemon may not read 0.pem, 1.pem, 2.pem and 2 more"
                "; to cure it, let certvigil's user read the files with certificates, "
                "leave the modes of keys and exclude them"
            ),
        ]
        # One is permitted, then all are.
        for number in range(5):
            made.path(f"some/{number}.pem").chmod(0o644)
        daemon.wait_for(lambda: "may not read" not in str(daemon.ask("/api/v1/findings")), "that all are read")
        assert looked_up(daemon, f"{made.directory}/some/4.pem")
