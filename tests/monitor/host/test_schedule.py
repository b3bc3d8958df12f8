"""When to look again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.host.schedule import Agenda, spread

NAMES = st.sampled_from("abcde")


@given(st.lists(st.tuples(NAMES, st.floats(0, 100)), max_size=30), st.floats(0, 100))
def test_what_is_due_is_taken_once_at_its_latest_time(schedule: list[tuple[str, float]], now: float) -> None:
    agenda, latest = Agenda(), {}
    for name, at in schedule:
        agenda.schedule(name, at)
        latest[name] = at
    taken = list(agenda.take(now))
    assert {name: now - lag for name, lag in taken} == {
        name: now - (now - at) for name, at in latest.items() if at <= now
    }
    assert len(taken) == len(dict(taken))
    assert list(agenda.take(now)) == []
    assert agenda.next() == min((at for at in latest.values() if at > now), default=None)


def test_hastening_never_postpones() -> None:
    agenda = Agenda()
    agenda.schedule("a", 5)
    agenda.hasten("a", 9)
    assert agenda.next() == 5
    agenda.hasten("a", 1)
    assert agenda.next() == 1


def test_what_is_forgotten_is_never_due() -> None:
    agenda = Agenda()
    agenda.schedule("a", 1)
    agenda.forget("a")
    assert list(agenda.take(2)) == []
    assert agenda.next() is None


def test_an_agenda_that_is_moved_for_ever_stays_small() -> None:
    agenda = Agenda()
    for at in range(10_000):
        agenda.schedule("a", at)
    assert len(agenda._heap) < 200


@given(st.text(), st.floats(0.1, 1e6))
def test_a_name_is_always_spread_to_the_same_place_within_the_interval(name: str, interval: float) -> None:
    assert 0 <= spread(name, interval) < interval
    assert spread(name, interval) == spread(name, interval)
