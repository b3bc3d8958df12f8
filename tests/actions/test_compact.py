"""A compacted journal amounts to the same, loses no record of anybody, and survives whatever befalls it meanwhile."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions.compact import ENOUGH, YOUNG, compact, is_due, shorter
from actions.contest import commits_of
from actions.ending import Cause, Outcome
from actions.journal import Event, Journal, JournalError, Record, Shorter, birth
from actions.journal_state import RECENT, ActionRequest, JournalState
from actions.lock import Locks, acquire
from actions.plan import Kind
from actions.world import World
from monitor.actor.transactions import Transactions
from tests.kit.examples import examples
from tests.kit.power_loss import CutMoment, FilmedWorld, ModelWorld, VolatileDisk
from tests.kit.scene import Scene
from tests.kit.worlds import KILLED, Fault, Names, StepWorld, cells, fail, in_a_process, kill

LATER = 10 * YOUNG
"""When every record of the stories below is old."""
COMPONENTS = ("mail", "web")


class JournalStory:
    """A journal as certvigil writes it, of which a source of choices says how it goes on."""

    def __init__(self, choose: Callable[[Sequence[Any]], Any]) -> None:
        self.choose = choose
        self.records: list[Record] = []
        self.names = 0
        self._state, self._taken_in = JournalState(), 0

    def note(self, event: Event, transaction: str = "", **data: Any) -> None:
        """Append a record; now and then the clock goes back."""
        at = len(self.records) - self.choose([0, 0, 0, 50])
        self.records.append(Record(float(at), transaction, event, data, "", "0123abcd-1", len(self.records) + 1))

    def go_on(self) -> None:
        """Have one more thing happen."""
        self.choose(
            [
                self.transaction,
                self.transaction,
                self.look,
                self.word,
                self.refusal,
                self.decline,
                self.thaw,
                self.release,
                self.key,
                self.request,
                self.root,
                self.other,
            ]
        )()

    def state(self) -> JournalState:
        """Return the state that the records so far make."""
        for record in self.records[self._taken_in :]:
            self._state.take(record)
        self._taken_in = len(self.records)
        return self._state

    def components(self) -> list[str]:
        return list(self.choose([("mail",), ("web",), COMPONENTS]))

    def hash(self) -> str:
        return str(self.choose(["p1", "p2", "p3"]))

    def transaction(self) -> None:
        self.names += 1
        name, components = f"t{self.names}", self.components()
        candidate, kind = self.choose(["c1", "c2"]), self.choose(list(Kind))
        changes = [[each, f"/{each}", None, ["ab", 1, 2, 3], "", False, ""] for each in components]
        if self.command(name, components):
            return
        self.note(
            Event.BEGIN,
            name,
            plan={
                "kind": kind,
                "components": components,
                "changes": changes if kind != Kind.ACTIVATE else [],
                "expected_losses": [],
                "serves": [["web", [[f"leaf of {name}"]]]],
                "served": [],
                "stands": [],
            },
            hash=self.hash(),
            by="alice",
            candidate=candidate,
            begins={each: float(self.choose([1, 2, 3])) for each in components},
            answers=self.choose([[], [], ["k1"], ["k1", "k3"]]),
        )
        self.note(Event.STAGED, name)
        if self.choose([True, False]):
            self.note(Event.VALIDATED, name, accepted=[["browser", "web"]])
        if self.choose([True, False]):
            self.note(Event.ROLLING_BACK, name)
        how = self.choose([Event.COMMITTED, Event.ROLLED_BACK, Event.FAILED_FORWARD, Event.FROZEN])
        said: dict[str, Any] = {"outcome": how.value, "cause": "none", "reason": self.choose(["one", "another"])}
        if how is Event.FROZEN:
            again = self.choose([True, False])
            self.note(how, name, components=components, again=again, **said)
            if not again or self.choose([True, False]):
                return
            # Recovery has ended it after all.
            how = Event.COMMITTED
            said["outcome"] = how.value
        if how is Event.ROLLED_BACK and self.choose([True, False]):
            self.note(Event.QUARANTINED, name, candidate=candidate, reason=said["reason"])
        if self.command(name, components):
            return
        self.note(how, name, **said)
        if self.choose([True, False]):
            files = [[each, f"/{each}", f"/.{each}.{name}.old", "ab"] for each in components]
            self.note(Event.ASIDE, name, files=files, until=float(len(self.records) + 600))
        if self.choose([True, True, True, False]):
            self.note(Event.CLOSED, name)

    def command(self, name: str, components: list[str]) -> bool:
        """Have a command begin, or none; returns whether its transaction is killed amid it."""
        if self.choose([True, False]):
            self.note(Event.COMMAND, name, components=components, what="test", command=["/bin/true"], limit=9.0)
            return bool(self.choose([True, False, False, False]))
        return False

    def look(self) -> None:
        """Have what a killed process left settled, and what stays linked compared and let go."""
        journal_state = self.state()
        if not (journal_state.commands or journal_state.aside):
            self.other()
        for name, left in journal_state.commands.items():
            if self.choose([True, False]):
                self.note(Event.COMMAND_OVER, name, components=left.data["components"], fate="gone", reason="x")
        for name, each in journal_state.aside.items():
            component = self.choose(each.components)
            if self.choose([True, False]):
                files = [[file.path, file.aside, "cd"] for file in each.files if file.component == component]
                data = {"components": [component], "files": files, "written": 1.0, "set": "s", "kept": "/s"}
                self.note(Event.WRITTEN_LATE, name, **data)
            if self.choose([True, False]):
                self.note(Event.LET_GO, name, components=list(each.components))

    def word(self) -> None:
        plan, kind, components = self.hash(), self.choose(list(Kind)), self.components()
        action = ActionRequest(kind, tuple(components)).to_json()
        case = {each: self.choose(["leaf 1", "leaf 2"]) for each in components}
        self.note(Event.PROPOSED, hash=plan, action=action, by="daemon", case=case, shown="it")
        match self.choose([None, Event.APPROVED, Event.REJECTED, Event.WITHDRAWN]):
            case Event.APPROVED:
                self.note(Event.APPROVED, hash=plan, by="bob", until=9e9)
            case Event.REJECTED:
                self.note(Event.REJECTED, hash=plan, by="bob", reason="no", kind=kind, components=components, case=case)
            case Event.WITHDRAWN:
                self.note(Event.WITHDRAWN, hash=plan, action=action)

    def refusal(self) -> None:
        self.names += 1
        what = {"kind": Kind.REPLACE, "components": self.components(), "hash": self.hash(), "by": "daemon"}
        self.note(Event.REFUSED, f"t{self.names}", **what, outcome="refused", cause="busy", reason="x")

    def decline(self) -> None:
        """Refuse something before there is a transaction."""
        what: dict[str, Any] = {
            "kind": Kind.REPLACE,
            "components": self.components(),
            "by": "alice",
            "said": self.hash(),
        }
        self.note(Event.DECLINED, **what, outcome="refused", cause="target", reason="x")

    def thaw(self) -> None:
        frozen = [each for each in self.records if each.event is Event.FROZEN]
        if frozen and self.choose([True, False]):
            of = self.choose(frozen)
            self.note(Event.CLOSED, of.transaction)
            self.note(Event.THAWED, of.transaction, components=of.data["components"])
        else:
            self.note(Event.THAWED, components=self.components())

    def release(self) -> None:
        self.note(Event.RELEASED, candidate=self.choose(["c1", "c2"]))

    def other(self) -> None:
        number = len(self.records)
        if number % 2:
            self.note(Event.UNNEEDED, components=self.components(), reason="it is installed")
            return
        refused = {"outcome": Outcome.REFUSED, "cause": Cause.OBJECTION, "reason": "no name fits"}
        said = {"kind": Kind.REPLACE, "by": "alice", "said": f"s{number % 3}"}
        self.note(Event.DECLINED, components=self.components(), **said, **refused)

    def key(self) -> None:
        """Give a private key up, or take that back."""
        event = self.choose([Event.KEY_GIVEN_UP, Event.KEY_GIVEN_UP, Event.KEY_REINSTATED])
        self.note(event, keys=[self.choose(["k1", "k2"])], components=self.components(), by="alice")

    def request(self) -> None:
        """Have a request for a certificate made, withdrawn, or its key removed."""
        event = self.choose([Event.REQUESTED, Event.REQUESTED, Event.REQUEST_WITHDRAWN, Event.REQUEST_CLEARED])
        about: dict[str, Any] = {"components": self.components(), "names": ["www.example.com"], "by": "alice"}
        about |= {"until": 9e9, "key": self.choose(["k1", "k2", "k3"]), "reason": self.choose(["one", "another"])}
        self.note(event, **about)

    def root(self) -> None:
        """Have an operator say what a trust store of other machines holds."""
        event = self.choose([Event.ROOT_CONFIRMED, Event.ROOT_GONE])
        self.note(event, components=[self.choose(["s1", "s2"])], root=self.choose(["r1", "r2"]), by="alice")

    def close(self) -> None:
        """End what did not end."""
        for name in tuple(self.state().unfinished):
            self.note(Event.CLOSED, name)


def told(length: int, seed: int = 0) -> list[Record]:
    """Return a story of so many things."""
    story = JournalStory(random.Random(seed).choice)
    for _ in range(length):
        story.go_on()
    story.close()
    return story.records


def made_short(records: Sequence[Record], now: float = LATER) -> list[Record]:
    found = shorter(records, now)
    assert isinstance(found, Shorter), found
    return [*found.kept, replace(found.note, epoch="0123abcd-2", sequence=records[-1].sequence + 1)]


@settings(deadline=None, max_examples=examples(80))
@given(st.data())
def test_the_account_of_a_compacted_journal_is_the_one_before_and_again_after_more(data: st.DataObject) -> None:
    story = JournalStory(lambda among: data.draw(st.sampled_from(among)))
    for _ in range(data.draw(st.integers(1, 25))):
        story.go_on()
    story.close()
    short = made_short(story.records)
    assert JournalState.of(short) == JournalState.of(story.records)
    more = JournalStory(lambda among: data.draw(st.sampled_from(among)))
    more.records, more.names = list(story.records), story.names
    for _ in range(data.draw(st.integers(0, 5))):
        more.go_on()
    later = more.records[len(story.records) :]
    assert JournalState.of([*short, *later]) == JournalState.of(more.records)
    more.close()
    closed = [*short, *more.records[len(story.records) :]]
    assert JournalState.of(made_short(closed)) == JournalState.of(more.records)


# The seeds are as good as each other.
@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(each, marks=pytest.mark.slow) for each in range(3, 12))])
def test_a_long_journal_becomes_short_and_says_the_same_of_whatever_is_asked_of_it(seed: int) -> None:
    records = told(600, seed)
    short = made_short(records)
    assert JournalState.of(short) == JournalState.of(records)
    assert len(short) < len(records) / 3
    before, after = Transactions.of(records), Transactions.of(short)
    for component in COMPONENTS:
        assert after.to_be_served(component) == before.to_be_served(component)
        assert commits_of(short, component, ["web"]) == commits_of(records, component, ["web"])
    assert [each.sequence for each in short] == sorted({each.sequence for each in short})
    frozen = {each.transaction for each in records if each.event is Event.FROZEN}
    for name in frozen & {each.transaction for each in short}:
        assert [each for each in short if each.transaction == name] == [e for e in records if e.transaction == name]


def test_compacted_once_more_nothing_is_left_out() -> None:
    short = made_short(told(300))
    assert made_short(short)[:-1] == short[:-1]


def test_nothing_is_left_out_while_something_is_under_way() -> None:
    records = [*told(50), Record(99.0, "open", Event.BEGIN, {"plan": {"kind": "replace", "components": ["web"]}})]
    assert shorter(records, LATER) == "open did not end yet"


def test_what_is_young_stays() -> None:
    records = told(200)
    assert {each.sequence for each in records} <= {each.sequence for each in made_short(records, YOUNG / 2)}


@pytest.mark.parametrize("event", [Event.UNNEEDED, Event.COMPACTED])
def test_what_was_written_when_the_clock_was_ahead_stays_so_that_this_is_noticed(event: Event) -> None:
    records = told(50)
    ahead = Record(LATER + 60, "", event, {"components": [], "counts": []}, "", "0123abcd-1", len(records) + 1)
    counted = Record(1.0, "", Event.UNNEEDED, {"components": ["web"]}, "", "0123abcd-1", len(records) + 2)
    assert ahead in made_short([ahead, *records, counted])


def test_each_field_of_an_account_has_something_in_the_stories() -> None:
    """A field that the stories above say nothing of would be proved by none of them."""
    seen: set[str] = set()
    for seed in range(40):
        for length in (10, 60):
            story = JournalStory(random.Random(seed).choice)
            for _ in range(length):
                story.go_on()
            journal_state = JournalState.of(story.records)
            seen |= {each.name for each in fields(journal_state) if getattr(journal_state, each.name)}
    assert seen == {each.name for each in fields(JournalState)}


def test_an_account_that_would_be_another_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a field depends on something that no entry shows."""
    take = JournalState.take

    def counting(self: JournalState, record: Record) -> Any:
        self.thawed["records"] = self.thawed.get("records", 0.0) + 1
        return take(self, record)

    monkeypatch.setattr(JournalState, "take", counting)
    found = shorter(told(50), LATER)
    assert found == "the state of the journal would differ without the records that no longer count"


