"""The audit has each entry once, in a chain that tells where something was changed, taken out or put in."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from actions import audit
from actions.audit import NOTHING, Break, ChainEntry, Segment, add, chain
from actions.compact import compact
from actions.journal import Event, Record
from actions.world import World
from tests.kit.power_loss import FilmedWorld, ModelWorld, VolatileDisk
from tests.kit.scene import Scene
from tests.kit.worlds import KILLED, Fault, Names, StepWorld, cells, in_a_process, kill


def record(number: int, event: Event = Event.APPROVED, epoch: str = "0123abcd-1") -> Record:
    return Record(float(number), "", event, {"hash": f"{number:064x}", "by": "alice"}, "host", epoch, number)


def numbers(directory: str, world: World | None = None) -> list[int]:
    """Return the number of each record in the audit; fails where the chain does not hold."""
    found = list(chain(audit.read(world or World(), directory)))
    assert [each for each in found if isinstance(each, Break)] == []
    return [each.sequence for each in found if isinstance(each, ChainEntry)]


def breaks(directory: str) -> list[str]:
    return [f"{each.where}: {each.why}" for each in chain(audit.read(World(), directory)) if isinstance(each, Break)]


RECORDS: Sequence[Record] = [record(number) for number in range(1, 7)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a segment take two entries."""
    monkeypatch.setattr(audit, "SEGMENT", 400)


@pytest.fixture
def written(room: Path, small: None) -> str:
    directory = str(room / "audit")
    add(World(), directory, RECORDS)
    assert len(list(audit.read(World(), directory))) == 3
    return directory


def test_each_record_is_there_once_however_often_it_is_added(room: Path) -> None:
    directory = str(room / "audit")
    assert add(World(), directory, []) is None
    for upto in (2, 2, 5, 6, 6):
        last = add(World(), directory, RECORDS[:upto])
        assert last is not None
        assert (last.number, last.sequence) == (upto, upto)
    assert numbers(directory) == [1, 2, 3, 4, 5, 6]


def test_steps_on_the_way_are_left_to_the_journal_and_nothing_long_is_taken_over(room: Path) -> None:
    directory = str(room / "audit")
    plan = {"kind": "replace", "components": ["web"], "changes": ["x" * 999]}
    begin = Record(2.0, "t", Event.BEGIN, {"plan": plan, "hash": "aa", "baseline": "long"}, "", "0123abcd-1", 2)
    add(World(), directory, [record(1), begin, record(3, Event.SWITCHED), record(4, Event.COMMITTED)])
    assert numbers(directory) == [1, 2, 4]
    (entry,) = (
        each for each in chain(audit.read(World(), directory)) if isinstance(each, ChainEntry) and each.number == 2
    )
    assert entry.record["data"] == {"plan": {"kind": "replace", "components": ["web"]}, "hash": "aa"}


def test_the_last_hash_is_carried_over_to_the_next_segment(written: str) -> None:
    found = [[json.loads(line) for line in each.data.splitlines()] for each in audit.read(World(), written)]
    assert found[0][0]["before"] == NOTHING
    assert found[1][0]["before"] == found[0][-1]["sha256"]
    assert found[2][0]["before"] == found[1][-1]["sha256"]
    assert numbers(written) == [1, 2, 3, 4, 5, 6]


def test_another_journal_is_added_whole_and_the_first_once_more_goes_on(written: str) -> None:
    other = [record(number, epoch="89abcdef-3") for number in (1, 2)]
    add(World(), written, other)
    add(World(), written, other)
    add(World(), written, [*RECORDS, record(7)])
    assert numbers(written) == [1, 2, 3, 4, 5, 6, 1, 2, 7]


def rewrite(change: Callable[[bytes], bytes], name: str, directory: str) -> None:
    path = Path(directory, name)
    path.write_bytes(change(path.read_bytes()))


FIRST, SECOND, LAST = "0000000001.jsonl", "0000000003.jsonl", "0000000005.jsonl"


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        pytest.param(
            partial(rewrite, lambda data: data.replace(b"alice", b"mallo", 1), FIRST),
            [f"{FIRST}: the entry after entry 0 is damaged", f"{FIRST}: entry 2 does not follow entry 0"],
            id="an entry says something else",
        ),
        pytest.param(
            partial(rewrite, lambda data: data.partition(b"\n")[2], SECOND),
            [f"{SECOND}: entry 4 does not follow entry 2"],
            id="an entry is taken out",
        ),
        pytest.param(
            partial(rewrite, lambda data: data + data, LAST), [f"{LAST}: entry 5 does not follow entry 6"], id="put in"
        ),
        pytest.param(
            lambda directory: os.unlink(f"{directory}/{SECOND}"),
            [f"{LAST}: entry 5 does not follow entry 2"],
            id="a segment is gone",
        ),
        pytest.param(
            lambda directory: os.unlink(f"{directory}/{FIRST}"),
            [f"{SECOND}: entry 3 does not follow entry 0"],
            id="the first segment is gone",
        ),
        pytest.param(
            partial(rewrite, lambda data: data[:-9], FIRST),
            [f"{FIRST}: its last line is cut off", f"{SECOND}: entry 3 does not follow entry 1"],
            id="a segment is cut off",
        ),
        pytest.param(
            partial(rewrite, lambda data: data.replace(b'"number":1', b'"number":9'), FIRST),
            [f"{FIRST}: the entry after entry 0", f"{FIRST}: entry 2 does not follow entry 0"],
            id="another number",
        ),
    ],
)
def test_what_was_done_to_it_is_told_with_its_place(
    written: str, tamper: Callable[[str], None], says: Sequence[str]
) -> None:
    tamper(written)
    found = breaks(written)
    assert len(found) == len(says), found
    for one, said in zip(found, says, strict=True):
        assert one.startswith(said)


