"""What waits for a person, what a person said no to, and keys that were given up: by the actor's own work."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actions.journal import Event, Record
from actions.journal_state import ActionRequest, JournalState
from actions.plan import Kind
from actions.world import World
from config.load import load
from config.model import Config
from monitor.actor.authority import Role, objection
from monitor.actor.context import actor_context
from monitor.actor.handlers import handle
from monitor.actor.pace import Pace
from monitor.actor.proposals import MOST_PLANS
from monitor.actor.request import Document, Request, Verb, decode, encode
from monitor.actor.work import Work
from monitor.decide.history import attempts_of
from monitor.lab.ca import Issued, bundle
from monitor.lab.servers import Site, write_site
from monitor.state.trust import read_trust_context
from tests.kit.actor import ALONE, APPROVED, ISSUER, PERSON, Right
from tests.kit.authority import ISSUING, NAME, ROOT, fresh
from tests.kit.daemon import certvigil

REPLACE = ActionRequest(Kind.REPLACE, ("web",))
ACTIVATE = ActionRequest(Kind.ACTIVATE, ("web",))
COMPROMISED = ActionRequest(Kind.REPLACE, ("web",), key_compromised=True)


def same_key(issued: Issued) -> Issued:
    """Return another certificate for the same key."""
    return ISSUING.issue(NAME, key=issued.key)


class AnHourLater(World):
    def monotonic(self) -> float:
        return super().monotonic() + 3600.0


@dataclass
class ProposalBench:
    """A component without endpoints, and whoever asks for things at its actor's bench."""

    directory: str
    site: Site
    old: Issued

    @property
    def config(self) -> Config:
        config = load(f"{self.directory}/certvigil.yaml", {})
        assert isinstance(config, Config), config
        return config

    def configure(self, mode: str, restart: str = "/bin/true") -> None:
        component = {
            "artefacts": {"certificate": self.site.certificate, "key": self.site.key},
            "service": {"test": ["/bin/true"], "restart": [restart]},
            "mode": mode,
            "allowed_issuers": [ISSUER],
        }
        document = {
            "actor": {
                "directory": f"{self.directory}/actor",
                "inbox_directory": f"{self.directory}/inbox",
                "require_synchronised_clock": False,
            },
            "trust_stores": {"corporate": {"bundle": f"{self.directory}/root.pem"}},
            "components": {"web": component},
            "validation": {"successes": 2, "interval": "0.1s", "deadline": "5s", "handshakes": 2},
        }
        Path(self.directory, "certvigil.yaml").write_text(json.dumps(document))

    def put(self, issued: Issued) -> None:
        """Have the inbox hold this candidate and nothing else."""
        inbox = f"{self.directory}/inbox/web"
        os.makedirs(inbox, mode=0o755, exist_ok=True)
        for name, data in (("chain.pem", bundle([issued, ISSUING])), ("new.key", issued.key_pem())):
            with open(os.open(f"{inbox}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)

    def ask(self, verb: Verb, action: ActionRequest | None = None, right: Right = PERSON, **more: Any) -> Document:
        with actor_context(read_trust_context(self.config)[0]) as context:
            return handle(
                Work(context, "alice", role=right.role, approval=right.approval), Request(verb, action, **more)
            )

    def ask_as_daemon(self, request: Request, pace: Pace) -> Document:
        with actor_context(read_trust_context(self.config)[0]) as context:
            return handle(Work(context, "daemon", role=Role.DAEMON, pace=pace), request)

    def killed(self, at: Event, action: ActionRequest) -> None:
        """Have somebody carry it out who is killed once a step is in the journal."""

        def told(record: Record) -> None:
            if record.event is at:
                raise KeyboardInterrupt

        with actor_context(read_trust_context(self.config)[0]) as context, pytest.raises(KeyboardInterrupt):
            handle(Work(context, "alice", told), Request(Verb.CARRY_OUT, action))

    def propose(self, action: ActionRequest = REPLACE) -> str:
        answer = self.ask(Verb.PROPOSE, action)
        assert "plan" in answer, answer
        return str(answer["plan"]["hash"])

    def replaced(self, issued: Issued, action: ActionRequest = REPLACE) -> Document:
        self.put(issued)
        answer = self.ask(Verb.CARRY_OUT, action)
        assert [each["outcome"] for each in answer["endings"]] == ["committed"], answer
        return answer

    def journal_state(self) -> JournalState:
        with actor_context(read_trust_context(self.config)[0]) as context:
            return JournalState.of(context.transaction.journal.records())

    def events(self, *events: Event) -> list[Event]:
        with actor_context(read_trust_context(self.config)[0]) as context:
            return [each.event for each in context.transaction.journal.records() if each.event in events]


@pytest.fixture
def web(tmp_path: Path) -> ProposalBench:
    tmp_path.chmod(0o755)
    old = fresh()
    (tmp_path / "root.pem").write_bytes(ROOT.pem())
    made = ProposalBench(str(tmp_path), write_site(f"{tmp_path}/tls", old), old)
    made.configure("approve")
    return made


def grounds(answer: Document) -> list[str]:
    assert "refused" in answer, answer
    return [each["ground"] for each in answer["refused"]["objections"]]


def test_a_candidate_that_was_installed_already_is_told_with_its_plan(web: ProposalBench) -> None:
    first = fresh()
    web.put(first)
    assert not web.ask(Verb.PLAN, REPLACE).get("remarks")
    web.replaced(first)
    web.replaced(fresh())
    web.put(first)
    (said,) = web.ask(Verb.PLAN, REPLACE)["remarks"]
    assert said == (
        "the one in the inbox was installed already, so nothing installs it again unattended: "
        f"`certvigil replace web` does, or take it out of {web.directory}/inbox/web"
    )
    web.put(fresh())
    assert not web.ask(Verb.PLAN, REPLACE).get("remarks")


def test_an_operator_who_declares_a_component_right_settles_its_failures(web: ProposalBench) -> None:
    web.configure("approve", restart="/bin/false")
    web.put(fresh())
    assert web.ask(Verb.CARRY_OUT, REPLACE)["endings"][0]["outcome"] != "committed"
    web.ask(Verb.RECOVER, components=("web",))
    (tried,) = attempts_of(web.journal_state(), "web")
    assert tried.settled
    web.ask(Verb.CARRY_OUT, REPLACE)
    assert [each.settled for each in attempts_of(web.journal_state(), "web")] == [True, False]


# Keys that were given up


def test_a_key_that_was_given_up_is_brought_back_by_nothing(web: ProposalBench) -> None:
    answer = web.replaced(fresh(), COMPROMISED)
    (key,) = answer["given_up"]["web"]
    assert key in web.journal_state().given_up
    first = web.journal_state().last["web"].transaction
    for name in ("", "default", first):
        action = ActionRequest(Kind.ROLLBACK, ("web",), name)
        for verb in (Verb.PLAN, Verb.PROPOSE, Verb.CARRY_OUT):
            assert "key_given_up" in grounds(web.ask(verb, action)), (name, verb)
    web.put(same_key(web.old))
    for right in (PERSON, APPROVED, ALONE):
        assert grounds(web.ask(Verb.CARRY_OUT, REPLACE, right)) == ["key_given_up"]
    before = {path: Path(path).read_bytes() for path in (web.site.certificate, web.site.key)}
    back = same_key(web.old)
    Path(web.site.key).write_bytes(back.key_pem())
    Path(web.site.certificate).write_bytes(back.chain_pem())
    assert "key_given_up" in grounds(web.ask(Verb.CARRY_OUT, ACTIVATE))
    for path, data in before.items():
        Path(path).write_bytes(data)
    (of,) = web.ask(Verb.BACKUPS)["sets"]
    assert "given up as compromised" in of["never"]
    assert "alice" in of["never"]


def test_the_same_key_again_is_refused_and_given_up_all_the_same(web: ProposalBench) -> None:
    web.put(same_key(web.old))
    assert grounds(web.ask(Verb.PLAN, COMPROMISED)) == ["key_given_up"]
    assert not web.journal_state().given_up, "a dry run gives nothing up"
    (objection,) = (answer := web.ask(Verb.CARRY_OUT, COMPROMISED))["refused"]["objections"]
    assert objection["ground"] == "key_given_up"
    assert "it takes a new key" in objection["detail"]
    (key,) = answer["given_up"]["web"]
    assert key in web.journal_state().given_up, "from the request on, whatever becomes of the replacement"
    assert grounds(web.ask(Verb.CARRY_OUT, REPLACE, ALONE)) == ["key_given_up"]
    assert web.ask(Verb.CARRY_OUT, COMPROMISED)["given_up"] == answer["given_up"]
    assert len(web.events(Event.KEY_GIVEN_UP)) == 1


def test_what_is_installed_already_is_refused_where_its_key_is_given_up(web: ProposalBench) -> None:
    web.put(web.old)
    assert grounds(web.ask(Verb.PLAN, COMPROMISED)) == ["key_given_up"]
    assert grounds(web.ask(Verb.CARRY_OUT, COMPROMISED)) == ["key_given_up"]
    assert len(web.journal_state().given_up) == 1


def test_another_candidate_of_the_inbox_is_taken_where_the_newest_has_a_key_that_was_given_up(
    web: ProposalBench,
) -> None:
    web.ask(Verb.CARRY_OUT, COMPROMISED)
    good, newer = fresh(), same_key(web.old)
    web.put(good)
    inbox = Path(web.directory, "inbox", "web")
    (inbox / "newer.pem").write_bytes(newer.chain_pem() + newer.key_pem())
    (inbox / "newer.pem").chmod(0o600)
    assert web.ask(Verb.CARRY_OUT, REPLACE)["endings"][-1]["outcome"] == "committed"
    assert good.pem() in Path(web.site.certificate).read_bytes()


def test_a_key_that_was_given_up_by_mistake_is_taken_back_by_its_hash(web: ProposalBench) -> None:
    (key,) = web.ask(Verb.CARRY_OUT, COMPROMISED)["given_up"]["web"]
    assert "no key that was given up" in web.ask(Verb.RECOVER, key="0" * 8)["cannot"]
    assert web.ask(Verb.RECOVER, key=key[:8])["reinstated"] == [key]
    assert not web.journal_state().given_up
    web.replaced(same_key(web.old))


@pytest.mark.parametrize("verb", [Verb.PLAN, Verb.PROPOSE, Verb.CARRY_OUT, Verb.RECOVER])
def test_only_an_operator_gives_up_a_key_or_takes_that_back(web: ProposalBench, verb: Verb) -> None:
    request = Request(verb, key="0" * 8) if verb is Verb.RECOVER else Request(verb, COMPROMISED)
    assert "operator" in (objection(Role.DAEMON, request, web.config, JournalState()) or "")
    assert objection(Role.OPERATOR, request, web.config, JournalState()) is None


@pytest.mark.parametrize(
    ("request_", "is_one"),
    [
        (Request(Verb.CARRY_OUT, COMPROMISED), True),
        (Request(Verb.RECOVER, key="0" * 64), True),
        (Request(Verb.PROPOSE, COMPROMISED), False),
        (Request(Verb.CARRY_OUT, ActionRequest(Kind.ROLLBACK, ("web",), key_compromised=True)), False),
        (Request(Verb.PLAN, REPLACE, key="0" * 64), False),
        (Request(Verb.RECOVER, key="0"), False),
    ],
)
def test_a_key_is_given_up_only_with_its_replacement_and_named_only_to_take_it_back(
    request_: Request, is_one: bool
) -> None:
    assert (decode(encode(request_)) == request_) is is_one


@pytest.mark.parametrize(
    ("action", "outcomes", "is_back"),
    [(REPLACE, {"rolled_back", "frozen"}, True), (COMPROMISED, {"failed_forward", "frozen"}, False)],
)
def test_a_replacement_that_fails_is_undone_but_never_onto_a_key_that_was_given_up(
    web: ProposalBench, action: ActionRequest, outcomes: set[str], is_back: bool
) -> None:
    web.configure("approve", "/bin/false")
    web.put(fresh())
    answer = web.ask(Verb.CARRY_OUT, action)
    assert answer["endings"][-1]["outcome"] in outcomes, answer
    assert (Path(web.site.key).read_bytes() == web.old.key_pem()) is is_back


@pytest.mark.parametrize("live", [False, True], ids=["at boot", "live"])
@pytest.mark.parametrize("at", [Event.SWITCHED, Event.CONFIG_TESTED])
def test_recovery_brings_no_key_back_that_was_given_up(web: ProposalBench, at: Event, live: bool) -> None:
    new = fresh()
    web.put(new)
    web.killed(at, COMPROMISED)
    with actor_context(read_trust_context(web.config)[0]) as context:
        (ending,) = handle(Work(context, "recovery", services_run=live), Request(Verb.RECOVER))["endings"]
    assert ending["outcome"] in {"committed", "failed_forward"}, ending
    assert Path(web.site.key).read_bytes() == new.key_pem()
    assert new.pem() in Path(web.site.certificate).read_bytes()


def test_recovery_does_bring_back_a_key_that_is_not_given_up(web: ProposalBench) -> None:
    web.put(fresh())
    web.killed(Event.SWITCHED, REPLACE)
    web.configure("approve", "/bin/false")
    with actor_context(read_trust_context(web.config)[0]) as context:
        handle(Work(context, "recovery", services_run=False), Request(Verb.RECOVER))
    assert Path(web.site.key).read_bytes() == web.old.key_pem()


def test_the_commands_give_a_key_up_say_so_in_backups_and_take_it_back(web: ProposalBench) -> None:
    config = ("--config", f"{web.directory}/certvigil.yaml")
    web.put(fresh())
    ran = certvigil("replace", "web", "--key-compromised", *config)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (key,) = web.journal_state().given_up
    assert f"{key} is given up" in "".join((ran.stdout + ran.stderr).splitlines())
    assert "never given back" in certvigil("backups", *config).stdout
    ran = certvigil("reset-to-default", "web", *config)
    assert ran.returncode == 1
    assert "key_given_up" in ran.stdout
    assert "key_given_up" in certvigil("audit", *config).stdout
    assert "reinstated" in certvigil("recover", "--reinstate-key", key[:12], *config).stdout
    assert certvigil("reset-to-default", "web", *config).returncode == 0


# Plans that wait


def test_plans_wait_side_by_side_and_none_pushes_out_another(web: ProposalBench) -> None:
    first, second = fresh(), fresh()
    web.put(first)
    one = web.propose()
    web.put(second)
    two = web.propose()
    assert list(web.journal_state().proposals) == [one, two]
    shown = {each["hash"]: each["shown"] for each in web.ask(Verb.PLAN, REPLACE)["waiting"]}
    assert set(shown) == {one, two}
    assert shown[one] != shown[two]
    assert "DNS:www.example.com" in shown[one]
    assert "the plan is another by now" in web.ask(Verb.APPROVE, plan=one)["cannot"]
    web.put(first)
    assert web.ask(Verb.APPROVE, plan=one)["approved"] == one


def test_what_is_put_into_use_makes_the_other_plans_for_the_component_another(web: ProposalBench) -> None:
    web.put(fresh())
    web.propose()
    web.replaced(fresh())
    assert not web.journal_state().proposals


def test_so_many_plans_wait_and_those_that_still_hold_are_kept(web: ProposalBench) -> None:
    web.put(fresh())
    approved = web.propose()
    web.ask(Verb.APPROVE, plan=approved)
    plans = [approved]
    for _ in range(MOST_PLANS):
        web.put(fresh())
        plans.append(web.propose())
    waiting = list(web.journal_state().proposals)
    assert len(waiting) == MOST_PLANS
    assert waiting == [approved, *plans[2:]], "the oldest that is another plan by now has gone, and was withdrawn"
    assert len(web.events(Event.WITHDRAWN)) == 1


def test_where_every_plan_that_waits_still_holds_there_is_no_room_for_more(web: ProposalBench) -> None:
    for _ in range(MOST_PLANS + 1):
        web.replaced(fresh())
    sets = [each["set"] for each in web.ask(Verb.BACKUPS)["sets"]]
    plans = [web.propose(ActionRequest(Kind.ROLLBACK, ("web",), each)) for each in sets[:MOST_PLANS]]
    one_more = ActionRequest(Kind.ROLLBACK, ("web",), sets[MOST_PLANS])
    assert grounds(web.ask(Verb.PROPOSE, one_more)) == ["too_many_plans"]
    assert list(web.journal_state().proposals) == plans
    web.put(fresh())
    web.propose(), "another kind has room of its own"


def test_proposals_that_change_nothing_are_not_appended(web: ProposalBench) -> None:
    web.replaced(fresh())
    web.put(fresh())
    back = ActionRequest(Kind.ROLLBACK, ("web",), "default")
    plans = {web.propose(), web.propose(back)}
    for number in range(20):
        losing = ActionRequest(Kind.REPLACE, ("web",), losses=(f"nobody{number}",))
        assert web.propose(losing) in plans, "clients that are not lost make no other plan"
        assert web.propose(back) in plans
        web.ask(Verb.PROPOSE, ACTIVATE)
    assert len(web.events(Event.PROPOSED)) == len(web.journal_state().proposals) <= 3
    assert not web.events(Event.WITHDRAWN)


# What a person rejected


def test_the_daemon_has_only_so_much_written_about_a_component_within_an_hour_and_a_person_is_heard(
    web: ProposalBench,
) -> None:
    pace = Pace(most_records=4)
    request = Request(Verb.PROPOSE, REPLACE)
    for _ in range(4):
        web.put(fresh())
        assert "plan" in web.ask_as_daemon(request, pace)
    web.put(fresh())
    for verb in (Verb.PROPOSE, Verb.CARRY_OUT):
        answer = web.ask_as_daemon(Request(verb, REPLACE), pace)
        assert "too much was asked about web within the hour: an operator may ask" in answer["cannot"]
    (first, *_) = web.journal_state().proposals
    for verb in (Verb.APPROVE, Verb.REJECT):
        assert "too much was asked about web" in web.ask_as_daemon(Request(verb, plan=first), pace)["cannot"]
    assert len(web.journal_state().proposals) == 4
    assert "plan" in web.ask_as_daemon(Request(Verb.PLAN, REPLACE), pace)
    assert "plan" in web.ask(Verb.PROPOSE, REPLACE)
    assert pace.wait(("web",), AnHourLater()) == 0.0


def test_the_daemon_cannot_have_a_recovery_tried_more_often_than_it_is_tried_unasked(web: ProposalBench) -> None:
    pace = Pace()
    web.put(fresh())
    web.ask_as_daemon(Request(Verb.CARRY_OUT, REPLACE), pace)
    web.killed(Event.SWITCHED, REPLACE)
    web.ask_as_daemon(Request(Verb.CARRY_OUT, REPLACE), pace)
    assert len(web.journal_state().unfinished) == 1
    assert web.events(Event.RECOVERING) == []
    web.ask_as_daemon(Request(Verb.CARRY_OUT, REPLACE), Pace())
    assert web.journal_state().unfinished == {}


@pytest.mark.parametrize("at", [Event.BEGIN, Event.COMMITTED])
def test_a_plan_amid_a_transaction_says_that_one_is_under_way(web: ProposalBench, at: Event) -> None:
    web.put(fresh())
    assert "under_way" not in web.ask(Verb.PLAN, REPLACE)
    web.killed(at, REPLACE)
    assert web.ask(Verb.PLAN, REPLACE, ALONE)["under_way"] == ["web"]
    web.ask(Verb.RECOVER)
    assert "under_way" not in web.ask(Verb.PLAN, REPLACE, ALONE)


def test_a_rejection_is_of_the_candidate_and_not_of_the_hash_of_a_moment(web: ProposalBench) -> None:
    unwanted = fresh()
    web.put(unwanted)
    plan = web.propose()
    os.chmod(web.site.certificate, 0o640)
    other = web.propose()
    assert other != plan, "the same candidate by another hash"
    web.ask(Verb.REJECT, plan=plan, why="not before the release")
    assert not web.journal_state().proposals, "the same by another plan is not wanted either"
    os.chmod(web.site.certificate, 0o600)
    answer = web.ask(Verb.PROPOSE, REPLACE)
    assert grounds(answer) == ["rejected"]
    assert "not before the release" in answer["refused"]["objections"][0]["detail"]
    web.configure("auto")
    assert grounds(web.ask(Verb.CARRY_OUT, REPLACE, ALONE)) == ["rejected"]
    assert grounds(web.ask(Verb.CARRY_OUT, REPLACE, APPROVED)) == ["rejected"]
    web.configure("approve")
    web.put(fresh())
    web.propose()
    web.put(unwanted)
    assert web.ask(Verb.CARRY_OUT, REPLACE)["endings"][-1]["outcome"] == "committed", "an operator may change his mind"


def test_a_rejected_rollback_is_of_its_set_and_bars_no_replacement(web: ProposalBench) -> None:
    web.replaced(fresh())
    undone = web.journal_state().last["web"].transaction
    action = ActionRequest(Kind.ROLLBACK, ("web",), undone)
    web.ask(Verb.REJECT, plan=web.propose(action))
    assert grounds(web.ask(Verb.PROPOSE, action)) == ["rejected"]
    assert (Kind.ROLLBACK, "web", undone) in web.journal_state().rejected
    web.replaced(fresh())
    web.propose(ActionRequest(Kind.ROLLBACK, ("web",), web.journal_state().last["web"].transaction))


def test_an_approval_ends_with_the_plan_that_is_withdrawn() -> None:
    action = ActionRequest(Kind.REPLACE, ("web",)).to_json()
    story = [
        Record(1.0, "", Event.PROPOSED, {"hash": "a" * 64, "action": action}),
        Record(2.0, "", Event.APPROVED, {"hash": "a" * 64, "by": "alice"}),
        Record(3.0, "", Event.WITHDRAWN, {"hash": "a" * 64, "action": action}),
        Record(4.0, "", Event.PROPOSED, {"hash": "a" * 64, "action": action}),
    ]
    journal_state = JournalState.of(story)
    assert list(journal_state.proposals) == ["a" * 64]
    assert journal_state.approved == {}


def test_the_journal_is_taken_in_once_until_somebody_writes_to_it(
    web: ProposalBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[JournalState] = []
    make = JournalState.__init__

    def counted(journal_state: JournalState) -> None:
        made.append(journal_state)
        make(journal_state)

    web.replaced(fresh())
    web.put(fresh())
    with actor_context(read_trust_context(web.config)[0]) as context:
        monkeypatch.setattr(JournalState, "__init__", counted)
        first = context.journal_state()
        handle(Work(context, "daemon", role=Role.DAEMON), Request(Verb.PLAN, REPLACE))
        assert len(made) == 1
        proposed = handle(Work(context, "alice"), Request(Verb.PROPOSE, REPLACE))["plan"]["hash"]
        assert proposed in context.journal_state().proposals
        assert first.proposals == {}, "whoever has a state keeps it"
        web.ask(Verb.REJECT, plan=proposed)
        assert proposed not in context.journal_state().proposals, "what others write counts, too"
