"""What is wrong, as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from config.catalogue import CATALOGUE
from config.vocabulary import Code, Severity, Verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a target; `(code, subject)` is its identity within the target."""

    code: Code
    severity: Severity
    subject: str
    """What it is about within the target: a position in the chain, a client, a name; empty for all of it."""
    detail: str
    """A sentence for a person, printable; the same facts always give the same sentence (no "in 3 days")."""
    cure: str = field(default="", compare=False)
    """What would put it right, a clause, printable; empty where that is the same for all of this code."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What one client makes of what an endpoint presents."""

    client: str
    accepted: bool
    why: str = ""
    """Where it does not accept: the cause and what would cure it, a sentence, printable."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The verdict on one observation, good until the clock reaches `until`."""

    findings: tuple[Finding, ...]
    """Each `(code, subject)` once."""
    edges: tuple[Edge, ...] = ()
    expiry: int | None = None
    """Earliest end on the verified path, or of what is presented where nothing is verified; Unix time."""
    until: float | None = None
    """Unix time at which the same observation may be judged differently; None for never."""


def finding(code: Code, detail: str, subject: str = "", severity: Severity | None = None, *, cure: str = "") -> Finding:
    """Return a finding with the code's default severity unless another is given."""
    return Finding(code, severity or CATALOGUE[code].severity, subject, detail, cure)


def verdict(findings: Iterable[Finding], *, known: bool = True) -> Verdict:
    """Return the worst of `findings`, up to a notice counting as ok; `unknown` where nothing is `known`."""
    severities = {found.severity for found in findings}
    if Severity.CRITICAL in severities:
        return Verdict.CRITICAL
    if Severity.WARNING in severities:
        return Verdict.WARNING
    return Verdict.OK if known else Verdict.UNKNOWN
