"""The backup sets of components: listing them, and choosing the one that is given back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from monitor.actor.documents import facts_document, set_document
from monitor.actor.request import Document, Request
from monitor.actor.set_facts import certificates_in, facts_of, is_on_disk, is_served, presented_now
from monitor.actor.work import Work
from monitor.dialect import certificate_object

DEFAULT_SET = "default"


@dataclass(frozen=True, slots=True)
class ChosenSets:
    """The backup sets that a component is given back: a file that several hold is as the last has it."""

    sets: Sequence[BackupSet]
    passed_over: tuple[str, ...] = ()
    """Newer sets that cannot be used, and why: sentences, printable."""


def list_sets(work: Work, request: Request) -> Document:
    """Return the backup sets of the components, of all where none is named; raises JournalError, BackupError, OSError.

    With each set: the transaction that took it, its certificate, and whether it is on disk, served, and the default of
    a rollback.
    """
    context = work.context
    stores = context.config.changeable_stores
    names = request.components or (*sorted(context.config.components), *sorted(stores))
    listed_sets: list[Document] = []
    for subject in context.config.subjects_of(names):
        if subject in stores:
            listed_sets += _of_store(context, subject)
            continue
        members = context.config.members_of(subject)
        given_back = _given_back(context, members)
        default = {(name, each.transaction) for name, each in _default_in_folders(context, members).items()}
        dates = _dates(context, members)
        for name in members:
            sets = context.every_backup_set(name)
            presented = presented_now(context, name) if sets else ()
            for of in sets:
                facts, chain = facts_of(context, of), certificates_in(context, of)
                is_default = (name, of.transaction) in default if default else of.pinned
                listed_sets.append(
                    {
                        **_listed(context, of, dates),
                        "default": is_default,
                        **facts_document(facts),
                        "certificate": certificate_object(chain[0]) if chain else None,
                        "served": is_served(chain, presented),
                        "next": (of.component, of.transaction) in given_back,
                    }
                )
    return {"sets": listed_sets}


def _of_store(context: ActorContext, name: str) -> Iterator[Document]:
    """Yield the backup sets of a trust store, which `certvigil trust restore` gives back."""
    sets = context.backup_sets(name)
    last = next((each for each in reversed(sets) if not each.late and not is_on_disk(context, each)), None)
    for of in sets:
        yield {**set_document(of), "unusable": "", **facts_document(facts_of(context, of)), "next": of is last}


def _given_back(context: ActorContext, members: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Return component and name of each set that a rollback without a name gives back."""
    chosen = _last_usable(context, members)
    given_back = [each for of in chosen.values() for each in of.sets] if isinstance(chosen, Mapping) else []
    return frozenset((each.component, each.transaction) for each in given_back if not is_on_disk(context, each))


def _listed(context: ActorContext, of: BackupSet, dates: Dates) -> Document:
    """Return a backup set, with why it cannot be used, and why it is never given back, where that is so."""
    journal_state = context.journal_state()
    document = {**set_document(of), "unusable": context.unusable(of) or _half(of, dates)}
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
    dates = _dates(context, components)
    halves = [
        f"{of.component}: backup set {printable(name)}: {why}"
        for each in given.values()
        for of in each.sets
        if of.folder and (why := context.unusable(of) or _half(of, dates))
    ]
    if halves:
        return RefusedPlan(tuple(Objection(Ground.UNUSABLE, each) for each in halves))
    return given or sentence("there is no backup set {} of {}", printable(name), listed(map(printable, components)))


Dates = Mapping[str, frozenset[str]]
"""By component: the names of the sets in its folder."""


def _dates(context: ActorContext, members: Sequence[str]) -> Dates:
    """Return the names of the sets in the folders of these components; raises OSError."""
    components = context.config.components
    return {
        each: frozenset(one.transaction for one in sets_in_folder(context.world, components[each]))
        for each in members
        if each in components
    }


def _half(of: BackupSet, dates: Dates) -> str:
    """Say that a set in a folder holds nothing of other members of a group; empty where it does."""
    without = [name for name, those in dates.items() if of.folder and of.transaction not in those]
    return f"half a set: it holds nothing of {printable(', '.join(without))}" if without else ""


def _default_in_folders(context: ActorContext, members: Sequence[str]) -> Mapping[str, BackupSet]:
    """Return the oldest whole set of these components in folders, where certvigil has none that is older; else none.

    Raises OSError, BackupError.
    """
    components = context.config.components
    kept = {each: sets_in_folder(context.world, components[each]) for each in members if each in components}
    own = [each.at for name in members for each in context.backup_sets(name) if each.pinned]
    for first in next(iter(kept.values()), ()):
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
    """Return the newest sets that can be used, were in use, and differ from the files on disk.

    A transaction that was undone, or that froze, has put aside what is on disk again.
    """
    # A set that was written late is given back only by its name.
    sets = [each for name in components for each in context.backup_sets(name) if not each.late]
    passed_over: list[str] = []
    same: Mapping[str, ChosenSets] = {}
    for transaction in dict.fromkeys(each.transaction for each in sorted(sets, key=lambda each: each.at, reverse=True)):
        of_it = [each for each in sets if each.transaction == transaction]
        wrong = [
            f"{each.component}: backup set {transaction} is passed over: {why}"
            for each in of_it
            if (why := context.unusable(each) or _never_in_use(context, each))
        ]
        if wrong:
            passed_over += wrong
        elif all(is_on_disk(context, each) for each in of_it):
            same = same or {each.component: ChosenSets([each]) for each in of_it}
        else:
            return {each.component: ChosenSets([each], tuple(passed_over)) for each in of_it}
    if passed_over:
        return RefusedPlan(tuple(Objection(Ground.UNUSABLE, each) for each in passed_over))
    return same or sentence("there is no backup set of {}", listed(map(printable, components)))


def _never_in_use(context: ActorContext, of: BackupSet) -> str:
    """Say that the files of a set were never in use; empty where they were, and where nobody can tell."""
    if facts_of(context, of).was_in_use is not False:
        return ""
    return "its files lay on disk before that transaction, and were neither served nor committed"


def _sets_called(context: ActorContext, component: str, name: str) -> Sequence[BackupSet]:
    """Return the backup sets of a component that are called `name`; raises BackupError, OSError."""
    sets = context.every_backup_set(component)
    if name == DEFAULT_SET:
        # There are several where a file joined the component later: that file is as it first was.
        return [each for each in reversed(sets) if each.pinned]
    return [each for each in sets if each.transaction == name]
