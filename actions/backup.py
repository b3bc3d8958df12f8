"""Backup sets: full copies of a component's files before a transaction, with their metadata."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, Final

from actions.plan import FileState
from actions.world import Metadata, World, remove, write_new
from config.immutable import immutable

_MANIFEST: Final = "manifest.json"
_KEEP_LATE: Final = 4
"""Backup sets of late writes that are kept for one component."""


class BackupError(Exception):
    """A backup set is missing or damaged; the message is a sentence, printable."""


@immutable
class Copy:
    """One file of a set."""

    path: str
    name: str | None
    """The name of the copy in the set; None where there was no file."""
    state: FileState | None
    metadata: Metadata | None
    data: bytes | None = field(default=None, repr=False, compare=False)
    """The content, where it was read with the set: of a folder, whose files may be others by now."""


@immutable
class BackupSet:
    """The files of a component before a transaction."""

    component: str
    transaction: str
    at: float
    """Unix time."""
    pinned: bool
    """The first set with some file: never pruned."""
    copies: tuple[Copy, ...]
    late: bool = False
    """The set holds late writes, to files that the transaction had replaced."""
    folder: str = ""
    """The folder of another program that made the set, whose copies have absolute names; empty for certvigil's own."""
    changed: float = 0.0
    """Of a set in a folder: the Unix time at which one of its files was changed last (ctime), which nobody can set."""
    missing: tuple[str, ...] = ()
    """Of a set in a folder: the names of files that it lacks."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Component, source and name: the name alone does not tell a set of a folder from certvigil's own."""
        return self.component, self.folder, self.transaction


def state_of(found: os.stat_result, data: bytes) -> FileState:
    """Return the state of a file that was read."""
    return FileState(hashlib.sha256(data).hexdigest(), found.st_mode & 0o7777, found.st_uid, found.st_gid)


def take(
    world: World,
    root: str,
    component: str,
    transaction: str,
    paths: Iterable[str] | Mapping[str, str],
    *,
    late: bool = False,
) -> BackupSet:
    """Copy the files below `root`, which exists; a missing file is noted as missing. Raises OSError.

    A mapping gives the place where the content of each path is read. The set counts once its manifest is there, which
    is written last and atomically.
    """
    earlier = {copy.path for each in sets(world, root, component) if each.pinned for copy in each.copies}
    directory = os.path.join(root, component, transaction)
    world.make_directory(os.path.dirname(directory))
    world.make_directory(directory)
    sources = paths if isinstance(paths, Mapping) else {path: path for path in paths}
    copies = tuple(_copy(world, directory, number, *each) for number, each in enumerate(sources.items()))
    pinned = not late and any(copy.path not in earlier for copy in copies)
    taken = BackupSet(component, transaction, world.now(), pinned, copies, late)
    manifest = os.path.join(directory, _MANIFEST)
    write_new(world, f"{manifest}.new", _encode(taken))
    # The manifest's name must not reach the medium before those of the copies.
    world.sync_directory(directory)
    world.rename(f"{manifest}.new", manifest)
    for each in (directory, os.path.dirname(directory), root):
        world.sync_directory(each)
    return taken


def _copy(world: World, directory: str, number: int, path: str, source: str) -> Copy:
    try:
        found, data = world.read(source)
    except FileNotFoundError:
        return Copy(path, None, None, None)
    state = state_of(found, data)
    metadata = Metadata(state.mode, state.owner, state.group, world.attributes(source), found.st_mtime_ns)
    name = f"{number:04}"
    write_new(world, os.path.join(directory, name), data)
    return Copy(path, name, state, metadata)


def sets(world: World, root: str, component: str) -> tuple[BackupSet, ...]:
    """Return the complete and undamaged sets of a component, oldest first; raises OSError."""
    found = []
    for name in world.names(os.path.join(root, component)):
        try:
            found.append(load(world, root, component, name))
        except BackupError:
            continue
    return tuple(sorted(found, key=lambda each: each.at))


