"""Reads the memory back, beside whoever writes to it.

Plain SQL over sqlite3: a daemon and the command line would pay half a second for SQLModel, and have nothing to map.
"""

from __future__ import annotations

import gc
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from config.immutable import immutable
from config.text import harmless
from config.vocabulary import Code, KeyKind, Severity, TargetKind
from monitor.state.events import KeptVerdict
from monitor.state.target import NO_FINDINGS, FindingKey, Raised, TargetState
from monitor.store.database import reading
from monitor.store.health import Degraded, DegradedReason, UnusableError, degraded
from monitor.store.text import restored, restored_supported
from probes.certificate import Certificate, Key, certificate, remember, restored_key
from probes.finding import Finding
from probes.observation import FileIdentity

_TARGETS: Final = """
    SELECT id, name, kind, location, component, identity, verdict, supported FROM targets WHERE removed_at IS NULL"""
_PRESENTATIONS: Final = "SELECT target, certificates, since FROM presentations WHERE until IS NULL"
_CERTIFICATES: Final = """
    SELECT id, der, sha256, subject, issuer, serial, not_before, not_after, names, key_kind, key_bits, signature_hash,
        is_ca, self_issued, failures, is_whole
    FROM certificates
    WHERE id IN (SELECT value FROM presentations, json_each(certificates) WHERE until IS NULL)"""
_FINDINGS: Final = """
    SELECT target, code, severity, subject, detail, raised_at FROM findings
    WHERE superseded_at IS NULL AND cleared_at IS NULL"""
_FAILED_LOOKS: Final = """
    SELECT target, reason, detail FROM failed_looks WHERE superseded_at IS NULL AND recovered_at IS NULL"""
_COUNTS: Final = """
    SELECT (SELECT count(*) FROM certificates), (SELECT count(*) FROM targets), (SELECT count(*) FROM presentations),
        (SELECT count(*) FROM findings), (SELECT count(*) FROM failed_looks)"""
_CODES: Final = {str(code): code for code in Code}


_DECISIONS: Final = "SELECT subject, identity, status FROM decisions ORDER BY id DESC LIMIT 100000"
_NEWEST_ACTION: Final = "SELECT max(ended_at) FROM actions"


@immutable
class RowCounts:
    """How many rows each table has."""

    certificates: int
    targets: int
    presentations: int
    findings: int
    failed_looks: int


def decisions(path: str) -> list[tuple[str, str, str]] | Degraded:
    """Return subject, identity and status of each decision that is recorded, oldest first."""
    try:
        with reading(path) as connection:
            rows = connection.execute(_DECISIONS).fetchall()
            return [(restored(subject), identity, status) for subject, identity, status in reversed(rows)]
    except (OSError, sqlite3.Error, UnusableError) as error:
        return degraded(error)


def newest_action(path: str) -> float | Degraded:
    """Return the Unix time of the last transaction that is recorded, 0 where none is."""
    try:
        with reading(path) as connection:
            return float(connection.execute(_NEWEST_ACTION).fetchone()[0] or 0.0)
    except (OSError, sqlite3.Error, UnusableError) as error:
        return degraded(error)


def load(path: str) -> Mapping[str, TargetState] | Degraded:
    """Return the last record of each watched target, by name: known, but not looked at in this run.

    Edges, expiry and the number of failures in a row are not recorded.
    """
    try:
        with reading(path) as connection:
            return current(connection)
    except (OSError, sqlite3.Error, UnusableError) as error:
        return degraded(error)


def counts(path: str) -> RowCounts | Degraded:
    """Return how many rows each table has."""
    try:
        with reading(path) as connection:
            return RowCounts(*connection.execute(_COUNTS).fetchone())
    except (OSError, sqlite3.Error, UnusableError) as error:
        return degraded(error)


