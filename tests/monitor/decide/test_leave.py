"""May this be done without a person, now? One rule, by a table, for the daemon and for the actor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from actions.plan import Kind
from config.model import AllowedIssuer
from config.policy import (
    AllOf,
    CandidatePresent,
    ClientRejects,
    FailedAttempts,
    Not,
    Policy,
    Regressed,
    RemainingBelow,
    Replace,
    Window,
    days_left,
)
from config.vocabulary import Code, Mode
from monitor.decide.decision import DecisionStatus, kind_of
from monitor.decide.engine import decide
from monitor.decide.leave import joins, leave
from monitor.decide.seen import as_seen
from monitor.decide.situation import Accepts, Result, Said, Situation
from tests.kit.situations import ACTIVATE, HOUR, NOW, ROLLBACK, attempt, candidate, found, has, policy, situation

REPLACE: Final = Replace((AllowedIssuer("corporate"),))
CLOSED: Final = Window("0 2 * * *", HOUR)
"""It is 8 o'clock."""
USE: Final = policy(CandidatePresent(), REPLACE)
OFFERED: Final = situation(candidate=candidate())
REPLACED: Final = attempt(
    what="new",
    ended=NOW - 1800,
    result=Result.COMMITTED,
    transaction="t1",
    leaf="old",
    accepted=frozenset({("browser", "web/443")}),
)
UNDO: Final = policy(Regressed(HOUR), ROLLBACK)


def worse(since: float, **more: Any) -> Situation:
    """Return a component of which a client no longer accepts what the last replacement installed."""
    edges = (Accepts("browser", "web/443", False, since),)
    return situation(**{"attempts": (REPLACED,), "edges": edges, "apart": 60.0, **more})


ROWS: Final[Sequence[tuple[str, Situation, Policy, str, str]]] = [
    ("a candidate by a policy that wants it", OFFERED, USE, "new", ""),
    ("the component is only observed", replace(OFFERED, mode=Mode.OBSERVE), USE, "new", "observe"),
    ("the policy asks a person", OFFERED, replace(USE, mode=Mode.APPROVE), "new", "await_approval"),
    ("the policy only plans", OFFERED, replace(USE, mode=Mode.PLAN), "new", "plan"),
    (
        "nobody says whose certificates",
        replace(OFFERED, allowed_issuers=False),
        replace(USE, action=Replace()),
        "new",
        "await_approval",
    ),
    ("the window is shut", OFFERED, replace(USE, windows=(CLOSED,)), "new", "await_window"),
    ("the window is open", OFFERED, replace(USE, windows=(Window("0 7 * * *", 2 * HOUR),)), "new", ""),
    (
        "the window is overridden by what is seen",
        replace(OFFERED, findings=(found(Code.EXPIRED),)),
        replace(USE, windows=(CLOSED,), override_window_when=has(Code.EXPIRED)),
        "new",
        "",
    ),
    (
        "the window is overridden by what is not seen",
        replace(OFFERED, findings=(found(Code.DAEMON_UNSTABLE),)),
        replace(USE, windows=(CLOSED,), override_window_when=has(Code.DAEMON_UNSTABLE)),
        "new",
        "await_window",
    ),
    ("another candidate", OFFERED, USE, "another", "comes first"),
    ("no candidate", situation(), USE, "new", "no candidate"),
    (
        "enough of the lifetime is left",
        OFFERED,
        replace(USE, when=AllOf((CandidatePresent(), RemainingBelow(days_left(7))))),
        "new",
        "does not call for it",
    ),
    (
        "a finding that is too new",
        replace(OFFERED, findings=(found(Code.EXPIRING, NOW - 600),)),
        replace(USE, when=has(Code.EXPIRING, HOUR)),
        "new",
        "ask again after 2027-01-15 08:50:00Z",
    ),
    (
        "a finding that has lasted",
        replace(OFFERED, findings=(found(Code.EXPIRING, NOW - 2 * HOUR),)),
        replace(USE, when=has(Code.EXPIRING, HOUR)),
        "new",
        "",
    ),
    (
        "a finding that the actor does not see",
        replace(OFFERED, findings=(found(Code.DAEMON_UNSTABLE),)),
        replace(USE, when=has(Code.DAEMON_UNSTABLE)),
        "new",
        "the actor does not see 'daemon_unstable' itself",
    ),
    (
        "the absence of a finding that the actor does not see",
        OFFERED,
        replace(USE, when=AllOf((CandidatePresent(), Not(has(Code.DAEMON_UNSTABLE))))),
        "new",
        "the actor does not see",
    ),
    (
        "the absence of a finding that it sees",
        OFFERED,
        replace(USE, when=AllOf((CandidatePresent(), Not(has(Code.WEAK_KEY))))),
        "new",
        "",
    ),
    (
        "the absence of a finding where it did not see everything",
        replace(OFFERED, unreached=True),
        replace(USE, when=AllOf((CandidatePresent(), Not(ClientRejects())))),
        "new",
        "not every endpoint was reached",
    ),
    ("it has just failed", replace(OFFERED, attempts=(attempt(ended=NOW - 10),)), USE, "new", "await_retry"),
    (
        "it has failed too often, and that is a policy's reason",
        replace(OFFERED, attempts=(attempt(ended=NOW - 2 * HOUR),)),
        replace(USE, when=FailedAttempts(3)),
        "new",
        "does not call for it",
    ),
    ("it is frozen", replace(OFFERED, held="it is frozen"), USE, "new", "frozen"),
    ("somebody else changes it, too", replace(OFFERED, contested="twice"), USE, "new", "twice"),
    ("nothing got worse", situation(attempts=(REPLACED,)), UNDO, "t1", "nobody is worse off"),
    ("something got worse, seen once", worse(NOW), UNDO, "t1", "ask again after 2027-01-15 08:01:00Z"),
    ("something got worse, seen for a minute", worse(NOW - 60), UNDO, "t1", ""),
    ("that is no evidence", worse(NOW - 60, unproven="it was not reached"), UNDO, "t1", "it was not reached"),
    ("the replacement is too old", worse(NOW - 60), replace(UNDO, when=Regressed(600)), "t1", "does not call for it"),
    ("another transaction is to be undone", worse(NOW - 60), UNDO, "t0", "comes first"),
    (
        "what was replaced as one with others that were changed since",
        worse(NOW - 60, attempts=(replace(REPLACED, undoable=False),)),
        UNDO,
        "t1",
        "does not call for it",
    ),
    (
        "a rollback for a finding in a file",
        situation(attempts=(REPLACED,), findings=(replace(found(Code.EXPIRED), at_endpoint=False),)),
        policy(has(Code.EXPIRED), ROLLBACK),
        "t1",
        "nobody is worse off",
    ),
    (
        "what is on disk is not served",
        situation(findings=(found(Code.NOT_SERVED),)),
        policy(has(Code.NOT_SERVED), ACTIVATE),
        "old",
        "",
    ),
]


