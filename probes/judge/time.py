"""Findings about time: expired, expiring, not yet valid, valid for too long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from config.model import DAY, Thresholds
from config.text import Printable, harmless, sentence
from config.vocabulary import Code, Severity
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.lifetime import approaches, has_ended, lifetime, longest_validity, turning_points

EARLIEST: Final = -62_135_596_800
"""Unix time of the first second that a calendar date is written for, in the year 1."""
LATEST: Final = 253_402_300_799
"""Unix time of the last one, in the year 9999."""


def _is_none(at: float) -> bool:
    # An integer may be too large for `isnan`.
    return isinstance(at, float) and math.isnan(at)


def within_calendar(at: float) -> float:
    """Return the Unix time nearest to `at` that has a date, whatever number `at` is; 0 where it is none."""
    return 0 if _is_none(at) else min(max(at, EARLIEST), LATEST)


def calendar(at: float) -> datetime:
    """Return the date and time, UTC, nearest to Unix time `at`, whatever number that is."""
    return datetime.fromtimestamp(within_calendar(at), UTC)


def moment(at: float) -> Printable:
    """Return Unix time `at` as people write it down: UTC, to the second; whatever number that is."""
    if _is_none(at):
        return Printable("an unknown time")
    if at < EARLIEST or at >= LATEST + 1:
        return Printable("a time after 9999") if at > 0 else Printable("a time before the year 1")
    return harmless(f"{calendar(math.floor(at)):%Y-%m-%d %H:%M:%SZ}")


def judge_time(
    certificate: Certificate,
    subject: Printable,
    now: float,
    thresholds: Thresholds | None = None,
    *,
    anchor: bool = False,
) -> Iterator[Finding]:
    """Yield the faults of the validity of `certificate` at Unix time `now`; for a mere `anchor` it is a notice."""
    at_most = Severity.NOTICE if anchor else None
    yield from judge_period(certificate, subject, now, at_most)
    if certificate.not_after is None or has_ended(certificate, now):
        return
    reached = [approach.severity for approach in approaches(certificate, thresholds) if now >= approach.at]
    if reached:
        worst = max(reached, key=lambda severity: severity.rank)
        detail = sentence("{} ends at {}", certificate.title, moment(certificate.not_after))
        yield finding(Code.EXPIRING, detail, subject, at_most or worst)


def judge_period(
    certificate: Certificate, subject: Printable, now: float, severity: Severity | None = None
) -> Iterator[Finding]:
    """Yield whether Unix time `now` lies before or after the validity of `certificate`."""
    if certificate.not_before is not None and now < certificate.not_before:
        detail = sentence("{} is valid only from {}", certificate.title, moment(certificate.not_before))
        yield finding(Code.NOT_YET_VALID, detail, subject, severity)
    if certificate.not_after is not None and has_ended(certificate, now):
        detail = sentence("{} ended at {}", certificate.title, moment(certificate.not_after))
        yield finding(Code.EXPIRED, detail, subject, severity)


def judge_validity(leaf: Certificate, subject: Printable) -> Iterator[Finding]:
    """Yield whether a public certificate is valid for longer than the CA/Browser Forum allows."""
    days = longest_validity(leaf)
    if days is not None and lifetime(leaf) > days * DAY:
        yield finding(
            Code.VALIDITY_TOO_LONG,
            sentence(
                "{} is valid for {:.0f} days, more than the {} of its time", leaf.title, lifetime(leaf) / DAY, days
            ),
            subject,
        )


def boundaries(certificates: Iterable[Certificate], thresholds: Thresholds | None = None) -> Iterator[float]:
    """Yield the Unix times at which the verdict on one of `certificates` may change by itself."""
    for certificate in certificates:
        yield from turning_points(certificate)
        for approach in approaches(certificate, thresholds):
            yield approach.at
