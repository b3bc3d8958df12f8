"""Which directory entries a path depends on: through every directory and every symbolic link on its way."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from enum import Enum
from typing import Final

from config.immutable import immutable

DEPTH_LIMIT: Final = 200
"""The most names and links of one way, well below the limit of recursion; a deeper path counts as absent."""


class NodeKind(Enum):
    """The kind of a file that is no symbolic link."""

    DIRECTORY = "directory"
    OTHER = "other"
    NOTHING = "nothing"


@immutable
class Link:
    """A symbolic link stands at a path."""

    to: str


SeenPath = NodeKind | Link


def see(path: str) -> SeenPath:
    """Return the kind of the file at `path`, without following a link in its last name."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            return Link(os.readlink(path))
    except (OSError, ValueError):
        return NodeKind.NOTHING
    return NodeKind.DIRECTORY if stat.S_ISDIR(mode) else NodeKind.OTHER


@immutable
class Concerned:
    """The paths that a change of some entries concerns."""

    files: frozenset[str]
    """Watched files that may now be others, or be gone."""
    places: frozenset[str]
    """Files and directories at or beneath which there may be new matches."""


@dataclass(slots=True)
class _Node:
    """How far a path could be followed."""

    leads_to: str | None = None
    """Without links; None where nothing is there, or while that is being found out, which is how a loop ends."""
    is_directory: bool = False
    seen: SeenPath | None = None
    """The kind of the file at the path itself; None where the path passes a link, and another node is the entry."""
    needs: tuple[str, ...] = ()
    needed_by: set[str] | None = None


