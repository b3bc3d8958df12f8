"""A running Debian with certvigil, whatever runs it: commands, files, waiting."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

PATIENCE: Final = 300.0
"""Seconds for a command in the guest, where nothing else is said."""


class MachineError(Exception):
    """The machine, or something in it, did not do what it should have done: a sentence."""


class PowerIsCutError(MachineError):
    """The power was cut while an answer was waited for."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command in the guest."""

    argv: Sequence[str]
    status: int | None
    """None where its time was over."""
    output: str

    @property
    def json(self) -> Any:
        """The output, which is JSON; what comes before it, line by line, is passed over."""
        text = self.output
        for start in (0, *(at + 1 for at, each in enumerate(text) if each == "\n")):
            if text[start : start + 1] in {"{", "["}:
                return json.loads(text[start:])
        raise MachineError(f"`{' '.join(self.argv)}` ended with {self.status}, and printed no JSON: {text[-500:]}")


class Host(ABC):
    """Runs commands as root; leaving it ends it at once."""

    has_own_clock = True
    """Whether it has a kernel of its own, whose clock it may set."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Start it, and return once it takes commands; raises MachineError."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it at once."""
        self.cut()

    @abstractmethod
    def cut(self) -> None:
        """End it at once."""

    @abstractmethod
    def run(self, argv: Sequence[str], timeout: float = PATIENCE, given: bytes = b"") -> Ran:
        """Run a command as root and return what came of it; raises MachineError where nobody answers."""

    def sh(self, script: str, timeout: float = PATIENCE, given: bytes = b"") -> str:
        """Run a script of the shell that must succeed; return what it printed."""
        ran = self.run(["/bin/bash", "-euc", script], timeout, given)
        if ran.status != 0:
            raise MachineError(f"`{script[:300]}` ended with {ran.status}: {ran.output[-1500:]}")
        return ran.output

    def put(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        """Write a file of root's, by a rename, with the directories on its way."""
        script = 'mkdir -p "$(dirname "$0")" && umask 077 && cat >"$0.put" && chmod "$1" "$0.put" && mv "$0.put" "$0"'
        given = data.encode() if isinstance(data, str) else data
        ran = self.run(["/bin/sh", "-c", script, path, f"{mode:o}"], given=given)
        if ran.status != 0:
            raise MachineError(f"{path} could not be written: {ran.output}")

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return self.sh(f"cat {path}")

    def wait_for(self, script: str, what: str, within: float = PATIENCE) -> str:
        """Return what a script prints once it succeeds; raises MachineError after the given seconds."""
        deadline = time.monotonic() + within
        while True:
            begun = time.monotonic()
            ran = self.run(["/bin/bash", "-euc", script])
            if ran.status == 0:
                return ran.output
            if time.monotonic() > deadline:
                raise MachineError(f"not within {within:.0f} s: {what}; last: {ran.output[-500:]}")
            # Whoever asks all the time keeps a slow machine from what is waited for.
            time.sleep(0.3 + time.monotonic() - begun)
