from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from actions.ending import Cause, Outcome
from actions.plan import Kind
from config.catalogue import GROUP_MEMBERS
from config.model import DAY, AllowedIssuer
from config.policy import (
    AllOf,
    AnyOf,
    CandidatePresent,
    ClientRejects,
    DriftOlderThan,
    FailedAttempts,
    HasFinding,
    Not,
    Notify,
    PolicyMatch,
    Regressed,
    RemainingBelow,
    Replace,
    Window,
    days_left,
    share_of_lifetime,
)
from config.shipped import shipped_policies
from config.vocabulary import Code, Group, Mode, Severity
from monitor.decide.check import awaits_look, evaluate
from monitor.decide.decision import Decision, DecisionStatus
from monitor.decide.engine import decide, matches
from monitor.decide.history import DELAYS
from monitor.decide.simulate import as_of
from monitor.decide.situation import Accepts, Approval, Attempt, LeftToPerson, Result, Situation, of_group, result_of
from tests.kit.situations import (
    ACTIVATE,
    HOUR,
    NOW,
    REPLACE,
    ROLLBACK,
    attempt,
    candidate,
    found,
    has,
    one,
    policy,
    situation,
    validity,
)

NOT_SERVED = situation(findings=(found(Code.NOT_SERVED),))
SERVE = policy(has(Code.NOT_SERVED), ACTIVATE)
DUE = situation(certificate=validity(left=20), candidate=candidate())
RENEW = policy(RemainingBelow(share_of_lifetime(0.33)), REPLACE)
ACCEPTED = frozenset({("java", "web/443")})
REPLACED = attempt(
    what="new", ended=NOW - 600, result=Result.COMMITTED, transaction="t1", leaf="new", accepted=ACCEPTED
)
WATCHED = situation(on_disk="new", attempts=(REPLACED,))
UNDO = policy(Regressed(HOUR), ROLLBACK)


def holds(check: object, facts: Situation, now: float = NOW) -> bool:
    return evaluate(check, facts, now).holds  # type: ignore[arg-type]


@pytest.mark.parametrize(("days", "left"), [(6, 2), (47, 15.5), (200, 58), (3650, 58)])
def test_a_third_that_remains_fits_every_lifetime(days: int, left: float) -> None:
    check = RemainingBelow(share_of_lifetime(0.33))
    assert not holds(check, situation(certificate=validity(days, left + 1)))
    assert holds(check, situation(certificate=validity(days, left - 1)))


def test_three_weeks_do_not_call_for_a_new_certificate_of_six_days_all_the_time() -> None:
    check = RemainingBelow(days_left(21))
    assert not holds(check, situation(certificate=validity(6, 3)))
    assert holds(check, situation(certificate=validity(6, 1.9)))
    assert holds(check, situation(certificate=validity(200, 20)))


def test_what_is_not_known_does_not_hold() -> None:
    nothing = Situation("web")
    for check in (
        RemainingBelow(days_left(21)),
        has(Code.EXPIRED),
        ClientRejects(),
        DriftOlderThan(60),
        CandidatePresent(),
        FailedAttempts(1),
        Regressed(HOUR),
    ):
        answer = evaluate(check, nothing, NOW)
        assert not answer.holds
        assert answer.reasons[0].because


def test_a_finding_counts_from_its_severity_on() -> None:
    check = HasFinding(frozenset({Code.EXPIRING}), "expiring", Severity.CRITICAL)
    assert not holds(check, situation(findings=(found(Code.EXPIRING, severity=Severity.WARNING),)))
    assert holds(check, situation(findings=(found(Code.EXPIRING, severity=Severity.CRITICAL),)))


def test_a_group_is_any_of_its_findings() -> None:
    check = HasFinding(GROUP_MEMBERS[Group.CHAIN], "chain")
    assert holds(check, situation(findings=(found(Code.INCOMPLETE_CHAIN),)))
    assert not holds(check, NOT_SERVED)


def test_a_check_is_debounced_and_says_when_it_will_hold() -> None:
    check = has(Code.NOT_SERVED, lasting=900)
    facts = situation(findings=(found(Code.NOT_SERVED, since=NOW - 600),))
    assert not holds(check, facts)
    assert evaluate(check, facts, NOW).until == NOW + 300
    assert holds(check, facts, NOW + 300)


