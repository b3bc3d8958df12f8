"""Planning a rollback: which backup sets are given back, certvigil's own or those of another program's folder.

The one place that decides whether a set of a folder counts: only where a person gives it back by a command of his own.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from actions import backup
from actions.backup import BackupSet
from actions.backup_folder import DatedSets, dates_in_folders, is_date, sets_of_date
from actions.ending import Ground
from actions.journal_state import ActionRequest, installed
from actions.plan import candidate_of
from actions.plan_rollback import plan_rollback
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan
from config.expected import DefaultCertificate
from config.immutable import immutable
from config.model import Component
from config.text import Printable, harmless, listed, printable, sentence
from config.trusted import changeable, unsafe
from monitor.actor.backup_sets import DEFAULT_SET, ChosenSets, last_usable, own_sets_called
from monitor.actor.context import ActorContext
from monitor.actor.limit import limit
from monitor.actor.set_facts import certificates_in
from monitor.actor.work import Work
from probes.judge.default import is_default
from probes.judge.time import moment

_NOTHING: Final = Printable("")
_MOST_DATES: Final = 16
"""Dates of a folder, the oldest first, that may be the default."""
_WAIVED: Final = frozenset({Ground.NAMES_MISSING, Ground.NO_CLIENT_ACCEPTS, Ground.INCOMPLETE_CHAIN})
"""Objections to a set that a person waives who names the set and every client that it loses."""
_OVERRULED: Final = frozenset({Ground.TOO_SHORT, Ground.CLIENT_LOST})
"""Objections to a set of a folder that an option of the command overrules."""
_MOST_TRIED: Final = 5
"""Sets of certvigil that a rollback without a name tries, the newest first."""
_NONE_READ: Final[Mapping[str, DatedSets]] = MappingProxyType({})
_SIGNED_BY_ITSELF: Final = DefaultCertificate(self_signed=True)
_MOST_TOLD: Final = 4
"""Sets of a folder, the oldest first, about which is said why they are not the default."""


@immutable
class FolderDefault:
    """The default of a rollback among the sets of folders."""

    sets: DatedSets
    """Empty where the default is certvigil's own."""
    remarks: tuple[Printable, ...] = ()
    """Why these sets are the default, or others are not: sentences."""


def rollback(work: Work, action: ActionRequest) -> Prepared | RefusedPlan | Printable:
    """Return the plan for a rollback, or why there is none; raises JournalError, BackupError, OSError."""
    context = work.context
    subjects = context.config.subjects_of(action.components)
    if len(subjects) > 1 and action.backup_set in {"", DEFAULT_SET}:
        return Printable("a rollback of several components names the transaction that changed them as one")
    chosen: dict[str, ChosenSets] = {}
    made: Prepared | RefusedPlan | Printable
    if action.backup_set:
        for subject in subjects:
            found = _called(work, context.config.members_of(subject), action)
            if not isinstance(found, Mapping):
                return found
            chosen.update(found)
        made = _plan_of(work, chosen, action)
    else:
        made, given_back = try_own_sets(work, context.config.members_of(subjects[0]), action)
        chosen.update(given_back)
    if not isinstance(made, Prepared):
        return made
    passed_over = dict.fromkeys(why for each in chosen.values() for why in each.passed_over)
    left_out = (name for name in action.components if name not in chosen)
    stay = (f"{name} was not changed since, and stays as it is" for name in left_out)
    return replace(made, remarks=(*passed_over, *stay, *made.remarks))


class Tried(NamedTuple):
    """The plan of a rollback without a name, or why there is none, and the sets that it gives back."""

    made: Prepared | RefusedPlan | Printable
    chosen: Mapping[str, ChosenSets] = MappingProxyType({})


def try_own_sets(work: Work, members: Sequence[str], action: ActionRequest) -> Tried:
    """Try the newest of certvigil's own sets; where its plan is refused, the next older ones, for a person.

    `members` are one component, or a group. Where all are refused, the answer is that of the newest, and names the
    others. Raises JournalError, BackupError, OSError.
    """
    first: RefusedPlan | None = None
    refused: dict[str, str] = {}
    while True:
        chosen = last_usable(work.context, members, refused)
        if not isinstance(chosen, Mapping):
            return Tried(chosen if first is None else _with_others(work.context, first, members, refused))
        made = _plan_of(work, chosen, action)
        if isinstance(made, Prepared):
            return Tried(made, chosen)
        if _is_in_place(made) or not work.is_own_command:
            return Tried(made if first is None else _with_others(work.context, first, members, refused))
        first = first or made
        transaction = next(iter(chosen.values())).sets[0].transaction
        refused[transaction] = listed((harmless(f"{each.ground}: {each.detail}") for each in made.objections), "; ")
        if len(refused) == _MOST_TRIED:
            return Tried(_with_others(work.context, first, members, refused))


