"""What becomes of an interrupted transaction is one table, the same in code and documents, and each case has a row."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from actions.ending import Cause
from actions.journal import Event, Record
from actions.verdict import TABLE, Disk, JournalStage, Old, RecoveryFacts, RecoveryVerdict, decide, stage_of

EVERY = [
    RecoveryFacts(stage, disk, old, old_at_hand, new_at_hand, live)
    for stage, disk, old in product(JournalStage, Disk, Old)
    for old_at_hand, new_at_hand, live in product((True, False), repeat=3)
]
"""Every case that there is."""
SWITCHED = [each for each in EVERY if each.stage not in {JournalStage.PREPARED, JournalStage.VALIDATED}]


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        (RecoveryFacts(JournalStage.PREPARED, Disk.OLD), RecoveryVerdict.UNDO),
        (RecoveryFacts(JournalStage.VALIDATED, Disk.NEW), RecoveryVerdict.COMMIT),
        (RecoveryFacts(JournalStage.VALIDATED, Disk.NEW, services_run=False), RecoveryVerdict.COMMIT),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.NEW), RecoveryVerdict.FORWARD),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.NEW, services_run=False), RecoveryVerdict.UNDO),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.NEW, Old.SPENT, services_run=False), RecoveryVerdict.FORWARD),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.NEW, Old.BARRED, services_run=False), RecoveryVerdict.FORWARD),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.MIXED, Old.SPENT), RecoveryVerdict.UNDO),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.MIXED, Old.BARRED), RecoveryVerdict.FORWARD),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.MIXED), RecoveryVerdict.UNDO),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.MIXED, old_at_hand=False), RecoveryVerdict.FORWARD),
        (
            RecoveryFacts(JournalStage.SWITCHED, Disk.MIXED, old_at_hand=False, new_at_hand=False),
            RecoveryVerdict.FREEZE,
        ),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.OLD), RecoveryVerdict.UNDO),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.OLD, Old.BARRED), RecoveryVerdict.FORWARD),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.FOREIGN), RecoveryVerdict.FREEZE),
        (RecoveryFacts(JournalStage.SWITCHED, Disk.UNREADABLE), RecoveryVerdict.FREEZE),
        (RecoveryFacts(JournalStage.UNDOING, Disk.NEW), RecoveryVerdict.UNDO),
        (RecoveryFacts(JournalStage.UNDOING, Disk.NEW, Old.SPENT), RecoveryVerdict.FORWARD),
        (RecoveryFacts(JournalStage.FAILED, Disk.NEW, Old.SPENT), RecoveryVerdict.UNDO),
        (RecoveryFacts(JournalStage.FAILED, Disk.NEW, Old.BARRED), RecoveryVerdict.FORWARD),
        (RecoveryFacts(JournalStage.FAILED, Disk.NEW, old_at_hand=False), RecoveryVerdict.FREEZE),
    ],
    ids=str,
)
def test_recovery_is_decided_by_the_table(facts: RecoveryFacts, verdict: RecoveryVerdict) -> None:
    assert decide(facts) is verdict


def test_what_was_validated_is_committed_whatever_else_is_so() -> None:
    assert {decide(each) for each in EVERY if each.stage is JournalStage.VALIDATED} == {RecoveryVerdict.COMMIT}


def test_all_new_with_an_old_set_that_is_of_no_use_goes_forward_at_boot_as_well() -> None:
    for each in SWITCHED:
        if each.disk is Disk.NEW and each.old is not Old.USABLE and each.stage is not JournalStage.FAILED:
            assert decide(each) is RecoveryVerdict.FORWARD, each


def test_an_old_set_that_may_not_come_back_never_does() -> None:
    for each in SWITCHED:
        if each.old is Old.BARRED and each.disk in {Disk.NEW, Disk.MIXED}:
            assert decide(each) is not RecoveryVerdict.UNDO, each


def test_nothing_is_frozen_half_and_half_where_a_whole_set_can_be_had() -> None:
    for each in SWITCHED:
        whole = each.new_at_hand or (each.old_at_hand and each.old is not Old.BARRED)
        if each.disk is Disk.MIXED and whole:
            assert decide(each) is not RecoveryVerdict.FREEZE, each


def test_nothing_is_undone_that_cannot_be_had_whole() -> None:
    for each in SWITCHED:
        if decide(each) is RecoveryVerdict.UNDO:
            assert each.disk is Disk.OLD or each.old_at_hand, each


def test_somebody_elses_file_is_never_touched() -> None:
    assert {decide(each) for each in SWITCHED if each.disk is Disk.FOREIGN} == {RecoveryVerdict.FREEZE}


def test_every_row_of_the_table_decides_something() -> None:
    first = {next(number for number, row in enumerate(TABLE) if row.covers(each)) for each in EVERY}
    assert first == set(range(len(TABLE)))


def test_the_table_of_the_documents_is_the_one_that_decides() -> None:
    text = (Path(__file__).parents[2] / "docs/architecture.md").read_text().partition("\n## Recovery\n")[2]
    shown = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert shown == [f"| {' | '.join(row.cells())} |" for row in TABLE]


def _records(*events: Event | tuple[Event, Cause]) -> list[Record]:
    return [
        Record(1.0, "a", each) if isinstance(each, Event) else Record(1.0, "a", each[0], {"cause": each[1]})
        for each in events
    ]


@pytest.mark.parametrize(
    ("records", "stage"),
    [
        (_records(Event.BEGIN, Event.STAGED), JournalStage.PREPARED),
        (_records(Event.BEGIN, Event.INTENT), JournalStage.SWITCHED),
        (_records(Event.INTENT, Event.ACTIVATED, Event.VALIDATED), JournalStage.VALIDATED),
        (_records(Event.INTENT, (Event.ROLLING_BACK, Cause.INTERRUPTED)), JournalStage.UNDOING),
        (_records(Event.INTENT, (Event.ROLLING_BACK, Cause.STORAGE)), JournalStage.UNDOING),
        (_records(Event.INTENT, (Event.ROLLING_BACK, Cause.CONFIG_TEST)), JournalStage.FAILED),
        (_records(Event.INTENT, (Event.ROLLING_BACK, Cause.CLIENT_LOST), Event.RECOVERING), JournalStage.FAILED),
        (_records(Event.INTENT, (Event.ROLLING_BACK, Cause.INTERRUPTED), Event.VALIDATED), JournalStage.VALIDATED),
    ],
)
def test_the_journal_says_how_far_it_came(records: list[Record], stage: JournalStage) -> None:
    assert stage_of(records) is stage
