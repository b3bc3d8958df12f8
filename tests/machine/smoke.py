"""The smoke part: a boot, a replacement, a cut of the power, and the boot after it."""

from __future__ import annotations

import os

from tests.machine.judge import wrong
from tests.machine.life import after_boot
from tests.machine.power import cut_during, forget, logged, replaced
from tests.machine.scenario import Stage


def smoke(stage: Stage) -> list[str]:
    """Start Debian, replace both certificates, cut the power during the next replacement, and start it again."""
    where = stage.place("smoke")
    base = os.path.join(where, "base")
    stage.state.raw_disk(base, own_clock=not stage.contains)
    draw = stage.draw("smoke")
    with logged(stage, where, base) as running:
        found = after_boot(stage, running.host)
        at, lasts = replaced(stage, running.host)
        found += wrong(running.host, at)
        at, mark = cut_during(stage, running, draw, at, lasts)
        forget(running.log, mark, draw, base)
    with logged(stage, where, base) as again:
        return [*found, *after_boot(stage, again.host), *wrong(again.host, at)]