def test_a_client_is_asked_for_by_name_or_at_all() -> None:
    facts = situation(edges=(Accepts("browser", "web/443", True, NOW), Accepts("java", "web/443", False, NOW)))
    assert holds(ClientRejects(), facts)
    assert holds(ClientRejects("java"), facts)
    assert not holds(ClientRejects("browser"), facts)
    assert not holds(ClientRejects("java", "mail"), facts)


def test_drift_counts_by_its_age() -> None:
    facts = situation(drift_since=NOW - 500)
    assert holds(DriftOlderThan(500), facts)
    assert not holds(DriftOlderThan(501), facts)


def test_a_candidate_that_was_tried_or_is_in_quarantine_is_none() -> None:
    check = CandidatePresent()
    assert holds(check, situation(candidate=candidate()))
    assert not holds(check, situation(candidate=candidate(quarantined="java was lost")))
    for result in (Result.COMMITTED, Result.FAILED_FORWARD, Result.CANDIDATE, Result.SUPERSEDED):
        assert not holds(check, situation(candidate=candidate(), attempts=(attempt(result=result),)))
    assert holds(check, situation(candidate=candidate(), attempts=(attempt(result=Result.TRANSIENT),)))


def test_what_gave_way_to_somebody_elses_set_is_no_failure() -> None:
    failed, gave_way = attempt(ended=NOW - 9 * HOUR), attempt(ended=NOW - HOUR, result=Result.SUPERSEDED)
    assert not holds(FailedAttempts(1), situation(attempts=(failed, gave_way)))


def test_failures_are_counted_since_the_last_success() -> None:
    failed = [attempt(ended=NOW - hours * HOUR) for hours in (9, 8)]
    done = attempt(Kind.ACTIVATE, ended=NOW - 7 * HOUR, result=Result.COMMITTED)
    later = [attempt(ended=NOW - hours * HOUR) for hours in (3, 2)]
    assert holds(FailedAttempts(2), situation(attempts=(*failed, done, *later)))
    assert not holds(FailedAttempts(3), situation(attempts=(*failed, done, *later)))


def test_all_any_and_not_mean_what_they_say() -> None:
    yes, no = has(Code.NOT_SERVED), has(Code.EXPIRED)
    assert holds(AnyOf((no, yes)), NOT_SERVED)
    assert not holds(AllOf((no, yes)), NOT_SERVED)
    assert holds(AllOf((yes, Not(no))), NOT_SERVED)
    assert not holds(Not(yes), NOT_SERVED)


def test_a_debounce_ends_early_rather_than_late_where_the_clock_was_put_back() -> None:
    facts = situation(findings=(found(Code.NOT_SERVED, since=NOW + HOUR),))
    assert holds(has(Code.NOT_SERVED, lasting=900), facts)
    assert evaluate(has(Code.NOT_SERVED, lasting=900), facts, NOW).until == NOW + HOUR - 60
    just_now = situation(findings=(found(Code.NOT_SERVED, since=NOW + 1),), drift_since=NOW + 1)
    assert not holds(has(Code.NOT_SERVED, lasting=900), just_now)
    assert not holds(DriftOlderThan(HOUR), just_now)


def test_every_list_of_a_match_must_match_and_one_item_of_each_is_enough() -> None:
    facts = situation(labels=MappingProxyType({"env": "prod"}), profile="nexthink-v6")
    assert matches(PolicyMatch(), facts)
    assert matches(
        PolicyMatch(("mail", "we*"), ("web/443",), MappingProxyType({"env": ("prod",)}), ("nexthink-*",)), facts
    )
    for wrong in (
        PolicyMatch(components=("mail",)),
        PolicyMatch(targets=("mail",)),
        PolicyMatch(labels=MappingProxyType({"env": ("test",)})),
        PolicyMatch(labels=MappingProxyType({"site": ("*?",)})),
        PolicyMatch(profiles=("other",)),
    ):
        assert not matches(wrong, facts)
    assert not matches(PolicyMatch(components=("*",)), Situation("mail", targets=("mail",)))


