"""One file of a change: whether it may be changed, its condition, and the steps that switch, restore and clear it.

Beside a target lie up to three files of a transaction, as `.NAME.TRANSACTION.` and one of these:

    new     from `stage` on the new bytes. `switch` exchanges it with the target, and then it is the old file; so is a
            file that is removed. Without an exchange it is gone by then. Of a file that is written over, it stays.
    old     from `stage` on a link to the old file. There is none where the target is new or written over, or where the
            file system has no links: then the copy of the backup set counts.
    again   bytes that are written anew: the old ones by `bring`, where neither of the others is the old file; the new
            ones by `complete`, where a file that is to be written over is missing, so that `new` stays.

`restore` and `complete` put one of them in place by an exchange, too: then this name has the replaced file. The end
takes all of them away, but for a replaced file that a process may have open (`keep_aside`).
"""

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
    Standing,
    World,
    remove,
    write_all,
    write_new,
)
from config.text import printable
from probes.opening import RefusedError

_NEW, _OLD, _AGAIN = "new", "old", "again"
"""The names beside a target."""
_NO_EXCHANGE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EXDEV})
_ELSEWHERE: Final = (
    "who could put another file there: keep it in a directory of root's, and name it there to the service"
)
_WRITES: Final = 3
"""Attempts to write over a file, after which its medium counts as failing."""


class Condition(StrEnum):
    """The condition of a file, as seen by a change."""

    OLD = "old"
    NEW = "new"
    TORN = "torn"
    """Partly written over: only by certvigil, and only where the file is written over in place."""
    GONE = "gone"
    """Missing: a file can be put there without replacing another."""
    OTHER = "other"
    """Another writer's."""


class ThirdPartyError(Exception):
    """Another writer has changed a file meanwhile; the message is a sentence, printable."""


def staged(change: Change, transaction: str) -> str:
    """Return the path of the staged new file."""
    return _beside(change.path, transaction, _NEW)


def sidecar(change: Change, transaction: str) -> str:
    """Return the path of the link to the old file."""
    return _beside(change.path, transaction, _OLD)


def _beside(path: str, transaction: str, what: str) -> str:
    directory, name = os.path.split(path)
    # A leading dot hides the file: some servers read whole directories.
    return os.path.join(directory, f".{name}.{transaction}.{what}")


def _all_beside(change: Change, transaction: str) -> tuple[str, ...]:
    return tuple(_beside(change.path, transaction, what) for what in (_NEW, _OLD, _AGAIN))


def state(world: World, path: str) -> FileState | None:
    """Return the state of a file, None where there is none; raises OSError, also where it is no regular file."""
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
    """Return why a file cannot or should not be changed, as a sentence; raises OSError. `trusted` are user ids."""
    name, directory = printable(change.path), os.path.dirname(change.path)
    if (why := _misled(world, change, trusted)) is not None:
        return f"{name}: {why}"
    for each in _names(change):
        if _is_certbots(world, each):
            return f"{name} belongs to certbot, which would undo the change: give the service a copy by a deploy hook"
    if (unsafe := unsafe_directory(world, directory, trusted)) is not None:
        return f"{name}: {printable(unsafe)} can be changed by a lesser user, {_ELSEWHERE}"
    if fixed := _fixed(world.standing(directory)):
        return f"{name}: its directory is {fixed}"
    return None if change.before is None else _obstacle_at(world, change)


def _obstacle_at(world: World, change: Change) -> str | None:
    """Return why an existing file cannot be changed, as a sentence; raises OSError."""
    name = printable(change.path)
    standing, found = world.standing(change.path), world.stat(change.path)
    if fixed := _fixed(standing):
        return f"{name} is {fixed}"
    if standing.mount_point and not change.in_place:
        return f"{name} is a mount point, which nothing can be renamed onto: set `write_mode: in_place`"
    if found.st_nlink > 1 and not change.in_place:
        return f"{name} has {found.st_nlink} names: replacing one would leave the others with the old content"
    return None


def _fixed(standing: Standing) -> str:
    if standing.read_only:
        return "read-only"
    return "immutable" if standing.immutable else ""


