"""Spans of time in words."""

from __future__ import annotations

import io

import pytest

from config.model import DAY
from monitor.commands.screen import Screen
from monitor.http.console.drawing import life_bar
from monitor.span import left, span
from tests.kit.metrics import some_certificate


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (3 * DAY, "3 days"),
        (2.9 * DAY, "2 days"),
        (DAY, "24 hours"),
        (7300, "2 hours"),
        (130, "2 minutes"),
        (7, "7 seconds"),
    ],
)
def test_a_span_has_at_least_two_of_its_unit(seconds: float, said: str) -> None:
    assert span(seconds) == said
    assert left(seconds) == f"{said} left"
    assert left(-seconds) == f"ended {said} ago"


def test_a_page_and_a_screen_say_the_same_of_an_end() -> None:
    one = some_certificate()
    assert one.not_after is not None
    now = one.not_after - 2.9 * DAY
    bar = life_bar(one, None, now)
    assert bar is not None
    assert "; 2 days left; " in bar.text
    screen = io.StringIO()
    Screen(screen).certificate(0, one, now)
    assert ", 2 days left" in screen.getvalue()
