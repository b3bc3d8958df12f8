"""How many steps a backtracking matcher takes for a regular expression, counted and not timed, and its worst texts.

Python's own matcher tells nobody how long it looked. This one goes by the same parse tree, in the same order.
"""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

SHORT, LONG = 150, 300
_FIRST_SHORT, _FIRST_LONG = 16, 32
MOST: Final = 2.6
"""By how much the steps may grow with a text of twice the length: 2 is linear time, 4 quadratic."""
_CATEGORIES: Final = {
    op.CATEGORY_DIGIT: r"\d",
    op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_WORD: r"\W",
}
_ONE: Final = frozenset({op.LITERAL, op.NOT_LITERAL, op.ANY, op.RANGE, op.CATEGORY, op.IN})
"""What takes one character, in one way."""
_REPEATS: Final = frozenset({op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT})
_LETTERS: Final = "ax0 =-.\t\n\r/:,;\\\"'<>()[]{}\x00\x85é!"
_PUMPS: Final = 40
_TOO_MANY: Final = 50_000

Node = tuple[Any, Any]


class _TooManyError(Exception):
    """It takes more steps than anybody counts."""


class Steps:
    """A pattern, and the steps that it took."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        text = pattern.pattern
        self._flags: Final = pattern.flags
        self.tree: Final[Sequence[Node]] = parser.parse(
            text.decode("latin-1") if isinstance(text, bytes) else text, pattern.flags & ~re.UNICODE
        )
        self._taken = 0
        self._groups: dict[int, tuple[int, int]] = {}
        self._text = ""
        self._fitting: dict[tuple[int, str], tuple[Node, bool]] = {}
        """By node and letter; a node that is kept has its identity for good."""

    def count(self, text: str, use: str) -> int:
        """Return the steps for `text`, a bounded number; `use` is the name of a pattern's method."""
        self._taken = 0
        with suppress(_TooManyError):
            for _ in self.ends(text, use):
                pass
        return self._taken

    def ends(self, text: str, use: str = "finditer") -> Iterator[int]:
        """Yield where each match ends, one at most for a use that finds one."""
        self._text, at = text, 0
        tree = [*self.tree, (op.AT, op.AT_END_STRING)] if use == "fullmatch" else [*self.tree]
        while at <= len(text):
            self._taken += 1
            self._groups = {}
            end = next(self._sequence(tree, 0, at), None)
            if end is not None:
                yield end
            if use in {"match", "fullmatch"} or (use == "search" and end is not None):
                return
            at = at + 1 if end is None else max(end, at + 1)

    def _sequence(self, nodes: Sequence[Node], number: int, at: int) -> Iterator[int]:
        size, length = len(nodes), len(self._text)
        while number < size and nodes[number][0] in _ONE:
            self._step()
            if at == length or not self.fits(nodes[number], self._text[at]):
                return
            number, at = number + 1, at + 1
        if number == size:
            yield at
            return
        for end in self._node(nodes[number], at):
            if number + 1 == size:
                yield end
            else:
                yield from self._sequence(nodes, number + 1, end)

    def _step(self) -> None:
        self._taken += 1
        if self._taken > _TOO_MANY:
            raise _TooManyError

    def _node(self, node: Node, at: int) -> Iterator[int]:  # noqa: C901, PLR0912 (a row for each kind of node)
        kind, given = node
        self._step()
        if kind in _REPEATS:
            least, most, inner = given
            yield from self._repeat(kind, least, most, inner.data, at)
        elif kind is op.SUBPATTERN:
            group, _, _, inner = given
            for end in self._sequence(inner.data, 0, at):
                if group is not None:
                    self._groups[group] = (at, end)
                yield end
        elif kind is op.BRANCH:
            for each in given[1]:
                yield from self._sequence(each.data, 0, at)
        elif kind is op.ATOMIC_GROUP:
            yield from self._first(given.data, at)
        elif kind in {op.ASSERT, op.ASSERT_NOT}:
            way, inner = given
            start = at if way > 0 else at - inner.getwidth()[0]
            found = start >= 0 and any(way > 0 or end == at for end in self._sequence(inner.data, 0, start))
            if found is (kind is op.ASSERT):
                yield at
        elif kind is op.GROUPREF:
            start, end = self._groups.get(given, (0, 0))
            self._taken += end - start
            if self._text.startswith(self._text[start:end], at):
                yield at + end - start
        elif kind is op.AT:
            if self._is_at(given, at):
                yield at
        else:
            raise AssertionError(f"a kind of node that is not known: {kind}")

    def _first(self, nodes: Sequence[Node], at: int) -> Iterator[int]:
        end = next(self._sequence(nodes, 0, at), None)
        if end is not None:
            yield end

    def _repeat(self, kind: Any, least: int, most: int, inner: Sequence[Node], at: int) -> Iterator[int]:
        if kind is op.POSSESSIVE_REPEAT:
            end = next(self._repeat(op.MAX_REPEAT, least, most, inner, at), None)
            if end is not None:
                yield end
            return
        if kind is op.MAX_REPEAT and len(inner) == 1 and inner[0][0] in _ONE:
            yield from self._most(least, most, inner[0], at)
            return
        ends, ways = [at], [self._sequence(inner, 0, at)]
        if kind is op.MIN_REPEAT and not least:
            yield at
        while ways:
            further = next(ways[-1], None) if len(ways) <= most else None
            if further is not None:
                if further == ends[-1] and len(ways) > least:
                    continue
                ends.append(further)
                ways.append(self._sequence(inner, 0, further))
                if kind is op.MIN_REPEAT and len(ways) > least:
                    yield further
                continue
            end = ends.pop()
            ways.pop()
            self._taken += 1
            if kind is op.MAX_REPEAT and len(ways) >= least:
                yield end

    def _most(self, least: int, most: int, node: Node, at: int) -> Iterator[int]:
        """Repeat what takes one character, which leads to the same end in no two ways."""
        end, last = at, min(len(self._text), at + most)
        while end < last and self.fits(node, self._text[end]):
            end += 1
            self._step()
        for each in range(end, at + least - 1, -1):
            self._step()
            yield each

    def _is_at(self, where: Any, at: int) -> bool:
        text, size = self._text, len(self._text)
        if where is op.AT_BEGINNING_STRING or (where is op.AT_BEGINNING and not self._flags & re.MULTILINE):
            return at == 0
        if where is op.AT_BEGINNING:
            return at == 0 or text[at - 1] == "\n"
        if where is op.AT_END_STRING:
            return at == size
        if where is op.AT_END:
            return at == size or text[at:] == "\n" or bool(self._flags & re.MULTILINE and text[at] == "\n")
        before, behind = (bool(re.match(r"\w", each)) for each in (text[max(0, at - 1) : at], text[at : at + 1]))
        return (before is not behind) is (where is op.AT_BOUNDARY)

    def fits(self, node: Node, letter: str) -> bool:
        """Whether a node that takes one character takes this one."""
        found = self._fitting.get((id(node), letter))
        if found is None:
            either = {letter.lower(), letter.upper()} if self._flags & re.IGNORECASE else {letter}
            found = node, any(len(each) == 1 and self._takes(node, each) for each in either)
            self._fitting[id(node), letter] = found
        return found[1]

    def _takes(self, node: Node, letter: str) -> bool:
        kind, given = node
        match kind:
            case op.LITERAL:
                return bool(ord(letter) == given)
            case op.NOT_LITERAL:
                return bool(ord(letter) != given)
            case op.ANY:
                return bool(self._flags & re.DOTALL) or letter != "\n"
            case op.RANGE:
                return bool(given[0] <= ord(letter) <= given[1])
            case op.CATEGORY:
                return re.match(_CATEGORIES[given], letter, self._flags & re.ASCII) is not None
            case op.IN:
                negated = given[0][0] is op.NEGATE
                return any(self._takes(each, letter) for each in given[negated:]) is not negated
        raise AssertionError(f"a kind of node that is not known: {kind}")