def current(connection: sqlite3.Connection) -> dict[str, TargetState]:
    """Return the records that are true now, by target.

    Raises sqlite3.Error, or UnusableError where the rows make no sense.
    """
    try:
        with _without_collection():
            return _targets(connection, _certificates(connection))
    except (ValueError, TypeError, LookupError) as error:
        raise UnusableError(DegradedReason.CORRUPT, f"a row makes no sense: {error}") from error


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the collector from going through a growing heap again and again while nothing of it can be freed."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _targets(connection: sqlite3.Connection, certificates: Mapping[int, Certificate]) -> dict[str, TargetState]:
    rows = connection.execute(_PRESENTATIONS).fetchall()
    presented = {
        target: (tuple([certificates[each] for each in chain]), since)
        for (target, _, since), chain in zip(rows, _documents(chain for _, chain, _ in rows), strict=True)
    }
    findings = _findings(connection)
    failures = {target: (reason, detail) for target, reason, detail in connection.execute(_FAILED_LOOKS)}
    targets = {}
    found = connection.execute(_TARGETS).fetchall()
    identities = _documents(identity or "null" for *_, identity, _, _ in found)
    verdicts = _documents(verdict or "null" for *_, verdict, _ in found)
    kinds, rules = {str(each): each for each in TargetKind}, dict[str, str]()
    for (row, name, kind, location, component, *_, supported), identity, verdict in zip(
        found, identities, verdicts, strict=True
    ):
        target = restored(name)
        chain, since = presented.get(row, ((), 0.0))
        kept = None
        if verdict:
            by, *times = verdict
            # Thousands of files are judged by the same rules.
            kept = KeptVerdict(rules.setdefault(by, by), *times)
        targets[target] = TargetState(
            target=target,
            kind=kinds[kind],
            location=target if location == name else restored(location),
            component=component,
            presented=chain,
            since=since,
            findings=findings.get(row, NO_FINDINGS),
            identity=FileIdentity(*identity) if identity else None,
            kept=kept,
            expiry=None if kept is None else kept.expiry,
            failure=failures.get(row),
            supported=restored_supported(supported),
        )
    return targets


def _documents(texts: Iterable[str]) -> list[Any]:
    """Return the value of each text; as one document they are read in a third of the time."""
    documents: list[Any] = json.loads(f"[{','.join(texts)}]")
    return documents


def _findings(connection: sqlite3.Connection) -> dict[int, dict[FindingKey, Raised]]:
    findings: defaultdict[int, dict[FindingKey, Raised]] = defaultdict(dict)
    for target, name, severity, subject, detail, since in connection.execute(_FINDINGS):
        code = _CODES.get(name)
        # A later version with the same tables may know more codes; this one would not know how to clear them.
        if code is not None:
            findings[target][code, subject] = Raised(Finding(code, Severity(severity), subject, detail), since)
    return dict(findings)


def _certificates(connection: sqlite3.Connection) -> dict[int, Certificate]:
    keys: dict[tuple[str, int], Key] = {}
    one: dict[str, str] = {}
    certificates = {}
    rows = connection.execute(_CERTIFICATES)
    for each in rows:
        row, der, sha256, subject, issuer, serial, begins, ends, names, kind, bits, digest, ca, own, failures, whole = (
            each
        )
        key = keys.get((kind, bits)) or restored_key(KeyKind(kind), bits, der)
        if not key.name:
            keys[kind, bits] = key
        recorded = Certificate(
            der=der,
            sha256=sha256,
            subject=subject,
            # Thousands of certificates share an issuer.
            issuer=harmless(one.setdefault(issuer, issuer)),
            serial=serial,
            not_before=begins,
            not_after=ends,
            names=tuple(names.split("\n")) if names else (),
            key=key,
            signature_hash=harmless(one.setdefault(digest, digest)),
            is_ca=bool(ca),
            self_issued=bool(own),
            failures=tuple(failures.split("\n")) if failures else (),
        )
        certificates[row] = remember(recorded) if whole else _decoded_again(recorded)
    return certificates


def _decoded_again(recorded: Certificate) -> Certificate:
    try:
        return certificate(recorded.der)
    except ValueError:
        # An earlier version read it.
        return remember(recorded)
