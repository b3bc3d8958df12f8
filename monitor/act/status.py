"""What is known of a component that may be changed: its candidate, what waits, and what is the matter with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from actions.aside import Late
from actions.candidate import Flaw
from actions.ending import Cause, Ground, Outcome
from actions.journal_state import RecordedEnding
from actions.plan import Kind
from config.text import printable
from config.vocabulary import Code, ComponentState, Mode
from monitor.actor.request import Document
from monitor.decide.decision import Decision, DecisionStatus, kind_of_decision
from probes.finding import Finding, finding
from probes.judge.time import moment

_NONE_YET: Final = frozenset({Ground.EMPTY_INBOX, Ground.NOTHING_TO_DO})


_LACKS_A_FILE: Final = frozenset({Flaw.NO_CERTIFICATE, Flaw.NO_KEY, Flaw.UNDECODABLE})
"""Flaws that the next file, or the rest of one, may mend."""


@dataclass(frozen=True, slots=True)
class CandidateStatus:
    """What the actor says of what is in an inbox."""

    candidate: str = ""
    """What identifies it; empty where there is nothing, or something is wrong with it."""
    plan: str = ""
    """The hash of what it would lead to."""
    since: float = 0.0
    """Unix time."""
    not_after: float | None = None
    objections: tuple[tuple[str, str], ...] = ()
    """Ground and detail of each thing that is wrong."""
    remarks: tuple[str, ...] = ()
    """What else is to be said of it."""

    @property
    def lacks_a_file(self) -> bool:
        """Whether nothing is wrong with it but that something is missing: people copy one file after the other."""
        return bool(self.objections) and all(_is_lack(*each) for each in self.objections)


def _is_lack(ground: str, detail: str) -> bool:
    return ground == Ground.INCOMPLETE_CHAIN or (
        ground == Ground.NO_CANDIDATE and detail.partition(":")[0] in _LACKS_A_FILE
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A plan that waits for a person, or for its window."""

    plan: str
    """Its hash."""
    kind: Kind
    components: tuple[str, ...]
    at: float
    """Unix time at which it was proposed."""
    approved_until: float | None
    shown: str
    """What tells it from the others; printable."""


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """What is known of one component that certvigil may change."""

    name: str
    mode: Mode
    state: ComponentState
    inbox: str
    offer: CandidateStatus
    decision: Decision | None
    """What is to be done to it, or waits to be."""
    plan: str
    """The hash of the plan that waits for a person; empty where none does."""
    approved_until: float | None
    frozen: str | None
    """Why."""
    last: RecordedEnding | None
    contested: str = ""
    """How somebody else undoes what is done; empty where nobody does."""
    settled: bool = False
    """What went wrong last is no concern any more."""
    late: Late | None = None
    """What somebody wrote last to files that had been replaced, until an operator says that it is known."""
    notes: tuple[str, ...] = ()
    """What else is worth knowing: sentences, printable."""
    waiting: tuple[Waiting, ...] = ()
    """The plans that wait, oldest first."""
    given_up: Mapping[str, str] = field(default_factory=dict)
    """Why each of its private keys that never return was given up, by the SHA-256 of its public half."""


def is_done(answer: Document) -> bool:
    """Whether what lies in an inbox is in place already."""
    objections = answer.get("refused", {}).get("objections", ())
    return Ground.NOTHING_TO_DO in {each["ground"] for each in objections}


def offer_of(answer: Document, before: CandidateStatus, now: float) -> CandidateStatus:
    """Return what an answer to a plan says of an inbox at Unix time `now`, where `before` was what it held."""
    if "plan" in answer:
        plan = answer["plan"]
        candidate = str(plan["candidate"])
        ends = [each["after"]["not_after"] for each in plan["certificates"] if each["after"]["not_after"] is not None]
        since = before.since if before.candidate == candidate else now
        remarks = tuple(str(each) for each in answer.get("remarks", ()))
        return CandidateStatus(candidate, str(plan["hash"]), since, min(ends, default=None), remarks=remarks)
    if "refused" in answer:
        objections: Sequence[Mapping[str, str]] = answer["refused"]["objections"]
        wrong = [each for each in objections if each["ground"] not in _NONE_YET]
        return CandidateStatus(objections=tuple((str(each["ground"]), str(each["detail"])) for each in wrong))
    return CandidateStatus(objections=(("cannot", why_not(answer)),))


