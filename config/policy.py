"""Policies as they are declared: what must be so, when it may be done, who must agree, and what is done then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from config.model import AllowedIssuer, Threshold, Thresholds
from config.vocabulary import Code, Mode, Severity


@dataclass(frozen=True, slots=True)
class PolicyMatch:
    """What a policy is for: every list that is given must match, one of its items being enough; `*` is any text."""

    components: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    """A component matches by any of its targets."""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    profiles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Of components. A group matches by any of its members, too."""


LEAST_OF_CODE: Final = Severity.INFORMATIONAL
"""From which severity on a finding counts that is asked for by its code."""
LEAST_OF_GROUP: Final = Severity.NOTICE
"""The same for one that is asked for by its group: of what nobody can change, nothing follows."""


@dataclass(frozen=True, slots=True)
class RemainingBelow:
    """Less than this is left of the certificate's lifetime."""

    threshold: Threshold
    lasting: float = 0.0
    """Seconds for which it must have been so; the same in every check."""


@dataclass(frozen=True, slots=True)
class HasFinding:
    """There is a finding with one of `codes`, at least as severe as `severity`."""

    codes: frozenset[Code]
    named: str
    """How the configuration calls them: a code or a group."""
    severity: Severity = LEAST_OF_CODE
    lasting: float = 0.0


@dataclass(frozen=True, slots=True)
class ClientRejects:
    """A client, or that one, does not accept an endpoint, or that one."""

    client: str | None = None
    target: str | None = None
    lasting: float = 0.0


@dataclass(frozen=True, slots=True)
class DriftOlderThan:
    """What lies on disk has not been what is served for `age` seconds."""

    age: float
    lasting: float = 0.0


@dataclass(frozen=True, slots=True)
class CandidatePresent:
    """The component's inbox holds a candidate that was not tried yet."""

    lasting: float = 0.0


@dataclass(frozen=True, slots=True)
class FailedAttempts:
    """At least so many attempts failed since the last one that succeeded."""

    count: int
    lasting: float = 0.0


@dataclass(frozen=True, slots=True)
class Regressed:
    """What a replacement installed at most `within` seconds ago is worse for somebody than what was there before.

    A client that accepted then does not now, the chain broke, or another leaf is served.
    """

    within: float
    lasting: float = 0.0


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the checks holds."""

    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every check holds."""

    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The check does not hold."""

    check: Check


Leaf = RemainingBelow | HasFinding | ClientRejects | DriftOlderThan | CandidatePresent | FailedAttempts | Regressed
Check = Leaf | AnyOf | AllOf | Not


@dataclass(frozen=True, slots=True)
class Window:
    """When things may be deployed: for `duration` seconds from each time that `cron` matches in `timezone`."""

    cron: str
    """Minute, hour, day of the month, month, day of the week (0 and 7 are Sunday); a day must match both."""
    duration: float
    timezone: str = "UTC"
    """A name of the IANA time zone database."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Install the candidate in the component's inbox."""

    allowed_issuers: tuple[AllowedIssuer, ...] = ()
    """Whose certificates may be installed, beside those that the component allows."""
    min_lifetime: float | None = None
    """Seconds for which the candidate must remain valid; None means what the component says."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Install the last backup set again."""


@dataclass(frozen=True, slots=True)
class Activate:
    """Have the service serve what is on disk."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell people."""

    channels: tuple[str, ...]


Action = Replace | Rollback | Activate


@dataclass(frozen=True, slots=True)
class Policy:
    """Where `when` holds for what `match` names, `action` is done in `windows`, as far as `mode` lets, and people told.

    The first policy with an action that could be done wins; each that tells people does so.
    """

    name: str
    when: Check
    action: Action | None = None
    notify: Notify | None = None
    match: PolicyMatch = PolicyMatch()
    windows: tuple[Window, ...] = ()
    """Without any it may be done at all times."""
    override_window_when: Check | None = None
    """Where this holds, windows are not waited for."""
    mode: Mode | None = None
    """None means that of the component. One that is only observed stays so, whatever a policy says."""
    fallback: bool = False
    """Only for what no other policy with the same action is for."""


_LADDER: Final = (
    Threshold(0, 0),
    Thresholds().critical,
    Thresholds().warning,
    Thresholds().notice,
)


def share_of_lifetime(share: float) -> Threshold:
    """Return the threshold of `share`, capped in days as the default thresholds are, in a straight line between them.

    So 33% of ten years is not three years, and 8% of them still comes after that.
    """
    for lower, upper in pairwise(_LADDER):
        if share < upper.share:
            part = (share - lower.share) / (upper.share - lower.share)
            return Threshold(share, lower.days + part * (upper.days - lower.days))
    return Threshold(share, _LADDER[-1].days)


def days_left(days: float) -> Threshold:
    """Return the threshold of `days`, but never more than a third of the lifetime, so that it fits short ones too."""
    return Threshold(Thresholds().notice.share, days)
