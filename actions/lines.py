"""Configuration lines of a component: their files with the line or without it, and whether its chain is in use."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from config.model import Artefacts, ConfigLine
from config.text import Printable, printable, sentence
from config.vocabulary import FileRole, LineState
from probes.line.registry import by_hand, edit_line, included, read_line
from probes.line.syntax import CannotEdit

_MOST: Final = 100
"""Included files that are read."""


class ConfigReader(Protocol):
    """A disk; all of these raise OSError."""

    def resolve(self, path: str) -> str:
        """Return the absolute path with every symbolic link followed, of a missing file as well."""

    def read(self, path: str) -> tuple[os.stat_result, bytes]:
        """Return a regular file; links are not followed."""

    def names(self, directory: str) -> tuple[str, ...]:
        """Return the names in a directory, sorted; none where it does not exist."""


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


def edited(line: ConfigLine, data: bytes | None, reader: ConfigReader, *, wanted: bool) -> bytes | Printable | None:
    """Return the configuration file with the line, or without it; else why it is not edited, a sentence with the cure.

    `data` is the file as it is, None where it is missing. A file that is as wanted comes back as it is.
    """
    where = printable(line.file)
    if data is None:
        said = "{}: there is no such file; put it there, or take it out of the component's lines, and plan again"
        return sentence(said, where) if wanted else None
    made = edit_line(data, line, wanted=wanted)
    if isinstance(made, CannotEdit):
        cure = sentence("{}, and plan again", made.cure) if made.cure else _instead(line, wanted=wanted)
        return sentence("{} is not edited: {}; {}", where, made.why, cure)
    # Of a file that has the line, no other file can have it: servers refuse to set anything twice.
    lacks_it = (made == data) is not wanted
    if lacks_it and (setters := tuple(_set_elsewhere(line, data, reader))):
        what = sentence(
            "{} is set in {}, which it includes", printable(line.setting), printable(", ".join(setters), 500)
        )
        return sentence("{} is not edited: {}; take it out there, and plan again", where, what)
    return made


def edited_lines(
    artefacts: Artefacts, content: Mapping[FileRole, bytes | None], reader: ConfigReader, *, wanted: bool
) -> tuple[dict[FileRole, bytes | None], dict[FileRole, Printable]]:
    """Return the new content of each configuration file of a component, and why some of them are not edited, by role.

    `content` is as it is now; a file that is not edited keeps it.
    """
    after: dict[FileRole, bytes | None] = {}
    unedited: dict[FileRole, Printable] = {}
    for role, line in artefacts.line_of.items():
        made = edited(line, content[role], reader, wanted=wanted)
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


def _set_elsewhere(line: ConfigLine, data: bytes, reader: ConfigReader) -> Iterator[str]:
    """Yield the included files that have the setting, whatever its value; a file that cannot be read is passed over."""
    waiting, seen = [(line.file, data)], {line.file}
    while waiting:
        path, content = waiting.pop()
        for each in _included(path, content, line, reader):
            if each in seen or len(seen) > _MOST:
                continue
            seen.add(each)
            try:
                found = reader.read(reader.resolve(each))[1]
            except OSError:
                continue
            reading = read_line(found, line)
            if reading.state is not LineState.ABSENT and not reading.absent:
                yield each
            waiting.append((each, found))


def _included(path: str, data: bytes, line: ConfigLine, reader: ConfigReader) -> Iterator[str]:
    for pattern in filter(None, included(data, line)):
        directory, name = os.path.split(os.path.join(os.path.dirname(path), pattern))
        if name and not any(each in directory for each in "*?["):
            names = reader.names(directory) if any(each in name for each in "*?[") else (name,)
            yield from (os.path.join(directory, each) for each in fnmatch.filter(names, name))
