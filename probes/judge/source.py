"""Findings about the source itself: it cannot be read or reached, or holds no certificate."""

from __future__ import annotations

from collections.abc import Iterator

from config.vocabulary import Code, FileContent, FileRole, Severity
from probes.finding import Finding, finding
from probes.observation import EndpointObservation, FileObservation

UNREACHABLE_AFTER = 3
"""Failed looks in a row that make `unreachable` critical."""


def judge_file_source(observation: FileObservation, role: FileRole, *, had_certificate: bool) -> Iterator[Finding]:
    """Yield why a file gave no facts, or not all of them.

    A file found by a pattern may be anything: only where it `had_certificate` before is that more than a notice.
    """
    found = role is FileRole.FOUND
    if observation.failure is not None:
        severity = (Severity.WARNING if had_certificate else Severity.NOTICE) if found else Severity.CRITICAL
        detail = f"{observation.failure.reason}: {observation.failure.detail}"
        yield finding(Code.UNREADABLE, detail, severity=severity)
    elif role is FileRole.KEY:
        if observation.content is not FileContent.KEY and not observation.keys:
            yield finding(Code.NO_CERTIFICATE, "holds no private key")
    elif observation.content is FileContent.KEY and role is FileRole.LISTED:
        return
    elif not observation.certificates and (not found or had_certificate):
        severity = Severity.WARNING if found else Severity.CRITICAL
        yield finding(Code.NO_CERTIFICATE, "holds no certificate", severity=severity)


def judge_endpoint_source(observation: EndpointObservation, failures_in_a_row: int) -> Iterator[Finding]:
    """Yield each address that could not be looked at; critical once no address answered for several looks in a row."""
    severity = Severity.CRITICAL if failures_in_a_row >= UNREACHABLE_AFTER else Severity.WARNING
    for failure in observation.failures:
        yield finding(
            Code.UNREACHABLE,
            f"{failure.reason}: {failure.detail}",
            failure.address,
            Severity.WARNING if observation.presented else severity,
        )
    for presented in observation.presented:
        if not presented.chain:
            yield finding(Code.NO_CERTIFICATE, "the server presents no certificate", presented.address)
