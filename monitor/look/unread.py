"""The files in watched trees that are not looked at, as findings: one for each tree."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Final

from config.text import Printable, listed, printable, sentence
from config.vocabulary import Code, Severity
from probes.find import Found
from probes.finding import Finding, finding

_NAMED: Final = 3
"""The most files or directories that a finding names."""
_CALLED_KEY: Final = re.compile(r"(?:privkey|private|(?:^|[-_. ])key)\d*(?:\.[a-z0-9]{2,5})?$", re.IGNORECASE)
"""The name of a file with a private key, which only its service should read."""
_SEARCH_OR_EXCLUDE: Final = Printable("let certvigil's user search the directories, or exclude them")
_WATCH_FEWER: Final = Printable("watch fewer directories, or exclude some")
_READ_OR_EXCLUDE: Final = Printable(
    "let certvigil's user read the files with certificates, leave the modes of keys and exclude them"
)


class UnreadFiles:
    """Directories that are not searched, limits that a tree exceeds, and files that the daemon may not read."""

    def __init__(self, tree: Callable[[str], str], tell: Callable[[Sequence[Finding]], None]) -> None:
        """`tree` gives the watched tree of a path; `report` calls `tell` with the findings where they have changed."""
        self._tree = tree
        self._tell = tell
        self._unsearched: dict[str, Printable] = {}
        """The reason, by the path of a directory."""
        self._exceeded: dict[str, Printable] = {}
        """The limit that was reached, by tree."""
        self._denied: set[str] = set()
        """Files that a pattern matches."""
        self._is_told = False
        """Whether `tell` was called with the current state."""
        self._told: tuple[Finding, ...] | None = None

    def searched(self, found: Found, under: str) -> None:
        """Note the result of a search at and beneath a path."""
        unsearched = {place: why for place, why in self._unsearched.items() if not is_beneath(place, under)}
        for place, failure in (*found.unreadable.items(), *found.unfollowed.items()):
            unsearched[place] = sentence("{}: {}", failure.reason, failure.detail)
        exceeded = {tree: why for tree, why in self._exceeded.items() if not is_beneath(tree, under)}
        exceeded |= found.exceeded
        if (unsearched, exceeded) != (self._unsearched, self._exceeded):
            self._unsearched, self._exceeded, self._is_told = unsearched, exceeded, False

    def note_denied(self, path: str, *, denied: bool) -> None:
        """Note whether a file may not be read; a private key should not be readable, so it is no finding."""
        denied = denied and not _CALLED_KEY.search(os.path.basename(path))
        if denied != (path in self._denied):
            (self._denied.add if denied else self._denied.discard)(path)
            self._is_told = False

    def report(self) -> None:
        """Tell the findings, if they have changed."""
        if self._is_told:
            return
        self._is_told = True
        unsearched: dict[str, list[str]] = {}
        denied: dict[str, list[str]] = {}
        for paths, by_tree in ((self._unsearched, unsearched), (self._denied, denied)):
            for path in sorted(paths):
                by_tree.setdefault(self._tree(path), []).append(path)
        trees = sorted({*unsearched, *denied, *self._exceeded})
        told = tuple(self._finding(tree, unsearched.get(tree, ()), denied.get(tree, ())) for tree in trees)
        if told != self._told:
            self._told = told
            self._tell(told)

    def _finding(self, tree: str, unsearched: Sequence[str], denied: Sequence[str]) -> Finding:
        """Return the finding about one tree."""
        wrong: list[Printable] = []
        cures: list[Printable] = []
        if unsearched:
            why = self._unsearched[unsearched[0]]
            where = Printable("") if unsearched[0] == tree else sentence("{}: ", _some(unsearched, tree))
            several = sentence("{} directories are not searched, ", len(unsearched))
            some = several if len(unsearched) > 1 else Printable("")
            wrong.append(sentence("not every file is found: {}{}{}", some, where, why))
            cures.append(_SEARCH_OR_EXCLUDE)
        if tree in self._exceeded:
            wrong.append(sentence("not every file is found: {}", self._exceeded[tree]))
            cures.append(_WATCH_FEWER)
        if denied:
            wrong.append(sentence("the daemon may not read {}", _some(denied, tree)))
            cures.append(_READ_OR_EXCLUDE)
        severity = Severity.WARNING if unsearched or tree in self._exceeded else Severity.NOTICE
        detail = sentence("{}; to cure it, {}", listed(wrong, "; "), listed(cures, "; "))
        return finding(Code.UNREADABLE, detail, printable(tree or os.sep, 4096), severity)


def is_beneath(path: str, place: str) -> bool:
    """Whether a path is a place, or lies beneath it."""
    return path == place or path.startswith(place.rstrip(os.sep) + os.sep)


def _some(paths: Sequence[str], tree: str) -> Printable:
    """Name a few of the paths in a tree."""
    names = listed(printable(os.path.relpath(each, tree) if tree else each, 100) for each in paths[:_NAMED])
    return sentence("{} and {} more", names, len(paths) - _NAMED) if len(paths) > _NAMED else names
