"""Whether something may be done without a person, now: the decision itself, asked by whoever is to act on it.

The daemon acts on the decisions that stand by what it knows; the actor takes nobody's word for them, and asks here with
a situation that holds only what it saw itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from actions.plan import Kind
from config.policy import Notify, Policy
from config.text import printable
from config.vocabulary import Mode
from monitor.decide.check import NEVER, evaluate
from monitor.decide.decision import PASSED_OVER, DecisionStatus, action_name, kind_of
from monitor.decide.engine import applicable, decide_by, effective_mode, window
from monitor.decide.seen import as_granted, as_seen
from monitor.decide.situation import Situation
from probes.judge.time import moment


@dataclass(frozen=True, slots=True)
class Leave:
    """The policy by which something may be done, or why it may not be."""

    policy: Policy | None = None
    why: str = ""
    """A sentence, printable; empty where it may be done."""


def leave(kind: Kind, what: str, situation: Situation, policies: Iterable[Policy], now: float) -> Leave:
    """Return whether that is what is to be done to a component at Unix time `now`, and waits for nobody's approval.

    `what` is as in `Decision.what`: the candidate, the leaf on disk, the transaction that is undone. Where a person has
    approved that, as the situation says, all else must be as it is without: mode, windows, remaining lifetime,
    attempts, for how long. Only what the actor cannot see that person has answered for.
    """
    if situation.given_up:
        return Leave(None, situation.given_up)
    mine = _policies(kind, what, situation, policies, now)
    outlook = decide_by(mine, situation, now)
    for decision in outlook.decisions:
        if isinstance(decision.action, Notify) or decision.status in PASSED_OVER:
            continue
        if kind_of(decision.action) is not kind or decision.what != what:
            return Leave(None, f"policy {decision.policy} comes first, with {action_name(decision.action)}")
        if decision.status is DecisionStatus.ACT:
            return Leave(next(each for each in mine if each.name == decision.policy))
        what_for = f": {decision.waits_for}" if decision.waits_for else ""
        return Leave(None, f"by policy {decision.policy} it stands at '{decision.status}'{what_for}")
    spent = [
        each
        for each in outlook.decisions
        if not isinstance(each.action, Notify) and each.status in PASSED_OVER and kind_of(each.action) is kind
    ]
    if spent:
        return Leave(None, f"by policy {spent[0].policy} it stands at '{spent[0].status}'")
    return Leave(None, _unmet(kind, situation, mine, now))


def _policies(
    kind: Kind, what: str, situation: Situation, policies: Iterable[Policy], now: float
) -> tuple[Policy, ...]:
    """Return the policies for this subject, as they count where a person has approved that or has not."""
    mine = applicable(policies, situation)
    if not _is_granted(kind, what, situation, now):
        return mine
    return tuple(
        replace(each, when=as_granted(each.when, unreached=situation.unreached))
        if each.action is not None and kind_of(each.action) is kind
        else each
        for each in mine
    )


def _is_granted(kind: Kind, what: str, situation: Situation, now: float) -> bool:
    word = situation.word(kind, what, now)
    return word is not None and word.approved


def _unmet(kind: Kind, situation: Situation, policies: Iterable[Policy], now: float) -> str:
    """Say why no policy with that action holds."""
    doing = [each for each in policies if each.action is not None and kind_of(each.action) is kind]
    if not doing:
        return f"no policy has {kind} done to {situation.subject}"
    said: list[str] = []
    until = NEVER
    for each in doing:
        answer = evaluate(as_seen(each.when, unreached=situation.unreached), situation, now)
        because = "; ".join(reason.because for reason in answer.reasons)
        said.append(f"policy {each.name} does not call for it by what is seen: {because}")
        until = min(until, answer.until)
    return "; ".join(said) + (f"; ask again after {moment(until)}" if until < NEVER else "")


def joins(kind: Kind, what: str, situation: Situation, policies: Iterable[Policy], now: float) -> str:
    """Say why a component may not be changed along with one for which leave was given; empty where it may.

    What calls for it is with that other one; by whose leave and when this one is changed is its own matter.
    """
    if why := situation.given_up or situation.held or situation.contested:
        return why
    word = situation.word(kind, what, now)
    if word is not None and not word.approved:
        return f"{printable(word.by)} rejected it for {situation.subject}"
    modes = {Mode.AUTO, Mode.APPROVE} if word is not None else {Mode.AUTO}
    doing = [
        each for each in applicable(policies, situation) if each.action is not None and kind_of(each.action) is kind
    ]
    if not any(
        effective_mode(each, situation) in modes and window(each, situation, now).status is DecisionStatus.ACT
        for each in doing
    ):
        return f"no policy has {kind} done to {situation.subject} by itself now"
    return ""
