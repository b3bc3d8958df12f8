"""Text from certificates, servers and files is hostile: `Printable` is text that is safe to print.

`printable` makes it of text from outside, `sentence` of a template and parts that are safe. A screen and a line of the
log take nothing else, so that mypy finds the place where text from outside was forgotten. Mypy cannot tell a literal
from other text, so a test sees to it that templates, and texts that are called `Printable` elsewhere, are literals.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NewType, Protocol

from config.command_reach import completed_template

Printable = NewType("Printable", str)
"""Text without a character that moves a cursor, breaks a line or reverses reading order."""
Shown = Printable | StrEnum | int | float
"""The possible parts of a sentence; the values of a `StrEnum` are our own literals."""

_PLAIN: Final = re.compile(r"[ -\[\]-~]*\Z")
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Log(Protocol):
    """A `logging.Logger` that takes printable parts alone; the message is a literal."""

    def debug(self, message: str, /, *parts: Shown) -> None:
        """Log at this level, as the next do."""

    def info(self, message: str, /, *parts: Shown) -> None: ...  # noqa: D102 (as above)

    def warning(self, message: str, /, *parts: Shown) -> None: ...  # noqa: D102

    def critical(self, message: str, /, *parts: Shown, exc_info: BaseException | None = None) -> None: ...  # noqa: D102

    def error(  # noqa: D102
        self, message: str, /, *parts: Shown, exc_info: BaseException | None = None
    ) -> None: ...

    def exception(self, message: str, /, *parts: Shown) -> None:
        """Log an error, with the exception that is handled."""

    def log(self, level: int, message: str, /, *parts: Shown, exc_info: BaseException | None = None) -> None:
        """Log at a level."""


def printable(text: str, limit: int = 1024) -> Printable:
    r"""Return `text` without a character that moves a cursor, breaks a line or reverses reading order.

    Control, format (bidirectional overrides included), surrogate, private and unassigned characters become `\xNN`,
    `\uNNNN` or `\UNNNNNNNN`, a backslash becomes two. Longer text than `limit` characters is cut and ends in `…`.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if _PLAIN.match(text):
        return Printable(text)
    return Printable("".join(map(_escaped, text)))


def harmless(text: str) -> Printable:
    r"""Return `text` as `printable` does, but whole, and with its backslashes left alone, as in text that was escaped.

    Printable text stays as it is, whether or not the program that gave it has escaped it.
    """
    if text.isprintable():
        return Printable(text)
    return Printable("".join(each if each == "\\" else _escaped(each) for each in text))


def sentence(template: str, *parts: Shown) -> Printable:
    """Return a literal with `{}` where the parts go, in the manner of `str.format`.

    The commands of certvigil that the literal names get the options by which they reach it; parts stay as they are.
    """
    return Printable(completed_template(template).format(*parts))


def listed(parts: Iterable[Shown], separator: str = ", ") -> Printable:
    """Return the parts one after the other, with a literal between them."""
    return Printable(separator.join(map(str, parts)))


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