def _misled(world: World, change: Change, trusted: frozenset[int]) -> str | None:
    """Return why the symbolic links on the way to a file are not followed; raises OSError."""
    try:
        laid = {each for given in _names(change) for each in world.way(given)}
    except RefusedError as error:
        return printable(error.why.detail)
    if moved(world, change):
        return "symbolic links now lead elsewhere"
    # The owner of the file may choose among files of its own.
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
    """Return the first directory, from the root on, in which another user could replace the next part of the path.

    `trusted` are user ids that may own a directory, beside root and this user. Raises OSError. A sticky directory that
    others may write to, as /tmp, is safe on the way: nobody can replace a directory of root there. It is not safe as
    the last directory: any user could have taken the name of a file before.
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
    """Put the new file beside the target and link the old file beside it; raises OSError.

    The new file has owner, mode, access list and attributes of the old file, and the time of now: a process that
    compares times would miss the change otherwise. Of a file that is removed, only the old file is linked.
    """
    after = change.after
    if after is not None:
        if hashlib.sha256(data).hexdigest() != after.sha256:
            raise OSError(errno.EINVAL, "the bytes are not those of the plan")
        attributes = None if change.before is None else world.attributes(change.path)
        write_new(world, staged(change, transaction), data, Metadata(after.mode, after.owner, after.group, attributes))
    if change.before is None or change.written_over:
        return
    try:
        world.link(change.path, sidecar(change, transaction))
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A rollback then uses the copy of the backup set.


def switch(world: World, change: Change, transaction: str) -> None:
    """Put the new file in the place of the old file, or remove that; raises ThirdPartyError before any change, OSError.

    A removed file goes to the place beside it where a replaced file would be.
    """
    if moved(world, change):
        raise ThirdPartyError(f"{printable(change.path)}: symbolic links were changed meanwhile")
    new = staged(change, transaction)
    if change.written_over and change.after is not None:
        _write_over_unchanged(world, change, _bytes_of_plan(world, change, new), change.after)
        return
    try:
        unchanged = state(world, change.path) == change.before
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
        unchanged = False
    if not unchanged:
        raise _changed(change)
    if change.after is None:
        _move_away(world, change, new)
        return
    _bytes_of_plan(world, change, new)
    if change.before is None:
        # A rename would replace a file that another writer made just now.
        try:
            world.link(new, change.path)
        except FileExistsError:
            raise ThirdPartyError(f"{printable(change.path)} was made by someone else meanwhile") from None
        world.unlink(new)
    else:
        _take_place(world, new, change.path, change.before)


def _move_away(world: World, change: Change, aside: str) -> None:
    """Move the old file from its place to `aside`; raises ThirdPartyError, OSError.

    It is compared once more when it is out of the way, so that an edit of the last instant is not lost.
    """
    if _inode(world, aside) == _inode(world, change.path):
        # A rename between two names of one file does nothing.
        world.unlink(change.path)
    else:
        world.rename(change.path, aside)
    if state(world, aside) != change.before:
        with suppress(FileExistsError):
            world.link(aside, change.path)
            world.unlink(aside)
        raise ThirdPartyError(f"{printable(change.path)} was changed by someone else at the last instant")


def _changed(change: Change) -> ThirdPartyError:
    return ThirdPartyError(f"{printable(change.path)} was changed by someone else meanwhile")


def _bytes_of_plan(world: World, change: Change, path: str) -> bytes:
    """Return the new bytes at `path`; raises ThirdPartyError where they are no longer the bytes of the plan."""
    data = world.read(path)[1]
    if hashlib.sha256(data).hexdigest() != change.new_sha256:
        raise ThirdPartyError(f"{printable(path)} was changed by someone else meanwhile")
    return data


def _write_over_unchanged(world: World, change: Change, data: bytes, after: FileState) -> None:
    """Write over the old file, compared by the same descriptor; raises ThirdPartyError, OSError."""
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
        _write(world, descriptor, data, after)
    finally:
        world.close(descriptor)


def _take_place(world: World, ours: str, path: str, expected: FileState) -> None:
    """Put `ours` at `path`, in the place of the `expected` file; raises ThirdPartyError, OSError.

    The replaced file is compared once more when it is out of the way, so that an edit of the last instant is not lost.
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
    """Return the possible owners of a target, before and after the change."""
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
    """Have a file that is written over reach the medium, after its writer may have been killed; raises OSError."""
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
    """Return the condition of the target; `old` are its old bytes, for a file that is written over. Raises OSError.

    A file that the change leaves equal is old. A file that is removed is new where there is none.
    """
    if moved(world, change):
        return Condition.OTHER
    try:
        found, data = world.read(change.path)
    except FileNotFoundError:
        if change.before is None:
            return Condition.OLD
        return Condition.NEW if change.after is None else Condition.GONE
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
    """Whether the file that was exchanged for the new file is the old file, and no edit of the last instant."""
    aside = staged(change, transaction)
    if state(world, aside) in {None, change.before, change.after}:
        return True
    try:
        # Also the old file where a process that has it open has written to it.
        return world.stat(aside).st_ino == world.stat(sidecar(change, transaction)).st_ino
    except FileNotFoundError:
        return False


