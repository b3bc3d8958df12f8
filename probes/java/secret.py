"""Secret keys in JCEKS: serialised objects, which are passed over and never built (Java Object Serialization, 6).

Such an entry has no length, so that its end can be found only by its grammar. Java itself accepts one kind of object
here: `SealedObjectForKeyProtector`, with two arrays of bytes and two strings. Anything else is refused.
"""

from __future__ import annotations

from typing import Final

from config.immutable import immutable
from probes.java.cursor import Cursor, DamagedError

_STREAM: Final = bytes.fromhex("aced0005")
_NULL, _REFERENCE, _CLASS, _OBJECT, _STRING, _ARRAY, _END = 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x78
_FIRST_HANDLE: Final = 0x7E0000
_SERIALIZABLE: Final = 0x02
"""Flags of a class that writes its fields and nothing else."""
_PRIMITIVES: Final = {"B": 1, "C": 2, "D": 8, "F": 4, "I": 4, "J": 8, "S": 2, "Z": 1}
"""Octets of each primitive type."""
_REFERENCES: Final = "L["
_MOST_HANDLES: Final = 64
_MOST_FIELDS: Final = 16
_DEEPEST: Final = 8


@immutable
class _Class:
    name: str
    types: tuple[str, ...]
    """The first letter of the type of each field."""
    parent: _Class | None


def pass_over(cursor: Cursor) -> None:
    """Move `cursor` behind a sealed key; raises DamagedError where it is none, or not written in the known way."""
    if cursor.take(len(_STREAM)) != _STREAM:
        raise _unknown(cursor)
    _Passing(cursor).value(_DEEPEST)


def _unknown(cursor: Cursor) -> DamagedError:
    return DamagedError(f"holds a secret key in a form that is not known, at byte {cursor.at}")


class _Passing:
    """One stream of objects, and the values in it that may be referred to."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._handles: list[_Class | None] = []

    def value(self, deepest: int) -> None:
        """Pass over an object, an array of bytes, a string, a reference to one of these, or null."""
        if not deepest:
            raise _unknown(self._cursor)
        tag = self._cursor.number(1)
        if tag == _STRING:
            self._cursor.text()
            self._remember(None)
        elif tag == _REFERENCE:
            self._referred()
        elif tag == _ARRAY:
            self._array()
        elif tag == _OBJECT:
            self._object(deepest - 1)
        elif tag != _NULL:
            raise _unknown(self._cursor)

    def _array(self) -> None:
        described = self._class(_DEEPEST)
        if described is None or described.name != "[B":
            raise _unknown(self._cursor)
        self._remember(None)
        self._cursor.sized()

    def _object(self, deepest: int) -> None:
        described = self._class(_DEEPEST)
        if described is None:
            raise _unknown(self._cursor)
        self._remember(None)
        lineage: list[_Class] = []
        while described is not None:
            lineage.append(described)
            described = described.parent
        for each in reversed(lineage):
            for letter in each.types:
                if letter in _REFERENCES:
                    self.value(deepest)
                else:
                    self._cursor.take(_PRIMITIVES[letter])

    def _class(self, deepest: int) -> _Class | None:
        tag = self._cursor.number(1)
        if tag == _NULL:
            return None
        if tag == _REFERENCE:
            return self._referred()
        if tag != _CLASS or not deepest:
            raise _unknown(self._cursor)
        name = self._cursor.text()
        self._cursor.take(8)  # the number of its version
        place = self._remember(None)
        flags, count = self._cursor.number(1), self._cursor.number(2)
        if flags != _SERIALIZABLE or count > _MOST_FIELDS:
            raise _unknown(self._cursor)
        types = tuple(self._field() for _ in range(count))
        if self._cursor.number(1) != _END:
            raise _unknown(self._cursor)
        described = self._handles[place] = _Class(name, types, self._class(deepest - 1))
        return described

    def _field(self) -> str:
        letter = chr(self._cursor.number(1))
        self._cursor.text()
        if letter in _REFERENCES:
            self.value(1)  # the name of its class
        elif letter not in _PRIMITIVES:
            raise _unknown(self._cursor)
        return letter

    def _remember(self, described: _Class | None) -> int:
        if len(self._handles) >= _MOST_HANDLES:
            raise _unknown(self._cursor)
        self._handles.append(described)
        return len(self._handles) - 1

    def _referred(self) -> _Class | None:
        place = self._cursor.number(4) - _FIRST_HANDLE
        if not 0 <= place < len(self._handles):
            raise _unknown(self._cursor)
        return self._handles[place]