def test_not_served_is_activated_and_says_why() -> None:
    decision = one(NOT_SERVED, SERVE)
    assert (decision.status, decision.action, decision.what) == (DecisionStatus.ACT, ACTIVATE, "old")
    (reason,) = decision.reasons
    assert (reason.check, reason.holds, reason.since) == ("finding", True, NOW - HOUR)
    assert reason.because == "web/443: not_served (warning) since 2027-01-15 07:00:00Z"


def test_files_whose_key_is_another_ones_are_not_activated_and_another_policy_has_its_turn() -> None:
    mismatch = replace(found(Code.KEY_MISMATCH), at_endpoint=False)
    broken = situation(findings=(found(Code.NOT_SERVED), mismatch), candidate=candidate())
    assert decide(broken, [SERVE], NOW).decisions == ()
    renew = policy(CandidatePresent(), REPLACE)
    assert [each.action for each in decide(broken, [SERVE, renew], NOW).decisions] == [REPLACE]


def test_nothing_is_done_to_a_mere_target_but_people_are_told() -> None:
    facts = Situation("mail", targets=("mail",), findings=(found(Code.NOT_SERVED),))
    decision = one(facts, SERVE, policy(has(Code.NOT_SERVED), name="t", notify=Notify(("ops",))))
    assert (decision.status, decision.policy) == (DecisionStatus.NOTIFY, "t")


def test_the_first_policy_whose_action_can_be_done_wins() -> None:
    first = policy(has(Code.NOT_SERVED), ACTIVATE, name="first", mode=Mode.OBSERVE)
    second = policy(has(Code.NOT_SERVED), ACTIVATE, name="second")
    assert one(NOT_SERVED, first, second).policy == "first"


def test_a_replacement_without_a_candidate_says_so_and_lets_others_act() -> None:
    facts = replace(NOT_SERVED, certificate=validity(left=5))
    waiting, acting = decide(facts, (RENEW, SERVE), NOW).decisions
    assert (waiting.status, waiting.waits_for) == (
        DecisionStatus.AWAIT_CANDIDATE,
        "a candidate: there is none in the inbox that can be used",
    )
    assert (acting.status, acting.action) == (DecisionStatus.ACT, ACTIVATE)


def test_several_policies_may_tell_people() -> None:
    tell = [policy(has(Code.NOT_SERVED), name=name, notify=Notify((name,))) for name in ("a", "b")]
    decisions = decide(NOT_SERVED, (SERVE, *tell), NOW).decisions
    assert [(each.policy, each.status) for each in decisions] == [
        ("p", DecisionStatus.ACT),
        ("a", DecisionStatus.NOTIFY),
        ("b", DecisionStatus.NOTIFY),
    ]


@pytest.mark.parametrize(
    ("component", "given", "status"),
    [
        (Mode.AUTO, None, DecisionStatus.ACT),
        (Mode.APPROVE, None, DecisionStatus.AWAIT_APPROVAL),
        (Mode.PLAN, None, DecisionStatus.PLAN),
        (Mode.APPROVE, Mode.AUTO, DecisionStatus.ACT),
        (Mode.AUTO, Mode.PLAN, DecisionStatus.PLAN),
        (Mode.OBSERVE, Mode.AUTO, DecisionStatus.OBSERVE),
    ],
)
def test_a_policy_goes_as_far_as_it_says_else_as_its_component_does(
    component: Mode, given: Mode | None, status: DecisionStatus
) -> None:
    assert one(replace(NOT_SERVED, mode=component), replace(SERVE, mode=given)).status is status


def test_nothing_is_installed_unattended_where_nobody_vouches_for_its_issuer() -> None:
    facts = replace(DUE, allowed_issuers=False)
    assert one(facts, RENEW).status is DecisionStatus.AWAIT_APPROVAL
    assert one(facts, replace(RENEW, action=Replace((AllowedIssuer("system"),)))).status is DecisionStatus.ACT


def test_nothing_is_started_where_that_is_held_back() -> None:
    decision = one(replace(NOT_SERVED, held="web is frozen: someone changed a file"), SERVE)
    assert (decision.status, decision.waits_for) == (DecisionStatus.HELD, "web is frozen: someone changed a file")


NIGHT = Window("0 2 * * *", 3 * HOUR)


