"""The decision: what the policies make of one situation at one time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from actions.plan import Kind
from config.model import DAY
from config.pattern import is_one_of
from config.policy import Action, Notify, Policy, PolicyMatch, Regressed, Replace
from config.vocabulary import Mode
from config.window import opening
from monitor.decide.check import NEVER, CheckAnswer, evaluate
from monitor.decide.decision import PASSED_OVER, Decision, DecisionStatus, digest, kind_of
from monitor.decide.history import is_spent, next_attempt, watched, why_not
from monitor.decide.seen import as_seen, unseen
from monitor.decide.situation import Situation
from probes.judge.time import moment

_LONG: Final = 3650.0 * DAY
"""Seconds: a replacement is not watched for longer."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is decided about one subject, and until when that holds."""

    decisions: tuple[Decision, ...]
    until: float = NEVER
    """Unix time at which it may come out otherwise though nothing else changes."""


@dataclass(frozen=True, slots=True)
class DecisionStep:
    """How far a case has come."""

    status: DecisionStatus
    waits_for: str = ""
    until: float = NEVER
    turn: object = None
    """What makes it another decision than one that has come as far before."""


@dataclass(frozen=True, slots=True)
class _Case:
    """Something that may be done about something."""

    policy: Policy
    kind: Kind
    what: str
    name: str
    situation: Situation
    now: float


def matches(match: PolicyMatch, situation: Situation) -> bool:
    """Whether a policy with that `match` is for this subject."""
    return (
        (not match.components or (situation.is_component and is_one_of(situation.subject, match.components)))
        and (not match.targets or any(is_one_of(each, match.targets) for each in situation.targets))
        and all(is_one_of(situation.labels.get(name, ""), wanted) for name, wanted in match.labels.items())
        and (not match.profiles or (situation.profile is not None and is_one_of(situation.profile, match.profiles)))
    )


def decide(situation: Situation, policies: Iterable[Policy], now: float) -> Outlook:
    """Return what `policies`, in their order, make of `situation` at Unix time `now`.

    The first with an action that could be done wins; those before it that lack what they would act with say so.
    """
    return decide_by(applicable(policies, situation), situation, now)


def applicable(policies: Iterable[Policy], situation: Situation) -> tuple[Policy, ...]:
    """Return the policies that are for this subject, in their order."""
    matching = [each for each in policies if matches(each.match, situation)]
    own = {type(each.action) for each in matching if each.action is not None and not each.fallback}
    return tuple(each for each in matching if not (each.fallback and type(each.action) in own))


def decide_by(policies: Iterable[Policy], situation: Situation, now: float) -> Outlook:
    """Return what `policies` that are all for this subject make of it, like `decide`."""
    decisions: list[Decision] = []
    until = NEVER
    won = False
    for policy in policies:
        # What comes after the winner is asked again when the winner is.
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
    case = digest(situation.subject, policy.name, "notify", answer.since)
    return Decision(
        situation.subject,
        policy.name,
        notify,
        DecisionStatus.NOTIFY,
        answer.reasons,
        case,
        case,
        until=_or_none(answer.until),
    )


def _acted(policy: Policy, action: Action, situation: Situation, answer: CheckAnswer, now: float) -> Decision | None:
    """Return what comes of the action, None where there is nothing that it could ever act on."""
    kind = kind_of(action)
    what = _what(kind, situation)
    if situation.mode is None or what is None:
        return None
    in_use = situation.certificate.sha256 if situation.certificate else ""
    case = _Case(policy, kind, what, digest(situation.subject, policy.name, kind, what, in_use), situation, now)
    step = _step(case, answer)
    tried = max((each.ended for each in situation.attempts if (each.kind, each.what) == (kind, what)), default=None)
    return Decision(
        situation.subject,
        policy.name,
        action,
        step.status,
        answer.reasons,
        case.name,
        digest(case.name, step.status, tried, step.turn),
        what,
        step.waits_for,
        _or_none(min(answer.until, step.until)),
    )


def _what(kind: Kind, situation: Situation) -> str | None:
    match kind:
        case Kind.REPLACE:
            return situation.candidate.identity if situation.candidate else ""
        case Kind.ACTIVATE:
            return situation.on_disk
        case Kind.ROLLBACK:
            replacement = watched(situation)
            # What was replaced as one is undone as one, or not at all.
            return replacement.transaction if replacement and replacement.undoable else None


def _step(case: _Case, answer: CheckAnswer) -> DecisionStep:
    situation, now = case.situation, case.now
    if case.kind is Kind.REPLACE and (why := why_not(situation)):
        return DecisionStep(DecisionStatus.AWAIT_CANDIDATE, f"a candidate: {why}", turn=why)
    since = [each.since for each in answer.reasons if each.holds and each.since is not None]
    if is_spent(situation, case.kind, case.what, since, now):
        return DecisionStep(DecisionStatus.SPENT)
    if situation.held:
        return DecisionStep(DecisionStatus.HELD, situation.held, turn=situation.held)
    if situation.contested and not (case.kind is Kind.REPLACE and situation.renewed):
        # A new candidate has its turn before what somebody else wrote.
        return (
            DecisionStep(DecisionStatus.SPENT)
            if situation.renewed
            else DecisionStep(DecisionStatus.HELD, situation.contested, turn="contested")
        )
    word = situation.word(case.kind, case.what, now)
    if word is not None and not word.approved:
        return DecisionStep(DecisionStatus.REJECTED, until=word.until)
    mode = effective_mode(case.policy, situation)
    blind = _blind(case) if mode is Mode.AUTO else ""
    if mode in {Mode.OBSERVE, Mode.PLAN}:
        return DecisionStep(DecisionStatus.OBSERVE if mode is Mode.OBSERVE else DecisionStatus.PLAN)
    at = next_attempt(situation, case.kind, case.what, now)
    if at is not None:
        return DecisionStep(DecisionStatus.AWAIT_RETRY, f"the next attempt, at {moment(at)}", at)
    step = DecisionStep(DecisionStatus.ACT) if mode is Mode.AUTO and not blind else _approval(case, blind)
    if step.status is not DecisionStatus.ACT:
        return step
    opened = window(case.policy, situation, now)
    return replace(opened, until=min(opened.until, step.until))


def effective_mode(policy: Policy, situation: Situation) -> Mode:
    """Return how far to go: where nobody says whose certificates may be installed, a person looks at the plan."""
    if situation.mode is None or situation.mode is Mode.OBSERVE:
        return Mode.OBSERVE
    mode = policy.mode or situation.mode
    installs = isinstance(policy.action, Replace) and not policy.action.allowed_issuers
    return Mode.APPROVE if mode is Mode.AUTO and installs and not situation.allowed_issuers else mode


def _blind(case: _Case) -> str:
    """Say why a person is asked although the mode asks for none: the actor sees too little; empty where it does not."""
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
        return DecisionStep(DecisionStatus.ACT, until=word.until)
    said = [each for each in case.situation.approvals if each.case == case.name]
    if said and case.now < said[-1].until:
        return DecisionStep(DecisionStatus.ACT if said[-1].approved else DecisionStatus.REJECTED, until=said[-1].until)
    # Once what was said has expired, it is asked for again.
    waits_for = f"an operator's approval, since {blind}" if blind else "an operator's approval"
    return DecisionStep(DecisionStatus.AWAIT_APPROVAL, waits_for, turn=len(said))


def window(policy: Policy, situation: Situation, now: float) -> DecisionStep:
    """Return whether a window of `policy` is open at Unix time `now`, or is not waited for: ACT or AWAIT_WINDOW."""
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
