"""Changing a trust store for a person: the plan, with the verdict of each client before and after; the transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from actions import backup
from actions.backup import BackupError, state_of
from actions.ending import Ending, Ground
from actions.journal_state import ActionRequest
from actions.keytool import Keytool, find_keytool
from actions.package import is_of_package
from actions.plan import Kind, Order, Plan
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan
from actions.recover import left_to_others
from actions.refusal import refusal
from actions.transaction import transact
from actions.trust_change import (
    AddAnchors,
    Deed,
    GiveBack,
    NewPassword,
    RemoveAnchor,
    Rendered,
    StoreFile,
    change_of,
    passwords_of,
    render,
)
from actions.world import World
from config.likeness import perhaps
from config.model import Config, TrustStore
from config.text import Printable, harmless, printable, sentence
from monitor.actor.backup_sets import DEFAULT_SET
from monitor.actor.carry_out import MOST_TRIES, attend_to_leftovers, others_at_work
from monitor.actor.context import ActorContext
from monitor.actor.declined import note_declined
from monitor.actor.documents import busy_document, cannot, endings_document, late_document, made_document
from monitor.actor.meanwhile import changed_meanwhile, seen_now
from monitor.actor.request import Document
from monitor.actor.set_facts import is_on_disk
from monitor.actor.work import Work
from monitor.dialect import certificate_object
from probes.certificate import Certificate
from probes.store_content import read_store


@dataclass(frozen=True, slots=True)
class FromBackup:
    """A backup set is to be given back: the set of that name, or the last one where it is empty."""

    set_name: str = ""


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """What a person wants of a trust store."""

    store: str
    deed: Deed | FromBackup
    losses: tuple[str, ...] = ()
    """Clients that may be lost."""
    plan: str = ""
    """The hash of the only plan to be carried out."""
    dry_run: bool = False


_CALLED: Final[Mapping[type, str]] = {
    AddAnchors: "add",
    RemoveAnchor: "remove",
    NewPassword: "password",
    FromBackup: "restore",
}


@dataclass(frozen=True, slots=True)
class _StorePlan:
    prepared: Prepared
    rendered: Rendered


def why_not_changed(config: Config, name: str) -> Printable | None:
    """Say why nobody may have a trust store changed, a sentence; None where a person may."""
    store = config.trust_stores.get(name)
    if store is None:
        return sentence("there is no trust store '{}'{}", printable(name, 200), perhaps(name, [*config.trust_stores]))
    if store.path is None:
        return sentence(
            "{} is not certvigil's to change: put the root into /usr/local/share/ca-certificates and run "
            "update-ca-certificates, or into /etc/pki/ca-trust/source/anchors and run update-ca-trust",
            printable(name),
        )
    if not store.is_changeable:
        return sentence(
            "{} is only observed: set `mode: approve` of that trust store to have it changed", printable(name)
        )
    return None


def change_store(work: Work, request: StoreRequest) -> Document:
    """Change a trust store in a transaction, or say what would be done; raises JournalError, BackupError, OSError."""
    if (wrong := why_not_changed(work.context.config, request.store)) is not None:
        return cannot(wrong)
    if request.dry_run:
        planned = _plan(work.context, request)
        return _refused_now(work, _document(work, planned), planned)
    action = ActionRequest(Kind.TRUST, (request.store,), losses=request.losses)
    work = replace(work, seen=seen_now(work.context, action))
    for _ in range(MOST_TRIES):
        answer, ending = _try(work, request)
        if ending is None or not left_to_others(ending):
            break
    if ending is None:
        note_declined(work, action, answer)
    return answer


def _refused_now(work: Work, document: Document, planned: _StorePlan | RefusedPlan) -> Document:
    """Return the plan, or that a transaction with it would be refused now."""
    if isinstance(planned, RefusedPlan):
        return document
    failure = refusal(work.transaction, planned.prepared.order)
    if failure is None:
        return document
    objection = Objection(Ground.TARGET, f"{failure.cause}: {failure.sentence}")
    return made_document(RefusedPlan((objection,), planned.prepared.effects), {})


def _try(work: Work, request: StoreRequest) -> tuple[Document, Ending | None]:
    action = ActionRequest(Kind.TRUST, (request.store,), losses=request.losses)
    busy = others_at_work(work, action)
    leftovers, compared = attend_to_leftovers(work, work.transaction)
    earlier = [each for each in leftovers if not left_to_others(each)]
    beside: Document = {**busy_document(leftovers), **late_document(compared)}
    if busy is not None:
        return {**cannot(sentence("{}: ask again", harmless(busy.sentence))), **beside}, None
    planned = _plan(work.context, request)
    if isinstance(planned, _StorePlan) and (meant_another := tuple(_changed_meanwhile(work, action, request))):
        planned = RefusedPlan(meant_another)
    document = _document(work, planned)
    if isinstance(planned, RefusedPlan):
        return {**(endings_document(earlier) if earlier else {}), **document, **beside}, None
    order = planned.prepared.order
    if request.plan not in {"", order.plan.hash}:
        this = printable(order.plan.hash)
        why = sentence("this plan is {}, not the one that was asked for: look at it again", this)
        return {**cannot(why), **beside}, None
    asked = {
        "by": work.by,
        "why": "",
        "action": action.to_json(),
        "handed": True,
        "trust": {
            "deed": _CALLED[type(request.deed)],
            "added": _hashes(planned.rendered.added),
            "removed": _hashes(planned.rendered.removed),
        },
    }
    ending = transact(replace(work.transaction, asked=asked), order)
    return {**document, **endings_document([*earlier, ending]), **beside}, ending


def _changed_meanwhile(work: Work, action: ActionRequest, request: StoreRequest) -> Iterator[Objection]:
    """Yield that the last set is another than when a person asked to have it back, without its name or a plan's."""
    is_relative = isinstance(request.deed, FromBackup) and not request.deed.set_name
    if is_relative and not request.plan and work.seen is not None:
        yield from changed_meanwhile(work.context, action, work.seen)


