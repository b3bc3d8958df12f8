"""The demonstrations, as their user runs them, with real servers and without."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any
from unittest.mock import Mock

import pytest

from config.vocabulary import Scenario
from monitor.commands.screen import Screen
from monitor.demo import tour
from tests.kit.daemon import CERTVIGIL, begun
from tests.kit.demonstration import assert_ends_with_nothing_left, assert_left_nothing, assert_told, demonstrate


@pytest.mark.parametrize(
    "servers",
    [
        pytest.param(True, marks=[pytest.mark.server("nginx"), pytest.mark.server("lighttpd")], id="real servers"),
        # The story is the same; without servers, the other scenario is told by default.
        pytest.param(False, marks=pytest.mark.slow, id="none installed"),
    ],
)
def test_a_bad_replacement_passes_every_check_fails_live_and_is_undone_by_itself(
    directory: Path, servers: bool
) -> None:
    ran = demonstrate(directory, "--scenario", "bad-replacement", servers=servers)
    said = ran.stdout
    assert ("(Nginx)" in said, "(Lighttpd)" in said) == (servers, servers)
    told = [
        r'client_accepts\{client="browser",target="console/\S+"\} 1',
        r"client     browser at console/\S+: accepts -> accepts",
        r"client     finder at portal/\S+: accepts -> accepts",
        *(
            "copied the old files aside",
            "noted the intent",
            "switched a file",
            "the command that activates the new files has ended",
        ),
        *("rolling back", "the old files are back"),
        r"rolled_back console, portal: the new certificate is not served: console/.*the old files are in place",
        r'client_accepts\{client="browser",target="console/\S+"\} 1',
        r'actions_total\{action="replace",component="console",outcome="rolled_back"\} 1',
        r"console/actions\s+ended\s+replace rolled_back",
        r"portal\s+\d{8}t\d{6}-\w+\s+\S+\s+replace \(rolled_back, .*\s+default, on disk, served",
        "the old files are in place and served again",
        "nothing is left behind",
    ]
    assert_told(ran, told)
    assert_left_nothing(directory)


def test_without_nginx_nobody_says_that_nginx_is_reloaded(directory: Path) -> None:
    ran = demonstrate(directory, "--seconds", "0", servers=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "its server is reloaded" in ran.stdout
    assert "nginx" not in ran.stdout.lower()


@pytest.mark.parametrize("scenario", ["faults", "bad-replacement"])
def test_a_machine_that_is_too_slow_is_told_about_and_nothing_is_left_behind(directory: Path, scenario: str) -> None:
    """It was a traceback."""
    ran = demonstrate(directory, "--scenario", scenario, servers=False, hurry=True)
    assert ran.returncode == 1
    assert "is not ready yet: this machine is busy" in ran.stdout
    assert "so there is nothing to show; try again when this machine is less busy" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
    assert_left_nothing(directory)


@pytest.mark.parametrize(
    ("number", "start"),
    [
        pytest.param(signal.SIGTERM, partial(subprocess.Popen, (*CERTVIGIL, "demo")), id="SIGTERM"),
        pytest.param(signal.SIGHUP, partial(begun, "demo"), id="SIGHUP, forked off"),
    ],
)
def test_nothing_is_left_behind_however_it_is_ended(
    directory: Path, number: signal.Signals, start: Callable[..., Any]
) -> None:
    """Its servers, its daemon and its directory stayed where a service manager, or a terminal that went, ended it.

    One of the two takes long: it is started as its user starts it.
    """
    moment = b"everything was looked at once"
    assert_ends_with_nothing_left(directory, start, moment, number, status=0)


def test_whoever_reads_that_it_is_under_way_may_end_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: it ended without a word, where the signal came between that line and whatever followed."""
    said: list[str] = []

    class Ended(Screen):
        def say(self, template: str, *_: object, **__: object) -> None:
            said.append(template)
            if "everything was looked at once" in template:
                signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(tour, "Screen", Ended)
    monkeypatch.setattr(tour, "Appliance", lambda *_: nullcontext(Mock()))
    monkeypatch.setattr(tour, "say_addresses", lambda *_: None)
    monkeypatch.setattr(tour, "keeping_vigil", lambda *_: nullcontext(Queue()))
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        assert tour.demo(Scenario.FAULTS, None, None) == 0
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert said[-1] == "stopped; nothing is left behind"
