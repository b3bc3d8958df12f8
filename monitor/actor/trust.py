"""Changing a trust store for a person: the plan, with the verdict of each client before and after; the transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import product
from typing import Final, Self

from actions import backup
from actions.backup import state_of
from actions.ending import Ground
from actions.journal_state import ActionRequest
from actions.keytool import Keytool, find_keytool
from actions.package import is_of_package
from actions.plan import Change, FileState, Kind, Order, Plan
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan
from actions.refusal import refusal
from actions.rehearse import Effect
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
from actions.trust_order import TrustDeed, TrustOrder
from actions.world import World
from config.immutable import immutable
from config.likeness import perhaps
from config.model import Config, TrustStore
from config.text import Printable, listed, printable, sentence
from config.vocabulary import WriteMode
from monitor.actor.attempt import Answered, Preparation, attempted, why_another_plan
from monitor.actor.backup_sets import DEFAULT_SET, sets_of_store
from monitor.actor.confine import other_user
from monitor.actor.context import ActorContext
from monitor.actor.declined import note_declined
from monitor.actor.documents import cannot, made_document
from monitor.actor.meanwhile import changed_meanwhile, seen_now
from monitor.actor.request import Document, Request
from monitor.actor.store_view import Switches
from monitor.actor.work import Work
from monitor.dialect import certificate_object
from probes.certificate import Certificate, decodable
from probes.container.registry import trusted_in
from probes.property_edit import with_value
from probes.store_content import read_store, sha256_of
from probes.trust import way_into
from probes.validation import judge_switch


@immutable
class FromBackup:
    """A backup set is to be given back: the set of that name, or the last one where it is empty."""

    set_name: str = ""


@immutable
class SetValidation:
    """A client of the store is to begin or cease to validate, by a line of its configuration."""

    client: str
    file: str
    key: str
    value: str
    validates: bool
    """With that value."""


@immutable
class StoreRequest:
    """What a person wants of a trust store."""

    store: str
    deed: Deed | FromBackup | SetValidation
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
    SetValidation: "validation",
}


@immutable
class _StorePlan:
    prepared: Prepared
    added: Mapping[str, Certificate]
    removed: Mapping[str, Certificate]


def why_not_changed(config: Config, name: str) -> Printable | None:
    """Say why nobody may have a trust store changed, a sentence; None where a person may."""
    store = config.trust_stores.get(name)
    if store is None:
        return sentence("there is no trust store '{}'{}", printable(name, 200), perhaps(name, [*config.trust_stores]))
    if store.elsewhere is not None:
        return sentence(
            "{} is on other machines: change it there, and record it by `certvigil trust confirm`", printable(name)
        )
    if store.path is None:
        return sentence("{} is not certvigil's to change: {}", printable(name), way_into(store))
    if not store.is_changeable:
        return sentence(
            "{} is only observed: set `mode: approve` of that trust store to have it changed", printable(name)
        )
    return None


def change_trust(work: Work, request: Request) -> Document:
    """Change a trust store as an operator orders it; raises JournalError, BackupError, OSError."""
    order = request.trust
    if order is None:
        return cannot(Printable("a change of a trust store needs its order"))
    (store,) = request.components
    deed = _deed_of(work, store, order)
    if isinstance(deed, str):
        return cannot(deed)
    return change_store(work, StoreRequest(store, deed, order.losses, request.plan, order.dry_run))


def _deed_of(work: Work, store: str, order: TrustOrder) -> Deed | FromBackup | SetValidation | Printable:
    """Return what is to be done, with the bytes that followed the order; or why nothing can, a sentence."""
    match order.deed:
        case TrustDeed.ADD:
            files = () if work.files is None else work.files.files
            found = dict.fromkeys(each for file in files for each in decodable(trusted_in(file.data)))
            return AddAnchors(tuple(found), order.named) if found else Printable("no certificate followed")
        case TrustDeed.PASSWORD:
            password = None if work.files is None else work.files.password
            return Printable("no password followed") if password is None else NewPassword(password)
        case TrustDeed.REMOVE:
            return RemoveAnchor(order.named)
        case TrustDeed.RESTORE:
            return FromBackup(order.named)
        case TrustDeed.ENFORCE | TrustDeed.RELAX:
            return _switch(work.context.config, store, order.named, validates=order.deed is TrustDeed.ENFORCE)


_OPPOSITES: Final = {"true": "false", "yes": "no", "on": "off", "1": "0"}


def _switch(config: Config, store: str, client: str, *, validates: bool) -> SetValidation | Printable:
    """Return the line that has a client of a store validate, or no longer; or why there is none, a sentence."""
    known = config.clients.get(client)
    if known is None or known.trusts != store:
        return sentence("{} has no client {}", printable(store), printable(client))
    if (switch := known.validation_switch) is None:
        return sentence("client {} has no `validation_switch` in the configuration", printable(client))
    values = {**_OPPOSITES, **{off: on for on, off in _OPPOSITES.items()}}
    value = values.get(switch.disables.lower()) if validates else switch.disables
    if value is None:
        by_hand = sentence("write {} into {} by hand", printable(switch.key), printable(switch.file))
        return sentence("the value that turns validation on is not known: {}", by_hand)
    return SetValidation(client, switch.file, switch.key, value, validates)


def change_store(work: Work, request: StoreRequest) -> Document:
    """Change a trust store in a transaction, or say what would be done; raises JournalError, BackupError, OSError."""
    if (wrong := why_not_changed(work.context.config, request.store)) is not None:
        return cannot(wrong)
    if request.dry_run:
        planned = _plan(work.context, request)
        return _refused_now(work, _document(work, planned), planned)
    action = _action(request)
    work = replace(work, seen=seen_now(work.context, action))
    answer, ending = attempted(work, lambda: _try(work, request))
    if ending is None:
        note_declined(work, action, answer)
    return answer


def _action(request: StoreRequest) -> ActionRequest:
    return ActionRequest(Kind.TRUST, (request.store,), losses=request.losses)


def _refused_now(work: Work, document: Document, planned: _StorePlan | RefusedPlan) -> Document:
    """Return the plan, or that a transaction with it would be refused now."""
    if isinstance(planned, RefusedPlan):
        return document
    failure = refusal(work.transaction, planned.prepared.order)
    if failure is None:
        return document
    objection = Objection(Ground.TARGET, f"{failure.cause}: {failure.sentence}")
    return made_document(RefusedPlan((objection,), planned.prepared.effects), {})


def _try(work: Work, request: StoreRequest) -> Answered:
    action = _action(request)
    preparation = Preparation.begun(work, action, work.transaction)
    if preparation.busy is not None:
        return preparation.declined(preparation.busy)
    planned = _plan(work.context, request)
    if isinstance(planned, _StorePlan) and (meant_another := tuple(_changed_meanwhile(work, action, request))):
        planned = RefusedPlan(meant_another)
    document = _document(work, planned)
    if isinstance(planned, RefusedPlan):
        return preparation.refused(document)
    order = planned.prepared.order
    if (why := why_another_plan(request.plan, order)) is not None:
        return preparation.declined(cannot(why))
    asked = {
        "by": work.by,
        "why": "",
        "action": action.to_json(),
        "handed": True,
        "trust": {
            "deed": _CALLED[type(request.deed)],
            "added": _hashes(planned.added),
            "removed": _hashes(planned.removed),
        },
    }
    ending = transact(replace(work.transaction, asked=asked), order)
    return preparation.ended(document, ending)


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
    trust = {
        name: [{"alias": printable(alias), "certificate": certificate_object(each)} for alias, each in of.items()]
        for name, of in (("added", planned.added), ("removed", planned.removed))
    }
    return {**made_document(planned.prepared, services), "trust": trust}


def _plan(context: ActorContext, request: StoreRequest) -> _StorePlan | RefusedPlan:
    """Return the plan, or what speaks against it; raises BackupError, OSError."""
    deed = request.deed
    if isinstance(deed, SetValidation):
        return _plan_of_validation(context, request, deed)
    if isinstance(deed, FromBackup):
        held = _given_back(context, request.store, deed)
        return RefusedPlan((held,)) if isinstance(held, Objection) else _plan_of_backup(context, request, held)
    file = read_store_file(context.config.trust_stores[request.store], context.world)
    return RefusedPlan((file,)) if isinstance(file, Objection) else _plan_of_store(context, request, file, deed)


def _plan_of_store(
    context: ActorContext, request: StoreRequest, file: StoreFile, deed: Deed, beside: _GivenBeside | None = None
) -> _StorePlan | RefusedPlan:
    """Return the plan that changes the store itself, and perhaps gives back other files by the same transaction."""
    world = context.world
    is_owned = is_of_package(file.path, world)
    if is_owned and isinstance(deed, NewPassword):
        why = f"a package owns {printable(file.path)}, and its scripts import by the password that it has"
        return RefusedPlan((Objection(Ground.PACKAGE_OWNED, why),))
    keytool, passed_over = _keytool_of(context, file)
    new = render(file, deed, keytool, world.now())
    if isinstance(new, Objection):
        return RefusedPlan((new,))
    beside = beside or _GivenBeside()
    effects, remarks = context.store_eyes.effects(
        request.store, file.content, new.content, world.now(), beside.switches
    )
    kept = f"a package owns {printable(file.path)}, and may write it anew: it is looked at again then"
    said = (*new.remarks, *passed_over, *beside.remarks, *remarks, *((kept,) if is_owned else ()))
    change = _Change((change_of(file, new), *beside.changes), {file.path: new.data, **beside.content}, new)
    return _judged(context, request, change, effects, said)


@immutable
class _Change:
    changes: tuple[Change, ...]
    content: Mapping[str, bytes] = field(repr=False)
    rendered: Rendered | None = None
    """The new store, where the store itself is changed."""


def _judged(
    context: ActorContext, request: StoreRequest, change: _Change, effects: tuple[Effect, ...], remarks: tuple[str, ...]
) -> _StorePlan | RefusedPlan:
    """Return the plan with the verdict of each client; a client that would be locked out speaks against it."""
    context.store_eyes.planned = True
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
    plan = Plan(Kind.TRUST, (request.store,), change.changes, tuple(lost))
    prepared = Prepared(Order(plan, change.content), effects, remarks, {})
    return _StorePlan(prepared, change.rendered.added if change.rendered else {}, _removed(change))


def _removed(change: _Change) -> Mapping[str, Certificate]:
    return change.rendered.removed if change.rendered else {}


@immutable
class _OtherFile:
    """A file of the store's service that is not the store."""

    given: str
    path: str
    """With symbolic links followed."""
    state: FileState
    data: bytes = field(repr=False)

    @classmethod
    def read(cls, given: str, world: World) -> Self:
        """Return the file at the path `given`; raises OSError."""
        path = world.resolve(given)
        found, data = world.read(path)
        return cls(given, path, state_of(found, data), data)

    def change(self, store: TrustStore, new: bytes) -> Change:
        """Return the change that puts new bytes in the place of the old."""
        after = replace(self.state, sha256=sha256_of(new))
        given = "" if self.given == self.path else self.given
        return Change(store.name, self.path, self.state, after, given, store.write_mode is WriteMode.IN_PLACE)