@pytest.mark.parametrize(("seen", "rule", "what", "why"), [pytest.param(*each[1:], id=each[0]) for each in ROWS])
def test_what_may_be_done_without_a_person_is_one_rule(seen: Situation, rule: Policy, what: str, why: str) -> None:
    assert rule.action is not None
    given = leave(kind_of(rule.action), what, seen, [rule], NOW)
    assert (given.policy is rule) is (not why), given.why
    assert why in given.why
    acting = [each.what for each in decide(seen, [rule], NOW).decisions if each.status is DecisionStatus.ACT]
    assert (what in acting) is (not why), "the daemon decides the same"


def test_an_action_that_no_policy_names_has_nobodys_leave() -> None:
    assert "no policy has rollback done to web" in leave(Kind.ROLLBACK, "t1", worse(NOW - 60), [USE], NOW).why


def test_a_policy_for_another_component_gives_no_leave() -> None:
    other = replace(USE, match=replace(USE.match, components=("mail",)))
    assert "no policy has replace done to web" in leave(Kind.REPLACE, "new", OFFERED, [other], NOW).why


def word(kind: Kind, what: str, *, approved: bool = True, until: float = NOW + HOUR) -> Said:
    return Said(kind, what, approved, until, "alice")


YES: Final = word(Kind.REPLACE, "new")
APPROVED: Final = replace(OFFERED, said=(YES,))
ASK: Final = replace(USE, mode=Mode.APPROVE)
AFTER_APPROVAL: Final[Sequence[tuple[str, Situation, Policy, str]]] = [
    ("a candidate by a policy that asks a person", APPROVED, ASK, ""),
    ("nobody says whose certificates", replace(APPROVED, allowed_issuers=False), replace(ASK, action=Replace()), ""),
    ("the component is only observed", replace(APPROVED, mode=Mode.OBSERVE), ASK, "observe"),
    ("the policy only plans", APPROVED, replace(ASK, mode=Mode.PLAN), "plan"),
    (
        "the window is shut",
        APPROVED,
        replace(ASK, windows=(CLOSED,)),
        "its window, which opens at 2027-01-16 02:00:00Z",
    ),
    ("the window is open", APPROVED, replace(ASK, windows=(Window("0 7 * * *", 2 * HOUR),)), ""),
    ("the approval has expired", replace(OFFERED, said=(replace(YES, until=NOW),)), ASK, "await_approval"),
    ("another candidate was approved", replace(OFFERED, said=(word(Kind.REPLACE, "old"),)), ASK, "await_approval"),
    ("another kind was approved", replace(OFFERED, said=(word(Kind.ROLLBACK, "new"),)), ASK, "await_approval"),
    ("a person said no", replace(OFFERED, said=(word(Kind.REPLACE, "new", approved=False),)), ASK, "rejected"),
    ("a person said no to what needs nobody", replace(OFFERED, said=(replace(YES, approved=False),)), USE, "rejected"),
    ("no candidate", situation(said=(YES,)), ASK, "no candidate"),
    (
        "enough of the lifetime is left",
        APPROVED,
        replace(ASK, when=AllOf((CandidatePresent(), RemainingBelow(days_left(7))))),
        "does not call for it",
    ),
    (
        "a finding that is too new",
        replace(APPROVED, findings=(found(Code.EXPIRING, NOW - 600),)),
        replace(ASK, when=has(Code.EXPIRING, HOUR)),
        "ask again after 2027-01-15 08:50:00Z",
    ),
    ("a finding that is not there", APPROVED, replace(ASK, when=has(Code.EXPIRING)), "does not call for it"),
    (
        "a finding that the actor cannot see, which that person answers for",
        APPROVED,
        replace(ASK, when=has(Code.DAEMON_UNSTABLE)),
        "",
    ),
    (
        "the same where the mode asks nobody",
        APPROVED,
        replace(USE, when=has(Code.DAEMON_UNSTABLE)),
        "",
    ),
    (
        "what the actor cannot see does not make up for what it sees",
        APPROVED,
        replace(ASK, when=AllOf((has(Code.DAEMON_UNSTABLE), RemainingBelow(days_left(7))))),
        "does not call for it",
    ),
    ("an endpoint was not reached", replace(APPROVED, unreached=True), replace(ASK, when=ClientRejects()), ""),
    ("it has just failed", replace(APPROVED, attempts=(attempt(ended=NOW - 10),)), ASK, "await_retry"),
    ("it is frozen", replace(APPROVED, held="it is frozen"), ASK, "frozen"),
    ("somebody else changes it, too", replace(APPROVED, contested="twice"), ASK, "twice"),
    ("its key was given up", replace(APPROVED, given_up="its key was given up"), ASK, "its key was given up"),
    ("its key was given up, and nobody asked", replace(OFFERED, given_up="given up"), USE, "given up"),
]


