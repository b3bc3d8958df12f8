"""What is seen counts when it is seen several times in a row, and in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actions.plan import Kind, Plan, Serving
from actions.validate import (
    Acceptance,
    LiveView,
    Seen,
    Served,
    Terms,
    judge_new,
    judge_old,
    live_view_from_json,
    live_view_to_json,
    watch,
)
from actions.world import World

BROWSER = Acceptance("browser", "web")
OLD = LiveView((Served("web", "v4", ("old",)),), frozenset({BROWSER}))
NEW = LiveView((Served("web", "v4", ("new", "ca")),), frozenset({BROWSER}))
LOST = LiveView(NEW.served)
DEAD = LiveView((Served("web", "v4", (), "refused"),))
PLAN = Plan(Kind.REPLACE, ("web",), (), (), (Serving("web", (("new", "ca"),)),), (Serving("web", (("old",),)),))


class Clock(World):
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def watched(*live_views: LiveView) -> tuple[Seen, float]:
    """Return the end of looks that see one thing after the other, the last for ever, and when it came."""
    clock, coming = Clock(), iter(live_views)

    def look(last: list[LiveView] = [live_views[0]]) -> LiveView:  # noqa: B006 (made anew with the function)
        last[0] = next(coming, last[0])
        return last[0]

    seen = watch(clock, look, lambda live_view: judge_new(PLAN, OLD, live_view), Terms(3, 1.0, 10.0))
    return seen, clock.at


def test_three_looks_in_a_row_are_enough() -> None:
    seen, at = watched(NEW)
    assert (seen.steady, at) == (True, 2.0)


def test_one_bad_look_begins_the_count_anew_and_is_soon_followed_by_the_next() -> None:
    seen, at = watched(NEW, NEW, DEAD, NEW)
    assert seen.steady
    assert at == pytest.approx(2.0 + 0.05 + 2.0)


def test_a_service_that_is_late_is_looked_at_again_soon_but_ever_less_often() -> None:
    _, at = watched(DEAD, DEAD, DEAD, NEW)
    assert at == pytest.approx(0.05 + 0.1 + 0.2 + 2.0)


def test_a_service_that_flaps_is_not_steady_in_time() -> None:
    flapping: Iterator[LiveView] = (live_view for _ in range(20) for live_view in (NEW, DEAD))
    seen, at = watched(*flapping)
    assert not seen.steady
    assert 9.0 < at <= 10.0


def test_a_good_look_at_the_very_end_of_a_flapping_service_is_not_enough() -> None:
    seen, at = watched(*[DEAD] * 13, NEW)
    assert at > 9.0
    assert seen.unserved == ("web (v4) does not answer: refused", "this was not steady in time")


def test_a_client_that_is_lost_to_the_new_chain_is_not_waited_for() -> None:
    seen, at = watched(LOST)
    assert (seen.lost, at) == ((BROWSER,), 2.0)


def test_a_dead_port_has_until_the_deadline_to_open() -> None:
    seen, at = watched(DEAD)
    assert seen.unserved == ("web (v4) does not answer: refused",)
    assert 9.0 < at <= 10.0


def test_a_missing_intermediate_is_not_what_should_be_presented() -> None:
    (said,) = judge_new(PLAN, OLD, LiveView((Served("web", "v4", ("new",)),))).unserved
    assert said == "web (v4) presents new… in a chain of 1, not the expected chain"


def test_one_way_that_answers_now_with_the_one_and_now_with_the_other_is_found_out() -> None:
    (said,) = judge_new(PLAN, OLD, LiveView(NEW.served + OLD.served)).unserved
    assert said == "web (v4) sometimes presents old… in a chain of 1, not the expected chain"
    (said,) = judge_new(PLAN, OLD, LiveView(NEW.served + DEAD.served)).unserved
    assert said == "web (v4) sometimes does not answer: refused"


def test_who_failed_sometimes_before_may_do_so_again_but_not_fail_for_good() -> None:
    flaky = LiveView(OLD.served + DEAD.served)
    assert judge_new(PLAN, flaky, LiveView(NEW.served + DEAD.served)).unserved == ()
    assert judge_new(PLAN, flaky, LiveView(NEW.served + DEAD.served), required=True).unserved != ()
    assert judge_new(PLAN, flaky, DEAD).unserved == ("web (v4) does not answer: refused",)


def test_workers_that_differed_before_are_as_good_as_they_were_when_each_serves_what_one_of_them_did() -> None:
    differing = LiveView((*OLD.served, Served("web", "v4", ("older",))))
    assert judge_old(PLAN, differing, differing).steady
    assert judge_old(PLAN, differing, OLD).steady
    assert not judge_old(PLAN, differing, LiveView(differing.served + NEW.served)).steady


def test_a_way_of_asking_that_is_gone_is_missed() -> None:
    assert judge_new(PLAN, OLD, LiveView()).unserved == ("web (v4) was not seen again",)


def test_what_an_endpoint_says_is_made_printable() -> None:
    hostile = LiveView((Served("web", "\x1b[31m", (), "\n"),))
    before = LiveView((Served("web", "\x1b[31m", ("old",)),))
    assert judge_new(PLAN, before, hostile).unserved == ("web (\\x1b[31m) does not answer: \\x0a",)


def test_the_old_set_is_served_again_as_it_was_seen_or_as_its_files_have_it() -> None:
    older = LiveView((Served("web", "v4", ("older",)),))
    assert judge_old(PLAN, older, older).steady
    assert judge_old(PLAN, older, OLD).steady
    assert not judge_old(PLAN, older, NEW).steady


def test_a_sight_comes_back_from_its_record_as_it_was() -> None:
    assert live_view_from_json(live_view_to_json(NEW)) == NEW


def hopeless_until(deaths: int, *live_views: LiveView) -> tuple[Seen, float]:
    """Return as `watched` does, where the first looks at a dead port find that there is no hope."""
    clock, coming, asked = Clock(), iter(live_views), list[LiveView]()

    def look(last: list[LiveView] = [live_views[0]]) -> LiveView:  # noqa: B006 (made anew with the function)
        last[0] = next(coming, last[0])
        return last[0]

    def hopeless(live_view: LiveView) -> str:
        asked.append(live_view)
        return "it has ended" if len(asked) <= deaths else ""

    seen = watch(clock, look, lambda live_view: judge_new(PLAN, OLD, live_view), Terms(3, 1.0, 60.0), hopeless)
    assert NEW not in asked, "whoever serves has not ended"
    return seen, clock.at


def test_a_service_that_has_ended_for_good_is_not_waited_for_until_the_deadline() -> None:
    seen, at = hopeless_until(1000, DEAD)
    assert seen.unserved[-1] == "it has ended"
    assert 3.0 <= at < 6.0, "as long as the looks that count"


def test_a_service_that_has_ended_for_a_moment_is_waited_for() -> None:
    seen, _ = hopeless_until(4, *[DEAD] * 8, NEW)
    assert seen.steady
    assert "it has ended" not in seen.unserved