def test_it_is_due_when_it_is_large_and_again_when_it_is_twice_what_stayed() -> None:
    assert not is_due([], ENOUGH - 1)
    assert is_due([], ENOUGH)
    stayed = Record(1.0, "", Event.COMPACTED, {"counts": [], "bytes": ENOUGH})
    assert not is_due([stayed, *told(3)], 2 * ENOUGH - 1)
    assert is_due([stayed, *told(3)], 2 * ENOUGH)


def test_what_is_remembered_of_commits_is_bounded_and_refusals_do_not_push_it_out() -> None:
    story = JournalStory(random.Random(1).choice)
    while len(JournalState.of(story.records).changes.get("web", ())) < 3:
        story.transaction()
    story.close()
    commits = commits_of(story.records, "web", [])
    for _ in range(2 * RECENT):
        story.refusal()
    assert commits_of(made_short(story.records), "web", []) == commits != ()


# The file


def write(path: str, records: Sequence[Record], world: World | None = None) -> None:
    with closing(Journal(world or World(), path)) as journal:
        for record in records:
            journal.append(record)


def read(path: str, world: World | None = None) -> list[Record]:
    with closing(Journal(world or World(), path)) as journal:
        return list(journal.records())


def called(path: str, fault: Fault | None = None) -> StepWorld:
    """Return a world in which each step has the same name wherever the journal lies."""
    world = StepWorld(fault)
    world.spelling = Names(((path, "journal"),))
    return world


