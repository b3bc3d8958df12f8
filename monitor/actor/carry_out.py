"""Carrying an action out: first interrupted transactions, then the plan, the permission, and the transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from actions.component_files import keys_in_use
from actions.ending import Outcome
from actions.journal import Event
from actions.journal_state import ActionRequest
from actions.offered import Offer
from actions.plan import Kind, Plan
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan
from actions.transaction import transact
from actions.transaction_state import TransactionContext
from config.text import Printable, harmless, listed, printable, sentence
from monitor.actor.attempt import Answered, Preparation, attempted, why_another_plan
from monitor.actor.declined import note_declined
from monitor.actor.documents import (
    cannot,
    plan_document,
    provenance_document,
)
from monitor.actor.evidence import circumstances
from monitor.actor.hindrances import rejected, served_already
from monitor.actor.meanwhile import changed_meanwhile, seen_now
from monitor.actor.planning import Planned, checked, led_astray, make
from monitor.actor.proposals import clear_away, empty_inboxes
from monitor.actor.request import Document, Request
from monitor.actor.requests import clear_keys
from monitor.actor.unattended import begins, changed_by_others, for_a_person, may, not_to_be_mended
from monitor.actor.work import Work

_NEW_STAYS = frozenset({Outcome.COMMITTED, Outcome.FAILED_FORWARD})


def carry_out(work: Work, request: Request) -> Document:
    """Carry out the action that is wanted, by the plan `request.plan` and no other where that is given.

    1. For a person, wait until no other process is at work on the components. Finish interrupted transactions, and
       keep late writes: they must not mix with the new transaction.
    2. Give up the keys in use, where they are compromised: they stay given up even if the replacement fails.
    3. Make the plan, of the files as they are by now. Refuse it for a person who meant another state (`meanwhile.py`);
       check that nobody rejected it and, without a person, that it may be carried out now.
    4. Carry out the transaction, and empty the inboxes once the new files stay. Where another process has begun
       meanwhile, a person's command waits again: a renewal hook comes once, and would lose its certificate.
    5. Remove keys whose requests the journal has as answered.

    A refusal before there is a transaction is recorded, too.

    Raises JournalError, BackupError, OSError.
    """
    if work.attended and work.seen is None:
        work = replace(work, seen=seen_now(work.context, request.wanted))
    answer, ending = attempted(work, lambda: _try(work, request))
    clear_keys(work)
    if ending is None:
        note_declined(work, request.wanted, answer, request.why)
    return answer


def _try(work: Work, request: Request) -> Answered:
    """Make one attempt; the steps are those of `carry_out`."""
    action, transaction = request.wanted, _recorded(work, request)
    # 1
    preparation = Preparation.begun(work, action, transaction)
    # 2: the files of another component would have that component's keys given up.
    if action.key_compromised and not led_astray(work.context, action):
        preparation.beside["given_up"] = _give_up_keys(work, action, request.why)
    # 3
    if preparation.busy is not None:
        return preparation.declined(preparation.busy)
    planned = _permitted_plan(work, action)
    if not isinstance(planned, Planned):
        return preparation.refused(cannot(planned))
    made = planned.made
    if not request.plan:
        made = checked(work, action, made, _changed_meanwhile)
    if not isinstance(made, Prepared):
        return preparation.refused(plan_document(work, made))
    if (why := why_another_plan(request.plan, made.order)) is not None:
        since = listed((harmless(each.detail) for each in _changed_meanwhile(work, action, made)), "; ")
        return preparation.declined(cannot(listed(filter(None, (why, since)), ". ")))
    if made.offer is not None and made.offer.why_not_alone and work.attended and not request.plan:
        by_its_hash = cannot(_by_its_hash(work, made.offer, made.order.plan))
        return preparation.declined({**plan_document(work, made), **by_its_hash})
    # 4
    asked = {**transaction.asked, **_on_behalf(work, planned.policy), **_of_plan(made)}
    ending = transact(replace(transaction, asked=asked), made.order)
    if ending.outcome in _NEW_STAYS:
        empty_inboxes(work.context, planned.inboxes, made.remainder)
    return preparation.ended(plan_document(work, made), ending)


def _of_plan(made: Prepared) -> dict[str, object]:
    """Return the facts of a plan for the journal: with these, its commit closes the requests that it answers."""
    offered = {} if made.offer is None else {"offered": provenance_document(made.offer.provenance)}
    # Not only the plan tells that another program keeps these files.
    folders = {"folders": list(made.folders)} if made.folders else {}
    return {"begins": begins(made), "answers": sorted(made.answers), **offered, **folders}


def _by_its_hash(work: Work, offer: Offer, plan: Plan) -> Printable:
    """Say that an offer is carried out by the hash of its plan alone: a person with an inbox in mind expects none."""
    names = listed(map(printable, work.context.config.subjects_of(plan.components)), " ")
    return sentence(
        "{}: look at the plan (`certvigil plan {}`), and name it: `certvigil replace {} --plan {}`",
        harmless(offer.why_not_alone),
        names,
        names,
        printable(plan.hash),
    )


def _changed_meanwhile(work: Work, action: ActionRequest, _made: Prepared) -> Iterator[Objection]:
    """Yield that the components changed after a person asked; whoever names a plan is bound by its hash."""
    if work.attended and work.seen is not None:
        yield from changed_meanwhile(work.context, action, work.seen)


def _recorded(work: Work, request: Request) -> TransactionContext:
    """Return the context of a transaction, with the facts of the request for the journal."""
    asked = {
        "by": work.by,
        "why": printable(request.why),
        "action": request.wanted.to_json(),
        "handed": work.files is not None,
        "circumstances": circumstances(work.context.trust_context),
    }
    return replace(work.transaction, asked=asked)


def _on_behalf(work: Work, policy: str) -> dict[str, object]:
    """Return for whom the daemon has a plan carried out: the person who approved it, or the policy that wants it."""
    if work.attended:
        return {}
    if (approval := work.approval) is None:
        return {"by": printable(f"policy {policy}"), "through": work.by} if policy else {}
    # Where the daemon has recorded the approval, only its word says whose it is.
    whose = f"{approval.by}, {approval.why}" if approval.by == work.by and approval.why else approval.by
    return {"by": printable(f"{whose}, by approval"), "through": work.by, "approved": True}


def _give_up_keys(work: Work, action: ActionRequest, why: str) -> dict[str, list[str]]:
    """Note that the keys in use are compromised from now on; return them by component. Raises JournalError, OSError."""
    context = work.context
    found = {name: keys_in_use(context.site(name), context.world) for name in action.components}
    known = context.journal_state().given_up.keys()
    for name, keys in found.items():
        if new := sorted(keys - known):
            work.note(Event.KEY_GIVEN_UP, keys=new, components=[name], by=work.by, reason=printable(why))
    return {name: sorted(keys) for name, keys in found.items()}


def _permitted_plan(work: Work, action: ActionRequest) -> Planned | Printable:
    """Return the plan and the inboxes it is from; a sentence where the daemon may not have it carried out now."""
    made, inboxes, _ = make(work, action)
    made = checked(work, action, made, served_already)
    if isinstance(made, RefusedPlan) and work.files is None:
        clear_away(work, action, made, inboxes)
    if work.attended:
        return Planned(made, inboxes)
    made = checked(work, action, made, rejected)
    if work.approval is None:
        made = checked(work, action, made, changed_by_others, not_to_be_mended, for_a_person)
    if not isinstance(made, Prepared):
        return Planned(made, inboxes)
    permission = may(work, action, made)
    if permission.why:
        return _not_now(work, action, permission.why)
    if permission.policy is not None and action.kind is Kind.REPLACE:
        # The policy that calls for it may take the certificates of fewer issuers. Where that makes another plan, it is
        # not the plan that the daemon has named, and is refused.
        planned = make(work, action, permission.policy)
    else:
        planned = Planned(made, inboxes)
    return planned._replace(policy="" if permission.policy is None else permission.policy.name)


def _not_now(work: Work, action: ActionRequest, why: str) -> Printable:
    now = "to be done now" if work.approval is not None else "for the daemon alone, and this plan is not approved"
    return printable(f"{action.kind} of {', '.join(action.components)} is not {now}: {why}", 2000)
