"""The events by which a database that has missed some catches up with the states of the targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from monitor.state.events import (
    FileJudged,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    StateEvent,
    SupportedChanged,
    TargetAdded,
    TargetRemoved,
)
from monitor.state.target import TargetState
from monitor.store.text import supported_text


def differences(
    recorded: Mapping[str, TargetState], current: Iterable[TargetState], now: float
) -> Iterator[StateEvent]:
    """Yield the events that lead from the `recorded` states to the `current` ones.

    A target without a current state keeps the recorded one.
    """
    unseen = dict(recorded)
    for state in current:
        before = unseen.pop(state.target, None)
        if before is None or (before.kind, before.location, before.component) != (
            state.kind,
            state.location,
            state.component,
        ):
            yield TargetAdded(state.target, now, state.kind, state.location, state.component)
        if state.last_look is not None or state.presented or state.findings:
            yield from _of_one(before or TargetState(state.target, state.kind, state.location), state, now)
    for target in unseen:
        yield TargetRemoved(target, now)


def _of_one(before: TargetState, state: TargetState, now: float) -> Iterator[StateEvent]:
    target = state.target
    if before.presented != state.presented:
        yield PresentedChanged(target, state.since, tuple(each.sha256 for each in before.presented), state.presented)
    if supported_text(before.supported) != supported_text(state.supported):
        yield SupportedChanged(target, now, state.supported)
    for key, raised in state.findings.items():
        old = before.findings.get(key)
        if old is None:
            yield FindingRaised(target, raised.since, raised.finding)
        elif old.finding != raised.finding:
            yield FindingChanged(target, now, old.finding, raised.finding)
    for key, old in before.findings.items():
        if key not in state.findings:
            yield FindingCleared(target, now, old.finding, old.since)
    if state.failure is None:
        if before.failure is not None:
            yield LookRecovered(target, now)
    elif before.failure is None or before.failure[0] != state.failure[0]:
        yield LookFailed(target, now, *state.failure)
    if (before.identity, before.kept) != (state.identity, state.kept):
        yield FileJudged(target, now, state.identity, state.kept)
