"""A plan: what is to be changed, by hash, before anything is touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a transaction is for."""

    REPLACE = "replace"
    ROLLBACK = "rollback"
    ACTIVATE = "activate"
    """Reload or restart a service onto what is already on disk."""


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it is or is to be."""

    sha256: str
    """Of the content, hexadecimal."""
    mode: int
    """Permission bits."""
    owner: int
    group: int


@dataclass(frozen=True, slots=True)
class Change:
    """One whole file that is replaced by new bytes; `before` and `after` decide whether it may be, and whether it was."""

    component: str
    path: str
    """Of the file itself: symbolic links were followed when the plan was made, and are followed again to compare."""
    before: FileState | None
    """None where there was no file."""
    after: FileState


@dataclass(frozen=True, slots=True)
class Plan:
    """An ordered change set over one or more components, committed or undone as one."""

    kind: Kind
    components: tuple[str, ...]
    """Sorted: locks are taken in this order."""
    changes: tuple[Change, ...]
    expected_losses: tuple[str, ...] = ()
    """Clients that the candidate is known to lose; losing any other undoes it."""

    @property
    def hash(self) -> str:
        """The SHA-256 of the plan, hexadecimal: what an approval binds."""
        return hashlib.sha256(json.dumps(_plain(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Order:
    """A plan with the bytes it is about; these are never logged, journalled or shown."""

    plan: Plan
    content: Mapping[str, bytes]
    """By path."""


def _plain(plan: Plan) -> dict[str, object]:
    def state(of: FileState | None) -> list[object] | None:
        return None if of is None else [of.sha256, of.mode, of.owner, of.group]

    return {
        "kind": plan.kind,
        "components": plan.components,
        "changes": [[each.component, each.path, state(each.before), state(each.after)] for each in plan.changes],
        "expected_losses": plan.expected_losses,
    }
