"""A plan: every change, by hash, before any file is touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from config.immutable import immutable


class Kind(StrEnum):
    """The kind of a transaction."""

    REPLACE = "replace"
    ROLLBACK = "rollback"
    ACTIVATE = "activate"
    """Reload or restart a service onto the files that are already on disk."""
    TRUST = "trust"
    """Change what the clients of a trust store trust: `components` are trust stores, and only a person asks for it."""


class Ill(StrEnum):
    """The fault of a set of files that a change mends; members are declared from the least to the worst."""

    EXPIRED = "expired"
    """Servers start with the set, and no client accepts it."""
    DOUBTFUL = "doubtful"
    """Some servers start with the set, others do not: the configuration test tells."""
    DEAD = "dead"
    """No server starts with the set."""


@immutable
class FileState:
    """A file as it is or is to be."""

    sha256: str
    """Of the content, hexadecimal."""
    mode: int
    """Permission bits."""
    owner: int
    group: int


@immutable
class Change:
    """One whole file that is replaced by new bytes, made or removed, with its state before and after."""

    component: str
    path: str
    """The file itself: symbolic links were followed when the plan was made, and are followed again to compare."""
    before: FileState | None
    """None where there was no file."""
    after: FileState | None
    """None where the file is removed."""
    given: str = ""
    """The configured path, where it leads to `path` over symbolic links."""
    in_place: bool = False
    """The file is written over instead of replaced by a rename, as a mount point requires. Only then it can be torn."""
    says: str = ""
    """SHA-256 of the certificates and public keys in a new keystore, hexadecimal; empty for other files.

    The random salts of a keystore give it other bytes each time, so a plan is identified by this hash instead. Files on
    disk are compared by their bytes, in `after`.
    """

    @property
    def written_over(self) -> bool:
        """Whether an existing file is written over; a missing file is created, and one removed, in either mode."""
        return self.in_place and self.before is not None and self.after is not None

    @property
    def new_sha256(self) -> str:
        """The SHA-256 of the new content, hexadecimal; empty where the file is removed."""
        return "" if self.after is None else self.after.sha256

    @property
    def promise(self) -> str:
        """The identifier of the new content, equal each time that the plan is made."""
        return self.says or self.new_sha256


@immutable
class Serving:
    """The chains that an endpoint presents once some files are in use."""

    endpoint: str
    """Its name."""
    chains: tuple[tuple[str, ...], ...]
    """Each chain that it may present: SHA-256 of each DER certificate, hexadecimal."""


@immutable
class Plan:
    """An ordered change set over one or more components, committed or undone as one."""

    kind: Kind
    components: tuple[str, ...]
    """Sorted: locks are taken in this order."""
    changes: tuple[Change, ...]
    expected_losses: tuple[str, ...] = ()
    """Clients that may be lost; the loss of any other client undoes the change."""
    serves: tuple[Serving, ...] = ()
    """With the new files."""
    served: tuple[Serving, ...] = ()
    """With the old files: shows that they are in use again, even if an older set was served before."""
    stands: tuple[tuple[str, str, str], ...] = ()
    """Component, path and SHA-256 of each file that an activation puts to use without a change."""
    group: str = ""
    """The group that is changed; empty where components are that make no group."""

    @property
    def hash(self) -> str:
        """The SHA-256 of the plan, hexadecimal; an approval binds it."""
        plain = plan_to_json(replace(self, changes=tuple(map(_promised, self.changes))))
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _promised(change: Change) -> Change:
    after = change.after
    return change if after is None else replace(change, after=replace(after, sha256=change.promise))


def candidate_of(changes: Iterable[Change]) -> str:
    """Return the identifier of a candidate, as in quarantine: SHA-256 over all paths and new contents, hexadecimal."""
    what = sorted((each.path, each.promise) for each in changes)
    return hashlib.sha256(repr(what).encode()).hexdigest()


@immutable
class Order:
    """A plan with the bytes of its files, which are never logged, journalled or shown."""

    plan: Plan
    content: Mapping[str, bytes] = field(repr=False)
    """By path."""
    mends: Mapping[str, Ill] = field(default_factory=lambda: MappingProxyType({}))
    """By component: the fault of its old files, where there is one."""
    keys: frozenset[str] = frozenset()
    """The private keys in the new files, by the SHA-256 of their public halves, hexadecimal."""


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
        **({"group": plan.group} if plan.group else {}),
    }


def plan_from_json(plain: Mapping[str, Any]) -> Plan:
    """Return the plan of `plan_to_json`; raises KeyError, TypeError or ValueError for anything else."""

    def state(of: Sequence[Any]) -> FileState:
        return FileState(str(of[0]), int(of[1]), int(of[2]), int(of[3]))

    def serving(of: Iterable[Sequence[Any]]) -> tuple[Serving, ...]:
        return tuple(Serving(str(name), tuple(tuple(map(str, chain)) for chain in chains)) for name, chains in of)

    def change(of: Sequence[Any]) -> Change:
        component, path, before, after, given, in_place, says = of
        return Change(
            component=component,
            path=path,
            before=None if before is None else state(before),
            after=None if after is None else state(after),
            given=given,
            in_place=bool(in_place),
            says=says,
        )

    return Plan(
        kind=Kind(plain["kind"]),
        components=tuple(map(str, plain["components"])),
        changes=tuple(map(change, plain["changes"])),
        expected_losses=tuple(map(str, plain["expected_losses"])),
        serves=serving(plain["serves"]),
        served=serving(plain["served"]),
        stands=tuple((str(name), str(path), str(digest)) for name, path, digest in plain["stands"]),
        group=str(plain.get("group", "")),
    )