def shorten(path: str, world: World | None = None) -> bool:
    with closing(Journal(world or World(), path)) as journal:
        return journal.shorten(half)


def half(records: Sequence[Record]) -> Shorter:
    """Keep every second record."""
    return Shorter(records[::2], Record(9.0, "", Event.COMPACTED, {"counts": [], "bytes": 0}))


def numbered(count: int) -> list[Record]:
    return [Record(float(number), f"t{number}", Event.STAGED) for number in range(count)]


def test_numbers_go_on_and_the_epoch_is_another_of_the_same_journal(room: Path) -> None:
    path = str(room / "journal")
    write(path, numbered(5))
    before = read(path)
    assert [each.sequence for each in before] == [1, 2, 3, 4, 5]
    assert shorten(path)
    write(path, numbered(1))
    after = read(path)
    assert [each.sequence for each in after] == [1, 3, 5, 6, 7]
    assert after[:3] == before[::2]
    assert [each.epoch for each in after[:3]] == [each.epoch for each in before[::2]]
    assert after[3].epoch == after[4].epoch != before[0].epoch
    assert birth(after[4].epoch) == birth(before[0].epoch)
    write(str(room / "other"), numbered(1))
    assert birth(read(str(room / "other"))[0].epoch) != birth(before[0].epoch)


