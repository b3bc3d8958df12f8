"""`certvigil trust`: what trust stores hold, and changing them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, pkcs12

from actions.artefact import pem
from actions.backup import BackupError
from actions.candidate import Given
from actions.component_files import read_password
from actions.journal import JournalError
from actions.trust_order import TrustDeed, TrustOrder
from actions.world import World
from config.immutable import immutable
from config.model import Config, TrustStore
from config.text import Printable, Shown, harmless, listed, printable, sentence
from config.vocabulary import EntryKind, ExportFormat, Integrity
from monitor.actor.client import NoActor, ask, longest_act
from monitor.actor.handed import CandidateFiles
from monitor.actor.handlers import handle
from monitor.actor.request import Request, Verb
from monitor.actor.trust import why_not_changed
from monitor.commands.act import ActOptions, may_do_it_here, where, working
from monitor.commands.choice import unknown
from monitor.commands.complain import complain
from monitor.commands.config import loaded
from monitor.commands.json_output import print_json
from monitor.commands.new_file import why_not_new, write_new_file
from monitor.commands.outcome import UNUSABLE, StepDisplay, cannot, exit_code, show
from monitor.commands.screen import Screen
from monitor.dialect import certificate_object, iso
from probes.certificate import Certificate, certificate, decodable
from probes.container.registry import is_keystore, open_container
from probes.judge.time import moment
from probes.keystore import DEFAULT_PASSWORD, StoreEntry
from probes.store_content import StoreContent, read_store, sha256_of
from probes.trust import own_password, read_anchor_file, trust_path

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PASSWORDS: Final = {
    Integrity.UNVERIFIED: Printable("not known"),
    Integrity.UNPROTECTED: Printable("none"),
}


@immutable
class ExportOptions:
    """What is exported, and where to."""

    entries: tuple[str, ...] = ()
    """Aliases, or beginnings of SHA-256; empty for all trusted certificates."""
    form: ExportFormat = ExportFormat.PEM
    output: str | None = None
    """A new file; None for standard output."""
    password_file: str | None = None
    """Of PKCS#12."""


# Looking


def list_stores(store: str | None, path: str, *, as_json: bool) -> int:
    """List the trust stores, or the entries of one; no Java and no rights are needed but to read the files."""
    config = loaded(path)
    if config is None:
        return UNUSABLE
    if store is not None and store not in config.trust_stores:
        return cannot("{}", _no_store(store, config))
    chosen = [config.trust_stores[store]] if store is not None else [*config.trust_stores.values()]
    read = [(each, _read(each)) for each in chosen]
    if as_json:
        print_json({"stores": [_store_document(config, each, content) for each, content in read]})
    elif store is not None:
        _show_entries(*read[0])
    else:
        _show_stores(config, read)
    return 3 if any(isinstance(content, str) and each.elsewhere is None for each, content in read) else 0


def _no_store(name: str, config: Config) -> Printable:
    return unknown([name], tuple(config.trust_stores), Printable("trust store")) or printable(name)


def _read(store: TrustStore) -> StoreContent | Printable:
    """Return the content of a store, or why it cannot be read."""
    path = trust_path(store)
    if store.elsewhere is not None:
        return sentence("on other machines: `certvigil trust confirm` records what a person saw there")
    try:
        data = read_anchor_file(path)
    except OSError as error:
        return sentence("{}: {}", printable(path), printable(error.strerror or "it cannot be read"))
    # Whoever may not read the password sees the certificates that no password hides.
    return read_store(data, (*own_password(store), None, DEFAULT_PASSWORD))


def _store_document(config: Config, store: TrustStore, content: StoreContent | Printable) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": store.name,
        "path": printable(trust_path(store)),
        "changeable": store.is_changeable,
        "clients": [name for name, each in config.clients.items() if each.trusts == store.name],
    }
    if isinstance(content, str):
        return {**document, "unreadable": content}
    return {
        **document,
        "format": content.format,
        "integrity": content.integrity,
        "default_password": content.has_default_password,
        "entries": [_entry_document(each) for each in content.entries],
        "faults": [printable(each.detail) for each in content.faults],
    }


