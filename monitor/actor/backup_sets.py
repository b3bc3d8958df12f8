"""The backup sets of components: listing them, and choosing the one that is given back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actions import backup
from actions.backup import BackupError, BackupSet
from actions.backup_folder import sets_in_folder
from actions.component_files import keys_of_set
from actions.ending import Ground
from actions.precheck import Objection
from actions.prepare import RefusedPlan
from config.text import Printable, listed, printable, sentence
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
    listed_sets: list[Document] = []
    for name in names:
        members = context.config.members_of(context.config.subject_of(name))
        default = {each.transaction for each in _default_in_folders(context, members).values()}
        for each in context.every_backup_set(name):
            document = _listed(context, each, members)
            if default:
                document["default"] = bool(each.folder) and each.transaction in default
            listed_sets.append(document)
    return {"sets": listed_sets}


def _listed(context: ActorContext, of: BackupSet, members: Sequence[str]) -> Document:
    """Return a backup set, with why it cannot be used, and why it is never given back, where that is so."""
    journal_state = context.journal_state()
    document = {**set_document(of), "unusable": context.unusable(of) or _half(context, of, members)}
    if not journal_state.given_up:
        return document
    try:
        content = backup.content(context.world, context.transaction.backups, of)
        keys = keys_of_set(context.config.components[of.component], content, context.world)
    except BackupError as error:
        return {**document, "never": str(error)}
    return {**document, "never": journal_state.why_not(sorted(keys))}


def sets_to_give_back(
    context: ActorContext, components: Sequence[str], name: str
) -> Mapping[str, ChosenSets] | RefusedPlan | Printable:
    """Return the backup sets called `name`, or the last that can be used, by component; else why there are none.

    `components` are one, or the members of a group, which are given back what one transaction changed: a member that it
    did not change is left out. Raises BackupError, OSError.
    """
    if not name:
        return _last_usable(context, components)
    if name == DEFAULT_SET and (default := _default_in_folders(context, components)):
        older = sentence("the default is set {}, which was there before certvigil's first change", _shown(default))
        return {each: ChosenSets([of], (older,)) for each, of in default.items()}
    given = {each: ChosenSets(sets) for each in components if (sets := _sets_called(context, each, name))}
    halves = [
        f"{of.component}: backup set {printable(name)}: {why}"
        for each in given.values()
        for of in each.sets
        if of.folder and (why := context.unusable(of) or _half(context, of, components))
    ]
    if halves:
        return RefusedPlan(tuple(Objection(Ground.UNUSABLE, each) for each in halves))
    return given or sentence("there is no backup set {} of {}", printable(name), listed(map(printable, components)))


def _half(context: ActorContext, of: BackupSet, members: Sequence[str]) -> str:
    """Say that a set in a folder holds nothing of other members of a group; empty where it does; raises OSError."""
    if not of.folder:
        return ""
    without = [
        each
        for each in members
        if of.transaction
        not in {one.transaction for one in sets_in_folder(context.world, context.config.components[each])}
    ]
    return f"half a set: it holds nothing of {printable(', '.join(without))}" if without else ""


def _default_in_folders(context: ActorContext, members: Sequence[str]) -> Mapping[str, BackupSet]:
    """Return the oldest whole set of these components in folders, where certvigil has none that is older; else none.

    Raises OSError, BackupError.
    """
    kept = {each: sets_in_folder(context.world, context.config.components[each]) for each in members}
    own = [each.at for name in members for each in context.backup_sets(name) if each.pinned]
    for first in kept[members[0]] if members else ():
        of_all = {name: one for name, sets in kept.items() for one in sets if one.transaction == first.transaction}
        is_older = all(each.until < min(own, default=float("inf")) for each in of_all.values())
        if len(of_all) == len(members) and is_older and not any(map(context.unusable, of_all.values())):
            return of_all
    return {}


def _shown(sets: Mapping[str, BackupSet]) -> Printable:
    first = next(iter(sets.values()))
    return sentence("{} of {}", printable(first.transaction), printable(first.folder))


def _last_usable(
    context: ActorContext, components: Sequence[str]
) -> Mapping[str, ChosenSets] | RefusedPlan | Printable:
    # A set that was written late is given back only by its name.
    sets = [each for name in components for each in context.backup_sets(name) if not each.late]
    passed_over: list[str] = []
    for transaction in dict.fromkeys(each.transaction for each in sorted(sets, key=lambda each: each.at, reverse=True)):
        of_it = [each for each in sets if each.transaction == transaction]
        wrong = [
            f"{each.component}: backup set {transaction} is passed over: {why}"
            for each in of_it
            if (why := context.unusable(each))
        ]
        if not wrong:
            return {each.component: ChosenSets([each], tuple(passed_over)) for each in of_it}
        passed_over += wrong
    if not passed_over:
        return sentence("there is no backup set of {}", listed(map(printable, components)))
    return RefusedPlan(tuple(Objection(Ground.UNUSABLE, each) for each in passed_over))


def _sets_called(context: ActorContext, component: str, name: str) -> Sequence[BackupSet]:
    """Return the backup sets of a component that are called `name`; raises BackupError, OSError."""
    sets = context.every_backup_set(component)
    if name == DEFAULT_SET:
        # There are several where a file joined the component later: that file is as it first was.
        return [each for each in reversed(sets) if each.pinned]
    return [each for each in sets if each.transaction == name]
