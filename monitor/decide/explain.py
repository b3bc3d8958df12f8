"""The result of every policy for one situation, including policies that do not apply or do not hold."""

from __future__ import annotations

from collections.abc import Iterable

from config.immutable import immutable
from config.policy import Policy
from monitor.decide.check import CheckAnswer, evaluate
from monitor.decide.decision import Decision
from monitor.decide.engine import applicable, decide, matches
from monitor.decide.situation import Situation


@immutable
class Explained:
    """The result of one policy."""

    policy: Policy
    applies: bool
    """Whether the policy applies to this subject, and does not give way to another policy."""
    answer: CheckAnswer
    decisions: tuple[Decision, ...]
    """Empty where another policy won, or where the action has no object."""
    why_not: str = ""
    """Why the policy does not apply, a phrase; empty where it does."""


def explain(situation: Situation, policies: Iterable[Policy], now: float) -> tuple[Explained, ...]:
    """Return the result of each of `policies` for `situation` at Unix time `now`, in their order."""
    asked = tuple(policies)
    chosen = applicable(asked, situation)
    decisions = decide(situation, asked, now).decisions
    return tuple(
        Explained(
            each,
            each in chosen,
            evaluate(each.when, situation, now),
            tuple(decision for decision in decisions if decision.policy == each.name),
            "" if each in chosen else _why_not(each, situation),
        )
        for each in asked
    )


def _why_not(policy: Policy, situation: Situation) -> str:
    """Say why a policy does not apply to this subject, a phrase."""
    if not matches(policy.match, situation):
        return "its 'match' leaves it out"
    return "it is a fallback, and gives way to another policy with the same action"
