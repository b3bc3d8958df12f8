from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.plan import Kind
from config.model import DAY
from config.policy import AllOf, AnyOf, Check, Not, Notify, Policy, Regressed, RemainingBelow, Window, days_left
from config.vocabulary import Code, Mode
from monitor.decide.check import NEVER, evaluate
from monitor.decide.decision import Decision, DecisionStatus, kind_of
from monitor.decide.engine import applicable, decide
from monitor.decide.situation import Attempt, Result, Situation
from monitor.decide.table import DecisionTable
from tests.kit.examples import examples
from tests.kit.policies import checks, leaves, policies
from tests.kit.situations import (
    ACTIVATE,
    CODES,
    HOUR,
    NOW,
    REPLACE,
    ROLLBACK,
    attempt,
    candidate,
    found,
    has,
    policy,
    situation,
    situations,
    validity,
)

ANY_POLICIES = st.lists(
    policies(st.sampled_from(CODES), match=False), min_size=1, max_size=6, unique_by=lambda each: each.name
)
LATER = st.floats(0, 100 * DAY)
THOROUGH = settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])

NOT_SERVED = situation(findings=(found(Code.NOT_SERVED),))
SERVE = policy(has(Code.NOT_SERVED), ACTIVATE)


def done(decision: Decision, now: float, result: Result) -> Attempt:
    assert not isinstance(decision.action, Notify)
    return attempt(kind_of(decision.action), decision.what, now, result=result)


def note(table: DecisionTable, subject: str, attempts: Iterable[Attempt]) -> None:
    known = table.situation(subject)
    assert known is not None
    table.learn(replace(known, attempts=(*known.attempts, *attempts)))


def to_act(decisions: Iterable[Decision]) -> list[Decision]:
    return [each for each in decisions if each.status is DecisionStatus.ACT]


@THOROUGH
@given(situations(), ANY_POLICIES, LATER)
def test_the_same_facts_always_give_the_same_decisions(facts: Situation, own: list[Policy], later: float) -> None:
    now = NOW + later
    assert decide(facts, own, now) == decide(replace(facts), list(own), now)


@THOROUGH
@given(st.lists(situations(), min_size=1, max_size=3), ANY_POLICIES, st.lists(LATER, min_size=1, max_size=5))
def test_what_stands_is_what_asking_every_policy_would_give(
    known: list[Situation], own: list[Policy], times: list[float]
) -> None:
    table = DecisionTable(own)
    for position, facts in enumerate(known):
        table.learn(replace(facts, subject=f"web{position}"))
    for later in times:
        now = NOW + later
        table.decide_all(now)
        for position, facts in enumerate(known):
            subject = f"web{position}"
            asked = decide(replace(facts, subject=subject), own, now).decisions
            assert [each.identity for each in table.decisions.get(subject, ())] == [each.identity for each in asked]


@THOROUGH
@given(situations(), ANY_POLICIES, LATER, st.floats(0, 1))
def test_nothing_changes_by_itself_before_the_table_says_so(
    facts: Situation, own: list[Policy], later: float, part: float
) -> None:
    table = DecisionTable(own)
    table.learn(facts)
    now = NOW + later
    table.decide(now)
    due = table.next()
    until = min(NOW + 400 * DAY, NEVER if due is None else due)
    between = now + part * (until - now)
    if now <= between < until:
        before, after = (decide(facts, own, at).decisions for at in (now, between))
        assert [each.identity for each in after] == [each.identity for each in before]