def _staged_bytes(world: World, change: Change, transaction: str) -> bytes:
    try:
        return world.read(staged(change, transaction))[1]
    except FileNotFoundError:
        return b""


def _torn(data: bytes, old: bytes, new: bytes) -> bool:
    """Whether each byte is the old or the new byte at its place, as an interrupted write leaves it."""
    length = max(len(old), len(new))
    return len(data) <= length and all(
        byte in (before, after)
        for byte, before, after in zip(data, old.ljust(length, b"\0"), new.ljust(length, b"\0"), strict=False)
    )


def _is(world: World, path: str, wanted: FileState | None) -> bool:
    """Whether a file has the wanted state; a file that cannot be read has not."""
    try:
        return state(world, path) == wanted
    except OSError:
        return False


def _beside_as(world: World, change: Change, transaction: str, wanted: FileState | None) -> str | None:
    """Return the path of a file with the wanted state beside the target; None without one, or where none is wanted."""
    if wanted is None:
        return None
    names = (_beside(change.path, transaction, what) for what in (_OLD, _NEW, _AGAIN))
    return next((each for each in names if _is(world, each, wanted)), None)


def new_at_hand(world: World, change: Change, transaction: str) -> bool:
    """Whether the new file lies beside the target, intact, or none is needed."""
    return change.after is None or _beside_as(world, change, transaction, change.after) is not None


def old_at_hand(world: World, root: str, change: Change, transaction: str) -> None:
    """Return where the old file can be put back, from beside the target or its copy; raises BackupError, OSError."""
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
    """Return where the backup set holds an intact copy of the old file; raises BackupError, OSError."""
    if change.before is not None:
        _copied(world, root, change, transaction)


def bring(world: World, root: str, change: Change, transaction: str) -> None:
    """Bring the old file beside the target, so that putting it back is one rename; raises BackupError, OSError.

    The old inode where it is unchanged, else the copy of the backup set. For a file that is written over and exists,
    the copy is only checked.
    """
    if change.before is None or _beside_as(world, change, transaction, change.before) is not None:
        return
    data, metadata = _copied(world, root, change, transaction)
    if _is_written_over(world, change):
        return
    again = _beside(change.path, transaction, _AGAIN)
    remove(world, again)
    write_new(world, again, data, metadata)


def _is_written_over(world: World, change: Change) -> bool:
    """Whether a file is to be written over and exists; a file that was removed must be created again."""
    return change.written_over and _inode(world, change.path) is not None


