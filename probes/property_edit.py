"""Setting one key in a file of lines `key=value`, as Java's properties: by position in its bytes; pure.

Every byte but those of the value stays: comments, order, white space around the value, line ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from config.text import Printable, printable, sentence

_VALUE: Final = re.compile(r"[A-Za-z0-9._-]+")
"""Values that need no escape in such a file."""
_KEY_TO_WRITE: Final = re.compile(r"[A-Za-z0-9._-]+")
_LINE: Final = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
# Without the value: whichever blanks end it are found from behind, since a search for them takes long in long ones.
_KEY: Final = re.compile(rb"[ \t\f]*(?P<key>(?:\\.|[^\\=: \t\f\r\n])*)[ \t\f]*[=:]?[ \t\f]*")
_REST: Final = re.compile(rb"[^\r\n]*")
_BOM: Final = b"\xef\xbb\xbf"


def with_value(data: bytes, key: str, value: str) -> bytes | Printable:
    """Return the file with that value, or why it is not edited, a sentence with the line to write by hand.

    Of several lines with the key, the last is edited: it is the one that counts (java.util.Properties.load). Where no
    line has it, one is added at the end.
    """
    by_hand = sentence("write the line {}={} by hand", printable(key), printable(value))
    if not _VALUE.fullmatch(value) or not _KEY_TO_WRITE.fullmatch(key):
        return sentence("a key or value with such characters is not written; {}", by_hand)
    if b"\0" in data:
        return sentence("it is no text of one octet for each letter; {}", by_hand)
    found: _Line | None = None
    for line, continued in _lines_in(data):
        if line is None:
            return sentence("its last line goes on where the file ends; {}", by_hand)
        if _unescaped(line.key) == key.encode():
            found = line
            if continued:
                return sentence("its line {} goes on in the next line; {}", printable(key), by_hand)
    if found is not None:
        # A key may stand alone on its line.
        between = b"" if found.has_separator else b"="
        before = data[found.start : found.end]
        return data[: found.start] + between + _like(before, value) + data[found.end :]
    end = b"\r\n" if b"\r\n" in data else b"\n"
    gap = b"" if not data or data.endswith((b"\n", b"\r")) else end
    return data + gap + f"{key}={value}".encode() + end


class _Line(NamedTuple):
    """A line that begins a key, and where its value stands, without the blanks around it."""

    key: bytes
    """With its escapes."""
    start: int
    end: int
    has_separator: bool
    """Something stands between key and value."""


def _line_at(data: bytes, at: int) -> _Line:
    found = _KEY.match(data, at)
    assert found is not None  # noqa: S101 (it matches anything)
    rest = _REST.match(data, found.end())
    assert rest is not None  # noqa: S101 (as above)
    end = found.end() + len(rest[0].rstrip(b" \t\f"))
    return _Line(found["key"], found.end(), end, has_separator=found.end("key") < found.end())


def _lines_in(data: bytes) -> Iterator[tuple[_Line | None, bool]]:
    """Yield each line that begins a key, and whether the next one goes on with it; None where the file ends instead."""
    at, continues = len(_BOM) if data.startswith(_BOM) else 0, False
    while at < len(data):
        line = _LINE.match(data, at)
        assert line is not None  # noqa: S101 (it matches anything)
        body = line[0].rstrip(b"\r\n")
        is_comment = not continues and body.lstrip(b" \t\f")[:1] in {b"#", b"!"}
        goes_on = not is_comment and (len(body) - len(body.rstrip(b"\\"))) % 2 == 1
        if not continues and not is_comment:
            yield _line_at(data, at), goes_on
        at, continues = line.end(), goes_on
    if continues:
        yield None, True


def _like(before: bytes, value: str) -> bytes:
    """Return the value as the old one is written: in quotation marks, or bare."""
    quoted = len(before) > 1 and before[:1] == before[-1:] == b'"'
    return f'"{value}"'.encode() if quoted else value.encode()


def _unescaped(key: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", key)
