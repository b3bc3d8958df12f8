"""What each policy makes of a situation, those that do not apply or do not hold included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from config.policy import Policy
from monitor.decide.check import CheckAnswer, evaluate
from monitor.decide.decision import Decision
from monitor.decide.engine import applicable, decide
from monitor.decide.situation import Situation


@dataclass(frozen=True, slots=True)
class Explained:
    """What one policy makes of it."""

    policy: Policy
    applies: bool
    """Whether it is for this subject, and does not give way to another."""
    answer: CheckAnswer
    decisions: tuple[Decision, ...]
    """Empty where another policy won, or where there is nothing that its action could be done to."""


def explain(situation: Situation, policies: Iterable[Policy], now: float) -> tuple[Explained, ...]:
    """Return what each of `policies` makes of `situation` at Unix time `now`, in their order."""
    asked = tuple(policies)
    chosen = applicable(asked, situation)
    decisions = decide(situation, asked, now).decisions
    return tuple(
        Explained(
            each,
            each in chosen,
            evaluate(each.when, situation, now),
            tuple(decision for decision in decisions if decision.policy == each.name),
        )
        for each in asked
    )
