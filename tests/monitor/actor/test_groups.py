"""A group is changed, verified and undone as one, by a person and by policy, on real servers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from actions.journal_state import ActionRequest
from actions.plan import Kind
from monitor.actor.request import Request, Verb
from monitor.lab.ca import Authority
from monitor.lab.servers import replace_file
from tests.kit.actor import ALONE, PERSON
from tests.kit.appliance import MEMBERS, Appliance, appliance
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.daemon import with_usual_paths
from tests.kit.openssl_client import presented

pytestmark = [pytest.mark.server("nginx"), pytest.mark.server("lighttpd")]

REPLACE = ActionRequest(Kind.REPLACE, MEMBERS["primary"])
UNDO = {"name": "undo", "match": {"group": ["primary"]}, "when": {"regressed_within": "3h"}, "mode": "auto"}


@pytest.mark.parametrize("role", ["primary", "secondary", "single"])
def test_one_candidate_is_for_all_members_each_with_files_of_its_own_way(role: str) -> None:
    new = fresh()
    with appliance(role) as machine:
        code, said = machine.command("replace", role, "--from", machine.given(new), "--dry-run")
        assert code == 0, said
        assert f"plan       replace of {role} ({', '.join(MEMBERS[role])}), " in said
        assert machine.serves(machine.old)
        code, said = machine.command("replace", role, "--from", machine.given(new))
        assert code == 0, said
        assert f"committed  {role} ({', '.join(MEMBERS[role])}): " in said
        assert machine.serves(new)
        disk = machine.on_disk()
        console = disk[machine.artefacts("console")["combined"]]
        assert new.pem() in console
        assert new.key_pem() in console
        if role != "secondary":
            portal = machine.artefacts("portal")
            assert disk[portal["certificate"]] == new.chain_pem()
            assert disk[portal["key"]] == new.key_pem()
        if role != "primary":
            engine = machine.artefacts("engine")
            assert disk[engine["certificate"]] == new.pem()
            assert disk[engine["key"]] == new.key_pem()
            assert disk[engine["chain"]] == ISSUING.pem()
        assert machine.last("begin")["plan"]["group"] == role
        code, said = machine.command("replace", role, "--from", machine.given(new))
        assert code == 0
        assert "nothing to do" in said


@pytest.mark.parametrize(("role", "stem"), [("primary", "master"), ("secondary", "slave")])
def test_a_candidate_is_taken_from_the_files_of_the_article(role: str, stem: str) -> None:
    new = fresh()
    with appliance(role) as machine:
        given: list[str] = []
        parts = {"root.crt": ROOT, "intermediate.crt": ISSUING, f"{stem}.crt": new}
        for name, data in [*((name, each.pem()) for name, each in parts.items()), (f"{stem}.key", new.key_pem())]:
            # As an editor on Windows leaves it.
            replace_file(f"{machine.directory}/{name}", data.replace(b"\n", b"\r\n"), 0o600)
            given += ["--from", f"{machine.directory}/{name}"]
        code, said = machine.command("replace", role, *given)
        assert code == 0, said
        assert machine.serves(new)


def test_the_profile_acts_on_a_primary_appliance_with_the_commands_of_the_site() -> None:
    """Of the profile, the site gives other commands and addresses alone; the daemon waits for a person's approval."""
    new = fresh()
    with appliance("primary") as machine:
        machine.configure_by_profile()
        machine.put(new)
        answer = machine.ask(REPLACE, ALONE)
        assert "approval" in answer["cannot"], answer
        code, said = machine.command("replace", "primary")
        assert code == 0, said
        assert "committed  primary (console, portal): " in said
        assert machine.serves(new)
        # The line of the profile is why the console sends its intermediates.
        assert all(ISSUING.der() in presented(server) for server in machine.servers.values())


