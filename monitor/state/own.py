"""Findings about certvigil itself, gathered from the parts that make them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from config.text import harmless
from config.vocabulary import Code, TargetKind
from monitor.state.messages import DatabaseHealthChanged
from monitor.state.registry import TargetRegistry
from monitor.state.target import TargetState
from probes.finding import Finding, finding

SELF: Final = "certvigil"
"""The target that findings about certvigil itself belong to."""


class OwnFindings:
    """The findings of the target `certvigil`; each group of them belongs to one part of the daemon."""

    def __init__(self, registry: TargetRegistry) -> None:
        self._registry = registry
        self._groups: dict[str, tuple[Finding, ...]] = {}
        self._published = False

    def of(self, group: str) -> tuple[Finding, ...]:
        """Return the findings of a group."""
        return self._groups.get(group, ())

    def report(self, group: str, findings: Iterable[Finding]) -> None:
        """Put these findings in place of the earlier ones of a group."""
        self._groups[group] = tuple(findings)
        if self._published:
            self.publish()

    def database_health_changed(self, message: DatabaseHealthChanged) -> None:
        """Say whether the database can be used."""
        wrong = [finding(Code.DATABASE_DEGRADED, harmless(message.problem))] if message.problem else []
        self.report("database", wrong)

    def publish(self) -> None:
        """Publish all of them, and from now on each change: the remembered findings are in the registry."""
        self._published = True
        findings = [each for group in self._groups.values() for each in group]
        self._registry.about(TargetState(SELF, TargetKind.SELF, SELF), findings, time.time())