def _is_in_place(refused: RefusedPlan) -> bool:
    return Ground.NOTHING_TO_DO in {each.ground for each in refused.objections}


def _with_others(
    context: ActorContext, first: RefusedPlan, members: Sequence[str], refused: Mapping[str, str]
) -> RefusedPlan:
    """Return the refusal of the newest set, with the reasons against the older ones, and those that were not tried."""
    newest, *others = refused
    told = [sentence("these are the reasons against backup set {}", printable(newest))]
    told += [sentence("backup set {} is refused, too: {}", printable(name), harmless(refused[name])) for name in others]
    sets = sorted((each for name in members for each in context.backup_sets(name)), key=lambda each: -each.at)
    rest = [name for name in dict.fromkeys(each.transaction for each in sets) if name not in refused]
    if rest:
        names = listed(map(printable, rest[:_MOST_TRIED]))
        told.append(sentence("of the other sets, such as {}, `rollback --to SET` gives one back", names))
    return replace(first, remarks=(*told, *first.remarks))


def default_in_folders(
    work: Work, members: Sequence[str], action: ActionRequest, known: Mapping[str, DatedSets] = _NONE_READ
) -> FolderDefault:
    """Return the first whole set of components in folders, where it is the default; raises OSError, BackupError.

    `known` are sets, by date, that were read already.

    It is where date and files are older than certvigil's own default, and it may be installed as a candidate may. A
    date is only written; the time at which a file was changed last (ctime) is the kernel's. Before certvigil's first
    change it is where nobody but root can have put it there, and it is the product's own default certificate.
    """
    context, components = work.context, _components(work.context, members)
    own = min((each.at for name in members for each in context.backup_sets(name) if each.pinned), default=None)
    if not work.may_use_folders:
        return FolderDefault({})
    if own is None:
        sets = _first_whole(context, members, known)
        if not sets or _why_not_of_installation(context, sets):
            return FolderDefault({})
        whose = sentence("the default is {}, which only root can have put there", _shown(sets))
        return FolderDefault(sets, (whose,))
    told: list[Printable] = []
    for date in dates_in_folders(context.world, components)[:_MOST_DATES]:
        sets = known[date] if date in known else sets_of_date(context.world, components, date)
        if any(each.at >= own for each in sets.values()):
            break
        if not sets:
            continue
        changed = max(each.changed for each in sets.values())
        if half := _why_no_whole(context, sets, members):
            told.append(sentence("{} is not the default: {}", _shown(sets), half))
        elif changed >= own:
            when = sentence("its files were changed at {}, after certvigil's first change", harmless(moment(changed)))
            told.append(sentence("{} is not the default: {}", _shown(sets), when))
        elif _why_not_of_installation(context, sets) and (why := _why_refused(work, sets, action)):
            told.append(sentence("{} is not the default: it is refused: {}", _shown(sets), why))
            break
        else:
            was_there = sentence("the default is {}, which was there before certvigil's first change", _shown(sets))
            return FolderDefault(sets, (*told[:_MOST_TOLD], was_there))
    return FolderDefault({}, tuple(told[:_MOST_TOLD]))


def why_half(sets: DatedSets, members: Sequence[str]) -> Printable:
    """Say that the sets of a date hold nothing of some members of a group; empty where they do."""
    without = listed(printable(name) for name in members if name not in sets)
    return sentence("half a set: it holds nothing of {}", without) if without else Printable("")


def _why_no_whole(context: ActorContext, sets: DatedSets, members: Sequence[str]) -> Printable:
    """Say why the sets of a date are not whole, or of no use; empty where they are whole."""
    wrong = ((name, why) for name, of in sets.items() if (why := context.unusable(of)))
    return why_half(sets, members) or next((sentence("{}: {}", printable(n), harmless(w)) for n, w in wrong), _NOTHING)


