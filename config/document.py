"""A YAML document as plain values, each with its place in a file, so that mistakes can be pointed at."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import yaml

from config.immutable import immutable
from config.text import printable

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]
KeyPath = tuple[str | int, ...]
"""The keys and list positions that lead to a value; empty for the document itself."""

DEPTH_LIMIT: Final = 32
ALIAS_LIMIT: Final = 100_000
"""The largest number of values that all aliases of a file stand for, nested aliases included."""


@immutable
class Mistake:
    """A mistake in the configuration; every field can be printed as it is."""

    file: str
    line: int
    """Counted from 1; 0 where the file itself is at fault."""
    key: str
    """Such as `endpoints[0].address`; empty where the file itself, or its syntax, is at fault."""
    problem: str
    """The mistake, and the expected value."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.problem}" if self.key else f"{where}: {self.problem}"


@immutable
class Mark:
    """The place of a value."""

    file: str
    line: int
    text: str | None = None
    """The text before variables were replaced in it: their values may be secret."""

    def __str__(self) -> str:
        return f"{printable(self.file)}:{self.line}"


@immutable
class YAMLDocument:
    """Values, and the place of each."""

    values: dict[str, Value]
    marks: Mapping[KeyPath, Mark]

    def mark(self, path: KeyPath) -> Mark:
        """Return the place of the value at `path`, or of the nearest value around it."""
        while path not in self.marks:
            path = path[:-1]
        return self.marks[path]

    def mistake(self, path: KeyPath, problem: str) -> Mistake:
        """Return the mistake at the value at `path`, which may be absent."""
        mark = self.mark(path)
        return Mistake(printable(mark.file), mark.line, key_text(path), problem)


def key_text(path: KeyPath) -> str:
    """Return `path` as people write it, such as `components.web.endpoints[0].address`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return printable(text.removeprefix("."))


def shown(value: object) -> str:
    """Return `value` as a message names it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"'{printable(value, 60)}'"
        case []:
            return "an empty list"
        case list():
            return "a list"
        case _:
            return "a mapping"


class _Refused(Exception):  # noqa: N818 (never leaves this module)
    """The document as a whole cannot be used."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem


def parse(data: bytes, file: str, most_nodes: int | None = None) -> tuple[YAMLDocument | None, tuple[Mistake, ...]]:
    """Return the document in `data`, read from `file`, and every mistake in it; None where it cannot be used.

    Plain scalars follow the core schema of YAML 1.2, so `10:30`, `yes` and `2027-03-31` are text. Keys are text as
    written. An alias repeats the value after its anchor, which stands above in the same file; the alias is marked where
    it was written, and what is in the value where that was. Merge keys and tags are mistakes. With `most_nodes`, a
    document of more keys and values is not used, since each of them costs time; aliases may stand for as many again.
    """
    builder = _Builder(file)
    events = _events(data)
    if most_nodes is not None:
        builder.anchors.limit = min(ALIAS_LIMIT, most_nodes)
        events = _bounded(events, most_nodes)
    try:
        return YAMLDocument(builder.document(events), builder.marks), tuple(builder.mistakes)
    except _Refused as refused:
        return None, (*builder.mistakes, Mistake(printable(file), refused.line, "", refused.problem))


def _events(data: bytes) -> Iterator[yaml.Event]:
    """Yield libyaml's events for `data`; raise _Refused where it is no YAML."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Refused(line, "bytes that are no UTF-8, expected UTF-8 text") from None
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Refused(mark.line + 1 if mark else 1, _syntax(error)) from None
    except yaml.reader.ReaderError as error:
        line = data.count(b"\n", 0, max(0, error.position)) + 1
        raise _Refused(line, f"{printable(error.reason)}, expected YAML") from None
    except yaml.YAMLError as error:
        raise _Refused(1, f"{printable(str(error))}, expected YAML") from None


def _bounded(events: Iterator[yaml.Event], most: int) -> Iterator[yaml.Event]:
    """Yield the events of a document with at most so many keys and values; raise _Refused at the next one."""
    nodes = 0
    for event in events:
        nodes += isinstance(event, yaml.NodeEvent)
        if nodes > most:
            raise _Refused(_line(event), f"too many keys and values, expected at most {most}")
        yield event


_SYNTAX: Final = {
    "found character that cannot start any token": (
        "found a character that begins no value, such as a tab, '@' or '%', expected spaces for the indentation, and "
        "quotes around such a text"
    ),
    "mapping values are not allowed in this context": (
        "found a ':' where no key may stand, expected quotes around a text with ': ' in it, and the indentation of the "
        "lines above"
    ),
    "block sequence entries are not allowed in this context": (
        "found a '-' where no list may begin, expected it on a line of its own"
    ),
    "did not find expected '-' indicator": "found no '-', expected each item of a list with the same indentation",
    "did not find expected key": "found no key, expected each key of a mapping with the same indentation",
    "could not find expected ':'": "found a key without ':', expected 'key: value', or quotes around the text",
    "did not find expected ',' or '}'": "found no ',' and no '}', expected one of them after each value in '{...}'",
    "did not find expected ',' or ']'": "found no ',' and no ']', expected one of them after each item in '[...]'",
    "found unexpected end of stream": "found the end of the file, expected the quotation mark that ends a text",
    "did not find expected node content": "found no value, expected one, or the ']' that ends a list",
    "did not find expected alphabetic or numeric character": (
        "found '*' or '&' without a name, expected quotes around a text that begins so"
    ),
    "found unknown escape character": "found an unknown escape after a '\\', expected single quotes around the text",
}
"""What the errors of libyaml mean, and what is expected; others are said in its words."""