@pytest.mark.parametrize("words", ["plan", "replace", "activate", "rollback", "reset-to-default", "recover --thaw"])
def test_a_member_alone_is_never_changed_nor_thawed_nor_given_back(words: str, primary: Appliance) -> None:
    command = words.split()
    code, said = primary.command(*command, "portal")
    assert code == 4, said
    why = "component portal is changed only with all members of group primary (console, portal): name primary"
    assert why in said
    code, said = primary.command(*command, "primry")
    assert code == 4
    assert "there is no component or group 'primry'; did you mean 'primary'?" in said


def test_the_group_has_one_inbox_and_what_lies_in_that_of_a_member_is_refused(primary: Appliance) -> None:
    new, misplaced = fresh(), fresh()
    primary.put(misplaced, "portal")
    code, said = primary.command("plan", "primary")
    assert code == 1, said
    where = f"{primary.inbox('portal')} is not used, since portal is changed with all of primary: put what is for all"
    assert f"refused    member_inbox: {where} into {primary.inbox()}" in said
    wrong = Path(primary.inbox(), "wrong.pem")
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_bytes(fresh().chain_pem())
    code, said = primary.command("plan", "primary")
    assert code == 1, said
    assert "refused    no_candidate" in said
    assert where in said
    wrong.unlink()
    primary.put(new)
    code, said = primary.command("plan", "primary")
    assert code == 0, said
    assert f"note       {where}" in said
    code, said = primary.command("replace", "primary")
    assert code == 0, said
    assert primary.serves(new)
    assert os.listdir(primary.inbox()) == []
    assert len(os.listdir(primary.inbox("portal"))) == 1


def test_the_hash_of_the_plan_binds_every_member(primary: Appliance) -> None:
    primary.put(fresh())
    plans = []
    for name in (None, *primary.servers):
        if name is not None:
            path = next(iter(primary.artefacts(name).values()))
            replace_file(path, b"# somebody was here\n" + Path(path).read_bytes())
        answer = primary.ask(REPLACE, verb=Verb.PLAN)
        assert answer["plan"]["group"] == "primary"
        assert {each["component"] for each in answer["plan"]["changes"]} == {"console", "portal"}
        plans.append(answer["plan"]["hash"])
    assert len(set(plans)) == 3


def test_a_member_that_has_the_certificate_already_is_part_of_the_plan(primary: Appliance) -> None:
    """Its endpoints are verified with the others, and it would be undone with them."""
    new = fresh()
    replace_file(primary.artefacts("console")["combined"], new.chain_pem() + new.key_pem(), 0o600)
    primary.put(new)
    answer = primary.ask(REPLACE)
    assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
    assert answer["plan"]["components"] == ["console", "portal"]
    assert primary.serves(new)


def test_a_candidate_that_one_member_cannot_use_gives_way_to_an_older_one_for_all(primary: Appliance) -> None:
    connecting = {"trusts": "corporate", "names": ["finder.example.com"]}
    primary.configure(
        {"portal": {"clients": ["browser", "finder"]}},
        clients={"browser": {"trusts": "corporate"}, "finder": connecting},
    )
    both = fresh("finder.example.com", not_before=time.time() - 7200)
    primary.put(both)
    primary.put(fresh(not_before=time.time() - 3600))
    answer = primary.ask(REPLACE)
    assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
    assert primary.serves(both)
    assert any("it is for all of primary, and not for portal" in each for each in answer["remarks"]), answer


def test_a_client_that_would_be_lost_at_one_member_refuses_it_for_all(primary: Appliance) -> None:
    other = Authority.root("Another Root")
    for name, roots in (("root.pem", ROOT.pem() + other.pem()), ("pinned.pem", ROOT.pem())):
        replace_file(f"{primary.directory}/{name}", roots)
    primary.configure(
        {"portal": {"clients": ["browser", "finder"]}},
        trust_stores={
            "corporate": {"bundle": f"{primary.directory}/root.pem"},
            "pinned": {"bundle": f"{primary.directory}/pinned.pem"},
        },
        clients={"browser": {"trusts": "corporate"}, "finder": {"trusts": "pinned"}},
    )
    primary.put(other.issue(NAME))
    before = primary.on_disk()
    answer = primary.ask(REPLACE)
    assert "client_lost" in {each["ground"] for each in answer["refused"]["objections"]}, answer
    assert primary.on_disk() == before
    assert primary.serves(primary.old)


