"""Finding files: which files the patterns of a watch match, and where a new match could appear."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from config.immutable import immutable
from config.label import Labels, label_value, labels_of
from config.model import FileTarget, Watch
from config.text import Printable, printable, sentence
from config.vocabulary import FileRole, UnreadableReason
from probes.file import unreadable
from probes.observation import Unreadable

FILE_LIMIT: Final = 200_000
DIRECTORY_LIMIT: Final = 200_000
DEPTH_LIMIT: Final = 64
"""Directories below the first wildcard."""

_WILDCARD: Final = re.compile(r"[*?\[]")


@immutable
class Found:
    """The present matches of the patterns, and the places where more may appear."""

    targets: tuple[FileTarget, ...]
    """Each path once, of the first watch that matches it; a path named on its own is here even if nothing is there."""
    directories: Mapping[str, int | None]
    """Where a new name may be a match: the modification time in nanoseconds before listing, None where it failed."""
    unreadable: Mapping[str, Unreadable]
    """Directories that are there but cannot be listed."""
    exceeded: Mapping[str, Printable] = field(default_factory=dict)
    """Which limit kept something from being found, a sentence, by the tree of the pattern."""
    unfollowed: Mapping[str, Unreadable] = field(default_factory=dict)
    """Links to directories beneath `**` whose owner may not have them searched."""


def find(watches: Iterable[Watch], under: str = "/") -> Found:
    """Return the files that `watches` match at or beneath `under`, an absolute path without `.` or `..`.

    A path without wildcards that is a directory stands for every file beneath it. `**` is any number of directories,
    none included; links to directories are followed unless they lead back. There, such a link must belong to root, to
    whoever searches or to the owner of what it leads to, or lead into the tree itself: else whoever may write in one
    directory could have the whole host searched. As in a shell, a wildcard does not match a leading dot. A path that an
    exclusion matches is left out with everything beneath it. The limits are those of each watch.
    """
    search = _Search()
    for watch in watches:
        search.begin()
        excluded = tuple(_compile(pattern) for pattern in watch.exclude)
        for pattern in watch.patterns:
            _PatternWalk(search, watch, _compile(pattern), excluded).start(_parts(under))
    return Found(
        tuple(search.targets.values()), search.directories, search.unreadable, search.exceeded, search.unfollowed
    )


def is_pattern_of_paths(path: str) -> bool:
    """Whether `path` has a wildcard."""
    return _WILDCARD.search(path) is not None


def tree_of(pattern: str) -> str:
    """Return the path with which a pattern begins, up to its first wildcard."""
    return _path(_leading_names(_compile(pattern)))


@immutable
class _Glob:
    """One component of a pattern, with wildcards."""

    match: re.Pattern[str]
    dotted: bool

    def matches(self, name: str) -> bool:
        return (self.dotted or name[0] != ".") and self.match.match(name) is not None


# None is `**`.
_Segment = str | _Glob | None
_States = frozenset[int]
_Inodes = tuple[tuple[int, int], ...]


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in {"", "."})


def _compile(pattern: str) -> tuple[_Segment, ...]:
    segments: list[_Segment] = []
    for part in _parts(pattern):
        if part == "**":
            if not segments or segments[-1] is not None:
                segments.append(None)
        elif _WILDCARD.search(part):
            segments.append(_Glob(re.compile(fnmatch.translate(part)), part.startswith(".")))
        else:
            segments.append(part)
    return tuple(segments)


def _covers(segments: Sequence[_Segment], names: Sequence[str]) -> bool:
    """Whether the pattern matches the path `names`, or a directory on the way to it."""
    if not segments:
        return True
    if not names:
        return False
    first = segments[0]
    if first is None:
        return _covers(segments[1:], names) or _covers(segments, names[1:])
    return (first == names[0] if isinstance(first, str) else first.matches(names[0])) and _covers(
        segments[1:], names[1:]
    )


@dataclass(slots=True)
class _Search:
    """The result so far, of all patterns."""

    targets: dict[str, FileTarget] = field(default_factory=dict)
    directories: dict[str, int | None] = field(default_factory=dict)
    unreadable: dict[str, Unreadable] = field(default_factory=dict)
    exceeded: dict[str, Printable] = field(default_factory=dict)
    unfollowed: dict[str, Unreadable] = field(default_factory=dict)
    before: tuple[int, int] = (0, 0)
    """Files and directories of the watches that came before."""

    def begin(self) -> None:
        """Count from here on for the limits."""
        self.before = len(self.targets), len(self.directories)

    def add(self, path: str, role: FileRole, watch: Watch, tree: str) -> None:
        known = self.targets.get(path)
        if known is not None and (known.role is FileRole.LISTED or role is FileRole.FOUND):
            return
        labels = _labels(watch, path)
        if labels is None:
            return
        if len(self.targets) - self.before[0] >= FILE_LIMIT:
            self.exceeded[tree] = sentence("more than {} files match", FILE_LIMIT)
            return
        self.targets[path] = FileTarget(
            printable(path, 4096),
            path,
            role,
            trust_store=watch.trust_store,
            thresholds=watch.thresholds,
            password_files=watch.password_files,
            labels=labels,
            pointers=watch.pointers,
        )

    def full(self, tree: str) -> bool:
        if len(self.directories) - self.before[1] >= DIRECTORY_LIMIT:
            self.exceeded[tree] = sentence("more than {} directories to search", DIRECTORY_LIMIT)
            return True
        return len(self.targets) - self.before[0] >= FILE_LIMIT and tree in self.exceeded


def _labels(watch: Watch, path: str) -> Labels | None:
    """Return the labels of a file: those of its watch, and the named groups of its path; None where it does not match.

    A group that takes no part, or nothing, gives no label.
    """
    if watch.expression is None:
        return watch.labels
    matched = re.compile(watch.expression).fullmatch(path)
    if matched is None:
        return None
    from_path = {name: label_value(text) for name, text in matched.groupdict().items() if text}
    return labels_of(dict(watch.labels), from_path)


class _PatternWalk:
    """One pattern's way through the directories.

    A state is the index of a segment that the next name may match; several hold at once where `**` is passed.
    """

    def __init__(
        self,
        search: _Search,
        watch: Watch,
        segments: tuple[_Segment, ...],
        excluded: tuple[tuple[_Segment, ...], ...],
    ) -> None:
        self._search = search
        self._watch = watch
        self._segments = segments
        self._excluded = excluded
        self._tree = _path(_leading_names(segments))

    def start(self, under: tuple[str, ...]) -> None:
        """Follow the pattern's literal beginning, then `under` as far as it goes, without listing; then search."""
        names = tuple(_leading_names(self._segments))
        if under[: len(names)] != names[: len(under)] or self._is_excluded(_path(names)):
            return
        if len(names) == len(self._segments):
            if not _is_directory(_path(names)):
                if len(under) <= len(names):
                    self._search.add(_path(names), FileRole.LISTED, self._watch, self._tree)
                return
            self._segments = (*self._segments, None)
        at, above = self._closure(len(names)), _NO_INODES
        rest = under[len(names) :]
        for name in rest[:-1]:
            above = (*above, *_inode(_path(names)))
            names = (*names, name)
            at = self._below(at, name)
            if not at or self._is_excluded(_path(names)) or not self._may_follow(_path(names), at):
                return
        if rest:
            self._consider_name(_path(names), rest[-1], at, (*above, *_inode(_path(names))))
        else:
            self._visit(_path(names), at, above)

    def _visit(self, directory: str, at: _States, above: _Inodes) -> None:
        search = self._search
        if search.full(self._tree):
            return
        if len(above) >= DEPTH_LIMIT:
            search.exceeded[self._tree] = sentence("directories more than {} deep", DEPTH_LIMIT)
            return
        try:
            status = os.stat(directory)
            inode = (status.st_dev, status.st_ino)
            if inode in above:
                return
            search.directories[directory] = status.st_mtime_ns
            if all(isinstance(self._segments[index], str) for index in at):
                # Permission to list is not needed to follow a name.
                for index in at:
                    self._consider_name(directory, str(self._segments[index]), at, (*above, inode))
                return
            with os.scandir(directory) as entries:
                for entry in entries:
                    self._consider(entry, at, (*above, inode))
        except (OSError, ValueError) as error:
            search.directories[directory] = None
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                search.unreadable[directory] = unreadable(directory, error)

    def _consider(self, entry: os.DirEntry[str], at: _States, above: _Inodes) -> None:
        if self._is_excluded(entry.path):
            return
        if _leads_to_directory(entry):
            below = self._below(at, entry.name)
            if below and (not entry.is_symlink() or self._may_follow(entry.path, below)):
                self._visit(entry.path, below, above)
        elif self._ends_at(at, entry.name) and _may_hold_certificate(entry):
            self._search.add(entry.path, FileRole.FOUND, self._watch, self._tree)

    def _consider_name(self, directory: str, name: str, at: _States, above: _Inodes) -> None:
        path = os.path.join(directory, name)
        if self._is_excluded(path):
            return
        below = self._below(at, name)
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            if self._ends_at(at, name) and os.path.islink(path):
                self._search.add(path, FileRole.FOUND, self._watch, self._tree)
            elif below and any(isinstance(self._segments[index], str) for index in at):
                self._search.directories[path] = None
            return
        if stat.S_ISDIR(status.st_mode):
            if below and self._may_follow(path, below):
                self._visit(path, below, above)
        elif stat.S_ISREG(status.st_mode) and self._ends_at(at, name):
            self._search.add(path, FileRole.FOUND, self._watch, self._tree)

    def _may_follow(self, path: str, below: _States) -> bool:
        """Whether the directory behind `path` is searched: no link beneath `**` whose owner has no say in that."""
        if all(self._segments[index] is not None for index in below):
            return True
        try:
            link = os.lstat(path)
            if not stat.S_ISLNK(link.st_mode) or link.st_uid in {0, os.geteuid(), os.stat(path).st_uid}:
                return True
            real, tree = os.path.realpath(path), os.path.realpath(self._tree)
        except (OSError, ValueError):
            return True  # whoever lists it says why
        if real == tree or real.startswith(tree.rstrip("/") + "/"):
            return True
        whose = sentence(
            "this link belongs to user {}, who is neither root nor the owner of what it leads to", link.st_uid
        )
        self._search.unfollowed[path] = Unreadable(UnreadableReason.UNSAFE_LINK, whose)
        return False

    def _closure(self, index: int) -> _States:
        """Return the states at `index`: where `**` stands there, it may be passed at once."""
        if index < len(self._segments) - 1 and self._segments[index] is None:
            return frozenset((index, index + 1))
        return frozenset((index,)) if index < len(self._segments) else frozenset()

    def _below(self, at: _States, name: str) -> _States:
        """Return the states inside the directory `name`."""
        below: set[int] = set()
        for index in at:
            segment = self._segments[index]
            if segment is None:
                if name[0] != ".":
                    below |= self._closure(index)
            elif segment == name if isinstance(segment, str) else segment.matches(name):
                below |= self._closure(index + 1)
        return frozenset(below)

    def _ends_at(self, at: _States, name: str) -> bool:
        """Whether the pattern is complete with the file `name`."""
        last = len(self._segments) - 1
        if last not in at:
            return False
        segment = self._segments[last]
        if segment is None:
            return name[0] != "."
        return segment == name if isinstance(segment, str) else segment.matches(name)

    def _is_excluded(self, path: str) -> bool:
        return bool(self._excluded) and any(_covers(each, _parts(path)) for each in self._excluded)


_NO_INODES: Final[_Inodes] = ()


def _leading_names(segments: Iterable[_Segment]) -> Iterator[str]:
    for segment in segments:
        if not isinstance(segment, str):
            return
        yield segment


def _path(names: Iterable[str]) -> str:
    return "/" + "/".join(names)


def _inode(directory: str) -> _Inodes:
    try:
        status = os.stat(directory)
    except OSError:
        return ()
    return ((status.st_dev, status.st_ino),)


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _leads_to_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _may_hold_certificate(entry: os.DirEntry[str]) -> bool:
    """Whether looking at the file makes sense; a link that leads nowhere is worth telling."""
    try:
        return stat.S_ISREG(entry.stat().st_mode) if entry.is_symlink() else entry.is_file()
    except OSError:
        return True
