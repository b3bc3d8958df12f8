"""What a person said no to holds for the daemon after a restart, too: it is the journal's, by kind and component."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from actions.account import Account, Word
from actions.plan import Kind
from config.vocabulary import Code, Mode
from monitor.decide.decision import Standing
from monitor.decide.engine import decide
from monitor.steward import Steward
from tests.monitor.decide_kit import ACTIVATE, NOW, found, has, policy, situation


def test_a_rejected_activation_and_rollback_stay_rejected_whatever_plan_is_made_after_a_restart() -> None:
    no = Word("bob", NOW, float("inf"))
    account = Account(rejected={(Kind.ACTIVATE, "web", "old"): no, (Kind.ROLLBACK, "mail", "t1"): no})
    steward = Steward(cast("Any", None), lambda _name: (), lambda _name: None, account=account)
    said = tuple(steward._rejections("web"))
    assert [(each.kind, each.what, each.approved) for each in said] == [(Kind.ACTIVATE, "old", False)]
    rule = replace(policy(has(Code.NOT_SERVED), ACTIVATE), mode=Mode.APPROVE)
    seen = situation(findings=(found(Code.NOT_SERVED),), said=said)
    assert [each.standing for each in decide(seen, [rule], NOW).decisions] == [Standing.REJECTED]
    other = replace(seen, on_disk="new")
    assert [each.standing for each in decide(other, [rule], NOW).decisions] == [Standing.AWAIT_APPROVAL]
