"""The smoke part: a boot, a replacement, a cut of the power, and the boot after it."""

from __future__ import annotations

import os
import time

from tests.machine.emulator import Disk, Machine, overlay
from tests.machine.house import NGINX
from tests.machine.judge import wrong
from tests.machine.life import after_boot
from tests.machine.lost_writes import read_log
from tests.machine.power import cut_during, raw_disk
from tests.machine.replace import replace
from tests.machine.scenario import Stage


def smoke(stage: Stage) -> list[str]:
    """Replace nginx's pair, cut the power during the next replacement, and boot from cold."""
    where = stage.place("smoke")
    base, log = os.path.join(where, "base"), os.path.join(where, "log")
    raw_disk(stage, base)
    found: list[str] = []
    made = overlay(os.path.join(where, "disk"), Disk(base, "raw"))
    memory = os.path.join(stage.state.directory, "memory")
    disk = Disk(made.path, made.form, log)
    with Machine(where, stage.state.image, disk, by=stage.state.by, memory=memory) as machine:
        begun = time.monotonic()
        issued = stage.state.ca.issue(machine)
        ran = replace(machine, NGINX, issued)
        if ran.status != 0:
            return [f"replace ended with {ran.status}: {ran.output[-1500:]}"]
        found += wrong(machine, {NGINX: [issued]}, within=10)
        lasts = time.monotonic() - begun
        draw = stage.draw("smoke")
        at = cut_during(stage, machine, draw, {NGINX: (issued,)}, lasts)
    written = read_log(log)
    written.apply(written.kept(len(written), draw), base)
    again = overlay(os.path.join(where, "again"), Disk(base, "raw"))
    with Machine(where, stage.state.image, again, by=stage.state.by) as machine:
        found += after_boot(stage, machine)
        found += wrong(machine, at)
    return found
