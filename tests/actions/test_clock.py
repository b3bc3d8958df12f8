"""A wall clock that jumped, or that nobody vouches for, is not believed."""

from __future__ import annotations

import pytest

from actions.clock import DISTRUST, ClockWatch
from actions.journal import Event, Record
from actions.world import World


class Clocks(World):
    """Two clocks that do as they are told."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 100.0
        self.vouched: bool | None = True

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def synchronised(self) -> bool | None:
        return self.vouched

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def record(at: float) -> Record:
    return Record(at, "", Event.CLOSED)


def test_a_clock_that_goes_on_is_believed() -> None:
    clocks = Clocks()
    watch = ClockWatch(clocks)
    clocks.wait(86_400)
    clocks.wall += 1
    assert watch.suspicion([record(clocks.wall - 5)], required=True) is None


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, 365 * 86_400.0])
def test_a_jump_is_not_believed_for_a_while(jump: float) -> None:
    clocks = Clocks()
    watch = ClockWatch(clocks)
    clocks.wall += jump
    said = watch.suspicion([], required=False)
    assert said is not None
    assert f"{jump:+.0f} s" in said
    clocks.wait(DISTRUST - 1)
    assert watch.suspicion([], required=False) is not None
    clocks.wait(2)
    assert watch.suspicion([], required=False) is None


def test_a_clock_before_any_entry_of_the_journal_is_not_believed() -> None:
    clocks = Clocks()
    said = ClockWatch(clocks).suspicion([record(clocks.wall + 7200), record(clocks.wall)], required=False)
    assert said is not None
    assert said == "the clock stands before an entry of the journal, of 2027-01-15 10:00:00Z"
    # Not another sentence with each second.
    clocks.wall += 1
    assert said == ClockWatch(clocks).suspicion([record(clocks.wall + 7199), record(clocks.wall)], required=False)


@pytest.mark.parametrize(
    ("vouched", "required", "believed"), [(False, True, False), (False, False, True), (None, True, True)]
)
def test_what_the_kernel_says_counts_where_it_is_required_and_known(
    vouched: bool | None, required: bool, believed: bool
) -> None:
    clocks = Clocks()
    clocks.vouched = vouched
    assert (ClockWatch(clocks).suspicion([], required=required) is None) is believed


def test_the_real_kernel_says_something_or_nothing() -> None:
    assert World().synchronised() in {True, False, None}
