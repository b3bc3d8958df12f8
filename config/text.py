"""Text from certificates, servers and files is hostile; this makes it safe to print."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_PLAIN: Final = re.compile(r"[ -\[\]-~]*\Z")
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, limit: int = 1024) -> str:
    r"""Return `text` without a character that moves a cursor, breaks a line or reverses reading order.

    Control, format (bidirectional overrides included), surrogate, private and unassigned characters become `\xNN`,
    `\uNNNN` or `\UNNNNNNNN`, a backslash becomes two. Longer text than `limit` characters is cut and ends in `…`.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if _PLAIN.match(text):
        return text
    return "".join(map(_escaped, text))


def harmless(text: str) -> str:
    r"""Return `text` as `printable` does, but whole and with its backslashes left alone: for what should be so already.

    What is printable stays as it is, so that a program that is asked may be trusted to have escaped it, or not.
    """
    return text if text.isprintable() else "".join(each if each == "\\" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
