"""Patterns that stand for several names, and regular expressions that take little time on hostile text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from re import _parser  # the tree of an expression, which nothing public shows
from typing import Any, Final

from config.label import MOST_LABELS, is_label_name
from config.text import printable


def is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of `patterns` is `name`, or stands for it with `*`, `?` and `[...]`.

    A name stands for itself whatever is in it: `[::1]:443` is an address.
    """
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


LONGEST_EXPRESSION: Final = 1_000
_MOST_PER_NAME: Final = 2
_MOST_OVER_SLASHES: Final = 1
_MOST_MORE: Final = 2
"""Choices of an expression beside one for each name on the path: with more, a hostile path could take for ever."""


def expression_for_paths(text: str) -> re.Pattern[str]:
    """Return the compiled expression that whole paths are matched against; named groups give labels.

    Raises ValueError with what is expected instead. Of repetitions and alternatives, it has one for each name between
    two slashes, and few more, none within another: so the time for a path grows slowly, whoever has chosen its names.
    """
    if len(text) > LONGEST_EXPRESSION:
        raise ValueError(f"a regular expression of at most {LONGEST_EXPRESSION} characters")
    try:
        expression = re.compile(text)
        tokens = _parser.parse(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"a regular expression as Python reads it: {printable(str(error), 200)}") from None
    for name in expression.groupindex:
        if not is_label_name(name):
            raise ValueError(f"groups by the names of labels, which {printable(name, 64)} is not")
    if len(expression.groupindex) > MOST_LABELS:
        raise ValueError(f"at most {MOST_LABELS} named groups")
    choices = _choices(tokens)
    more = sum(max(0, each - 1) for each in choices.per_name) + choices.over_slashes
    many = max(choices.per_name) > _MOST_PER_NAME or choices.over_slashes > _MOST_OVER_SLASHES
    if many or more > _MOST_MORE:
        raise ValueError(
            f"at most {_MOST_PER_NAME} repetitions or alternatives for each name between two slashes, "
            f"{_MOST_OVER_SLASHES} that passes over slashes as .+ does, and {_MOST_MORE} more than one for each name"
        )
    return expression


_MOST_REPEATED: Final = 2
_MOST_WAYS: Final = 64


def is_simple(text: str) -> bool:
    """Whether a regular expression takes little time on any line: whose line it is, is unknown.

    It has at most two repetitions, or one where it may match anywhere, and repeats no group. Its alternatives make few
    ways together.
    """
    try:
        re.compile(text)
        tokens = list(_parser.parse(text))
        repeated, ways = _effort(tokens)
    except (re.error, RecursionError, OverflowError, ValueError):
        return False
    anywhere = not tokens or str(tokens[0][1]) not in {"AT_BEGINNING", "AT_BEGINNING_STRING"}
    return repeated + anywhere <= _MOST_REPEATED and ways <= _MOST_WAYS


def _effort(tokens: Iterable[tuple[Any, Any]]) -> tuple[int, int]:
    """Return how many repetitions there are, and how many ways the alternatives make; ValueError for anything else."""
    repeated, ways = 0, 1
    for operator, about in tokens:
        match str(operator):
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN" | "AT":
                inside = [(0, 1)]
            case "SUBPATTERN":
                inside = [_effort(about[3])]
            case "BRANCH":
                inside = [_effort(each) for each in about[1]]
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                _, most, what = about
                if int(most) <= 1:
                    inside = [(0, 1), _effort(what)]
                elif all(str(each) in _ONE_CHARACTER for each, _ in what):
                    inside = [(1, 1)]
                else:
                    raise ValueError("a group that is repeated")
            case _:
                raise ValueError("a reference, or a condition on what follows or precedes")
        repeated += sum(each for each, _ in inside)
        ways *= sum(each for _, each in inside)
    return repeated, ways


_ONE_CHARACTER: Final = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})


@dataclass(slots=True)
class _Choices:
    """The choices of an expression: in each name between two slashes, and those that may pass over slashes."""

    per_name: list[int]
    over_slashes: int = 0


def _choices(tokens: Iterable[tuple[Any, Any]]) -> _Choices:
    found = _Choices([0])
    _count(tokens, found)
    return found


def _count(tokens: Iterable[tuple[Any, Any]], found: _Choices) -> None:
    for operator, about in tokens:
        match str(operator):
            case "LITERAL":
                if about == ord("/"):
                    found.per_name.append(0)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, repeated = about
                if any(map(_is_choice, _flat(repeated))):
                    raise ValueError("no repetition and no alternative within a repetition")
                if (least, most) != (1, 1):
                    found.per_name[-1] += 1
                    found.over_slashes += int(most) > 1 and any(map(_may_be_slash, _flat(repeated)))
            case "SUBPATTERN":
                _count(about[3], found)
            case "BRANCH":
                found.per_name[-1] += 1
                if any(map(_is_choice, _flat(each for one in about[1] for each in one))):
                    raise ValueError("no repetition and no alternative within an alternative")
            case "NOT_LITERAL" | "ANY" | "IN" | "AT":
                pass
            case _:
                raise ValueError("an expression without references and without conditions on what follows or precedes")


def _flat(tokens: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield each token, those in groups, too."""
    for operator, about in tokens:
        if str(operator) == "SUBPATTERN":
            yield from _flat(about[3])
        else:
            yield str(operator), about


def _is_choice(token: tuple[str, Any]) -> bool:
    return token[0] not in {*_ONE_CHARACTER, "AT"}


def _may_be_slash(token: tuple[str, Any]) -> bool:
    operator, about = token
    slash = ord("/")
    if operator == "LITERAL":
        return bool(about == slash)
    if operator == "NOT_LITERAL":
        return bool(about != slash)
    if operator == "IN":
        inside = any(_covers_slash(str(kind), what) for kind, what in about)
        return inside != any(str(kind) == "NEGATE" for kind, _ in about)
    return True


def _covers_slash(kind: str, what: Any) -> bool:
    slash = ord("/")
    match kind:
        case "LITERAL":
            return bool(what == slash)
        case "RANGE":
            return bool(what[0] <= slash <= what[1])
        case "CATEGORY":
            return str(what) in {"CATEGORY_NOT_DIGIT", "CATEGORY_NOT_SPACE", "CATEGORY_NOT_WORD"}
        case _:
            return False
