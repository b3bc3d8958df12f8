"""Looking at a file: its kind, its certificates and its keys."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from config.immutable import immutable
from config.model import FileTarget
from config.text import Printable, harmless, listed, printable, sentence
from config.vocabulary import FileContent, FileFormat, FileRole, Integrity, UnreadableReason
from probes.certificate import Certificate, certificate
from probes.chain import are_anchors
from probes.container.blocks import SEALED, Container, EncodingFault, faulty
from probes.container.private_key import open_key
from probes.container.registry import called, is_keystore, open_container, open_places
from probes.keystore import DEFAULT_PASSWORD, Keystore, KeystoreEntry, password_in
from probes.line.registry import read_line
from probes.observation import FileIdentity, FileObservation, Unreadable, bounded
from probes.opening import RefusedError, broken_link, open_plainly
from probes.revocation.crl import MOST_LISTS, RevocationList, revocation_list

SIZE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes; no bundle in use comes near it."""

MOST_KEYS: Final = 100
"""In one file; of more, none is decoded, which takes far longer than to read them."""

NOT_FOR_US: Final = frozenset(
    {
        UnreadableReason.PERMISSION_DENIED,
        UnreadableReason.NO_READER,
        UnreadableReason.READER_BUSY,
        UnreadableReason.UNSAFE_LINK,
    }
)
"""Why a file that may be in order gives no facts: who looks may not read it."""

_WITH_KEYS: Final = frozenset(
    {FileRole.CERTIFICATE, FileRole.KEY, FileRole.COMBINED, FileRole.KEYSTORE, FileRole.LISTED, FileRole.FOUND}
)
_OF_SERVERS: Final = frozenset({FileRole.CERTIFICATE, FileRole.KEY, FileRole.CHAIN, FileRole.COMBINED})
_OF_OTHERS: Final = stat.S_IRWXO
_REASONS: Final[Mapping[int, tuple[UnreadableReason, Printable]]] = {
    errno.ENOENT: (UnreadableReason.NOT_FOUND, Printable("there is no such file")),
    errno.ENOTDIR: (UnreadableReason.NOT_FOUND, Printable("there is no such file")),
    errno.EACCES: (UnreadableReason.PERMISSION_DENIED, Printable("reading it is not permitted")),
    errno.EPERM: (UnreadableReason.PERMISSION_DENIED, Printable("reading it is not permitted")),
    errno.ELOOP: (UnreadableReason.SYMLINK_LOOP, Printable("its symbolic links lead in a circle")),
}
_NOT_REGULAR: Final = Unreadable(UnreadableReason.NOT_REGULAR, Printable("it is not a regular file"))
_CHANGED: Final = Unreadable(
    UnreadableReason.CHANGED_WHILE_READ, Printable("it was written to while it was read, twice in a row")
)


def identify(path: str, examined: Callable[[str], os.stat_result] = os.stat) -> FileIdentity | Unreadable:
    """Return the identity of the file behind `path`, links followed: with another identity it must be read again.

    `examined` gives the status of the file at a path, and raises OSError, ValueError.
    """
    try:
        status = examined(path)
    except (OSError, ValueError) as error:
        return unreadable(path, error)
    return _identity(status) if stat.S_ISREG(status.st_mode) else _NOT_REGULAR


def look_at_file(
    target: FileTarget,
    now: float,
    opened: Callable[[str], int] = open_plainly,
    *,
    with_keys: bool = False,
    most_certificates: int | None = None,
) -> FileObservation:
    """Return the content of the file at Unix time `now`; whatever it is, looking neither hangs nor raises.

    `opened` gives a descriptor of the file at a path, and raises OSError, ValueError. The public halves of private keys
    are told where the file's role asks for them, or `with_keys` does. Of more than `most_certificates`, none is
    decoded.
    """
    read = _read(target.path, opened)
    if isinstance(read, Unreadable):
        return FileObservation(target.name, now, None, FileContent.NOTHING, failure=read)
    identity = _identity(read.status)
    mode, owner = stat.S_IMODE(read.status.st_mode), read.status.st_uid
    if isinstance(read.data, Unreadable):
        return FileObservation(
            target.name, now, identity, FileContent.NOTHING, mode=mode, owner=owner, failure=read.data
        )
    seen = look_into(
        read.data,
        target,
        now,
        read_passwords(target.password_files, opened),
        identity=identity,
        mode=mode,
        owner=owner,
        with_keys=with_keys,
        most_certificates=most_certificates,
    )
    has_key = bool(seen.keys) or seen.content is FileContent.KEY
    if target.role is not FileRole.FOUND or not has_key:
        return seen
    if mode & _OF_OTHERS and _is_sheltered(target.path):
        mode &= ~_OF_OTHERS
    return replace(seen, mode=mode, directory_owner=_directory_owner(target.path))


