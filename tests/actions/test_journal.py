"""The journal tells what a crash interrupted from what something has damaged."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actions.journal import Event, Journal, JournalError, Record, Shorter, decode, encode
from actions.journal_state import JournalState, TakenIn, frozen
from actions.world import World
from tests.kit.worlds import KILLED, Step, StepWorld, fail, in_a_process, kill

BEGIN = Record(1.0, "a", Event.BEGIN, {"plan": {"components": ["web"]}})
INTENT = Record(2.0, "a", Event.INTENT)
CLOSED = Record(3.0, "a", Event.CLOSED)


def written(path: Path, *records: Record) -> str:
    journal = Journal(World(), str(path / "journal"))
    for record in records:
        journal.append(record)
    journal.close()
    return str(path / "journal")


def read(path: str) -> tuple[Record, ...]:
    return tuple(Journal(World(), path).records())


def line(path: str, number: int) -> int:
    """Return where a line begins; the first is number 0."""
    return sum(len(each) + 1 for each in Path(path).read_bytes().split(b"\n")[:number])


def change(path: str, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_records_come_back_as_they_were_written(room: Path) -> None:
    assert read(written(room, BEGIN, INTENT, CLOSED)) == (BEGIN, INTENT, CLOSED)


def test_a_record_is_one_line_of_json_whatever_text_is_in_it() -> None:
    encoded = encode(Record(1.0, "a", Event.FROZEN, {"reason": "\n\x00\u2028 \ud800", "components": ["web"]}))
    assert encoded.count(b"\n") == 1
    assert b"\0" not in encoded
    assert decode(encoded).records[0].data["reason"] == "\n\x00\u2028 \ud800"


@pytest.mark.parametrize("cut", [1, 20, len(encode(INTENT)) - 1])
def test_a_torn_record_at_the_end_was_never_kept_and_the_next_takes_its_place(cut: int, room: Path) -> None:
    path = written(room, BEGIN)
    change(path, line(path, 1), encode(INTENT)[:cut])
    journal = Journal(World(), path)
    assert journal.records() == [BEGIN]
    journal.append(CLOSED)
    assert read(path) == (BEGIN, CLOSED)


def test_a_record_whose_first_blocks_never_reached_the_medium_was_never_kept(room: Path) -> None:
    path = written(room, BEGIN)
    torn = encode(Record(2.0, "a", Event.FROZEN, {"reason": "longer than what comes in its place" * 9}))
    change(path, line(path, 1), bytes(10) + torn[10:])
    journal = Journal(World(), path)
    journal.append(CLOSED)
    assert read(path) == (BEGIN, CLOSED)


def test_blanking_a_torn_record_gives_no_reserved_space_back(room: Path) -> None:
    path = written(room, BEGIN)
    change(path, line(path, 1), b'{"at"')
    before = os.stat(path)
    Journal(World(), path).append(INTENT)
    assert (os.stat(path).st_size, os.stat(path).st_blocks) == (before.st_size, before.st_blocks)


def test_a_wrong_checksum_in_the_middle_stops_everything_and_names_the_line(room: Path) -> None:
    path = written(room, BEGIN, INTENT, CLOSED)
    change(path, line(path, 1) + 8, b"9")
    with pytest.raises(JournalError, match="line 2 of the journal is not what was written: its checksum is wrong"):
        Journal(World(), path)


def test_a_whole_line_with_a_wrong_checksum_is_damage_also_at_the_end(room: Path) -> None:
    path = written(room, BEGIN, INTENT)
    change(path, line(path, 1) + 8, b"9")
    with pytest.raises(JournalError, match="line 2"):
        Journal(World(), path)


def test_a_hole_before_whole_records_stops_everything(room: Path) -> None:
    path = written(room, BEGIN, INTENT, CLOSED)
    change(path, line(path, 1), bytes(10))
    with pytest.raises(JournalError, match="a hole after line 1"):
        Journal(World(), path)


def test_a_record_of_a_kind_unknown_here_stops_everything(room: Path) -> None:
    path = written(room)
    unknown = encode(BEGIN).replace(b'"begin"', b'"begun"')
    body = unknown[: unknown.index(b',"crc32"')]
    with open(path, "wb") as file:
        file.write(body + b',"crc32":"%08x"}\n' % zlib.crc32(body))
    with pytest.raises(JournalError, match="of a kind this version does not know"):
        Journal(World(), path)


def test_the_way_back_has_space_of_its_own_from_the_first_record_on(room: Path) -> None:
    path = written(room, BEGIN)
    assert os.stat(path).st_size >= 65_536
    assert os.stat(path).st_blocks * 512 >= 65_536


def test_without_space_for_the_way_back_nothing_begins(room: Path) -> None:
    def full(step: Step, act: Callable[[], Any], _: tuple[Any, ...]) -> Any:
        if step.name == "reserve":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return act()

    world = StepWorld(full)
    journal = Journal(world, str(room / "journal"))
    with pytest.raises(JournalError, match="No space left on device"):
        journal.append(BEGIN)
    assert read(str(room / "journal")) == ()


def test_after_a_failed_fsync_this_journal_takes_no_other_record(room: Path) -> None:
    trace = StepWorld()
    Journal(trace, str(room / "journal")).append(BEGIN)
    os.unlink(room / "journal")
    sync = next(step for step in trace.trace if step.name == "sync")
    journal = Journal(StepWorld(fail(sync, errno.EIO)), str(room / "journal"))
    with pytest.raises(JournalError, match="Input/output error"):
        journal.append(BEGIN)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.append(INTENT)


def test_a_kill_amid_writing_leaves_what_the_next_process_writes_over(room: Path) -> None:
    trace = StepWorld()
    Journal(trace, written(room, BEGIN)).append(INTENT)
    write = next(step for step in trace.trace if step.name == "write_at")
    os.unlink(room / "journal")
    path = written(room, BEGIN)
    world = StepWorld(kill(write, "amid"))
    assert in_a_process(lambda: Journal(world, path).append(INTENT)) == KILLED
    assert decode(Path(path).read_bytes()).torn
    Journal(World(), path).append(CLOSED)
    assert read(path) == (BEGIN, CLOSED)


def test_processes_that_write_at_once_lose_no_record_of_each_other(room: Path) -> None:
    path = written(room)
    journals = [Journal(World(), path) for _ in range(3)]
    for number in range(30):
        journals[number % 3].append(Record(float(number), str(number), Event.BEGIN))
    assert [record.at for record in read(path)] == [float(number) for number in range(30)]
    assert [record.at for record in journals[0].records()] == [float(number) for number in range(30)]


def test_a_transaction_is_unfinished_until_it_is_closed_or_frozen() -> None:
    other = Record(4.0, "b", Event.BEGIN)
    assert list(JournalState.of([BEGIN, other, INTENT]).unfinished) == ["a", "b"]
    assert list(JournalState.of([BEGIN, other, CLOSED]).unfinished) == ["b"]
    assert not JournalState.of([BEGIN, Record(5.0, "a", Event.FROZEN, {"components": ["web"]})]).unfinished


def test_the_state_of_a_journal_is_made_anew_only_for_other_records(room: Path) -> None:
    path = written(room)
    journal, another, state = Journal(World(), path), Journal(World(), path), TakenIn(JournalState.of)
    first = state.of(journal.records())
    assert state.of(journal.records()) is first
    another.append(Record(6.0, "z", Event.BEGIN))
    second = state.of(journal.records())
    assert "z" in second.unfinished
    assert "z" not in first.unfinished
    # As many records, in another file.
    kept = journal.records()[1:]
    assert another.shorten(lambda _: Shorter(kept, Record(7.0, "", Event.COMPACTED, {"counts": []})))
    third = state.of(journal.records())
    assert third is not second
    assert third.unfinished == JournalState.of(another.records()).unfinished


def test_a_component_is_frozen_until_it_is_thawed() -> None:
    froze = Record(1.0, "a", Event.FROZEN, {"components": ["mail", "web"], "reason": "why"})
    assert frozen([froze, Record(2.0, "a", Event.THAWED, {"components": ["web"]})]) == {"mail": "why"}


def test_a_candidate_is_in_quarantine_until_it_is_released() -> None:
    record = Record(1.0, "a", Event.QUARANTINED, {"candidate": "c", "reason": "why"})
    assert JournalState.of([record]).quarantined == {"c": "why"}
    assert JournalState.of([record, Record(2.0, "a", Event.RELEASED, {"candidate": "c"})]).quarantined == {}