def _syntax(error: yaml.MarkedYAMLError) -> str:
    """Return what keeps a text from being YAML, and where it begins, if that is another line."""
    words = " ".join(filter(None, (error.context, error.problem)))
    said = _SYNTAX.get(str(error.problem), f"{printable(words)}, expected YAML")
    begun, found = error.context_mark, error.problem_mark
    if begun is None or found is None or begun.line == found.line:
        return said
    return f"{said}; this is about what begins in line {begun.line + 1}"


@dataclass(slots=True)
class _Anchors:
    """The anchors of a file, and how many values aliases repeat."""

    lines: dict[str, int] = field(default_factory=dict)
    events: dict[str, list[yaml.Event]] = field(default_factory=dict)
    """Of nodes that are complete: none holds itself."""
    limit: int = ALIAS_LIMIT
    repeated: int = 0

    def mark(self, name: str, line: int) -> None:
        """Note that an anchor stands in `line`."""
        if name in self.lines:
            problem = f"there is an anchor '&{printable(name, 60)}' in line {self.lines[name]} already"
            raise _Refused(line, f"{problem}, expected another name")
        self.lines[name] = line

    def repeat(self, alias: yaml.AliasEvent, within: yaml.AliasEvent) -> list[yaml.Event]:
        """Return the events of the node that `alias` stands for, met while `within` is repeated."""
        events = self.events.get(str(alias.anchor))
        if events is None:
            problem = f"there is no '&{printable(str(alias.anchor), 60)}' above"
            raise _Refused(_line(alias), f"{problem}, expected an anchor that stands in this file")
        self.repeated += len(events)
        if self.repeated > self.limit:
            problem = f"'*{printable(str(within.anchor), 60)}' makes it too much"
            raise _Refused(_line(within), f"{problem}, expected aliases for at most {self.limit} values")
        return events


def _whole(start: yaml.Event, events: Iterator[yaml.Event]) -> list[yaml.Event]:
    """Return all events of the node that begins with `start`."""
    whole = [start]
    depth = int(isinstance(start, yaml.CollectionStartEvent))
    while depth:
        event = next(events)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        whole.append(event)
    return whole


