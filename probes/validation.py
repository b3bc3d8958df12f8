"""Looking at the line of a client's configuration that turns its validation of certificates off."""

from __future__ import annotations

from typing import Final

from config.catalogue import NAMED_CURE
from config.expected import ValidationSwitch
from config.immutable import immutable
from config.text import Printable, harmless, printable, sentence
from probes.opening import read_as_ourselves
from probes.properties import LARGEST, value_of

_NOTHING: Final = Printable("")


@immutable
class SwitchReading:
    """What a client's configuration says."""

    validates: bool
    disabled: Printable = _NOTHING
    """The line that turns validation off, and its cure: a clause; empty where the client validates."""


@immutable
class SwitchUnreadable:
    """The file of a switch gave no facts."""

    path: str
    detail: str


def read_switch(switch: ValidationSwitch) -> SwitchReading | SwitchUnreadable:
    """Return whether the client validates now, as the file at `switch.file` says."""
    try:
        data = read_as_ourselves(switch.file, LARGEST)
    except OSError as error:
        return SwitchUnreadable(switch.file, error.strerror or "cannot be read")
    return judge_switch(switch, data)


def judge_switch(switch: ValidationSwitch, data: bytes) -> SwitchReading:
    """Return whether the client validates where its file holds `data`."""
    written = value_of(data, switch.key)
    value = switch.default if written is None else written
    if value is None or value.strip('"').casefold() != switch.disables.casefold():
        return SwitchReading(validates=True)
    path, key = printable(switch.file, 4096), printable(switch.key)
    line = sentence("{} says {}={}", path, key, printable(value))
    if written is None:
        line = sentence("{} has no line {}, and then it is {}", path, key, printable(value))
    cure = sentence("give {} in {} another value than {}", key, path, printable(switch.disables))
    return SwitchReading(validates=False, disabled=sentence("{}{}{}", line, harmless(NAMED_CURE), cure))
