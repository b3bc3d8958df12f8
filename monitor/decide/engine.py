"""The decision: from policies, one situation and one time to `Decision`s."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from actions.plan import Kind
from config.immutable import immutable
from config.model import DAY
from config.pattern import is_one_of
from config.policy import Action, Notify, Policy, PolicyMatch, Regressed, Replace
from config.vocabulary import Code, Mode
from config.window import opening
from monitor.decide.check import NEVER, CheckAnswer, evaluate
from monitor.decide.decision import PASSED_OVER, Decision, DecisionStatus, kind_of, short_hash
from monitor.decide.history import is_spent, next_attempt, watched, why_not
from monitor.decide.seen import as_seen, unseen
from monitor.decide.situation import Situation
from probes.judge.time import moment

_LONG: Final = 3650.0 * DAY
"""Seconds: a replacement is not watched for longer."""
_APPROVED: Final = "approved"
"""The turn after a person's word: the same case may have been tried, and left to a person, before."""


@immutable
class Outlook:
    """The decisions on one subject, and until when they hold."""

    decisions: tuple[Decision, ...]
    until: float = NEVER
    """Unix time at which time alone may change the result."""


@immutable
class DecisionStep:
    """How far a case has come, as part of a decision."""

    status: DecisionStatus
    waits_for: str = ""
    until: float = NEVER
    turn: object = None
    """Part of the identity: tells this decision from an earlier one of the same case with the same status."""


@immutable
class _Case:
    """One action that a policy may take on one object, in one situation."""

    policy: Policy
    kind: Kind
    what: str
    name: str
    situation: Situation
    now: float


def matches(match: PolicyMatch, situation: Situation) -> bool:
    """Whether a policy with that `match` applies to this subject."""
    return (
        (not match.groups or (bool(situation.members) and is_one_of(situation.subject, match.groups)))
        and _matches_a_component(match, situation)
        and (not match.targets or any(is_one_of(each, match.targets) for each in situation.targets))
        and (not match.profiles or (situation.profile is not None and is_one_of(situation.profile, match.profiles)))
    )


def _matches_a_component(match: PolicyMatch, situation: Situation) -> bool:
    """Whether the component, or one member of the group, is meant: nothing is done to one member alone."""
    if match.components and not situation.is_component:
        return False
    components = situation.members or ((situation.subject, tuple(situation.labels.items())),)
    return any(
        (not match.components or is_one_of(name, match.components))
        and all(is_one_of(dict(labels).get(label, ""), wanted) for label, wanted in match.labels.items())
        for name, labels in components
    )


def decide(situation: Situation, policies: Iterable[Policy], now: float) -> Outlook:
    """Return the decisions of `policies`, in their order, on `situation` at Unix time `now`.

    The first policy whose action is possible wins. A policy before it that lacks the object of its action, such as a
    candidate, has a decision that says so.
    """
    return decide_by(applicable(policies, situation), situation, now)


def applicable(policies: Iterable[Policy], situation: Situation) -> tuple[Policy, ...]:
    """Return the policies that apply to this subject, in their order."""
    matching = [each for each in policies if matches(each.match, situation)]
    own = {type(each.action) for each in matching if each.action is not None and not each.fallback}
    return tuple(each for each in matching if not (each.fallback and type(each.action) in own))


def decide_by(policies: Iterable[Policy], situation: Situation, now: float) -> Outlook:
    """Return the decisions of `policies` that all apply to this subject, as `decide` does."""
    decisions: list[Decision] = []
    until = NEVER
    won = False
    for policy in policies:
        # A policy after the winner is evaluated again when the winner is.
        if won and policy.notify is None:
            continue
        answer = evaluate(policy.when, situation, now)
        until = min(until, answer.until)
        if not answer.holds:
            continue
        if policy.notify is not None:
            decisions.append(_told(policy, policy.notify, situation, answer))
        if policy.action is not None and not won:
            decision = _acted(policy, policy.action, situation, answer, now)
            if decision is not None:
                decisions.append(decision)
                until = min(until, decision.until or NEVER)
                won = decision.status not in PASSED_OVER
    return Outlook(tuple(decisions), until)


