"""A demonstration as its user runs it, on this machine or on one where no server is installed, and what it must do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from monitor.lab.process import find_command
from tests.kit import bare_machine
from tests.kit.bare_machine import HURRY
from tests.kit.daemon import begun, with_usual_paths


def demonstrate(
    directory: Path, *arguments: str, servers: bool, hurry: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a demonstration that keeps its files below `directory`; without `servers`, none can be found."""
    environment = {**os.environ, "TMPDIR": str(directory)}
    if not servers:
        setpriv, tools = find_command("setpriv"), directory / "tools"
        assert setpriv is not None
        tools.mkdir()
        (tools / "setpriv").symlink_to(setpriv)
        environment |= {"PATH": str(tools), **({HURRY: "1"} if hurry else {})}
    module = "monitor.main" if servers else bare_machine.__name__
    pipe = subprocess.PIPE
    with begun("demo", *arguments, module=module, stdout=pipe, stderr=pipe, text=True, env=environment) as running:
        said = running.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, running.wait(), *said)


def assert_told(ran: subprocess.CompletedProcess[str], told: Iterable[str]) -> None:
    """Fail unless a demonstration ended well, said all of these patterns in this order, and showed no key."""
    said, at = with_usual_paths(ran.stdout), 0
    assert ran.returncode == 0, said + ran.stderr
    for each in told:
        found = re.compile(each).search(said, at)
        assert found, f"{each} does not come after {said[:at][-200:]}\n{said}"
        at = found.end()
    assert "PRIVATE KEY" not in said + ran.stderr
    assert "not done" not in ran.stderr, ran.stderr


def assert_left_nothing(directory: Path) -> None:
    """Fail where something is left below the directory, but for what stands for a bare machine."""
    assert {each.name for each in directory.iterdir()} <= {"tools"}


def assert_ends_with_nothing_left(
    directory: Path, start: Callable[..., Any], moment: bytes, number: signal.Signals, *, status: int
) -> None:
    """Start a demonstration, send it a signal at a moment, and fail unless all of it ends with this exit code."""
    with start(
        env={**os.environ, "TMPDIR": str(directory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Nothing is read ahead of a line: `communicate` would not see it.
        bufsize=0,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        try:
            assert any(moment in line for line in running.stdout)
            running.send_signal(number)
            # All its processes write there: where one stays, this does not end.
            said = running.communicate(timeout=60)[0]
            assert b"stopped; nothing is left behind" in said
            assert b"Traceback" not in said
            assert running.wait() == status
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    assert not list(directory.iterdir())
