"""The soak works, and would tell a leak."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.estate import build
from tests.bench.soak import ENDS, Size, Soak, run


def soak_of(*sizes: Size) -> Soak:
    return Soak(10.0, [each for each in sizes for _ in range(ENDS)], 1, 1, 1)


def test_a_leak_is_told_and_what_comes_and_goes_is_not() -> None:
    before, busy, after = Size(100.0, 30, 8), Size(130.0, 90, 9), Size(107.0, 33, 9)
    assert soak_of(before, busy, before).growth == Size(0.0, 0, 0)
    growth = soak_of(before, busy, after).growth
    assert (round(growth.memory_mb, 1), growth.descriptors, growth.threads) == (7.0, 3, 1)


@pytest.mark.slow
@pytest.mark.server("nginx")
def test_a_short_soak_sees_a_daemon_that_does_the_work(tmp_path: Path) -> None:
    seconds = 20.0
    soak = run(str(tmp_path), build(str(tmp_path / "files"), 200), seconds, 10.0, endpoints=50)
    assert soak.looks >= 50
    assert soak.changes / 2 < soak.noticed < soak.changes * 2
    assert len(soak.sizes) > ENDS // 2
    assert all(each.memory_mb > 20 and each.descriptors > 10 and each.threads > 1 for each in soak.sizes)
    assert soak.growth.memory_mb < 50
