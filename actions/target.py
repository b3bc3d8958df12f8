"""One file that is changed: whether it may be, what it is now, how it is put in its place and taken out again."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final

from actions import backup
from actions.aside import AsideFile
from actions.plan import Change, FileState
from actions.world import (
    LOST_BY_WRITING,
    NOT_A_FILE,
    READ_LIMIT,
    Metadata,
    World,
    remove,
    write_all,
    write_new,
)
from config.text import printable
from probes.opening import RefusedError

_NO_EXCHANGE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EXDEV})
_WRITES: Final = 3
"""Times that a file is written over before its medium counts as failing."""


class Condition(StrEnum):
    """What a file is, as a change sees it."""

    OLD = "old"
    NEW = "new"
    TORN = "torn"
    """Partly written over: only by us, and only where the change is in place."""
    GONE = "gone"
    """Missing: what is put there takes the place of nothing."""
    OTHER = "other"
    """Someone else's."""


class ThirdPartyError(Exception):
    """Someone else has changed a file meanwhile; the message is a sentence, printable."""


def staged(change: Change, transaction: str) -> str:
    """Return where the new file waits."""
    return _beside(change.path, transaction, "new")


def sidecar(change: Change, transaction: str) -> str:
    """Return where the old file is kept."""
    return _beside(change.path, transaction, "old")


def _beside(path: str, transaction: str, what: str) -> str:
    directory, name = os.path.split(path)
    # A leading dot: servers read whole directories.
    return os.path.join(directory, f".{name}.{transaction}.{what}")


def state(world: World, path: str) -> FileState | None:
    """Return what a file is, None where there is none; raises OSError, also for what is no regular file."""
    try:
        return backup.state_of(*world.read(path))
    except FileNotFoundError:
        return None


def moved(world: World, change: Change) -> bool:
    """Whether symbolic links lead elsewhere than when the plan was made."""
    try:
        return any(world.resolve(path) != change.path for path in _names(change))
    except RefusedError:
        return True


def _names(change: Change) -> tuple[str, ...]:
    return (change.path, change.given) if change.given else (change.path,)


def obstacle(world: World, change: Change, trusted: frozenset[int]) -> str | None:
    """Say why a file cannot or should not be changed, as a sentence; raises OSError. `trusted` are user ids."""
    path, directory = change.path, os.path.dirname(change.path)
    name = printable(path)
    if (why := _misled(world, change, trusted)) is not None:
        return f"{name}: {why}"
    for each in _names(change):
        if _is_certbots(world, each):
            return f"{name} belongs to certbot, which would undo the change: give the service a copy by a deploy hook"
    if (unsafe := unsafe_directory(world, directory, trusted)) is not None:
        return f"{name}: {printable(unsafe)} can be changed by a lesser user"
    standing = world.standing(directory)
    if standing.read_only or standing.immutable:
        return f"{name}: its directory is {'read-only' if standing.read_only else 'immutable'}"
    if change.before is None:
        return None
    standing, found = world.standing(path), world.stat(path)
    if standing.read_only or standing.immutable:
        return f"{name} is {'read-only' if standing.read_only else 'immutable'}"
    if standing.mount_point and not change.in_place:
        return f"{name} is a mount point, which nothing can be renamed onto: set `write_mode: in_place`"
    if found.st_nlink > 1 and not change.in_place:
        return f"{name} has {found.st_nlink} names: replacing one would leave the others with the old content"
    return None


def _misled(world: World, change: Change, trusted: frozenset[int]) -> str | None:
    """Say why the symbolic links on the way to a file are not to be followed; raises OSError."""
    try:
        laid = {each for given in _names(change) for each in world.way(given)}
    except RefusedError as error:
        return printable(error.why.detail)
    if moved(world, change):
        return "symbolic links now lead elsewhere"
    # Whoever has the file may choose among those that are his.
    own = trusted if change.before is None else trusted | {world.stat(change.path).st_uid}
    for each in sorted(laid):
        if (unsafe := unsafe_directory(world, each, own)) is not None:
            return f"a symbolic link leads to it, and {printable(unsafe)} can be changed by a lesser user"
    return None