def test_an_entry_written_anew_with_a_right_hash_breaks_the_chain_behind_it(written: str) -> None:
    lines = Path(written, FIRST).read_bytes().splitlines()
    plain = json.loads(lines[0])
    plain["record"]["data"]["by"] = "mallory"
    forged = audit.encode(1, NOTHING, plain["record"])
    Path(written, FIRST).write_bytes(forged + lines[1] + b"\n")
    assert breaks(written) == [f"{FIRST}: entry 2 does not follow entry 1 as it is here"]


def test_after_a_break_it_goes_on_and_the_break_stays(written: str) -> None:
    rewrite(lambda data: data + b"not an entry\n", LAST, written)
    add(World(), written, [*RECORDS, record(7)])
    assert breaks(written) == [f"{LAST}: the entry after entry 6 is damaged"]
    entries = [each for each in chain(audit.read(World(), written)) if isinstance(each, ChainEntry)]
    assert [each.sequence for each in entries] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("torn", [b'{"number":7,"before', bytes(40), b'{"num' + bytes(9) + b'"}\n'])
def test_a_line_that_a_crash_interrupted_is_no_break_and_is_mended(written: str, torn: bytes) -> None:
    rewrite(lambda data: data + torn, LAST, written)
    assert numbers(written) == [1, 2, 3, 4, 5, 6]
    add(World(), written, [*RECORDS, record(7)])
    assert numbers(written) == [1, 2, 3, 4, 5, 6, 7]


def test_a_segment_that_was_only_begun_is_gone_on_with(written: str) -> None:
    Path(written, "0000000007.jsonl").touch()
    add(World(), written, [*RECORDS, record(7)])
    assert numbers(written) == [1, 2, 3, 4, 5, 6, 7]
    assert Path(written, "0000000007.jsonl").stat().st_size


def test_nothing_is_no_break_and_only_segments_are_read(room: Path) -> None:
    assert list(chain(audit.read(World(), str(room / "none")))) == []
    assert list(chain([Segment("0000000001.jsonl", b"")])) == []
    (room / "notes.txt").write_bytes(b"x")
    assert list(audit.read(World(), str(room))) == []


def test_killed_at_any_step_it_has_each_entry_once_after_the_next_start(room: Path, small: None) -> None:
    def prepared(name: str) -> str:
        add(World(), str(room / name), RECORDS[:2])
        return str(room / name)

    def called(directory: str, fault: Fault | None = None) -> StepWorld:
        world = StepWorld(fault)
        world.spelling = Names(((directory, "audit"),))
        return world

    traced = prepared("traced")
    world = called(traced)
    add(world, traced, RECORDS)
    assert sum(step.name == "create" for step in world.trace) == 2
    for number, cell in enumerate(cells(world.trace)):
        directory = prepared(f"{number}")
        killed = called(directory, kill(cell.step, cell.when))
        assert in_a_process(lambda: add(killed, directory, RECORDS)) == KILLED, cell  # noqa: B023
        found = numbers(directory)
        assert found == list(range(1, len(found) + 1)), cell
        add(World(), directory, RECORDS)
        assert numbers(directory) == [1, 2, 3, 4, 5, 6], cell


def test_power_lost_at_any_step_takes_nothing_that_was_added_and_nothing_comes_twice(small: None) -> None:
    disk = VolatileDisk()
    ModelWorld(disk).make_directory("/state")
    disk.sync()
    add(ModelWorld(disk), "/state/audit", RECORDS[:2])
    world = FilmedWorld(disk)
    add(world, "/state/audit", RECORDS)
    chance = random.Random(7)
    moments = world.end()
    for moment in moments:
        for kept in (lambda: False, lambda: True, *(lambda: chance.random() < 0.5,) * 12):
            after = moment.disk.copy()
            after.lose(kept)
            found = numbers("/state/audit", ModelWorld(after))
            assert found[:2] == [1, 2], moment.about
            assert moment is not moments[-1] or found == [1, 2, 3, 4, 5, 6]
            add(ModelWorld(after), "/state/audit", RECORDS)
            after.lose(lambda: False)
            assert numbers("/state/audit", ModelWorld(after)) == [1, 2, 3, 4, 5, 6], moment.about


def test_processes_that_add_at_once_add_each_once(room: Path) -> None:
    directory = str(room / "audit")
    held = World()
    add(held, directory, [])
    lock = held.open(f"{directory}/lock")
    held.lock(lock, wait=True)
    children = [os.fork() for _ in range(3)]
    if 0 in children:
        add(World(), directory, RECORDS)
        os._exit(0)
    held.unlock(lock)
    held.close(lock)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert numbers(directory) == [1, 2, 3, 4, 5, 6]


def assert_added(last: ChainEntry | None) -> None:
    assert last is not None


def test_what_the_journal_leaves_out_is_in_the_audit_before(room: Path) -> None:
    """The two are one story: a journal that was compacted takes nothing from the audit, and adds nothing twice."""
    made = Scene(str(room / "scene"))
    for _ in range(2):
        made.replace()
    context, directory = made.context(), str(room / "audit")
    with closing(context.journal):
        every = [each.sequence for each in context.journal.records() if each.event not in audit.STEPS]
        assert compact(context, lambda records: assert_added(add(World(), directory, records))) is None
        assert numbers(directory) == every
        add(World(), directory, context.journal.records())
        assert numbers(directory) == [*every, context.journal.records()[-1].sequence]