def restore(world: World, root: str, change: Change, transaction: str) -> None:
    """Put the old file back, in the place of the new file, of a torn file or of none.

    Its metadata are restored as well, the time of its last change included. After `bring`, that is one rename. Raises
    BackupError, ThirdPartyError, OSError.
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
    """Put the new file in the place of the old file, of a torn file or of none; raises ThirdPartyError, OSError.

    A file that is removed is removed where it is still there.
    """
    if change.after is None:
        if _inode(world, change.path) is not None:
            if state(world, change.path) != change.before:
                raise _changed(change)
            _move_away(world, change, staged(change, transaction))
        return
    new = _beside_as(world, change, transaction, change.after)
    if new is None:
        raise OSError(errno.ENOENT, "the new file is no longer beside it", change.path)
    if _is_written_over(world, change):
        _write_until_it_holds(world, change, _bytes_of_plan(world, change, new), change.after)
        return
    if change.written_over and new == staged(change, transaction):
        # The staged file stays for the next recovery, which may write it over once more.
        after, data, new = change.after, world.read(new)[1], _beside(change.path, transaction, _AGAIN)
        attributes = world.attributes(staged(change, transaction))
        remove(world, new)
        write_new(world, new, data, Metadata(after.mode, after.owner, after.group, attributes))
    _put(world, new, change.path, change.before)


def _put(world: World, ours: str, path: str, expected: FileState | None) -> None:
    """Put `ours` at `path`, in the place of the `expected` file or of none; raises ThirdPartyError, OSError."""
    if state(world, path) is not None and expected is not None:
        _take_place(world, ours, path, expected)
        return
    # A rename would replace a file that another writer made just now.
    try:
        world.link(ours, path)
    except FileExistsError:
        raise ThirdPartyError(f"{printable(path)} was made by someone else meanwhile") from None
    world.unlink(ours)


def _write_until_it_holds(
    world: World, change: Change, data: bytes, wanted: FileState, mtime_ns: int | None = None
) -> None:
    """Write over a file until it has the wanted state; raises OSError once the medium has failed often enough.

    Raises ThirdPartyError where the file is another writer's. The source of the bytes stays, so that the next recovery
    can begin anew.
    """
    for attempt in range(1, _WRITES + 1):
        try:
            _write_over(world, change, data, wanted, mtime_ns)
            if state(world, change.path) == wanted:
                return
        except OSError:
            if attempt == _WRITES:
                raise
    raise OSError(errno.EIO, "it has another content than was written to it", change.path)


def clear(world: World, change: Change, transaction: str) -> None:
    """Remove all files of this transaction beside the target, but no directory; raises OSError."""
    strange = strangers(world, change, transaction)
    for path in _all_beside(change, transaction):
        if path not in strange:
            remove(world, path)


def strangers(world: World, change: Change, transaction: str) -> tuple[str, ...]:
    """Return paths beside the target with a name of this transaction that are no regular files. Raises OSError."""
    found: list[str] = []
    for path in _all_beside(change, transaction):
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(world.stat(path).st_mode):
                found.append(path)
    return tuple(found)


def clear_accounted(world: World, change: Change, transaction: str, kept: frozenset[str]) -> tuple[str, ...]:
    """Remove the files beside the target whose content, by SHA-256, is among `kept`, and so elsewhere too.

    Returns the paths of the files that stay, since their content may be nowhere else. Raises OSError.
    """
    stays: list[str] = []
    for path in _all_beside(change, transaction):
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
    """Remove the files beside the target, except replaced files: a process that has one open may still write to it.

    Only its owner can read a replaced file then. Returns these files with their last known content; raises OSError.
    """
    if change.before is None or change.written_over:
        clear(world, change, transaction)
        return ()
    names = (sidecar(change, transaction), _beside(change.path, transaction, _AGAIN), staged(change, transaction))
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
        # A staged file that was never switched cannot be open in another process.
        if inode in seen or (path == staged(change, transaction) and _digest(world, path) == change.new_sha256):
            remove(world, path)
        elif inode is not None:
            seen.add(inode)
            # A failure leaves the file as safe as it was, and no step depends on it.
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
    """Return the SHA-256 of a file, hexadecimal; empty where there is no regular file."""
    try:
        found = state(world, path)
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
        return ""
    return "" if found is None else found.sha256


def _known_of(world: World, path: str, change: Change) -> str:
    """Return the SHA-256 of a replaced file when it was replaced: the content before the change, or after it."""
    return change.new_sha256 if _digest(world, path) == change.new_sha256 else _before(change)


def _before(change: Change) -> str:
    return "" if change.before is None else change.before.sha256


def _close_to_others(world: World, path: str, inode: tuple[int, int], owners: frozenset[int], names: int) -> None:
    """Take a file from all but its owner, if it is the inode that was seen and has at most `names` names."""
    descriptor = world.open(path)
    try:
        found = world.status(descriptor)
        if (found.st_dev, found.st_ino) == inode and found.st_uid in owners and found.st_nlink <= names:
            world.set_mode(descriptor, found.st_mode & 0o600)
    finally:
        world.close(descriptor)