def _plan_of_validation(context: ActorContext, request: StoreRequest, deed: SetValidation) -> _StorePlan | RefusedPlan:
    """Return the plan that has a client begin or cease to validate, by one line of its configuration."""
    name = printable(deed.file)
    try:
        file = _OtherFile.read(deed.file, context.world)
    except FileNotFoundError:
        return RefusedPlan((Objection(Ground.UNREADABLE, f"{name}: there is no such file"),))
    new = with_value(file.data, deed.key, deed.value)
    if isinstance(new, str):
        return RefusedPlan((Objection(Ground.CANNOT_BE_WRITTEN, f"{name} is not edited: {new}"),))
    if new == file.data:
        why = f"{name} says {printable(deed.key)}={printable(deed.value)} already"
        return RefusedPlan((Objection(Ground.NOTHING_TO_DO, why),))
    effects, remarks = context.store_eyes.switched(
        request.store, deed.client, context.world.now(), validated=not deed.validates, validates=deed.validates
    )
    change = file.change(context.config.trust_stores[request.store], new)
    return _judged(context, request, _Change((change,), {file.path: new}), effects, remarks)


@immutable
class _GivenBeside:
    """The files of the store's service that are given back beside the store, where they differ."""

    changes: tuple[Change, ...] = ()
    content: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    switches: Switches = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def _plan_of_backup(context: ActorContext, request: StoreRequest, held: _Held) -> _StorePlan | RefusedPlan:
    """Return the plan that gives back the store, other files of its service, or both."""
    store = context.config.trust_stores[request.store]
    own = context.world.resolve(store.path or "")
    beside = _given_beside(context, store, {path: data for path, data in held.content.items() if path != own}, held)
    if isinstance(beside, Objection):
        return RefusedPlan((beside,))
    if own in held.content:
        file = read_store_file(store, context.world)
        if isinstance(file, Objection):
            return RefusedPlan((file,))
        if file.data != held.content[own] or held.content.keys() == {own}:
            return _plan_of_store(context, request, file, GiveBack(held.content[own], held.sets[own]), beside)
    if not beside.changes:
        why = f"all files of {request.store} are as {held.named} has them"
        return RefusedPlan((Objection(Ground.NOTHING_TO_DO, why),))
    effects, remarks = _effects_of_switches(context, request.store, beside.switches)
    said = (f"all of it is as in {held.named}", *remarks)
    return _judged(context, request, _Change(beside.changes, beside.content), effects, said)


