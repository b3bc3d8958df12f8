"""A step of the clock: everything is judged again at once, and what the clock alone makes wrong is nobody's news."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from config.model import DAY, Watch
from config.text import Printable
from config.vocabulary import Code
from monitor.lab.ca import Authority
from monitor.look.clock import STEP, ClockMonitor
from monitor.state.bus import Bus, route
from monitor.state.messages import ClockStepped
from monitor.state.pending import CLOCK_TRIED, CLOCK_TRIED_AT_MOST, ClockSteps
from probes.finding import finding
from tests.kit.monitors import config_with, file_monitor, until

ROOT = Authority.root()
EXPIRED = finding(Code.EXPIRED, Printable("it ended"))
MISMATCH = finding(Code.KEY_MISMATCH, Printable("another key"))


@pytest.fixture
def heard() -> list[ClockStepped]:
    return []


@pytest.fixture
def steps() -> ClockSteps:
    return ClockSteps()


@pytest.fixture
def monitor(steps: ClockSteps, heard: list[ClockStepped]) -> ClockMonitor:
    return ClockMonitor(steps, Bus(routes=[route(ClockStepped, heard.append)]), lambda: None)


@pytest.mark.parametrize("before", [False, None], ids=["known not to be", "not known"])
def test_what_waits_is_told_as_soon_as_the_clock_is_known_to_be_right(
    before: bool | None, steps: ClockSteps, heard: list[ClockStepped]
) -> None:
    known = [before]
    monitor = ClockMonitor(steps, Bus(routes=[route(ClockStepped, heard.append)]), lambda: known[0])
    now, steady = time.time() + 3 * DAY, time.monotonic()
    monitor.compare(now, steady)
    monitor.compare(now + 1, steady + 1)
    assert (len(heard), steps.awaits(EXPIRED)) == (1, True)
    known[0] = True
    monitor.compare(now + 2, steady + 2)
    assert (len(heard), steps.awaits(EXPIRED)) == (2, False)
    monitor.compare(now + 3, steady + 3)
    assert len(heard) == 2


@pytest.mark.parametrize("by", [400 * DAY, -400 * DAY, 2 * STEP])
def test_a_step_is_told_at_once_and_once_more_when_the_clock_has_stood(
    by: float, monitor: ClockMonitor, steps: ClockSteps, heard: list[ClockStepped]
) -> None:
    now, steady = time.time(), time.monotonic()
    monitor.compare(now + 1, steady + 1)
    assert (len(heard), steps.awaits(EXPIRED)) == (0, False)
    monitor.compare(now + by + 2, steady + 2)
    assert (len(heard), steps.awaits(EXPIRED), steps.awaits(MISMATCH)) == (1, True, False)
    monitor.compare(now + by + 2 + CLOCK_TRIED / 2, steady + 2 + CLOCK_TRIED / 2)
    assert (len(heard), steps.awaits(EXPIRED)) == (1, True)
    # Put right again, it is tried from then on.
    monitor.compare(now + 3 + CLOCK_TRIED / 2, steady + 3 + CLOCK_TRIED / 2)
    monitor.compare(now + 3 + CLOCK_TRIED, steady + 3 + CLOCK_TRIED)
    assert (len(heard), steps.awaits(EXPIRED)) == (2, True)
    monitor.compare(now + 4 + 2 * CLOCK_TRIED, steady + 4 + 2 * CLOCK_TRIED)
    assert (len(heard), steps.awaits(EXPIRED)) == (3, False)
    monitor.compare(now + 5 + 2 * CLOCK_TRIED, steady + 5 + 2 * CLOCK_TRIED)
    assert len(heard) == 3


def test_a_clock_that_steps_again_and_again_keeps_nothing_silent_for_longer_than_that(
    monitor: ClockMonitor, steps: ClockSteps
) -> None:
    now, steady, every = time.time(), time.monotonic(), CLOCK_TRIED / 2
    told_after = []
    for number in range(1, 15):
        # A guest whose clock runs away is put right each few minutes.
        monitor.compare(now + number * (every - 2 * STEP), steady + number * every)
        if not steps.awaits(EXPIRED):
            told_after.append((number - 1) * every)
    assert told_after == [CLOCK_TRIED_AT_MOST, 2 * CLOCK_TRIED_AT_MOST + every]


@pytest.mark.parametrize(
    ("code", "waits"), [(Code.CRL_STALE, True), (Code.REVOCATION_UNKNOWN, True), (Code.REVOKED, False)]
)
def test_what_lists_and_ocsp_answers_tell_by_their_dates_waits_for_the_clock(
    code: Code, steps: ClockSteps, *, waits: bool
) -> None:
    steps.stepped(time.monotonic())
    assert steps.awaits(finding(code, Printable("why"))) is waits


def test_a_clock_that_is_slewed_has_not_stepped(monitor: ClockMonitor, heard: list[ClockStepped]) -> None:
    now, steady = time.time(), time.monotonic()
    for second in range(60):
        monitor.compare(now + second * 1.0005, steady + second)
    assert heard == []


@pytest.mark.parametrize("waits", [True, False], ids=["noticed before the look", "noticed after it"])
def test_a_certificate_is_no_longer_expired_at_once_when_the_clock_was_put_right(
    waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    shift = [0.0]
    monkeypatch.setattr(time, "time", lambda: right() + shift[0])
    path = str(tmp_path / "cert.pem")
    Path(path).write_bytes(ROOT.issue("www.example.com", not_after=int(right() + 90 * DAY)).pem())

    async def story() -> None:
        async with file_monitor(config_with(watches=(Watch((path,)),))) as kept:
            assert kept.files is not None
            assert kept.registry is not None
            monitor = ClockMonitor(
                kept.registry.clock, Bus(routes=[route(ClockStepped, kept.files.clock_stepped)]), lambda: False
            )
            shift[0] = 400.0 * DAY
            if waits:
                monitor.compare(time.time(), time.monotonic())
                await until(lambda: any(code is Code.EXPIRED for code, _ in kept.page.shown[path].pending))
                assert kept.codes(path) == set()
            else:
                # As a daemon that was started by a wrong clock.
                monitor = ClockMonitor(
                    kept.registry.clock, Bus(routes=[route(ClockStepped, kept.files.clock_stepped)]), lambda: False
                )
                kept.files.clock_stepped(ClockStepped())
                await until(lambda: Code.EXPIRED in kept.codes(path))
            shift[0] = 0.0
            monitor.compare(time.time(), time.monotonic())
            await until(lambda: not kept.codes(path) and not kept.page.shown[path].pending)

    asyncio.run(story())
