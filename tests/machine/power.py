"""Scenarios in which the power is cut: the machine is started again, or its disk is looked at as it may have been left.

Two ways, of which both have the disk forget writes that no flush had made durable, each by itself, some of them torn
(`lost_writes`):

- `cuts_with_boot`: everything is killed at a random moment of a replacement, with which everything goes that was in
  memory alone. Debian is started again from the disk, and is looked at from inside: the machine where it has one, by
  its own kernel; else the container (`Stage.contains`).
- `replayed_cuts`: a container works on a disk whose requests are logged (`logged_disk`). Of that one run many cuts are
  made, at any request and with any loss. The disk of each is mounted here, where the kernel replays the journal of its
  file system, `certvigil recover --no-services` runs from the disk itself as at boot, and nginx and lighttpd start from
  it and are asked. The file system's code is that of this host's kernel.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from monitor.lab.ca import Issued
from tests.machine.container import Container
from tests.machine.emulator import STARTS_WITHIN, Disk, Machine, overlay
from tests.machine.host import Host, MachineError, PowerIsCutError
from tests.machine.house import FILES, LIGHTTPD, NAME, NGINX, PORTS, UNITS, copy
from tests.machine.judge import Seen, look, unsafe, wrong
from tests.machine.logged_disk import LoggedDisk
from tests.machine.lost_writes import WriteLog, read_log
from tests.machine.replace import bring
from tests.machine.say import say
from tests.machine.scenario import Stage

_LOOK: Final = str(Path(__file__).parent / "guest/look.py")
_EXAMINE: Final = """\
set -u
[ $$ = 1 ] || exit 95
mount -t ext4 -o loop "$1" "$2" || exit 99
mount -t proc proc "$2/proc" && mount --bind /dev "$2/dev" && mount -t tmpfs tmpfs "$2/run" || exit 98
ip link set lo up
cp "$3" "$2/run/look.py"
chroot "$2" certvigil recover --no-services --json >"$4.recover" 2>&1
echo $? >"$4.status"
mkdir -p "$2/run/lighttpd"; chroot "$2" chown www-data /run/lighttpd
chroot "$2" /usr/sbin/nginx >"$4.nginx" 2>&1
chroot "$2" /usr/sbin/lighttpd -f /etc/lighttpd/lighttpd.conf >"$4.lighttpd" 2>&1
chroot "$2" python3 /run/look.py "$5" >"$4.seen" 2>&1
if [ "$6" = wholly ]; then
    chroot "$2" certvigil recover --no-services --json >"$4.again" 2>&1
    chroot "$2" certvigil audit --verify >"$4.audit" 2>&1 || echo "ended with $?" >>"$4.audit"
fi
# All processes of this namespace but the first one, which is this shell.
kill -9 -1
begun=$SECONDS
until others=("$2"/proc/[0-9]*) && [ "${#others[@]}" = 1 ]; do
    [ $((SECONDS - begun)) -lt 60 ] || exit 97
    sleep 0.05
