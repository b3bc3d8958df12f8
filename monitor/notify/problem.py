"""Findings become problems: many findings on many targets can be one problem. Pure.

The catalogue says of each code which findings with it are one problem (`ProblemScope`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from hashlib import blake2b
from typing import Final

from actions.plan import Kind
from config.catalogue import CATALOGUE, ProblemScope
from config.immutable import immutable
from config.vocabulary import Code, Severity, TargetKind
from monitor.state.target import Raised, TargetState
from probes.certificate import Certificate
from probes.finding import Finding

_OF_CERTIFICATE: Final = frozenset({ProblemScope.CERTIFICATE, ProblemScope.SERVER_CERTIFICATE})
CERTIFICATE: Final = "certificate "
"""The start of the base of a problem with a certificate."""
THE_ACTOR: Final = "the actor"
"""The subject of the problem that no actor answers."""
OUTAGE: Final = "outage "
"""The start of the base of a problem with a cause outside: `monitor.notify.cause` tells which targets share one."""
_POSITION: Final = re.compile(r"position (\d{1,4})")


@immutable
class Member:
    """A finding as part of a problem."""

    target: str
    kind: TargetKind
    component: str | None
    finding: Finding
    since: float
    """Unix time."""
    about: str = ""
    """The subject of the certificate with the fault, or `THE_ACTOR`; printable."""
    location: str = ""
    """The path or the address of the target; printable."""
    ends: int | None = None
    """Unix time of the end of the certificate; only of `expiring`."""
    reached: tuple[float, ...] = ()
    """By the rank of a severity: the Unix time since when the finding is at least that severe; empty for `since`."""
    flaps: int = 0
    """The number of times it began since then, on a flapping target; its severity is the worst of these times."""
    wrong_now: bool = True
    """Whether the finding stands at this moment; only on a flapping target it may not."""
    went_dark: tuple[float, ...] = ()
    """Of `unreachable`: the Unix times at which it last began not to answer, told or not, oldest first."""
    base: str = ""
    """The base of its problem, by itself, as `members` yields it."""

    @property
    def client(self) -> str:
        """The client that rejects the certificate; empty where there is no such client, or it does not validate."""
        found = self.finding
        rejects = found.code is Code.CLIENT_REJECTS and found.severity.rank > Severity.NOTICE.rank
        return found.subject if rejects else ""

    def since_at_least(self, severity: Severity) -> float:
        """Return the Unix time since when the finding is at least that severe."""
        return self.reached[severity.rank] if severity.rank < len(self.reached) else self.since


def members(known: TargetState) -> Iterator[tuple[str, Member]]:
    """Yield each finding on a target, with the base of its problem.

    `client_rejects` is a consequence: it belongs to the problem of the worst fault of the certificates presented.
    """
    causes = [each for each in known.findings.values() if _is_cause(each)]
    worst = max(causes, key=lambda each: (each.finding.severity.rank, str(each.finding.code)), default=None)
    for each in known.findings.values():
        cause = worst if worst is not None and each.finding.code is Code.CLIENT_REJECTS else each
        base, about = _problem(known, cause.finding)
        concerned = _certificate(known, each.finding) if each.finding.code is Code.EXPIRING else None
        yield (
            base,
            Member(
                target=known.target,
                kind=known.kind,
                component=known.component,
                finding=each.finding,
                since=each.since,
                about=about,
                location=known.location,
                ends=concerned.not_after if concerned is not None else None,
                went_dark=known.went_dark if each.finding.code is Code.UNREACHABLE else (),
                base=base,
            ),
        )


def worst_first(members: Collection[Member]) -> list[Member]:
    """Return members in the order in which they name their problem."""
    return sorted(
        members,
        key=lambda each: (
            -each.finding.severity.rank,
            not CATALOGUE[each.finding.code].names_problem,
            bool(each.flaps),
            str(each.finding.code),
            each.target,
            each.finding.subject,
        ),
    )


def problem_id(key: str) -> str:
    """Return the short name of a problem for people; the same key always has the same name."""
    return blake2b(key.encode(errors="surrogatepass"), digest_size=4).hexdigest()


def _is_cause(raised: Raised) -> bool:
    code = raised.finding.code
    return CATALOGUE[code].scope in _OF_CERTIFICATE and code is not Code.CLIENT_REJECTS


def _problem(known: TargetState, found: Finding) -> tuple[str, str]:
    """Return the base of the problem of a finding, and the value of `Member.about`."""
    if known.kind is TargetKind.SELF:
        return f"{found.code} {known.target} {found.subject}", ""
    scope = CATALOGUE[found.code].scope
    if scope in _OF_CERTIFICATE and known.presented:
        concerned = _certificate(known, found)
        if concerned is None:
            return f"{CERTIFICATE}{found.subject}", found.subject
        return f"{CERTIFICATE}{concerned.sha256}", concerned.title
    if scope is ProblemScope.CAUSE:
        if known.kind is TargetKind.COMPONENT:
            # The one actor of all components.
            return f"{found.code} {found.subject}", THE_ACTOR
        return f"{OUTAGE}{found.code}", ""
    if found.code is Code.APPROVAL_PENDING and found.subject == str(Kind.ACTIVATE):
        # The plan that waits for approval cures `not_served`.
        return f"{Code.NOT_SERVED} {known.component or known.target}", ""
    return f"{found.code} {known.component or known.target}", ""


def _certificate(known: TargetState, found: Finding) -> Certificate | None:
    """Return the certificate of a finding; None where the target does not present it."""
    position = _POSITION.fullmatch(found.subject)
    if not known.presented:
        return None
    if position is not None:
        number = int(position[1])
        return known.presented[number if number < len(known.presented) else 0]
    of_server = CATALOGUE[found.code].scope is ProblemScope.SERVER_CERTIFICATE
    return known.presented[0] if not found.subject or of_server else None
