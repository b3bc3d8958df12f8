"""The whole story: a certificate nears its end, is replaced in its window, does harm, and is rolled back by itself."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.lab.ca import DAY, Authority, bundle
from monitor.lab.servers import replace_file
from probes.certificate import certificate
from tests.kit.actor import ActorHouse, StartedActor, house
from tests.kit.authority import ROOT, fresh
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.metrics import series
from tests.kit.openssl_client import presented
from tests.kit.receivers import MessageReceiver

pytestmark = pytest.mark.server("nginx")

NEXT_ROOT = Authority.root("Next Root CA")
NEXT_ISSUING = NEXT_ROOT.intermediate("Next Issuing CA")


@pytest.fixture
def web() -> Iterator[ActorHouse]:
    """Give one whose certificate has two hours left of a hundred days."""
    now = time.time()
    old = fresh(not_before=now - 100 * DAY, not_after=now + 7_200)
    with house(old) as made:
        yield made


def trust(web: ActorHouse, *roots: Authority) -> None:
    replace_file(f"{web.directory}/root.pem", bundle(roots))


def test_from_the_end_of_a_certificate_to_a_rollback_that_nobody_asked_for(web: ActorHouse) -> None:
    trust(web, ROOT, NEXT_ROOT)
    opens = datetime.now(UTC) + timedelta(minutes=1)
    issuer = {"spki_sha256": certificate(NEXT_ISSUING.der()).public_key_sha256()}
    with MessageReceiver() as receiver:
        config = {
            **web.document(),
            "rescan": "2s",
            "channels": {"ops": {"urls": [receiver.url()]}},
            "notifications": {"resolved_after": "0.5s"},
            "policies": [
                {
                    "name": "renew-web",
                    "match": {"component": ["web"]},
                    "when": {"finding": "expiring"},
                    "windows": [{"cron": f"{opens.minute} {opens.hour} * * *", "duration": "10m"}],
                    "mode": "auto",
                    "do": [{"replace": {"allowed_issuers": [issuer]}}, {"notify": ["ops"]}],
                }
            ],
        }
        daemon = RunningDaemon(config)
        actor = StartedActor(daemon.config_file, web.actor().socket, web.actor().log_file)
        with actor, daemon:
            daemon.wait_for(lambda: _standing(daemon) == "await_candidate", "a candidate being waited for")
            new = fresh(issuing=NEXT_ISSUING)
            web.put(new, NEXT_ISSUING)
            daemon.wait_for(lambda: _standing(daemon) in {"await_window", "act"} or _committed(daemon), "the window")
            daemon.wait_until("ended", outcome="committed", action="replace", target="web/actions")
            assert time.time() >= opens.replace(second=0, microsecond=0).timestamp(), "only once the window was open"
            assert presented(web.server)[0] == new.der()

            trust(web, ROOT)
            daemon.wait_until("ended", outcome="committed", action="rollback", target="web/actions")
            assert presented(web.server)[0] == web.old.der()

            daemon.wait_for(lambda: "action_failed" in daemon.findings("web/actions"), "the finding")
            daemon.wait_for(lambda: any(map(_tells_why, _messages(receiver))), "the alert with the reason")
            metrics = daemon.metrics()
            for action in ("replace", "rollback"):
                assert metrics[series("actions_total", component="web", action=action, outcome="committed")] == 1
            assert metrics[series("decisions_total", policy="undo-regression", action="rollback")] >= 1
            said = daemon.wait_for(lambda: (said := _history(daemon)).count("committed") == 2 and said, "the history")
            assert "renew-web" in said
            assert "undo-regression" in said
            asked = [json.loads(line) for line in _journal(web) if '"event":"begin"' in line]
            assert [each["action"]["kind"] for each in asked] == ["replace", "rollback"]
            assert ["renew-web" in asked[0]["why"], "undo-regression" in asked[1]["why"]] == [True, True]


def _standing(daemon: RunningDaemon) -> str:
    (found,) = daemon.ask("/api/v1/components")["items"]
    return str((found["decision"] or {}).get("status"))


def _committed(daemon: RunningDaemon) -> bool:
    return bool(daemon.happened("ended", outcome="committed"))


def _tells_why(message: str) -> bool:
    return "rolled back by itself" in message and "browser no longer accepts" in message


def _messages(receiver: MessageReceiver) -> list[str]:
    return [f"{each.title} {each.text}" for each in receiver.accepted]


def _history(daemon: RunningDaemon) -> str:
    return certvigil("history", "--config", daemon.config_file, "--limit", "500").stdout


def _journal(web: ActorHouse) -> list[str]:
    return Path(f"{web.directory}/actor/journal.jsonl").read_bytes().rstrip(b"\0").decode().splitlines()


def test_what_was_committed_while_the_daemon_was_dead_is_told_with_the_end_of_the_new_certificate(
    web: ActorHouse,
) -> None:
    new = fresh()
    end = datetime.fromtimestamp(certificate(new.der()).not_after or 0, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    with MessageReceiver() as receiver:
        config = {
            **web.document({"mode": "observe"}),
            "channels": {"ops": {"urls": [receiver.url()]}},
            "notifications": {"routes": [{"channels": ["ops"], "severity": "critical", "events": ["committed"]}]},
        }
        daemon = RunningDaemon(config)
        actor = StartedActor(daemon.config_file, web.actor().socket, web.actor().log_file)
        with actor, daemon:
            daemon.wait_for(lambda: "web/certificate" in _history(daemon), "the old certificate being recorded")
            daemon.wait_for(lambda: daemon.metrics().get(series("actor_up")) == 1, "the daemon meeting the actor")
            daemon.stop(signal.SIGKILL)
            web.put(new)
            ran = certvigil("replace", "web", "--config", daemon.config_file)
            assert ran.returncode == 0, ran.stderr
            daemon.start()
            (said,) = daemon.wait_for(
                lambda: [each for each in _messages(receiver) if "the certificate of web was replaced" in each],
                "the message",
            )
            assert f"In use now: CN=www.example.com, until {end}. Done at" in said
