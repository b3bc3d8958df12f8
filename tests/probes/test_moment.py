"""Any number at all is told as a time: files, certificates and journals hold what somebody else wrote."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.dialect import iso
from probes.judge.time import calendar, moment


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (1_800_000_000.9, "2027-01-15 08:00:00Z"),
        (253_402_300_799.9, "9999-12-31 23:59:59Z"),
        (253_402_300_800, "a time after 9999"),
        (2.0**45, "a time after 9999"),
        (10**400, "a time after 9999"),
        (math.inf, "a time after 9999"),
        (-62_135_596_801, "a time before the year 1"),
        (-math.inf, "a time before the year 1"),
        (math.nan, "an unknown time"),
    ],
)
def test_a_time_that_has_no_date_is_said_to_be_before_or_after_all_that_have(at: float, said: str) -> None:
    assert moment(at) == said


@given(st.floats() | st.integers() | st.integers(-(sys.maxsize**9), sys.maxsize**9))
def test_no_number_fails_to_be_told(at: float) -> None:
    assert moment(at)
    assert iso(at)
    assert calendar(at).tzinfo is not None
