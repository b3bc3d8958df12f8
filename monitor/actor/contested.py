"""Whether another writer undoes the changes of a component, by the journal and the disk, and who it is."""

from __future__ import annotations

import os
from collections.abc import Sequence

from actions.component_files import set_on_disk
from actions.contest import PERIOD, commits_of, contest, contest_sentence
from actions.journal import Event, Record
from actions.plan import Plan, plan_from_json
from actions.writer import writer_of
from config.immutable import immutable
from config.text import printable
from monitor.actor.context import ActorContext


@immutable
class Contested:
    """Another writer undoes certvigil's changes of a component."""

    sentence: str
    """Who, when, and how to go on; printable."""
    renewed: bool
    """A candidate came into the inbox since then."""


def contested(context: ActorContext, name: str) -> Contested | None:
    """Return the contest about the component called `name`, if its changes were undone too often; else None.

    Raises OSError where its files cannot be read.
    """
    component = context.config.components[name]
    # Older events do not count.
    since = context.world.now() - PERIOD
    past = commits_of([each for each in context.records() if each.at >= since], name, component.endpoints)
    if not past or context.journal_state().is_our_doing(name):
        # Files that a transaction has written so far are nobody else's, whether it goes on, is recovered or froze.
        return None
    found, changed = set_on_disk(component, context.world)
    verdict = contest(past, found, changed, context.world.now())
    if verdict is None:
        return None
    writer = writer_of(context.world, verdict.paths)
    return Contested(
        contest_sentence(context.config.subject_of(name), verdict, writer),
        newest_in(context, context.inbox(context.config.subject_of(name))) > max(changed, past[-1].at),
    )


def newest_in(context: ActorContext, directory: str) -> float:
    """Return when the last file came into an inbox, a Unix time; 0 where there is none."""
    try:
        names = [each for each in context.world.names(directory) if not each.startswith(".")]
        return max((context.world.stat(os.path.join(directory, each)).st_ctime for each in names), default=0.0)
    except OSError:
        return 0.0


def changed_since(context: ActorContext, records: Sequence[Record], transaction: str) -> str | None:
    """Return a file that has another content than a transaction gave it, printable; None where all are.

    Raises OSError where a file cannot be read.
    """
    plan = _plan_of(records, transaction)
    components = {each.component for each in plan.changes} if plan is not None else set()
    found: dict[str, str] = {}
    for name in components & context.config.components.keys():
        found.update(set_on_disk(context.config.components[name], context.world)[0].files)
    changes = plan.changes if plan is not None else ()
    return next((printable(each.path) for each in changes if found.get(each.path) != each.new_sha256), None)


def _plan_of(records: Sequence[Record], transaction: str) -> Plan | None:
    begun = (each for each in records if each.event is Event.BEGIN and each.transaction == transaction)
    return next((plan_from_json(each.data["plan"]) for each in begun), None)
