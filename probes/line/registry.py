"""The syntaxes of configuration files, in one table, and the functions that everybody calls."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from config.model import ConfigLine
from config.text import Printable, printable, sentence
from config.vocabulary import LineState, LineSyntax
from probes.line import lighttpd, xml
from probes.line.syntax import LARGEST, CannotEdit, LineReading, OddFileError, Syntax

_SMALLER: Final = Printable("make it smaller, such as by taking out comments")
SYNTAXES: Final[Mapping[LineSyntax, Syntax]] = MappingProxyType(
    {LineSyntax.LIGHTTPD: lighttpd.SYNTAX, LineSyntax.XML: xml.SYNTAX}
)


def read_line(data: bytes, line: ConfigLine) -> LineReading:
    """Return whether a configuration file with this content names the chain; never raises."""
    if len(data) > LARGEST:
        return LineReading(LineState.UNCLEAR, _too_large(), cure=_SMALLER, is_odd=True)
    try:
        return SYNTAXES[line.syntax].read(data, line)
    except OddFileError as error:
        return LineReading(LineState.UNCLEAR, error.why, cure=error.cure, is_odd=True)


def edit_line(data: bytes, line: ConfigLine, *, wanted: bool) -> bytes | CannotEdit:
    """Return the file with the line, or without it where it is not `wanted`, every other byte as it is.

    A file that is so already comes back as it is. The result is read once more before it is returned.
    """
    if len(data) > LARGEST:
        return CannotEdit(_too_large(), _SMALLER)
    syntax, goal = SYNTAXES[line.syntax], LineState.PRESENT if wanted else LineState.ABSENT
    try:
        reading = syntax.read(data, line)
        if _is(reading, goal):
            return data
        if reading.state is LineState.OTHER:
            cure = sentence("change it to {}", by_hand(line)) if wanted else Printable("take it out of the file")
            return CannotEdit(sentence("it sets {} to {} already", printable(line.setting), reading.detail), cure)
        if reading.state is LineState.UNCLEAR and not reading.absent:
            return CannotEdit(reading.detail, reading.cure)
        edited = (syntax.put if wanted else syntax.take)(data, line)
        after = syntax.read(edited, line)
    except OddFileError as error:
        return CannotEdit(error.why, error.cure)
    return edited if _is(after, goal) else CannotEdit(Printable("after the edit it would not say what it should"))


def _is(reading: LineReading, goal: LineState) -> bool:
    return reading.state is goal or (goal is LineState.ABSENT and reading.absent)


def included(data: bytes, line: ConfigLine) -> tuple[str, ...]:
    """Return the patterns of further files that are a part of this one; none where it is not understood."""
    try:
        return () if len(data) > LARGEST else SYNTAXES[line.syntax].included(data, line)
    except OddFileError:
        return ()


def by_hand(line: ConfigLine) -> Printable:
    """Return the line as a person adds it, with its place."""
    return printable(SYNTAXES[line.syntax].text(line), 5000)


def _too_large() -> Printable:
    return sentence("it is larger than {} bytes", LARGEST)
