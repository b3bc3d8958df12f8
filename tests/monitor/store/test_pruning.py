"""When old records are deleted."""

from __future__ import annotations

import pytest

from config.model import DAY
from monitor.store.pruning import PRUNING, Pruning

NOON = 20_000 * DAY + DAY / 2


@pytest.mark.parametrize(
    ("looks", "due"),
    [
        pytest.param([(NOON, False)], [True], id="at the start, of a daemon that is restarted daily"),
        pytest.param([(NOON, False), (NOON + 15, False), (NOON + DAY - 15, False)], [True, False, True], id="daily"),
        pytest.param(
            [(NOON, False), (NOON + DAY / 2 + PRUNING - 1, False), (NOON + DAY / 2 + PRUNING, False)],
            [True, False, True],
            id="at its time of the day",
        ),
        pytest.param(
            [(NOON, False), (NOON + 500 * DAY, True), (NOON + 15, True), (NOON + 30, False)],
            [True, False, False, False],
            id="not while the clock is far ahead for a moment",
        ),
        pytest.param([(NOON, True), (NOON + 15, False)], [False, True], id="as soon as the clock can be believed"),
    ],
)
def test_old_records_are_deleted_at_the_start_and_daily_and_never_by_a_suspect_clock(
    looks: list[tuple[float, bool]], due: list[bool]
) -> None:
    pruning = Pruning()
    assert [pruning.is_due(now, suspect=suspect) for now, suspect in looks] == due