def _is_certbots(world: World, path: str) -> bool:
    lineage, kind = os.path.dirname(path), os.path.dirname(os.path.dirname(path))
    return os.path.basename(kind) in ("live", "archive") and f"{os.path.basename(lineage)}.conf" in world.names(
        os.path.join(os.path.dirname(kind), "renewal")
    )


def unsafe_directory(world: World, directory: str, trusted: frozenset[int] = frozenset()) -> str | None:
    """Return the first directory from the root on in which someone else could put another in the place of the next.

    `trusted` are user ids that may own one, beside root and our own. Raises OSError. A sticky one that others may write
    to, as /tmp, is good enough on the way: there nobody replaces a directory of root's. It is no place for files, which
    may be others', and have names that anybody could have taken before.
    """
    owners = {0, os.geteuid()} | trusted
    parts = directory.split("/")
    for depth in range(1, len(parts) + 1):
        at = "/".join(parts[:depth]) or "/"
        found = world.stat(at)
        sticky = found.st_mode & stat.S_ISVTX and depth < len(parts)
        shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky
        if found.st_uid not in owners or shared:
            return at
    return None


def stage(world: World, change: Change, transaction: str, data: bytes) -> None:
    """Put the new file beside the target and give the old one a second name; raises OSError.

    It has owner, mode, access list and attributes of the old one, and the time of now, since whoever compares times to
    learn of a change would miss it else.
    """
    if hashlib.sha256(data).hexdigest() != change.after.sha256:
        raise OSError(errno.EINVAL, "the bytes are not those of the plan")
    attributes = None if change.before is None else world.attributes(change.path)
    after = change.after
    write_new(world, staged(change, transaction), data, Metadata(after.mode, after.owner, after.group, attributes))
    if change.before is None or change.written_over:
        return
    try:
        world.link(change.path, sidecar(change, transaction))
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Rolling back then takes the copy of the backup set.


def switch(world: World, change: Change, transaction: str) -> None:
    """Put the new file in the old one's place; raises ThirdPartyError before anything is touched, OSError."""
    if moved(world, change):
        raise ThirdPartyError(f"{printable(change.path)}: symbolic links were changed meanwhile")
    new = staged(change, transaction)
    if change.written_over:
        _write_over_unchanged(world, change, _bytes_of_plan(world, change, new))
        return
    try:
        unchanged = state(world, change.path) == change.before
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
        unchanged = False
    if not unchanged:
        raise _changed(change)
    _bytes_of_plan(world, change, new)
    if change.before is None:
        # A rename would take the place of a file that someone made just now.
        try:
            world.link(new, change.path)
        except FileExistsError:
            raise ThirdPartyError(f"{printable(change.path)} was made by someone else meanwhile") from None
        world.unlink(new)
    else:
        _take_place(world, new, change.path, change.before)


def _changed(change: Change) -> ThirdPartyError:
    return ThirdPartyError(f"{printable(change.path)} was changed by someone else meanwhile")


def _bytes_of_plan(world: World, change: Change, path: str) -> bytes:
    """Return the new bytes, which lie at `path`; raises ThirdPartyError where they are no longer those of the plan."""
    data = world.read(path)[1]
    if hashlib.sha256(data).hexdigest() != change.after.sha256:
        raise ThirdPartyError(f"{printable(path)} was changed by someone else meanwhile")
    return data


def _write_over_unchanged(world: World, change: Change, data: bytes) -> None:
    """Write over the very file that is looked at, which must be the one before; raises ThirdPartyError, OSError."""
    try:
        descriptor = world.open(change.path)
    except OSError as error:
        if error.errno not in {*NOT_A_FILE, errno.ENOENT}:
            raise
        raise _changed(change) from None
    try:
        found = world.status(descriptor)
        if found.st_size > READ_LIMIT or backup.state_of(found, world.read_at(descriptor, 0)) != change.before:
            raise _changed(change)
        _write(world, descriptor, data, change.after)
    finally:
        world.close(descriptor)


def _take_place(world: World, ours: str, path: str, expected: FileState) -> None:
    """Put `ours` at `path`, in the place of what is `expected` there; raises ThirdPartyError, OSError.

    What was there is looked at once more when it is out of the way: nobody's edit of the last instant is lost.
    """
    try:
        world.exchange(ours, path)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        world.rename(ours, path)
        return
    if state(world, ours) != expected:
        world.exchange(ours, path)
        raise ThirdPartyError(f"{printable(path)} was changed by someone else at the last instant")