def _told(policy: Policy, notify: Notify, situation: Situation, answer: CheckAnswer) -> Decision:
    case = short_hash(situation.subject, policy.name, "notify", answer.since)
    return Decision(
        subject=situation.subject,
        policy=policy.name,
        action=notify,
        status=DecisionStatus.NOTIFY,
        reasons=answer.reasons,
        case=case,
        identity=case,
        until=_or_none(answer.until),
    )


def _acted(policy: Policy, action: Action, situation: Situation, answer: CheckAnswer, now: float) -> Decision | None:
    """Return the decision on an action; None where the action has no object in this situation."""
    kind = kind_of(action)
    what = _what(kind, situation)
    if situation.mode is None or what is None:
        return None
    in_use = situation.certificate.sha256 if situation.certificate else ""
    case = _Case(
        policy=policy,
        kind=kind,
        what=what,
        name=short_hash(situation.subject, policy.name, kind, what, in_use),
        situation=situation,
        now=now,
    )
    step = _step(case, answer)
    tried = max((each.ended for each in situation.attempts if (each.kind, each.what) == (kind, what)), default=None)
    return Decision(
        subject=situation.subject,
        policy=policy.name,
        action=action,
        status=step.status,
        reasons=answer.reasons,
        case=case.name,
        identity=short_hash(case.name, step.status, tried, step.turn),
        what=what,
        waits_for=step.waits_for,
        until=_or_none(min(answer.until, step.until)),
    )


def _what(kind: Kind, situation: Situation) -> str | None:
    match kind:
        case Kind.REPLACE:
            return situation.candidate.identity if situation.candidate else ""
        case Kind.ACTIVATE:
            # Files whose key is another one's cannot be loaded: the actor refuses them.
            return None if _is_mismatched(situation) else situation.on_disk
        case Kind.TRUST:
            return None
        case Kind.ROLLBACK:
            replacement = watched(situation)
            # Components that were replaced together are undone together, or not at all.
            return replacement.transaction if replacement and replacement.undoable else None


def _is_mismatched(situation: Situation) -> bool:
    return any(each.code is Code.KEY_MISMATCH and not each.at_endpoint for each in situation.findings)


def _step(case: _Case, answer: CheckAnswer) -> DecisionStep:
    """Return how far a case has come. The first that applies counts.

    No candidate, spent, held, contested, rejected, mode, retry, approval, window. What has no
    approval yet is asked for without a wait, unless asking failed. A contest stands before a person's
    word: the word is about a plan, and does not keep another tool from undoing this plan, too.
    """
    situation, now = case.situation, case.now
    if case.kind is Kind.REPLACE and (why := why_not(situation)):
        held = f"; and nothing may be begun now: {situation.held}" if situation.held else ""
        return DecisionStep(DecisionStatus.AWAIT_CANDIDATE, f"a candidate: {why}{held}", turn=why)
    since = [each.since for each in answer.reasons if each.holds and each.since is not None]
    if is_spent(situation, case.kind, case.what, since, now):
        return DecisionStep(DecisionStatus.SPENT)
    if situation.held:
        return DecisionStep(DecisionStatus.HELD, situation.held, turn=situation.held)
    if situation.contested and not (case.kind is Kind.REPLACE and situation.renewed):
        # A new candidate has its turn before the files that another tool wrote.
        return (
            DecisionStep(DecisionStatus.SPENT)
            if situation.renewed
            else DecisionStep(DecisionStatus.HELD, situation.contested, turn="contested")
        )
    word = situation.word(case.kind, case.what, now)
    if word is not None and not word.approved:
        return DecisionStep(DecisionStatus.REJECTED, until=word.until)
    mode = effective_mode(case.policy, situation)
    blind = (situation.why_left(case.kind, case.what) or _blind(case)) if mode is Mode.AUTO else ""
    if mode in {Mode.OBSERVE, Mode.PLAN}:
        return DecisionStep(DecisionStatus.OBSERVE if mode is Mode.OBSERVE else DecisionStatus.PLAN)
    step = DecisionStep(DecisionStatus.ACT) if mode is Mode.AUTO and not blind else _approval(case, blind)
    asks = step.status is DecisionStatus.AWAIT_APPROVAL
    at = next_attempt(situation, case.kind, case.what, now, asks=asks)
    if at is not None:
        return DecisionStep(DecisionStatus.AWAIT_RETRY, f"the next attempt, at {moment(at)}", at)
    if step.status is not DecisionStatus.ACT:
        return step
    opened = window(case.policy, situation, now)
    return replace(opened, until=min(opened.until, step.until), turn=step.turn)