@dataclass(slots=True)
class _Builder:
    """Puts values together from events, and notes the place of each, and the mistakes."""

    file: str
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    anchors: _Anchors = field(default_factory=_Anchors)
    repeating: yaml.AliasEvent | None = None
    """The alias whose node is built again: the anchors in that node are known already."""

    def document(self, events: Iterator[yaml.Event]) -> dict[str, Value]:
        values: dict[str, Value] | None = None
        for event in events:
            match event:
                case yaml.DocumentStartEvent() if values is not None:
                    raise _Refused(_line(event), "a second document, expected one")
                case yaml.MappingStartEvent():
                    self.marks[()] = Mark(self.file, _line(event))
                    values = self._mapping(event, events, ())
                case yaml.NodeEvent():
                    _check_node(event, ())
                    found = shown(self._value(event, events, ()))
                    raise _Refused(_line(event), f"found {found}, expected a mapping of sections")
        if values is None:
            raise _Refused(1, "found nothing, expected a mapping of sections")
        return values

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Value:
        if isinstance(event, yaml.AliasEvent):
            return self._repeated(event, path)
        anchor = getattr(event, "anchor", None)
        if anchor is None or self.repeating:
            return self._built(event, events, path)
        self.anchors.mark(anchor, _line(event))
        whole = _whole(event, events)
        value = self._built(event, iter(whole[1:]), path)
        self.anchors.events[anchor] = whole
        return value

    def _built(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Value:
        match event:
            case yaml.MappingStartEvent():
                return self._mapping(event, events, path)
            case yaml.SequenceStartEvent():
                return self._sequence(event, events, path)
            case _:
                scalar = cast("yaml.ScalarEvent", event)
                _check_node(scalar, path)
                return resolve(scalar.value) if scalar.implicit[0] else scalar.value

    def _repeated(self, alias: yaml.AliasEvent, path: KeyPath) -> Value:
        outer = self.repeating
        self.repeating = outer or alias
        events = iter(self.anchors.repeat(alias, self.repeating))
        value = self._value(next(events), events, path)
        self.repeating = outer
        return value

    def _sequence(self, start: yaml.NodeEvent, events: Iterator[yaml.Event], path: KeyPath) -> list[Value]:
        _check_node(start, path)
        items: list[Value] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            below = (*path, len(items))
            self.marks[below] = Mark(self.file, _line(event))
            items.append(self._value(event, events, below))
        return items

    def _mapping(self, start: yaml.NodeEvent, events: Iterator[yaml.Event], path: KeyPath) -> dict[str, Value]:
        _check_node(start, path)
        items: dict[str, Value] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise _Refused(_line(event), "a key that is not text, expected a word followed by a colon")
            _check_node(event, path)
            if event.anchor is not None:
                raise _Refused(_line(event), "an anchor before a key, expected it before a value")
            key, line = event.value, _line(event)
            below = (*path, key)
            if key in items or key == "<<":
                if key == "<<":
                    problem = "found a merge key, expected the keys themselves, or an alias for the whole mapping"
                else:
                    problem = f"given twice, expected once; it is in line {self.marks[below].line} already"
                self.mistakes.append(Mistake(printable(self.file), line, key_text(below), problem))
                _Builder(self.file, anchors=self.anchors, repeating=self.repeating)._value(next(events), events, below)
            else:
                self.marks[below] = Mark(self.file, line)
                items[key] = self._value(next(events), events, below)
        return items


def _check_node(event: yaml.NodeEvent, path: KeyPath) -> None:
    if getattr(event, "tag", None) is not None:
        raise _Refused(
            _line(event), "found a tag, which begins with '!', expected the value alone: text is text in quotes"
        )
    if len(path) > DEPTH_LIMIT:
        raise _Refused(_line(event), f"nested too deeply, expected at most {DEPTH_LIMIT} levels")


def _line(event: yaml.Event) -> int:
    mark = cast("Any", event).start_mark
    return int(mark.line) + 1


_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# Longer runs of digits stay text: no number here is so large, and Python refuses to convert very long runs.
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def resolve(text: str) -> str | int | float | bool | None:
    """Return the value of the plain scalar `text` in the core schema (YAML 1.2.2, 10.3.2)."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        return int(text) if text.lstrip("+-").isdigit() else int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


_VARIABLE: Final = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)\})?")


def substitute(
    document: YAMLDocument, variables: Mapping[str, str], may_be_unset: Collection[str] = ()
) -> tuple[YAMLDocument, tuple[Mistake, ...]]:
    """Return `document` with each `${NAME}` in a text replaced from `variables`, and a mistake for each unknown name.

    `$${` stands for `${`. What was text stays text, whatever the variable holds. In the sections that `may_be_unset`,
    `unset://NAME` stands for an unknown name.
    """
    marks = dict(document.marks)
    mistakes: list[Mistake] = []

    def replaced(value: Value, path: KeyPath) -> Value:
        if isinstance(value, dict):
            return {key: replaced(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        mark = document.mark(path)
        marks[path] = Mark(mark.file, mark.line, value)
        text, problems = fill(value, variables, may_be_unset=path[0] in may_be_unset)
        mistakes.extend(document.mistake(path, problem) for problem in problems)
        return text

    values = {key: replaced(item, (key,)) for key, item in document.values.items()}
    return YAMLDocument(values, marks), tuple(mistakes)


def fill(text: str, variables: Mapping[str, str], *, may_be_unset: bool = False) -> tuple[str, tuple[str, ...]]:
    """Return `text` with its variables replaced, and the mistakes in it."""
    problems: list[str] = []

    def meaning(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            if match[0] == "$${":
                return "${"
            problems.append("found '${' that begins no variable, expected ${NAME}, or $${ for '${' itself")
        elif name not in variables and may_be_unset:
            return f"unset://{name}"
        elif name not in variables:
            problems.append(f"${{{name}}} is not set, expected it in the environment")
        return variables.get(name or "", "")

    return _VARIABLE.sub(meaning, text), tuple(problems)


def escape(text: str) -> str:
    """Return text from which `substitute` makes `text` again."""
    return text.replace("${", "$${")


def join(first: YAMLDocument, second: YAMLDocument) -> tuple[YAMLDocument, tuple[KeyPath, ...]]:
    """Return both documents as one, and the paths of values that both of them have.

    Lists are joined, and so are the keys of mappings. Elsewhere `first` wins.
    """
    values = dict(first.values)
    moved: dict[KeyPath, KeyPath] = {}
    lost: list[KeyPath] = []
    for key, theirs in second.values.items():
        ours = values.get(key)
        if key not in values:
            values[key] = theirs
            moved[key,] = (key,)
        elif isinstance(ours, list) and isinstance(theirs, list):
            values[key] = [*ours, *theirs]
            moved.update({(key, index): (key, len(ours) + index) for index in range(len(theirs))})
        elif isinstance(ours, dict) and isinstance(theirs, dict):
            values[key] = {**ours, **{name: item for name, item in theirs.items() if name not in ours}}
            moved.update({(key, name): (key, name) for name in theirs if name not in ours})
            lost.extend((key, name) for name in theirs if name in ours)
        else:
            lost.append((key,))
    marks = dict(first.marks)
    for path, mark in second.marks.items():
        for length in (1, 2):
            if path[:length] in moved:
                marks[(*moved[path[:length]], *path[length:])] = mark
                break
    return YAMLDocument(values, marks), tuple(lost)