class PathGraph:
    """The ways of all watched files and of the directories in which new matches may appear.

    An entry is named by its directory's path without links, and its name. `enter` is called for a directory before
    anything in it is looked at, so that a later change of what was seen does not go unnoticed, and again once another
    directory may stand there; `leave` when no way passes it any more.
    """

    def __init__(
        self, see: Callable[[str], SeenPath], enter: Callable[[str], object], leave: Callable[[str], None]
    ) -> None:
        self._see = see
        self._enter = enter
        self._leave = leave
        self._files: set[str] = set()
        self._listings: set[str] = set()
        self._listed_at: dict[str, set[str]] = {}
        self._nodes: dict[str, _Node] = {"/": _Node("/", is_directory=True)}
        self._entered: set[str] = set()
        self._doubtful: set[str] = set()
        self._depth = 0

    @property
    def files(self) -> Set[str]:
        """The watched files."""
        return self._files

    @property
    def listings(self) -> Set[str]:
        """The directories in which new matches may appear."""
        return self._listings

    @property
    def directories(self) -> Set[str]:
        """Every directory, without links, in which a change may concern someone."""
        return self._entered

    def entries(self, directory: str) -> tuple[str, ...]:
        """Return the entries of `directory`, a path without links, that some way passes."""
        node = self._nodes.get(directory)
        return tuple(
            path
            for path in (node and node.needed_by) or ()
            if self._nodes[path].seen is not None and os.path.dirname(path) == directory
        )

    def add_file(self, path: str) -> None:
        """Follow the way of a file, whether or not it is there."""
        self._files.add(path)
        self._resolve(path)

    def add_listing(self, path: str) -> None:
        """Follow the way of a directory in which every new name is of interest."""
        self._listings.add(path)
        self._resolve(path)
        self._enter_listing(path)

    def discard(self, paths: Iterable[str], listings: Iterable[str] = ()) -> None:
        """Follow the ways of these files and listings no longer."""
        files = self._files.intersection(paths)
        directories = self._listings.intersection(listings)
        self._files -= files
        self._listings -= directories
        for path in directories:
            self._unlist(path)
        self._prune(files | directories)
        self._leave_unused()

    def changed(self, entries: Iterable[str]) -> Concerned:
        """Return the paths that a change of these entries concerns, and follow the ways through them anew."""
        entries = tuple(entries)
        affected = self._dependents(entries)
        orphans: set[str] = set()
        for path in affected:
            orphans.update(self._drop(path))
        files = affected & self._files
        listings = affected & self._listings
        for path in files:
            self._resolve(path)
        for path in listings:
            self._resolve(path)
            self._enter_listing(path)
        # Whoever lost its last dependent may have been needed again by now.
        self._prune(orphans)
        self._leave_unused()
        places = {place for entry in entries for place in self._places_at(entry)}
        self._forget_vanished(listings)
        return Concerned(frozenset(files), frozenset(listings | (places - self._files)))

    def differing(self, entries: Iterable[str]) -> frozenset[str]:
        """Return those of the entries where something else stands now than was seen."""
        return frozenset(path for path in entries if path in self._nodes and self._nodes[path].seen != self._see(path))

    def listings_at(self, directory: str) -> Set[str]:
        """Return the listings that `directory`, a path without links, stands for."""
        return self._listed_at.get(directory, frozenset())

    def _places_at(self, entry: str) -> Iterator[str]:
        directory, name = os.path.split(entry)
        if name:
            for listing in self.listings_at(directory):
                yield os.path.join(listing, name)

    def _resolve(self, path: str) -> _Node:
        node = self._nodes.get(path)
        if node is not None:
            return node
        node = self._nodes[path] = _Node()
        if self._depth >= DEPTH_LIMIT:
            return node
        self._depth += 1
        try:
            self._follow(path, node)
        finally:
            self._depth -= 1
        for need in node.needs:
            needed = self._nodes[need]
            if needed.needed_by is None:
                needed.needed_by = set()
            needed.needed_by.add(path)
        return node

    def _follow(self, path: str, node: _Node) -> None:
        parent, name = os.path.split(path)
        above = self._resolve(parent)
        node.needs = (parent,)
        if above.leads_to is None or not above.is_directory:
            return
        if name in {"", "."}:
            node.leads_to, node.is_directory = above.leads_to, True
            return
        if name == "..":
            node.leads_to, node.is_directory = os.path.dirname(above.leads_to), True
            return
        entry = os.path.join(above.leads_to, name)
        if entry != path:
            self._go_on(node, parent, entry)
            return
        self._enter_once(parent)
        seen = node.seen = self._see(path)
        if isinstance(seen, Link):
            self._go_on(node, parent, os.path.join(parent, seen.to))
        elif seen is not NodeKind.NOTHING:
            node.leads_to, node.is_directory = path, seen is NodeKind.DIRECTORY

    def _go_on(self, node: _Node, parent: str, path: str) -> None:
        end = self._resolve(path)
        node.needs = (parent, path)
        node.leads_to, node.is_directory = end.leads_to, end.is_directory

    def _enter_once(self, directory: str) -> None:
        if directory not in self._entered:
            self._entered.add(directory)
            self._enter(directory)

    def _enter_listing(self, path: str) -> None:
        node = self._nodes[path]
        if node.leads_to is not None and node.is_directory:
            self._enter_once(node.leads_to)
            self._listed_at.setdefault(node.leads_to, set()).add(path)

    def _unlist(self, path: str) -> None:
        node = self._nodes.get(path)
        if node is None or node.leads_to is None:
            return
        self._doubt(node.leads_to)
        listings = self._listed_at.get(node.leads_to, set())
        listings.discard(path)
        if not listings:
            self._listed_at.pop(node.leads_to, None)

    def _forget_vanished(self, listings: Iterable[str]) -> None:
        """Forget those listings that come back by themselves: their directory is listed too."""
        self.discard(
            (),
            [
                path
                for path in listings
                if path in self._listings
                and os.path.dirname(path) in self._listings
                and self._nodes[path].leads_to is None
            ],
        )

    def _dependents(self, entries: Iterable[str]) -> set[str]:
        affected: set[str] = set()
        todo = [entry for entry in entries if entry in self._nodes and entry != "/"]
        while todo:
            path = todo.pop()
            if path not in affected:
                affected.add(path)
                todo += self._nodes[path].needed_by or ()
        return affected

    def _drop(self, path: str) -> tuple[str, ...]:
        """Forget a node, and return the nodes that it needed."""
        if path in self._listings:
            self._unlist(path)
        node = self._nodes.pop(path)
        if path in self._entered:
            # Another directory may stand there from now on.
            self._entered.remove(path)
            self._doubtful.add(path)
        for need in node.needs:
            needed = self._nodes.get(need)
            if needed is not None and needed.needed_by is not None:
                needed.needed_by.discard(path)
                self._doubt(need)
        return node.needs

    def _prune(self, paths: Iterable[str]) -> None:
        """Forget those of the nodes, and of the nodes that they need, which no other node needs."""
        todo = list(paths)
        while todo:
            path = todo.pop()
            node = self._nodes.get(path)
            if node and not node.needed_by and path != "/" and path not in self._files and path not in self._listings:
                todo += self._drop(path)

    def _doubt(self, directory: str) -> None:
        """Note that someone needs the directory no longer, perhaps the last."""
        if directory in self._entered:
            self._doubtful.add(directory)

    def _leave_unused(self) -> None:
        for directory in self._doubtful:
            node = self._nodes.get(directory)
            if directory in self._entered:
                if (node and node.needed_by) or directory in self._listed_at:
                    continue
                self._entered.remove(directory)
            self._leave(directory)
        self._doubtful.clear()
