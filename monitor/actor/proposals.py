"""Plans that wait for a person: proposing one, withdrawing it, and taking a person's approval or rejection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Final

from actions.candidate import identities
from actions.ending import Ground
from actions.inbox import Inbox, empty
from actions.journal import Event
from actions.journal_state import ActionRequest, JournalState, Proposal
from actions.plan import Plan
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan, Remainder
from config.text import Printable, listed, printable, sentence
from monitor.actor.contested import contested
from monitor.actor.context import ActorContext
from monitor.actor.declined import note_declined
from monitor.actor.documents import about, cannot, plan_document, waiting_document
from monitor.actor.hindrances import case_of, held_back, served_already
from monitor.actor.offer_list import note_installed, offers_among
from monitor.actor.planning import Made, checked, make
from monitor.actor.request import Document, Request
from monitor.actor.unattended import see
from monitor.actor.work import Work
from monitor.dialect import iso

MOST_PLANS: Final = 8
"""Plans of one kind that wait for a person, for one component."""
_SHOWN: Final = 800
"""Characters of what is told of a plan that waits."""
_GONE: Final = frozenset({Ground.NOTHING_TO_DO, Ground.EMPTY_INBOX, Ground.MEMBER_INBOX})
"""Grounds on which a plan that waits is no longer wanted."""


def propose(work: Work, request: Request) -> Document:
    """Have the plan for the action that is wanted wait for a person's approval."""
    action, work = request.wanted, replace(work, waits_for_approval=True)
    made = checked(work, action, _made_or_cleared_away(work, action), held_back)
    if isinstance(made, Prepared):
        made = _put_up(work, action, made)
    else:
        note_declined(work, action, plan_document(work, made), request.why)
    return {**plan_document(work, made), **contested_document(work.context, action)}


def reject(work: Work, request: Request) -> Document:
    """Note that a person does not want the plan whose hash begins with `request.plan`."""
    proposal = _proposal(work, request.plan)
    if not isinstance(proposal, Proposal):
        return cannot(proposal)
    work.note(
        Event.REJECTED,
        proposal.action.components,
        hash=proposal.plan,
        kind=proposal.action.kind,
        components=list(proposal.action.components),
        case=dict(proposal.case),
        by=work.by,
        reason=printable(request.why),
    )
    return {"rejected": proposal.plan}


def approve(work: Work, request: Request) -> Document:
    """Note a person's approval of the plan whose hash begins with `request.plan`, if it is still the same plan."""
    work = replace(work, waits_for_approval=True)
    proposal = _proposal(work, request.plan)
    if not isinstance(proposal, Proposal):
        return cannot(proposal)
    made = _made_or_cleared_away(work, proposal.action)
    if not isinstance(made, Prepared):
        note_declined(work, proposal.action, plan_document(work, made), request.why)
        return plan_document(work, made)
    if made.order.plan.hash != proposal.plan:
        now = printable(made.order.plan.hash[:16])
        answer = cannot(sentence("the plan is another by now, {}: look at it again", now))
        note_declined(work, proposal.action, answer, request.why)
        return answer
    # The daemon carries it out once a policy's conditions have lasted: the actor counts from now.
    see(work, proposal.action, made)
    until = work.context.world.now() + work.context.config.settings.actor.approval_lifetime
    about = proposal.action.components
    work.note(Event.APPROVED, about, hash=proposal.plan, by=work.by, until=until, reason=printable(request.why))
    return {"approved": proposal.plan, "until": iso(until), **plan_document(work, made)}


def _proposal(work: Work, beginning: str) -> Proposal | Printable:
    """Return the one plan that waits and whose hash begins so, or why nothing is said of any, a sentence."""
    journal_state = work.context.journal_state()
    found = [each for plan, each in journal_state.proposals.items() if beginning and plan.startswith(beginning)]
    if len(found) == 1:
        return work.asks_too_often(found[0].action.components) or found[0]
    waiting = listed(printable(each[:16]) for each in journal_state.proposals) or Printable("none")
    number = Printable("more than one plan") if found else Printable("no plan")
    named = printable(beginning) or Printable("nothing")
    return sentence("{} that waits begins with {}; there are: {}", number, named, waiting)


def _made_or_cleared_away(work: Work, action: ActionRequest) -> Made:
    """Return the plan for an action; where there is nothing left to do, the causes of the plan are cleared away."""
    made, inboxes, _ = make(work, action)
    made = checked(work, action, made, served_already)
    if isinstance(made, RefusedPlan):
        clear_away(work, action, made, inboxes)
    return made


