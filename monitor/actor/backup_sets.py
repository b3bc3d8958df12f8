"""Certvigil's own backup sets of components: choosing the one that is given back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from actions.backup import BackupSet
from actions.ending import Ground
from actions.precheck import Objection
from actions.prepare import RefusedPlan
from config.immutable import immutable
from config.text import Printable, listed, printable, sentence
from monitor.actor.context import ActorContext
from monitor.actor.set_facts import facts_of_set, is_on_disk

DEFAULT_SET = "default"


@immutable
class ChosenSets:
    """The backup sets that a component is given back: a file that several hold is as the last has it."""

    sets: Sequence[BackupSet]
    passed_over: tuple[str, ...] = ()
    """Other sets that are not given back, and why: sentences, printable."""


def own_sets_called(context: ActorContext, component: str, name: str) -> Sequence[BackupSet]:
    """Return certvigil's own backup sets of a component that are called `name`; raises BackupError, OSError."""
    sets = context.backup_sets(component)
    if name == DEFAULT_SET:
        # There are several where a file joined the component later: that file is as it first was.
        return [each for each in reversed(sets) if each.pinned]
    return [each for each in sets if each.transaction == name]


def sets_of_store(context: ActorContext, store: str, name: str) -> Sequence[BackupSet]:
    """Return the set of a trust store that is called `name`, or the last without a name; raises BackupError, OSError.

    By default there may be several, as for a component: of the store itself, and of the configuration of its clients.
    A change that was undone has put aside what is on disk again: without a name, any other set comes before such a set.
    """
    if name == DEFAULT_SET:
        return own_sets_called(context, store, name)
    if name:
        found = own_sets_called(context, store, name)
    else:
        sets = [each for each in context.backup_sets(store) if not each.late]
        found = [each for each in sets if not is_on_disk(context, each)] or sets
    return sorted(found, key=lambda each: (each.at, each.transaction))[-1:]


def last_usable(
    context: ActorContext, components: Sequence[str], refused: Mapping[str, str] = MappingProxyType({})
) -> Mapping[str, ChosenSets] | RefusedPlan | Printable:
    """Return the newest of certvigil's own sets that can be used, were in use, and differ from the files on disk.

    A transaction that was undone, or that froze, has put aside what is on disk again. `refused` says by the name of a
    transaction why its sets are passed over, a sentence; printable.
    """
    # A set that was written late is given back only by its name.
    sets = [each for name in components for each in context.backup_sets(name) if not each.late]
    passed_over: list[str] = []
    same: Mapping[str, ChosenSets] = {}
    for transaction in dict.fromkeys(each.transaction for each in sorted(sets, key=lambda each: each.at, reverse=True)):
        of_it = [each for each in sets if each.transaction == transaction]
        if transaction in refused:
            passed_over.append(f"backup set {transaction} is passed over: {refused[transaction]}")
            continue
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
    if facts_of_set(context, of).was_in_use is not False:
        return ""
    return "its files lay on disk before that transaction, and were neither served nor committed"