def may_be_slow(pattern: re.Pattern[Any], use: str) -> bool:
    """Whether a pattern has unbounded repetitions enough that its time could grow faster than the text."""
    number, nested = _unbounded(Steps(pattern).tree)
    return nested or number > (1 if use in {"match", "fullmatch"} else 0)


def _unbounded(nodes: Sequence[Node]) -> tuple[int, bool]:
    """Return the number of unbounded repetitions, and whether one stands within another."""
    number, nested = 0, False
    for kind, given in nodes:
        inner = _inner(kind, given)
        counts = [_unbounded(each) for each in inner]
        number += sum(each for each, _ in counts)
        nested |= any(each for _, each in counts)
        if kind in _REPEATS and given[1] is op.MAXREPEAT:
            # Some branch of what is repeated may take what several repetitions of another take.
            nested |= any(each for each, _ in counts) or _varies(inner)
            number += 1
    return number, nested


def _varies(nodes: Sequence[Sequence[Node]]) -> bool:
    return any(
        kind is op.BRANCH or kind in _REPEATS or _varies(_inner(kind, given)) for each in nodes for kind, given in each
    )


def _inner(kind: Any, given: Any) -> Sequence[Sequence[Node]]:
    if kind in _REPEATS:
        return (given[2],)
    if kind is op.SUBPATTERN:
        return (given[3],)
    if kind is op.BRANCH:
        return tuple(given[1])
    if kind is op.ATOMIC_GROUP:
        return (given,)
    if kind in {op.ASSERT, op.ASSERT_NOT}:
        return (given[1],)
    return ()