@pytest.mark.parametrize(("seen", "rule", "why"), [pytest.param(*each[1:], id=each[0]) for each in AFTER_APPROVAL])
def test_what_a_person_approved_is_done_only_as_a_policy_would_have_it_done_now(
    seen: Situation, rule: Policy, why: str
) -> None:
    given = leave(Kind.REPLACE, "new", seen, [rule], NOW)
    assert (given.policy is not None) is (not why), given.why
    assert why in given.why


def test_an_approved_plan_whose_replacement_is_too_old_is_not_undone() -> None:
    rule = replace(UNDO, mode=Mode.APPROVE, when=Regressed(600))
    assert (
        "does not call for it"
        in leave(Kind.ROLLBACK, "t1", worse(NOW - 60, said=(word(Kind.ROLLBACK, "t1"),)), [rule], NOW).why
    )


def test_what_a_person_rejected_does_not_keep_the_next_policy_from_acting() -> None:
    seen = replace(OFFERED, findings=(found(Code.NOT_SERVED),), said=(word(Kind.ACTIVATE, "old", approved=False),))
    rules = [policy(has(Code.NOT_SERVED), ACTIVATE, "first"), USE]
    assert [each.status for each in decide(seen, rules, NOW).decisions] == [
        DecisionStatus.REJECTED,
        DecisionStatus.ACT,
    ]
    assert leave(Kind.REPLACE, "new", seen, rules, NOW).policy is USE


def test_another_component_joins_an_undoing_only_by_leave_of_its_own() -> None:
    ask = replace(UNDO, mode=Mode.APPROVE)
    yes, no = (situation(said=(word(Kind.ROLLBACK, "t1", approved=each),)) for each in (True, False))

    def against(other: Situation, rule: Policy) -> str:
        return joins(Kind.ROLLBACK, "t1", other, [rule], NOW)

    assert not against(situation(), UNDO)
    assert against(situation(), ask)
    assert not against(yes, ask)
    assert "alice rejected it" in against(no, UNDO)
    assert against(situation(), replace(UNDO, windows=(CLOSED,)))
    assert against(yes, replace(ask, windows=(CLOSED,)))
    assert against(situation(contested="twice"), UNDO) == "twice"
    assert against(replace(yes, given_up="its key was given up"), ask) == "its key was given up"


def test_a_group_of_findings_counts_as_far_as_it_is_seen() -> None:
    group = replace(has(Code.NOT_SERVED), codes=frozenset({Code.NOT_SERVED, Code.UNSETTLED}), named="state")
    assert as_seen(group) == replace(group, codes=frozenset({Code.NOT_SERVED}))