@pytest.mark.parametrize("member", ["console", "portal"])
def test_a_member_whose_test_fails_with_the_new_files_undoes_all(member: str, primary: Appliance) -> None:
    certificate = next(iter(primary.artefacts(member).values()))
    replace_file(f"{primary.directory}/kept", Path(certificate).read_bytes(), 0o600)
    test = ["/usr/bin/cmp", "-s", certificate, f"{primary.directory}/kept"]
    primary.configure({member: primary.service(member, test=test)})
    before = primary.on_disk()
    primary.put(fresh())
    answer = primary.ask(REPLACE)
    assert [(each["outcome"], each["cause"]) for each in answer["endings"]] == [("rolled_back", "config_test")], answer
    assert answer["endings"][0]["sentence"].startswith("primary (console, portal): ")
    assert primary.on_disk() == before
    assert primary.serves(primary.old)


@pytest.mark.parametrize("member", ["console", "portal"])
def test_a_member_that_does_not_serve_the_new_certificate_undoes_all(member: str, primary: Appliance) -> None:
    nothing = ["/bin/true"]
    commands = {"restart": nothing} | ({"reload": nothing} if member == "portal" else {})
    primary.configure({member: primary.service(member, **commands)})
    before = primary.on_disk()
    primary.put(fresh())
    answer = primary.ask(REPLACE)
    assert [(each["outcome"], each["cause"]) for each in answer["endings"]] == [("rolled_back", "not_served")], answer
    assert primary.on_disk() == before
    assert primary.serves(primary.old)


def test_members_with_different_certificates_on_disk_are_not_put_to_use(primary: Appliance) -> None:
    """Somebody gave each member a certificate by hand; what serves two of them is no group."""
    theirs = fresh()
    portal = primary.artefacts("portal")
    replace_file(portal["certificate"], theirs.chain_pem())
    replace_file(portal["key"], theirs.key_pem(), 0o600)
    code, said = primary.command("activate", "primary")
    assert code == 1, said
    assert "unusable: the members of group primary have different certificates on disk (console: " in said
    assert "`certvigil replace primary` gives it to all" in with_usual_paths(said)
    assert primary.serves(primary.old)
    replace_file(primary.artefacts("console")["combined"], primary.pem(theirs), 0o600)
    code, said = primary.command("activate", "primary")
    assert code == 0, said
    assert primary.serves(theirs)


def test_a_refusal_names_the_members_that_it_is_about(primary: Appliance) -> None:
    primary.configure({"portal": {"allowed_issuers": [{"spki_sha256": "0" * 64}]}})
    code, said = primary.command("replace", "primary", "--from", primary.given(fresh()))
    assert (code, "issuer_not_allowed: portal: " in said) == (1, True), said
    elsewhere = ISSUING.issue("elsewhere.example.com")
    code, said = primary.command("replace", "primary", "--from", primary.given(elsewhere))
    assert (code, "names_missing: console, portal: " in said) == (1, True), said


def test_what_was_replaced_as_one_is_rolled_back_and_reset_as_one(primary: Appliance) -> None:
    first, second = fresh(), fresh()
    for new in (first, second):
        assert primary.command("replace", "primary", "--from", primary.given(new))[0] == 0
    code, said = primary.command("backups", "primary")
    assert code == 0
    assert said.count("console") >= 2
    assert said.count("portal") >= 2
    code, said = primary.command("rollback", "primary")
    assert code == 0, said
    assert "committed  primary (console, portal): " in said
    assert primary.serves(first)
    code, said = primary.command("reset-to-default", "primary")
    assert code == 0, said
    assert primary.serves(primary.old)