EAGER_POLICIES = st.lists(
    st.builds(
        policy,
        leaves(st.sampled_from(CODES)) | checks(st.sampled_from(CODES)),
        st.sampled_from([REPLACE, ROLLBACK, ACTIVATE]),
        st.sampled_from("abcdef"),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each.name,
)


@THOROUGH
@given(situations(), EAGER_POLICIES, st.sampled_from(Result))
def test_nothing_is_done_twice_without_a_new_reason(facts: Situation, own: list[Policy], result: Result) -> None:
    table = DecisionTable(own)
    facts = replace(facts, mode=Mode.AUTO, held="")
    table.learn(facts)
    now, end = NOW, NOW + 60 * DAY
    taken: list[str] = []
    ended: dict[tuple[Kind, str], float] = {}
    for _ in range(2000):
        decisions = table.decide(now)
        taken.extend(each.identity for each in decisions)
        for decision in to_act(decisions):
            made = done(decision, now, result)
            before = ended.get((made.kind, made.what))
            if before is not None:
                # A failure may pass, at the least a minute later; what was done needs something that came up since.
                assert result is Result.TRANSIENT or any(
                    reason.since is not None and reason.since > before for reason in decision.reasons
                )
                assert now >= before + 60 or result is not Result.TRANSIENT
            ended[made.kind, made.what] = now
            note(table, decision.subject, [made])
        if to_act(decisions):
            continue
        due = table.next()
        if due is None or due > end:
            break
        assert due > now
        now = due
    else:
        raise AssertionError("it never comes to rest")
    assert len(taken) == len(set(taken))


def is_monotonic(check: Check) -> bool:
    match check:
        case AnyOf(inner) | AllOf(inner):
            return all(map(is_monotonic, inner))
        case Not() | Regressed():
            return False
        case _:
            return True


@THOROUGH
@given(situations(), checks(st.sampled_from(CODES)).filter(is_monotonic), LATER, LATER)
def test_the_less_time_remains_the_more_holds(facts: Situation, check: Check, one: float, other: float) -> None:
    sooner, later = sorted((NOW + one, NOW + other))
    assert evaluate(check, facts, later).holds or not evaluate(check, facts, sooner).holds


@THOROUGH
@given(situations(), ANY_POLICIES)
def test_at_most_one_action_wins_and_none_before_it_could_act(facts: Situation, own: list[Policy]) -> None:
    decisions = [each for each in decide(facts, own, NOW).decisions if not isinstance(each.action, Notify)]
    passed_over = {DecisionStatus.AWAIT_CANDIDATE, DecisionStatus.SPENT}
    assert all(each.status in passed_over for each in decisions[:-1])
    alone = [
        decision
        for each in applicable(own, facts)
        for decision in decide(facts, [replace(each, notify=None)], NOW).decisions
        if each.action is not None and decision.status not in passed_over
    ]
    if alone:
        assert decisions[-1].policy == alone[0].policy


def test_a_decision_is_taken_once() -> None:
    table = DecisionTable([SERVE])
    table.learn(NOT_SERVED)
    (decision,) = table.decide(NOW)
    assert table.decide(NOW) == table.decide(NOW + 60) == table.decide_all(NOW + 120) == ()
    assert table.decisions["web"] == (decision,)


def test_a_decision_that_was_recorded_before_a_restart_is_not_taken_again() -> None:
    before = DecisionTable([SERVE])
    before.learn(NOT_SERVED)
    recorded = [(each.subject, each.identity) for each in before.decide(NOW)]
    after = DecisionTable([SERVE], recorded)
    after.learn(NOT_SERVED)
    assert after.decide(NOW + 60) == ()


def test_only_what_changed_is_decided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(policies: Sequence[Policy], facts: Situation, now: float) -> object:
        asked.append(facts.subject)
        return decide(facts, policies, now)

    monkeypatch.setattr("monitor.decide.table.decide_by", counted)
    table = DecisionTable([SERVE])
    for number in range(20):
        table.learn(replace(NOT_SERVED, subject=f"web{number}"))
    table.decide(NOW)
    assert len(asked) == 20
    asked.clear()
    table.learn(replace(NOT_SERVED, subject="web1"))
    table.learn(replace(NOT_SERVED, subject="web2", on_disk="another"))
    table.decide(NOW + 1)
    assert asked == ["web2"]


def test_what_is_due_is_decided_again_and_nothing_else() -> None:
    table = DecisionTable([policy(RemainingBelow(days_left(21)), None, notify=Notify(("ops",)))])
    for subject, left in (("web", 25), ("mail", 40)):
        table.learn(situation(subject=subject, certificate=validity(left=left)))
    assert table.decide(NOW) == ()
    due = table.next()
    assert due == NOW + 4 * DAY
    assert [each.subject for each in table.decide(due)] == ["web"]
    assert table.next() == NOW + 19 * DAY


def test_other_policies_are_asked_from_then_on() -> None:
    table = DecisionTable([SERVE])
    table.learn(NOT_SERVED)
    table.decide(NOW)
    table.set_policies([replace(SERVE, name="other", mode=Mode.APPROVE)])
    (decision,) = table.decide(NOW)
    assert (decision.policy, decision.status) == ("other", DecisionStatus.AWAIT_APPROVAL)


def test_what_is_gone_is_forgotten() -> None:
    table = DecisionTable([replace(SERVE, when=has(Code.NOT_SERVED, lasting=DAY))])
    table.learn(NOT_SERVED)
    table.decide(NOW)
    table.forget("web")
    assert table.next() is None
    assert table.decide(NOW + 2 * DAY) == table.decide_all(NOW + 2 * DAY) == ()


NIGHT = Window("0 2 * * *", 3 * HOUR)
RENEW = policy(RemainingBelow(days_left(21)), REPLACE, windows=(NIGHT,))
DUE = situation(certificate=validity(left=20), candidate=candidate())
OPEN = NOW + 18 * HOUR


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_clock_that_steps_by_an_hour_neither_silences_a_window_nor_opens_it_twice(step: float) -> None:
    table = DecisionTable([RENEW])
    table.learn(DUE)
    acted: list[float] = []
    wall, offset = NOW, 0.0
    for minute in range(48 * 60):
        # In the middle of the window, when the action was done and failed for a reason that passes.
        if minute == 18 * 60 + 30:
            offset = step
        wall = NOW + minute * 60 + offset
        for decision in to_act(table.decide(wall)):
            acted.append(wall)
            note(table, "web", [done(decision, wall, Result.COMMITTED)])
    assert acted == [OPEN]


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_window_that_the_clock_steps_into_or_over_is_not_lost(step: float) -> None:
    table = DecisionTable([RENEW])
    table.learn(DUE)
    offset = 0.0
    acted: list[float] = []
    for minute in range(48 * 60):
        if minute == 17 * 60 + 30:
            offset = step
        wall = NOW + minute * 60 + offset
        acted.extend(wall for _ in to_act(table.decide(wall)))
    # Half an hour before it opens the clock goes back, or half an hour into it.
    assert acted == [OPEN if step < 0 else OPEN + 1800]


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_people_are_not_told_again_because_the_clock_stepped(step: float) -> None:
    table = DecisionTable([policy(has(Code.NOT_SERVED, lasting=900), notify=Notify(("ops",)))])
    table.learn(NOT_SERVED)
    assert len(table.decide(NOW)) == 1
    assert table.decide_all(NOW + step) == table.decide_all(NOW + step + 60) == table.decide_all(NOW + 60) == ()


def test_what_failed_before_the_clock_was_put_back_is_tried_again_soon() -> None:
    table = DecisionTable([SERVE])
    failed = [attempt(Kind.ACTIVATE, "old", ended=NOW - each, result=Result.TRANSIENT) for each in (30, 20, 10)]
    table.learn(replace(NOT_SERVED, attempts=tuple(failed)))
    assert to_act(table.decide(NOW - HOUR))
