"""The whole life of a certificate, as it is judged and told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from config.channel import REMIND, Notifications, Route
from config.model import DAY
from config.text import Printable
from config.vocabulary import Severity
from monitor.notify.delivery import DeliveryFate
from monitor.state.target import learn
from probes.certificate import Certificate
from probes.finding import Assessment
from probes.judge.time import boundaries, judge_time
from tests.kit.outbox import Office, known
from tests.kit.store import LEAF

BEGIN = 1_800_000_000
DAILY = Notifications()


def leaf(days: float) -> Certificate:
    return replace(LEAF, der=b"%r" % days, sha256=f"{days}", not_before=BEGIN, not_after=BEGIN + int(days * DAY))


def life(days: float, terms: Notifications = DAILY) -> list[tuple[float, str]]:
    """Return when something is told of a certificate that nobody replaces, in days before its end, and the word."""
    certificate = leaf(days)
    end = BEGIN + days * DAY
    office = Office(terms=terms)
    told = []
    believed = known("web", presented=(certificate,))
    for now in moments(office, certificate):
        found = tuple(judge_time(certificate, Printable("position 0"), now))
        believed, _ = learn(believed, (certificate,), Assessment(found), None, now=now)
        office.believe(believed)
        for delivery in office.outbox.write_due(now):
            office.outbox.amend(replace(delivery, fate=DeliveryFate.DELIVERED, ended_at=now))
            word = re.match(r"\[([a-z, ]+)\] (\w+)", delivery.message.title)
            assert word is not None
            told.append((round((end - now) / DAY, 2), f"{word[2]} {word[1]}"))
    return told


def moments(office: Office, certificate: Certificate) -> Iterator[float]:
    """Yield the Unix times at which something may change, up to a day after the end."""
    turns = sorted({BEGIN, *boundaries([certificate])})
    now, end = float(BEGIN), turns[-1] + DAY
    while now <= end:
        yield now
        due = office.outbox.next_due()
        now = min([at for at in turns if at > now] + [max(due, now + 1.0) if due is not None else end + 1])


def left(told: list[tuple[float, str]], what: str) -> list[float]:
    return [days for days, word in told if word == what]


TIMELINES: Mapping[float, list[tuple[float, str]]] = {
    6: [
        (1.5, "expiring warning"),
        (0.75, "expiring critical, worse than before"),
        (0.38, "expiring critical, still"),
        (0.19, "expiring critical, still"),
        (0.06, "expiring critical, still"),
        (0, "expired critical, worse than before"),
        (-1, "expired critical, still"),
    ],
}


@pytest.mark.parametrize("days", TIMELINES)
def test_a_certificate_of_six_days_is_told_about_until_it_ends(days: float) -> None:
    assert life(days) == TIMELINES[days]


@pytest.mark.parametrize(
    ("days", "warning", "critical"), [(47, 11.75, 5.88), (90, 22.5, 11.25), (200, 30, 14), (3650, 30, 14)]
)
def test_longer_ones_are_told_about_weekly_then_daily_and_more_often_on_the_last_day(
    days: float, warning: float, critical: float
) -> None:
    told = life(days)
    assert told[0] == (warning, "expiring warning")
    assert left(told, "expiring warning, still") == [round(warning - 7, 2)] * (warning - 7 > critical) + (
        [round(warning - 14, 2)] if warning - 14 > critical else []
    )
    assert left(told, "expiring critical, worse than before") == [critical]
    reminders = left(told, "expiring critical, still")
    assert [round(earlier - later, 2) for earlier, later in pairwise([critical, *reminders]) if later >= 1] == [
        1
    ] * int(critical - 1)
    assert len([each for each in reminders if each < 1]) in {3, 4}
    assert left(told, "expired critical, worse than before") == [0]


def test_a_notice_is_told_first_where_a_route_asks_for_it() -> None:
    told = life(6, Notifications(routes=(Route(("ops",), Severity.NOTICE),)))
    assert told[:2] == [(3, "expiring notice"), (1.5, "expiring warning, worse than before")]


def test_who_wants_no_reminders_gets_none() -> None:
    never = Notifications(remind=dict.fromkeys(REMIND))
    assert [word for _, word in life(6, never)] == [
        "expiring warning",
        "expiring critical, worse than before",
        "expired critical, worse than before",
    ]
