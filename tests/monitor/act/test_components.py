"""What a person said no to holds for the daemon after a restart, too: it is the journal's, by kind and component."""

from __future__ import annotations

from dataclasses import replace

from actions.journal_state import JournalState, Ruling
from actions.plan import Kind
from config.vocabulary import Code, Mode
from monitor.act.components import rejected_actions
from monitor.decide.decision import DecisionStatus
from monitor.decide.engine import decide
from tests.kit.situations import ACTIVATE, NOW, found, has, policy, situation


def test_a_rejected_activation_and_rollback_stay_rejected_whatever_plan_is_made_after_a_restart() -> None:
    no = Ruling("bob", NOW, float("inf"))
    journal_state = JournalState(rejected={(Kind.ACTIVATE, "web", "old"): no, (Kind.ROLLBACK, "mail", "t1"): no})
    said = tuple(rejected_actions(journal_state, "web"))
    assert [(each.kind, each.what, each.approved) for each in said] == [(Kind.ACTIVATE, "old", False)]
    rule = replace(policy(has(Code.NOT_SERVED), ACTIVATE), mode=Mode.APPROVE)
    seen = situation(findings=(found(Code.NOT_SERVED),), said=said)
    assert [each.status for each in decide(seen, [rule], NOW).decisions] == [DecisionStatus.REJECTED]
    other = replace(seen, on_disk="new")
    assert [each.status for each in decide(other, [rule], NOW).decisions] == [DecisionStatus.AWAIT_APPROVAL]
