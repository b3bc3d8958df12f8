"""The actor: it acts for those who may ask, on plans that they named, and on nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import signal
import socket
import threading
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.world import World
from config.load import load
from config.model import Config
from monitor.actor.client import talking
from monitor.actor.context import actor_context
from monitor.actor.conversation import Conversation
from monitor.actor.current import CurrentConfig
from monitor.actor.dispatch import Dispatcher
from monitor.actor.handlers import handle
from monitor.actor.news import FollowerNews
from monitor.actor.request import Document, Request, Verb, encode
from monitor.actor.work import Work
from monitor.lab.ca import Authority
from monitor.lab.process import wait_for
from monitor.lab.servers import write_site
from monitor.state.trust import read_trust_context
from tests.kit.actor import ALONE, ISSUER, PERSON, ActorHouse, Right, StartedActor
from tests.kit.authority import fresh
from tests.kit.openssl_client import presented
from tests.kit.unprivileged import answered_as

pytestmark = pytest.mark.server("nginx")

REPLACE = ActionRequest(Kind.REPLACE, ("web",))


def plan_of(actor: StartedActor, verb: Verb = Verb.PLAN) -> str:
    answer = actor.ask(Request(verb, REPLACE))
    assert "plan" in answer, answer
    return str(answer["plan"]["hash"])


def test_a_candidate_in_the_inbox_is_planned_shown_and_carried_out_by_hash(web: ActorHouse) -> None:
    new = fresh()
    web.put(new)
    with web.actor() as actor:
        plan = plan_of(actor)
        assert plan == plan_of(actor)
        code, said = web.command("plan", "web")
        assert code == 0, said
        for word in (plan, "DNS:www.example.com", "nginx", "browser", web.site.certificate):
            assert word in said
        assert not web.records(), "the test that a plan runs is no command that anybody has to wait for"
        steps: list[str] = []
        answer = actor.ask(Request(Verb.CARRY_OUT, REPLACE, plan), steps)
        assert [each["outcome"] for each in answer["endings"]] == ["committed"]
        assert steps == [
            *("begin", "backed_up", "staged", "intent", "switched", "switched", "config_tested", "activated"),
            *("validated", "committed", "aside", "closed"),
        ]
    assert presented(web.server)[0] == new.der()
    assert os.listdir(web.inbox) == [], "the inbox's copy of the key is removed"
    assert "PRIVATE KEY" not in web.actor().text


def test_another_candidate_than_the_one_that_was_planned_is_not_carried_out(web: ActorHouse) -> None:
    before = web.on_disk()
    web.put(fresh())
    with web.actor() as actor:
        plan = plan_of(actor)
        web.put(fresh())
        answer = actor.ask(Request(Verb.CARRY_OUT, REPLACE, plan))
        assert "not the one that was asked for" in answer["cannot"]
    assert web.on_disk() == before


def test_an_approval_is_recorded_with_who_gave_it_and_ends_with_the_candidate(web: ActorHouse) -> None:
    web.put(fresh())
    with web.actor() as actor:
        plan = plan_of(actor, Verb.PROPOSE)
        code, said = web.command("approve", plan[:12])
        assert code == 0, said
        (approved,) = [each for each in web.records() if each["event"] == "approved"]
        assert approved["hash"] == plan
        assert f"uid {os.getuid()}" in approved["by"]
        assert approved["until"] > approved["at"]
        web.put(fresh())
        code, said = web.command("approve", plan[:12])
        assert code == 4
        assert "the plan is another by now" in said


def test_a_plan_that_was_rejected_is_not_proposed_again(web: ActorHouse) -> None:
    web.put(fresh())
    with web.actor() as actor:
        plan = plan_of(actor, Verb.PROPOSE)
        code, said = web.command("reject", plan[:12], "--why", "wrong week\x1b[2J")
        assert code == 0, said
        answer = actor.ask(Request(Verb.PROPOSE, REPLACE))
        (objection,) = answer["refused"]["objections"]
        assert objection["ground"] == "rejected"
        assert "wrong week\\x1b" in objection["detail"]
        assert web.command("approve", plan[:12])[0] == 4


def test_first_files_come_back_by_reset_to_default(web: ActorHouse) -> None:
    before = web.on_disk()
    with web.actor():
        for _ in range(2):
            web.put(fresh())
            assert web.command("replace", "web")[0] == 0
        code, said = web.command("reset-to-default", "web", "--dry-run")
        assert code == 0, said
        assert web.on_disk() != before
        code, said = web.command("reset-to-default", "web")
        assert code == 0, said
    assert web.on_disk() == before
    assert presented(web.server)[0] == web.old.der()


@pytest.mark.parametrize("step", ["begin", "staged", "intent", "switched", "activated", "validated", "committed"])
def test_the_actor_finishes_what_a_crash_left_before_it_answers_anybody(web: ActorHouse, step: str) -> None:
    """Killed as soon as it told of a step: the next actor leaves the one set or the other, and that is served."""
    before, new = web.on_disk(), fresh()
    web.put(new)
    actor = web.actor()
    actor.start()
    with talking(actor.socket, Request(Verb.CARRY_OUT, REPLACE), 60.0) as answers:
        assert any(document.get("step", {}).get("event") == step for document in answers)
        actor.kill()
    with actor:
        state = actor.ask(Request(Verb.STATE))
        assert state["under_way"] == []
    served, after = presented(web.server)[0], web.on_disk()
    assert served in {web.old.der(), new.der()}
    assert (served == new.der()) is (after != before)
    assert after[web.site.key] in {before[web.site.key], new.key_pem()}
    beside = set(os.listdir(os.path.dirname(web.site.key))) - {"site.crt", "site.key"}
    # What was replaced stays for late writers, and nothing else does.
    noted = [each["files"] for each in web.records() if each["event"] == "aside"]
    assert beside == {os.path.basename(aside) for files in noted for _, _, aside, _ in files}
    assert len(state["aside"]) == len(beside)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"GET / HTTP/1.1", "no request"),
        (b'{"verb":"carry_out"}', "needs action"),
        (b'{"verb":"state","command":"id"}', "an object with 'verb'"),
        (
            b'{"verb":"plan","action":{"kind":"replace","components":["../../etc"],"backup_set":"","losses":[]}}',
            "names are letters",
        ),
        (
            b'{"verb":"plan","action":{"kind":"replace","components":["nothing"],"backup_set":"","losses":[]}}',
            "no component",
        ),
        (b'{"verb":"approve","plan":"ABC"}', "named by its hash"),
        (b"[" * 4000, "no request"),
    ],
)
def test_what_is_no_request_is_answered_with_a_sentence(web: ActorHouse, line: bytes, why: str) -> None:
    with web.actor() as actor, socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(20)
        asking.connect(actor.socket)
        asking.sendall(line + b"\n")
        with asking.makefile() as answers:
            assert why in answers.readline()


def test_a_peer_that_says_too_much_or_nothing_is_let_go(web: ActorHouse) -> None:
    with web.actor() as actor:
        for said in (b"x" * 20_000, b""):
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(20)
                asking.connect(actor.socket)
                asking.sendall(said)
                asking.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    assert asking.recv(100) == b""
        assert actor.ask(Request(Verb.STATE))["under_way"] == []


def test_a_stranger_may_ask_for_nothing_and_the_daemon_for_what_modes_allow(web: ActorHouse) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become others")
    before = web.on_disk()
    web.configure(daemon_user="daemon", group="0")
    web.put(fresh())
    with web.actor() as actor:
        assert "may ask the actor for nothing" in ask_as("nobody", actor, Request(Verb.STATE))
        assert '"components"' in ask_as("daemon", actor, Request(Verb.STATE))
        plan = plan_of(actor, Verb.PROPOSE)
        carry_out = Request(Verb.CARRY_OUT, REPLACE, plan)
        assert "is not approved" in ask_as("daemon", actor, carry_out)
        assert "must name the plan" in ask_as("daemon", actor, Request(Verb.CARRY_OUT, REPLACE))
        for verb in (Verb.APPROVE, Verb.REJECT, Verb.RECOVER, Verb.BACKUPS):
            assert "for an operator" in ask_as("daemon", actor, Request(verb, plan=plan))
        assert web.on_disk() == before
        web.command("approve", plan)
        assert '"committed"' in ask_as("daemon", actor, carry_out)
        assert web.on_disk() != before
        web.put(fresh())
        web.configure({"mode": "auto", "allowed_issuers": [ISSUER]}, daemon_user="daemon", group="0")
        plan = plan_of(actor)
        assert '"committed"' in ask_as("daemon", actor, Request(Verb.CARRY_OUT, REPLACE, plan))
        begin = [each for each in web.records() if each["event"] == "begin"][-1]
        assert (begin["by"], "daemon (uid " in begin["through"]) == ("policy use-candidate", True)


def test_the_daemon_learns_no_hash_of_a_key_that_is_in_use(web: ActorHouse) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become others")
    web.configure(daemon_user="daemon", group="0")
    web.put(fresh())
    held = {path: hashlib.sha256(data).hexdigest() for path, data in web.on_disk().items()}
    with web.actor() as actor:
        asked = Request(Verb.PLAN, REPLACE)
        for user, told in (("root", {*held.values()}), ("daemon", {held[web.site.certificate]})):
            answer = ask_as(user, actor, asked)
            assert {each for each in held.values() if each in answer} == told, answer


def test_the_daemon_learns_no_hash_of_a_key_that_is_to_be_used_or_was_used_before(web: ActorHouse) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become others")
    web.configure(daemon_user="daemon", group="0")
    web.put(fresh())
    with web.actor() as actor:
        planned = ask_as("daemon", actor, Request(Verb.PLAN, REPLACE))
        before = hashlib.sha256(web.on_disk()[web.site.key]).hexdigest()
        assert actor.ask(Request(Verb.CARRY_OUT, REPLACE))["endings"][0]["outcome"] == "committed"
        after = hashlib.sha256(web.on_disk()[web.site.key]).hexdigest()
        assert before != after
        (aside,) = [each for each in web.records() if each["event"] == "aside"]
        assert before in json.dumps(aside)
        for name, _, beside, _ in aside["files"]:
            assert name == "web"
            # A writer who comes late: the content is kept, and what is known of it is told.
            Path(beside).write_bytes(b"x" * 2**21)
        actor.ask(Request(Verb.RECOVER))
        assert [each for each in web.records() if each["event"] == "written_late"]
        large = hashlib.sha256(b"x" * 2**21).hexdigest()
        followed = {user: ask_as(user, actor, Request(Verb.FOLLOW)) for user in ("root", "daemon")}
    assert [each for each in (before, large) if each not in followed["root"]] == [], "an operator is told everything"
    for told in (planned, followed["daemon"]):
        assert [each for each in (before, after, large) if each in told] == []
    assert '"aside"' in followed["daemon"]
    assert "2097152 bytes" in followed["daemon"]


def test_neither_a_plan_nor_a_key_given_up_is_about_the_files_of_another_component(web: ActorHouse) -> None:
    """As the user of a service has it who owns his key, and lays a link in its place."""
    if os.getuid() != 0:
        pytest.skip("only root can become others")
    alpha = Path(web.directory, "alpha")
    alpha.mkdir()
    for path in (web.site.certificate, web.site.key):
        os.rename(path, alpha / os.path.basename(path))
        os.symlink(alpha / os.path.basename(path), path)
        os.chown(path, 64_001, 64_001, follow_symlinks=False)
    before = {each: each.read_bytes() for each in alpha.iterdir()}
    web.configure(daemon_user="daemon", group="0")
    web.put(fresh())
    with web.actor() as actor:
        answer = ask_as("daemon", actor, Request(Verb.PLAN, REPLACE))
        assert "belongs to user 64001, not to root" in answer
        assert not [each for each in before.values() if hashlib.sha256(each).hexdigest() in answer]
    code, said = web.command("replace", "web", "--key-compromised")
    assert (code, "belongs to user 64001, not to root" in said) == (1, True), said
    assert not [each for each in web.records() if each["event"] == "key_given_up"]
    assert {each: each.read_bytes() for each in alpha.iterdir()} == before


def test_no_key_is_given_up_that_another_component_has_over_a_link(web: ActorHouse) -> None:
    alpha = Path(web.directory, "alpha")
    alpha.mkdir()
    for path in (web.site.certificate, web.site.key):
        os.rename(path, alpha / os.path.basename(path))
        os.symlink(alpha / os.path.basename(path), path)
    document = web.document()
    document["components"]["alpha"] = {
        "artefacts": {"certificate": str(alpha / "site.crt"), "key": str(alpha / "site.key")}
    }
    Path(web.config_file).write_text(json.dumps(document), encoding="utf-8")
    web.put(fresh())
    before = web.on_disk()
    code, said = web.command("replace", "web", "--key-compromised")
    assert (code, "is a file of alpha, too" in said) == (1, True), said
    assert not [each for each in web.records() if each["event"] == "key_given_up"]
    assert web.on_disk() == before


def ask_as(user: str, actor: StartedActor, request: Request) -> str:
    """Return all that the actor answers to somebody else; of what it tells those who follow, all that there is."""

    def answer() -> bytes:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(60)
            asking.connect(actor.socket)
            asking.sendall(encode(request))
            with asking.makefile("rb") as answers:
                told = bytearray()
                for line in answers:
                    told += line
                    if line.startswith(b'{"here"'):
                        # There is no end to what is told to whoever follows.
                        break
                return bytes(told[:60_000])

    return answered_as(pwd.getpwnam(user).pw_uid, answer)


def test_told_to_end_it_ends_within_seconds_and_leaves_the_socket_to_the_next(web: ActorHouse) -> None:
    actor = web.actor()
    for number in (signal.SIGTERM, signal.SIGINT):
        actor.start()
        assert actor.stop(number) == 0
    with actor:
        assert actor.ask(Request(Verb.STATE))["clock"] is None


def test_told_to_read_its_configuration_again_it_keeps_the_good_one_where_the_new_has_mistakes(web: ActorHouse) -> None:
    with web.actor() as actor:
        web.configure({"mode": "plan"})
        actor.signal(signal.SIGHUP)
        assert actor.ask(Request(Verb.STATE))["components"]["web"]["mode"] == "plan"
        Path(web.config_file).write_text("components: 7\n")
        actor.signal(signal.SIGHUP)
        assert actor.ask(Request(Verb.STATE))["components"]["web"]["mode"] == "plan"
        assert "kept the old configuration" in actor.text


def test_whoever_follows_hears_of_the_clock_by_the_configuration_as_it_is_now(
    web: ActorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "synchronised", lambda _self: False)
    web.configure(require_synchronised_clock=True)
    config = load(web.config_file, {})
    assert isinstance(config, Config)
    current, news, stopping = CurrentConfig(web.config_file, config), FollowerNews(), threading.Event()
    ours, theirs = socket.socketpair()
    conversation = Conversation(ours, current, Dispatcher(current, news, stopping), news, stopping)
    following = threading.Thread(target=conversation.hold)
    following.start()
    with ours, theirs, theirs.makefile("rb") as lines:
        theirs.settimeout(30.0)
        theirs.sendall(encode(Request(Verb.FOLLOW)))
        heard = (json.loads(line) for line in lines)
        assert next(each["clock"] for each in heard if "here" in each) is not None
        web.configure(require_synchronised_clock=False)
        current.expire()
        with current.context():
            assert any("here" in each and each["clock"] is None for each in islice(heard, 10))
        stopping.set()
        following.join(30.0)


def test_what_a_reload_leaves_as_it_was_until_the_next_start_is_said(web: ActorHouse) -> None:
    with web.actor() as actor:
        web.configure({"mode": "plan"}, group="0")
        actor.signal(signal.SIGHUP)
        wait_for(lambda: "actor.group are those of the start" in actor.text, 10.0, "the warning")
        assert actor.ask(Request(Verb.STATE))["components"]["web"]["mode"] == "plan"


@pytest.mark.parametrize("left", ["component", "service"])
def test_a_plan_of_a_component_that_left_the_configuration_goes_at_the_reload_and_that_is_said(
    left: str, web: ActorHouse
) -> None:
    web.put(fresh())
    document = web.document()
    with web.actor() as actor:
        plan = plan_of(actor, Verb.PROPOSE)
        fewer = json.loads(json.dumps(document))
        if left == "component":
            del fewer["components"]["web"]
        else:
            del fewer["components"]["web"]["service"]
        Path(web.config_file).write_text(json.dumps(fewer), encoding="utf-8")
        actor.signal(signal.SIGHUP)
        said = {
            "component": "the component web is no longer in the configuration",
            "service": "the component web no longer has a 'service' in the configuration",
        }[left]
        wait_for(lambda: f"withdrew the plan {plan[:16]}, a replace: {said}" in actor.text, 10.0, "the withdrawal")
        assert actor.ask(Request(Verb.STATE))["proposals"] == {}
        withdrawn = [each for each in web.records() if each["event"] == "withdrawn"]
        assert [(each["hash"], each["reason"]) for each in withdrawn] == [(plan, said)]
        code, told = web.command("audit")
        assert code == 0
        assert said in told
        Path(web.config_file).write_text(json.dumps(document), encoding="utf-8")
        actor.signal(signal.SIGHUP)
        code, told = web.command("approve", plan[:12])
        assert (code, "no plan that waits begins with" in told) == (4, True), told


def test_an_inbox_comes_into_being_with_the_reload_that_needs_it(web: ActorHouse) -> None:
    with web.actor() as actor:
        assert os.listdir(os.path.dirname(web.inbox)) == ["web"]
        document = web.document()
        files = {"certificate": f"{web.directory}/mail.crt", "key": f"{web.directory}/mail.key"}
        document["components"]["mail"] = web.component(artefacts=files)
        Path(web.config_file).write_text(json.dumps(document))
        actor.signal(signal.SIGHUP)
        made = Path(os.path.dirname(web.inbox), "mail")
        wait_for(made.is_dir, 10.0, "the inbox, though nobody asked for anything")
        assert made.stat().st_mode & 0o7777 == 0o755


def test_what_was_replaced_as_one_is_undone_as_one_while_nobody_else_changed_it(web: ActorHouse) -> None:
    twin = write_site(f"{web.directory}/twin", web.old)
    document = web.document()
    document["components"]["twin"] = {
        "artefacts": {"certificate": twin.certificate, "key": twin.key},
        "service": {"test": ["/bin/true"], "restart": ["/bin/true"]},
    }
    Path(web.config_file).write_text(json.dumps(document))
    config = load(web.config_file, {})
    assert isinstance(config, Config), config

    def files() -> dict[str, bytes]:
        return {**web.on_disk(), **{path: Path(path).read_bytes() for path in (twin.certificate, twin.key)}}

    def replaced() -> str:
        web.put(fresh())
        code, said = web.command("replace", "twin", "web")
        assert code == 0, said
        return str(web.records()[-1]["transaction"])

    def undone(transaction: str, right: Right) -> Document:
        with actor_context(read_trust_context(config)[0]) as context:
            work, action = (
                Work(context, "daemon", role=right.role, approval=right.approval),
                ActionRequest(Kind.ROLLBACK, ("twin", "web"), transaction),
            )
            return handle(work, Request(Verb.CARRY_OUT, action))

    before = files()
    answer = undone(replaced(), PERSON)
    assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
    assert files() == before
    assert presented(web.server)[0] == web.old.der()

    transaction = replaced()
    Path(twin.certificate).write_bytes(before[twin.certificate])
    after = files()
    (objection,) = undone(transaction, ALONE)["refused"]["objections"]
    assert objection == {"ground": "needs_a_person", "detail": f"{twin.certificate} was changed by somebody else since"}
    assert files() == after


def test_a_journal_that_is_damaged_keeps_the_actor_from_starting_and_says_so(web: ActorHouse) -> None:
    web.put(fresh())
    with web.actor():
        assert web.command("replace", "web")[0] == 0
    journal = Path(web.directory, "actor", "journal.jsonl")
    data = bytearray(journal.read_bytes())
    data[30] ^= 1
    journal.write_bytes(data)
    code, said = web.command("actor")
    assert code == 1
    assert "line 1 of the journal is not what was written" in said


def test_a_certificate_of_an_issuer_that_is_not_allowed_is_refused(web: ActorHouse) -> None:
    web.configure({"allowed_issuers": [{"spki_sha256": "0" * 64}]})
    web.put(fresh())
    with web.actor() as actor:
        answer = actor.ask(Request(Verb.PLAN, REPLACE))
        assert "issuer_not_allowed" in {each["ground"] for each in answer["refused"]["objections"]}


def test_text_in_a_candidate_does_nothing_to_the_log_or_the_terminal(web: ActorHouse) -> None:
    hostile = Authority.root("Evil\x1b]0;pwned\x07\n%s ${HOME} {0} <script>")
    web.put(fresh(issuing=hostile))
    with web.actor() as actor:
        code, said = web.command("plan", "web")
        assert code == 1
        assert "pwned" in said
        for text in (said, actor.text):
            assert "\x1b" not in text
            assert "\x07" not in text
