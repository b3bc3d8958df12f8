"""Configuration lines of a component: their files with the line or without it, and whether its chain is in use."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from config.immutable import immutable
from config.model import Artefacts, ConfigLine
from config.text import Printable, printable, sentence
from config.vocabulary import FileRole, LineState
from probes.line.registry import by_hand, edit_line, included, read_line
from probes.line.syntax import CannotEdit
from probes.opening import ANYBODY

MOST_INCLUDED: Final = 32
"""Included files, and patterns that name them."""
MOST_INCLUDED_BYTES: Final = 512 * 1024
"""Of all included files together."""
_MOST_NAMES: Final = 4096
"""Of the directories in which included files are looked for."""
_LONGEST_PATTERN: Final = 255
"""Characters: a name in a directory has no more."""


Users = frozenset[int]
"""Users without the rights of root, by number; empty for root."""


class ConfigReader(Protocol):
    """A disk; all of these raise OSError."""

    def read_as(self, path: str, users: Users) -> tuple[os.stat_result, bytes]:
        """Return a regular file that each of the users could read."""

    def names_as(self, directory: str, users: Users) -> tuple[str, ...]:
        """Return the names in a directory that each of the users could list, sorted; none where it does not exist."""


def writers(owner: int, mode: int) -> Users:
    """Return who decides, beside root, what a file includes: its owner, and anybody where others may write it."""
    owners = frozenset({owner} - {0})
    return owners | {ANYBODY} if mode & (stat.S_IWGRP | stat.S_IWOTH) else owners


def presentable(artefacts: Artefacts, content: Mapping[FileRole, bytes | None]) -> dict[FileRole, bytes | None]:
    """Return the content of the files that a server reads: without the chain where a configuration file names it not.

    None is a file that is not there, or that nothing is known of.
    """
    lines = ((content.get(role), line) for role, line in artefacts.line_of.items())
    unused = any(
        data is not None and read_line(data, line).state in {LineState.ABSENT, LineState.OTHER} for data, line in lines
    )
    return {role: data for role, data in content.items() if not (role is FileRole.CHAIN and unused)}


def had_no_chain(artefacts: Artefacts, kept: Mapping[FileRole, bytes | None]) -> bool:
    """Whether the configuration files in a backup set, all of them, name no chain.

    A change that found no chain and made none has kept nothing of it.
    """
    lines = ((kept.get(role), line) for role, line in artefacts.line_of.items())
    return bool(artefacts.lines) and all(
        data is not None and read_line(data, line).state is LineState.ABSENT for data, line in lines
    )


def edited(
    line: ConfigLine, data: bytes | None, users: Users, reader: ConfigReader, *, wanted: bool
) -> bytes | Printable | None:
    """Return the configuration file with the line, or without it; else why it is not edited, a sentence with the cure.

    `data` is the file as it is, None where it is missing, and `users` are its `writers`. A file that is as wanted comes
    back as it is.
    """
    where = printable(line.file)
    if data is None:
        if not wanted:
            return None
        return sentence(
            "{}: there is no such file; put it there, or take it out of the component's lines, and plan again", where
        )
    made = edit_line(data, line, wanted=wanted)
    if isinstance(made, CannotEdit):
        cure = sentence("{}, and plan again", made.cure) if made.cure else _instead(line, wanted=wanted)
        return sentence("{} is not edited: {}; {}", where, made.why, cure)
    # Of a file that has the line, no other file can have it: servers refuse to set anything twice.
    lacks_it = (made == data) is not wanted
    included = _included(line, data, users, reader) if lacks_it else _Included()
    if included is None:
        most = sentence("{} files or {} bytes", MOST_INCLUDED, MOST_INCLUDED_BYTES)
        what = sentence("it includes more than {}, which may set {}", most, printable(line.setting))
        return sentence("{} is not edited: {}; {}", where, what, _instead(line, wanted=wanted))
    if included.setters:
        what = sentence("{} is set in {}, which it includes", printable(line.setting), _all(included.setters))
        return sentence("{} is not edited: {}; take it out there, and plan again", where, what)
    if included.odd:
        what = sentence("it includes {}, which cannot be read as {}'s", _all(included.odd), line.syntax)
        return sentence("{} is not edited: {}; {}", where, what, _instead(line, wanted=wanted))
    return made


def _all(paths: Iterable[str]) -> Printable:
    return printable(", ".join(dict.fromkeys(paths)), 500)


def edited_lines(
    artefacts: Artefacts,
    content: Mapping[FileRole, bytes | None],
    users: Mapping[FileRole, Users],
    reader: ConfigReader,
    *,
    wanted: bool,
) -> tuple[dict[FileRole, bytes | None], dict[FileRole, Printable]]:
    """Return the new content of each configuration file of a component, and why some of them are not edited, by role.

    `content` is as it is now; a file that is not edited keeps it. `users` are the `writers` of each file that is there.
    """
    after: dict[FileRole, bytes | None] = {}
    unedited: dict[FileRole, Printable] = {}
    for role, line in artefacts.line_of.items():
        made = edited(line, content[role], users.get(role, frozenset()), reader, wanted=wanted)
        after[role] = content[role] if isinstance(made, str) else made
        if isinstance(made, str):
            unedited[role] = made
    return after, unedited


def is_same_but_for_line(line: ConfigLine, one: bytes, other: bytes) -> bool:
    """Whether two contents of a configuration file differ at most in the line."""
    return one == other or edit_line(one, line, wanted=False) == edit_line(other, line, wanted=False)


def _instead(line: ConfigLine, *, wanted: bool) -> Printable:
    if wanted:
        return sentence("add this line yourself, and plan again: {}", by_hand(line))
    return sentence("take this line out yourself, and plan again: {}", by_hand(line))


@immutable
class _Included:
    """The included files that matter: each of their writers could read them."""

    setters: tuple[str, ...] = ()
    """Have the setting, whatever its value."""
    odd: tuple[str, ...] = ()
    """Are of another syntax, or none."""


def _included(line: ConfigLine, data: bytes, users: Users, reader: ConfigReader) -> _Included | None:
    """Return the included files that matter; None where too much is included to tell.

    A directory is listed and a file read only as those could who have written the files that lead to it: else the name
    of a file that is closed to them would be told. A file that cannot be read is passed over. Others wait while this is
    done, and whoever wrote these files may want them to.
    """
    waiting, seen = [(line.file, data, users)], {(line.file, users)}
    setters, odd = list[str](), list[str]()
    patterns, names, size = 0, _Names(reader), 0
    while waiting:
        path, content, users = waiting.pop()
        for pattern in filter(None, included(content, line)):
            patterns += 1
            directory, name = os.path.split(os.path.join(os.path.dirname(path), pattern))
            if patterns > MOST_INCLUDED or len(name) > _LONGEST_PATTERN:
                return None
            found = names.matching(directory, name, users)
            if found is None:
                return None
            for each in found:
                if (each, users) in seen:
                    continue
                seen.add((each, users))
                try:
                    status, read = reader.read_as(each, users)
                except (OSError, ValueError):
                    # Counted all the same: the number of those that are there is nobody's business.
                    status, read = None, b""
                size += len(read)
                if len(seen) > MOST_INCLUDED + 1 or size > MOST_INCLUDED_BYTES:
                    return None
                if status is None:
                    continue
                reading = read_line(read, line)
                if reading.is_odd:
                    odd.append(each)
                elif reading.state is not LineState.ABSENT and not reading.absent:
                    setters.append(each)
                waiting.append((each, read, users | writers(status.st_uid, status.st_mode)))
    return _Included(tuple(setters), tuple(odd))


class _Names:
    """The names in directories, each of which is read once for the same users."""

    def __init__(self, reader: ConfigReader) -> None:
        self._reader = reader
        self._known: dict[tuple[str, Users], tuple[str, ...]] = {}

    def matching(self, directory: str, pattern: str, users: Users) -> tuple[str, ...] | None:
        """Return the paths of the files of a pattern; None where the directories hold too many names."""
        if not pattern or any(each in directory for each in "*?["):
            return ()
        if not any(each in pattern for each in "*?["):
            return (os.path.join(directory, pattern),)
        key = directory, users
        if key not in self._known:
            try:
                self._known[key] = self._reader.names_as(directory, users)
            except (OSError, ValueError):
                self._known[key] = ()
        if sum(map(len, self._known.values())) > _MOST_NAMES:
            return None
        return tuple(os.path.join(directory, each) for each in fnmatch.filter(self._known[key], pattern))