def _write_over(world: World, change: Change, data: bytes, after: FileState, mtime_ns: int | None = None) -> None:
    descriptor = world.open(change.path)
    try:
        if world.status(descriptor).st_uid not in _owners(change):
            raise _changed(change)
        _write(world, descriptor, data, after, mtime_ns)
    finally:
        world.close(descriptor)


def _owners(change: Change) -> frozenset[int]:
    """Return whose a file may be that is in the place of a target, or was."""
    return frozenset(each.owner for each in (change.before, change.after) if each is not None)


def _write(world: World, descriptor: int, data: bytes, after: FileState, mtime_ns: int | None = None) -> None:
    world.set_owner(descriptor, after.owner, after.group)
    world.set_mode(descriptor, after.mode)
    write_all(world, descriptor, 0, data)
    world.truncate(descriptor, len(data))
    if after.mode & LOST_BY_WRITING:
        world.set_mode(descriptor, after.mode)
    if mtime_ns is not None:
        world.set_times(descriptor, mtime_ns)
    world.sync(descriptor)


def settle(world: World, change: Change) -> None:
    """Have a file that is written over reach the medium, where a process that wrote it was killed; raises OSError."""
    if not change.written_over:
        return
    try:
        descriptor = world.open(change.path)
    except OSError as error:
        if error.errno in {*NOT_A_FILE, errno.ENOENT}:
            return
        raise
    try:
        world.sync(descriptor)
    finally:
        world.close(descriptor)


def condition(world: World, change: Change, transaction: str, old: bytes | None) -> Condition:
    """Say what the target is now; `old` are the bytes it had, needed for one that is changed in place. Raises OSError.

    Where the change changes nothing, it is old.
    """
    if moved(world, change):
        return Condition.OTHER
    try:
        found, data = world.read(change.path)
    except FileNotFoundError:
        return Condition.OLD if change.before is None else Condition.GONE
    except OSError as error:
        if error.errno in NOT_A_FILE:
            return Condition.OTHER
        raise
    now = backup.state_of(found, data)
    if now == change.before:
        return Condition.OLD
    if now == change.after:
        return Condition.NEW if change.written_over or _old_is_aside(world, change, transaction) else Condition.OTHER
    if change.written_over and old is not None and _torn(data, old, _staged_bytes(world, change, transaction)):
        return Condition.TORN
    return Condition.OTHER


def _old_is_aside(world: World, change: Change, transaction: str) -> bool:
    """Whether what was exchanged for the new file is the old one, and no edit of the last instant."""
    aside = staged(change, transaction)
    if state(world, aside) in {None, change.before, change.after}:
        return True
    try:
        # The old one all the same, to which whoever has it open still writes.
        return world.stat(aside).st_ino == world.stat(sidecar(change, transaction)).st_ino
    except FileNotFoundError:
        return False


def _staged_bytes(world: World, change: Change, transaction: str) -> bytes:
    try:
        return world.read(staged(change, transaction))[1]
    except FileNotFoundError:
        return b""


def _torn(data: bytes, old: bytes, new: bytes) -> bool:
    """Whether each byte is the old one or the new one at its place, as writing over leaves it when interrupted."""
    length = max(len(old), len(new))
    return len(data) <= length and all(
        byte in (before, after)
        for byte, before, after in zip(data, old.ljust(length, b"\0"), new.ljust(length, b"\0"), strict=False)
    )


def _is(world: World, path: str, wanted: FileState | None) -> bool:
    """Whether a file is what it should be; one that cannot be read is not."""
    try:
        return state(world, path) == wanted
    except OSError:
        return False


def _beside_as(world: World, change: Change, transaction: str, wanted: FileState | None) -> str | None:
    """Return where a file like that lies beside the target; None where there is none, or none is wanted."""
    if wanted is None:
        return None
    names = (_beside(change.path, transaction, what) for what in ("old", "new", "again"))
    return next((each for each in names if _is(world, each, wanted)), None)


def new_at_hand(world: World, change: Change, transaction: str) -> bool:
    """Whether the new file lies beside the target, intact."""
    return _beside_as(world, change, transaction, change.after) is not None