def test_what_one_member_had_changed_before_it_joined_is_undone_by_the_group(primary: Appliance) -> None:
    new = fresh()
    primary.configure(groups={})
    assert primary.command("replace", "portal", "--from", primary.given(new))[0] == 0
    primary.configure()
    code, said = primary.command("rollback", "primary")
    assert code == 0, said
    assert "note       console was not changed since, and stays as it is" in said
    assert primary.serves(primary.old)


def test_the_daemon_has_a_group_replaced_and_what_got_worse_undone_as_one(primary: Appliance) -> None:
    new = fresh(not_before=time.time() - 60, not_after=time.time() + 70 * 60)
    primary.configure(primary.automatic(), policies=[{**UNDO, "do": ["rollback"]}])
    primary.put(new)
    answer = primary.ask(REPLACE, ALONE)
    assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
    assert primary.serves(new)
    undo = ActionRequest(Kind.ROLLBACK, MEMBERS["primary"], str(primary.records()[-1]["transaction"]))
    primary.world.shift = 71 * 60.0
    assert "ask again after" in primary.ask(undo, ALONE)["cannot"]
    primary.world.shift += 61
    answer = primary.ask(undo, ALONE)
    assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
    assert primary.serves(primary.old)


def test_the_daemon_has_nothing_done_to_a_group_of_which_one_member_is_not_for_it(primary: Appliance) -> None:
    automatic = primary.automatic()
    for portal in (
        {},
        {**automatic["portal"], "mode": "observe"},
        {"mode": "auto", "allowed_issuers": [{"spki_sha256": "0" * 64}]},
    ):
        primary.configure({**automatic, "portal": portal})
        primary.put(fresh())
        before = primary.on_disk()
        answer = primary.ask(REPLACE, ALONE)
        assert "endings" not in answer, answer
        assert primary.on_disk() == before


def test_a_policy_for_one_member_is_one_for_the_group(primary: Appliance) -> None:
    new = fresh()
    policy = {
        "name": "of-the-portal",
        "match": {"component": ["portal"]},
        "when": {"candidate_present": True},
        "mode": "auto",
        "do": [{"replace": {"from": "inbox", "allowed_issuers": [{"trust_store": "corporate"}]}}],
    }
    primary.configure(policies=[policy])
    primary.put(new)
    answer = primary.ask(REPLACE, ALONE)
    assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
    assert primary.serves(new)
    primary.configure(policies=[{**policy, "match": {"group": ["second*"]}}])
    primary.put(fresh())
    assert "endings" not in primary.ask(REPLACE, ALONE)
    assert primary.serves(new)


