"""What the actor lets the daemon do without a person: what was replaced as one is undone as one, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from actions.ending import Cause, Outcome
from actions.journal_state import ActionRequest, JournalState, RecordedEnding
from actions.plan import Kind
from config.load import load
from config.model import ComponentGroup, Config
from config.policy import CandidatePresent, Policy, PolicyMatch, Replace
from monitor.actor.authority import Role, min_lifetime_of, objection
from monitor.actor.handlers import HANDLERS, unusable
from monitor.actor.request import CONFIRMS, Request, Verb

NOW = 1_800_000_000.0
PLAN = "a" * 64


@pytest.fixture
def config(tmp_path: Path) -> Config:
    def component(name: str) -> dict[str, object]:
        return {
            "artefacts": {"certificate": f"/etc/{name}.crt", "key": f"/etc/{name}.key"},
            "service": {"test": ["/bin/true"], "restart": ["/bin/true"]},
            "mode": "approve",
        }

    path = tmp_path / "certvigil.yaml"
    path.write_text(json.dumps({"components": {name: component(name) for name in ("console", "portal", "engine")}}))
    made = load(str(path), {})
    assert isinstance(made, Config), made
    return made


def ended(transaction: str, *components: str, kind: Kind = Kind.REPLACE) -> RecordedEnding:
    return RecordedEnding(
        transaction=transaction,
        components=components,
        outcome=Outcome.COMMITTED,
        cause=Cause.NONE,
        reason="",
        at=NOW - 60,
        began=NOW - 60,
        kind=kind,
        plan="p",
        by="daemon",
    )


def journal_state(*endings: RecordedEnding) -> JournalState:
    made = JournalState()
    for each in endings:
        for name in each.components:
            made.last[name] = each
    return made


BOTH = journal_state(ended("t1", "console", "portal"))


@pytest.mark.parametrize(
    ("components", "done", "allowed"),
    [
        pytest.param(("console", "portal"), BOTH, True, id="both of both"),
        pytest.param(("console",), BOTH, False, id="one of both"),
        pytest.param(("console", "portal", "engine"), BOTH, False, id="more than it was of"),
        pytest.param(("console",), journal_state(ended("t1", "console")), True, id="one of one"),
        pytest.param(
            ("console", "portal"),
            journal_state(ended("t1", "console", "portal"), ended("t2", "portal")),
            False,
            id="one was changed since",
        ),
        pytest.param(
            ("console", "portal"), journal_state(ended("t1", "console"), ended("t1", "portal")), False, id="never one"
        ),
    ],
)
def test_the_daemon_undoes_all_that_was_replaced_as_one(
    config: Config, components: tuple[str, ...], done: JournalState, allowed: bool
) -> None:
    request = Request(Verb.CARRY_OUT, ActionRequest(Kind.ROLLBACK, components, "t1"), PLAN)
    assert (objection(Role.DAEMON, request, config, done) is None) is allowed


@pytest.mark.parametrize("kind", [Kind.REPLACE, Kind.ACTIVATE])
def test_nothing_else_is_done_by_the_daemon_to_several_at_once(config: Config, kind: Kind) -> None:
    request = Request(Verb.CARRY_OUT, ActionRequest(kind, ("console", "portal")), PLAN)
    assert "one component" in (objection(Role.DAEMON, request, config, BOTH) or "")


def test_what_no_rule_permits_the_daemon_is_for_an_operator(config: Config) -> None:
    """A verb that is added is not permitted to the daemon until a rule says so."""
    permitted = {Verb.STATE, Verb.FOLLOW, Verb.PLAN, Verb.PROPOSE, Verb.READ, Verb.CARRY_OUT}
    permitted |= {Verb.OFFER, Verb.OFFERS, Verb.WITHDRAW}
    for verb in set(Verb) - permitted:
        assert objection(Role.DAEMON, Request(verb), config, BOTH) == (
            f"the daemon may not ask for '{verb}': that is for an operator"
        )
        assert objection(Role.OPERATOR, Request(verb), config, BOTH) is None


def test_each_verb_that_is_an_act_has_a_handler() -> None:
    looks = {Verb.STATE, Verb.READ, Verb.FOLLOW, Verb.AUDIT}
    assert set(HANDLERS) == set(Verb) - looks


def test_only_what_changes_a_service_needs_one(config: Config) -> None:
    console = config.components["console"]
    watched = replace(config, components={"console": replace(console, service=None)})
    told = {verb: unusable(watched, Request(verb, components=("console",))) for verb in (Verb.RECOVER, Verb.BACKUPS)}
    assert told == {
        Verb.RECOVER: "component console has no 'service' in the configuration: certvigil only watches it",
        Verb.BACKUPS: None,
    }
    for verb in Verb:
        what = "trust store" if verb in {*CONFIRMS, Verb.TRUST} else "component"
        assert f"there is no {what}" in (unusable(watched, Request(verb, components=("none",))) or "")


@pytest.mark.parametrize("verb", sorted(CONFIRMS))
def test_only_an_operator_says_what_a_trust_store_of_other_machines_holds(config: Config, verb: Verb) -> None:
    request = Request(verb, components=("windows",), key="ab" * 32)
    assert objection(Role.OPERATOR, request, config, BOTH) is None
    assert f"the daemon may not ask for '{verb}'" in (objection(Role.DAEMON, request, config, BOTH) or "")
    assert objection(Role.STRANGER, request, config, BOTH) is not None


@pytest.mark.parametrize("verb", [Verb.PLAN, Verb.PROPOSE, Verb.CARRY_OUT])
def test_only_an_operator_says_that_a_certificate_may_last_for_less(config: Config, verb: Verb) -> None:
    request = Request(verb, ActionRequest(Kind.REPLACE, ("console",), allow_shorter=True), PLAN)
    assert "for an operator to say" in (objection(Role.DAEMON, request, config, BOTH) or "")
    assert objection(Role.OPERATOR, request, config, BOTH) is None


@pytest.mark.parametrize(
    ("own", "policies", "asking", "expected"),
    [
        (None, [], None, None),
        (30.0, [], None, 30.0),
        (30.0, [10.0], 0, 10.0),
        (30.0, [60.0], 0, 60.0),
        (30.0, [None], 0, 30.0),
        (None, [None], 0, None),
        (30.0, [60.0, 10.0], None, 10.0),
        (30.0, [60.0, None], None, 30.0),
        (None, [60.0], None, 60.0),
    ],
)
def test_how_long_a_certificate_must_last_is_said_by_the_policy_that_asks_for_it_else_by_the_component(
    config: Config, own: float | None, policies: list[float | None], asking: int | None, expected: float | None
) -> None:
    made = tuple(
        Policy(f"p{number}", CandidatePresent(), Replace((), each), match=PolicyMatch(("console",)))
        for number, each in enumerate(policies)
    )
    another = Policy("another", CandidatePresent(), Replace((), 1.0), match=PolicyMatch(("portal",)))
    policy = None if asking is None else made[asking]
    component = replace(config.components["console"], min_lifetime=own)
    assert min_lifetime_of(replace(config, policies=(*made, another)), component, policy) == expected


def grouped(config: Config) -> Config:
    return replace(config, groups={"primary": ComponentGroup("primary", ("console", "portal"))})


@pytest.mark.parametrize(
    ("components", "allowed"),
    [
        pytest.param(("console", "portal"), True, id="a whole group"),
        pytest.param(("engine",), True, id="a component of no group"),
        pytest.param(("console", "engine", "portal"), False, id="a group and another"),
    ],
)
@pytest.mark.parametrize("verb", [Verb.CARRY_OUT, Verb.PROPOSE])
def test_the_daemon_may_ask_for_a_group_as_for_a_component(
    verb: Verb, components: tuple[str, ...], allowed: bool, config: Config
) -> None:
    plan = PLAN if verb is Verb.CARRY_OUT else ""
    request = Request(verb, ActionRequest(Kind.REPLACE, components), plan)
    said = objection(Role.DAEMON, request, grouped(config), JournalState())
    assert (said is None) is allowed, said


@pytest.mark.parametrize(
    ("done", "allowed"),
    [
        pytest.param(journal_state(ended("t1", "console", "portal")), True, id="both"),
        pytest.param(journal_state(ended("t1", "portal")), True, id="one, before they made a group"),
        pytest.param(
            journal_state(ended("t1", "portal"), replace(ended("t2", "console"), at=NOW)), False, id="not the last"
        ),
        pytest.param(journal_state(ended("t1", "portal", "engine")), False, id="with another component"),
        pytest.param(journal_state(ended("t1", "portal", kind=Kind.ACTIVATE)), False, id="no replacement"),
    ],
)
def test_the_daemon_undoes_the_last_replacement_of_a_group_as_one(
    done: JournalState, allowed: bool, config: Config
) -> None:
    request = Request(Verb.CARRY_OUT, ActionRequest(Kind.ROLLBACK, ("console", "portal"), "t1"), PLAN)
    assert (objection(Role.DAEMON, request, grouped(config), done) is None) is allowed