def test_outside_its_window_an_action_waits_and_says_until_when() -> None:
    decision = one(DUE, replace(RENEW, windows=(NIGHT,)))
    opens = NOW + 18 * HOUR
    assert (decision.status, decision.until) == (DecisionStatus.AWAIT_WINDOW, opens)
    assert decision.waits_for == "its window, which opens at 2027-01-16 02:00:00Z"
    assert one(DUE, replace(RENEW, windows=(NIGHT,)), now=opens).status is DecisionStatus.ACT


def test_the_first_of_several_windows_is_enough() -> None:
    windows = (NIGHT, Window("0 8 * * *", HOUR))
    assert one(DUE, replace(RENEW, windows=windows)).status is DecisionStatus.ACT


def test_a_window_is_not_waited_for_where_it_is_overridden() -> None:
    waiting = replace(RENEW, windows=(NIGHT,), override_window_when=RemainingBelow(share_of_lifetime(0.08)))
    certificate = validity(left=7.3)
    facts = replace(DUE, certificate=certificate)
    decision = one(facts, waiting)
    assert decision.status is DecisionStatus.AWAIT_WINDOW
    assert decision.until == certificate.not_after - share_of_lifetime(0.08).seconds_left(90 * DAY)
    assert one(facts, waiting, now=decision.until).status is DecisionStatus.ACT


def test_people_are_told_outside_windows() -> None:
    decisions = decide(DUE, (replace(RENEW, windows=(NIGHT,), notify=Notify(("ops",))),), NOW).decisions
    assert [each.status for each in decisions] == [DecisionStatus.NOTIFY, DecisionStatus.AWAIT_WINDOW]


def test_an_approval_is_of_its_case_and_ends() -> None:
    asking = replace(SERVE, mode=Mode.APPROVE)
    asked = one(NOT_SERVED, asking)
    assert asked.status is DecisionStatus.AWAIT_APPROVAL
    approved = replace(NOT_SERVED, approvals=(Approval(asked.case, True, NOW + HOUR, "alice"),))
    assert one(approved, asking).status is DecisionStatus.ACT
    again = one(approved, asking, now=NOW + HOUR)
    assert again.status is DecisionStatus.AWAIT_APPROVAL
    assert again.identity != asked.identity
    other = replace(approved, on_disk="another")
    assert one(other, asking).status is DecisionStatus.AWAIT_APPROVAL


def test_what_the_actor_leaves_to_a_person_is_asked_for_and_done_once_approved() -> None:
    decided = one(NOT_SERVED, SERVE)
    left = replace(NOT_SERVED, left_to_person=(LeftToPerson(Kind.ACTIVATE, "old", "needs_a_person: it is older"),))
    asked = one(left, SERVE)
    assert (asked.status, asked.until) == (DecisionStatus.AWAIT_APPROVAL, None)
    assert asked.waits_for == "an operator's approval, since needs_a_person: it is older"
    approved = one(replace(left, approvals=(Approval(asked.case, True, NOW + HOUR, "alice"),)), SERVE)
    assert approved.status is DecisionStatus.ACT
    assert approved.identity not in {decided.identity, asked.identity}, "it is ordered once more"
    assert one(replace(left, on_disk="another"), SERVE).status is DecisionStatus.ACT
    assert one(left, replace(SERVE, mode=Mode.PLAN)).status is DecisionStatus.PLAN


def test_what_was_rejected_is_not_asked_for_again_while_that_holds() -> None:
    asking = replace(SERVE, mode=Mode.APPROVE)
    case = one(NOT_SERVED, asking).case
    rejected = replace(NOT_SERVED, approvals=(Approval(case, False, NOW + HOUR, "alice"),))
    assert one(rejected, asking).status is DecisionStatus.REJECTED


def test_an_approved_action_still_waits_for_its_window() -> None:
    asking = replace(RENEW, mode=Mode.APPROVE, windows=(NIGHT,))
    approved = replace(DUE, approvals=(Approval(one(DUE, asking).case, True, NOW + 10 * DAY),))
    assert one(approved, asking).status is DecisionStatus.AWAIT_WINDOW