def _entry_document(entry: StoreEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "alias": printable(entry.alias),
        "created": iso(entry.created),
        "certificates": [certificate_object(certificate(der)) for der in entry.certificates],
    }


def _show_stores(config: Config, read: Sequence[tuple[TrustStore, StoreContent | Printable]]) -> None:
    columns = ("store", "file", "format", "trusted", "first end", "password", "clients")
    Screen().table(columns, (_store_row(config, *each) for each in read))


def _store_row(config: Config, store: TrustStore, content: StoreContent | Printable) -> tuple[Shown, ...]:
    clients = listed(harmless(name) for name, each in config.clients.items() if each.trusts == store.name)
    name, file, nothing = harmless(store.name), printable(trust_path(store)), Printable("")
    if isinstance(content, str):
        return name, file, content, nothing, nothing, nothing, clients
    ends = [each.not_after for each in decodable(content.anchors) if each.not_after is not None]
    first = moment(min(ends)) if ends else nothing
    return name, file, content.format, len(content.anchors), first, _password(content), clients


def _password(content: StoreContent) -> Printable:
    if content.integrity is None:
        return Printable("")
    if content.has_default_password:
        return harmless(DEFAULT_PASSWORD.decode())
    return _PASSWORDS.get(content.integrity, Printable("verified"))


def _show_entries(store: TrustStore, content: StoreContent | Printable) -> None:
    if isinstance(content, str):
        complain("certvigil: {}", content)
        return
    rows = [row for each in content.entries for row in _rows(each)]
    Screen().table(("alias", "kind", "subject", "ends", "sha256"), rows)
    aside = Screen().aside()
    for fault in content.faults:
        aside.say("note       {}", printable(fault.detail))
    if content.is_keystore:
        aside.say("note       {}: its password is {}", harmless(store.name), _password(content))


def _rows(entry: StoreEntry) -> Iterator[tuple[Shown, ...]]:
    alias = printable(entry.alias, 200)
    if not entry.certificates:
        yield (alias, entry.kind, *(Printable(""),) * 3)
    for der in entry.certificates:
        held = certificate(der)
        ends = moment(held.not_after) if held.not_after is not None else Printable("unknown")
        yield (alias, entry.kind, held.title, ends, harmless(held.sha256))


# Exporting


def export(store: str, path: str, options: ExportOptions) -> int:
    """Write trusted certificates of a store to a new file, or to standard output."""
    config = loaded(path)
    if config is None:
        return UNUSABLE
    if store not in config.trust_stores:
        return cannot("{}", _no_store(store, config))
    # A file that exists may be a trust store in use: that is changed by a transaction alone.
    if options.output is not None and (trouble := why_not_new(options.output, "an export")) is not None:
        return cannot("{}", trouble)
    content = _read(config.trust_stores[store])
    if isinstance(content, str):
        return cannot("{}", content)
    chosen = _chosen(content, options.entries)
    if isinstance(chosen, str):
        return cannot("{}", chosen)
    data = _exported(chosen, options)
    if isinstance(data, str):
        return cannot("{}", data)
    if options.output is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return 0
    try:
        write_new_file(options.output, data)
    except OSError as error:
        return cannot("{}: {}", printable(options.output), printable(error.strerror or str(error)))
    return 0


def _chosen(content: StoreContent, names: Sequence[str]) -> list[tuple[str, Certificate]] | Printable:
    """Return certificates with their aliases, or that there is none by one of these names."""
    chosen: list[tuple[str, Certificate]] = [] if names else [*_trusted(content.entries)]
    for name in names:
        if not (named := [*_trusted(content.named(name))]):
            return sentence(
                "no trusted certificate is called {}, and none has a SHA-256 that begins so", printable(name)
            )
        chosen += named
    if not chosen:
        return Printable("there is no trusted certificate to be exported")
    return list({each.sha256: (alias, each) for alias, each in reversed(chosen)}.values())[::-1]


def _trusted(entries: Iterable[StoreEntry]) -> Iterator[tuple[str, Certificate]]:
    for each in entries:
        if each.kind is EntryKind.TRUSTED:
            yield from ((each.alias, certificate(der)) for der in each.certificates)


