"""A change of a trust store, rendered to complete new bytes: a certificate more or less, another password, a backup.

So a trust store is changed by the same transaction as the files of a component: replace a whole file, of a known hash,
by new bytes. Java's keytool works on a copy before that, and its result counts only where certvigil's own reader finds
in it what was asked for, and nothing else changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Final

from actions import pem_bundle
from actions.component_files import FileReader, read_password
from actions.ending import Ground
from actions.keytool import TYPES, Keytool, KeytoolFailure
from actions.plan import Change, FileState
from actions.precheck import Objection
from actions.trust_pkcs12 import NotWritten, write_pkcs12
from config.immutable import immutable
from config.likeness import perhaps
from config.model import TrustStore
from config.text import Printable, listed, printable, sentence
from config.vocabulary import EntryKind, FileFormat, Integrity, UnreadableReason, WriteMode
from probes.certificate import Certificate, certificate, decodable
from probes.container.registry import called
from probes.judge.time import moment
from probes.keystore import DEFAULT_PASSWORD, StoreEntry
from probes.store_content import StoreContent, read_store, sha256_of, why_unlike

LEAST_PASSWORD: Final = 6
"""Characters, by keytool."""
_SHOWN: Final = 100
_NOT_IN_ALIAS: Final = re.compile(r"[^a-z0-9]+")
_LONGEST_ALIAS: Final = 60
_FOR_KEYTOOL: Final = re.compile(r"[^-@\s\x00-\x1f][^\x00-\x1f]*")
"""An alias that keytool takes for one, and for no option of its own or of its Java machine."""


@immutable
class StoreFile:
    """A trust store on disk."""

    store: TrustStore
    path: str
    """With symbolic links followed."""
    state: FileState
    data: bytes = field(repr=False)
    content: StoreContent

    @property
    def name(self) -> Printable:
        """The name of the store."""
        return printable(self.store.name)


@immutable
class AddAnchors:
    """Certificates that are to be trusted."""

    certificates: tuple[Certificate, ...]
    alias: str = ""
    """Of the one certificate; empty for an alias made of its subject."""


@immutable
class RemoveAnchor:
    """A certificate that is no longer to be trusted: an alias, or the beginning of a SHA-256."""

    named: str


@immutable
class NewPassword:
    """Another password of a keystore."""

    password: bytes = field(repr=False)


@immutable
class GiveBack:
    """The bytes of a backup set."""

    data: bytes = field(repr=False)
    set_name: str


Deed = AddAnchors | RemoveAnchor | NewPassword | GiveBack


@immutable
class Rendered:
    """The new bytes of a trust store, read back."""

    data: bytes = field(repr=False)
    content: StoreContent
    added: Mapping[str, Certificate] = field(default_factory=dict)
    """By alias; in a bundle by the SHA-256 of each, hexadecimal."""
    removed: Mapping[str, Certificate] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    """Sentences, printable."""


def passwords_of(store: TrustStore, reader: FileReader) -> tuple[bytes | None, ...]:
    """Return the passwords that a store is tried with; raises OSError where its password file cannot be read."""
    own = () if store.password_file is None else (read_password(store.password_file, reader),)
    return (*own, None, DEFAULT_PASSWORD)


def change_of(file: StoreFile, new: Rendered) -> Change:
    """Return the change that puts the new bytes in the place of the old."""
    after = FileState(sha256_of(new.data), file.state.mode, file.state.owner, file.state.group)
    given = file.store.path or ""
    return Change(
        component=file.store.name,
        path=file.path,
        before=file.state,
        after=after,
        given="" if given == file.path else given,
        in_place=file.store.write_mode is WriteMode.IN_PLACE,
        # Java notes the time of each import, and salts are random: the bytes differ each time, what they say does not.
        says=new.content.digest if new.content.is_keystore else "",
    )


def render(file: StoreFile, deed: Deed, keytool: Keytool | None, now: float) -> Rendered | Objection:
    """Return the store with the deed done, or what speaks against it; raises OSError.

    Nothing is written but copies for keytool.
    """
    if (wrong := _unreadable(file)) is not None:
        return wrong
    match deed:
        case AddAnchors():
            return _added(file, deed, keytool, now)
        case RemoveAnchor():
            return _removed(file, deed, keytool)
        case NewPassword():
            return _with_password(file, deed, keytool)
        case GiveBack():
            return _given_back(file, deed)


def _unreadable(file: StoreFile) -> Objection | None:
    content = file.content
    if content.is_keystore and content.faults:
        return Objection(Ground.UNREADABLE, f"{_where(file)}: {content.faults[0].detail}")
    if any(each.reason is UnreadableReason.TOO_LARGE for each in content.faults):
        return Objection(Ground.UNREADABLE, f"{_where(file)}: {content.faults[0].detail}")
    if file.data and not content.entries and not content.is_keystore:
        return Objection(Ground.UNREADABLE, f"{_where(file)} holds no certificate that can be read")
    return None


def _where(file: StoreFile) -> str:
    return f"{printable(file.store.path or file.path)} ({file.name})"


# Adding


def _added(file: StoreFile, deed: AddAnchors, keytool: Keytool | None, now: float) -> Rendered | Objection:
    wrong = [*_not_to_be_trusted(deed.certificates, now)]
    if wrong:
        return Objection(Ground.NOT_TO_BE_TRUSTED, "; ".join(wrong))
    if deed.alias and len(deed.certificates) > 1:
        why = f"an alias names one certificate, and {len(deed.certificates)} are given"
        return Objection(Ground.ALIAS_TAKEN, why)
    there = [_is_there(file, each) for each in deed.certificates if file.content.holding(each.sha256)]
    new = [each for each in deed.certificates if not file.content.holding(each.sha256)]
    if not new:
        return Objection(Ground.NOTHING_TO_DO, "; ".join(there))
    remarks = [*there, *_remarks_on(new, now)]
    if not file.content.is_keystore:
        return _appended(file, deed, new, remarks)
    aliases = _aliases(file.content, deed, new)
    if isinstance(aliases, Objection):
        return aliases
    ders = {alias: each.der for alias, each in aliases.items()}
    data = _written(file, keytool, added=ders)
    if isinstance(data, Objection):
        return data
    return _read_back(file, Rendered(data, read_store(data, (file.content.password,)), aliases, {}, tuple(remarks)))


def _not_to_be_trusted(certificates: Iterable[Certificate], now: float) -> Iterator[str]:
    for each in certificates:
        if not each.is_ca:
            yield f"{each.title} is not the certificate of a CA: a trust store holds roots and intermediates alone"
        elif each.not_after is None or each.not_after <= now:
            ended = "has no end that can be read" if each.not_after is None else f"ended at {moment(each.not_after)}"
            yield f"{each.title} {ended}"
        elif not each.is_strict:
            yield f"{each.title} cannot be read by strict clients: it breaks {'; '.join(each.encoding_faults)}"


def _remarks_on(certificates: Iterable[Certificate], now: float) -> Iterator[str]:
    for each in certificates:
        if each.not_before is not None and each.not_before > now:
            yield f"{each.title} is valid from {moment(each.not_before)} on"
        if not each.self_issued:
            yield f"{each.title} is no root: what it issued is trusted by some clients without its root"


def _is_there(file: StoreFile, one: Certificate) -> str:
    names = listed(printable(each.alias, _SHOWN) for each in file.content.holding(one.sha256) if each.alias)
    return f"{one.title} is in {file.name} already" + (f", as {names}" if names else "")


def _appended(
    file: StoreFile, deed: AddAnchors, new: Sequence[Certificate], remarks: list[str]
) -> Rendered | Objection:
    if deed.alias:
        return Objection(Ground.ALIAS_TAKEN, f"{_where(file)} is no keystore: its certificates have no aliases")
    if (wrong := _no_bundle(file)) is not None:
        return wrong
    data = pem_bundle.appended(file.data, new)
    after = read_store(data)
    if after.anchors != (*file.content.anchors, *(each.der for each in new)) or not data.startswith(file.data):
        return _lost(file, "the bundle would not hold what it held, and the new certificates behind that")
    remarks += [f"{each.detail}: it stays as it is" for each in file.content.faults]
    return Rendered(data, after, {each.sha256: each for each in new}, {}, tuple(remarks))


def _no_bundle(file: StoreFile) -> Objection | None:
    if not file.data or file.content.format is FileFormat.PEM:
        return None
    form = called(file.content.format) or "a file of another kind"
    return Objection(
        Ground.CANNOT_BE_WRITTEN, f"{_where(file)} is {form}: certvigil changes bundles in PEM and keystores"
    )


def _aliases(content: StoreContent, deed: AddAnchors, new: Sequence[Certificate]) -> dict[str, Certificate] | Objection:
    """Return the certificates by aliases that are free."""
    if deed.alias:
        alias = deed.alias.lower()
        if not _FOR_KEYTOOL.fullmatch(alias):
            return Objection(Ground.ALIAS_TAKEN, f"{printable(alias, _SHOWN)} is no alias that keytool would take")
        if (taken := content.called(alias)) is not None:
            why = f"alias {printable(alias, _SHOWN)} is {_what(taken)}: choose another one, or remove that first"
            return Objection(Ground.ALIAS_TAKEN, why)
        return {alias: new[0]}
    aliases: dict[str, Certificate] = {}
    for each in new:
        alias = alias_for(each)
        if content.called(alias) is not None or alias in aliases:
            alias = f"{alias}-{each.sha256[:8]}"
        aliases[alias] = each
    return aliases


def alias_for(one: Certificate) -> str:
    """Return an alias of letters, digits and hyphens that says whose certificate it is."""
    named = next(iter(one.common_names()), "") or str(one.title)
    return _NOT_IN_ALIAS.sub("-", named.lower()).strip("-")[:_LONGEST_ALIAS].strip("-") or one.sha256[:16]


def _what(entry: StoreEntry) -> str:
    if entry.kind is EntryKind.TRUSTED and entry.certificates:
        held = certificate(entry.certificates[0])
        return f"another certificate, {held.title} (sha256 {held.short_sha256})"
    return "a private key" if entry.kind is EntryKind.PRIVATE_KEY else "a secret key"


# Removing


def _removed(file: StoreFile, deed: RemoveAnchor, keytool: Keytool | None) -> Rendered | Objection:
    gone = _named(file, deed.named)
    if isinstance(gone, Objection):
        return gone
    known = frozenset(gone)
    left = [each for each in file.content.entries if each not in known and each.kind is EntryKind.TRUSTED]
    if not left:
        return Objection(
            Ground.CANNOT_BE_WRITTEN, f"{_where(file)} would hold no certificate: nothing would be trusted"
        )
    removed = {each.alias or sha256_of(each.certificates[0]): certificate(each.certificates[0]) for each in gone}
    alike = {each.certificates for each in gone}
    still = [one for one in left if one.certificates in alike]
    remarks = [
        f"{certificate(one.certificates[0]).title} goes on being trusted, as {printable(one.alias, _SHOWN)}"
        for one in still
    ]
    if file.content.is_keystore:
        data = _written(file, keytool, removed=[each.alias for each in gone])
        if isinstance(data, Objection):
            return data
        after = read_store(data, (file.content.password,))
        return _read_back(file, Rendered(data, after, {}, removed, tuple(remarks)))
    if (wrong := _no_bundle(file)) is not None:
        return wrong
    sha256 = sha256_of(gone[0].certificates[0])
    data = pem_bundle.without(file.data, sha256)
    after = read_store(data)
    if after.anchors != tuple(der for der in file.content.anchors if sha256_of(der) != sha256):
        return _lost(file, "its block could not be told from the others")
    return Rendered(data, after, {}, removed, tuple(remarks))


def _named(file: StoreFile, named: str) -> tuple[StoreEntry, ...] | Objection:
    """Return the entries that an alias or the beginning of a SHA-256 names."""
    shown, content = printable(named, _SHOWN), file.content
    found = content.named(named)
    if other := next((each for each in found if each.kind is not EntryKind.TRUSTED), None):
        why = f"alias {shown} of {file.name} is {_what(other)}: certvigil removes trusted certificates alone"
        return Objection(Ground.NO_SUCH_ENTRY, why)
    if (number := len({each.certificates for each in found})) > 1:
        return Objection(Ground.NO_SUCH_ENTRY, f"{number} certificates in {file.name} are called {shown}, or begin so")
    if found:
        return found
    names = [each.alias for each in content.entries if each.alias]
    digits_name_it = Printable("by 8 digits or more of its SHA-256")
    how = sentence("by an alias, or {}", digits_name_it) if content.is_keystore else digits_name_it
    why = sentence("{} has no certificate {}{}; it is named {}", file.name, shown, perhaps(named, names), how)
    return Objection(Ground.NO_SUCH_ENTRY, why)


# The password


def _with_password(file: StoreFile, deed: NewPassword, keytool: Keytool | None) -> Rendered | Objection:
    if not file.content.is_keystore:
        return Objection(Ground.CANNOT_BE_WRITTEN, f"{_where(file)} is no keystore: it has no password")
    if deed.password == file.content.password:
        return Objection(Ground.NOTHING_TO_DO, f"{file.name} has that password already")
    text = deed.password.decode(errors="replace")
    if len(text) < LEAST_PASSWORD or not text.isprintable():
        why = f"the new password has less than {LEAST_PASSWORD} characters, or others than one line of text"
        return Objection(Ground.CANNOT_BE_WRITTEN, why)
    data = _written(file, keytool, password=deed.password)
    if isinstance(data, Objection):
        return data
    after = read_store(data, (deed.password,))
    if after.password != deed.password:
        return Objection(Ground.KEYTOOL, "keytool wrote a keystore that the new password does not verify")
    remarks = ["set `password_file` of the trust store to a file with the new password"]
    if file.content.private_keys and file.content.format is not FileFormat.PKCS12:
        remarks.append("private keys in it keep the password that they have")
    return _read_back(file, Rendered(data, after, {}, {}, tuple(remarks)))


# A backup


def _given_back(file: StoreFile, deed: GiveBack) -> Rendered | Objection:
    if deed.data == file.data:
        return Objection(Ground.NOTHING_TO_DO, f"{file.name} is as backup set {deed.set_name} has it")
    after = read_store(deed.data, (file.content.password, None, DEFAULT_PASSWORD))
    if after.faults or not after.anchors:
        return Objection(Ground.UNUSABLE, f"backup set {deed.set_name} of {file.name} holds no store that can be read")
    before_, after_ = dict.fromkeys(file.content.anchors), dict.fromkeys(after.anchors)
    added = {each.sha256: each for each in decodable(der for der in after_ if der not in before_)}
    removed = {each.sha256: each for each in decodable(der for der in before_ if der not in after_)}
    said = (f"all of it is as in backup set {deed.set_name}", *_remarks_on_password(file, after))
    return Rendered(deed.data, after, added, removed, said)


def _remarks_on_password(file: StoreFile, after: StoreContent) -> Iterator[str]:
    """Yield that the password of a keystore changes, and the work that is left: whoever opens it must know the new."""
    before = file.content
    if not after.is_keystore or (before.password, before.integrity) == (after.password, after.integrity):
        return
    if before.digest == after.digest:
        yield f"its entries stay as they are: nothing but the password of {file.name} changes"
    yield f"its password changes, from {_password(before)} to {_password(after)}"
    yield (
        "have `password_file` of the trust store, and the configuration of each program that opens it, "
        "name the password that it has then"
    )


def _password(content: StoreContent) -> str:
    """Return words for a password: only one that everybody knows is told."""
    if content.has_default_password:
        return DEFAULT_PASSWORD.decode()
    if content.integrity is Integrity.UNVERIFIED:
        return "the one of the backup set, which is not known here"
    return "none" if content.password is None else "the one in its `password_file`"


# Writing a keystore


def _written(
    file: StoreFile,
    keytool: Keytool | None,
    *,
    added: Mapping[str, bytes] | None = None,
    removed: Sequence[str] = (),
    password: bytes | None = None,
) -> bytes | Objection:
    """Return a keystore that is changed in one way, written by keytool or, in PKCS#12 without it, by a library."""
    content = file.content
    if content.integrity is Integrity.UNVERIFIED:
        why = "its password is not known: name a file with it as `password_file` of the trust store"
        return Objection(Ground.CANNOT_BE_WRITTEN, f"{_where(file)}: {why}")
    if content.format not in TYPES:
        why = f"{_where(file)} is {called(content.format)}, which certvigil reads and does not write"
        return Objection(Ground.CANNOT_BE_WRITTEN, why)
    if content.format is FileFormat.PKCS12 and content.private_keys > 1:
        why = f"holds {content.private_keys} private keys, of which certvigil can compare one"
        return Objection(Ground.CANNOT_BE_WRITTEN, f"{_where(file)} {why}")
    if keytool is None:
        return _by_library(file, added or {}, removed, password)
    if bad := [each for each in removed if not _FOR_KEYTOOL.fullmatch(each)]:
        why = f"alias {printable(bad[0], _SHOWN)} cannot be named to keytool: remove it by hand"
        return Objection(Ground.CANNOT_BE_WRITTEN, why)
    known = content.password or b""
    if password is not None:
        done = keytool.change_password(file.data, content.format, known, password)
    elif removed:
        done = keytool.delete(file.data, content.format, known, removed)
    else:
        done = keytool.add(file.data, content.format, known, added or {})
    return Objection(Ground.KEYTOOL, done.detail) if isinstance(done, KeytoolFailure) else done


