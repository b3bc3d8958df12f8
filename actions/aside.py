"""Replaced files stay linked for a while: a process that has such a file open may still write to it.

At its end a transaction leaves each replaced inode beside its target, under a hidden name, and notes that as ASIDE,
with the hash of the content and the end of its time. The inode is compared at once, before the next action, and at the
end of its time: a late write is kept as a backup set, and noted as WRITTEN_LATE. After the last comparison the names
are removed, and that is noted as LET_GO.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Self

from actions import backup
from actions.backup import BackupError, BackupSet
from actions.journal import Event, Record
from actions.world import NOT_A_FILE, World, remove
from config.immutable import immutable
from config.text import printable
from probes.judge.time import moment, within_calendar

KEPT_FOR: Final = 600.0
"""Seconds for which a file stays linked after it was replaced."""
_STEPPED: Final = 60.0
"""Seconds: a record that is so much later than now was written before the clock was put back."""
_UNREADABLE: Final = ""
"""In the place of a hash: the file is no regular file any more, or too large to be kept."""
_MOST_BYTES: Final = 2**20
"""The size up to which a late write is copied: a larger file is no certificate, and would fill the state directory."""


@immutable
class AsideFile:
    """A file that stays linked."""

    component: str
    path: str
    """The target that it was replaced at."""
    aside: str
    """Where it is."""
    sha256: str
    """Of its last known content, hexadecimal; empty where that can be neither read nor kept."""
    told: bool = False
    """A late write to it was reported."""


@immutable
class Aside:
    """The files that a transaction left linked."""

    transaction: str
    at: float
    """Unix time."""
    until: float
    """Unix time at which it is compared for the last time."""
    files: tuple[AsideFile, ...]

    def is_due(self, now: float) -> bool:
        """Whether the last comparison is due; it is also due where the clock was put back to before this."""
        return not self.at - _STEPPED <= now < self.until

    @property
    def components(self) -> tuple[str, ...]:
        """The components of the files, sorted."""
        return tuple(sorted({each.component for each in self.files}))


@immutable
class Late:
    """A late write: somebody wrote to replaced files of a component."""

    component: str
    transaction: str
    """The transaction that replaced them."""
    at: float
    """Unix time at which the write was found."""
    written: float
    """Unix time of the last write."""
    paths: tuple[str, ...]
    """The targets of the files."""
    backup_set: str
    """The name of the backup set with the written content; empty where it could not be copied."""
    kept: str
    """The directory with that content, or else the files."""
    large: str = ""
    """The files that are too large to be copied, with their hashes and sizes; printable."""

    @property
    def sentence(self) -> str:
        """The late write, and the place of its content; printable."""
        where = f"kept as backup set {self.backup_set}" if self.backup_set else "too large to be copied, or no file"
        large = f"; too large to be copied: {self.large}" if self.large else ""
        return printable(
            f"somebody wrote at {moment(self.written)} to a file that certvigil had replaced before, by "
            f"transaction {self.transaction}: {', '.join(self.paths)}; no service reads it. The written content is "
            f"{where}, in {self.kept}{large}",
            2000,
        )

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return the late write of a WRITTEN_LATE record."""
        data = record.data
        (component,) = data["components"]
        return cls(
            component=str(component),
            transaction=record.transaction,
            at=record.at,
            written=float(data["written"]),
            paths=tuple(dict.fromkeys(str(path) for path, _, _ in data["files"])),
            backup_set=str(data["set"]),
            kept=str(data["kept"]),
            large=printable(str(data.get("large", "")), 2000),
        )


def note(asides: MutableMapping[str, Aside], late: MutableMapping[str, Late], record: Record) -> None:
    """Take in a record: `asides` are by transaction, `late` by component until an operator confirms the write."""
    match record.event:
        case Event.ASIDE:
            files = tuple(
                AsideFile(str(name), str(path), str(aside), str(sha256))
                for name, path, aside, sha256 in record.data["files"]
            )
            asides[record.transaction] = Aside(record.transaction, record.at, float(record.data["until"]), files)
        case Event.WRITTEN_LATE:
            what = Late.of(record)
            late[what.component] = what
            if (before := asides.get(record.transaction)) is not None:
                held = {str(aside): str(sha256) for _, aside, sha256 in record.data["files"]}
                files = tuple(
                    replace(each, sha256=held[each.aside], told=True) if each.aside in held else each
                    for each in before.files
                )
                asides[record.transaction] = replace(before, files=files)
        case Event.THAWED:
            for component in record.data.get("components", ()):
                late.pop(str(component), None)
        case Event.LET_GO:
            asides.pop(record.transaction, None)


def to_data(files: Iterable[AsideFile], until: float) -> dict[str, Any]:
    """Return the data of an ASIDE record."""
    return {"until": until, "files": [[each.component, each.path, each.aside, each.sha256] for each in files]}