def findings_of(charge: ComponentStatus) -> Iterator[Finding]:
    """Yield what is the matter with a component, as findings of its actions."""
    name = charge.name
    if charge.frozen is not None:
        cure = f"once it is right, `certvigil recover --thaw {name}` says so"
        yield finding(Code.COMPONENT_FROZEN, f"{printable(charge.frozen)}; nothing more is done to it: {cure}")
    if charge.contested:
        yield finding(Code.REVERTED_BY_ANOTHER, printable(charge.contested))
    if charge.late is not None:
        known = f"`certvigil recover --thaw {name}` says that it is known"
        way = f"`certvigil rollback {name} --to {charge.late.backup_set}` puts it in place, and " * bool(
            charge.late.backup_set
        )
        yield finding(Code.WRITTEN_LATE, f"{charge.late.sentence}; {way}{known}")
    if charge.last is not None and not charge.settled and (what := _went_wrong(charge.last)) is not None:
        yield finding(Code.ACTION_FAILED, f"{what}; {_how_to_settle(charge, charge.last)}")
    for number, (ground, detail) in enumerate(charge.offer.objections):
        code = Code.INBOX_UNSAFE if ground == Ground.INBOX_UNSAFE else Code.CANDIDATE_REFUSED
        # These say what the code, or the detail itself, says already.
        what = detail if ground in {Ground.INBOX_UNSAFE, Ground.NO_CANDIDATE} else f"{ground}: {detail}"
        yield finding(code, what, str(number) if number else "")
    if charge.decision is None or not charge.plan:
        return
    plan, kind = charge.plan[:16], kind_of_decision(charge.decision)
    # So that the notifier knows what is wrong until then.
    subject = str(kind) if kind is Kind.ACTIVATE else ""
    if charge.decision.standing is DecisionStatus.AWAIT_APPROVAL:
        what = f"`certvigil approve {plan}` or `certvigil reject {plan}`"
        yield finding(Code.APPROVAL_PENDING, f"the {kind} by plan {plan} waits for approval: {what}", subject)
    elif charge.decision.standing is DecisionStatus.PLAN:
        what = f"`certvigil {kind} {name} --plan {charge.plan}` carries it out"
        yield finding(Code.APPROVAL_PENDING, f"the plan {plan} is ready: {what}", subject)


def _how_to_settle(charge: ComponentStatus, last: RecordedEnding) -> str:
    """Say how this finding goes away."""
    if last.outcome is Outcome.FROZEN:
        return "it stands until the component is thawed"
    known = f"`certvigil recover --thaw {charge.name}` says that it is known"
    if last.kind is Kind.REPLACE and not last.handed and last.outcome is not Outcome.FAILED_FORWARD:
        return f"another candidate clears this, and so does an empty inbox {printable(charge.inbox)}; or {known}"
    return f"the next change that holds clears this; or {known}"


def _went_wrong(last: RecordedEnding) -> str | None:
    """Say what did not go as it should, a sentence; None where all is well."""
    when = moment(last.at)
    if last.outcome is Outcome.SUPERSEDED:
        return None
    if last.outcome is Outcome.COMMITTED:
        undone = last.kind is Kind.ROLLBACK and last.why
        return f"it was rolled back by itself at {when}, by {printable(last.why)}" if undone else None
    if last.cause is Cause.BUSY:
        return None
    return f"the {last.kind} of {when} was {last.outcome}: {printable(last.reason)}"


def why_not(answer: Document | None) -> str:
    """Say why what was asked of the actor was not done, a sentence."""
    if answer is None:
        return "the actor gave no answer"
    if "refused" in answer:
        return "; ".join(f"{each['ground']}: {each['detail']}" for each in answer["refused"]["objections"])
    if answer.get("endings"):
        return str(answer["endings"][-1]["sentence"])
    return str(answer.get("cannot", "the actor gave no sense"))