def _hashes(of: Mapping[str, Certificate]) -> dict[str, str]:
    return {printable(alias): each.sha256 for alias, each in of.items()}


def _document(work: Work, planned: _StorePlan | RefusedPlan) -> Document:
    """Return a plan with the certificates that come and go, or why there is none."""
    services = work.context.transaction.services
    if isinstance(planned, RefusedPlan):
        return made_document(planned, services)
    new = planned.rendered
    trust = {
        name: [{"alias": printable(alias), "certificate": certificate_object(each)} for alias, each in of.items()]
        for name, of in (("added", new.added), ("removed", new.removed))
    }
    return {**made_document(planned.prepared, services), "trust": trust}


def _plan(context: ActorContext, request: StoreRequest) -> _StorePlan | RefusedPlan:
    """Return the plan, or what speaks against it; raises BackupError, OSError."""
    world, store = context.world, context.config.trust_stores[request.store]
    file = read_store_file(store, world)
    if isinstance(file, Objection):
        return RefusedPlan((file,))
    deed = _deed(context, request)
    if isinstance(deed, Objection):
        return RefusedPlan((deed,))
    is_owned = is_of_package(file.path, world)
    if is_owned and isinstance(deed, NewPassword):
        why = f"a package owns {printable(file.path)}, and its scripts import by the password that it has"
        return RefusedPlan((Objection(Ground.PACKAGE_OWNED, why),))
    new = render(file, deed, _keytool_of(context, file), world.now())
    if isinstance(new, Objection):
        return RefusedPlan((new,))
    return _judged(context, request, file, new, is_owned=is_owned)


def _judged(
    context: ActorContext, request: StoreRequest, file: StoreFile, new: Rendered, *, is_owned: bool
) -> _StorePlan | RefusedPlan:
    """Return the plan with the verdict of each client; a client that would be locked out speaks against it."""
    eyes = context.store_eyes
    effects, remarks = eyes.effects(request.store, file.content, new.content, context.world.now())
    eyes.planned = True
    lost = sorted({each.after.client for each in effects if each.lost})
    against = [
        Objection(
            Ground.CLIENT_LOST,
            f"{each.after.client} would no longer accept {printable(each.endpoint)}: {each.after.why}; "
            f"`--lose {each.after.client}` does it all the same",
        )
        for each in effects
        if each.lost and each.after.client not in request.losses
    ]
    if against:
        return RefusedPlan(tuple(against), effects)
    plan = Plan(Kind.TRUST, (request.store,), (change_of(file, new),), tuple(lost))
    kept = (
        (f"a package owns {printable(file.path)}, and may write it anew: it is looked at again then",)
        if is_owned
        else ()
    )
    order = Order(plan, {file.path: new.data})
    return _StorePlan(Prepared(order, effects, (*new.remarks, *remarks, *kept), {}), new)


def read_store_file(store: TrustStore, world: World) -> StoreFile | Objection:
    """Return a trust store as it is on disk, or why it cannot be read; raises OSError for its password file."""
    given = store.path or ""
    passwords = passwords_of(store, world)
    try:
        path = world.resolve(given)
        found, data = world.read(path)
    except FileNotFoundError:
        return Objection(
            Ground.UNREADABLE, f"{printable(given)}: there is no such file, and certvigil makes no new store"
        )
    except OSError as error:
        return Objection(Ground.UNREADABLE, f"{printable(given)}: {printable(error.strerror or 'it cannot be read')}")
    return StoreFile(store, path, state_of(found, data), data, read_store(data, passwords))


def _keytool_of(context: ActorContext, file: StoreFile) -> Keytool | None:
    if not file.content.is_keystore:
        return None
    program = find_keytool(file.store.keytool, file.store.path or file.path, context.world)
    return None if program is None else Keytool(program, context.world, context.transaction.directory)


def _deed(context: ActorContext, request: StoreRequest) -> Deed | Objection:
    """Return the deed, with the bytes of the backup set where one is to be given back; raises BackupError, OSError."""
    if not isinstance(request.deed, FromBackup):
        return request.deed
    name, sets = request.deed.set_name, context.backup_sets(request.store)
    found = [
        each
        for each in sets
        if each.transaction == name or (name == DEFAULT_SET and each.pinned) or (not name and not each.late)
    ]
    if not name:
        # A change that was undone has put aside what is on disk again.
        found = [each for each in found if not is_on_disk(context, each)] or found
    if not found:
        why = f"there is no backup set {printable(name) or 'yet'} of {request.store}"
        return Objection(Ground.UNUSABLE, why)
    last = found[-1]
    held = backup.content(context.world, context.transaction.backups, last)
    files = [data for data in held.values() if data is not None]
    if len(files) != 1:
        raise BackupError(f"backup set {last.transaction} of {request.store} holds {len(files)} files")
    return GiveBack(files[0], last.transaction)