def look_into(
    data: bytes,
    target: FileTarget,
    now: float,
    passwords: Sequence[bytes | Unreadable] = (),
    *,
    identity: FileIdentity | None = None,
    mode: int = 0,
    owner: int = 0,
    with_keys: bool = False,
    most_certificates: int | None = None,
) -> FileObservation:
    """Return the observation of `data`, the content of a file or of no file at all, at Unix time `now`.

    Locked content is opened by the first of the `passwords` that does; of one that could not be read, it is said why.
    """
    if target.line is not None:
        # A configuration file is not searched for certificates.
        reading = read_line(data, target.line)
        content = FileContent.NOTHING
        return FileObservation(target.name, now, identity, content, mode=mode, owner=owner, line=reading)
    container = _opened(data, target, passwords)
    blocks = container.blocks
    failures = [Unreadable(fault.reason, harmless(fault.detail)) for fault in blocks.faults[:1]]
    certificates, bad = _certificates(blocks.certificates, most_certificates)
    failures += bad
    lists, bad = _lists(blocks.lists)
    failures += bad
    keystore, bad = _decoded(container.keystore, most_certificates)
    failures += bad
    keys, locked = _NO_KEYS, 0
    if with_keys or target.role in _WITH_KEYS:
        locked = 0 if container.keystore is None else container.keystore.locked_keys
        keys = _public_halves(blocks.keys, [each for each in passwords if isinstance(each, bytes)])
        if target.role is not FileRole.FOUND:
            # Where nobody asks for a key, one that the library does not know is no fault.
            failures += keys.failures
    return FileObservation(
        target=target.name,
        at=now,
        identity=identity,
        content=_content(certificates, keystore, with_key=bool(blocks.keys)),
        certificates=certificates,
        keys=keys.sha256,
        mode=mode,
        owner=owner,
        failure=failures[0] if failures else None,
        encrypted_keys=keys.encrypted + locked,
        format=container.format,
        keystore=keystore,
        lists=lists,
    )


def unreadable(path: str, error: OSError | ValueError) -> Unreadable:
    """Return why the file or directory at `path` cannot be examined, by the error that the attempt raised."""
    if isinstance(error, RefusedError):
        return error.why
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number == errno.ENOENT:
        try:
            link = os.readlink(path)
        except (OSError, ValueError):
            pass
        else:
            return broken_link(link)
    if number is not None and number in _REASONS:
        reason, detail = _REASONS[number]
        return Unreadable(reason, detail)
    return Unreadable(UnreadableReason.IO_ERROR, printable(os.strerror(number or errno.EIO)))


def read_passwords(paths: Iterable[str], opened: Callable[[str], int] = open_plainly) -> tuple[bytes | Unreadable, ...]:
    """Return the passwords in these files; they are read for one look, and forgotten after it."""
    return tuple(_read_password(path, opened) for path in paths)


def _read_password(path: str, opened: Callable[[str], int]) -> bytes | Unreadable:
    password = read_whole(path, opened)
    return password if isinstance(password, Unreadable) else password_in(password)


def read_whole(path: str, opened: Callable[[str], int] = open_plainly) -> bytes | Unreadable:
    """Return the content of the file at `path`; whatever it is, reading neither hangs nor raises."""
    read = _read(path, opened)
    return read if isinstance(read, Unreadable) else read.data