def test_what_failed_is_tried_again_after_one_ten_and_a_hundred_minutes_and_then_each_day() -> None:
    certificate = validity(3650, 3000)
    check = policy(has(Code.EXPIRING), REPLACE)
    tried = []
    waits = []
    for _ in range(6):
        tried.append(attempt(ended=NOW))
        facts = situation(
            certificate=certificate, candidate=candidate(), attempts=tuple(tried), findings=(found(Code.EXPIRING),)
        )
        decision = one(facts, check)
        assert decision.status is DecisionStatus.AWAIT_RETRY
        assert decision.until is not None
        assert one(facts, check, now=decision.until).status is DecisionStatus.ACT
        waits.append(decision.until - NOW)
    assert waits == [*DELAYS, DAY, DAY]


def test_a_plan_that_was_rolled_back_waits_for_approval_at_once_and_one_that_could_not_be_proposed_for_a_while() -> (
    None
):
    facts = situation(certificate=validity(3650, 3000), candidate=candidate(), findings=(found(Code.EXPIRING),))
    asking = policy(has(Code.EXPIRING), REPLACE, mode=Mode.APPROVE)
    undone = replace(facts, attempts=(attempt(ended=NOW),))
    asked = one(undone, asking)
    assert asked.status is DecisionStatus.AWAIT_APPROVAL
    approved = replace(undone, approvals=(Approval(asked.case, True, NOW + HOUR, "alice"),))
    assert one(approved, asking).status is DecisionStatus.AWAIT_RETRY
    unasked = replace(facts, attempts=(attempt(ended=NOW, transaction=""),))
    assert one(unasked, asking).status is DecisionStatus.AWAIT_RETRY


def test_what_waits_for_a_candidate_says_that_nothing_may_be_begun_either() -> None:
    facts = situation(findings=(found(Code.EXPIRING),), held="no actor: it is gone")
    decision = one(facts, policy(has(Code.EXPIRING), REPLACE))
    assert decision.status is DecisionStatus.AWAIT_CANDIDATE
    assert decision.waits_for.endswith("; and nothing may be begun now: no actor: it is gone")


def test_the_word_of_a_person_ends_the_wait_once_and_later_failures_count_with_the_earlier() -> None:
    certificate, check = validity(3650, 3000), policy(has(Code.EXPIRING), REPLACE)

    def decided(*tried: Attempt) -> Decision:
        facts = situation(
            certificate=certificate, candidate=candidate(), attempts=tried, findings=(found(Code.EXPIRING),)
        )
        return one(facts, check)

    earlier = (attempt(ended=NOW - 10), attempt(ended=NOW - 5))
    assert decided(*earlier).status is DecisionStatus.AWAIT_RETRY
    said = tuple(replace(each, settled=True) for each in earlier)
    assert decided(*said).status is DecisionStatus.ACT
    again = decided(*said, attempt(ended=NOW))
    assert (again.status, again.until) == (DecisionStatus.AWAIT_RETRY, NOW + DELAYS[2])


@pytest.mark.parametrize("hours", [1, 10, 100])
def test_three_attempts_always_fit_before_it_becomes_critical(hours: int) -> None:
    end = NOW + 90 * DAY * 0.125 + hours * HOUR
    certificate = replace(validity(), not_before=end - 90 * DAY, not_after=end)
    critical = certificate.reaches(Severity.CRITICAL)
    now, tried = NOW, [attempt(ended=NOW) for _ in range(5)]
    for _ in range(3):
        decision = one(situation(certificate=certificate, candidate=candidate(), attempts=tuple(tried)), RENEW, now=now)
        assert decision.until is not None
        now = decision.until
        assert now < critical
        tried.append(attempt(ended=now))


def test_once_critical_three_attempts_still_fit_before_the_end() -> None:
    certificate = validity(6, 0.25)
    decision = one(situation(certificate=certificate, candidate=candidate(), attempts=(attempt(ended=NOW),) * 4), RENEW)
    assert decision.until == NOW + 0.25 * DAY / 4


def test_a_candidate_that_caused_a_failure_is_not_tried_again_but_another_is() -> None:
    tried = (attempt(what="new", result=Result.CANDIDATE),)
    refused = one(replace(DUE, attempts=tried), RENEW)
    assert refused.status is DecisionStatus.AWAIT_CANDIDATE
    assert refused.waits_for == "a candidate: the one in the inbox was tried and failed"
    assert one(replace(DUE, attempts=tried, candidate=candidate("newer")), RENEW).status is DecisionStatus.ACT


