"""Facts about a backup set: the transaction that took it, whether it was ever in use, and whether it is in use now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from actions import target
from actions.artefact import ways_of_presenting
from actions.backup import BackupError, BackupSet
from actions.journal import Record
from actions.plan import Kind, plan_from_json
from actions.validate import live_view_from_json
from config.immutable import immutable
from monitor.actor.context import ActorContext
from monitor.actor.live_view import endpoints_of
from monitor.actor.transactions import Transactions
from probes.certificate import Certificate


@immutable
class SetOrigin:
    """The transaction before which a set was copied."""

    kind: Kind
    by: str
    outcome: str
    """As in the journal; empty where it has not ended."""


@immutable
class SetFacts:
    """Facts about one backup set."""

    origin: SetOrigin | None
    """None where the journal does not have the transaction any more, and of a set of another program."""
    was_in_use: bool | None
    """Its files were served before the transaction, or an earlier one was committed with them; None if not known."""
    is_on_disk: bool


def facts_of_set(context: ActorContext, of: BackupSet) -> SetFacts:
    """Return the facts about a backup set; raises JournalError, OSError where the journal cannot be read.

    The journal has nothing about a set of another program, whatever its name.
    """
    if of.folder:
        return SetFacts(None, None, is_on_disk(context, of))
    known = context.transactions()
    begin = known.begun.get(of.transaction)
    origin = None if begin is None else _origin(begin, known.ended.get(of.transaction))
    return SetFacts(origin, _was_in_use(context, of, begin, known), is_on_disk(context, of))


def is_on_disk(context: ActorContext, of: BackupSet) -> bool:
    """Whether each file of a set has the content of the set now; a file that cannot be read has another."""
    try:
        now = {copy.path: target.state(context.world, copy.path) for copy in of.copies}
    except OSError:
        return False
    return all(
        (found and found.sha256) == (copy.state and copy.state.sha256)
        for copy in of.copies
        for found in (now[copy.path],)
    )


def certificates_in(context: ActorContext, of: BackupSet) -> tuple[Certificate, ...]:
    """Return the chain that a server presents with a set, the server's certificate first; empty where none is known."""
    if of.component not in context.config.components:
        return ()
    try:
        return context.presented_with(of)
    except (BackupError, OSError):
        return ()


class PresentedNow(NamedTuple):
    """A chain that an endpoint presents now."""

    chain: tuple[str, ...]
    """SHA-256 of each certificate, hexadecimal."""
    may_be_leaf_alone: bool
    """The endpoint is not expected to send more than its own certificate."""


def presented_now(context: ActorContext, component: str) -> tuple[PresentedNow, ...]:
    """Return the chains that the endpoints of a component present now."""
    stages = context.site(component).stages if component in context.config.components else ()
    return tuple(
        PresentedNow(tuple(each.sha256 for each in shown.chain), stage.endpoint.may_send_leaf_alone)
        for stage in stages
        for shown in stage.served
        if shown.chain
    )


def is_served(chain: Sequence[Certificate], presented: Collection[PresentedNow]) -> bool | None:
    """Return whether every presented chain is that of a set; None where no endpoint answers, or the set has none."""
    if not presented or not chain:
        return None
    return all(each.chain in ways_of_presenting(chain, leaf_alone=each.may_be_leaf_alone) for each in presented)


def _origin(begin: Record, ending: Record | None) -> SetOrigin:
    outcome = "" if ending is None else str(ending.data.get("outcome", ""))
    return SetOrigin(Kind(begin.data["plan"]["kind"]), str(begin.data.get("by", "")), outcome)


def _was_in_use(context: ActorContext, of: BackupSet, begin: Record | None, known: Transactions) -> bool | None:
    served = None if begin is None else _was_served(context, of, begin)
    if served:
        return True
    return True if _was_committed(of, known) else served


def _was_served(context: ActorContext, of: BackupSet, begin: Record) -> bool | None:
    """Return whether the look before a transaction found the old files served; None where no endpoint answered."""
    plan, baseline = plan_from_json(begin.data["plan"]), live_view_from_json(begin.data["baseline"])
    component = context.config.components.get(of.component)
    own = () if component is None else {each.name for each in endpoints_of(context.config, component)}
    # The server's certificate tells: which others a server presents with it is its own affair.
    leaves = {
        each.endpoint: {chain[0] for chain in each.chains if chain} for each in plan.served if each.endpoint in own
    }
    seen = [each for each in baseline.served if each.endpoint in leaves and each.chain]
    return any(each.chain[0] in leaves[each.endpoint] for each in seen) if seen else None


def _was_committed(of: BackupSet, known: Transactions) -> bool:
    """Whether a transaction before the one that took the set was committed with exactly these files."""
    held = {(of.component, copy.path): copy.state.sha256 for copy in of.copies if copy.state is not None}
    return any(
        left.items() >= held.items()
        for transaction, left in known.left.items()
        if transaction != of.transaction and known.begun[transaction].at <= of.at
    )