def _first_whole(
    context: ActorContext, members: Sequence[str], known: Mapping[str, DatedSets] = _NONE_READ
) -> DatedSets:
    """Return the first whole set of components in folders; empty where there is none."""
    components = _components(context, members)
    for date in dates_in_folders(context.world, components)[:_MOST_DATES]:
        sets = known[date] if date in known else sets_of_date(context.world, components, date)
        if sets and not _why_no_whole(context, sets, members):
            return sets
    return {}


def _why_not_of_installation(context: ActorContext, sets: DatedSets) -> Printable:
    """Say why sets of folders may be another than what a product made at its installation; empty where they are that.

    Nobody but root can have written them: no directory on the way and no file is another user's to change. And each
    certificate is told as the product's own default one.
    """
    own = installed(context.journal_state())
    for name, of in sets.items():
        declared = context.config.components[name].default_certificate or _SIGNED_BY_ITSELF
        declared = declared.but_for(own.get(name, ()))
        chain = certificates_in(context, of)
        if not chain or not is_default(chain[0], declared):
            return sentence("the certificate of {} in it is not the product's own default one", printable(name))
        try:
            why = changeable(of.folder) or unsafe(os.stat(of.folder), user=0, sticky_is_safe=False)
            files = (each.name for each in of.copies if each.name)
            why = why or next(filter(None, map(changeable, files)), "")
        except OSError as error:
            why = error.strerror or "it cannot be examined"
        if why:
            return sentence("others than root may have put it there ({}: {})", printable(of.folder), harmless(why))
    return _NOTHING


def _no_default(work: Work, members: Sequence[str]) -> Printable:
    """Say what gives the first whole set of folders back where certvigil has no default yet; empty where none does.

    It is no default: only what lay there before certvigil's first change is, and until then anybody who may write into
    the folder may put an older date there.
    """
    sets = _first_whole(work.context, members) if work.may_use_folders else {}
    if not sets:
        return _NOTHING
    subjects = listed(map(printable, work.context.config.subjects_of(members)), " ")
    date = next(iter(sets.values())).transaction
    way = sentence("`certvigil rollback {} --to {}`", subjects, printable(date))
    first = sentence("its first change makes the default; until then {} gives back {}", way, _shown(sets))
    why = _why_not_of_installation(work.context, sets)
    return sentence(": certvigil has not changed it yet, and {}, the first whole one, but {}", first, why)


def _called(
    work: Work, members: Sequence[str], action: ActionRequest
) -> Mapping[str, ChosenSets] | RefusedPlan | Printable:
    """Return the backup sets that an action names, by component; else why there are none.

    `members` are one component, or a group, which is given back what one transaction changed: a member that it did not
    change is left out.
    """
    name = action.backup_set
    none = sentence("there is no backup set {} of {}", printable(name), listed(map(printable, members)))
    # No transaction is called so: the name alone says whose set it is.
    if is_date(name):
        return _of_folder(work, members, name) or none
    older = default_in_folders(work, members, action) if name == DEFAULT_SET else FolderDefault({})
    if older.sets:
        return {each: ChosenSets([of], older.remarks) for each, of in older.sets.items()}
    called = {each: own_sets_called(work.context, each, name) for each in members}
    if name == DEFAULT_SET and not any(called.values()):
        return sentence("{}{}", none, _no_default(work, members))
    return {each: ChosenSets(sets, older.remarks) for each, sets in called.items() if sets} or none


def _of_folder(work: Work, members: Sequence[str], date: str) -> Mapping[str, ChosenSets] | RefusedPlan | Printable:
    if not work.may_use_folders:
        return sentence(
            "{} is a set of another program's folder, which only an operator's own command gives back", printable(date)
        )
    sets = sets_of_date(work.context.world, _components(work.context, members), date)
    wrong = {name: work.context.unusable(of) or why_half(sets, members) for name, of in sets.items()}
    objections = [f"{name}: backup set {printable(date)}: {why}" for name, why in wrong.items() if why]
    if objections:
        return RefusedPlan(tuple(Objection(Ground.UNUSABLE, each) for each in objections))
    return {name: ChosenSets([of]) for name, of in sets.items()}


def _components(context: ActorContext, members: Sequence[str]) -> list[Component]:
    components = context.config.components
    return [components[name] for name in members if name in components]


def _why_refused(work: Work, sets: DatedSets, action: ActionRequest) -> Printable:
    """Say why the sets of a date may not be installed; empty where they may, or are."""
    made = _plan_of(work, {name: ChosenSets([of]) for name, of in sets.items()}, action)
    if isinstance(made, Prepared):
        why = work.context.journal_state().quarantined.get(candidate_of(made.order.plan.changes))
        return Printable("") if why is None else sentence("it is in quarantine: {}", printable(why))
    if _is_in_place(made):
        return Printable("")
    return listed((harmless(each.detail) for each in made.objections), "; ")