@pytest.mark.parametrize("result", [Result.COMMITTED, Result.FAILED_FORWARD, Result.CANDIDATE, Result.SUPERSEDED])
def test_what_was_done_and_did_not_help_is_not_done_again(result: Result) -> None:
    done = attempt(Kind.ACTIVATE, "old", ended=NOW - 60, result=result)
    facts = replace(NOT_SERVED, attempts=(done,))
    assert one(facts, SERVE).status is DecisionStatus.SPENT
    anew = replace(facts, findings=(found(Code.NOT_SERVED, since=NOW - 30),))
    assert one(anew, SERVE).status is DecisionStatus.ACT


@pytest.mark.parametrize(
    ("outcome", "cause", "result"),
    [
        (Outcome.COMMITTED, Cause.NONE, Result.COMMITTED),
        (Outcome.FAILED_FORWARD, Cause.CLIENT_LOST, Result.FAILED_FORWARD),
        (Outcome.SUPERSEDED, Cause.CHANGED, Result.SUPERSEDED),
        (Outcome.ROLLED_BACK, Cause.CLIENT_LOST, Result.CANDIDATE),
        (Outcome.ROLLED_BACK, Cause.CONFIG_TEST, Result.CANDIDATE),
        (Outcome.ROLLED_BACK, Cause.ACTIVATION_TIMEOUT, Result.TRANSIENT),
        (Outcome.REFUSED, Cause.QUARANTINED, Result.CANDIDATE),
        (Outcome.REFUSED, Cause.BUSY, Result.TRANSIENT),
        (Outcome.FROZEN, Cause.STORAGE, Result.TRANSIENT),
    ],
)
def test_the_ending_of_a_transaction_says_whether_to_try_again(outcome: Outcome, cause: Cause, result: Result) -> None:
    assert result_of(outcome, cause) is result


def test_a_client_that_is_lost_soon_after_a_replacement_has_it_undone() -> None:
    lost = replace(WATCHED, edges=(Accepts("java", "web/443", False, NOW - 60),))
    decision = one(lost, UNDO)
    assert (decision.status, decision.action, decision.what) == (DecisionStatus.ACT, ROLLBACK, "t1")
    assert "java no longer accepts web/443" in decision.reasons[0].because
    assert decision.until == REPLACED.ended + HOUR


def test_a_regression_that_a_failed_attempt_showed_is_no_reason_until_a_look_after_it_sees_it_again() -> None:
    """A replacement that was undone served its own set for seconds: the one before it had nothing to do with that."""
    failed = attempt(what="newer", ended=NOW - 30, result=Result.CANDIDATE)
    for seen, expected in ((NOW - 40, []), (NOW - 20, [DecisionStatus.ACT])):
        edge = Accepts("java", "web/443", False, NOW - 40, seen)
        live = replace(found(Code.INCOMPLETE_CHAIN, NOW - 40), seen=seen)
        for facts in ({"edges": (edge,)}, {"findings": (live,)}):
            lost = replace(WATCHED, attempts=(REPLACED, failed), **facts)
            assert [each.status for each in decide(lost, (UNDO,), NOW).decisions] == expected
            assert awaits_look(lost, NOW) is (not expected)
    assert not awaits_look(WATCHED, NOW)


def test_a_client_that_never_accepted_is_no_reason_to_undo() -> None:
    facts = replace(WATCHED, edges=(Accepts("finder", "web/443", False, NOW - 60),))
    assert decide(facts, (UNDO,), NOW).decisions == ()


@pytest.mark.parametrize(
    "code", [Code.INCOMPLETE_CHAIN, Code.UNTRUSTED_ISSUER, Code.NOT_SERVED, Code.HOSTNAME_MISMATCH]
)
def test_a_broken_chain_or_a_wrong_leaf_soon_after_a_replacement_has_it_undone(code: Code) -> None:
    assert one(replace(WATCHED, findings=(found(code, NOW - 60),)), UNDO).status is DecisionStatus.ACT


