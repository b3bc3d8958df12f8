"""The readiness protocol, sd_notify(3)."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from monitor.host import systemd
from monitor.lab.process import wait_for
from tests.kit.daemon import Manager

Listen = Callable[[str], Manager]


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch, cleanup: ExitStack) -> Listen:
    """Return a service manager at an address, which the environment names; `{}` is a short directory."""
    directory = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="cv-"))

    def start(address: str) -> Manager:
        manager = Manager(address.format(directory))
        cleanup.callback(manager.close)
        monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
        return manager

    return start


@pytest.mark.parametrize("address", ["{}/notify", "@certvigil{}"], ids=["path", "abstract"])
def test_lines_reach_the_manager_together(listen: Listen, address: str) -> None:
    manager = listen(address)
    systemd.notify("READY=1", "STATUS=at work")
    wait_for(lambda: manager.said)
    assert manager.said == ("READY=1", "STATUS=at work")


def test_a_reload_tells_when_it_began(listen: Listen) -> None:
    """Type=notify-reload takes no READY=1 for the reload's that was sent before this moment."""
    manager = listen("{}/notify")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    wait_for(lambda: manager.said)
    reloading, moment = manager.said
    assert reloading == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= after


@pytest.mark.parametrize("address", ["", "/no/such/socket", "@nobody-listens", "/" + "x" * 200])
def test_a_manager_that_cannot_be_told_is_no_failure(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("READY=1")


@pytest.mark.parametrize(
    ("limit", "pid", "interval"),
    [
        ("30000000", None, 15.0),
        ("30000000", "ours", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_signs_of_life_come_twice_as_often_as_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, pid: str | None, interval: float | None
) -> None:
    pid = str(os.getpid()) if pid == "ours" else pid
    for name, value in (("WATCHDOG_USEC", limit), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert systemd.watchdog_interval() == interval