def test_whoever_has_the_old_file_open_reads_and_appends_to_the_new_one(room: Path) -> None:
    path = str(room / "journal")
    write(path, numbered(4))
    with closing(Journal(World(), path)) as reader, closing(Journal(World(), path)) as writer:
        assert len(reader.records()) == 4
        assert shorten(path)
        writer.append(Record(5.0, "late", Event.STAGED))
        assert [each.transaction for each in reader.records()] == ["t0", "t2", "", "late"]
    assert [each.sequence for each in read(path)] == [1, 3, 5, 6]


def test_an_appender_who_waits_for_the_lock_of_the_old_file_loses_nothing(room: Path) -> None:
    """It comes after the file was read for the last time and before its name is given to another."""
    path = str(room / "journal")
    write(path, numbered(4))
    world = World()
    old = world.open(path)
    with closing(Journal(world, path)) as appender:

        def late(records: Sequence[Record]) -> Shorter:
            assert not world.lock(old, wait=False), "nobody else has the old file while it is replaced"
            return half(records)

        with closing(Journal(world, path)) as journal:
            assert journal.shorten(late)
        # The lock of the old file, which nobody else wants any more, is to be had; the file is not the journal.
        assert world.lock(old, wait=False)
        world.unlock(old)
        appender.append(Record(5.0, "late", Event.STAGED))
    assert read(path)[-1].transaction == "late"


