from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.policy import Window
from config.window import check_window, opening

ZURICH = "Europe/Zurich"


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def shown(moment: float | None) -> str:
    return "never" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}"


def openings(window: Window, start: str, end: str) -> list[tuple[str, str]]:
    """Return when the window opens and closes between two times, as one who asks every minute sees it."""
    seen: list[tuple[str, str]] = []
    now = at(start)
    while now < at(end):
        state = opening(window, now)
        if state.since is not None and state.until is not None:
            span = (shown(state.since), shown(state.until))
            if span not in seen:
                seen.append(span)
        now += 60
    return seen


def test_a_window_opens_by_the_wall_clock_of_its_zone() -> None:
    window = Window("0 2 * * *", 10_800, ZURICH)
    assert openings(window, "2027-01-10T00:00Z", "2027-01-11T00:00Z") == [("2027-01-10 01:00", "2027-01-10 04:00")]
    assert openings(window, "2027-07-10T00:00Z", "2027-07-11T00:00Z") == [("2027-07-10 00:00", "2027-07-10 03:00")]


def test_a_closed_window_says_when_it_opens() -> None:
    closed = opening(Window("0 2 * * tue", 10_800, ZURICH), at("2027-01-10T12:00Z"))
    assert (closed.since, shown(closed.until)) == (None, "2027-01-12 01:00")


def test_a_window_closes_on_the_second() -> None:
    window = Window("0 2 * * *", 3600)
    assert opening(window, at("2027-01-10T02:00Z")).since == at("2027-01-10T02:00Z")
    assert opening(window, at("2027-01-10T02:59:59Z")).since == at("2027-01-10T02:00Z")
    assert opening(window, at("2027-01-10T03:00Z")).since is None


def test_a_time_that_the_clock_skips_in_spring_is_not_lost() -> None:
    # On 2027-03-28 at 02:00 the clock in Zurich is put to 03:00.
    window = Window("30 2 * * *", 1800, ZURICH)
    assert openings(window, "2027-03-28T00:00Z", "2027-03-28T12:00Z") == [("2027-03-28 01:30", "2027-03-28 02:00")]


def test_a_time_that_the_clock_shows_twice_in_autumn_opens_a_window_once() -> None:
    # On 2027-10-31 at 03:00 it is put back to 02:00.
    window = Window("30 2 * * *", 1800, ZURICH)
    assert openings(window, "2027-10-30T20:00Z", "2027-10-31T12:00Z") == [("2027-10-31 00:30", "2027-10-31 01:00")]


def test_a_window_over_a_change_of_the_clock_stays_open_for_its_true_duration() -> None:
    night = Window("0 1 * * *", 4 * 3600, ZURICH)
    assert openings(night, "2027-03-27T23:00Z", "2027-03-28T12:00Z") == [("2027-03-28 00:00", "2027-03-28 04:00")]
    assert openings(night, "2027-10-30T22:00Z", "2027-10-31T12:00Z") == [("2027-10-30 23:00", "2027-10-31 03:00")]


def test_a_zone_that_shifts_by_half_an_hour_is_no_exception() -> None:
    window = Window("15 2 * * *", 900, "Australia/Lord_Howe")
    # In spring, 2027-10-03, 02:00 becomes 02:30; in autumn, 2027-04-04, 02:00 becomes 01:30.
    assert openings(window, "2027-10-02T12:00Z", "2027-10-03T12:00Z") == [("2027-10-02 15:45", "2027-10-02 16:00")]
    assert openings(window, "2027-04-03T12:00Z", "2027-04-04T12:00Z") == [("2027-04-03 15:45", "2027-04-03 16:00")]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("0", "sun"),
        ("7", "sun"),
        ("1", "mon"),
        ("2", "tue"),
        ("tue", "tue"),
        ("1-5", "mon tue wed thu fri"),
        ("5-7", "fri sat sun"),
        ("fri-sun", "fri sat sun"),
        ("0,3", "wed sun"),
        ("*/3", "wed sat sun"),
        ("*", "mon tue wed thu fri sat sun"),
    ],
)
def test_days_of_the_week_count_as_in_cron(days: str, expected: str) -> None:
    monday = at("2027-01-04T00:00Z")
    week = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    noon = Window(f"0 12 * * {days}", 60)
    found = [name for day, name in enumerate(week) if opening(noon, monday + day * 86_400 + 43_200).since is not None]
    assert found == expected.split()


def test_a_day_must_match_both_ways_of_naming_it() -> None:
    second_tuesday = Window("0 2 8-14 * tue", 3600)
    assert shown(opening(second_tuesday, at("2027-01-13T00:00Z")).until) == "2027-02-09 02:00"


@pytest.mark.parametrize("cron", ["0 2 30 2 *", "0 2 31 4 *"])
def test_a_window_that_never_opens_is_found_out(cron: str) -> None:
    with pytest.raises(ValueError, match="never comes"):
        check_window(Window(cron, 60))


def test_a_leap_day_comes() -> None:
    check_window(Window("0 0 29 2 *", 3600))


@settings(deadline=None)
@given(
    st.sampled_from(["0 2 * * *", "*/7 * * * *", "15,45 1-3 * * *", "0 0 1 * *", "59 23 28-31 * sun"]),
    st.sampled_from(["UTC", ZURICH, "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.integers(int(at("2026-01-01T00:00Z")), int(at("2029-01-01T00:00Z"))),
)
def test_nothing_changes_before_a_window_says_so(cron: str, zone: str, now: int) -> None:
    window = Window(cron, 240, zone)
    state = opening(window, now)
    assert state.until is not None
    assert state.until > now
    for moment in (now + (state.until - now) / 3, state.until - 0.001):
        assert opening(window, moment) == state
    assert opening(window, state.until) != state