def old_at_hand(world: World, root: str, change: Change, transaction: str) -> None:
    """Return where the old file can be put back, being intact or having an intact copy; raises BackupError, OSError."""
    if change.before is None or (
        not change.written_over and _beside_as(world, change, transaction, change.before) is not None
    ):
        return
    _copied(world, root, change, transaction)


def _copied(world: World, root: str, change: Change, transaction: str) -> tuple[bytes, Metadata | None]:
    taken = backup.load(world, root, change.component, transaction)
    copy = next((each for each in taken.copies if each.path == change.path), None)
    if copy is None:
        why = f"backup set {transaction} of {change.component} does not hold {printable(change.path)}"
        raise backup.BackupError(why)
    return backup.read_copy(world, root, taken, copy), copy.metadata


def intact_copy(world: World, root: str, change: Change, transaction: str) -> None:
    """Return where the backup set holds the old file; raises BackupError, OSError."""
    if change.before is not None:
        _copied(world, root, change, transaction)


def bring(world: World, root: str, change: Change, transaction: str) -> None:
    """Have the old file lie beside the target, so that putting it back is one rename; raises BackupError, OSError.

    The old inode where it is what it was, else the copy of the backup set. For one that is written over, and is there,
    it is only read.
    """
    if change.before is None or _beside_as(world, change, transaction, change.before) is not None:
        return
    data, metadata = _copied(world, root, change, transaction)
    if _is_written_over(world, change):
        return
    again = _beside(change.path, transaction, "again")
    remove(world, again)
    write_new(world, again, data, metadata)


def _is_written_over(world: World, change: Change) -> bool:
    """Whether a file is to be written over and is there to be: where somebody removed it, it must be made again."""
    return change.written_over and _inode(world, change.path) is not None


def restore(world: World, root: str, change: Change, transaction: str) -> None:
    """Put the old file back where the new one is, or parts of it, or nothing.

    Raises BackupError, ThirdPartyError, OSError. It is the old file in everything that was kept, the time of its last
    change included, as if nothing had happened. Where `bring` did its work before, that is one rename.
    """
    if change.before is None:
        remove(world, change.path)
        return
    if _is_written_over(world, change):
        data, metadata = _copied(world, root, change, transaction)
        _write_until_it_holds(world, change, data, change.before, metadata.mtime_ns if metadata else None)
        return
    bring(world, root, change, transaction)
    old = _beside_as(world, change, transaction, change.before)
    if old is None:
        raise OSError(errno.ENOENT, "the old file is no longer beside it", change.path)
    _put(world, old, change.path, change.after)


def complete(world: World, change: Change, transaction: str) -> None:
    """Put the new file where the old one is, or parts of it, or nothing; raises ThirdPartyError, OSError."""
    new = _beside_as(world, change, transaction, change.after)
    if new is None:
        raise OSError(errno.ENOENT, "the new file is no longer beside it", change.path)
    if _is_written_over(world, change):
        _write_until_it_holds(world, change, _bytes_of_plan(world, change, new), change.after)
        return
    if change.written_over and new == staged(change, transaction):
        # The next recovery may write it over once more.
        after, data, new = change.after, world.read(new)[1], _beside(change.path, transaction, "again")
        attributes = world.attributes(staged(change, transaction))
        remove(world, new)
        write_new(world, new, data, Metadata(after.mode, after.owner, after.group, attributes))
    _put(world, new, change.path, change.before)


def _put(world: World, ours: str, path: str, expected: FileState | None) -> None:
    """Put `ours` at `path`, in place of what is `expected` there, or of nothing; raises ThirdPartyError, OSError."""
    if state(world, path) is not None and expected is not None:
        _take_place(world, ours, path, expected)
        return
    # A rename would take the place of a file that someone made just now.
    try:
        world.link(ours, path)
    except FileExistsError:
        raise ThirdPartyError(f"{printable(path)} was made by someone else meanwhile") from None
    world.unlink(ours)