def _put_up(work: Work, action: ActionRequest, made: Prepared) -> Prepared | RefusedPlan:
    """Have a plan wait beside those that wait already; return it, or why there is no room for it."""
    plan = made.order.plan
    # A policy's conditions must last for a while: the actor counts from now.
    see(work, action, made)
    if plan.hash in work.context.journal_state().proposals:
        return made
    # The losses are those of the plan: else one plan could be asked for in many ways.
    action = replace(action, losses=plan.expected_losses)
    if (full := _make_room(work, action, plan)) is not None:
        return RefusedPlan((full,), made.effects)
    case = case_of(action, made)
    work.note(
        Event.PROPOSED,
        plan.components,
        hash=plan.hash,
        action=action.to_json(),
        by=work.by,
        case=case,
        shown=_told_apart(made),
        **({"group": plan.group} if plan.group else {}),
    )
    return made


def _make_room(work: Work, action: ActionRequest, plan: Plan) -> Objection | None:
    """Where too many plans wait, withdraw one that is outdated; return an objection where none is."""
    for name in plan.components:
        journal_state, now = work.context.journal_state(), work.context.world.now()
        waiting = [
            each
            for each in journal_state.proposals.values()
            if each.action.kind is action.kind and name in each.action.components
        ]
        if len(waiting) < MOST_PLANS:
            continue
        unapproved = (each for each in waiting if not _is_approved(journal_state, each, now))
        outdated = next((each for each in unapproved if not _is_current(work, each)), None)
        if outdated is None:
            what = f"{len(waiting)} plans for a {action.kind} of {name} wait already: approve or reject one of them"
            return Objection(Ground.TOO_MANY_PLANS, what)
        _withdraw(work, outdated, "the plan is another by now, and newer plans wait")
    return None


def _is_approved(journal_state: JournalState, proposal: Proposal, now: float) -> bool:
    return proposal.plan in journal_state.approved and now < journal_state.approved[proposal.plan].until


def _is_current(work: Work, proposal: Proposal) -> bool:
    """Whether the plan of a proposal is still the same."""
    made = make(work, proposal.action).made
    return isinstance(made, Prepared) and made.order.plan.hash == proposal.plan


def _withdraw(work: Work, proposal: Proposal, why: str) -> None:
    action = proposal.action
    work.note(Event.WITHDRAWN, action.components, hash=proposal.plan, action=action.to_json(), by=work.by, reason=why)


def clear_away(work: Work, action: ActionRequest, refused: RefusedPlan, inboxes: Sequence[Inbox]) -> None:
    """Empty the inboxes of candidates that are installed already, and withdraw plans that are no longer wanted."""
    offers = offers_among(work.context, action.components, inboxes) if refused.remainder is not None else {}
    if refused.remainder is not None and empty_inboxes(work.context, inboxes, refused.remainder):
        why = "the candidate in the inbox is installed already: it was taken out, and nothing else was done"
        work.note(Event.UNNEEDED, action.components, components=list(action.components), by=work.by, reason=why)
        note_installed(work, offers)
    if {each.ground for each in refused.objections} <= _GONE:
        why = "; ".join(each.detail for each in refused.objections)
        for proposal in tuple(work.context.journal_state().proposals.values()):
            if replace(proposal.action, losses=()) == replace(action, losses=()):
                _withdraw(work, proposal, why)


def empty_inboxes(context: ActorContext, inboxes: Iterable[Inbox], remainder: Remainder) -> int:
    """Remove the files that are no longer wanted; return their number. Raises OSError."""
    return sum(empty(context.world, each, lambda file: remainder.is_done_with(identities(file))) for each in inboxes)


def waiting_plans(context: ActorContext, action: ActionRequest) -> Document:
    """Return the plans that wait for one of these components, as a part of an answer."""
    journal_state, names = context.journal_state(), set(action.components)
    waiting = [each for each in journal_state.proposals.values() if names & set(each.action.components)]
    return {"waiting": [waiting_document(each, journal_state) for each in waiting]} if waiting else {}


def under_way(context: ActorContext, action: ActionRequest) -> Document:
    """Return the components that a transaction has not finished with, as a part of an answer."""
    journal_state = context.journal_state()
    found = [name for name in action.components if journal_state.is_unfinished(name)]
    return {"under_way": found} if found else {}


def contested_document(context: ActorContext, action: ActionRequest) -> Document:
    """Return the components that somebody else changes, too, as a part of an answer."""
    found: Document = {}
    for name in action.components:
        # A file that cannot be read is among the objections to the plan.
        with suppress(OSError):
            if (verdict := contested(context, name)) is not None:
                found[name] = asdict(verdict)
    return {"contested": found} if found else {}


def _told_apart(made: Prepared) -> str:
    """Return the difference of a plan from others for the same components, a sentence without an end."""
    group = made.order.plan.group
    return printable(f"{group}: {about(made)}" if group else about(made), _SHOWN)