def _plan_of(work: Work, chosen: Mapping[str, ChosenSets], action: ActionRequest) -> Prepared | RefusedPlan:
    """Return the plan that gives these sets back; raises BackupError, OSError.

    The rule by which a set is judged, its own or of a folder: a person who names the set gets it, though names or an
    issuer are missing, once the command names each client that it loses. A set of a folder is a candidate in all else:
    its issuer and how long it lasts. It is never the default for what a person waives, as nobody has named it then.
    """
    context = work.context
    content: dict[str, bytes | None] = {}
    for of in (each for sets in chosen.values() for each in sets.sets):
        content.update(backup.content(context.world, context.transaction.backups, of))
    of_folders = {name: of for name, sets in chosen.items() for of in sets.sets if of.folder}
    # What the product made itself is as good as a set of certvigil's own.
    vouched = action.backup_set == DEFAULT_SET and not _why_not_of_installation(context, of_folders)
    foreign = {} if vouched else of_folders
    sites = [
        work.site_for_candidate(name, allow_shorter=action.allow_shorter) if name in foreign else context.site(name)
        for name in chosen
    ]
    made = plan_rollback(
        sites,
        content,
        context.world,
        context.world.now(),
        losses=action.losses,
        as_candidates=foreign.keys(),
        go_on=limit(work),
        waived=_WAIVED if _is_named(work, action, foreign) else (),
    )
    if not isinstance(made, Prepared):
        return replace(made, remarks=(*_all_the_same(work, made, chosen, action, foreign), *made.remarks))
    folders = tuple(dict.fromkeys(printable(of.folder) for of in of_folders.values()))
    names = {name: sets.sets[-1].transaction for name, sets in chosen.items()}
    return replace(made, backup_sets=names, folders=folders, remarks=(*_whose(foreign), *made.remarks))


def _is_named(work: Work, action: ActionRequest, foreign: Collection[str]) -> bool:
    """Whether a person's own command names the sets that it gives back; `foreign` components get those of a folder."""
    return work.is_own_command and (is_date(action.backup_set) if foreign else bool(action.backup_set))


def _all_the_same(
    work: Work,
    refused: RefusedPlan,
    chosen: Mapping[str, ChosenSets],
    action: ActionRequest,
    foreign: Collection[str],
) -> Iterator[Printable]:
    """Yield what gives a set back all the same, where only the loss of clients, or what a person waives, is against it.

    Only a person who names the set waives anything.
    """
    grounds = {each.ground for each in refused.objections}
    names = {of.transaction for sets in chosen.values() for of in sets.sets if not of.folder}
    if grounds == {Ground.CLIENT_LOST}:
        yield Printable("`--lose CLIENT` for each of these clients gives it back all the same")
    elif foreign and _is_named(work, action, foreign) and Ground.TOO_SHORT in grounds <= {*_OVERRULED}:
        lost = Printable(", with `--lose CLIENT` for each client that it loses") if len(grounds) > 1 else _NOTHING
        yield sentence("`--allow-shorter` gives it back all the same, where it does not end within an hour{}", lost)
    elif (
        not action.backup_set and work.is_own_command and len(names) == 1 and grounds <= {Ground.CLIENT_LOST, *_WAIVED}
    ):
        (name,) = map(printable, names)
        yield sentence("`--to {}` gives it back all the same, with `--lose CLIENT` for each client that it loses", name)


def _whose(foreign: Mapping[str, BackupSet]) -> Iterator[Printable]:
    """Yield that another program keeps the files of these sets, once for each folder."""
    for folder in dict.fromkeys(of.folder for of in foreign.values()):
        names = listed(printable(name) for name, of in foreign.items() if of.folder == folder)
        yield sentence(
            "{}: another program keeps these files, in {}: whoever may write there chooses them and their date",
            *(names, printable(folder)),
        )


def _shown(sets: Mapping[str, BackupSet]) -> Printable:
    """Return the name of the sets of a date, with their folders: a phrase."""
    folders = listed(dict.fromkeys(printable(each.folder) for each in sets.values()))
    return sentence("set {} of {}", printable(next(iter(sets.values())).transaction), folders)
