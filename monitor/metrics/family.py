"""One gauge of many members, as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from config.immutable import immutable
from monitor.metrics.piece import PAUSE, Piece, piece

Member = TypeVar("Member")


@immutable
class Family(Generic[Member]):
    """A gauge, and the samples of it that each member has."""

    name: str
    help: str
    samples: Callable[[Member], Iterable[tuple[str, object]]]
    """Labels, as they stand between the braces, and value."""

    def head(self) -> Piece:
        """Return the lines before the samples."""
        return piece(f"# HELP {self.name} {self.help}\n# TYPE {self.name} gauge\n".encode())

    def lines(self, members: Iterable[Member]) -> Piece:
        """Return the samples of `members`; of a member without any, nothing is known."""
        name, samples = self.name, self.samples
        text = "".join(
            [f"{name}{{{labels}}} {value}\n" for member in members for labels, value in samples(member)],
        )
        return piece(text.encode()) if text else PAUSE


def escape(value: str) -> str:
    """Return `value` as it stands between the quotes of a label."""
    if '"' in value or "\\" in value or "\n" in value:
        return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return value
