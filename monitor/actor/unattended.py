"""Whether a plan may be carried out for the daemon now, by the actor's own looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from actions.component_files import set_on_disk
from actions.ending import Ground
from actions.journal_state import ActionRequest, JournalState, Ruling, cases_of
from actions.plan import Ill, Kind, candidate_of
from actions.precheck import Objection
from actions.prepare import Prepared
from config.model import Config
from config.text import Printable, listed, printable, sentence
from config.vocabulary import Mode
from monitor.actor.contested import changed_since, contested
from monitor.actor.context import ActorContext
from monitor.actor.evidence import NOT_ASKED, Look, look_at, situation_of, unproven
from monitor.actor.hindrances import case_of
from monitor.actor.work import Work
from monitor.decide.history import attempts_of_all, why_not_again
from monitor.decide.leave import Leave, joins, leave
from monitor.decide.situation import Said, Situation, of_group
from probes.judge.time import moment


def changed_by_others(work: Work, action: ActionRequest, _made: Prepared) -> Iterator[Objection]:
    """Yield that somebody else changes the files, too; raises OSError."""
    records = work.context.records()
    for name in action.components:
        found = contested(work.context, name)
        if found is not None and not (action.kind is Kind.REPLACE and found.renewed):
            yield Objection(Ground.CONTESTED, f"{name}: {found.sentence}")
            return
    if action.kind is Kind.ROLLBACK and (path := changed_since(work.context, records, action.backup_set)) is not None:
        yield Objection(Ground.NEEDS_A_PERSON, f"{path} was changed by somebody else since")


def not_to_be_mended(work: Work, _action: ActionRequest, made: Prepared) -> Iterator[Objection]:
    """Yield why broken files are not mended without a person; raises OSError."""
    context = work.context
    pending, now = context.config.settings.pending, context.world.now()
    for name in (each for each, ill in made.order.mends.items() if ill is not Ill.EXPIRED):
        changed = set_on_disk(context.config.components[name], context.world)[1]
        if now - changed < pending:
            why = f"its files were changed {now - changed:.0f} s ago, and somebody may be at work on them"
            yield Objection(Ground.CONTESTED, f"{name}: {why}")
            return
        if made.leaves[name][0] is None:
            why = "no certificate that was in use is known to compare the new one with"
            yield Objection(Ground.NEEDS_A_PERSON, f"{name}: {why}")
            return


def for_a_person(work: Work, action: ActionRequest, made: Prepared) -> Iterator[Objection]:
    """Yield why no policy may have that done, whatever is seen and however long it waits; raises OSError."""
    if action.losses:
        yield Objection(Ground.NEEDS_A_PERSON, "clients would be lost on purpose")
    if action.allow_shorter:
        yield Objection(Ground.NEEDS_A_PERSON, "that it may last for less is for an operator to say")
    if made.offer is not None and made.offer.why_not_alone:
        yield Objection(Ground.NEEDS_A_PERSON, made.offer.why_not_alone)
    if action.kind is Kind.REPLACE and (why := _goes_back(made, work.context.journal_state())):
        yield Objection(Ground.NEEDS_A_PERSON, why)


def tried_before(work: Work, action: ActionRequest, made: Prepared) -> Iterator[Printable]:
    """Yield why nothing installs the candidate in the inbox again without a person, a sentence."""
    if action.kind is not Kind.REPLACE or work.files is not None or made.offer is not None:
        return
    attempts = attempts_of_all(work.context.journal_state(), action.components)
    if why := why_not_again(candidate_of(made.order.plan.changes), attempts):
        names = work.context.config.subjects_of(action.components)
        again = listed(sentence("`certvigil replace {}`", printable(each)) for each in names)
        yield sentence(
            "{}, so nothing installs it again unattended: {} does, or take it out of {}",
            printable(why),
            again,
            listed(printable(work.context.inbox(each)) for each in names),
        )


def left_to_person(work: Work, action: ActionRequest, made: Prepared) -> Iterator[str]:
    """Yield why mode `auto` does not have that done without a person, sentences; raises OSError."""
    config = work.context.config
    if all(config.components[name].mode is not Mode.AUTO for name in action.components):
        return
    # A person who asks for that knows it.
    action = replace(action, losses=(), allow_shorter=False)
    for check in (changed_by_others, not_to_be_mended, for_a_person):
        for each in check(work, action, made):
            if each.ground is Ground.NEEDS_A_PERSON:
                yield f"the daemon leaves it to a person: {each.detail}"


def may(work: Work, action: ActionRequest, made: Prepared) -> Leave:
    """Return the policy by which a plan may be carried out now, or why it may not be; raises OSError."""
    situations = see(work, action, made, work.approval)
    policies, now = work.context.config.policies, work.context.world.now()
    candidate = candidate_of(made.order.plan.changes)
    objects = [_object(action, candidate, each) for each in situations]
    given = [leave(action.kind, what, each, policies, now) for what, each in zip(objects, situations, strict=True)]
    first = next((each for each in given if not each.why), None)
    if first is None:
        return given[0]
    # A transaction is undone for all of its components at once, whichever of them is worse off.
    for what, situation, own in zip(objects, situations, given, strict=True):
        if own.why and (against := joins(action.kind, what, situation, policies, now)):
            return Leave(None, against)
    return first


def see(work: Work, action: ActionRequest, made: Prepared, approval: Ruling | None = None) -> tuple[Situation, ...]:
    """Return the situation of each group, and of each other component of a plan, by the actor's present looks.

    `approval` is the answer of a person to the plan: this person answers for facts that the actor cannot see. Raises
    OSError.
    """
    context, kind = work.context, action.kind
    looks = [look_at(context, name) for name in action.components]
    candidate = candidate_of(made.order.plan.changes) if kind is Kind.REPLACE else ""
    no_evidence = _no_evidence(context, action, made, looks, approval)
    given_up = context.journal_state().why_not(made.order.keys)
    case = case_of(action, made)

    def situation(look: Look) -> Situation:
        seen = situation_of(
            context,
            look,
            work.sightings,
            candidate=candidate,
            unproven=no_evidence,
            given_up=given_up,
            offered=0.0 if made.offer is None else made.offer.provenance.at,
        )
        rejection = _rejection(context, action, case, seen.subject)
        what = _object(action, candidate, seen)
        said = tuple(
            Said(kind, what, approved, each.until, each.by)
            for approved, each in ((False, rejection), (True, approval))
            if each is not None
        )
        return replace(seen, said=said, apart=seen.apart if approval is None else 0.0)

    seen = {look.component.name: situation(look) for look in looks}
    return tuple(_as_one(context.config, subject, seen) for subject in context.config.subjects_of(seen))


def _as_one(config: Config, subject: str, seen: Mapping[str, Situation]) -> Situation:
    """Return the situation of a group, or of a component that is in none."""
    members = [seen[name] for name in config.members_of(subject)]
    return of_group(subject, members) if subject in config.groups else members[0]


def _no_evidence(
    context: ActorContext, action: ActionRequest, made: Prepared, looks: Sequence[Look], approval: Ruling | None
) -> str:
    """Say why nothing that is seen now is evidence against the last replacement; empty where it is."""
    if action.kind is not Kind.ROLLBACK:
        return NOT_ASKED
    if approval is not None:
        return ""
    if why := unproven(context, looks, action.backup_set):
        return why
    better_off = any(each.gained for each in made.effects)
    return "" if better_off else "no client would be better off with the former files"


def _rejection(context: ActorContext, action: ActionRequest, case: Mapping[str, str], component: str) -> Ruling | None:
    """Return the ruling by which a person does not want that done to one component of a plan, as `case_of` has it."""
    mine = {component: case[component]} if component in case else {}
    return context.journal_state().no_to(cases_of(action.kind, mine))


def _object(action: ActionRequest, candidate: str, situation: Situation) -> str:
    """Return the object of an action on a component, as `Decision.what`: candidate, backup set or certificate."""
    match action.kind:
        case Kind.REPLACE:
            return candidate
        case Kind.ROLLBACK:
            return action.backup_set
        case Kind.ACTIVATE:
            return situation.on_disk
        case Kind.TRUST:
            return ""


def begins(made: Prepared) -> dict[str, float]:
    """Return from when on the new certificate of each component is valid, Unix time."""
    return {name: new.not_before for name, (_, new) in made.leaves.items() if new.not_before is not None}


def _goes_back(made: Prepared, journal_state: JournalState) -> str:
    """Say which new certificate is older than one that was in use, so that a person must want it; empty where none."""
    for name, begin in begins(made).items():
        old = made.leaves[name][0]
        newest = max(journal_state.newest.get(name, 0.0), (old.not_before or 0.0) if old is not None else 0.0)
        if begin < newest:
            return f"the certificate for {name} begins at {moment(begin)}, and one that begins later was in use"
    return ""
