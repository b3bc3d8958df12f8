"""What must be recorded so that the database, having missed events, again says what is believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from monitor.state.events import (
    Event,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    IdentityChanged,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    TargetAdded,
    TargetRemoved,
)
from monitor.state.target import TargetState


def differences(recorded: Mapping[str, TargetState], believed: Iterable[TargetState], now: float) -> Iterator[Event]:
    """Yield the events that lead from what is `recorded` to what is `believed`.

    Where nothing is believed of a target yet, what is recorded of it stands.
    """
    unseen = dict(recorded)
    for known in believed:
        before = unseen.pop(known.target, None)
        if before is None or (before.kind, before.location, before.component) != (
            known.kind,
            known.location,
            known.component,
        ):
            yield TargetAdded(known.target, now, known.kind, known.location, known.component)
        if known.last_look is not None or known.presented or known.findings:
            yield from _of_one(before or TargetState(known.target, known.kind, known.location), known, now)
    for target in unseen:
        yield TargetRemoved(target, now)


def _of_one(before: TargetState, known: TargetState, now: float) -> Iterator[Event]:
    target = known.target
    if before.presented != known.presented:
        yield PresentedChanged(target, known.since, tuple(each.sha256 for each in before.presented), known.presented)
    if before.identity != known.identity:
        yield IdentityChanged(target, now, known.identity)
    for key, raised in known.findings.items():
        old = before.findings.get(key)
        if old is None:
            yield FindingRaised(target, raised.since, raised.finding)
        elif old.finding != raised.finding:
            yield FindingChanged(target, now, old.finding, raised.finding)
    for key, old in before.findings.items():
        if key not in known.findings:
            yield FindingCleared(target, now, old.finding, old.since)
    if known.failure is None:
        if before.failure is not None:
            yield LookRecovered(target, now)
    elif before.failure is None or before.failure[0] != known.failure[0]:
        yield LookFailed(target, now, *known.failure)