def test_nobody_appends_to_the_new_file_before_its_name_is_on_the_medium(room: Path) -> None:
    path = str(room / "journal")
    write(path, numbered(4))
    held: list[bool] = []

    def watch(step: Any, act: Callable[[], Any], _given: tuple[Any, ...]) -> Any:
        if step.name == "sync_directory":
            other = World().open(path)
            held.append(not World().lock(other, wait=False))
            World().close(other)
        return act()

    assert shorten(path, StepWorld(watch))
    assert held == [True]


def test_many_processes_append_while_the_journal_is_compacted_and_no_record_is_lost(room: Path) -> None:
    path = str(room / "journal")
    write(path, numbered(2))
    journals = [Journal(World(), path) for _ in range(3)]
    for number in range(60):
        journals[number % 3].append(Record(float(number), f"n{number}", Event.STAGED))
        if number % 7 == 0:
            journals[(number + 1) % 3].shorten(
                lambda records: Shorter(
                    [each for each in records if each.event is not Event.COMPACTED],
                    Record(0.0, "", Event.COMPACTED, {"counts": []}),
                )
            )
    names = [each.transaction for each in read(path) if each.transaction.startswith("n")]
    assert names == [f"n{number}" for number in range(60)]
    assert [each.transaction for each in journals[0].records()] == [each.transaction for each in read(path)]


def trace(room: Path) -> StepWorld:
    path = str(room / "traced")
    world = called(path)
    write(path, numbered(5))
    shorten(path, world)
    return world


def test_killed_at_any_step_leaves_the_old_journal_or_the_new_one_and_both_go_on(room: Path) -> None:
    whole, short = numbered(5), numbered(5)[::2]
    ways = set()
    for number, cell in enumerate(cells(trace(room).trace)):
        path = str(room / f"{number}")
        write(path, numbered(5))
        world = called(path, kill(cell.step, cell.when))
        assert in_a_process(partial(shorten, path, world)) == KILLED, cell
        found = [each for each in read(path) if each.event is not Event.COMPACTED]
        assert found in (whole, short), cell
        ways.add(len(found))
        write(path, [Record(7.0, "next", Event.STAGED)])
        assert shorten(path), cell
        assert read(path)[0] == whole[0]
        assert not (room / f"{number}.new").exists(), cell
    assert ways == {3, 5}


