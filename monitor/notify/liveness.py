"""Whether looks go on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from config.model import Config
from config.vocabulary import TargetKind

_SLACK: Final = 30.0
"""Seconds by which looks may be late on a busy host."""


class Liveness:
    """The monotonic time of the last look at each kind of target."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._last: dict[TargetKind, float] = {}

    def looked(self, kind: TargetKind, now: float) -> None:
        """Note a look that ended."""
        self._last[kind] = now

    def goes_on(self, config: Config, kinds: Iterable[TargetKind], now: float) -> bool:
        """Whether each of the existing `kinds` of targets was looked at recently enough for its interval."""
        cadence = {TargetKind.FILE: 2 * config.settings.rescan}
        if config.endpoints:
            endpoints = config.endpoints.values()
            shortest = min(each.every for each in endpoints)
            cadence[TargetKind.ENDPOINT] = 2 * shortest + max(each.timeout for each in endpoints)
        return all(
            now - self._last.get(kind, self._began) <= cadence[kind] + _SLACK for kind in kinds if kind in cadence
        )
