"""Reading a file of lines `key=value`, as Java's properties: bytes in, the value of one key out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

LARGEST: Final = 4 * 2**20
"""Bytes of such a file."""

_LINE: Final = re.compile(r"\r\n|\r|\n")
_KEY: Final = re.compile(r"(?P<key>(?:\\.|[^\\=:\s])*)(?P<between>\s*[=:]?\s*)(?P<value>.*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_LETTERS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def value_of(data: bytes, key: str) -> str | None:
    """Return the value of `key`, without white space around it; None where no line has it.

    Of several lines with the key the last counts, as for Java. Comments begin with `#` or `!`; a backslash at the end
    of a line continues it (java.util.Properties.load).
    """
    found: str | None = None
    for line in _logical_lines(data.decode("utf-8-sig", errors="replace")):
        match = _KEY.fullmatch(line)
        if match is not None and _unescaped(match["key"]) == key:
            found = _unescaped(match["value"]).strip()
    return found


def _logical_lines(text: str) -> Iterator[str]:
    """Yield the lines that are no comment, each with those that continue it."""
    pending = ""
    for line in _LINE.split(text):
        content = line.lstrip()
        if not pending and (not content or content[0] in "#!"):
            continue
        if (len(content) - len(content.rstrip("\\"))) % 2:
            pending += content[:-1]
            continue
        yield pending + content
        pending = ""
    if pending:
        yield pending


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda each: chr(int(each[1], 16)) if each[1] else _LETTERS.get(each[2], each[2]), text)
