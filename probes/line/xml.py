"""XML files: an element within another one, by the positions that expat reports; never written out from a tree.

`setting` is the path of the element, such as `ssl/certificate_chain_file`: the element `certificate_chain_file` in the
only element `ssl`, wherever that is. Any encoding that expat knows, or Python as one of single bytes. A document type
is refused, and with it every entity of one's own.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NoReturn
from xml.parsers import expat

from config.immutable import immutable
from config.model import ConfigLine
from config.text import Printable, printable, sentence
from config.vocabulary import LineState
from probes.line.syntax import KEPT, LineReading, OddFile, OddFileError, Syntax

_MARKS: Final[Mapping[bytes, str]] = MappingProxyType(
    {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
)
_OTHER_PATH: Final = "choose another path for the chain, in the configuration of certvigil"
_DEEPEST: Final = 200
"""Elements within each other."""
_MOST: Final = 20_000
"""Elements."""
_INDENTED: Final = re.compile(r"(\r\n|\n|\r)([ \t]*)\Z")
_ESCAPED: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_UNWRITABLE: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(slots=True)
class _Element:
    """An element by its positions in the bytes."""

    name: str
    start: int
    """Where its first tag begins."""
    inside: int = 0
    """Where its first tag has ended."""
    stop: int = 0
    """Where its last tag begins; its end, where one tag is both."""
    end: int = 0
    """Where its last tag has ended."""
    text: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)

    @property
    def is_one_tag(self) -> bool:
        """Whether it is written as `<name/>`."""
        return self.stop == self.end


class _Finder:
    """Finds the elements of one path, by the events of expat; raises OddFileError."""

    def __init__(self, path: Sequence[str]) -> None:
        self._path = list(path)
        self._open: list[_Element] = []
        self._number = 0
        self._unended: list[tuple[_Element, str]] = []
        """Elements whose tag ends where the next event begins, and which of their positions that is."""
        self.encoding = ""
        """As the XML declaration names it."""
        self.found: list[_Element] = []
        self._parser = expat.ParserCreate()
        parser = self._parser
        parser.buffer_text = False
        parser.XmlDeclHandler = self._declared
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        # Every other event ends a tag as well.
        parser.DefaultHandler = self._other
        parser.CommentHandler = self._other
        parser.ProcessingInstructionHandler = lambda _target, _data: self._pass()
        parser.StartCdataSectionHandler = self._pass
        parser.EndCdataSectionHandler = self._pass

    def find(self, data: bytes) -> list[_Element]:
        """Return the elements of the path, with their children."""
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            why = f"it is no XML that is understood: {expat.ErrorString(error.code)}"
            raise OddFileError(why, f"correct its XML at line {error.lineno}") from None
        except (LookupError, ValueError):
            raise OddFileError("its encoding is not known", "write it in UTF-8") from None
        self._close(len(data))
        return self.found

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self.encoding = encoding or ""
        self._pass()

    def _refuse(self, *_: object) -> NoReturn:
        why = "it has a document type, whose entities could stand for anything"
        raise OddFileError(why, "take the document type out of it")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        self._pass()
        self._number += 1
        if self._number > _MOST:
            raise OddFileError(f"it has more than {_MOST} elements")
        element = _Element(name, self._parser.CurrentByteIndex)
        if self._open:
            self._open[-1].children.append(element)
        self._open.append(element)
        if len(self._open) > _DEEPEST:
            raise OddFileError("it has too many elements within each other", "correct its XML")
        self._unended.append((element, "inside"))

    def _end(self, _name: str) -> None:
        self._pass()
        element = self._open.pop()
        element.stop = self._parser.CurrentByteIndex
        self._unended.append((element, "end"))
        if element.name == self._path[-1]:
            names = [*(each.name for each in self._open), element.name]
            if names[-len(self._path) :] == self._path:
                self.found.append(element)

    def _text(self, text: str) -> None:
        self._pass()
        if self._open:
            self._open[-1].text.append(text)

    def _other(self, _data: str) -> None:
        self._pass()

    def _pass(self) -> None:
        self._close(self._parser.CurrentByteIndex)

    def _close(self, at: int) -> None:
        while self._unended and at > self._unended[-1][0].start:
            element, position = self._unended.pop()
            setattr(element, position, at)


@immutable
class _Place:
    """The element in which the line belongs, and the elements there that have its name."""

    data: bytes
    encoding: str
    """For Python, without the mark at the beginning."""
    within: _Element
    found: tuple[_Element, ...]

    def text(self, start: int, end: int) -> str:
        """Return the text between two positions."""
        try:
            return self.data[start:end].decode(self.encoding)
        except UnicodeDecodeError:
            raise OddFileError("its bytes are not in the encoding that it names", "correct its encoding") from None

    def length(self, text: str) -> int:
        """Return the bytes of a text."""
        return len(text.encode(self.encoding))

    def indentation(self, at: int) -> str | None:
        """Return the end of a line and the blanks that stand before a position; None where there is more."""
        found = _INDENTED.search(self.text(self.within.inside, at))
        return None if found is None else found[0]


def _parse(data: bytes, line: ConfigLine) -> _Place:
    found = _parsed(data, line.setting)
    if isinstance(found, OddFile):
        raise OddFileError(*found)
    return found


@lru_cache(maxsize=KEPT)
def _parsed(data: bytes, setting: str) -> _Place | OddFile:
    """Return the place for a setting, or why there is none, and the cure."""
    try:
        return _find(data, setting)
    except OddFileError as error:
        return OddFile(error.why, error.cure)


def _find(data: bytes, setting: str) -> _Place:
    *outer, name = setting.split("/")
    finder = _Finder(outer)
    places = finder.find(data)
    where = printable("/".join(outer))
    if len(places) != 1:
        why = f"it has {len(places)} elements {where}" if places else f"it has no element {where}"
        raise OddFileError(why, f"leave one element {where}" if places else f"add an element {where} to it")
    encoding = next((each for mark, each in _MARKS.items() if data.startswith(mark)), finder.encoding or "utf-8")
    # Of two bytes, and without a mark, expat takes the order of the first character.
    if encoding.lower() == "utf-16":
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        codecs.lookup(encoding)
    except (LookupError, ValueError):
        raise OddFileError("its encoding is not known", "write it in UTF-8") from None
    (within,) = places
    return _Place(data, encoding, within, tuple(each for each in within.children if each.name == name))


def _value(element: _Element) -> str | None:
    """Return the text of an element, blanks around it aside; None where it has further elements."""
    return None if element.children else "".join(element.text).strip()


def _read(data: bytes, line: ConfigLine) -> LineReading:
    place = _parse(data, line)
    if len(place.found) > 1:
        why = sentence("it has {} twice", printable(line.setting))
        return LineReading(LineState.UNCLEAR, why, cure=Printable("leave one of them"))
    value = _value(place.found[0]) if place.found else ""
    if value is None:
        why = sentence("{} in it has further elements", printable(line.setting))
        return LineReading(LineState.UNCLEAR, why, cure=Printable("take the further elements out of it"))
    if value == line.value:
        return LineReading(LineState.PRESENT)
    return LineReading(LineState.OTHER, printable(value, 500)) if value else LineReading(LineState.ABSENT)


def _put(data: bytes, line: ConfigLine) -> bytes:
    place = _parse(data, line)
    element = _text(line)
    if place.found:
        # An element without a value waits for one.
        (empty,) = place.found
        return data[: empty.start] + _encoded(element, place) + data[empty.end :]
    within = place.within
    if within.is_one_tag:
        raise OddFileError(f"<{printable(within.name)}/> in it has no room for an element")
    inner = place.text(within.inside, within.stop)
    blanks = inner[len(inner.rstrip(" \t\r\n")) :]
    at = within.stop - place.length(blanks)
    if "\n" not in blanks and "\r" not in blanks:
        at, indent = within.stop, ""
    elif within.children and (found := place.indentation(within.children[-1].start)) is not None:
        indent = found
    else:
        indent = f"{place.indentation(within.stop) or ''}  "
    return data[:at] + _encoded(f"{indent}{element}", place) + data[at:]


def _take(data: bytes, line: ConfigLine) -> bytes:
    place = _parse(data, line)
    (element,) = place.found
    start = element.start - place.length(place.indentation(element.start) or "")
    return data[:start] + data[element.end :]


def _encoded(text: str, place: _Place) -> bytes:
    try:
        return text.encode(place.encoding)
    except UnicodeEncodeError:
        raise OddFileError(
            f"the path of the chain cannot be written in {printable(place.encoding, 100)}", _OTHER_PATH
        ) from None


def _text(line: ConfigLine) -> str:
    name = line.setting.rpartition("/")[2]
    # A path that begins or ends with a blank would be read without it.
    if _UNWRITABLE.search(line.value) or line.value != line.value.strip():
        raise OddFileError("the path of the chain cannot be written into it", _OTHER_PATH)
    return f"<{name}>{line.value.translate(_ESCAPED)}</{name}>"


def _included(_data: bytes, _line: ConfigLine) -> tuple[str, ...]:
    return ()


def _shown(line: ConfigLine) -> str:
    outer, _, name = line.setting.rpartition("/")
    return f"<{name}>{line.value.translate(_ESCAPED)}</{name}> inside <{outer.rpartition('/')[2]}>"


SYNTAX: Final = Syntax(_read, _put, _take, _included, _shown)
