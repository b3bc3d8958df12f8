"""A disk in memory that knows what is on the medium and what is not yet, and loses any of the latter with the power.

A journalling file system seen pessimistically, as fsync(2) promises and no more (Pillai et al., "All File Systems Are
Not Created Equal", OSDI 2014): what lies between two fsyncs reaches the medium in any order, in part, or not at all.
Each sector of a write, each growth, each mode, each name is kept or lost by itself; a rename or an exchange is kept or
lost whole.
An fsync of a file says nothing about its name, one of a directory nothing about the files that it names.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, TypeVar

from actions.process import ProcessId
from actions.world import ORDINARY, Place, Ran, Standing, World
from config.service import Command
from tests.kit.worlds import Step, StepWorld

S = TypeVar("S")

Kept = Callable[[], bool]
"""Says of one part after another whether it reached the medium."""

MEMORY: Final = ".memory"
"""How the name of a file ends that stands for the memory of a process, of which nothing is ever on the medium."""
_SECTOR: Final = 64
"""Bytes that are written as one; few, so that small files are torn as well."""
_ROOT: Final = 1
_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


class Content(NamedTuple):
    """What a file is."""

    data: bytes = b""
    mode: int = 0o600
    owner: int = os.geteuid()
    group: int = os.getegid()
    mtime_ns: int = 0
    attributes: Mapping[str, bytes] = _EMPTY

    @property
    def plain(self) -> Hashable:
        return (*self[:-1], tuple(sorted(self.attributes.items())))


Names = Mapping[str, int]
"""What a directory is: inode numbers by name."""


@dataclass(slots=True)
class Node(Generic[S]):
    """A file or a directory: as everybody sees it, as it is on the medium, and the parts by which these differ."""

    now: S
    kept: S
    parts: tuple[Callable[[S], S], ...] = ()

    def copy(self) -> Node[S]:
        return Node(self.now, self.kept, self.parts)

    def do(self, *parts: Callable[[S], S]) -> None:
        for part in parts:
            self.now = part(self.now)
        self.parts += parts

    def sync(self) -> None:
        self.kept, self.parts = self.now, ()

    def lose(self, kept: Kept) -> None:
        for part in self.parts:
            if kept():
                self.kept = part(self.kept)
        self.now, self.parts = self.kept, ()


def _write(offset: int, piece: bytes, content: Content) -> Content:
    data = content.data.ljust(offset, b"\0")
    return content._replace(data=data[:offset] + piece + data[offset + len(piece) :])


def _grow(length: int, content: Content) -> Content:
    return content._replace(data=content.data.ljust(length, b"\0"))


def _cut(length: int, content: Content) -> Content:
    return content._replace(data=content.data[:length].ljust(length, b"\0"))


def _set(fields: Mapping[str, Any], content: Content) -> Content:
    return content._replace(**fields)


def _rename(names: Mapping[str, int | None], before: Names) -> Names:
    """Give and take names, all at once; None takes one."""
    after = {**before, **names}
    return {name: number for name, number in after.items() if number is not None}


def _directory() -> Node[Names]:
    return Node(_EMPTY, _EMPTY)


@dataclass(slots=True)
class VolatileDisk:
    """Everything that outlives a process, and what of it outlives a power cut."""

    files: dict[int, Node[Content]] = field(default_factory=dict)
    directories: dict[int, Node[Names]] = field(default_factory=lambda: {_ROOT: _directory()})
    time: float = 1_800_000_000.0
    exchanges: bool = True
    """Whether two names can be exchanged at once."""

    def copy(self) -> VolatileDisk:
        """Return another disk in the same state."""
        files = {number: each.copy() for number, each in self.files.items()}
        directories = {number: each.copy() for number, each in self.directories.items()}
        return VolatileDisk(files, directories, self.time, self.exchanges)

    @property
    def _nodes(self) -> tuple[Node[Any], ...]:
        return (*self.files.values(), *self.directories.values())

    def sync(self) -> None:
        """Bring everything to the medium."""
        for each in self._nodes:
            each.sync()

    @property
    def uncertain(self) -> int:
        """How many parts are not on the medium."""
        return sum(len(each.parts) for each in self._nodes)

    @property
    def lying(self) -> Hashable:
        """What lies on it, by which one may tell whether two disks are the same to whoever looks: the time apart."""
        directories = frozenset((number, frozenset(each.now.items())) for number, each in self.directories.items())
        named = {number for _, names in directories for _, number in names}
        return directories, frozenset((number, self.files[number].now.plain) for number in named & self.files.keys())

    def lose(self, kept: Kept) -> None:
        """Cut the power: what is not on the medium is kept or lost part by part, and every process is gone."""
        for each in self._nodes:
            each.lose(kept)
        for directory in self.directories.values():
            directory.do(partial(_rename, dict.fromkeys(filter(_is_memory, directory.now))))
            directory.sync()


def _is_memory(name: str) -> bool:
    return name.endswith(MEMORY)


class ModelWorld(World):
    """The world as one process sees it whose files are on such a disk; one process at a time."""

    def __init__(self, disk: VolatileDisk) -> None:
        self._disk = disk
        self._open: dict[int, int] = {}
        self._descriptors = count(3)
        self._numbers = count(max((_ROOT, *disk.files, *disk.directories)) + 1)

    def _find(self, path: str) -> int:
        number = _ROOT
        for name in filter(None, path.split("/")):
            if number not in self._disk.directories:
                raise _error(errno.ENOTDIR, path)
            found = self._disk.directories[number].now.get(name)
            if found is None:
                raise _error(errno.ENOENT, path)
            number = found
        return number

    def _file(self, path: str) -> Node[Content]:
        number = self._find(path)
        if number in self._disk.directories:
            raise _error(errno.EINVAL, path)
        return self._disk.files[number]

    def _parent(self, path: str) -> Node[Names]:
        number = self._find(posixpath.dirname(path))
        if number not in self._disk.directories:
            raise _error(errno.ENOTDIR, path)
        return self._disk.directories[number]

    def _name(self, path: str, number: int) -> None:
        """Give something a name that must be free."""
        directory, name = self._parent(path), posixpath.basename(path)
        if name in directory.now:
            raise _error(errno.EEXIST, path)
        directory.do(partial(_rename, {name: number}))

    def _at(self, descriptor: int) -> Node[Content]:
        return self._disk.files[self._open[descriptor]]

    def _opened(self, number: int) -> int:
        descriptor = next(self._descriptors)
        self._open[descriptor] = number
        return descriptor

    def _stat(self, number: int) -> os.stat_result:
        if number in self._disk.directories:
            return os.stat_result((stat.S_IFDIR | 0o700, number, 0, 2, os.geteuid(), os.getegid(), 0, 0, 0, 0))
        now = self._disk.files[number].now
        links = sum(number in each.now.values() for each in self._disk.directories.values())
        plain = (stat.S_IFREG | now.mode, number, 0, links, now.owner, now.group, len(now.data), 0, 0, 0)
        return os.stat_result(plain, {"st_mtime_ns": now.mtime_ns})

    def stat(self, path: str) -> os.stat_result:
        return self._stat(self._find(path))

    def resolve(self, path: str) -> str:
        return posixpath.normpath(path)

    def way(self, path: str) -> tuple[str, ...]:  # noqa: ARG002 (there are no links)
        return ()

    def status(self, descriptor: int) -> os.stat_result:
        return self._stat(self._open[descriptor])

    def read(self, path: str) -> tuple[os.stat_result, bytes]:
        data = self._file(path).now.data
        return self._stat(self._find(path)), data

    def read_as(self, path: str, users: frozenset[int]) -> tuple[os.stat_result, bytes]:  # noqa: ARG002 (one user)
        return self.read(path)

    def names_as(self, directory: str, users: frozenset[int]) -> tuple[str, ...]:  # noqa: ARG002 (one user)
        return self.names(directory)

    def attributes(self, path: str) -> dict[str, bytes]:
        return dict(self._file(path).now.attributes)

    def standing(self, path: str) -> Standing:
        self._find(path)
        return Standing(read_only=False, immutable=False, mount_point=False)

    def names(self, directory: str) -> tuple[str, ...]:
        try:
            return tuple(sorted(self._disk.directories[self._find(directory)].now))
        except FileNotFoundError:
            return ()

    def create(self, path: str) -> int:
        number = next(self._numbers)
        self._name(path, number)
        self._disk.files[number] = Node(Content(), Content())
        return self._opened(number)

    def open(self, path: str) -> int:
        self._file(path)
        return self._opened(self._find(path))

    def is_at(self, descriptor: int, path: str) -> bool:
        try:
            return self._find(path) == self._open[descriptor]
        except FileNotFoundError:
            return False

    def set_attributes(self, descriptor: int, attributes: Mapping[str, bytes]) -> None:
        self._at(descriptor).do(partial(_set, {"attributes": MappingProxyType(dict(attributes))}))

    def set_owner(self, descriptor: int, owner: int, group: int) -> None:
        self._at(descriptor).do(partial(_set, {"owner": owner, "group": group}))

    def set_mode(self, descriptor: int, mode: int) -> None:
        self._at(descriptor).do(partial(_set, {"mode": mode}))

    def set_times(self, descriptor: int, mtime_ns: int) -> None:
        self._at(descriptor).do(partial(_set, {"mtime_ns": mtime_ns}))

    def read_at(self, descriptor: int, offset: int) -> bytes:
        return self._at(descriptor).now.data[offset:]

    def write_at(self, descriptor: int, offset: int, data: bytes) -> int:
        pieces = {at: data[at : at + _SECTOR] for at in range(0, len(data), _SECTOR)}
        self._at(descriptor).do(
            partial(_grow, offset + len(data)),
            *(partial(_write, offset + at, piece) for at, piece in pieces.items()),
        )
        return len(data)

    def reserve(self, descriptor: int, offset: int, length: int) -> None:
        self._at(descriptor).do(partial(_grow, offset + length))

    def truncate(self, descriptor: int, length: int) -> None:
        self._at(descriptor).do(partial(_cut, length))

    def sync(self, descriptor: int) -> None:
        self._at(descriptor).sync()

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def lock(self, descriptor: int, *, wait: bool) -> bool:
        return wait or descriptor in self._open

    def unlock(self, descriptor: int) -> None:
        pass

    def sync_directory(self, path: str) -> None:
        number = self._find(path)
        if number not in self._disk.directories:
            raise _error(errno.ENOTDIR, path)
        self._disk.directories[number].sync()

    def rename(self, old: str, new: str) -> None:
        directory = self._parent(old)
        if directory is not self._parent(new):
            raise _error(errno.EXDEV, new)
        number = self._find(old)
        # Two names of one file: nothing is done, says rename(2).
        if directory.now.get(posixpath.basename(new)) != number:
            directory.do(partial(_rename, {posixpath.basename(old): None, posixpath.basename(new): number}))

    def exchange(self, one: str, other: str) -> None:
        if not self._disk.exchanges:
            raise _error(errno.EINVAL, one)
        directory = self._parent(one)
        if directory is not self._parent(other):
            raise _error(errno.EXDEV, other)
        names = {posixpath.basename(one): self._find(other), posixpath.basename(other): self._find(one)}
        directory.do(partial(_rename, names))

    def link(self, old: str, new: str) -> None:
        self._file(old)
        self._name(new, self._find(old))

    def unlink(self, path: str) -> None:
        self._file(path)
        self._parent(path).do(partial(_rename, {posixpath.basename(path): None}))

    def make_directory(self, path: str, mode: int = 0o700) -> None:
        if mode & 0o077:
            raise _error(errno.ENOTSUP, path)
        number = next(self._numbers)
        try:
            self._name(path, number)
        except FileExistsError:
            return
        self._disk.directories[number] = _directory()

    def remove_directory(self, path: str) -> None:
        if self._disk.directories[self._find(path)].now:
            raise _error(errno.ENOTEMPTY, path)
        self._parent(path).do(partial(_rename, {posixpath.basename(path): None}))

    def run(
        self,
        command: Command,
        timeout: float,
        begun: Callable[[ProcessId], None] | None = None,
        *,
        spare_server: bool = False,  # noqa: ARG002 (no process, no server)
        place: Place = ORDINARY,  # noqa: ARG002
    ) -> Ran:
        """Do what the few commands do by which services of a scene are driven; none outlives its process."""
        if begun is not None:
            begun(ProcessId(1, 0, "of the model"))
        return Ran(command, self._status(*command) if timeout else None, "")

    def _status(self, program: str, *arguments: str) -> int:
        *options, path = arguments
        try:
            match program:
                case "/bin/cp":
                    self._take_in(options[0], path)
                case "/bin/rm":
                    self._parent(path).do(partial(_rename, {posixpath.basename(path): None}))
                case "/bin/grep":
                    return 0 if options[-1].encode() in self._file(path).now.data else 1
                case _:
                    return 127
        except OSError:
            return 1
        return 0

    def _take_in(self, source: str, memory: str) -> None:
        number = next(self._numbers)
        self._disk.files[number] = Node(content := Content(self._file(source).now.data), content)
        self._parent(memory).do(partial(_rename, {posixpath.basename(memory): number}))

    def synchronised(self) -> bool | None:
        return None

    def now(self) -> float:
        return self.monotonic()

    def monotonic(self) -> float:
        self._disk.time += 0.01
        return self._disk.time

    def sleep(self, seconds: float) -> None:
        self._disk.time += seconds


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


class CutMoment(NamedTuple):
    """What a disk was before a step; the last one is after everything."""

    about: str
    disk: VolatileDisk


class FilmedWorld(StepWorld, ModelWorld):
    """A world that keeps what its disk was before each step that changes something."""

    def __init__(self, disk: VolatileDisk) -> None:
        StepWorld.__init__(self, self._film)
        ModelWorld.__init__(self, disk)
        self.moments: list[CutMoment] = []

    def _film(self, step: Step, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        if step.changes:
            self.moments.append(CutMoment(f"before {step}", self._disk.copy()))
        return act()

    def end(self) -> tuple[CutMoment, ...]:
        """Return every moment."""
        return (*self.moments, CutMoment("after the end", self._disk.copy()))
