"""The daemon as a user without rights: whatever it is told, it changes nothing, and the actor only what it may."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from actions.journal_state import ActionRequest
from actions.plan import Kind
from monitor.actor.request import Request, Verb
from tests.kit.actor import ISSUER, ActorHouse, house
from tests.kit.authority import fresh
from tests.kit.daemon import RunningDaemon, certvigil_as
from tests.kit.metrics import series
from tests.kit.openssl_client import presented

pytestmark = [
    pytest.mark.server("nginx"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root can give up rights"),
]

USER: Final = "nobody"
NOBODY: Final = pwd.getpwnam(USER)
WITHOUT_RIGHTS: Final = ("--reuid", str(NOBODY.pw_uid), "--regid", str(NOBODY.pw_gid), "--clear-groups")

Watch = Callable[..., RunningDaemon]


MAY_ASK: Final[dict[str, Any]] = {"daemon_user": USER, "group": str(NOBODY.pw_gid)}


@pytest.fixture
def web() -> Iterator[ActorHouse]:
    with house() as made:
        made.configure(**MAY_ASK)
        yield made


@pytest.fixture
def keep_vigil(web: ActorHouse, cleanup: ExitStack) -> Watch:
    """Start the daemon as a user without rights, on a component in a mode."""

    def start(**component: object) -> RunningDaemon:
        web.configure(component, **MAY_ASK)
        daemon = RunningDaemon(web.document(component, **MAY_ASK), wrapper=WITHOUT_RIGHTS)
        cleanup.callback(daemon.close)
        for path in (daemon.directory, daemon.config_file, daemon.manager.address):
            os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        daemon.start()
        return daemon

    return start


def wait_for_state(daemon: RunningDaemon, state: str) -> None:
    """Wait until a component is in a state by the metrics."""
    wanted = series("component_state", component="web", state=state)
    daemon.wait_for(lambda: daemon.metrics().get(wanted) == 1, f"the state {state}")


def told_by_nobody(web: ActorHouse, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the user that the daemon is."""
    return certvigil_as((NOBODY.pw_uid, NOBODY.pw_gid), *arguments, "--config", web.config_file)


def test_without_an_actor_the_daemon_changes_nothing_and_with_one_what_the_mode_allows(
    web: ActorHouse, keep_vigil: Watch
) -> None:
    before, new = web.on_disk(), fresh()
    web.put(new)
    daemon = keep_vigil(mode="auto", allowed_issuers=[ISSUER])
    wait_for_state(daemon, "observed")
    assert daemon.metrics()[series("actor_up")] == 0
    # Told by everything there is: an inbox, a signal, and a command with the daemon's own rights.
    web.put_file("again.pem", new.chain_pem())
    daemon.send(signal.SIGHUP)
    daemon.wait_for(lambda: "read the configuration again, asked by SIGHUP" in daemon.text, "a reload")
    ran = told_by_nobody(web, "replace", "web")
    assert ran.returncode == 4, ran.stdout
    assert "Permission denied" in ran.stderr
    assert daemon.metrics()[series("actor_up")] == 0
    assert web.on_disk() == before

    with web.actor():
        daemon.wait_until("ended", target="web/actions", outcome="committed")
    assert presented(web.server)[0] == new.der()
    (begin,) = [each for each in web.records() if each["event"] == "begin"]
    assert (begin["by"], begin["through"]) == ("policy use-candidate", f"{USER} (uid {NOBODY.pw_uid})")


@pytest.mark.parametrize(("mode", "state"), [("observe", "observed"), ("plan", "pending"), ("approve", "pending")])
def test_a_candidate_leads_no_further_than_the_mode_without_an_approval(
    web: ActorHouse, keep_vigil: Watch, mode: str, state: str
) -> None:
    before = web.on_disk()
    with web.actor() as actor:
        daemon = keep_vigil(mode=mode)
        daemon.wait_for(lambda: daemon.metrics()[series("actor_up")] == 1, "the actor")
        web.put(fresh())
        wait_for_state(daemon, state)
        plan = actor.ask(Request(Verb.PLAN, ActionRequest(Kind.REPLACE, ("web",))))["plan"]["hash"]
        for refused in (("replace", "web"), ("replace", "web", "--plan", plan), ("approve", plan), ("recover",)):
            ran = told_by_nobody(web, *refused)
            assert ran.returncode == 4, ran.stdout
        assert web.on_disk() == before
        assert {each["event"] for each in web.records()} <= {"proposed"}
        if mode == "approve":
            assert web.command("approve", plan)[0] == 0
            daemon.wait_until("ended", target="web/actions", outcome="committed")
    if mode == "approve":
        begin = next(each for each in web.records() if each["event"] == "begin")
        assert (begin["by"], begin["through"]) == ("root (uid 0), by approval", f"{USER} (uid {NOBODY.pw_uid})")