def _write_until_it_holds(
    world: World, change: Change, data: bytes, wanted: FileState, mtime_ns: int | None = None
) -> None:
    """Write a file over until it is what it should be; raises OSError once the medium has failed often enough.

    Raises ThirdPartyError where it is somebody else's.

    What it is to hold stays where it comes from, so that the next recovery can begin anew.
    """
    for attempt in range(1, _WRITES + 1):
        try:
            _write_over(world, change, data, wanted, mtime_ns)
            if state(world, change.path) == wanted:
                return
        except OSError:
            if attempt == _WRITES:
                raise
    raise OSError(errno.EIO, "it does not hold what was written to it", change.path)


def clear(world: World, change: Change, transaction: str) -> None:
    """Remove whatever was put beside the target, and nothing that is no file; raises OSError."""
    strange = strangers(world, change, transaction)
    for what in ("new", "old", "again"):
        if (path := _beside(change.path, transaction, what)) not in strange:
            remove(world, path)


def strangers(world: World, change: Change, transaction: str) -> tuple[str, ...]:
    """Return what has a name of ours beside the target and is no regular file: somebody else's. Raises OSError."""
    found: list[str] = []
    for what in ("new", "old", "again"):
        path = _beside(change.path, transaction, what)
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(world.stat(path).st_mode):
                found.append(path)
    return tuple(found)


def clear_accounted(world: World, change: Change, transaction: str, kept: frozenset[str]) -> tuple[str, ...]:
    """Remove what was put beside the target as far as its content is among `kept`, SHA-256, which are elsewhere, too.

    Returns the paths of what stays, since its content may be nowhere else. Raises OSError.
    """
    stays: list[str] = []
    for what in ("new", "old", "again"):
        path = _beside(change.path, transaction, what)
        try:
            found = state(world, path)
        except OSError as error:
            if error.errno not in NOT_A_FILE:
                raise
            stays.append(path)
            continue
        if found is not None and found.sha256 not in kept:
            stays.append(path)
        elif found is not None:
            world.unlink(path)
    return tuple(stays)


def keep_aside(world: World, change: Change, transaction: str) -> tuple[AsideFile, ...]:
    """Remove what was put beside the target, but for what was in its place: whoever has that open may still write.

    It is then its owner's alone to read. Returns it with what it is known to have held; raises OSError.
    """
    if change.before is None or change.written_over:
        clear(world, change, transaction)
        return ()
    names = (sidecar(change, transaction), _beside(change.path, transaction, "again"), staged(change, transaction))
    strange = strangers(world, change, transaction)
    paths = tuple(each for each in names if each not in strange)
    return tuple(
        AsideFile(change.component, change.path, path, _known_of(world, path, change))
        for path in _out_of_place(world, change, transaction, paths)
    )


def _out_of_place(world: World, change: Change, transaction: str, paths: Sequence[str]) -> Iterator[str]:
    seen = {_inode(world, change.path)}
    for path in paths:
        inode = _inode(world, path)
        # What was staged and never switched, nobody else has ever opened.
        if inode in seen or (path == staged(change, transaction) and _digest(world, path) == change.after.sha256):
            remove(world, path)
        elif inode is not None:
            seen.add(inode)
            # It is no less safe as it is, and nothing else depends on it.
            with suppress(OSError):
                ours = sum(_inode(world, each) == inode for each in (change.path, *paths))
                _close_to_others(world, path, inode, _owners(change), ours)
            yield path


def _inode(world: World, path: str) -> tuple[int, int] | None:
    try:
        found = world.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _digest(world: World, path: str) -> str:
    """Return the SHA-256 of a file, hexadecimal; empty where there is none, or something else."""
    try:
        found = state(world, path)
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
        return ""
    return "" if found is None else found.sha256


def _known_of(world: World, path: str, change: Change) -> str:
    """Return the SHA-256 of what a file held that was in the place of the target: before the change, or after it."""
    return change.after.sha256 if _digest(world, path) == change.after.sha256 else _before(change)


def _before(change: Change) -> str:
    return "" if change.before is None else change.before.sha256


def _close_to_others(world: World, path: str, inode: tuple[int, int], owners: frozenset[int], names: int) -> None:
    """Have a file be its owner's alone, if it is the one that was seen, with no names but so many of ours."""
    descriptor = world.open(path)
    try:
        found = world.status(descriptor)
        if (found.st_dev, found.st_ino) == inode and found.st_uid in owners and found.st_nlink <= names:
            world.set_mode(descriptor, found.st_mode & 0o600)
    finally:
        world.close(descriptor)
