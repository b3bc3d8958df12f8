"""The readiness protocol, sd_notify(3)."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

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


NOW = 10_000.0
SHOWN = {
    "Type": "notify",
    "ActiveState": "activating",
    "SubState": "start",
    "NRestarts": "0",
    "InactiveExitTimestampMonotonic": "9990000000",
    "ActiveEnterTimestampMonotonic": "0",
    "StateChangeTimestampMonotonic": "9990000000",
    "TimeoutStartUSec": "1min 30s",
    "TimeoutStopUSec": "45s",
}
RUNNING = {"ActiveState": "active", "SubState": "running", "ActiveEnterTimestampMonotonic": "9995000000"}


@pytest.mark.parametrize(
    ("differs", "dark_for", "left"),
    [
        pytest.param({}, 0, 80, id="it starts"),
        pytest.param({}, 30, 60, id="it was dark before it was started again"),
        pytest.param({"TimeoutStartUSec": "infinity"}, 0, 590, id="it has no time limit"),
        pytest.param({"TimeoutStartUSec": "1h 500ms"}, 0, 590, id="nobody waits for an hour"),
        pytest.param({"TimeoutStartUSec": "5s"}, 0, 0, id="its time is up"),
        pytest.param({"TimeoutStartUSec": ""}, 0, 0, id="no time limit is told"),
        pytest.param({"InactiveExitTimestampMonotonic": "x"}, 0, 0, id="no beginning is told"),
        pytest.param({"ActiveState": "reloading", "NRestarts": "4"}, 0, 80, id="it reloads, and crashed long ago"),
        pytest.param({"ActiveState": "deactivating"}, 0, 35, id="it stops"),
        pytest.param({"SubState": "auto-restart"}, 0, 0, id="it crashed"),
        pytest.param({"NRestarts": "2"}, 0, 0, id="it crashes again and again"),
        pytest.param(RUNNING, 0, 15, id="it was ready a moment ago"),
        pytest.param({**RUNNING, "ActiveEnterTimestampMonotonic": "9000000000"}, 0, 0, id="it was ready long ago"),
        pytest.param({**RUNNING, "Type": "simple"}, 0, 80, id="nobody knows when it is ready"),
        pytest.param({"ActiveState": "failed"}, 0, 0, id="it failed"),
        pytest.param({"ActiveState": "inactive"}, 0, 0, id="somebody stopped it"),
    ],
)
def test_a_unit_is_on_its_way_for_no_longer_than_its_own_time_limit(
    differs: dict[str, str], dark_for: float, left: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: NOW)
    said = "\n".join(f"{name}={value}" for name, value in {**SHOWN, **differs}.items())
    assert systemd.starting_for(("/bin/echo", said), dark_for, 20.0, str(tmp_path)) == left


def test_without_systemd_nothing_is_on_its_way(tmp_path: Path) -> None:
    said = "\n".join(f"{name}={value}" for name, value in SHOWN.items())
    assert systemd.starting_for(("/bin/echo", said), 0.0, 20.0, str(tmp_path / "none")) == 0.0
    assert systemd.starting_for((str(tmp_path / "systemctl"),), 0.0, 20.0, str(tmp_path)) == 0.0
