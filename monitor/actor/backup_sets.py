"""The backup sets of components: listing them, and choosing the one that is given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actions import backup
from actions.backup import BackupError, BackupSet
from actions.component_files import keys_of_set
from actions.ending import Ground
from actions.precheck import Objection
from actions.prepare import RefusedPlan
from config.text import Printable, printable, sentence
from monitor.actor.context import ActorContext
from monitor.actor.documents import set_document
from monitor.actor.request import Document, Request
from monitor.actor.work import Work

DEFAULT_SET = "default"


@dataclass(frozen=True, slots=True)
class ChosenSets:
    """The backup sets that a component is given back: a file that several hold is as the last has it."""

    sets: Sequence[BackupSet]
    passed_over: tuple[str, ...] = ()
    """Newer sets that cannot be used, and why: sentences, printable."""


def list_sets(work: Work, request: Request) -> Document:
    """Return the backup sets of the components, of all where none is named; raises BackupError, OSError."""
    context = work.context
    names = request.components or sorted(context.config.components)
    return {"sets": [_listed(context, each) for name in names for each in context.backup_sets(name)]}


def _listed(context: ActorContext, of: BackupSet) -> Document:
    """Return a backup set, with why it cannot be used, and why it is never given back, where that is so."""
    journal_state = context.journal_state()
    document = {**set_document(of), "unusable": context.unusable(of)}
    if not journal_state.given_up:
        return document
    try:
        content = backup.content(context.world, context.transaction.backups, of)
        keys = keys_of_set(context.config.components[of.component], content, context.world)
    except BackupError as error:
        return {**document, "never": str(error)}
    return {**document, "never": journal_state.why_not(sorted(keys))}


def choose_sets(context: ActorContext, component: str, name: str) -> ChosenSets | RefusedPlan | Printable:
    """Return the backup set called `name`, or where that is empty the last that can be used; else why there is none.

    Raises BackupError, OSError.
    """
    sets = context.backup_sets(component)
    if not name:
        return _last_usable(context, component, sets)
    if name == DEFAULT_SET:
        # There are several where a file joined the component later: that file is as it first was.
        chosen = [each for each in reversed(sets) if each.pinned]
    else:
        chosen = [each for each in sets if each.transaction == name]
    if not chosen:
        return sentence("there is no backup set {} of {}", printable(name), printable(component))
    return ChosenSets(chosen)


def _last_usable(
    context: ActorContext, component: str, sets: Sequence[BackupSet]
) -> ChosenSets | RefusedPlan | Printable:
    passed_over: list[str] = []
    # A set that was written late is given back only by its name.
    for each in (one for one in reversed(sets) if not one.late):
        if not (why := context.unusable(each)):
            return ChosenSets([each], tuple(passed_over))
        passed_over.append(f"{component}: backup set {each.transaction} is passed over: {why}")
    if not passed_over:
        return sentence("there is no backup set of {}", printable(component))
    return RefusedPlan(tuple(Objection(Ground.UNUSABLE, each) for each in passed_over))
