"""Whether looks go on, and how long more is waited for."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from config.model import Config, Endpoint, Settings
from config.vocabulary import TargetKind
from monitor.notify.liveness import Liveness
from monitor.notify.notifier import gathering

FILE, ENDPOINT, SELF = TargetKind.FILE, TargetKind.ENDPOINT, TargetKind.SELF
ENDPOINTS = {each.name: each for each in (Endpoint("a", "a", 1, every=60.0), Endpoint("b", "b", 1, timeout=20.0))}
CONFIG = Config(Settings(rescan=600.0), endpoints=MappingProxyType(ENDPOINTS))


def test_looks_go_on_while_each_kind_is_looked_at_in_time() -> None:
    liveness = Liveness(1000.0)
    assert liveness.goes_on(CONFIG, {FILE, ENDPOINT, SELF}, 1170.0)
    assert not liveness.goes_on(CONFIG, {FILE, ENDPOINT, SELF}, 1171.0)
    liveness.looked(ENDPOINT, 1171.0)
    assert liveness.goes_on(CONFIG, {FILE, ENDPOINT, SELF}, 1300.0)
    for moment in range(1300, 3000, 60):
        liveness.looked(ENDPOINT, float(moment))
    assert not liveness.goes_on(CONFIG, {FILE, ENDPOINT, SELF}, 3000.0), "files are looked at no more"
    assert liveness.goes_on(CONFIG, {ENDPOINT, SELF}, 3000.0), "there are none"


def test_a_daemon_without_targets_does_all_that_it_is_asked_to() -> None:
    assert Liveness(0.0).goes_on(Config(), {SELF}, 1e9)


@pytest.mark.parametrize(
    ("since_first", "since_last", "targets", "rest"),
    [
        (0.0, 0.0, 1, 0.15),
        (0.1, 0.1, 1, 0.05),
        (0.2, 0.2, 1, 0.0),
        (0.45, 0.0, 19, 0.05),
        (0.5, 0.0, 19, 0.0),
        (0.5, 0.0, 20, 0.5),
        (2.9, 0.0, 1000, 0.1),
        (3.0, 0.0, 1000, 0.0),
        (2.0, 0.6, 1000, 0.0),
    ],
)
def test_little_waits_for_half_a_second_and_a_burst_until_it_is_over(
    since_first: float, since_last: float, targets: int, rest: float
) -> None:
    assert gathering(since_first, since_last, targets) == pytest.approx(rest)
