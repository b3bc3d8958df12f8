"""What the HTTP interface shows and asks for: all that it knows of the rest of certvigil."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from config.document import Mistake
from config.model import Waiver
from monitor.known import Known
from monitor.metrics import Piece
from monitor.steward import Charge
from monitor.store import Degraded, HistoryEntry


@dataclass(frozen=True, slots=True)
class Status:
    """What certvigil knows of itself; what is wrong with it is among the findings of the target `certvigil`."""

    version: str
    started: float
    """Unix time."""
    sources: tuple[str, ...]
    """The files that the configuration in force was read from."""
    digest: str
    """SHA-256 over those files, hexadecimal."""
    loaded: float
    """Unix time at which they were read."""
    stale: bool
    """Whether they are others now."""
    files_looked_at: int
    """Of the first scan, as is the next."""
    files_to_look_at: int
    directories_notified: int
    """In which the kernel notices changes."""
    directories_polled: int
    polled_because: str
    """A sentence; empty where none is polled."""
    waivers: tuple[Waiver, ...]
    """In force."""
    no_actor: str
    """Why none is there, a sentence; empty where one is."""


class View(Protocol):
    """The daemon, as the HTTP interface sees it; every method is called on the event loop's thread."""

    def known(self) -> Mapping[str, Known]:
        """Return what is believed of every target, by name."""

    def charges(self) -> Sequence[Charge]:
        """Return what is known of each component that certvigil may change."""

    def metrics(self) -> Iterator[Piece]:
        """Return the metrics, made step by step."""

    def not_ready(self) -> Sequence[str]:
        """Return why certvigil is not doing its work yet, or no longer; empty where it is."""

    def status(self) -> Status:
        """Return what certvigil knows of itself."""

    async def history(
        self, target: str | None, since: float, until: float | None, limit: int
    ) -> Sequence[HistoryEntry] | Degraded:
        """Return what happened from Unix time `since` until just before `until`, newest first."""

    async def reload(self, who: str) -> Sequence[Mistake]:
        """Read the configuration again because `who` asked; where it has mistakes, return them and keep the old one."""