def _exported(chosen: Sequence[tuple[str, Certificate]], options: ExportOptions) -> bytes | Printable:
    match options.form:
        case ExportFormat.PEM:
            return pem(each for _, each in chosen)
        case ExportFormat.DER:
            if len(chosen) != 1:
                return sentence("DER holds one certificate, and {} are chosen: name one by --entry", len(chosen))
            return chosen[0][1].der
        case ExportFormat.PKCS12:
            try:
                password = read_password(options.password_file, World()) if options.password_file else b""
            except OSError as error:
                return sentence("{}: {}", printable(options.password_file or ""), printable(error.strerror or ""))
            if (odd := next((each for _, each in chosen if not each.is_strict), None)) is not None:
                why = listed(odd.encoding_faults, "; ")
                return sentence("PKCS#12 holds strict DER alone, and {} breaks {}", odd.title, why)
            held = [
                pkcs12.PKCS12Certificate(each.x509(), (alias or sha256_of(each.der)[:16]).encode())
                for alias, each in chosen
            ]
            return pkcs12.serialize_java_truststore(
                held, BestAvailableEncryption(password) if password else NoEncryption()
            )


# Changing


def add(  # noqa: PLR0917 (each is an option)
    store: str, files: Sequence[str], sha256: Sequence[str], alias: str, losses: Sequence[str], options: ActOptions
) -> int:
    """Have the clients of a store trust the certificates in `files`; with `sha256`, these and no others."""
    given: list[Certificate] = []
    for path in files:
        read = _given(path)
        if isinstance(read, str):
            return cannot("{}", read)
        given += read
    if sha256 and (trouble := _not_those(given, sha256)) is not None:
        return cannot("{}", trouble)
    handed = CandidateFiles((Given("certificates.pem", pem(dict.fromkeys(given))),))
    return _change(store, TrustOrder(TrustDeed.ADD, alias, tuple(losses), options.dry_run), options, handed)


def _not_those(given: Iterable[Certificate], named: Iterable[str]) -> Printable | None:
    """Say which certificate is given and not named by its SHA-256, or named and not given; None where all agree."""
    wanted = [each.lower().replace(":", "") for each in named]
    if wrong := next((each for each in wanted if not _SHA256.fullmatch(each)), None):
        return sentence("--sha256 takes the 64 digits of a SHA-256, and not '{}'", printable(wrong, 100))
    there = {each.sha256: each for each in given}
    if other := next((each for sha256, each in there.items() if sha256 not in wanted), None):
        return sentence("{} has the sha256 {}, which --sha256 does not name", other.title, harmless(other.sha256))
    if missing := next((each for each in wanted if each not in there), None):
        return sentence("no file has the certificate with the sha256 {}", harmless(missing))
    return None


def _given(path: str) -> tuple[Certificate, ...] | Printable:
    """Return the certificates in a file, or why they are not taken."""
    world, name = World(), printable(path)
    try:
        data = world.read(world.resolve(path))[1]
    except OSError as error:
        return sentence("{}: {}", name, printable(error.strerror or "it cannot be read"))
    opened = open_container(data)
    if is_keystore(opened.format):
        content = read_store(data)
        if content.faults:
            return sentence("{}: {}", name, printable(content.faults[0].detail))
        return decodable(content.anchors) or sentence("{} holds no trusted certificate", name)
    if opened.blocks.keys:
        return sentence("{} holds a private key, which no trust store takes: give a file of certificates", name)
    if opened.blocks.faults:
        return sentence("{}: {}", name, printable(opened.blocks.faults[0].detail))
    found = decodable(opened.blocks.certificates)
    return found or sentence("{} holds no certificate", name)


def remove(store: str, named: str, losses: Sequence[str], options: ActOptions) -> int:
    """Have the clients of a store no longer trust a certificate, by its alias or the beginning of its SHA-256."""
    return _change(store, TrustOrder(TrustDeed.REMOVE, named, tuple(losses), options.dry_run), options)