done
umount "$2/run" "$2/dev" "$2/proc" "$2" || exit 96
"""
"""A disk, a place to mount it, the program that looks, where the results go, the words for that program, how far."""
_WHOLLY: Final = 10
"""Of so many disks, one is recovered twice, and its audit is verified."""
_AT_ONCE: Final = 2
"""Disks."""


@dataclass
class LiveSets:
    """Which set each component may have, as the story goes on."""

    allowed: dict[str, tuple[Issued, ...]]
    log: str
    marks: list[tuple[int, dict[str, tuple[Issued, ...]]]] = field(default_factory=list)
    """From which size of the log on which sets are allowed."""

    def mark(self, **sets: tuple[Issued, ...]) -> None:
        """Allow these sets from now on."""
        self.allowed = {**self.allowed, **sets}
        self.marks.append((os.path.getsize(self.log), self.allowed))

    def at(self, size: int) -> dict[str, tuple[Issued, ...]]:
        """Return what is allowed where the log is so long."""
        return [sets for begun, sets in self.marks if begun <= size][-1]


class LoggedHost(NamedTuple):
    """A running Debian, and the path of the log of its requests to the disk."""

    host: Host
    log: str


@contextmanager
def logged(stage: Stage, where: str, base: str) -> Iterator[LoggedHost]:
    """Start Debian from a copy of the disk `base`; give it, and the log of its requests to the disk."""
    disk, log = os.path.join(where, "disk"), os.path.join(where, "log")
    if stage.contains:
        shutil.rmtree(os.path.join(where, "root"), ignore_errors=True)
        copy(base, disk)
        with LoggedDisk(disk, where) as opened, Container(where, opened.path, keeps=True) as host:
            yield LoggedHost(host, opened.log)
    else:
        if os.path.exists(disk):
            os.unlink(disk)
        made = overlay(disk, Disk(base, "raw"))
        with Machine(where, stage.state.image, Disk(made.path, made.form, log), by=stage.state.by) as host:
            yield LoggedHost(host, log)


def replayed_cuts(stage: Stage) -> list[str]:
    """Log replacements, a rollback and an undone change; cut the power at any request to the disk."""
    where = stage.place("replayed")
    base, disk = os.path.join(where, "base"), os.path.join(where, "disk")
    stage.state.raw_disk(base, own_clock=False)
    copy(base, disk)
    with LoggedDisk(disk, where) as opened, Container(where, opened.path, keeps=True) as machine:
        log = opened.log
        first = stage.state.ca.issue(machine)
        sets = LiveSets({}, log)
        for name in FILES:
            _act(machine, ["certvigil", "replace", name, "--from", bring(machine, first)], 0)
        sets.mark(**dict.fromkeys(FILES, (first,)))
        _story(stage, machine, sets)
        ended = os.path.getsize(log)
    written = read_log(log)
    begun = written.after(sets.marks[0][0])
    end = written.after(ended)
    say(f"{end - begun} requests to the disk in that story")
    found: list[str] = []
    stage.played = 0
    lost = 0

    def examined(number: int) -> tuple[int, int, list[str]]:
        draw = stage.draw("replayed", number)
        at = draw.randint(begun, end)
        cut = _Cut(written, at, sets.at(written.writes[at - 1].end), wholly=number % _WHOLLY == 0)
        return number, at, _examined(stage.place(f"examined-{number % _AT_ONCE}"), base, cut, draw)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for batch in range(0, stage.rounds, _AT_ONCE):
            numbers = range(batch, min(batch + _AT_ONCE, stage.rounds))
            for number, at, said in threads.map(examined, numbers):
                lost += written.pending(at)
                found += [f"cut {number} of seed {stage.seed}, after request {at}: {each}" for each in said]
                stage.played += 1
            if stage.played % 20 == 0:
                say(f"{stage.played} disks examined, {len(found)} violations")
    say(f"on average {lost / max(1, stage.played):.1f} writes were pending at a cut")
    return found


def _story(stage: Stage, machine: Host, sets: LiveSets) -> None:
    """Change both components by each way there is."""
    ca = stage.state.ca

    def change(name: str, command: list[str], old: Issued, new: Issued, status: int = 0) -> Issued:
        sets.mark(**{name: (old, new)})
        _act(machine, command, status)
        now = new if status == 0 else old
        sets.mark(**{name: (now,)})
        return now

    at = {name: sets.allowed[name][0] for name in FILES}
    for name in (NGINX, LIGHTTPD, NGINX):
        new = ca.issue(machine)
        old, path = at[name], bring(machine, new)
        at[name] = change(name, ["certvigil", "replace", name, "--from", path], old, new)
    change(NGINX, ["certvigil", "rollback", NGINX], at[NGINX], old)
    at[NGINX] = old
    machine.put("/etc/systemd/system/nginx.service.d/machine.conf", "[Service]\nExecReload=\nExecReload=/bin/false\n")
    machine.sh("systemctl daemon-reload")
    new = ca.issue(machine)
    change(NGINX, ["certvigil", "replace", NGINX, "--from", bring(machine, new)], at[NGINX], new, 2)


def _act(machine: Host, command: list[str], status: int) -> None:
    ran = machine.run(command, 600)
    if ran.status != status:
        raise MachineError(f"`{' '.join(command)}` ended with {ran.status}, expected {status}: {ran.output[-1500:]}")


@dataclass(frozen=True, slots=True)
class _Cut:
    """A cut of the power."""

    log: WriteLog
    at: int
    """After how many requests to the disk."""
    allowed: Mapping[str, Sequence[Issued]]
    wholly: bool


def _examined(where: str, base: str, cut: _Cut, draw: Random) -> list[str]:
    """Return what is wrong with the disk as it may be after a cut, made in the empty directory `where`."""
    disk, mounted, result = (os.path.join(where, each) for each in ("disk", "mounted", "result"))
    os.mkdir(mounted)
    copy(base, disk)
    cut.log.apply(cut.log.kept(cut.at, draw), disk)
    asked = {"files": [path for name in FILES for path in FILES[name].values()], "ports": list(PORTS.values())}
    command = [
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--propagation",
        "private",
        "/bin/bash",
        "-c",
        _EXAMINE,
    ]
    command += ["examine", disk, mounted, _LOOK, result, json.dumps(asked | {"name": NAME})]
    command.append("wholly" if cut.wholly else "quickly")
    ran = subprocess.run(command, check=False, timeout=600, capture_output=True, stdin=subprocess.DEVNULL)
    if ran.returncode != 0:
        return [f"the disk could not be examined ({ran.returncode}): {ran.stderr.decode(errors='replace')}"]
    said = {each.suffix[1:]: each.read_text(errors="replace") for each in Path(where).glob("result.*")}
    found = []
    if said["status"].strip() != "0" or _document(said["recover"]).get("frozen") != {}:
        found.append(f"certvigil recover ended with {said['status'].strip()}: {said['recover'][-1000:]}")
    again = _document(said["again"]) if cut.wholly else {"frozen": {}, "endings": []}
    if again.get("frozen") != {} or again.get("endings") != []:
        found.append(f"a second recover had something to do: {said['again'][-1000:]}")
    if "ended with" in said.get("audit", ""):
        found.append(f"certvigil audit --verify: {said['audit'][-500:]}")
    found += [f"{each}: {said[each]}" for each in (NGINX, LIGHTTPD) if "emerg" in said[each]]
    seen = _document(said["seen"])
    return (
        [*found, *unsafe(Seen(**seen), cut.allowed)] if seen else [*found, f"nobody could look: {said['seen'][-500:]}"]
    )


def _document(text: str) -> dict[str, Any]:
    """Return what a command printed as JSON; empty where it is none."""
    with suppress(ValueError):
        return dict(json.loads(text))
    return {}


def cuts_with_boot(stage: Stage) -> list[str]:
    """Cut the power at a random moment of a change; the disk forgets, and the machine is started again."""
    where = stage.place("cuts")
    base = os.path.join(where, "base")
    stage.state.raw_disk(base, own_clock=not stage.contains)
    found: list[str] = []
    stage.played = 0
    at: dict[str, tuple[Issued, ...]] = {}
    lasts = 0.0
    for number in range(stage.rounds + 1):
        draw = stage.draw("boot", number)
        with logged(stage, where, base) as running:
            machine = running.host
            machine.wait_for(f"systemctl is-active {' '.join(UNITS)}", "everything is up", STARTS_WITHIN)
            if number:
                said = wrong(machine, at)
                found += [f"cut {number} of seed {stage.seed}: {each}" for each in said]
                stage.played = number
                at = as_seen(machine, at)
                say(f"cut {number}: {'; '.join(said) or 'safe'}")
            else:
                at, lasts = replaced(stage, machine)
            if number < stage.rounds:
                at, mark = cut_during(stage, running, draw, at, lasts)
                forget(running.log, mark, draw, base)
    return found


def replaced(stage: Stage, machine: Host) -> tuple[dict[str, tuple[Issued, ...]], float]:
    """Replace the certificate of each component; return the sets that are there, and how many seconds each took."""
    first = stage.state.ca.issue(machine)
    begun = time.monotonic()
    for name in FILES:
        _act(machine, ["certvigil", "replace", name, "--from", bring(machine, first)], 0)
    return dict.fromkeys(FILES, (first,)), (time.monotonic() - begun) / len(FILES)


def as_seen(machine: Host, at: Mapping[str, tuple[Issued, ...]]) -> dict[str, tuple[Issued, ...]]:
    """Return, of the sets that were allowed, those that are there."""
    seen = look(machine)
    return {name: tuple(each for each in sets if seen.holds(name, each)) or sets for name, sets in at.items()}


def forget(log: str, size: int, draw: Random, base: str) -> None:
    """Have a disk hold what it may hold where the power was cut when its log was so long."""
    written = read_log(log)
    number = written.after(size)
    say(f"{written.pending(number)} writes were pending at the cut")
    written.apply(written.kept(number, draw), base)


def cut_during(
    stage: Stage, running: LoggedHost, draw: Random, at: Mapping[str, tuple[Issued, ...]], lasts: float
) -> tuple[dict[str, tuple[Issued, ...]], int]:
    """Cut the power during a change; return which sets may be there afterwards, and the size of the log then."""
    machine, log = running
    name = draw.choice(sorted(at))
    new = stage.state.ca.issue(machine)
    path = bring(machine, new)
    ended: list[int | None] = []

    def change() -> None:
        with suppress(PowerIsCutError):
            ended.append(machine.run(["certvigil", "replace", name, "--from", path], 600).status)

    thread = threading.Thread(target=change)
    thread.start()
    time.sleep(draw.uniform(0.0, lasts * 1.1))
    # What was answered before counts; the log may be longer by then.
    sets = (new,) if ended == [0] else (*at[name], new)
    mark = os.path.getsize(log)
    machine.cut()
    thread.join()
    return {**at, name: sets}, mark
