"""An index of policies: finds those that can hold for a situation without evaluating the others.

Each check needs certain things to hold at all, such as a finding with a code or a candidate in the inbox. A policy is
evaluated only for situations that have one of the things that its check needs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Final

from config.immutable import immutable
from config.model import Threshold
from config.policy import (
    AllOf,
    AnyOf,
    CandidatePresent,
    Check,
    ClientRejects,
    DriftOlderThan,
    FailedAttempts,
    HasFinding,
    Not,
    Policy,
    Regressed,
    RemainingBelow,
)
from config.vocabulary import Code
from monitor.decide.check import NEVER
from monitor.decide.situation import Situation


class Trait(StrEnum):
    """Things that a situation may have, beside findings and a certificate with an end."""

    ANY = "any"
    """Every situation has it."""
    REJECTION = "rejection"
    DRIFT = "drift"
    CANDIDATE = "candidate"
    ATTEMPT = "attempt"


Need = Code | Trait | Threshold


def needs(check: Check) -> frozenset[Need]:
    """Return things without all of which `check` cannot hold in a situation, now or by time alone."""
    match check:
        case AnyOf(checks):
            return frozenset[Need]().union(*map(needs, checks))
        case AllOf(checks):
            # Each part must hold, so the needs of one part are enough: those that the fewest situations meet.
            return min(map(needs, checks), key=_commonness)
        case Not():
            return frozenset({Trait.ANY})
        case HasFinding():
            return frozenset(check.codes)
        case RemainingBelow():
            return frozenset({check.threshold})
        case ClientRejects():
            return frozenset({Trait.REJECTION})
        case DriftOlderThan():
            return frozenset({Trait.DRIFT})
        case CandidatePresent():
            return frozenset({Trait.CANDIDATE})
        case FailedAttempts() | Regressed():
            return frozenset({Trait.ATTEMPT})


def _commonness(needed: frozenset[Need]) -> tuple[int, int]:
    kinds = [2 if each is Trait.ANY else 1 if isinstance(each, Threshold) else 0 for each in needed]
    return max(kinds, default=0), len(needed)


@immutable
class _Steps:
    """The thresholds of all policies, computed for one lifetime."""

    seconds: Sequence[float]
    """The seconds that are left at each threshold, in rising order."""
    reached: Sequence[int]
    """By the number of thresholds that are not reached yet: the policies whose threshold is reached, as bits."""


_LIFETIMES: Final = 256
"""Lifetimes for which the steps are kept; a site has few, unless somebody plays tricks."""


class Index:
    """Policies in their order, indexed by their needs; a set of policies is a number with a bit for each."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self._codes: dict[Code, int] = {}
        self._traits = dict.fromkeys(Trait, 0)
        self._thresholds: list[tuple[Threshold, int]] = []
        self._steps: dict[float, _Steps] = {}
        for position, policy in enumerate(self.policies):
            for need in needs(policy.when):
                self._add(need, 1 << position)
        self._any = self._traits[Trait.ANY]

    def _add(self, need: Need, bit: int) -> None:
        if isinstance(need, Threshold):
            self._thresholds.append((need, bit))
        elif isinstance(need, Trait):
            self._traits[need] |= bit
        else:
            self._codes[need] = self._codes.get(need, 0) | bit

    def select(self, situation: Situation, now: float) -> tuple[tuple[Policy, ...], float]:
        """Return the policies that can hold at Unix time `now`, and when another one may by time alone."""
        chosen = self._any
        for found in situation.findings:
            chosen |= self._codes.get(found.code, 0)
        if situation.edges and not all(each.accepts for each in situation.edges):
            chosen |= self._traits[Trait.REJECTION]
        if situation.drift_since is not None:
            chosen |= self._traits[Trait.DRIFT]
        if situation.candidate is not None:
            chosen |= self._traits[Trait.CANDIDATE]
        if situation.attempts:
            chosen |= self._traits[Trait.ATTEMPT]
        until = NEVER
        certificate = situation.certificate
        if certificate is not None and self._thresholds:
            # Not the property `lifetime`, which takes as long as all the rest.
            lifetime = certificate.not_after - certificate.not_before
            steps = self._steps.get(lifetime) or self._steps_for(max(0.0, lifetime))
            ahead = bisect_left(steps.seconds, certificate.not_after - now)
            # Computed as the check does, so that both agree to the last bit.
            while ahead and certificate.not_after - steps.seconds[ahead - 1] <= now:
                ahead -= 1
            chosen |= steps.reached[ahead]
            if ahead:
                until = certificate.not_after - steps.seconds[ahead - 1]
        return (self._select(chosen) if chosen else ()), until

    def _select(self, chosen: int) -> tuple[Policy, ...]:
        return tuple(each for position, each in enumerate(self.policies) if chosen >> position & 1)

    def _steps_for(self, lifetime: float) -> _Steps:
        if len(self._steps) >= _LIFETIMES:
            self._steps.clear()
        ordered = sorted((threshold.seconds_left(lifetime), bit) for threshold, bit in self._thresholds)
        reached = [reduce(or_, (bit for _, bit in ordered[ahead:]), 0) for ahead in range(len(ordered) + 1)]
        steps = self._steps[lifetime] = _Steps([seconds for seconds, _ in ordered], reached)
        return steps
