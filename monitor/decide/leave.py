"""Leave by a policy to act without a person, now; before it, nothing in `monitor.actor.unattended` may object.

Both are asked for by `monitor.actor.carry_out`; the objections only where no person has approved the plan. This is the
decision itself, asked again by the process that acts.

The daemon orders an action by the decision that stands. The actor does not rely on the daemon: it asks here, with a
situation that holds only the facts that it saw itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from actions.plan import Kind
from config.immutable import immutable
from config.policy import Notify, Policy
from config.text import printable
from config.vocabulary import Mode
from monitor.decide.check import NEVER, evaluate
from monitor.decide.decision import PASSED_OVER, DecisionStatus, action_name, kind_of
from monitor.decide.engine import applicable, decide_by, effective_mode, window
from monitor.decide.seen import as_granted, as_seen
from monitor.decide.situation import Situation
from probes.judge.time import moment


@immutable
class Leave:
    """The policy that permits an action, or the reason why none does."""

    policy: Policy | None = None
    why: str = ""
    """A sentence, printable; empty where the action is permitted."""


def leave(kind: Kind, what: str, situation: Situation, policies: Iterable[Policy], now: float) -> Leave:
    """Return whether a policy has that action done to a component at Unix time `now`, without further approval.

    `what` is as in `Decision.what`. Where a person has approved the action, which the situation says, every other
    condition holds as without the approval: mode, windows, remaining lifetime, attempts, `for`. The person answers only
    for the facts that the actor cannot see.
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
    """Return the policies for this subject; their checks are narrowed where a person has approved the action."""
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
    """Return why no policy with that action holds, as a sentence."""
    doing = [each for each in policies if each.action is not None and kind_of(each.action) is kind]
    if not doing:
        return f"no policy has {kind} done to {situation.subject}"
    said: list[str] = []
    until = NEVER
    for each in doing:
        answer = evaluate(as_seen(each.when, unreached=situation.unreached), situation, now)
        because = "; ".join(reason.because for reason in answer.reasons)
        said.append(f"policy {each.name} does not call for it by the seen facts: {because}")
        until = min(until, answer.until)
    return "; ".join(said) + (f"; ask again after {moment(until)}" if until < NEVER else "")


def joins(kind: Kind, what: str, situation: Situation, policies: Iterable[Policy], now: float) -> str:
    """Return why a component may not join a change for which another component has leave; empty where it may.

    The reason for the change lies with the other component. Its own policies must permit the action and its time.
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
