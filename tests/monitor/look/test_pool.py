from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from config.model import Watch
from monitor.lab.ca import Authority
from monitor.lab.process import wait_for
from tests.kit.monitors import config_with, file_monitor

HIRE = """
import os, sys
from multiprocessing import active_children
from config.model import FileTarget
from config.vocabulary import FileRole
from monitor.look.job import FileJob, run
from monitor.look.pool import dismiss, hire
from probes.assess import FileContext
os.sched_getaffinity = lambda _: {0, 1}
helpers = hire()
"""
LOOK = """
path = sys.argv[1]
jobs = [FileJob(FileContext(FileTarget(path, path, FileRole.LISTED)))]
(first,), (again,) = (helpers.submit(run, jobs, 1_800_000_000.0).result() for _ in range(2))
assert (first,) == tuple(run(jobs, 1_800_000_000.0))
assert first[0].certificates[0] is again[0].certificates[0]
dismiss(helpers)
while active_children():
    pass
print("done")
"""
WAIT = """
print(*(each.pid for each in active_children()), flush=True)
sys.stdin.read()
"""


class BrokenPool(Executor):
    """Executes nothing, as when its processes were killed."""

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        raise BrokenExecutor


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """Return a directory with more files than fit into a batch."""
    authority = Authority.root()
    for number in range(40):
        (tmp_path / f"{number}.pem").write_bytes(authority.issue(f"host-{number}.example").pem())
    return tmp_path


def test_helpers_see_what_the_daemon_would_and_end_when_dismissed(tmp_path: Path) -> None:
    (tmp_path / "site.pem").write_bytes(Authority.root().issue("www.example.com").chain_pem())
    command = [sys.executable, "-c", HIRE + LOOK, str(tmp_path / "site.pem")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_helpers_do_not_outlive_a_daemon_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HIRE + WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        helpers = daemon.stdout.readline().split()
        assert len(helpers) == 2
        daemon.kill()
    wait_for(lambda: not any(map(_runs, helpers)), what="the end of the helpers")


def _runs(process: str) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_helpers_looked_at_is_learned(watched: Path) -> None:
    async def story() -> None:
        with ThreadPoolExecutor(2) as helpers:
            async with file_monitor(config_with(watches=(Watch((str(watched),)),)), helpers=helpers) as kept:
                assert {os.path.basename(name) for name in kept.page.shown} == {f"{number}.pem" for number in range(40)}
                assert all(known.presented for known in kept.page.shown.values())

    asyncio.run(story())


def test_without_its_helpers_the_daemon_looks_itself(watched: Path) -> None:
    async def story() -> None:
        async with file_monitor(config_with(watches=(Watch((str(watched),)),)), helpers=BrokenPool()) as kept:
            assert len(kept.page.shown) == 40

    asyncio.run(story())