def _by_library(
    file: StoreFile, added: Mapping[str, bytes], removed: Sequence[str], password: bytes | None
) -> bytes | Objection:
    if file.content.format is not FileFormat.PKCS12:
        form = called(file.content.format)
        why = (
            f"{_where(file)} is {form}, which only Java's keytool writes, and there is none: name one as `keytool` of "
            "the trust store, or install a Java runtime (openjdk-17-jre-headless)"
        )
        return Objection(Ground.KEYTOOL, why)
    done = write_pkcs12(file.data, file.content, added, removed, password)
    if isinstance(done, NotWritten):
        why = f"{_where(file)} {done.detail}; keytool, which keeps all of it, is not installed"
        return Objection(Ground.CANNOT_BE_WRITTEN, why)
    return done


def _read_back(file: StoreFile, new: Rendered) -> Rendered | Objection:
    """Return a keystore that holds what was asked for, and all else as before; else what is wrong with it."""
    if new.content.faults:
        return Objection(Ground.KEYTOOL, f"what was written cannot be read back: {new.content.faults[0].detail}")
    added = {alias: each.der for alias, each in new.added.items()}
    if why := why_unlike(file.content, new.content, added, tuple(new.removed)):
        return _lost(file, f"what was written {why}")
    return new


def _lost(file: StoreFile, why: str) -> Objection:
    return Objection(Ground.CANNOT_BE_WRITTEN, f"{_where(file)}: {why}; nothing was changed")
