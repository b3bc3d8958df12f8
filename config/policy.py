"""Policies as they are declared: the condition, the windows, the mode, and the action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from config.immutable import immutable
from config.model import AllowedIssuer, Threshold, Thresholds
from config.vocabulary import Code, Mode, Severity


@immutable
class PolicyMatch:
    """The subjects of a policy: each given list must match by one of its items; `*` is any text."""

    components: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    """A component matches by any of its targets."""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    profiles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Of components. A group matches by any of its members, too."""


LEAST_OF_CODE: Final = Severity.INFORMATIONAL
"""The least severity of a finding that is asked for by its code."""
LEAST_OF_GROUP: Final = Severity.NOTICE
"""The least severity of a finding that is asked for by its group: informational findings cause no action."""


@immutable
class RemainingBelow:
    """Less than this is left of the certificate's lifetime."""

    threshold: Threshold
    lasting: float = 0.0
    """Seconds for which the check must have held; the same in every check."""


@immutable
class HasFinding:
    """There is a finding with one of `codes`, at least as severe as `severity`."""

    codes: frozenset[Code]
    named: str
    """Their spelling in the configuration: a code or a group."""
    severity: Severity = LEAST_OF_CODE
    lasting: float = 0.0


@immutable
class ClientRejects:
    """The client, by default any client, rejects the endpoint, by default any endpoint."""

    client: str | None = None
    target: str | None = None
    lasting: float = 0.0


@immutable
class DriftOlderThan:
    """The certificate on disk has not been served for `age` seconds."""

    age: float
    lasting: float = 0.0


@immutable
class CandidatePresent:
    """The component's inbox has a candidate that was not tried yet."""

    lasting: float = 0.0


@immutable
class FailedAttempts:
    """At least so many attempts have failed since the last success."""

    count: int
    lasting: float = 0.0


@immutable
class Regressed:
    """A replacement, at most `within` seconds ago, has made things worse.

    A client that accepted before rejects now, the chain is broken, or another leaf is served.
    """

    within: float
    lasting: float = 0.0


@immutable
class AnyOf:
    """One of the checks holds."""

    checks: tuple[Check, ...]


@immutable
class AllOf:
    """Every check holds."""

    checks: tuple[Check, ...]


@immutable
class Not:
    """The check does not hold."""

    check: Check


Leaf = RemainingBelow | HasFinding | ClientRejects | DriftOlderThan | CandidatePresent | FailedAttempts | Regressed
Check = Leaf | AnyOf | AllOf | Not


@immutable
class Window:
    """When actions may be taken: for `duration` seconds from each time that `cron` matches in `timezone`."""

    cron: str
    """Minute, hour, day of the month, month, day of the week (0 and 7 are Sunday); a day must match both."""
    duration: float
    timezone: str = "UTC"
    """A name of the IANA time zone database."""


@immutable
class Replace:
    """Install the candidate in the component's inbox."""

    allowed_issuers: tuple[AllowedIssuer, ...] = ()
    """The acceptable issuers, beside those of the component."""
    min_lifetime: float | None = None
    """Seconds for which the candidate must remain valid; None means as for the component."""


@immutable
class Rollback:
    """Install the last backup set again."""


@immutable
class Activate:
    """Have the service load its files from disk."""


@immutable
class Notify:
    """Notify people."""

    channels: tuple[str, ...]


Action = Replace | Rollback | Activate


@immutable
class Policy:
    """Where `when` holds for a subject of `match`, `action` is taken in `windows`, as far as `mode` allows.

    The first policy with an action that can be taken wins. Each policy may notify people.
    """

    name: str
    when: Check
    action: Action | None = None
    notify: Notify | None = None
    match: PolicyMatch = PolicyMatch()
    windows: tuple[Window, ...] = ()
    """Empty for always."""
    override_window_when: Check | None = None
    """Where this holds, the action does not wait for a window."""
    mode: Mode | None = None
    """None means the mode of the component. No policy changes a component with the mode `observe`."""
    fallback: bool = False
    """Applies only to subjects without another policy with the same action."""


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
    """Return the threshold of `days`, but never more than a third of the lifetime, so that it fits short lifetimes."""
    return Threshold(Thresholds().notice.share, days)
