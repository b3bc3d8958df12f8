"""The verdict on an interrupted transaction: one table over the journal, the files and the worth of the old set; pure.

The same table is in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from actions.ending import Cause
from actions.journal import Event, Record
from config.immutable import immutable


class JournalStage(StrEnum):
    """The progress of a transaction, by the journal."""

    PREPARED = "prepared"
    """No file was switched."""
    SWITCHED = "switched"
    """Files may have been switched."""
    VALIDATED = "validated"
    UNDOING = "undoing"
    """On the way back, through no fault of the new set."""
    FAILED = "failed"
    """On the way back, since the new set failed."""


class Disk(StrEnum):
    """The condition of the files on disk."""

    OLD = "old"
    NEW = "new"
    MIXED = "mixed"
    """Some are old and some new, torn or missing."""
    FOREIGN = "foreign"
    """At least one file is another writer's."""
    UNREADABLE = "unreadable"
    """They cannot be read now."""


class Old(StrEnum):
    """The worth of the old set now."""

    USABLE = "usable"
    SPENT = "spent"
    """Servers start with it, and no client accepts it: it is expired or revoked."""
    BARRED = "barred"
    """It may not come back: its key was given up, or no server starts with it."""


class RecoveryVerdict(StrEnum):
    """The action of the recovery."""

    COMMIT = "commit"
    FORWARD = "go forward"
    """With the new set, made whole first by renaming the staged files; tested, activated and validated where services
    run."""
    UNDO = "undo"
    """With the old set, made whole first by renames."""
    FREEZE = "freeze"


@immutable
class RecoveryFacts:
    """All facts that recovery decides by."""

    stage: JournalStage
    disk: Disk
    old: Old = Old.USABLE
    old_at_hand: bool = True
    """The whole old set can be had: each missing file lies beside its target or in the backup set, intact."""
    new_at_hand: bool = True
    """The whole new set can be had: each missing file lies beside its target, intact."""
    services_run: bool = True
    """Services run; they do not at boot."""


@immutable
class VerdictRow:
    """One row of the table; an empty cell matches everything."""

    verdict: RecoveryVerdict
    stages: tuple[JournalStage, ...] = ()
    disks: tuple[Disk, ...] = ()
    old: tuple[Old, ...] = ()
    at_hand: str = ""
    """Which whole set must be at hand, `old` or `new`."""
    services_run: bool | None = None

    def covers(self, facts: RecoveryFacts) -> bool:
        """Whether this row matches these facts."""
        return (
            (not self.stages or facts.stage in self.stages)
            and (not self.disks or facts.disk in self.disks)
            and (not self.old or facts.old in self.old)
            and (self.at_hand != "old" or facts.old_at_hand)
            and (self.at_hand != "new" or facts.new_at_hand)
            and (self.services_run is None or facts.services_run is self.services_run)
        )

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, the verdict last."""
        services = {None: "", True: "run", False: "are down"}[self.services_run]
        return (
            ", ".join(self.stages),
            ", ".join(self.disks),
            ", ".join(self.old),
            self.at_hand,
            services,
            self.verdict,
        )


TABLE: Final = (
    VerdictRow(RecoveryVerdict.UNDO, (JournalStage.PREPARED,)),
    VerdictRow(RecoveryVerdict.COMMIT, (JournalStage.VALIDATED,)),
    VerdictRow(RecoveryVerdict.FREEZE, disks=(Disk.FOREIGN, Disk.UNREADABLE)),
    VerdictRow(RecoveryVerdict.FORWARD, disks=(Disk.NEW,), old=(Old.BARRED,)),
    VerdictRow(RecoveryVerdict.FORWARD, (JournalStage.SWITCHED, JournalStage.UNDOING), (Disk.NEW,), (Old.SPENT,)),
    VerdictRow(RecoveryVerdict.FORWARD, (JournalStage.SWITCHED,), (Disk.NEW,), services_run=True),
    VerdictRow(RecoveryVerdict.UNDO, disks=(Disk.NEW,), at_hand="old"),
    VerdictRow(RecoveryVerdict.FORWARD, (JournalStage.SWITCHED, JournalStage.UNDOING), (Disk.NEW,)),
    VerdictRow(RecoveryVerdict.FREEZE, disks=(Disk.NEW,)),
    VerdictRow(RecoveryVerdict.FORWARD, (JournalStage.SWITCHED,), (Disk.OLD,), (Old.BARRED,), "new"),
    VerdictRow(RecoveryVerdict.UNDO, disks=(Disk.OLD,)),
    VerdictRow(RecoveryVerdict.UNDO, disks=(Disk.MIXED,), old=(Old.USABLE, Old.SPENT), at_hand="old"),
    VerdictRow(RecoveryVerdict.FORWARD, disks=(Disk.MIXED,), at_hand="new"),
    VerdictRow(RecoveryVerdict.FREEZE),
)
"""The first matching row counts."""

_NO_FAULT_OF_THE_NEW: Final = frozenset(
    {Cause.INTERRUPTED, Cause.STORAGE, Cause.JOURNAL, Cause.INTERNAL, Cause.CHANGED, Cause.STOP}
)


def decide(facts: RecoveryFacts) -> RecoveryVerdict:
    """Return the action for a transaction with these facts."""
    return next(row.verdict for row in TABLE if row.covers(facts))


def stage_of(records: Sequence[Record]) -> JournalStage:
    """Return the progress of a transaction, by its records."""
    stage = JournalStage.PREPARED
    for each in records:
        if each.event is Event.INTENT:
            stage = JournalStage.SWITCHED
        elif each.event is Event.VALIDATED:
            stage = JournalStage.VALIDATED
        elif each.event is Event.ROLLING_BACK:
            stage = JournalStage.UNDOING if Cause(each.data["cause"]) in _NO_FAULT_OF_THE_NEW else JournalStage.FAILED
    return stage
