"""A plan: what is to be changed, by hash, before anything is touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Kind(StrEnum):
    """What a transaction is for."""

    REPLACE = "replace"
    ROLLBACK = "rollback"
    ACTIVATE = "activate"
    """Reload or restart a service onto what is already on disk."""


class Ill(StrEnum):
    """What is the matter with a set of files that a change mends; members are declared from least to most."""

    EXPIRED = "expired"
    """Servers start with it, and no client accepts it."""
    DOUBTFUL = "doubtful"
    """Some servers start with it, others do not: the configuration test tells."""
    DEAD = "dead"
    """No server starts with it."""


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
    """One whole file that is replaced by new bytes; `before` and `after` say whether it may be, and whether it was."""

    component: str
    path: str
    """Of the file itself: symbolic links were followed when the plan was made, and are followed again to compare."""
    before: FileState | None
    """None where there was no file."""
    after: FileState
    given: str = ""
    """The path as configured, where that leads to `path` over symbolic links."""
    in_place: bool = False
    """Written over rather than renamed onto, as a file that is a mount point must be: the one case of torn files."""
    says: str = ""
    """SHA-256 of the certificates and public keys in the new file, hexadecimal, where the same never is the same bytes,
    as in a keystore with its random salts: what a plan promises then. All else goes by the bytes, in `after`."""

    @property
    def written_over(self) -> bool:
        """Whether there is a file that is written over: one that was missing is made, whatever the mode."""
        return self.in_place and self.before is not None

    @property
    def promise(self) -> str:
        """What identifies the new content each time that the plan is made."""
        return self.says or self.after.sha256


@dataclass(frozen=True, slots=True)
class Serving:
    """What an endpoint presents once the files are in use."""

    endpoint: str
    """Its name."""
    chains: tuple[tuple[str, ...], ...]
    """Each chain that it may present, an RSA and an EC one, say: SHA-256 of each DER certificate, hexadecimal."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An ordered change set over one or more components, committed or undone as one."""

    kind: Kind
    components: tuple[str, ...]
    """Sorted: locks are taken in this order."""
    changes: tuple[Change, ...]
    expected_losses: tuple[str, ...] = ()
    """Clients that the candidate is known to lose; losing any other undoes it."""
    serves: tuple[Serving, ...] = ()
    """By the files as they are to be."""
    served: tuple[Serving, ...] = ()
    """By the files as they are: what shows that they are in use again, even if something older was served before."""
    stands: tuple[tuple[str, str, str], ...] = ()
    """Component, path and SHA-256 of each file that is put to use and not changed, as an activation does."""

    @property
    def hash(self) -> str:
        """The SHA-256 of the plan, hexadecimal: what an approval binds."""
        promised = (replace(each, after=replace(each.after, sha256=each.promise)) for each in self.changes)
        plain = plan_to_json(replace(self, changes=tuple(promised)))
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def candidate_of(changes: Iterable[Change]) -> str:
    """Return what identifies a candidate, as in quarantine: SHA-256 over what is written where, hexadecimal."""
    what = sorted((each.path, each.promise) for each in changes)
    return hashlib.sha256(repr(what).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Order:
    """A plan with the bytes it is about; these are never logged, journalled or shown."""

    plan: Plan
    content: Mapping[str, bytes] = field(repr=False)
    """By path."""
    mends: Mapping[str, Ill] = field(default_factory=lambda: MappingProxyType({}))
    """By component: what is the matter with its files as they are; none where nothing is known to be."""
    keys: frozenset[str] = frozenset()
    """The private keys that are to be used, by the SHA-256 of their public halves, hexadecimal."""


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain values, which hold no content of any file."""

    def state(of: FileState | None) -> list[object] | None:
        return None if of is None else [of.sha256, of.mode, of.owner, of.group]

    return {
        "kind": plan.kind,
        "components": plan.components,
        "changes": [
            [each.component, each.path, state(each.before), state(each.after), each.given, each.in_place, each.says]
            for each in plan.changes
        ],
        "expected_losses": plan.expected_losses,
        "serves": [[each.endpoint, each.chains] for each in plan.serves],
        "served": [[each.endpoint, each.chains] for each in plan.served],
        "stands": plan.stands,
    }


def plan_from_json(plain: Mapping[str, Any]) -> Plan:
    """Return the plan of `plan_to_json`; raises KeyError, TypeError or ValueError for anything else."""

    def state(of: Sequence[Any]) -> FileState:
        return FileState(str(of[0]), int(of[1]), int(of[2]), int(of[3]))

    def serving(of: Iterable[Sequence[Any]]) -> tuple[Serving, ...]:
        return tuple(Serving(str(name), tuple(tuple(map(str, chain)) for chain in chains)) for name, chains in of)

    return Plan(
        Kind(plain["kind"]),
        tuple(map(str, plain["components"])),
        tuple(
            Change(component, path, None if before is None else state(before), state(after), given, bool(over), says)
            for component, path, before, after, given, over, says in plain["changes"]
        ),
        tuple(map(str, plain["expected_losses"])),
        serving(plain["serves"]),
        serving(plain["served"]),
        tuple((str(name), str(path), str(digest)) for name, path, digest in plain["stands"]),
    )
