"""The daemon beside the actor: what lies in an inbox is brought to it, and what comes of that is shown everywhere."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from actions.journal import Event, Journal, Record
from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.world import World
from config.load import load
from config.model import Config
from monitor.actor.authority import Role
from monitor.actor.context import actor_context
from monitor.actor.handlers import handle
from monitor.actor.request import Request, Verb
from monitor.actor.work import Work
from monitor.lab.ca import DAY, bundle, self_signed
from monitor.lab.servers import replace_file
from monitor.state.trust import read_trust_context
from tests.kit.actor import ISSUER, ActorHouse, StartedActor, house
from tests.kit.authority import ISSUING, NAME, fresh
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.html import ParsedPage, parsed
from tests.kit.metrics import series
from tests.kit.openssl_client import presented
from tests.kit.receivers import MessageReceiver
from tests.kit.requests import answer_of

SECRET = "32 random bytes"

pytestmark = pytest.mark.server("nginx")


@contextmanager
def both(
    web: ActorHouse, component: Mapping[str, object], rescan: str = "5s", **more: object
) -> Iterator[tuple[RunningDaemon, StartedActor]]:
    """Give a daemon and an actor that go by the same configuration."""
    document = {**web.document(component, approvals_over_api=True), "rescan": rescan, **more}
    daemon = RunningDaemon(document)
    token = {"sha256": hashlib.sha256(SECRET.encode()).hexdigest(), "scopes": ["approve"]}
    daemon.configure({**document, "web": {"listen": [daemon.web], "tokens": {"robot": token}}})
    actor = StartedActor(daemon.config_file, web.actor().socket, web.actor().log_file)
    with actor, daemon:
        daemon.wait_for(lambda: daemon.metrics().get(series("actor_up")) == 1, "the daemon meeting the actor")
        yield daemon, actor


def component_of(daemon: RunningDaemon) -> Any:
    (found,) = daemon.ask("/api/v1/components")["items"]
    return found


def in_state(daemon: RunningDaemon, state: str) -> Any:
    return daemon.wait_for(lambda: (found := component_of(daemon))["state"] == state and found, f"state {state}")


def that_waits(daemon: RunningDaemon) -> Any:
    """Return the component once its plan waits for a person."""
    return daemon.wait_for(lambda: (found := component_of(daemon))["plan"] and found, "a plan that waits")


def test_an_approved_candidate_is_replaced_and_every_place_tells_the_same_story(web: ActorHouse) -> None:
    new = fresh()
    with both(web, {"mode": "approve"}) as (daemon, _):
        in_state(daemon, "idle")
        web.put(new, key=False)
        in_state(daemon, "waiting")
        # Its key may be on its way: that is shown, and told to nobody.
        shown = daemon.wait_for(
            lambda: (known := daemon.ask("/api/v1/targets/web/actions"))["pending"] and known, "what is pending"
        )
        assert [each["code"] for each in shown["pending"]] == ["candidate_refused"]
        assert (shown["verdict"], daemon.findings("web/actions")) == ("ok", set())
        web.put_file("new.key", new.key_pem())
        daemon.wait_for(lambda: daemon.findings("web/actions") == {"approval_pending"}, "the finding")
        waiting = in_state(daemon, "pending")
        ran = certvigil("status", "--socket", daemon.socket)
        assert {line.count("\t") for line in ran.stdout.splitlines()} == {9}, "one table alone"
        shown = ran.stderr
        assert f"plan {waiting['plan'][:16]}" in shown
        approving = f"certvigil approve --config {daemon.config_file} {waiting['plan'][:16]}"
        assert approving in page(daemon, "/").commands()
        planned = page(daemon, "/components/web")
        assert waiting["plan"][:16] in planned.text
        assert f"issued by {new.certificate.issuer.rfc4514_string()}" in planned.text
        assert presented(web.server)[0] == web.old.der()

        approve(daemon, waiting["plan"])
        daemon.wait_until("ended", target="web/actions", outcome="committed", action="replace")
        assert presented(web.server)[0] == new.der()
        in_state(daemon, "idle")
        daemon.wait_for(lambda: daemon.findings("web/actions") == set(), "all being well again")
        assert component_of(daemon)["last"]["outcome"] == "committed"
        ended = series("actions_total", component="web", action="replace", outcome="committed")
        assert daemon.metrics()[ended] == 1
        assert daemon.metrics()[series("component_state", component="web", state="idle")] == 1
        said = daemon.wait_for(
            lambda: "replace committed" in (said := _history(daemon)) and said, "the history of the replacement"
        )
        assert "approval_pending" in said
        assert "candidate_refused" not in said
        assert os.listdir(web.inbox) == []

        said = certvigil("audit", "--config", daemon.config_file).stdout
        for word in ("proposed", "approved", "token robot", "begin", "committed"):
            assert word in said
        recorded = page(daemon, "/history?target=web").text
        for word in ("proposed", "approved", "token robot", "committed"):
            assert word in recorded
        undone = [each for each in page(daemon, "/components/web").commands() if " --to " in each]
        assert [each.rpartition(" ")[0] for each in undone] == [
            f"certvigil rollback --config {daemon.config_file} web --to"
        ]
        # What the database had is in the journal all the same.
        daemon.stop()
        os.unlink(f"{daemon.state}/certvigil.db")
        daemon.start()
        daemon.wait_for(lambda: "replace committed" in _history(daemon), "the history, from the journal")
        daemon.stop()
        daemon.start()
        daemon.wait_for(lambda: daemon.metrics().get(ended) == 1, "what the journal says after a restart")
        assert len(daemon.happened("ended")) == 2, "an ending that is recorded is no news after a restart"


def approve(daemon: RunningDaemon, plan: str) -> None:
    """Approve a plan over the API, as a script somewhere else would."""
    request = urllib.request.Request(
        f"http://{daemon.web}/api/v1/plans/{plan}/approve", method="POST", headers={"Authorization": f"Bearer {SECRET}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["by"] == "token robot"


def page(daemon: RunningDaemon, path: str) -> ParsedPage:
    """Return a page of the console, without a fault."""
    with urllib.request.urlopen(f"http://{daemon.web}{path}", timeout=60) as answer:
        found = parsed(answer.read().decode())
    assert found.harm() == []
    return found


def _history(daemon: RunningDaemon) -> str:
    ran = certvigil("history", "web/actions", "--config", daemon.config_file)
    return ran.stdout


def test_where_nothing_happens_it_rests(web: ActorHouse) -> None:
    """What it publishes of components by itself must not have it look at them again."""
    with both(web, {"mode": "approve"}) as (daemon, _):
        web.put(fresh())
        that_waits(daemon)
        worked = cpu_seconds(daemon.pid)
        time.sleep(1.5)
        assert cpu_seconds(daemon.pid) - worked < 0.5


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_requests_and_offers_that_wait_show_in_the_metrics(web: ActorHouse, tmp_path: Path) -> None:
    brought = tmp_path / "offer.pem"
    brought.write_bytes(answer_of(ISSUING.issue(NAME, key=web.old.key)))
    with both(web, {"mode": "approve"}) as (daemon, _):
        for of, command in (("requests", ("csr", "web")), ("offers", ("offer", "web", str(brought)))):
            waiting, since = (
                series(f"{of}_{each}", component="web") for each in ("waiting", "oldest_timestamp_seconds")
            )
            daemon.wait_for(lambda waiting=waiting: daemon.metrics().get(waiting) == 0, "none")
            assert certvigil(*command, "--config", daemon.config_file).returncode == 0
            daemon.wait_for(lambda waiting=waiting: daemon.metrics()[waiting] == 1, "one")
            assert abs(daemon.metrics()[since] - time.time()) < 60
        daemon.wait_for(lambda: "approval_pending" in daemon.findings("web/actions"), "the finding")
        told = daemon.ask("/api/v1/targets/web/actions")["findings"]
        (said,) = (each["detail"] for each in told if each["code"] == "approval_pending")
        assert ": web: CN=www.example.com for DNS:www.example.com, until " in said
        assert "; offered by root (uid 0) at " in said
        assert ", over the socket; to cure it, `certvigil approve " in said


def test_with_mode_auto_nobody_is_asked(web: ActorHouse) -> None:
    new = fresh()
    with both(web, {"mode": "auto", "allowed_issuers": [ISSUER]}) as (daemon, _):
        web.put(new)
        daemon.wait_until("ended", target="web/actions", outcome="committed")
        assert presented(web.server)[0] == new.der()
        daemon.wait_for(lambda: os.listdir(web.inbox) == [], "the inbox being emptied")


@contextmanager
def both_as_they_are_installed(
    web: ActorHouse, component: Mapping[str, object]
) -> Iterator[tuple[RunningDaemon, StartedActor]]:
    """Give a daemon without rights, which is no operator to the actor, and the actor."""
    if os.getuid() != 0:
        pytest.skip("only root can become others")
    theirs = {"daemon_user": "64010", "group": "64010"}
    web.configure(component, **theirs)
    document = {**web.document(component, **theirs), "rescan": "5s"}
    daemon = RunningDaemon(document, wrapper=["--reuid", "64010", "--regid", "64010", "--clear-groups"])
    for path in (daemon.directory, daemon.config_file, daemon.manager.address):
        os.chown(path, 64010, 64010)
    with web.actor() as actor, daemon:
        daemon.wait_for(lambda: daemon.metrics().get(series("actor_up")) == 1, "the daemon meeting the actor")
        yield daemon, actor


def test_what_only_a_person_may_have_done_waits_for_one_and_is_done_once_approved(web: ActorHouse) -> None:
    older = fresh(not_before=time.time() - 30 * DAY)
    with both_as_they_are_installed(web, {"mode": "auto", "allowed_issuers": [ISSUER]}) as (daemon, actor):
        web.put(older)
        daemon.wait_for(lambda: daemon.findings("web/actions") == {"approval_pending"}, "the finding")
        waiting = that_waits(daemon)
        assert waiting["decision"]["status"] == "await_approval"
        assert "one that begins later was in use" in waiting["decision"]["waits_for"]
        assert "one that begins later was in use" in certvigil("status", "--socket", daemon.socket).stderr
        assert presented(web.server)[0] == web.old.der()
        assert actor.ask(Request(Verb.APPROVE, plan=waiting["plan"]))["approved"] == waiting["plan"]
        daemon.wait_until("ended", target="web/actions", outcome="committed")
        assert presented(web.server)[0] == older.der()


def test_a_candidate_is_noticed_as_it_comes_and_not_at_the_next_rescan(web: ActorHouse) -> None:
    with both(web, {"mode": "plan"}, rescan="1h") as (daemon, _):
        in_state(daemon, "idle")
        web.put(fresh())
        in_state(daemon, "pending")


def test_what_failed_is_said_and_not_tried_again_at_once(web: ActorHouse) -> None:
    """The reload does nothing: the old certificate is served, so the candidate is undone; after a minute, again."""
    service = {**web.component()["service"], "reload": ["/bin/true"], "restart": ["/bin/true"]}  # type: ignore[dict-item]
    with both(web, {"mode": "auto", "allowed_issuers": [ISSUER], "service": service}) as (daemon, _):
        web.put(fresh())
        daemon.wait_until("ended", target="web/actions", outcome="rolled_back")
        daemon.wait_for(lambda: "action_failed" in daemon.findings("web/actions"), "the finding")
        daemon.wait_for(
            lambda: (component_of(daemon)["decision"] or {}).get("status") == "await_retry",
            "the wait for another try",
        )
        found = component_of(daemon)
        assert found["last"]["cause"] == "not_served"
        assert len(daemon.happened("ended")) == 1
        assert presented(web.server)[0] == web.old.der()


def test_with_mode_observe_an_inbox_is_left_alone_and_with_mode_plan_it_is_only_shown(web: ActorHouse) -> None:
    before = web.on_disk()
    with both(web, {"mode": "observe"}) as (daemon, actor):
        web.put(fresh())
        assert component_of(daemon)["state"] == "observed"
        daemon.configure({**web.document({"mode": "plan"}), "rescan": "5s"})
        assert certvigil("reload", "--socket", daemon.socket).returncode == 0
        daemon.wait_for(lambda: "approval_pending" in daemon.findings("web/actions"), "the finding")
        plan = in_state(daemon, "pending")["plan"]
        assert not [each for each in actor.text.splitlines() if "carry_out" in each]
        assert web.on_disk() == before
        ran = certvigil("replace", "web", "--plan", plan, "--config", daemon.config_file)
        assert ran.returncode == 0, ran.stderr
        daemon.wait_until("ended", outcome="committed")


def test_an_inbox_that_others_may_fill_is_not_used_and_said(web: ActorHouse) -> None:
    with both(web, {"mode": "auto", "allowed_issuers": [ISSUER]}) as (daemon, _):
        os.chmod(web.inbox, 0o777)
        web.put(fresh())
        daemon.wait_for(lambda: "inbox_unsafe" in daemon.findings("web/actions"), "the finding")
        assert presented(web.server)[0] == web.old.der()


def test_an_actor_that_goes_away_is_missed_and_one_that_comes_back_is_met(web: ActorHouse) -> None:
    with both(web, {"mode": "approve"}) as (daemon, actor):
        daemon.wait_for(lambda: "web/actions" in _targets(daemon), "the target")
        actor.stop(patience=60.0)
        daemon.wait_for(lambda: "unreachable" in daemon.findings("web/actions"), "its absence")
        assert "certvigil observes only" in certvigil("status", "--socket", daemon.socket).stderr
        actor.start()
        daemon.wait_for(lambda: "unreachable" not in daemon.findings("web/actions"), "its return")


def test_an_actor_is_given_its_time_at_the_start_of_the_daemon_before_it_is_missed(web: ActorHouse) -> None:
    with both(web, {"mode": "approve"}) as (daemon, actor):
        daemon.wait_for(lambda: "web/actions" in _targets(daemon), "the target")
        daemon.stop()
        actor.stop(patience=60.0)
        daemon.start()
        # Said in the same breath: nobody answers.
        daemon.wait_for(lambda: _no_actor(daemon).startswith("nobody answers"), "that")
        assert daemon.findings("web/actions") == set()
        actor.start()
        daemon.wait_for(lambda: daemon.metrics().get(series("actor_up")) == 1, "the daemon meeting the actor")
        assert not daemon.happened("raised", code="unreachable")


def _no_actor(daemon: RunningDaemon) -> str:
    return str(daemon.ask("/api/v1/status")["no_actor"])


def test_an_endpoint_that_is_dark_while_its_server_is_restarted_by_a_transaction_is_nobodys_news(
    web: ActorHouse, cleanup: ExitStack
) -> None:
    receiver = cleanup.enter_context(MessageReceiver())
    nginx = [str(each) for each in web.component()["service"]["reload"]]  # type: ignore[index]
    # To anybody who connects meanwhile it does not answer.
    pause = 'p=$(cat {0}); all="$p $(pgrep -P $p)"; kill -STOP $all; sleep 5; kill -CONT $all; exec {1}'
    script = pause.format(f"{web.server.directory}/nginx.pid", " ".join(nginx))
    service = {**web.component()["service"], "reload": ["/bin/sh", "-c", script]}  # type: ignore[dict-item]
    endpoints = [{"address": web.server.address, "name": NAME, "every": "0.5s", "timeout": "0.5s"}]
    changed = {"mode": "auto", "allowed_issuers": [ISSUER], "service": service, "endpoints": endpoints}
    channel: dict[str, object] = {
        "channels": {"ops": {"urls": [receiver.url("x")]}},
        "notifications": {"resolved_after": "0.5s"},
    }
    with both(web, changed, "5s", **channel) as (daemon, _):
        web.put(fresh())
        daemon.wait_until("failed", reason="timed_out")
        daemon.wait_until("ended", target="web/actions", outcome="committed")
        daemon.wait_for(
            lambda: daemon.metrics()[series("target_up", target=f"web/{web.server.address}")] == 1, "its answer"
        )
        daemon.configure({**json.loads(Path(daemon.config_file).read_text()), "colour": "blue"})
        assert certvigil("reload", "--socket", daemon.socket).returncode == 1
        daemon.wait_for(lambda: receiver.accepted, "what is told of something else after it")
        assert [got.title.partition(": ")[2] for got in receiver.accepted] == ["config_rejected: certvigil"]


def _targets(daemon: RunningDaemon) -> list[str]:
    return [each["target"] for each in daemon.ask("/api/v1/targets")["items"]]


def test_without_an_actor_the_daemon_observes_and_does_not_nag(web: ActorHouse) -> None:
    with RunningDaemon(web.document({"mode": "approve"})) as daemon:
        assert component_of(daemon)["state"] == "observed"
        assert "web/actions" not in _targets(daemon)
        status = json.loads(certvigil("status", "--socket", daemon.socket, "--json").stdout)
        assert status["components"][0]["component"] == "web"
        assert "nobody" in status["status"]["no_actor"]


AUTO = {"mode": "auto", "allowed_issuers": [ISSUER], "not_served_after": "2s"}
END = float(int(time.time()) + 90 * DAY)
"""Of all certificates here: none is refused for ending before another."""


def write_back(web: ActorHouse, files: Mapping[str, bytes]) -> None:
    """Write files as another tool does, the key first, each by rename."""
    for path in (web.site.key, web.site.certificate):
        replace_file(path, files[path], 0o600 if path == web.site.key else 0o644)


@pytest.fixture
def web_of_equals() -> Iterator[ActorHouse]:
    with house(fresh(not_after=END)) as made:
        yield made


def test_where_another_tool_reverts_it_twice_it_stops_and_names_the_other_writer(web_of_equals: ActorHouse) -> None:
    web = web_of_equals
    old = web.on_disk()
    with both(web, AUTO) as (daemon, _):
        for number in (0, 1):
            new = fresh(not_after=END)
            web.put(new)
            daemon.wait_until("ended", number, target="web/actions", action="replace", outcome="committed")
            daemon.wait_for(lambda: os.listdir(web.inbox) == [], "the inbox being emptied")
            write_back(web, old)
            if number == 0:
                daemon.wait_until("ended", target="web/actions", action="activate", outcome="committed")
        daemon.wait_for(lambda: "reverted_by_another" in daemon.findings("web/actions"), "the finding")
        daemon.wait_for(lambda: (component_of(daemon)["decision"] or {}).get("status") == "held", "being held back")
        assert presented(web.server)[0] == new.der(), "it was not activated once more"
        (note,) = component_of(daemon)["notes"]
        for word in ("twice", web.site.certificate, pwd.getpwuid(os.getuid()).pw_name, "--thaw web"):
            assert word in note
        assert "reverted" not in certvigil("status", "--socket", daemon.socket).stderr
        assert certvigil("recover", "--thaw", "web", "--config", daemon.config_file).returncode == 0
        daemon.wait_until("ended", 1, target="web/actions", action="activate", outcome="committed")
        assert "reverted_by_another" not in daemon.findings("web/actions")


def test_the_actor_itself_does_nothing_unattended_that_somebody_else_reverts(web_of_equals: ActorHouse) -> None:
    web = web_of_equals
    old = web.on_disk()
    with web.actor():
        for _ in range(2):
            web.put(fresh(not_after=END))
            assert web.command("replace", "web")[0] == 0
            write_back(web, old)
        web.configure(AUTO)
        with actor_context(read_trust_context(config_of(web))[0]) as context:
            alone = Work(context, "daemon", role=Role.DAEMON)
            activation = ActionRequest(Kind.ACTIVATE, ("web",))
            plan = handle(alone, Request(Verb.PLAN, activation))
            assert "twice" in plan["contested"]["web"]["sentence"]
            answer = handle(alone, Request(Verb.CARRY_OUT, activation, plan["plan"]["hash"]))
            (objection,) = answer["refused"]["objections"]
            assert objection["ground"] == "contested"
            web.put(fresh(not_after=END))
            replacement = ActionRequest(Kind.REPLACE, ("web",))
            plan = handle(alone, Request(Verb.PLAN, replacement))
            assert plan["contested"]["web"]["renewed"], "a new candidate lets it go on"
            answer = handle(alone, Request(Verb.CARRY_OUT, replacement, plan["plan"]["hash"]))
            assert answer["endings"][-1]["outcome"] == "committed"


def config_of(web: ActorHouse) -> Config:
    config = load(web.config_file, {})
    assert isinstance(config, Config), config
    return config


def test_of_several_candidates_the_newest_counts_and_all_are_removed_with_it(web: ActorHouse) -> None:
    now = time.time()
    old, new = fresh(not_before=now - 5 * DAY), fresh(not_before=now - DAY)
    with both(web, {"mode": "approve"}) as (daemon, _):
        for name, issued in (("2026-10.pem", old), ("2026-11.pem", new)):
            web.put_file(name, issued.chain_pem() + issued.key_pem())
        waiting = that_waits(daemon)
        daemon.wait_for(lambda: daemon.findings("web/actions") == {"approval_pending"}, "the finding alone")
        (note,) = [each for each in waiting["notes"] if "obsolete" in each]
        assert note in " ".join(certvigil("status", "--socket", daemon.socket).stderr.split())
        ran = certvigil("approve", waiting["plan"], "--wait", "--config", daemon.config_file)
        assert ran.returncode == 0, ran.stderr
        assert "committed" in ran.stdout
        assert "to be carried out" not in ran.stdout
        assert presented(web.server)[0] == new.der()
        daemon.wait_for(lambda: os.listdir(web.inbox) == [], "the inbox being emptied")
        again = certvigil("approve", waiting["plan"], "--wait", "--config", daemon.config_file)
        assert (again.returncode, "committed  web" in again.stdout) == (0, True), again.stderr
        assert "this plan was begun before this approval" in again.stderr
        assert certvigil("approve", waiting["plan"], "--config", daemon.config_file).returncode == 4


def test_an_approval_that_is_waited_for_exits_by_how_it_ended(web: ActorHouse) -> None:
    service = {**web.component()["service"], "reload": ["/bin/true"], "restart": ["/bin/true"]}  # type: ignore[dict-item]
    with both(web, {"mode": "approve", "service": service}) as (daemon, _):
        web.put(fresh())
        plan = that_waits(daemon)["plan"]
        ran = certvigil("approve", plan, "--wait", "--config", daemon.config_file)
        assert ran.returncode == 2, ran.stdout + ran.stderr
        assert "rolled_back" in ran.stdout
        assert "rolling back" in ran.stderr
        # What failed goes with its candidate.
        found = daemon.wait_for(lambda: "action_failed" in daemon.findings("web/actions"), "the finding")
        assert found
        for name in os.listdir(web.inbox):
            os.unlink(f"{web.inbox}/{name}")
        daemon.wait_for(lambda: "action_failed" not in daemon.findings("web/actions"), "its end with the candidate's")


def test_a_candidate_that_is_installed_already_is_told_once_and_taken_out(web: ActorHouse) -> None:
    with both(web, {"mode": "approve"}) as (daemon, _):
        in_state(daemon, "idle")
        web.put_file("same.pem", web.old.chain_pem() + web.old.key_pem())
        daemon.wait_for(lambda: os.listdir(web.inbox) == [], "the inbox being emptied")
        daemon.wait_for(lambda: component_of(daemon)["notes"], "the note")
        assert "is installed already" in certvigil("status", "--socket", daemon.socket).stderr
        said = certvigil("audit", "--config", daemon.config_file).stdout
        assert said.count("unneeded") == 1


def test_an_activation_whose_cause_is_gone_is_not_offered_any_more(web: ActorHouse) -> None:
    new = fresh()
    with both(web, {"mode": "approve", "not_served_after": "1s"}) as (daemon, actor):
        write_back(web, {web.site.certificate: new.chain_pem(), web.site.key: new.key_pem()})
        plan = that_waits(daemon)["plan"]
        assert plan in actor.ask(Request(Verb.STATE))["proposals"]
        web.server.reload()
        daemon.wait_for(lambda: not actor.ask(Request(Verb.STATE))["proposals"], "the plan being withdrawn")
        assert "withdrawn" in certvigil("audit", "--config", daemon.config_file).stdout
        assert certvigil("approve", plan, "--config", daemon.config_file).returncode == 4


def test_a_journal_that_is_compacted_under_the_daemon_takes_nothing_from_it_and_tells_nothing_twice(
    web: ActorHouse,
) -> None:
    replaced = series("actions_total", component="web", action="replace", outcome="committed")
    with both(web, {"mode": "plan"}) as (daemon, actor):
        for number in (1, 2):
            web.put(fresh())
            assert actor.ask(Request(Verb.CARRY_OUT, ActionRequest(Kind.REPLACE, ("web",))))["endings"]
            daemon.wait_for(lambda: daemon.metrics().get(replaced) == number, "the replacement")  # noqa: B023
            # What counts no more, and is so long that the journal becomes large by it.
            with closing(Journal(World(), f"{web.directory}/actor/journal.jsonl")) as journal:
                for at in range(60):
                    journal.append(
                        Record(float(at), "", Event.UNNEEDED, {"components": ["web"], "reason": "x" * 20_000})
                    )
            assert "recovered" not in actor.ask(Request(Verb.RECOVER))
            events = [each["event"] for each in web.records()]
            assert events.count("unneeded") == 1
            assert events[-1] == "compacted"
        # The follower was there meanwhile, and one that comes now has no other journal.
        assert len(daemon.happened("ended")) == 2
        daemon.stop()
        daemon.start()
        daemon.wait_for(lambda: daemon.metrics().get(replaced) == 2, "what the journal says after a restart")
        assert component_of(daemon)["last"]["outcome"] == "committed"
        assert len(daemon.happened("ended")) == 2, "an ending that is recorded is no news after a restart"
        actor.stop()
        actor.start()
        ran = certvigil("audit", "--verify", "--config", daemon.config_file)
        assert (ran.returncode, ran.stdout.startswith("the chain holds: entries: 12")) == (0, True)
        assert "the audit ends with entry 12" in actor.text


def test_an_own_certificate_that_signed_itself_is_no_default_one_once_it_was_brought_by_a_replacement(
    web: ActorHouse, tmp_path: Path
) -> None:
    signs = {"default_certificate": {"self_signed": True}}
    served, own = f"web/{web.server.address}", self_signed(NAME)
    Path(web.directory, "root.pem").write_bytes(bundle([own]))
    with both(web, signs) as (daemon, actor):
        web.site.install(self_signed(NAME))
        web.server.reload()
        daemon.wait_for(lambda: "default_certificate" in daemon.findings(served), "that nobody chose")
        file = tmp_path / "own.pem"
        file.write_bytes(own.pem() + own.key_pem())
        file.chmod(0o600)
        assert origin(daemon.config_file, tmp_path) == "default"
        ran = certvigil("replace", "web", "--from", str(file), "--config", daemon.config_file)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        daemon.wait_for(lambda: daemon.findings(served) == set(), "that somebody chose")
        daemon.wait_for(lambda: "default_certificate" not in daemon.findings("web/certificate"), "the file, too")
        before = len(daemon.happened("raised"))
        daemon.stop()
        daemon.start()
        daemon.wait_for(lambda: daemon.metrics().get(series("target_up", target=served)) == 1, "a look")
        assert not [each for each in daemon.happened("raised")[before:] if each.get("code") == "default_certificate"]
        assert origin(daemon.config_file, tmp_path) != "default", "as the actor tells"
        actor.stop()
        assert origin(daemon.config_file, tmp_path) != "default", "as the journal on disk tells"


def origin(config_file: str, nowhere: Path) -> str:
    """Return whose the certificate of the component is, by looks without a daemon."""
    ran = certvigil("inventory", "--config", config_file, "--socket", f"{nowhere}/none.sock", "--json")
    assert ran.returncode == 0, ran.stderr
    (component,) = json.loads(ran.stdout)["components"]
    return str(component["origin"])