def compare(world: World, root: str, aside: Aside) -> Iterator[dict[str, Any]]:
    """Yield the data of a WRITTEN_LATE record for each component with a first late write.

    The written content is then in a backup set below `root`, together with the component's other files. There is one
    such set for each transaction and component: a later write replaces the content of the set, and is not reported
    again, unless the file has become too large to be kept. Raises OSError, BackupError.
    """
    for component in aside.components:
        files = [each for each in aside.files if each.component == component]
        now = [found for each in files if (found := _look(world, each)) is not None]
        written = [each for each in now if each.file.told or each.file.sha256 != each.sha256]
        data = _keep(world, root, aside.transaction, now, written) if written else {}
        if any(not each.file.told or (each.file.sha256 and not each.sha256) for each in written):
            yield data


@immutable
class _ReplacedFile:
    file: AsideFile
    sha256: str
    mtime: float
    large: str = ""
    """Hash and size of a file that is not kept; empty where it is kept, or its size is not known."""


def _look(world: World, file: AsideFile) -> _ReplacedFile | None:
    """Return the content of a file that stays linked; None where it is gone."""
    try:
        found, data = world.read(file.aside)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
        return _ReplacedFile(file, _UNREADABLE, world.stat(file.aside).st_mtime)
    sha256 = hashlib.sha256(data).hexdigest()
    if len(data) > _MOST_BYTES and sha256 != file.sha256:
        return _ReplacedFile(file, _UNREADABLE, found.st_mtime, f"{file.aside} (sha256 {sha256}, {len(data)} bytes)")
    return _ReplacedFile(file, sha256, found.st_mtime)


def _keep(
    world: World, root: str, transaction: str, now: Iterable[_ReplacedFile], written: list[_ReplacedFile]
) -> dict[str, Any]:
    """Keep the written files of a component in a backup set; return the data of a WRITTEN_LATE record."""
    component = written[0].file.component
    held = {each.file.aside: each.sha256 for each in written}
    name, kept = "", ", ".join(held)
    if readable := _readable(written):
        others = _readable(now)
        # Of two files of the same target, the file with a late write counts.
        sources = {each.file.path: each.file.aside for each in (*others, *readable)}
        hashes = {each.file.aside: each.sha256 for each in others}
        taken = _take(world, root, component, f"{transaction}-late", sources, now=hashes)
        # They may have been written to once more while they were copied.
        copied = {sources[copy.path]: copy.state.sha256 for copy in taken.copies if copy.state is not None}
        held |= {aside: sha256 for aside, sha256 in copied.items() if held.get(aside)}
        name, kept = taken.transaction, os.path.join(root, component, taken.transaction)
    what = printable(", ".join(dict.fromkeys(each.file.path for each in written)), 2000)
    large = "; ".join(each.large for each in written if each.large)
    return {
        "components": [component],
        "files": [[each.file.path, each.file.aside, held[each.file.aside]] for each in written],
        "written": max(within_calendar(each.mtime) for each in written),
        "set": name,
        "kept": kept,
        **({"large": large} if large else {}),
        "reason": f"somebody wrote to a replaced file of {what}; the content is kept in {printable(kept, 2000)}",
    }


def _readable(found: Iterable[_ReplacedFile]) -> list[_ReplacedFile]:
    return [each for each in found if each.sha256 != _UNREADABLE]


def _take(
    world: World, root: str, component: str, name: str, sources: Mapping[str, str], *, now: Mapping[str, str]
) -> BackupSet:
    """Return a backup set with the content of the files: the existing set where it is equal, else a new set."""
    try:
        before = backup.load(world, root, component, name)
    except BackupError:
        before = None
    wanted = {path: now[aside] for path, aside in sources.items()}
    if before is not None and wanted == {each.path: each.state.sha256 for each in before.copies if each.state}:
        return before
    # A set of an interruption, or of an earlier write, may go: the content is in the files until they are removed.
    backup.discard(world, root, component, name)
    return backup.take(world, root, component, name, sources, late=True)


def let_go(world: World, aside: Aside) -> None:
    """Remove the files that stayed linked; a file that could be neither read nor kept stays. Raises OSError."""
    gone = [each.aside for each in aside.files if each.sha256 != _UNREADABLE]
    for path in gone:
        remove(world, path)
    for directory in sorted({os.path.dirname(path) for path in gone}):
        # The directory may be gone as well.
        with suppress(FileNotFoundError):
            world.sync_directory(directory)


def until_due(asides: Iterable[Aside], now: float, most: float) -> float:
    """Return the seconds until the next last comparison is due, at most `most`."""
    return min(most, *(0.0 if each.is_due(now) else each.until - now for each in asides), most)
