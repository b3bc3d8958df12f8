"""Whoever follows the journal knows what is in it and hears each ending once, whatever becomes of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.compact import YOUNG, shorter
from actions.journal import Event, Journal, Record, Shorter, birth
from actions.journal_state import JournalState
from actions.world import World
from monitor.actor.documents import record_document
from monitor.actor.follow import Follower, JournalPosition, behind
from monitor.actor.request import Document, Request, Verb, decode, encode
from tests.kit.examples import examples


class TalkingActor:
    """What an actor tells of a journal."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.journal = Journal(World(), path)
        self.number = 0

    def end(self) -> None:
        """Have a transaction end."""
        self.number += 1
        plan = {"kind": "replace", "components": ["web"], "changes": []}
        said = {"outcome": "committed", "cause": "none", "reason": "in use"}
        for event, data in ((Event.BEGIN, {"plan": plan}), (Event.COMMITTED, said), (Event.CLOSED, {})):
            self.journal.append(Record(float(self.number), f"t{self.number}", event, data))

    def compact(self) -> None:
        """Leave out what counts no more."""

        def choose(records: Sequence[Record]) -> Shorter | None:
            found = shorter(records, self.number + YOUNG)
            return found if isinstance(found, Shorter) else None

        self.journal.shorten(choose)

    def begin_anew(self) -> None:
        """Lose the journal, as where somebody removed it."""
        Path(self.path).unlink(missing_ok=True)

    def told(self, request: Request) -> Iterator[Document]:
        """Yield what it says once to a request, as in `ActorProcess`."""
        records, place, anew = behind(self.journal.records(), JournalPosition(request.epoch, request.after))
        if anew:
            yield {"anew": place.epoch}
        yield from (record_document(each, to_operator=True) for each in records)
        yield {"here": place.sequence, "epoch": place.epoch}

    def __del__(self) -> None:
        """Close it."""
        self.journal.close()


def follow(follower: Follower, actor: TalkingActor, stop_after: int | None = None) -> list[str]:
    """Return the names of the transactions whose end is news; the connection breaks after so many words."""
    asked = decode(encode(follower.begin()))
    assert isinstance(asked, Request)
    news = []
    for number, document in enumerate(actor.told(asked)):
        if stop_after is not None and number >= stop_after:
            break
        heard = follower.take(document)
        if heard is not None and heard.ended is not None and heard.is_news:
            news.append(heard.ended.transaction)
    return news


THINGS = st.one_of(
    st.just("end"), st.just("end"), st.just("compact"), st.integers(0, 12), st.just("follow"), st.just("follow")
)


@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(things=st.lists(THINGS, max_size=25))
def test_each_ending_is_news_once_and_what_is_known_is_what_the_journal_has(
    things: list[str | int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    actor, follower, news = TalkingActor(str(tmp_path_factory.mktemp("follow") / "journal")), Follower(), []
    for thing in things:
        if thing == "end":
            actor.end()
        elif thing == "compact":
            actor.compact()
        else:
            news += follow(follower, actor, thing if isinstance(thing, int) else None)
    news += follow(follower, actor)
    assert follower.caught_up
    # Fewer than are kept in mind of a component: none of them is left out unheard.
    assert news == [f"t{number}" for number in range(1, actor.number + 1)]
    known, there = follower.journal_state, JournalState.of(actor.journal.records())
    assert (known.last, known.recent, known.counts) == (there.last, there.recent, there.counts)


def test_whoever_was_there_at_the_last_record_is_told_to_begin_anew_and_hears_nothing_as_new(tmp_path: Path) -> None:
    actor, follower = TalkingActor(str(tmp_path / "journal")), Follower()
    for _ in range(40):
        actor.end()
    assert len(follow(follower, actor)) == 40
    actor.compact()
    documents = list(actor.told(follower.begin()))
    assert list(documents[0]) == ["anew"]
    assert follow(follower, actor) == []
    assert follower.journal_state.counts == {("web", "replace", "committed"): 40}
    actor.end()
    assert [each for each in actor.told(follower.begin()) if "anew" in each] == []
    assert follow(follower, actor) == ["t41"]


def test_a_journal_that_was_begun_anew_is_another_and_all_that_it_has_is_new(tmp_path: Path) -> None:
    actor, follower = TalkingActor(str(tmp_path / "journal")), Follower()
    for _ in range(3):
        actor.end()
    follow(follower, actor)
    first = actor.journal.records()[-1].epoch
    actor.begin_anew()
    for _ in range(2):
        actor.end()
    assert birth(actor.journal.records()[-1].epoch) != birth(first)
    assert follow(follower, actor) == ["t4", "t5"]
    assert follower.journal_state.counts == {("web", "replace", "committed"): 2}
    actor.begin_anew()
    assert follow(follower, actor) == []
    assert follower.journal_state.counts == {}


def test_of_a_journal_that_is_told_for_the_first_time_that_is_said_of_each_record(tmp_path: Path) -> None:
    actor, follower = TalkingActor(str(tmp_path / "journal")), Follower()
    actor.end()
    assert [heard.is_first for each in actor.told(follower.begin()) if (heard := follower.take(each))] == [True] * 3
    actor.end()
    assert [heard.is_first for each in actor.told(follower.begin()) if (heard := follower.take(each))] == [False] * 3


@pytest.mark.parametrize(
    "place", [JournalPosition("0123abcd-1", 9), JournalPosition("0123abcd-2", 1), JournalPosition("89abcdef-1", 1)]
)
def test_a_place_that_the_journal_does_not_have_is_answered_with_all_of_it(place: JournalPosition) -> None:
    records = [Record(1.0, "t", Event.STAGED, {}, "", "0123abcd-1", number) for number in (1, 2)]
    assert behind(records, place) == (records, JournalPosition("0123abcd-1", 2), True)
    assert behind(records, JournalPosition("0123abcd-1", 1)) == (records[1:], JournalPosition("0123abcd-1", 2), False)
    assert behind([], JournalPosition()) == ([], JournalPosition(), False)


@pytest.mark.parametrize("epoch", ["x", "0123abcd", "0123abcd-", "0123ABCD-1", "0123abcd-1\n", "0" * 99])
def test_an_epoch_is_named_as_the_journal_names_it(epoch: str) -> None:
    said = decode(encode(Request(Verb.FOLLOW, epoch=epoch, after=1)))
    assert said == "an epoch is named as the journal names it"
