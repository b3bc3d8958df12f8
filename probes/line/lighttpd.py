"""Configuration files of lighttpd 1.4: statements by position, as its own tokenizer and grammar see them.

A file is text of single bytes. A setting belongs beside the `ssl.pemfile` of the certificate, in the same block: older
versions do not inherit it from the global scope.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple, NoReturn

from config.immutable import immutable
from config.model import ConfigLine
from config.text import Printable, printable, sentence
from config.vocabulary import LineState
from probes.line.syntax import KEPT, LineReading, OddFile, OddFileError, Syntax

_BESIDE: Final = "ssl.pemfile"
"""The setting with the certificate, beside which the chain is set."""
_TOKEN: Final = re.compile(
    # Blanks and comments.
    r"(?:[ \t]|\xc2\xa0|\#[^\r\n]*+)*+"
    r"(?:(?P<end>\r\n|\r|\n)"
    # A backslash counts before a quotation mark alone.
    r'|(?P<string>"(?>\\"|[^"\0])*+")'
    r"|(?P<sign>\+=|:=|=>|==|=~|=\^|=\$|!=|!~|[=+(){}\[\],$])"
    r"|(?P<word>[A-Za-z0-9._-]++)|\Z)"
)
_MARK: Final = "\xef\xbb\xbf"
"""A byte order mark, as single bytes."""
_ASSIGNS: Final = frozenset({"=", "+=", ":="})
_INCLUDES: Final = frozenset({"include", "include_shell"})
_NEST: Final = 100
"""Blocks and brackets within each other."""
_MOST: Final = 256
"""Statements about the line, or beside which it could belong."""
_UNWRITABLE: Final = re.compile(r'["\\\x00-\x1f\x7f]')


class ConfigToken(NamedTuple):
    """A word, a text, a sign or the end of a line."""

    kind: str
    text: str
    start: int
    end: int


@immutable
class _Statement:
    key: str
    sign: str
    value: str | None
    """None where it is no single text."""
    block: tuple[int, ...]
    """The blocks around it, by their numbers from outside in; empty in the global scope."""
    start: int
    end: int


@immutable
class _File:
    text: str
    statements: tuple[_Statement, ...]
    """Those about one setting, and those beside which it belongs."""
    includes: tuple[str, ...]
    """The pattern of each included file; empty for a command, and for a pattern that is no single text."""

    def of(self, key: str) -> list[_Statement]:
        """Return the statements about a setting."""
        return [each for each in self.statements if each.key == key]

    def beside(self, line: ConfigLine) -> list[_Statement]:
        """Return the statements beside which the line belongs."""
        every = self.of(_BESIDE)
        return [each for each in every if each.value == _as_bytes(line.certificate)] or every

    def is_alone(self, statement: _Statement) -> bool:
        """Whether nothing but blanks stands before a statement on its line, and at most a comment behind it."""
        before = self.text[self.begin_of(statement) : statement.start]
        behind = self.text[statement.end : self._stop_of(statement)]
        return not before.strip(" \t") and (not behind.strip(" \t") or behind.lstrip(" \t").startswith("#"))

    def begin_of(self, statement: _Statement) -> int:
        """Return where the line of a statement begins."""
        begin = max(self.text.rfind("\n", 0, statement.start), self.text.rfind("\r", 0, statement.start)) + 1
        return len(_MARK) if not begin and self.text.startswith(_MARK) else begin

    def _stop_of(self, statement: _Statement) -> int:
        """Return where the line of a statement stops, before the characters that end it."""
        found = re.compile(r"[\r\n]").search(self.text, statement.end)
        return len(self.text) if found is None else found.start()

    def behind(self, statement: _Statement) -> tuple[int, str]:
        """Return where the next line begins, and the characters that end the line; empty for the last line."""
        stop = self._stop_of(statement)
        ending = self.text[stop : stop + 2] if self.text.startswith("\r\n", stop) else self.text[stop : stop + 1]
        return stop + len(ending), ending

    @property
    def ending(self) -> str:
        """The characters that end its first line."""
        found = re.search(r"\r\n|\r|\n", self.text)
        return "\n" if found is None else found[0]


def tokens(text: str) -> Iterator[ConfigToken]:
    """Yield the tokens of a file, whose bytes are single characters; raises OddFileError."""
    at, match = len(_MARK) if text.startswith(_MARK) else 0, _TOKEN.match
    while (found := match(text, at)) is not None:
        kind = found.lastgroup
        if kind is None:
            return
        at = found.end()
        yield ConfigToken(kind, found[kind], found.start(kind), at)
    raise OddFileError(f"its line {text.count(chr(10), 0, at) + 1} is not understood", "correct this line")


class _Parser:
    """Finds the statements about a setting in the tokens of a file; raises OddFileError."""

    def __init__(self, text: str, setting: str) -> None:
        self._text = text
        self._wanted = frozenset({setting, _BESIDE})
        self._tokens = tokens(text)
        self._ahead = next(self._tokens, None)
        self._statements: list[_Statement] = []
        self._includes: list[str] = []
        self._blocks: list[int | None] = []
        """The number of each open block; None for `global`, which is no block."""
        self._numbers = 0

    def parsed(self) -> _File:
        """Return the file."""
        is_global = False
        while (token := self._next()) is not None:
            follows = self._peek()
            if token.kind == "word" and follows is not None and follows.text in _ASSIGNS and follows.kind == "sign":
                self._assignment(token, follows)
            elif token.kind == "word" and token.text in _INCLUDES:
                value, _ = self._value()
                self._includes.append("" if value is None or token.text != "include" else value)
            elif token.text == "$":
                self._condition()
            elif token.text == "{":
                self._open(None if is_global else self._number())
            elif token.text == "}":
                if not self._blocks:
                    self._odd(token)
                self._blocks.pop()
            elif (token.kind not in {"end", "word"} and token.text != ",") or (
                token.kind == "word" and token.text not in {"else", "global", "if", "elif", "elsif", "elseif"}
            ):
                self._odd(token)
            is_global = token.text == "global" or (is_global and token.kind == "end")
        if self._blocks:
            raise OddFileError("a block in it has no end", "end this block")
        return _File(self._text, tuple(self._statements), tuple(self._includes))

    def _peek(self) -> ConfigToken | None:
        return self._ahead

    def _next(self) -> ConfigToken | None:
        token = self._ahead
        if token is not None:
            self._ahead = next(self._tokens, None)
        return token

    def _need(self) -> ConfigToken:
        token = self._next()
        if token is None:
            raise OddFileError("it ends amid a statement", "complete its last statement")
        return token

    def _odd(self, token: ConfigToken) -> NoReturn:
        why = f"its line {self._text.count(chr(10), 0, token.start) + 1} is not understood"
        raise OddFileError(why, "correct this line")

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _open(self, number: int | None) -> None:
        self._blocks.append(number)
        if len(self._blocks) > _NEST:
            raise OddFileError("it has too many blocks within each other", "take some of them out")

    def _assignment(self, key: ConfigToken, sign: ConfigToken) -> None:
        self._next()
        value, end = self._value()
        if key.text not in self._wanted:
            return
        if len(self._statements) >= _MOST:
            raise OddFileError(f"it has more than {_MOST} statements about certificates")
        block = tuple(each for each in self._blocks if each is not None)
        self._statements.append(_Statement(key.text, sign.text, value, block, key.start, end))

    def _value(self) -> tuple[str | None, int]:
        """Take a value, and return it where it is one text, and where it ends."""
        first = last = self._operand()
        parts = 1
        while (follows := self._peek()) is not None and follows.text == "+":
            self._next()
            last, parts = self._operand(), parts + 1
        text = first.text[1:-1].replace('\\"', '"') if parts == 1 and first.kind == "string" else None
        return text, last.end

    def _operand(self) -> ConfigToken:
        token = self._need()
        if token.kind in {"string", "word"}:
            return token
        if token.text != "(":
            self._odd(token)
        depth = 1
        while depth:
            token = self._need()
            if token.kind == "sign":
                depth += (token.text == "(") - (token.text == ")")
            if depth > _NEST:
                raise OddFileError("it has too many brackets within each other", "take some of them out")
        return token

    def _condition(self) -> None:
        """Take what stands between `$` and the block."""
        while (token := self._need()).text != "{" or token.kind != "sign":
            if token.text in {"}", "=", "("} and token.kind == "sign":
                self._odd(token)
        self._open(self._number())


def _parse(data: bytes, setting: str) -> _File:
    found = _parsed(data, setting)
    if isinstance(found, OddFile):
        raise OddFileError(*found)
    return found


@lru_cache(maxsize=KEPT)
def _parsed(data: bytes, setting: str) -> _File | OddFile:
    """Return the file, or why it is not understood, and the cure."""
    text = data.decode("latin-1")
    if "\0" in text:
        return OddFile("it is no text", "put back a file that is text")
    try:
        return _Parser(text, setting).parsed()
    except OddFileError as error:
        return OddFile(error.why, error.cure)


def _are_related(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether one of two blocks is the other, or around it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _read(data: bytes, line: ConfigLine) -> LineReading:
    file = _parse(data, line.setting)
    found = file.of(line.setting)
    if not found:
        if file.includes:
            why = sentence("it includes other files, which may set {}", printable(line.setting))
            return LineReading(LineState.UNCLEAR, why, absent=True)
        return LineReading(LineState.ABSENT)
    if any(each.sign == "+=" for each in found):
        return _unclear(line, Printable("is added to with +="), sentence("write it as one line: {}", _by_hand(line)))
    if any(each.value is None for each in found):
        what = Printable("is put together of several parts")
        return _unclear(line, what, sentence("write it as one text: {}", _by_hand(line)))
    if len({each.block for each in found}) < len(found):
        return _unclear(line, Printable("is set twice"), Printable("leave one of them"))
    others = dict.fromkeys(str(each.value) for each in found if each.value != _as_bytes(line.value))
    if others:
        value = next(iter(others)).encode("latin-1").decode("utf-8", "replace")
        return LineReading(LineState.OTHER, printable(value, 500))
    beside = file.beside(line)
    if not all(any(_are_related(one.block, each.block) for each in found) for one in beside):
        what = Printable("is set in another block than the certificate")
        return _unclear(line, what, sentence("move it: {}", _by_hand(line)))
    return LineReading(LineState.PRESENT)


def _unclear(line: ConfigLine, what: Printable, cure: Printable) -> LineReading:
    return LineReading(LineState.UNCLEAR, sentence("in it {} {}", printable(line.setting), what), cure=cure)


def _by_hand(line: ConfigLine) -> Printable:
    return printable(_shown(line), 5000)


def _put(data: bytes, line: ConfigLine) -> bytes:
    file = _parse(data, line.setting)
    beside = file.beside(line)
    if not beside:
        last = "" if not file.text or file.text.endswith(("\r", "\n")) else file.ending
        # An empty file, and one of a mark alone, have no line that could lack its end.
        begun = file.text.removeprefix(_MARK)
        return data + (f"{last if begun else ''}{_text(line)}{'' if last and begun else file.ending}").encode("latin-1")
    if len(beside) > 1 and any(each.value != _as_bytes(line.certificate) for each in beside):
        raise OddFileError(f"it sets {_BESIDE} several times, never to {printable(line.certificate)}")
    if not all(map(file.is_alone, beside)):
        raise OddFileError(f"{_BESIDE} does not stand on a line of its own")
    text = file.text
    for each in sorted(beside, key=lambda each: each.start, reverse=True):
        indent = text[file.begin_of(each) : each.start]
        at, ending = file.behind(each)
        added = f"{indent}{_text(line)}{ending}" if ending else f"{file.ending}{indent}{_text(line)}"
        text = text[:at] + added + text[at:]
    return text.encode("latin-1")


def _take(data: bytes, line: ConfigLine) -> bytes:
    file = _parse(data, line.setting)
    found = file.of(line.setting)
    if not all(map(file.is_alone, found)):
        raise OddFileError(f"{printable(line.setting)} does not stand on a line of its own")
    text = file.text
    for each in sorted(found, key=lambda each: each.start, reverse=True):
        begin, (at, ending) = file.begin_of(each), file.behind(each)
        if text[each.end : at].strip():
            # A comment of somebody's stays.
            text = text[: each.start] + text[each.end :].lstrip(" \t")
        elif ending or not begin:
            text = text[:begin] + text[at:]
        else:
            before = text[:begin]
            text = before.removesuffix("\r\n") if before.endswith("\r\n") else before[:-1] if begin else before
    return text.encode("latin-1")


def _text(line: ConfigLine) -> str:
    if _UNWRITABLE.search(line.value):
        raise OddFileError(
            "the path of the chain cannot be written into it",
            "choose another path for the chain, in the configuration of certvigil",
        )
    return f'{line.setting} = "{_as_bytes(line.value)}"'


def _as_bytes(path: str) -> str:
    """Return a path as the text of its single bytes, whatever they mean."""
    return path.encode("utf-8", "surrogateescape").decode("latin-1")


def _included(data: bytes, line: ConfigLine) -> tuple[str, ...]:
    patterns = _parse(data, line.setting).includes
    return tuple(each.encode("latin-1").decode("utf-8", "surrogateescape") for each in patterns)


def _shown(line: ConfigLine) -> str:
    return f'{line.setting} = "{line.value}" beside {_BESIDE}'


SYNTAX: Final = Syntax(_read, _put, _take, _included, _shown)
