"""Findings about the source itself: it cannot be read or reached, or holds no certificate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from config.model import FileTarget
from config.text import Printable, harmless, sentence
from config.vocabulary import (
    LINE_ROLES,
    ClientCertificateUse,
    Code,
    FileContent,
    FileRole,
    Keys,
    Severity,
    UnreadableReason,
)
from probes.container.registry import called
from probes.file import NOT_FOR_US
from probes.finding import Finding, finding
from probes.observation import EndpointObservation, FileObservation

UNREACHABLE_AFTER = 3
"""Failed looks in a row that make `unreachable` critical."""
_NOT_FAULTS: Final = NOT_FOR_US | {UnreadableReason.LOCKED, UnreadableReason.UNSUPPORTED}
"""Why nothing is known of a file that may be in order."""
_FOR_ITSELF: Final = frozenset({FileRole.LISTED, FileRole.FOUND})
"""Of no component, so that a file may hold whatever somebody wants to be looked at."""
_BEARERS: Final = (
    *(FileRole.KEYSTORE, FileRole.COMBINED, FileRole.KEY, FileRole.CERTIFICATE, FileRole.CHAIN),
    *LINE_ROLES,
)
"""Files of a component, in this order: the first unreadable one has the finding about all of them."""


def judge_unread(targets: Sequence[FileTarget], observations: Sequence[FileObservation]) -> Mapping[str, Finding]:
    """Return the findings, in place of `unreadable`, on the files of one component that nobody here may read.

    By the name of the target: one finding that counts for the component, about its key where that is one of them, and
    notices that point to it. `observations` are of `targets`, in order.
    """
    denied = {
        target.name: (target, seen.failure)
        for target, seen in zip(targets, observations, strict=True)
        if seen.failure is not None and seen.failure.reason in NOT_FOR_US
    }
    if not denied:
        return {}
    bearer, failure = min(denied.values(), key=lambda each: _BEARERS.index(each[0].role))
    away = failure.reason in {UnreadableReason.NO_READER, UnreadableReason.READER_BUSY}
    meant = away or bearer.keys is Keys.UNREAD
    cure = (
        Printable("")
        if meant
        else Printable("; where that is meant, `keys: unread` in the configuration makes this a notice")
    )
    severity = Severity.NOTICE if meant else Severity.WARNING
    found = {bearer.name: finding(Code.KEYS_UNREAD, sentence("{}{}", failure.detail, cure), severity=severity)}
    for target, why in denied.values():
        if target is not bearer:
            detail = sentence("{}: see {} of {}", why.reason, Code.KEYS_UNREAD, harmless(bearer.name))
            found[target.name] = finding(Code.UNREADABLE, detail, severity=Severity.NOTICE)
    return found


def judge_file_source(observation: FileObservation, role: FileRole, *, had_certificate: bool) -> Iterator[Finding]:
    """Yield why a file gave no facts, or not all of them.

    A file found by a pattern may be anything: only where it `had_certificate` before is that more than a notice. One
    that is named on its own, and is something known that certvigil cannot judge, is a warning.
    """
    found = role is FileRole.FOUND
    if observation.failure is not None:
        severity = (Severity.WARNING if had_certificate else Severity.NOTICE) if found else Severity.CRITICAL
        if role is FileRole.LISTED and observation.failure.reason in _NOT_FAULTS and not had_certificate:
            # It may be in order, and whoever uses it may well be able to read it.
            severity = Severity.WARNING
        detail = sentence("{}: {}", observation.failure.reason, observation.failure.detail)
        yield finding(Code.UNREADABLE, detail, severity=severity)
    elif role.is_line or observation.absent or (observation.lists and not had_certificate and role in _FOR_ITSELF):
        return
    elif role is FileRole.KEY:
        if observation.content is not FileContent.KEY and not observation.keys:
            yield finding(Code.NO_CERTIFICATE, _instead(observation, Printable("holds no private key")))
    elif observation.content is FileContent.KEY and role is FileRole.LISTED:
        return
    elif not observation.certificates and (not found or had_certificate):
        another = role is FileRole.LISTED and called(observation.format) and not had_certificate
        severity = Severity.WARNING if found or another else Severity.CRITICAL
        yield finding(Code.NO_CERTIFICATE, _instead(observation, Printable("holds no certificate")), severity=severity)


def _instead(observation: FileObservation, lacks: Printable) -> Printable:
    """Say what a file lacks, and its kind where it is known."""
    is_empty = observation.identity is not None and observation.identity.size == 0
    held = "empty" if is_empty else called(observation.format)
    return sentence("{}: it is {}", lacks, harmless(held)) if held else lacks


def judge_endpoint_source(observation: EndpointObservation, failures_in_a_row: int) -> Iterator[Finding]:
    """Yield each address that could not be looked at; critical once no address answered for several looks in a row."""
    severity = Severity.CRITICAL if failures_in_a_row >= UNREACHABLE_AFTER else Severity.WARNING
    for failure in observation.failures:
        yield finding(
            Code.UNREACHABLE,
            sentence("{}: {}", failure.reason, failure.detail),
            failure.address,
            Severity.WARNING if observation.presented else severity,
        )
    for presented in observation.presented:
        if not presented.chain:
            yield finding(Code.NO_CERTIFICATE, Printable("the server presents no certificate"), presented.address)
        if presented.client_certificate_fault:
            refused = presented.client_certificate is ClientCertificateUse.REFUSED
            use = ClientCertificateUse.REFUSED if refused else ClientCertificateUse.UNUSABLE
            detail = sentence("{}: {}", use, presented.client_certificate_fault)
            yield finding(Code.CLIENT_CERTIFICATE_FAILED, detail, presented.address)