def test_an_actor_that_is_killed_between_two_members_leaves_all_or_nothing(primary: Appliance) -> None:
    marker = f"{primary.directory}/killed"
    reload = primary.component("portal")["service"]
    assert isinstance(reload, dict)
    once = f"[ -e {marker} ] || {{ touch {marker}; kill -9 $PPID; }}; exec {' '.join(reload['reload'])}"
    primary.configure({"portal": primary.service("portal", reload=["/bin/sh", "-c", once])})
    new = fresh()
    primary.put(new)
    with primary.actor() as actor:
        with pytest.raises(Exception):  # noqa: B017, PT011
            actor.ask(Request(Verb.CARRY_OUT, REPLACE))
        assert os.path.exists(marker)
    with primary.actor() as actor:
        deadline = time.monotonic() + 60
        while actor.ask(Request(Verb.STATE))["under_way"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert primary.serves(new) or primary.serves(primary.old)
    code, said = primary.command("recover")
    assert code == 0, said
    disk = primary.on_disk()
    certificates = {name: disk[next(iter(primary.artefacts(name).values()))] for name in primary.servers}
    expected = new if primary.serves(new) else primary.old
    assert all(expected.pem() in each for each in certificates.values())


def test_a_waiting_plan_is_the_groups_and_is_approved_or_rejected_as_one(primary: Appliance) -> None:
    new = fresh()
    primary.put(new)
    answer = primary.ask(REPLACE, PERSON, Verb.PROPOSE)
    proposed = primary.last("proposed")
    assert proposed["group"] == "primary"
    assert proposed["shown"].startswith("primary: console, portal: ")
    code, said = primary.command("reject", answer["plan"]["hash"], "--json")
    assert code == 0, said
    assert json.loads(said)["rejected"] == answer["plan"]["hash"]
    code, said = primary.command("plan", "primary")
    assert code == 1
    assert "refused    rejected: " in said


def test_a_group_with_a_frozen_member_is_left_alone_until_it_is_thawed_by_its_name(primary: Appliance) -> None:
    certificate, key = primary.artefacts("portal").values()
    spoiled = f"echo somebody > {key}; exit 1"
    primary.configure({"portal": primary.service("portal", reload=["/bin/sh", "-c", spoiled])})
    primary.put(fresh())
    answer = primary.ask(REPLACE)
    assert [each["outcome"] for each in answer["endings"]] == ["frozen"], answer
    primary.configure()
    assert (
        f"it could not be activated: portal: `/bin/sh -c {spoiled}` ended with status 1"
        in answer["endings"][0]["sentence"]
    )
    code, said = primary.command("plan", "primary")
    assert code == 1
    assert "refused    frozen: portal is frozen: " in said or "refused    frozen: console is frozen: " in said
    replace_file(certificate, primary.old.chain_pem())
    replace_file(key, primary.old.key_pem(), 0o600)
    replace_file(primary.artefacts("console")["combined"], primary.old.chain_pem() + primary.old.key_pem(), 0o600)
    code, said = primary.command("recover", "--thaw", "primary")
    assert code == 0, said
    assert {f"thawed     {name}: it may be changed again" for name in MEMBERS["primary"]} <= {*said.splitlines()}
    new = fresh()
    code, said = primary.command("replace", "primary", "--from", primary.given(new))
    assert code == 0, said
    assert primary.serves(new)


def test_a_set_with_an_unusable_member_says_so_of_every_member_and_names_the_file_of_the_set(
    primary: Appliance,
) -> None:
    key = primary.artefacts("portal")["key"]
    assert primary.command("replace", "primary", "--from", primary.given(fresh()))[0] == 0
    replace_file(key, b"no key\n", 0o600)
    assert primary.command("replace", "primary", "--from", primary.given(fresh()))[0] == 0
    listed = json.loads(primary.command("backups", "primary", "--json")[1])["sets"]
    # Both may have been taken in one second; the list has them in order.
    last = [each["set"] for each in listed if each["component"] == "portal"][-1]
    why = {each["component"]: each["unusable"] for each in listed if each["set"] == last}
    assert f"{primary.directory}/actor/backups/portal/{last}/" in why["portal"]
    assert f", its copy of {key}: " in why["portal"]
    assert why["console"] == f"given back only with that of portal: {why['portal']}"
    assert not any(each["unusable"] for each in listed if each["set"] != last)


def test_the_backup_sets_of_one_member_are_listed(primary: Appliance) -> None:
    assert primary.command("replace", "primary", "--from", primary.given(fresh()))[0] == 0
    listed = json.loads(primary.command("backups", "portal", "--json")[1])["sets"]
    assert [each["component"] for each in listed] == ["portal"]


def test_an_intermediate_that_is_missing_is_one_objection_with_all_that_would_miss_it() -> None:
    """Whether a member has its own intermediate on disk today is no part of the story: its clients are sent it."""
    alone = ROOT.intermediate("Second Issuing").issue(NAME)
    with appliance("single") as machine:
        machine.configure_by_profile()
        Path(machine.artefacts("engine")["chain"]).write_bytes(b"")
        given = Path(machine.directory, "alone.pem")
        replace_file(str(given), alone.pem() + alone.key_pem(), 0o600)
        code, said = machine.command("replace", "single", "--from", str(given), "--dry-run")
    assert code == 1, said
    (refused,) = [line for line in said.splitlines() if line.startswith("refused")]
    assert "incomplete_chain: console, engine, portal: the certificate of CN=Second Issuing" in refused
    assert "; browser, collector, web-api, finder would miss it; to cure it, put the missing certificate" in refused