def _opened(data: bytes, target: FileTarget, passwords: Sequence[bytes | Unreadable]) -> Container:
    """Return what is in a file, with a password that is known for it, or else with the one that everybody knows."""
    container = _unlocked(data, target, [each for each in passwords if isinstance(each, bytes)])
    if not passwords and _asks_for_password(container):
        guessed = _opened_with(data, target, DEFAULT_PASSWORD)
        if guessed.keystore is not None and guessed.keystore.default_password:
            container = guessed
    if target.role is FileRole.KEYSTORE and not is_keystore(container.format):
        held = called(container.format)
        detail = f"it is {held}, not a keystore" if held else "it is no keystore"
        return Container(container.format, faulty(UnreadableReason.BAD_DER, detail))
    if target.role in _OF_SERVERS and container.format is FileFormat.KUBECONFIG:
        detail = "it is a kubeconfig, which no TLS server reads"
        return Container(container.format, faulty(UnreadableReason.BAD_DER, detail))
    reasons = {each.reason for each in container.blocks.faults}
    unread = zip(target.password_files, passwords, strict=False)
    lacking = [(path, why) for path, why in unread if isinstance(why, Unreadable)]
    if lacking and (_asks_for_password(container) or UnreadableReason.WRONG_PASSWORD in reasons):
        path, why = lacking[0]
        detail = f"the file with its password, {printable(path, 200)}, cannot be read: {why.detail}"
        reason = why.reason if why.reason in NOT_FOR_US else UnreadableReason.NO_PASSWORD
        return _faulty(container, reason, detail)
    if UnreadableReason.WRONG_PASSWORD in reasons:
        where = listed(printable(each, 200) for each in target.password_files)
        whose = "passwords" if len(target.password_files) > 1 else "password"
        detail = f"{container.blocks.faults[0].detail} ({whose} of {where})"
        return _faulty(container, UnreadableReason.WRONG_PASSWORD, detail)
    return container


def _unlocked(data: bytes, target: FileTarget, passwords: Sequence[bytes]) -> Container:
    """Return what is in a file, with the first password that opens all of it; without that, with the last."""
    container = _opened_with(data, target, passwords[0] if passwords else None)
    for each in passwords[1:]:
        if not any(fault.reason is UnreadableReason.WRONG_PASSWORD for fault in container.blocks.faults):
            break
        container = _opened_with(data, target, each)
    return container


def _opened_with(data: bytes, target: FileTarget, password: bytes | None) -> Container:
    return open_places(data, target.pointers, password) if target.pointers else open_container(data, password)


def _asks_for_password(container: Container) -> bool:
    """Whether a password would open a keystore, or verify it."""
    locked = any(each.reason is UnreadableReason.LOCKED for each in container.blocks.faults)
    keystore = container.keystore
    unverified = keystore is not None and keystore.integrity is Integrity.UNVERIFIED and not container.blocks.faults
    return is_keystore(container.format) and (locked or unverified)


def _faulty(container: Container, reason: UnreadableReason, detail: str) -> Container:
    """Return the container with this fault in place of all others; what could be read is kept."""
    return replace(container, blocks=replace(container.blocks, faults=(EncodingFault(reason, detail),)))


def _directory_owner(path: str) -> int | None:
    try:
        return os.stat(os.path.dirname(os.path.realpath(path))).st_uid
    except OSError:
        return None


def _is_sheltered(path: str) -> bool:
    """Whether a directory on the way to a file lets nobody in but its owner and group."""
    directory = os.path.realpath(path)
    while directory != os.sep:
        directory = os.path.dirname(directory)
        try:
            if not os.stat(directory).st_mode & stat.S_IXOTH:
                return True
        except OSError:
            return False
    return False


@immutable
class _Read:
    status: os.stat_result
    data: bytes | Unreadable


def _read(path: str, opened: Callable[[str], int]) -> _Read | Unreadable:
    try:
        descriptor = opened(path)
    except (OSError, ValueError) as error:
        return unreadable(path, error)
    try:
        read = _read_whole(descriptor)
        return _read_whole(descriptor) if read.data is _CHANGED else read
    except OSError as error:
        return unreadable(path, error)
    finally:
        os.close(descriptor)


def _read_whole(descriptor: int) -> _Read:
    """Return the content, or why it is of no use; the status is that of the moment before reading.

    Raises OSError where the file cannot be read.
    """
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        return _Read(before, _NOT_REGULAR)
    if before.st_size > SIZE_LIMIT:
        return _Read(before, Unreadable(UnreadableReason.TOO_LARGE, sentence("it is larger than {} bytes", SIZE_LIMIT)))
    # One byte more than there should be, so that a file that grows is noticed without another call.
    data = os.pread(descriptor, before.st_size + 1, 0)
    if len(data) != before.st_size or _identity(os.fstat(descriptor)) != _identity(before):
        return _Read(before, _CHANGED)
    return _Read(before, data)


def _identity(status: os.stat_result) -> FileIdentity:
    return FileIdentity(
        status.st_dev, status.st_ino, bounded(status.st_mtime_ns), bounded(status.st_ctime_ns), status.st_size
    )