def _given_beside(
    context: ActorContext, store: TrustStore, content: Mapping[str, bytes], held: _Held
) -> _GivenBeside | Objection:
    """Return the files with another content than `content` gives them, by path; raises OSError."""
    try:
        files = [_OtherFile.read(path, context.world) for path in content]
    except FileNotFoundError as error:
        return Objection(Ground.UNREADABLE, f"{printable(str(error.filename))}: there is no such file")
    differing = [each for each in files if each.data != content[each.given]]
    return _GivenBeside(
        tuple(each.change(store, content[each.given]) for each in differing),
        {each.path: content[each.given] for each in differing},
        _switches(context, store.name, differing, content),
        tuple(f"{printable(each.path)} is as in backup set {held.sets[each.given]}" for each in differing),
    )


def _switches(context: ActorContext, store: str, files: Sequence[_OtherFile], content: Mapping[str, bytes]) -> Switches:
    """Return the clients that begin or cease to validate by what is given back."""
    told = [each for each in context.config.clients.values() if each.trusts == store]
    found: dict[str, tuple[bool, bool]] = {}
    for client, file in product(told, files):
        switch = client.validation_switch
        if switch is None or context.world.resolve(switch.file) != file.path:
            continue
        was, will = (judge_switch(switch, data).validates for data in (file.data, content[file.given]))
        if was is not will:
            found[client.name] = was, will
    return found


