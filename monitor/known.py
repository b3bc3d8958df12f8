"""What is believed of each target, and the one place where a look turns into events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from config.vocabulary import Code, TargetKind, Verdict
from probes.certificate import Certificate
from probes.finding import Edge, Finding, verdict
from probes.observation import FileIdentity

FindingKey = tuple[Code, str]


@dataclass(frozen=True, slots=True)
class Raised:
    """A finding, and since when it is known."""

    finding: Finding
    since: float
    """Unix time."""


NO_FINDINGS: Mapping[FindingKey, Raised] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Known:
    """Everything believed of one target."""

    target: str
    kind: TargetKind
    location: str
    """A path, or `host:port`."""
    component: str | None = None
    presented: tuple[Certificate, ...] = ()
    """What it presented when it last could be looked at: the last known good, with a finding beside it when it is stale."""
    since: float = 0.0
    """Unix time since when it presents that."""
    findings: Mapping[FindingKey, Raised] = field(default_factory=lambda: NO_FINDINGS)
    edges: tuple[Edge, ...] = ()
    expiry: int | None = None
    """Earliest end on the verified path, or of what is presented where nothing is verified; Unix time."""
    identity: FileIdentity | None = None
    failures: int = 0
    """Looks that failed, in a row."""
    failure: tuple[str, str] | None = None
    """Reason and detail of the last look, where it failed."""
    last_look: float | None = None
    """Unix time; None before the first look of this run."""

    @property
    def up(self) -> bool | None:
        """Whether the last look gave facts; None before the first look."""
        return None if self.last_look is None else self.failure is None

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings; unknown before the first look."""
        return verdict((raised.finding for raised in self.findings.values()), known=self.last_look is not None)
