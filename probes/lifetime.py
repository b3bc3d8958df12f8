"""How near its end a certificate is, as a share of its own lifetime, capped in days."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from config.model import DAY, Threshold, Thresholds
from config.vocabulary import Severity
from probes.certificate import Certificate

SHORT_LIVED: Final = 10 * DAY

_LONG_LIVED_LEAF: Final = Thresholds()
_SHORT_LIVED_LEAF: Final = Thresholds(notice=Threshold(1 / 2, 60))
# A share of a ten-year lifetime never comes below these days, so for a CA the days decide.
_CA: Final = Thresholds(Threshold(1 / 3, 180), Threshold(0.25, 90), Threshold(0.125, 30))

LONGEST_VALIDITY: Final = (
    (1_868_227_200, 47),  # issued from 2029-03-15
    (1_805_068_800, 100),  # 2027-03-15
    (1_773_532_800, 200),  # 2026-03-15
    (1_598_918_400, 398),  # 2020-09-01
)
"""Days that a public server certificate may be valid, by its notBefore, newest rule first (CA/B Forum SC-081v3)."""


class Approach(NamedTuple):
    """A point in time from which a certificate counts as expiring, at a level."""

    at: float
    """Unix time."""
    severity: Severity


def lifetime(certificate: Certificate) -> int:
    """Return the seconds between notBefore and notAfter, 0 where either is unknown or they are reversed."""
    if certificate.not_before is None or certificate.not_after is None:
        return 0
    return max(0, certificate.not_after - certificate.not_before)


# Asked for twice at each judgement: its present state, and the time of the next change.
@lru_cache(maxsize=64)
def approaches(certificate: Certificate, thresholds: Thresholds | None) -> tuple[Approach, ...]:
    """Return when `certificate` reaches each level of expiring, earliest first; empty where its end is unknown."""
    if certificate.not_after is None:
        return ()
    whole = lifetime(certificate)
    chosen = thresholds or (
        _CA if certificate.is_ca and not certificate.carries_server_names else leaf_thresholds(whole)
    )
    return (
        Approach(certificate.not_after - chosen.notice.seconds_left(whole), Severity.NOTICE),
        Approach(certificate.not_after - chosen.warning.seconds_left(whole), Severity.WARNING),
        Approach(certificate.not_after - chosen.critical.seconds_left(whole), Severity.CRITICAL),
    )


def leaf_thresholds(whole: float) -> Thresholds:
    """Return the thresholds for a leaf that is valid for `whole` seconds, where none are configured."""
    return _SHORT_LIVED_LEAF if whole < SHORT_LIVED else _LONG_LIVED_LEAF


def longest_validity(certificate: Certificate) -> int | None:
    """Return the most days for which a public certificate of this age may be valid, None where there is no rule."""
    if certificate.not_before is None:
        return None
    return next((days for since, days in LONGEST_VALIDITY if certificate.not_before >= since), None)


def has_ended(certificate: Certificate, now: float) -> bool:
    """Whether Unix time `now` lies after notAfter, up to and including which it is valid (RFC 5280, 4.1.2.5)."""
    return certificate.not_after is not None and now >= certificate.not_after + 1


def is_within_validity(certificate: Certificate, now: float) -> bool:
    """Whether Unix time `now` lies within the period of validity; not where one of its ends is unknown."""
    begin, end = certificate.not_before, certificate.not_after
    return begin is not None and end is not None and begin <= now < end + 1


def turning_points(certificate: Certificate) -> Iterator[float]:
    """Yield the Unix times at which the validity of `certificate` begins and ends, as far as they are known."""
    if certificate.not_before is not None:
        yield certificate.not_before
    if certificate.not_after is not None:
        yield certificate.not_after + 1
