"""The terms of every syntax: a reading of a configuration line, and why a file is not edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from config.immutable import immutable
from config.model import ConfigLine
from config.text import Printable, printable
from config.vocabulary import LineState

LARGEST: Final = 256 * 1024
"""Bytes of a configuration file; a larger one is neither read nor edited. It is parsed while others wait."""
KEPT: Final = 8
"""Parsed files that a syntax remembers, so that one plan parses each file once."""


_NOTHING: Final = Printable("")


@immutable
class LineReading:
    """Whether a configuration file names the chain."""

    state: LineState
    detail: Printable = _NOTHING
    """Of `OTHER` the value that is there instead, of `UNCLEAR` why it cannot be told."""
    absent: bool = False
    """Of `UNCLEAR`: this file does not have the setting, and another one that is a part of it may have it."""
    cure: Printable = _NOTHING
    """Of `UNCLEAR` what a person does so that the file can be edited, an imperative."""
    is_odd: bool = False
    """Of `UNCLEAR`: it is no file of that syntax, or too large for one, and may have nothing to do with the setting."""


@immutable
class CannotEdit:
    """Why a file is not edited: the end of a sentence, printable."""

    why: Printable
    cure: Printable = _NOTHING
    """What a person does first, an imperative; empty where to write the line by hand is enough (`by_hand`)."""


class OddFile(NamedTuple):
    """Why a file is not understood, and the cure."""

    why: str
    cure: str = ""


class OddFileError(Exception):
    """A file is not understood, or not edited; the message is the end of a sentence, printable.

    The cure is an imperative; empty where it is enough that a person edits the line.
    """

    def __init__(self, why: str, cure: str = "") -> None:
        super().__init__(why)
        self.cure: Printable = printable(cure, 500)

    @property
    def why(self) -> Printable:
        """The message."""
        return printable(str(self), 500)


@immutable
class Syntax:
    """How one kind of configuration file is read and edited; each function raises OddFileError."""

    read: Callable[[bytes, ConfigLine], LineReading]
    """Returns whether the setting has the wanted value."""
    put: Callable[[bytes, ConfigLine], bytes]
    """Returns the file with the line added; it is not there."""
    take: Callable[[bytes, ConfigLine], bytes]
    """Returns the file without the line, which is there."""
    included: Callable[[bytes, ConfigLine], tuple[str, ...]]
    """Returns the patterns of paths of further files that are read as a part of this one."""
    text: Callable[[ConfigLine], str]
    """Returns the line as a person would write it, and where."""