def test_an_error_at_any_step_loses_nothing_and_is_said(room: Path) -> None:
    whole, short = numbered(5), numbered(5)[::2]
    said = 0
    for step in (each for each in trace(room).trace if each.changes and each.name not in {"close", "lock", "unlock"}):
        path = str(room / f"{step.number}")
        write(path, numbered(5))
        with suppress(JournalError):
            shorten(path, called(path, fail(step, errno.EIO)))
            said -= 1
        said += 1
        assert [each for each in read(path) if each.event is not Event.COMPACTED] in (whole, short), step
        write(path, [Record(7.0, "next", Event.STAGED)])
        assert read(path)[-1].transaction == "next"
    assert said > 3


def test_power_lost_at_any_step_leaves_the_old_journal_or_the_new_one() -> None:
    disk = VolatileDisk()
    ModelWorld(disk).make_directory("/state")
    write("/state/journal", numbered(5), ModelWorld(disk))
    disk.sync()
    whole, short = numbered(5), numbered(5)[::2]
    world = FilmedWorld(disk)
    shorten("/state/journal", world)
    chance = random.Random(7)
    for moment in world.end():
        for kept in (lambda: False, lambda: True, *(lambda: chance.random() < 0.5,) * 20):
            after = moment.disk.copy()
            after.lose(kept)
            found = read("/state/journal", ModelWorld(after))
            assert [each for each in found if each.event is not Event.COMPACTED] in (whole, short), moment.about


def test_what_is_appended_after_a_kill_amid_compaction_outlives_the_power() -> None:
    """One is killed with the new name not on the medium, another appends and is told that it is kept."""
    disk = VolatileDisk()
    ModelWorld(disk).make_directory("/state")
    write("/state/journal", numbered(5), ModelWorld(disk))
    disk.sync()
    world = FilmedWorld(disk)
    shorten("/state/journal", world)
    chance = random.Random(7)
    moments: Sequence[CutMoment] = world.end()
    for moment in moments:
        told_kept = moment.disk.copy()
        write("/state/journal", [Record(7.0, "next", Event.STAGED)], ModelWorld(told_kept))
        for kept in (lambda: False, lambda: True, *(lambda: chance.random() < 0.5,) * 20):
            after = told_kept.copy()
            after.lose(kept)
            assert read("/state/journal", ModelWorld(after))[-1].transaction == "next", moment.about


# With a setting


def scene(room: Path) -> Scene:
    made = Scene(str(room / "scene"), components=COMPONENTS)
    made.replace()
    return made


def test_compaction_holds_every_component_and_shows_the_records_before(room: Path) -> None:
    made = scene(room)
    context = made.context()
    shown: list[int] = []

    def before(records: Sequence[Record]) -> None:
        shown.append(len(records))
        assert not isinstance(acquire(World(), context.locks, ["web"]), Locks)

    journal_state = JournalState.of(context.journal.records())
    assert compact(context, before) is None
    assert shown == [len(made.records()) - 1]
    assert JournalState.of(context.journal.records()) == journal_state
    assert [each.outcome for each in [made.replace()]] == ["committed"]


def test_a_component_at_work_keeps_the_journal_as_it_is(room: Path) -> None:
    made = scene(room)
    before = made.records()
    held = acquire(World(), f"{made.root}/state/locks", ["mail"])
    assert isinstance(held, Locks)
    why = compact(made.context(), lambda _records: None)
    held.release()
    assert why is not None
    assert "is at work on mail" in why
    assert made.records() == before


def test_where_the_audit_cannot_be_written_the_journal_stays_as_it_is(room: Path) -> None:
    made = scene(room)
    before = made.records()

    def full(_records: Sequence[Record]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(JournalError, match="No space left on device"):
        compact(made.context(), full)
    assert made.records() == before
