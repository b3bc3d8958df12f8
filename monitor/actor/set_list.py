"""The list of backup sets: certvigil's own, and the newest of those that other programs keep in folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from actions import backup
from actions.backup import BackupError, BackupSet
from actions.backup_folder import newest_sets, unreadable_folders
from actions.component_files import keys_of_set
from actions.journal_state import ActionRequest
from actions.plan import Kind
from actions.prepare import Prepared
from config.text import Printable, harmless, printable, sentence
from monitor.actor.backup_sets import DEFAULT_SET, last_usable, sets_of_store
from monitor.actor.context import ActorContext
from monitor.actor.documents import facts_document, set_document
from monitor.actor.request import Document, Request
from monitor.actor.rollback import default_in_folders, try_own_sets, why_half
from monitor.actor.set_facts import certificates_in, facts_of_set, is_on_disk, is_served, presented_now
from monitor.actor.work import Work
from monitor.dialect import certificate_object

Identity = tuple[str, str, str]
"""As `BackupSet.identity`."""


def list_sets(work: Work, request: Request) -> Document:
    """Return the backup sets of the components, of all where none is named; raises JournalError, BackupError, OSError.

    With each set: the transaction that took it, its certificate, and whether it is on disk, served, and the default of
    a rollback. `left_out` says how many older sets of a folder are not listed, `unreadable` which
    folder cannot be read.
    """
    context = work.context
    stores = context.config.changeable_stores
    names = request.components or (*sorted(context.config.components), *sorted(stores))
    listed_sets: list[Document] = []
    left_out: list[Document] = []
    unreadable: list[Document] = []
    for subject in context.config.subjects_of(names):
        if subject in stores:
            listed_sets += _of_store(context, subject)
            continue
        members = context.config.members_of(subject)
        components = [context.config.components[name] for name in members]
        kept = newest_sets(context.world, components)
        unreadable += (
            {"components": [*members], "folder": printable(folder), "why": printable(why)}
            for folder, why in unreadable_folders(context.world, components).items()
        )
        if kept.left_out:
            folders = dict.fromkeys(each.backup_folder.directory for each in components if each.backup_folder)
            left_out.append({"components": [*members], "folders": [*map(printable, folders)], "dates": kept.left_out})
        at_fault = {of.identity: str(why_half(sets, members)) for sets in kept.by_date.values() for of in sets.values()}
        own = {name: context.backup_sets(name) for name in members}
        together = [*(each for sets in own.values() for each in sets)]
        together += [each for dated in kept.by_date.values() for each in dated.values()]
        unusable = {each.identity: context.unusable(each) for each in together}
        at_fault |= _of_others(together, unusable)
        given_back = _given_back(work, members)
        reset = ActionRequest(Kind.ROLLBACK, tuple(members), DEFAULT_SET)
        default = frozenset(of.identity for of in default_in_folders(work, members, reset, kept.by_date).sets.values())
        for name in (each for each in members if each in names):
            in_folder = [sets[name] for sets in kept.by_date.values() if name in sets]
            sets = sorted((*own[name], *in_folder), key=lambda each: each.at)
            presented = presented_now(context, name) if sets else ()
            for of in sets:
                why = unusable[of.identity] or at_fault.get(of.identity, "")
                facts, chain = facts_of_set(context, of), certificates_in(context, of)
                listed_sets.append(
                    {
                        **_listed(context, of, why),
                        "default": of.identity in default if default else of.pinned,
                        **facts_document(facts),
                        "certificate": certificate_object(chain[0]) if chain else None,
                        "served": is_served(chain, presented),
                        "next": of.identity in given_back,
                    }
                )
    return {
        "sets": listed_sets,
        **({"left_out": left_out} if left_out else {}),
        **({"unreadable": unreadable} if unreadable else {}),
    }


def _of_store(context: ActorContext, name: str) -> Iterator[Document]:
    """Yield the backup sets of a trust store, which `certvigil trust restore` gives back."""
    sets = context.backup_sets(name)
    last = sets_of_store(context, name, "")
    for of in sets:
        facts = facts_of_set(context, of)
        yield {
            **set_document(of),
            "unusable": "",
            **facts_document(facts),
            "next": of in last and not facts.is_on_disk,
        }


def _given_back(work: Work, members: Sequence[str]) -> frozenset[Identity]:
    """Return each set that a rollback without a name gives back."""
    tried = try_own_sets(work, members, ActionRequest(Kind.ROLLBACK, tuple(members)))
    chosen = tried.chosen if isinstance(tried.made, Prepared) else last_usable(work.context, members)
    given_back = [each for of in chosen.values() for each in of.sets] if isinstance(chosen, Mapping) else []
    return frozenset(each.identity for each in given_back if not is_on_disk(work.context, each))


def _of_others(sets: Sequence[BackupSet], unusable: Mapping[Identity, str]) -> Mapping[Identity, str]:
    """Say of each set that is given back only with an unusable one of another member why that one is unusable."""
    told: dict[tuple[str, bool], Printable] = {}
    for each in sets:
        if why := unusable[each.identity]:
            said = sentence("given back only with that of {}: {}", printable(each.component), harmless(why))
            told.setdefault((each.transaction, each.late), said)
    return {each.identity: str(told[key]) for each in sets if (key := (each.transaction, each.late)) in told}


def _listed(context: ActorContext, of: BackupSet, unusable: str) -> Document:
    """Return a backup set, with why it cannot be used, and why it is never given back, where that is so."""
    journal_state = context.journal_state()
    document = {**set_document(of), "unusable": unusable}
    if not journal_state.given_up:
        return document
    try:
        content = backup.content(context.world, context.transaction.backups, of)
        keys = keys_of_set(context.config.components[of.component], content, context.world)
    except BackupError as error:
        return {**document, "never": str(error)}
    return {**document, "never": journal_state.why_not(sorted(keys))}
