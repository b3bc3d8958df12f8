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
from monitor.decide.decision import Standing, kind_of
from monitor.decide.engine import decide
from monitor.decide.leave import joins, leave, shut
from monitor.decide.seen import as_seen
from monitor.decide.situation import Accepts, Result, Situation
from tests.monitor.decide_kit import ACTIVATE, HOUR, NOW, ROLLBACK, attempt, candidate, found, has, policy, situation

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
        situation(attempts=(REPLACED,), findings=(replace(found(Code.EXPIRED), live=False),)),
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
    acting = [each.what for each in decide(seen, [rule], NOW).decisions if each.standing is Standing.ACT]
    assert (what in acting) is (not why), "the daemon decides the same"


def test_an_action_that_no_policy_names_has_nobodys_leave() -> None:
    assert "no policy has rollback done to web" in leave(Kind.ROLLBACK, "t1", worse(NOW - 60), [USE], NOW).why


def test_a_policy_for_another_component_gives_no_leave() -> None:
    other = replace(USE, match=replace(USE.match, components=("mail",)))
    assert "no policy has replace done to web" in leave(Kind.REPLACE, "new", OFFERED, [other], NOW).why


def test_what_a_person_approved_waits_for_its_window_and_for_nothing_else() -> None:
    rule = replace(USE, mode=Mode.APPROVE, windows=(CLOSED,))
    assert "its window, which opens at 2027-01-16 02:00:00Z" in shut(Kind.REPLACE, situation(), [rule], NOW)
    assert not shut(Kind.REPLACE, situation(), [replace(rule, windows=())], NOW)
    assert not shut(Kind.ACTIVATE, situation(), [rule], NOW)


def test_another_component_joins_an_undoing_only_by_leave_of_its_own() -> None:
    assert not joins(Kind.ROLLBACK, situation(), [UNDO], NOW)
    assert joins(Kind.ROLLBACK, situation(), [replace(UNDO, mode=Mode.APPROVE)], NOW)
    assert joins(Kind.ROLLBACK, situation(), [replace(UNDO, windows=(CLOSED,))], NOW)
    assert joins(Kind.ROLLBACK, situation(contested="twice"), [UNDO], NOW) == "twice"


def test_a_group_of_findings_counts_as_far_as_it_is_seen() -> None:
    group = replace(has(Code.NOT_SERVED), codes=frozenset({Code.NOT_SERVED, Code.UNSETTLED}), named="state")
    assert as_seen(group) == replace(group, codes=frozenset({Code.NOT_SERVED}))