def _certificates(blocks: Sequence[bytes], most: int | None) -> tuple[tuple[Certificate, ...], tuple[Unreadable, ...]]:
    """Return the certificates, and the first block that is none; of more than `most`, only that there are too many."""
    if most is not None and len(blocks) > most:
        return (), (_too_many(len(blocks), Printable("certificates"), most),)
    certificates: list[Certificate] = []
    failures: list[Unreadable] = []
    for number, der in enumerate(blocks, start=1):
        try:
            certificates.append(certificate(der))
        except ValueError as error:
            where = (
                sentence("certificate {} of {}", number, len(blocks))
                if len(blocks) > 1
                else Printable("its certificate")
            )
            failures.append(
                Unreadable(
                    UnreadableReason.BAD_DER, sentence("{} cannot be decoded: {}", where, printable(str(error), 200))
                )
            )
    return tuple(certificates), tuple(failures[:1])


def _lists(blocks: Sequence[bytes]) -> tuple[tuple[RevocationList, ...], tuple[Unreadable, ...]]:
    """Return the revocation lists, and the first block that is none."""
    if len(blocks) > MOST_LISTS:
        return (), (_too_many(len(blocks), Printable("revocation lists"), MOST_LISTS),)
    lists, failures = list[RevocationList](), list[Unreadable]()
    for number, der in enumerate(blocks, start=1):
        try:
            lists.append(revocation_list(der))
        except ValueError as error:
            detail = sentence("revocation list {} of {}: {}", number, len(blocks), printable(str(error), 200))
            failures.append(Unreadable(UnreadableReason.BAD_DER, detail))
    return tuple(lists), tuple(failures[:1])


def _decoded(
    keystore: Keystore[bytes] | None, most: int | None
) -> tuple[Keystore[Certificate] | None, tuple[Unreadable, ...]]:
    """Return a keystore with its certificates decoded, and the first that is none, which its entry lacks."""
    if keystore is None:
        return None, ()
    if most is not None and len(keystore.entries) > most:
        return None, (_too_many(len(keystore.entries), Printable("entries"), most),)
    entries: list[KeystoreEntry[Certificate]] = []
    failures: list[Unreadable] = []
    for each in keystore.entries:
        certificates, bad = _certificates(each.certificates, most)
        failures += (Unreadable(one.reason, sentence("entry {}: {}", each.alias, one.detail)) for one in bad)
        entries.append(KeystoreEntry(each.kind, each.alias, each.created, certificates))
    decoded = Keystore(tuple(entries), keystore.integrity, keystore.default_password, keystore.locked_keys)
    return decoded, tuple(failures[:1])


@immutable
class _Keys:
    sha256: tuple[str, ...]
    encrypted: int
    failures: tuple[Unreadable, ...]


_NO_KEYS: Final = _Keys((), 0, ())


def _too_many(count: int, what: Printable, most: int) -> Unreadable:
    return Unreadable(
        UnreadableReason.TOO_LARGE, sentence("it holds {} {}, at most {} are looked at", count, what, most)
    )


def _public_halves(keys: Sequence[bytes], passwords: Sequence[bytes]) -> _Keys:
    """Return the facts about private keys; their bytes do not outlive the call, and go into no text."""
    if len(keys) > MOST_KEYS:
        return _Keys((), 0, (_too_many(len(keys), Printable("private keys"), MOST_KEYS),))
    found: list[str] = []
    encrypted = 0
    failures: list[Unreadable] = []
    for number, key in enumerate(keys, start=1):
        opened = open_key(key, passwords[0] if passwords else None)
        for password in passwords[1:]:
            if not isinstance(opened, EncodingFault) or opened.reason is not UnreadableReason.WRONG_PASSWORD:
                break
            opened = open_key(key, password)
        if not isinstance(opened, EncodingFault):
            public = opened.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            found.append(hashlib.sha256(public).hexdigest())
        elif opened.reason in SEALED:
            encrypted += 1
        else:
            failures.append(Unreadable(opened.reason, sentence("private key {} {}", number, harmless(opened.detail))))
    return _Keys(tuple(found), encrypted, tuple(failures[:1]))


def _content(
    certificates: Sequence[Certificate], keystore: Keystore[Certificate] | None, *, with_key: bool
) -> FileContent:
    """Classify by what is inside; several certificates that all are CAs or their own issuers are anchors to someone."""
    if not certificates:
        return FileContent.KEY if with_key else FileContent.NOTHING
    several = len(set(certificates)) > 1
    if keystore is not None and keystore.is_trust_store:
        return FileContent.BUNDLE if several else FileContent.ANCHOR
    pinned = several and all(each.is_ca or each.self_issued for each in certificates)
    anchors = are_anchors(certificates) if all(each.is_ca for each in certificates) else pinned
    if anchors and not with_key:
        return FileContent.BUNDLE if several else FileContent.ANCHOR
    return FileContent.LEAF