@pytest.mark.parametrize("code", [Code.INCOMPLETE_CHAIN, Code.KEY_MISMATCH, Code.HOSTNAME_MISMATCH, Code.BAD_SIGNATURE])
def test_a_finding_about_files_alone_is_no_reason_to_undo_what_is_served(code: Code) -> None:
    """As the shipped `undo-regression` did to correct replacements, whose key was looked at before the rest."""
    about_a_file = replace(found(code, NOW - 60), target="web/certificate", at_endpoint=False)
    facts = replace(WATCHED, findings=(about_a_file,))
    assert decide(facts, (UNDO,), NOW).decisions == ()
    assert decide(facts, shipped_policies(), NOW).decisions == ()
    live = found(Code.INCOMPLETE_CHAIN, NOW - 60)
    assert one(replace(facts, findings=(about_a_file, live)), UNDO).status is DecisionStatus.ACT


def test_what_was_replaced_as_one_and_is_no_longer_one_is_not_undone() -> None:
    apart = replace(REPLACED, undoable=False)
    lost = replace(WATCHED, attempts=(apart,), edges=(Accepts("java", "web/443", False, NOW - 60),))
    assert decide(lost, (UNDO,), NOW).decisions == ()


CONTESTED = "what certvigil put in place was replaced by somebody else twice"


@pytest.mark.parametrize("mode", [Mode.APPROVE, Mode.AUTO])
def test_where_somebody_else_reverts_what_is_done_it_is_held_back_and_why_is_said(mode: Mode) -> None:
    decision = one(replace(NOT_SERVED, mode=mode, contested=CONTESTED), replace(SERVE, mode=mode))
    assert (decision.status, decision.waits_for) == (DecisionStatus.HELD, CONTESTED)


def test_a_new_candidate_lets_it_go_on_and_has_its_turn_before_what_somebody_else_wrote() -> None:
    facts = replace(NOT_SERVED, contested=CONTESTED, candidate=candidate())
    assert one(facts, *shipped_policies()).status is DecisionStatus.HELD
    serve, use = decide(replace(facts, renewed=True), shipped_policies(), NOW).decisions
    assert (serve.action, serve.status) == (ACTIVATE, DecisionStatus.SPENT)
    assert (use.policy, use.status) == ("use-candidate", DecisionStatus.ACT)


def test_what_was_wrong_before_the_replacement_is_no_reason_to_undo_it() -> None:
    facts = replace(WATCHED, findings=(found(Code.INCOMPLETE_CHAIN, NOW - DAY), found(Code.WEAK_KEY, NOW)))
    assert decide(facts, (UNDO,), NOW).decisions == ()


def test_after_its_watch_a_replacement_stays() -> None:
    lost = replace(WATCHED, edges=(Accepts("java", "web/443", False, NOW - 60),))
    assert decide(lost, (UNDO,), REPLACED.ended + HOUR).decisions == ()


def test_files_that_somebody_changed_since_are_not_rolled_back() -> None:
    facts = replace(WATCHED, on_disk="by hand", findings=(found(Code.NOT_SERVED, NOW - 60),))
    assert decide(facts, (UNDO,), NOW).decisions == ()


def test_a_replacement_is_undone_once() -> None:
    undone = attempt(Kind.ROLLBACK, "t1", ended=NOW - 30, result=Result.COMMITTED)
    lost = replace(WATCHED, attempts=(REPLACED, undone), edges=(Accepts("java", "web/443", False, NOW - 60),))
    assert decide(lost, (UNDO,), NOW).decisions == ()


@pytest.mark.parametrize(("days", "due"), [(6, 3), (47, 47 / 3), (200, 60), (3650, 60)])
def test_what_is_shipped_replaces_each_lifetime_in_its_own_time(days: int, due: float) -> None:
    for left, expected in ((due + 0.1, []), (due - 0.1, [DecisionStatus.AWAIT_CANDIDATE])):
        facts = as_of(situation(certificate=validity(days, left)), NOW)
        assert [each.status for each in decide(facts, shipped_policies(), NOW).decisions] == expected