def load(world: World, root: str, component: str, transaction: str) -> BackupSet:
    """Return one set; raises BackupError, OSError."""
    try:
        _, data = world.read(os.path.join(root, component, transaction, _MANIFEST))
        return _decode(data)
    except (FileNotFoundError, NotADirectoryError):
        raise BackupError(f"there is no complete backup set {transaction} of {component}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"the manifest of backup set {transaction} of {component} is damaged") from error


def content(world: World, root: str, of: BackupSet) -> Mapping[str, bytes | None]:
    """Return the bytes of a set's files by path, None where there was no file.

    Raises BackupError where a copy is damaged, OSError.
    """
    return {copy.path: None if copy.name is None else read_copy(world, root, of, copy) for copy in of.copies}


def read_copy(world: World, root: str, of: BackupSet, copy: Copy) -> bytes:
    """Return the bytes of one file of a set; raises BackupError where the copy is damaged, OSError."""
    if copy.data is not None:
        return copy.data
    try:
        _, data = world.read(os.path.join(root, of.component, of.transaction, copy.name or ""))
    except FileNotFoundError:
        data = b""
    if copy.state is None or hashlib.sha256(data).hexdigest() != copy.state.sha256:
        raise BackupError(f"the copy of {copy.path} in backup set {of.transaction} is damaged")
    return data


def discard(world: World, root: str, component: str, transaction: str) -> None:
    """Remove a set, complete or not, its manifest first; raises OSError."""
    directory = os.path.join(root, component, transaction)
    remove(world, os.path.join(directory, _MANIFEST))
    try:
        # Also where the manifest is gone already: a process that removed it may have been killed before this.
        world.sync_directory(directory)
        for name in world.names(directory):
            world.unlink(os.path.join(directory, name))
        world.remove_directory(directory)
    except FileNotFoundError:
        return


@immutable
class Retention:
    """The backup sets of a component that are kept beside the pinned ones."""

    keep: int = 20
    """The largest number of them."""
    seconds: float | None = None
    """The greatest age; None for any."""
    is_usable: Callable[[BackupSet], bool] = lambda _of: True
    """Whether a server starts with a set: the newest such set is kept, however old it is."""


def prune(world: World, root: str, component: str, retention: Retention) -> None:
    """Remove the sets that are not pinned and not among those to be kept, and incomplete sets; raises OSError.

    The newest few sets of late writes are kept beside these: many late writes do not displace a real set.
    """
    for name in world.names(os.path.join(root, component)):
        if _MANIFEST not in world.names(os.path.join(root, component, name)):
            discard(world, root, component, name)
    unpinned = [each for each in sets(world, root, component) if not each.pinned]
    real = [each for each in unpinned if not each.late]
    last_good = next(filter(retention.is_usable, reversed(real)), None)
    for late, most in ((False, retention.keep), (True, _KEEP_LATE)):
        alike = [each for each in unpinned if each.late is late]
        surplus = alike[: max(0, len(alike) - most)]
        for each in alike:
            is_old = retention.seconds is not None and world.now() - each.at > retention.seconds
            if (is_old or each in surplus) and each is not last_good:
                discard(world, root, component, each.transaction)


def _encode(of: BackupSet) -> bytes:
    plain: dict[str, Any] = {
        "component": of.component,
        "transaction": of.transaction,
        "at": of.at,
        "pinned": of.pinned,
        "late": of.late,
        "files": [_copy_to_json(copy) for copy in of.copies],
    }
    return json.dumps({**plain, "sha256": _digest(plain)}, indent=1).encode()


def _decode(data: bytes) -> BackupSet:
    plain = json.loads(data)
    if plain.pop("sha256") != _digest(plain):
        raise ValueError("the checksum is wrong")
    copies = tuple(map(_copy_from_json, plain["files"]))
    return BackupSet(plain["component"], plain["transaction"], plain["at"], plain["pinned"], copies, plain["late"])


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _copy_to_json(copy: Copy) -> dict[str, Any]:
    if copy.state is None or copy.metadata is None:
        return {"path": copy.path, "copy": None}
    attributes = copy.metadata.attributes or {}
    return {
        "path": copy.path,
        "copy": copy.name,
        "sha256": copy.state.sha256,
        "mode": copy.state.mode,
        "owner": copy.state.owner,
        "group": copy.state.group,
        "mtime_ns": copy.metadata.mtime_ns,
        "attributes": {name: base64.b64encode(value).decode() for name, value in attributes.items()},
    }


def _copy_from_json(plain: Mapping[str, Any]) -> Copy:
    if plain["copy"] is None:
        return Copy(plain["path"], None, None, None)
    state = FileState(plain["sha256"], plain["mode"], plain["owner"], plain["group"])
    attributes = {name: base64.b64decode(value) for name, value in plain["attributes"].items()}
    metadata = Metadata(state.mode, state.owner, state.group, attributes, plain["mtime_ns"])
    return Copy(plain["path"], plain["copy"], state, metadata)