def restore(store: str, to: str | None, losses: Sequence[str], options: ActOptions) -> int:
    """Put a store back as a backup set has it, by default the last."""
    return _change(store, TrustOrder(TrustDeed.RESTORE, to or "", tuple(losses), options.dry_run), options)


def password(store: str, new_password_file: str, options: ActOptions) -> int:
    """Give a keystore another password."""
    try:
        new = read_password(new_password_file, World())
    except OSError as error:
        return cannot("{}: {}", printable(new_password_file), printable(error.strerror or "it cannot be read"))
    order = TrustOrder(TrustDeed.PASSWORD, dry_run=options.dry_run)
    return _change(store, order, options, CandidateFiles((), new))


def validation(client: str, losses: Sequence[str], options: ActOptions, *, validates: bool) -> int:
    """Have a client validate certificates, or no longer, by the line of its configuration that says so."""
    config = loaded(options.config)
    if config is None:
        return UNUSABLE
    if (known := config.clients.get(client)) is None:
        wrong = unknown([client], tuple(config.clients), Printable("client"))
        return cannot("{}", wrong or printable(client))
    if known.validation_switch is None:
        return cannot("client {} has no `validation_switch` in the configuration", harmless(client))
    if (why := why_not_changed(config, known.trusts)) is not None:
        return cannot("the service of {} is that of its trust store, and {}", harmless(client), why)
    deed = TrustDeed.ENFORCE if validates else TrustDeed.RELAX
    return _change(known.trusts, TrustOrder(deed, client, tuple(losses), options.dry_run), options)


def _change(store: str, order: TrustOrder, options: ActOptions, handed: CandidateFiles | None = None) -> int:
    """Have a store changed: by this process where its user may, else by the actor; return the exit code."""
    config = loaded(options.config)
    if config is None:
        return UNUSABLE
    request = Request(Verb.TRUST, components=(store,), plan=options.bound_to, trust=order)
    progress = StepDisplay(where(options))
    try:
        if may_do_it_here(config):
            with working(config, progress, handed, _concerned(config, store, order)) as work:
                document = handle(work, request)
        else:
            document = ask(config.settings.actor.socket, request, progress.hear, longest_act(config), handed=handed)
    except NoActor as error:
        why = harmless(str(error))
        return cannot("{}, and only its owner may do this without it: start the actor, or ask root", why)
    except (JournalError, BackupError) as error:
        return cannot("{}", harmless(str(error)))
    except OSError as error:
        about = printable(str(error.filename or config.settings.actor.directory))
        return cannot("{}: {}", about, printable(error.strerror or str(error)))
    if options.as_json and "cannot" not in document:
        print_json(document)
    else:
        if not progress.begun:
            _show_anchors(document)
        show(document, progress)
        if progress.begun and "plan" in document:
            # The plan itself was not shown, and these say what is left to be done.
            for remark in document["remarks"]:
                Screen().say("note       {}", harmless(str(remark)), style="cyan")
    return exit_code(document)


def _concerned(config: Config, store: str, order: TrustOrder) -> frozenset[str]:
    """Return whose unusable files are told beside a change: of the store, of its clients, and of a switch that is set.

    The log and `status` have the others: without them each command would repeat what it does not depend on.
    """
    clients = (f"client {name}" for name, each in config.clients.items() if each.trusts == store)
    is_switch = order.deed in {TrustDeed.ENFORCE, TrustDeed.RELAX}
    switch = (f"validation_switch of client {order.named}",) if is_switch else ()
    return frozenset((f"trust store {store}", *clients, *switch))


def _show_anchors(document: dict[str, Any]) -> None:
    for label, name in ((Printable("trust"), "added"), (Printable("distrust"), "removed")):
        for each in document.get("trust", {}).get(name, ()):
            held = each["certificate"]
            ends = harmless(str(held["not_after"]).replace("T", " "))
            Screen().say(
                "{:<10} {}: {}, until {}, sha256 {}",
                label,
                harmless(each["alias"]),
                harmless(held["subject"]),
                ends,
                harmless(held["sha256"]),
                style="bold",
            )