def worst(pattern: re.Pattern[Any], use: str) -> str | None:
    """Return a text for which the steps grow faster than its length, as Python writes it; None where none was found."""
    steps = Steps(pattern)
    for begin, unit, end in _texts(steps):
        for short, long in ((_FIRST_SHORT, _FIRST_LONG), (SHORT, LONG)):
            counts = [steps.count(begin + unit * each + end, use) for each in (short, long)]
            if counts[1] > _TOO_MANY:
                return f"{begin!r} + {unit!r} * {long} + {end!r}"
            if counts[1] <= MOST * counts[0]:
                break
        else:
            return f"{begin!r} + {unit!r} * n + {end!r}"
    return None


def _texts(steps: Steps) -> Iterator[tuple[str, str, str]]:
    """Yield beginnings, repeated units and ends: what parts of the pattern take, and single characters."""
    begins = [_taken(steps, steps.tree[:number], {}) for number in _seams(steps.tree)]
    units = [*_single(steps, steps.tree), *_parts(steps, steps.tree)]
    for begin in dict.fromkeys(begins):
        for unit in list(dict.fromkeys(filter(None, units)))[:_PUMPS]:
            for end in ("", "z", "\x01"):
                yield begin, unit, end


def _single(steps: Steps, nodes: Sequence[Node]) -> Iterator[str]:
    for kind, given in nodes:
        inner = _inner(kind, given)
        for each in inner:
            yield from _single(steps, each)
        if kind in {op.IN, op.ANY, op.LITERAL, op.NOT_LITERAL}:
            yield _letter(steps, (kind, given))


def _parts(steps: Steps, nodes: Sequence[Node]) -> Iterator[str]:
    seams = _seams(nodes)
    for number, begin in enumerate(seams):
        for end in reversed(seams[number + 1 :]):
            yield _taken(steps, nodes[begin:end], {})
    for kind, given in nodes:
        for each in _inner(kind, given):
            yield from _parts(steps, each)


def _seams(nodes: Sequence[Node]) -> list[int]:
    """Return the places between nodes, but for those within a word."""
    return [
        each
        for each in range(len(nodes) + 1)
        if each in {0, len(nodes)} or not nodes[each - 1][0] is nodes[each][0] is op.LITERAL
    ]


def _letter(steps: Steps, node: Node) -> str:
    usual = (each for each in _LETTERS if steps.fits(node, each))
    return next(usual, None) or next(chr(each) for each in range(0x3000) if steps.fits(node, chr(each)))


def _taken(steps: Steps, nodes: Sequence[Node], groups: dict[int, str]) -> str:
    """Return a text that these nodes take, of each repetition as little as there may be, but once."""
    taken = ""
    for kind, given in nodes:
        if kind in _REPEATS:
            least, most, inner = given
            taken += _taken(steps, inner, groups) * max(least, min(1, most))
        elif kind is op.SUBPATTERN:
            text = _taken(steps, given[3], groups)
            groups[given[0]] = text
            taken += text
        elif kind is op.BRANCH:
            taken += _taken(steps, given[1][0], groups)
        elif kind is op.ATOMIC_GROUP:
            taken += _taken(steps, given, groups)
        elif kind is op.GROUPREF:
            taken += groups.get(given, "")
        elif kind not in {op.AT, op.ASSERT, op.ASSERT_NOT}:
            taken += _letter(steps, (kind, given))
    return taken
