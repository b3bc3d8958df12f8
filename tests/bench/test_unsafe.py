"""The rounds of `unsafe_rounds`: they are drawn from a seed, they are played on real processes, and they can fail."""

from __future__ import annotations

import pytest

from monitor.lab.servers import replace_file
from tests.bench.unsafe.__main__ import NUMBERS, Result, scaled
from tests.bench.unsafe.draw import Round, Victim, What, one, rounds
from tests.bench.unsafe.house import CASTS, House, Kind, Part, Shape
from tests.bench.unsafe.judge import wrong
from tests.bench.unsafe.play import Story

SEED = 1


def test_a_round_is_drawn_from_the_seed_of_its_run_and_its_own_name_alone() -> None:
    every = rounds(SEED, dict(NUMBERS))
    assert [one(SEED, each.what, each.number) for each in reversed(every)] == list(reversed(every))
    assert rounds(SEED + 1, dict(NUMBERS)) != every


def test_a_run_meets_every_cast_victim_and_manner() -> None:
    every = rounds(SEED, dict(NUMBERS))
    kills = [each for each in every if each.what is What.KILL]
    assert {(each.what, each.cast) for each in every} == {(what, cast) for what in What for cast in CASTS}
    assert {(each.victim, each.cast.actor) for each in kills} == {
        *((Victim.COMMAND, actor) for actor in (False, True)),
        *((Victim.SERVICE, actor) for actor in (False, True)),
        (Victim.ACTOR, True),
    }
    assert len({(each.foreign.manner, each.foreign.way) for each in every if each.foreign}) == 9
    assert {len(each.recoveries) for each in every if each.what is What.CHAIN} >= {1, 10}


@pytest.mark.parametrize(
    ("asked", "many"), [(None, {"kill": 200, "foreign": 100, "chain": 50}), (7, {"kill": 4, "foreign": 2, "chain": 1})]
)
def test_fewer_rounds_are_of_the_same_kinds(asked: int | None, many: dict[str, int]) -> None:
    assert scaled(asked) == many


def _drawn(what: What, part: Part, **more: object) -> Round:
    return next(
        each
        for each in rounds(SEED, {what: 400})
        if each.cast.parts == (part,)
        and not each.slow
        and all(getattr(each, name) == value for name, value in more.items())
    )


@pytest.mark.server("nginx")
def test_what_is_not_live_on_a_whole_set_is_found_and_a_kill_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = _drawn(What.KILL, Part(Kind.NGINX, Shape.PAIR), by_hand=True, victim=Victim.COMMAND, boot=False)
    result = Result(SEED)
    with House(drawn.cast) as house:
        # Between the switch of the one file and that of the other.
        assert result.take(house, drawn)
        assert (result.played, result.unsafe) == (1, [])
        leaf = house.components[0].on_disk().leaf
        story = Story(leaf, leaf, house.recorded(), recovered=house.run("recover", "--json"))
        assert wrong(house, drawn, story) == []
        key = house.components[0].artefacts["key"]
        replace_file(key, house.issue().key_pem(), 0o600)
        assert wrong(house, drawn, story) == ["what is on disk is neither all old nor all new"]
