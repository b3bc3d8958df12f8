"""The daemon with a clock in it: `python -m tests.bench.measured CONFIG`, in place of `certvigil run --config CONFIG`.

What it saw is written to `CONFIG.seen` when it ends. SIGUSR1 makes it look at all files again and again, and write
`CONFIG.looked` once those were `LOOKS`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from config.load import load
from config.model import Config
from config.vocabulary import LogFormat, LogLevel
from monitor import daemon, wiring
from monitor.host.life import Life
from monitor.metrics import Counters, Page
from monitor.state.log import set_up
from monitor.state.messages import Looked
from monitor.state.target import TargetState

BEAT: Final = 0.001
"""Seconds between two signs of life of the event loop."""
LOOKS: Final = 100_000


@dataclass(slots=True)
class SeenLooks:
    """What happened inside, by the monotonic clock, which all processes share."""

    stalls: list[tuple[float, float]] = field(default_factory=list)
    """When a sign of life was due, and by how many seconds it was late, as far as the process was at work meanwhile.

    Whatever else the machine does, no daemon can help.
    """
    shown: list[tuple[float, str, str]] = field(default_factory=list)
    """When the page came to show which target with which first certificate; none where it can no longer be read."""
    looks: int = 0


SEEN: Final = SeenLooks()


class _Page(Page):
    def update(self, state: TargetState) -> None:
        super().update(state)
        first = state.presented[0].sha256 if state.presented and state.failure is None else ""
        SEEN.shown.append((time.monotonic(), state.target, first))

    def remove(self, target: str) -> None:
        super().remove(target)
        SEEN.shown.append((time.monotonic(), target, ""))


class _Counters(Counters):
    def looked(self, look: Looked) -> None:
        super().looked(look)
        SEEN.looks += 1


class _Daemon(daemon.Daemon):
    def __init__(self, path: str, config: Config, helpers: Executor | None = None, life: Life | None = None) -> None:
        super().__init__(path, config, helpers, life)
        self._work: list[asyncio.Task[Any]] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, lambda: self._work.append(loop.create_task(self._look_at_all_again())))
        self._work.append(loop.create_task(self._beat()))
        await super().run()
        for task in self._work:
            task.cancel()

    async def _beat(self) -> None:
        while True:
            due, worked = time.monotonic() + BEAT, time.process_time()
            await asyncio.sleep(BEAT)
            late = min(time.monotonic() - due, time.process_time() - worked)
            if late > BEAT:
                SEEN.stalls.append((due, late))

    async def _look_at_all_again(self) -> None:
        before = SEEN.looks
        while SEEN.looks - before < LOOKS:
            enough = SEEN.looks + self.parts.look.files.progress.total
            self.parts.look.files.rescan()
            while SEEN.looks < enough:  # noqa: ASYNC110 (the monitor tells nobody when it is through)
                await asyncio.sleep(0.01)
        _write(f"{self.path}.looked", SEEN.looks - before)


def _write(path: str, value: object) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.rename(f"{path}.new", path)


def main(path: str) -> int:
    """Run the daemon until it is told to stop."""
    config = load(path, os.environ)
    if not isinstance(config, Config):
        raise SystemExit("\n".join(map(str, config)))
    set_up(LogFormat.TEXT, LogLevel.INFO, "localhost")
    for module, name, measured in (
        (wiring, "Page", _Page),
        (wiring, "Counters", _Counters),
        (daemon, "Daemon", _Daemon),
    ):
        setattr(module, name, measured)
    code = daemon.run_daemon(path, config)
    _write(f"{path}.seen", asdict(SEEN))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
