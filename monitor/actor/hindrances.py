"""Objections to a plan that could be made: of the journal, of a person, of the files, of a service's test."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from actions.ending import Cause, Ground
from actions.journal_state import ActionRequest, cases_of
from actions.plan import Kind, Plan, candidate_of
from actions.precheck import Objection
from actions.prepare import Prepared
from actions.refusal import refusal
from actions.target import obstacle
from actions.validate import Served
from config.text import printable
from monitor.actor.backup_sets import last_usable
from monitor.actor.context import ActorContext
from monitor.actor.work import Work
from probes.certificate import Certificate


def case_of(context: ActorContext, action: ActionRequest, made: Prepared) -> dict[str, str]:
    """Return the certificate, or the backup set, that a plan gives each component, as in `Case`."""
    if action.kind is not Kind.ROLLBACK:
        return {name: new.sha256 for name, (_, new) in made.leaves.items()}
    if action.backup_set:
        return dict.fromkeys(made.order.plan.components, action.backup_set)
    chosen = last_usable(context, action.components)
    if not isinstance(chosen, Mapping):
        return {}
    return {name: chosen[name].sets[-1].transaction for name in made.order.plan.components if name in chosen}


def rejected(work: Work, action: ActionRequest, made: Prepared) -> Iterator[Objection]:
    """Yield that a person rejected it, whatever plan it was in."""
    ruling = work.context.journal_state().no_to(cases_of(action.kind, case_of(work.context, action, made)))
    if ruling is not None:
        because = f": {ruling.why}" if ruling.why else ""
        yield Objection(Ground.REJECTED, f"this {action.kind} was rejected by {ruling.by}{because}")


def held_back(work: Work, action: ActionRequest, made: Prepared) -> Iterator[Objection]:
    """Yield the objections of the journal and the files to a plan: a dry run refuses the same plans as the run."""
    journal_state, plan = work.context.journal_state(), made.order.plan
    for name in plan.components:
        if name in journal_state.frozen:
            yield Objection(Ground.FROZEN, f"{name} is frozen: {journal_state.frozen[name]}")
    if (why := journal_state.quarantined.get(candidate_of(plan.changes))) is not None:
        yield Objection(Ground.QUARANTINED, f"this candidate is in quarantine: {why}")
    yield from rejected(work, action, made)
    yield from _obstacles(work.context, plan)


def _obstacles(context: ActorContext, plan: Plan) -> Iterator[Objection]:
    """Yield why a file cannot be replaced."""
    for change in plan.changes:
        try:
            why = obstacle(context.world, change, context.transaction.terms.trusted_owners)
        except OSError as error:
            why = printable(f"{change.path} cannot be examined: {error.strerror}")
        if why is not None:
            yield Objection(Ground.TARGET, why)


def fails_its_test(work: Work, _action: ActionRequest, made: Prepared) -> Iterator[Objection]:
    """Yield why a transaction would be refused now; commands are run only for a person."""
    failure = refusal(work.transaction, made.order) if work.attended else None
    if failure is not None:
        ground = Ground.CONFIG_TEST_BEFORE if failure.cause is Cause.CONFIG_TEST_BEFORE else Ground.TARGET
        yield Objection(ground, failure.sentence)


def served_already(work: Work, action: ActionRequest, made: Prepared) -> Iterator[Objection]:
    """Yield an objection where every endpoint serves the chain of the plan already, unless an activation is forced."""
    plan = made.order.plan
    if plan.kind is not Kind.ACTIVATE or action.force:
        return
    stages = [stage for name in plan.components for stage in work.context.site(name).stages]
    first = [
        EndpointChains(stage.endpoint.name, tuple(_hashes(shown.chain) for shown in stage.served)) for stage in stages
    ]
    if _serves(plan, first) and _serves(plan, _seen_by_many_handshakes(work, plan)):
        yield Objection(Ground.NOTHING_TO_DO, "the set on disk is served already")


class EndpointChains(NamedTuple):
    """The chains that an endpoint presents; an empty one where a handshake failed."""

    endpoint: str
    chains: tuple[tuple[str, ...], ...]


def _serves(plan: Plan, seen: Collection[EndpointChains]) -> bool:
    """Whether every endpoint presents chains of a plan, and no others."""
    wanted = {each.endpoint: each.chains for each in plan.serves}
    return bool(seen) and all(
        each.chains and all(chain in wanted.get(each.endpoint, ()) for chain in each.chains) for each in seen
    )


def _seen_by_many_handshakes(work: Work, plan: Plan) -> list[EndpointChains]:
    """Return what endpoints present in as many handshakes as show a worker that kept the old certificate."""
    context = work.context.transaction
    served = context.live.look(plan.components, work.context.world.now()).served
    return [
        EndpointChains(name, tuple(each.chain for each in served if each.endpoint == name)) for name in _names(served)
    ]


def _names(served: Iterable[Served]) -> Iterable[str]:
    return dict.fromkeys(each.endpoint for each in served)


def _hashes(chain: Iterable[Certificate]) -> tuple[str, ...]:
    return tuple(each.sha256 for each in chain)
