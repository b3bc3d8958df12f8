"""Checks without the daemon's word: only facts that the actor can see itself are a reason to act without a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from config.catalogue import ENTRIES
from config.policy import (
    AllOf,
    AnyOf,
    Check,
    ClientRejects,
    DriftOlderThan,
    HasFinding,
    Leaf,
    Not,
    Regressed,
    RemainingBelow,
)

SEEN: Final = frozenset(each.code for each in ENTRIES if each.seen_by_actor)
"""Findings that the actor may raise itself, by a look at the files and endpoints of a component.

`unreachable` is missing: an endpoint that does not answer is no evidence.
"""

_NEVER: Final = HasFinding(frozenset(), "what the actor sees itself")
_ALWAYS: Final = Not(_NEVER)


@lru_cache(maxsize=4096)
def as_seen(check: Check, *, unreached: bool = False) -> Check:
    """Return `check` without the parts that the actor cannot see: these count neither as true nor as false.

    `unreached` says that the actor did not reach every endpoint, so that a fault it has not found may exist there.
    """
    return _narrowed(check, unreached=unreached, wanted=True)


@lru_cache(maxsize=4096)
def as_granted(check: Check, *, unreached: bool = False) -> Check:
    """Return `check` as it counts after a person has approved the action of its policy.

    The person answers for the parts that the actor cannot see. The parts that it can see must still hold.
    """
    return _narrowed(check, unreached=unreached, wanted=False)


def _narrowed(check: Check, *, unreached: bool, wanted: bool) -> Check:
    match check:
        case AnyOf(checks):
            return AnyOf(tuple(_narrowed(each, unreached=unreached, wanted=wanted) for each in checks))
        case AllOf(checks):
            return AllOf(tuple(_narrowed(each, unreached=unreached, wanted=wanted) for each in checks))
        case Not(inner):
            return Not(_narrowed(inner, unreached=unreached, wanted=not wanted))
        case HasFinding() if wanted:
            return replace(check, codes=check.codes & SEEN)
        case HasFinding():
            return check if check.codes <= SEEN and not unreached else _ALWAYS
        case ClientRejects() | DriftOlderThan() | RemainingBelow() | Regressed() if unreached and not wanted:
            return _ALWAYS
        case _:
            return check


def unseen(check: Check) -> tuple[str, ...]:
    """Return the codes and groups, as the configuration names them, that a check asks for and the actor cannot see."""
    return tuple(dict.fromkeys(each.named for each in _leaves(check) if _is_unseen(each)))


def _is_unseen(leaf: Leaf) -> bool:
    return isinstance(leaf, HasFinding) and not leaf.codes <= SEEN


def _leaves(check: Check) -> Iterator[HasFinding]:
    match check:
        case AnyOf(checks) | AllOf(checks):
            for each in checks:
                yield from _leaves(each)
        case Not(inner):
            yield from _leaves(inner)
        case HasFinding():
            yield check
        case _:
            return
