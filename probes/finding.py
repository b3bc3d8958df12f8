"""Findings as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Final

from config.catalogue import CATALOGUE
from config.immutable import immutable
from config.text import Printable
from config.vocabulary import Code, Severity, Verdict

_NOTHING: Final = Printable("")


@immutable
class Finding:
    """A fault of a target; `(code, subject)` is its identity within the target."""

    code: Code
    severity: Severity
    subject: Printable
    """Its subject within the target: a position in the chain, a client, a name; empty for the whole target."""
    detail: Printable
    """A sentence for a person; the same facts always give the same sentence (no "in 3 days")."""
    cure: Printable = field(default=_NOTHING, compare=False)
    """The cure, a clause; empty where it is the same for all findings of this code."""
    may_lack_in_chain: bool = field(default=False, compare=False)
    """The missing certificate may be one that a server is to present. A candidate, which no server presents yet, gets
    it from another place."""


@immutable
class Edge:
    """The verdict of one client on an endpoint's chain."""

    client: str
    accepted: bool
    why: Printable = _NOTHING
    """Where it rejects: the cause and the cure, a sentence."""
    unvalidated: Printable = _NOTHING
    """Why it does not validate, a clause; empty where it does."""
    cause: Finding | None = field(default=None, compare=False, repr=False)
    """Where it rejects: the first cause."""


@immutable
class Assessment:
    """The verdict on one observation, good until the clock reaches `until`."""

    findings: tuple[Finding, ...]
    """Each `(code, subject)` once."""
    edges: tuple[Edge, ...] = ()
    expiry: int | None = None
    """Earliest end on the verified path; without verification, of the presented certificates. Unix time."""
    until: float | None = None
    """Unix time at which the same observation may be judged differently; None for never."""


def finding(
    code: Code,
    detail: Printable,
    subject: Printable = _NOTHING,
    severity: Severity | None = None,
    *,
    cure: Printable = _NOTHING,
    may_lack_in_chain: bool = False,
) -> Finding:
    """Return a finding with the code's default severity unless another is given."""
    return Finding(code, severity or CATALOGUE[code].severity, subject, detail, cure, may_lack_in_chain)


def verdict(findings: Iterable[Finding], *, known: bool = True) -> Verdict:
    """Return the worst of `findings`, up to a notice counting as ok; `unknown` where nothing is `known`."""
    severities = {found.severity for found in findings}
    if Severity.CRITICAL in severities:
        return Verdict.CRITICAL
    if Severity.WARNING in severities:
        return Verdict.WARNING
    return Verdict.OK if known else Verdict.UNKNOWN