def _effects_of_switches(
    context: ActorContext, store: str, switches: Switches
) -> tuple[tuple[Effect, ...], tuple[str, ...]]:
    """Return the effect on each client that begins or ceases to validate, where the store stays as it is."""
    effects: list[Effect] = []
    remarks: list[str] = []
    for client, (was, will) in switches.items():
        more, said = context.store_eyes.switched(store, client, context.world.now(), validated=was, validates=will)
        effects += more
        remarks += said
    return tuple(effects), tuple(remarks)


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


def _keytool_of(context: ActorContext, file: StoreFile) -> tuple[Keytool | None, tuple[Printable, ...]]:
    """Return the keytool for a store, and why nearer ones are passed over."""
    if not file.content.is_keystore:
        return None, ()
    found = find_keytool(file.store.keytool, file.store.path or file.path, context.world)
    if found.program is None:
        return None, ()
    keytool = Keytool(found.program, context.world, context.transaction.directory, store=file.path, lesser=other_user())
    return keytool, found.passed_over


@immutable
class _Held:
    """What is given back, by path."""

    content: Mapping[str, bytes] = field(repr=False)
    sets: Mapping[str, str]
    """The names of the backup sets that it is from."""

    @property
    def named(self) -> str:
        """The backup sets, in a sentence."""
        names = dict.fromkeys(self.sets.values())
        return f"backup set{'s' if len(names) > 1 else ''} {listed(map(printable, names), ' and ')}"


def _given_back(context: ActorContext, store: str, deed: FromBackup) -> _Held | Objection:
    """Return the content of the backup sets that are to be given back; raises BackupError, OSError."""
    content: dict[str, bytes] = {}
    sets: dict[str, str] = {}
    for of in sets_of_store(context, store, deed.set_name):
        found = backup.content(context.world, context.transaction.backups, of)
        present = {path: data for path, data in found.items() if data is not None}
        if deed.set_name == DEFAULT_SET:
            # As for a component, a file that is no longer configured is left alone.
            present = {path: data for path, data in present.items() if path in _files_of(context, store)}
        content |= present
        sets |= dict.fromkeys(present, of.transaction)
    if not content:
        return Objection(Ground.UNUSABLE, f"there is no backup set {printable(deed.set_name) or 'yet'} of {store}")
    return _Held(content, sets)


def _files_of(context: ActorContext, store: str) -> frozenset[str]:
    """Return the store, and the configuration of its clients, with symbolic links followed."""
    config = context.config
    switches = [each.validation_switch for each in config.clients.values() if each.trusts == store]
    given = (config.trust_stores[store].path or "", *(each.file for each in switches if each is not None))
    return frozenset(map(context.world.resolve, given))
