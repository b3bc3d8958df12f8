"""The daemon beside the actor, with a group: one inbox, one plan, one approval, and one name wherever it is told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from monitor.actor.request import Request, Verb
from tests.kit.actor import StartedActor
from tests.kit.appliance import Appliance
from tests.kit.authority import fresh
from tests.kit.daemon import RunningDaemon, certvigil
from tests.kit.metrics import series

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]


@contextmanager
def both(
    primary: Appliance, components: Mapping[str, Mapping[str, object]] | None = None, **more: object
) -> Iterator[tuple[RunningDaemon, StartedActor]]:
    """Give a daemon and an actor that go by the same configuration."""
    document = primary.document(components, rescan="5s", **more)
    del document["state_directory"]
    daemon = RunningDaemon(document)
    actor = StartedActor(daemon.config_file, f"{primary.directory}/actor.sock", f"{primary.directory}/actor.log")
    with actor, daemon:
        daemon.wait_for(lambda: daemon.metrics().get(series("actor_up")) == 1, "the daemon meeting the actor")
        yield daemon, actor


def only(daemon: RunningDaemon) -> Any:
    (found,) = daemon.ask("/api/v1/components")["items"]
    return found


def test_a_candidate_for_a_group_waits_once_is_approved_once_and_is_told_by_the_groups_name(
    primary: Appliance,
) -> None:
    new = fresh()
    with both(primary) as (daemon, actor):
        daemon.wait_for(lambda: only(daemon)["state"] == "idle", "its being idle")
        found = only(daemon)
        assert (found["component"], found["members"], found["mode"]) == ("primary", ["console", "portal"], "approve")
        assert found["inbox"] == primary.inbox()
        primary.put(new)
        waiting = daemon.wait_for(
            lambda: (found := only(daemon))["plan"] and found["plans"] and found, "a plan that waits"
        )
        daemon.wait_for(lambda: daemon.findings("primary/actions") == {"approval_pending"}, "the finding")
        (plan,) = waiting["plans"]
        assert (plan["group"], plan["components"]) == ("primary", ["console", "portal"])
        assert plan["about"].startswith("primary: console, portal: ")
        ran = certvigil("status", "primary", "--socket", daemon.socket)
        assert "primary (console, portal)" in ran.stderr
        shown = {line.split("\t")[1] for line in ran.stdout.splitlines()[1:]}
        assert {f"{name}/{daemon_target(primary, name)}" for name in primary.servers} | {"primary/actions"} <= shown
        ran = certvigil("policy", "explain", "portal", "--socket", daemon.socket, "--config", daemon.config_file)
        assert "await_approval" in ran.stdout
        assert primary.serves(primary.old)

        assert actor.ask(Request(Verb.APPROVE, plan=waiting["plan"]))["approved"] == waiting["plan"]
        daemon.wait_until("ended", target="primary/actions", outcome="committed", action="replace")
        assert primary.serves(new)
        daemon.wait_for(lambda: daemon.findings("primary/actions") == set(), "all being well again")
        last = only(daemon)["last"]
        assert (last["outcome"], last["group"]) == ("committed", "primary")
        for name in primary.servers:
            done = series("actions_total", component=name, action="replace", outcome="committed")
            daemon.wait_for(lambda done=done: daemon.metrics().get(done) == 1, f"the count of {name}")
            assert daemon.metrics()[series("component_state", component=name, state="idle")] == 1
        assert len(daemon.happened("ended")) == 1
        daemon.wait_for(lambda: os.listdir(primary.inbox()) == [], "the inbox being emptied")
        for asked in ("primary", "portal"):
            history = ("history", asked, "--config", daemon.config_file)
            daemon.wait_for(
                lambda history=history: "replace committed" in certvigil(*history).stdout, f"the history of {asked}"
            )
        said = certvigil("audit", "primary", "--config", daemon.config_file).stdout
        assert "begin replace primary (console, portal)" in said


def daemon_target(primary: Appliance, name: str) -> str:
    """Return the role of the first file of a component."""
    return next(iter(primary.artefacts(name)))


def test_a_policy_has_a_group_replaced_without_a_person(primary: Appliance) -> None:
    new = fresh()
    policy = {
        "name": "by-itself",
        "match": {"group": ["primary"]},
        "when": {"candidate_present": True},
        "mode": "auto",
        "do": [{"replace": {"from": "inbox", "allowed_issuers": [{"trust_store": "corporate"}]}}],
    }
    with both(primary, policies=[policy]) as (daemon, _):
        primary.put(new)
        daemon.wait_until("ended", target="primary/actions", outcome="committed")
        assert primary.serves(new)
        assert len(daemon.happened("ended")) == 1


def test_a_candidate_in_the_inbox_of_a_member_is_a_finding_that_says_where_it_belongs(primary: Appliance) -> None:
    os.makedirs(primary.inbox("portal"))
    with both(primary, {name: {"mode": "auto", **more} for name, more in primary.automatic().items()}) as (daemon, _):
        daemon.wait_for(lambda: only(daemon)["state"] == "idle", "its being idle")
        primary.put(fresh(), "portal")
        daemon.wait_for(lambda: daemon.findings("primary/actions") == {"candidate_refused"}, "the finding")
        (objection,) = only(daemon)["objections"]
        assert objection["ground"] == "member_inbox"
        assert f"put what is for all into {primary.inbox()}" in objection["detail"]
        assert primary.serves(primary.old)
        os.rename(
            os.path.join(primary.inbox("portal"), os.listdir(primary.inbox("portal"))[0]),
            os.path.join(primary.inbox(), "moved.pem"),
        )
        daemon.wait_until("ended", target="primary/actions", outcome="committed")
        daemon.wait_for(lambda: daemon.findings("primary/actions") == set(), "all being well again")


def test_what_belongs_to_a_group_since_a_reload_is_shown_and_decided_as_one(primary: Appliance) -> None:
    with both(primary, groups={}) as (daemon, _):
        daemon.wait_for(lambda: len(daemon.ask("/api/v1/components")["items"]) == 2, "two components")
        document = primary.document(rescan="5s")
        del document["state_directory"]
        daemon.configure({**document, "web": {"listen": [daemon.web]}})
        assert certvigil("reload", "--socket", daemon.socket).returncode == 0
        assert only(daemon)["component"] == "primary"
        subjects = [each["subject"] for each in daemon.ask("/api/v1/situations")["situations"]]
        assert subjects == ["primary"]
        daemon.wait_for(lambda: only(daemon)["state"] == "idle", "its being idle")
        primary.put(new := fresh())
        waiting = daemon.wait_for(lambda: (found := only(daemon))["plans"] and found, "a plan that waits")
        assert waiting["plans"][0]["group"] == "primary"
        assert not primary.serves(new)


def test_without_an_actor_nothing_is_found_asked_or_done_for_a_group(primary: Appliance) -> None:
    document = primary.document(rescan="5s")
    del document["state_directory"]
    plain = {name: {**each, "service": None} for name, each in document["components"].items()}
    seen: list[tuple[set[str], int]] = []
    for components, groups in ((plain, {}), (document["components"], document["groups"])):
        with RunningDaemon({**document, "components": components, "groups": groups}) as daemon:
            primary.put(fresh())
            daemon.wait_for(
                lambda daemon=daemon: all(each["last_look"] for each in daemon.ask("/api/v1/targets")["items"]),
                "every look",
            )
            assert not daemon.happened("decided")
            ran = certvigil("status", "--socket", daemon.socket)
            seen.append(({each["target"] for each in daemon.ask("/api/v1/targets")["items"]}, ran.returncode))
    assert seen[0] == seen[1]
    assert ("primary/actions" in seen[1][0], seen[1][1]) == (False, 0)
    assert primary.serves(primary.old)
