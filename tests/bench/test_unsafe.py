"""The rounds of `unsafe_rounds`: they are drawn from a seed, they are played on real processes, and they can fail."""

from __future__ import annotations

from dataclasses import replace
from random import SystemRandom

import pytest

from monitor.lab.servers import replace_file
from tests.bench.unsafe.__main__ import NUMBERS, PlayedWay, RoundResult, play_all, scaled
from tests.bench.unsafe.draw import DrawnContent, DrawnMoment, Victim, one, rounds
from tests.bench.unsafe.house import CASTS, ArtefactShape, Cast, HousePart, ServerKind, UnsafeHouse
from tests.bench.unsafe.judge import wrong
from tests.bench.unsafe.play import UnsafeStory
from tests.kit.forks import parent

SEED = 1


def test_a_round_is_drawn_from_the_seed_of_its_run_and_its_own_name_alone() -> None:
    every = rounds(SEED, dict(NUMBERS))
    assert [one(SEED, each.what, each.number) for each in reversed(every)] == list(reversed(every))
    assert rounds(SEED + 1, dict(NUMBERS)) != every


def test_a_run_meets_every_cast_victim_and_manner() -> None:
    every = rounds(SEED, dict(NUMBERS))
    kills = [each for each in every if each.what is DrawnContent.KILL]
    assert {(each.what, each.cast) for each in every} == {(what, cast) for what in DrawnContent for cast in CASTS}
    assert {(each.victim, each.cast.actor) for each in kills} == {
        *((Victim.COMMAND, actor) for actor in (False, True)),
        *((Victim.SERVICE, actor) for actor in (False, True)),
        (Victim.ACTOR, True),
    }
    assert len({(each.foreign.manner, each.foreign.way) for each in every if each.foreign}) == 9
    assert {len(each.recoveries) for each in every if each.what is DrawnContent.CHAIN} >= {1, 10}


@pytest.mark.parametrize(
    ("asked", "many"), [(None, {"kill": 200, "foreign": 100, "chain": 50}), (7, {"kill": 4, "foreign": 2, "chain": 1})]
)
def test_fewer_rounds_are_of_the_same_kinds(asked: int | None, many: dict[str, int]) -> None:
    assert scaled(asked) == many


@pytest.fixture
def forks() -> str:
    """Return where commands are forked from."""
    return parent()


@pytest.mark.server("nginx")
def test_a_kill_between_two_files_is_safe_and_a_key_that_does_not_fit_is_not(
    forks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = replace(
        one(SEED, DrawnContent.KILL, 0),
        cast=Cast((HousePart(ServerKind.NGINX, ArtefactShape.PAIR),), actor=False),
        by_hand=True,
        victim=Victim.COMMAND,
        # One file is switched, the other is not.
        moment=DrawnMoment(5, 0.0),
        boot=False,
        slow=0.0,
    )
    result = RoundResult(SEED)
    with UnsafeHouse(drawn.cast, forks) as house:
        result.take(house, drawn)
        assert (result.played, result.unsafe) == (1, []), capsys.readouterr().err
        leaf = house.components[0].on_disk().leaf
        story = UnsafeStory(leaf, leaf, len(house.records()), recovered=house.run("recover", "--json"))
        assert wrong(house, story) == []
        replace_file(house.components[0].artefacts["key"], house.issue().key_pem(), 0o600)
        assert wrong(house, story) == ["what is on disk is neither all old nor all new"]


@pytest.mark.slow
@pytest.mark.server("nginx")
@pytest.mark.server("lighttpd")
def test_a_few_rounds_drawn_anew_are_safe(forks: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = RoundResult(SystemRandom().randrange(2**32))
    play_all(rounds(result.seed, scaled(7)), result, PlayedWay(forks=forks))
    assert (result.played, result.unsafe) == (7, []), capsys.readouterr().err