def effective_mode(policy: Policy, situation: Situation) -> Mode:
    """Return the mode; where no issuers are allowed for automatic installation, `auto` becomes `approve`."""
    if situation.mode is None or situation.mode is Mode.OBSERVE:
        return Mode.OBSERVE
    mode = policy.mode or situation.mode
    installs = isinstance(policy.action, Replace) and not policy.action.allowed_issuers
    return Mode.APPROVE if mode is Mode.AUTO and installs and not situation.allowed_issuers else mode


def _blind(case: _Case) -> str:
    """Return why a person must approve in mode `auto`: the facts that the actor sees are not enough; else empty."""
    when, situation = case.policy.when, case.situation
    if case.kind is Kind.ROLLBACK:
        worse = evaluate(Regressed(_LONG), situation, case.now)
        if not worse.holds:
            return "; ".join(each.because for each in worse.reasons)
    if evaluate(as_seen(when, unreached=situation.unreached), situation, case.now).holds:
        return ""
    named = ", ".join(unseen(when))
    return f"the actor does not see '{named}' itself" if named else "not every endpoint was reached"


def _approval(case: _Case, blind: str = "") -> DecisionStep:
    word = case.situation.word(case.kind, case.what, case.now)
    if word is not None and word.approved:
        return DecisionStep(DecisionStatus.ACT, until=word.until, turn=_APPROVED)
    said = [each for each in case.situation.approvals if each.case == case.name]
    if said and case.now < said[-1].until:
        status = DecisionStatus.ACT if said[-1].approved else DecisionStatus.REJECTED
        return DecisionStep(status, until=said[-1].until, turn=_APPROVED)
    # Once an approval or a rejection has expired, a new one is asked for.
    waits_for = f"an operator's approval, since {blind}" if blind else "an operator's approval"
    return DecisionStep(DecisionStatus.AWAIT_APPROVAL, waits_for, turn=len(said))


def window(policy: Policy, situation: Situation, now: float) -> DecisionStep:
    """Return ACT where a window of `policy` is open at Unix time `now` or is not needed, else AWAIT_WINDOW."""
    openings = [opening(each, now) for each in policy.windows]
    edge = min((each.until for each in openings if each.until is not None), default=NEVER)
    if not openings or any(each.since is not None for each in openings):
        return DecisionStep(DecisionStatus.ACT, until=edge)
    until = edge
    if policy.override_window_when is not None:
        seen = as_seen(policy.override_window_when, unreached=situation.unreached)
        override = evaluate(seen, situation, now)
        if override.holds:
            return DecisionStep(DecisionStatus.ACT, until=override.until)
        until = min(edge, override.until)
    when = f"its window, which opens at {moment(edge)}" if edge < NEVER else "a window that never opens"
    return DecisionStep(DecisionStatus.AWAIT_WINDOW, when, until)


def _or_none(until: float) -> float | None:
    return until if until < NEVER else None