def test_what_is_shipped_replaces_a_revoked_certificate_long_before_its_end() -> None:
    revoked = situation(certificate=validity(90, 80), findings=(found(Code.REVOKED),))
    decision = one(revoked, *shipped_policies())
    assert (decision.policy, decision.status) == ("replace-in-time", DecisionStatus.AWAIT_CANDIDATE)
    assert one(replace(revoked, candidate=candidate()), *shipped_policies()).policy == "replace-in-time"


def test_what_is_shipped_uses_a_candidate_as_soon_as_it_is_there() -> None:
    assert one(situation(candidate=candidate()), *shipped_policies()).policy == "use-candidate"


def test_what_is_shipped_does_not_forestall_the_window_of_a_site() -> None:
    own = replace(RENEW, windows=(NIGHT,))
    facts = as_of(situation(certificate=validity(90, 29.9), candidate=candidate()), NOW)
    assert one(facts, *shipped_policies()).status is DecisionStatus.ACT
    assert decide(facts, (own, *shipped_policies()), NOW).decisions == ()
    elsewhere = replace(own, match=PolicyMatch(components=("mail",)))
    assert one(facts, elsewhere, *shipped_policies()).policy == "replace-in-time"


def test_what_is_shipped_undoes_a_regression_even_where_a_person_approves_replacements() -> None:
    lost = replace(WATCHED, mode=Mode.APPROVE, edges=(Accepts("java", "web/443", False, NOW - 60),))
    decision = one(lost, *shipped_policies())
    assert (decision.policy, decision.status) == ("undo-regression", DecisionStatus.ACT)


def test_what_is_shipped_serves_what_is_on_disk_as_far_as_the_component_lets() -> None:
    assert one(NOT_SERVED, *shipped_policies()).status is DecisionStatus.ACT
    assert one(replace(NOT_SERVED, mode=Mode.APPROVE), *shipped_policies()).status is DecisionStatus.AWAIT_APPROVAL


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        (PolicyMatch(), True),
        (PolicyMatch(groups=("primary",)), True),
        (PolicyMatch(groups=("pri*",)), True),
        (PolicyMatch(groups=("secondary",)), False),
        (PolicyMatch(components=("portal",)), True),
        (PolicyMatch(components=("engine", "port*")), True),
        (PolicyMatch(components=("engine",)), False),
        (PolicyMatch(components=("primary",)), False),
        (PolicyMatch(components=("portal",), groups=("secondary",)), False),
        (PolicyMatch(labels={"env": ("prod",)}), True),
        (PolicyMatch(labels={"env": ("test",)}), False),
        (PolicyMatch(components=("console",), labels={"env": ("prod",)}), False),
        (PolicyMatch(targets=("portal/443",)), True),
    ],
)
def test_a_policy_for_one_member_is_for_the_whole_group(match: PolicyMatch, holds: bool) -> None:
    console = situation(subject="console", targets=("console/99",))
    portal = situation(subject="portal", targets=("portal/443",), labels={"env": "prod"})
    assert matches(match, of_group("primary", [console, portal])) is holds


def test_a_group_is_for_no_policy_of_a_group_alone_and_a_component_is_in_none() -> None:
    assert not matches(PolicyMatch(groups=("*",)), situation())


def test_what_permits_must_be_so_of_each_member_and_what_forbids_of_one() -> None:
    given = situation(subject="console", mode=Mode.AUTO, renewed=True, contested="they came")
    other = situation(subject="portal", mode=Mode.APPROVE, allowed_issuers=False, given_up="it was", held="it is so")
    found = of_group("primary", [given, other])
    assert (found.mode, found.allowed_issuers) == (Mode.APPROVE, False)
    assert (found.given_up, found.held) == ("it was", "portal: it is so")
    assert (found.contested, found.renewed) == ("they came", True)
    assert not of_group("primary", [given, replace(given, renewed=False)]).renewed
    assert of_group("primary", [given, replace(other, mode=None)]).mode is None


def test_one_transaction_of_several_members_is_one_attempt_of_the_group() -> None:
    one = Attempt(Kind.REPLACE, "c", 1.0, 2.0, Result.COMMITTED, "t1")
    later = Attempt(Kind.ROLLBACK, "t1", 3.0, 4.0, Result.TRANSIENT, "t2")
    members = [situation(subject="console", attempts=(one, later)), situation(subject="portal", attempts=(one,))]
    assert of_group("primary", members).attempts == (one, later)
