"""The same disk without a machine: systemd as the first process of namespaces, on the kernel of this host.

It is started within seconds also where a machine could only be emulated. It has everything that a scenario of services
needs: units, users, sandboxes, control groups, a network of its own. It has no kernel, no clock and no disk of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from tests.machine.host import PATIENCE, Host, MachineError, Ran

_STARTS_WITHIN: Final = 300.0
"""Seconds."""
_ENDS_WITHIN: Final = 30.0
_START: Final = """\
set -eu
disk=$1 place=$2
cd "$place"
mkdir -p lower upper work root
if [ "$3" = keeps ]; then
    mount -t ext4 -o loop "$disk" root
else
    mount -t ext4 -o loop,ro,noload "$disk" lower
    mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root
fi
mount -t proc proc root/proc
# What would be set there is the host's.
mount --bind root/proc/sys root/proc/sys && mount -o remount,bind,ro root/proc/sys
mount -t sysfs -o ro sysfs root/sys
mount -t cgroup2 cgroup2 root/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs root/dev
for node in null zero full random urandom tty; do
    touch root/dev/$node && mount --bind /dev/$node root/dev/$node
done
mkdir root/dev/pts root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts root/dev/pts
ln -s pts/ptmx root/dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs root/dev/shm
mount -t tmpfs -o mode=755 tmpfs root/run
for unit in machine-agent time-source systemd-remount-fs; do
    ln -sf /dev/null root/etc/systemd/system/$unit.service
done
cd root
mkdir -p old
pivot_root . old
umount -l old
without=-sys_time,-sys_module,-sys_boot,-sys_rawio
exec env -i container=machine PATH=/usr/sbin:/usr/bin setpriv --bounding-set="$without" /lib/systemd/systemd --system \\
    --show-status=0 </dev/null >/dev/null 2>&1
"""
"""A raw disk, an empty directory, and whether the disk keeps what is changed."""
_CGROUPS: Final = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")


def _groups() -> str:
    """Return where the hierarchy of control groups is mounted that systemd uses."""
    return next(each for each in _CGROUPS if os.path.exists(os.path.join(each, "cgroup.procs")))


class Container(Host):
    """Debian on this kernel."""

    has_own_clock = False

    def __init__(self, directory: str, disk: str, *, keeps: bool = False) -> None:
        """Prepare it below `directory`; `disk` is a raw one, which `keeps` what is changed, or is not written to."""
        self._keeps = "keeps" if keeps else "stays"
        self._directory = directory
        self._disk = os.path.abspath(disk)
        self._group = os.path.join(_groups(), f"machine-{os.getpid()}-{os.path.basename(directory)}")
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0
        """The process that is systemd, by its number here."""

    def __enter__(self) -> Self:
        """Start it, and return once systemd takes commands; raises MachineError."""
        os.makedirs(self._group, exist_ok=True)
        command = ["unshare", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--pid", "--fork", "--kill-child"]
        command += [
            "--propagation",
            "private",
            "/bin/bash",
            "-c",
            _START,
            "start",
            self._disk,
            self._directory,
            self._keeps,
        ]
        # A control group of its own, which becomes the root of what it sees.
        join = ["/bin/sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', self._group, *command]
        with open(os.path.join(self._directory, "start.log"), "ab") as log:
            self._process = subprocess.Popen(join, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._await_start()
        except BaseException:
            self.cut()
            raise
        return self

    def _await_start(self) -> None:
        assert self._process is not None
        children = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        deadline = time.monotonic() + _STARTS_WITHIN
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                log = Path(self._directory, "start.log").read_text(errors="replace")
                raise MachineError(f"the container ended at its start: {log[-1000:]}")
            with suppress(OSError, IndexError):
                self._first = int(Path(children).read_text().split()[0])
                if Path(f"/proc/{self._first}/comm").read_text().strip() == "systemd":
                    break
            time.sleep(0.1)
        self.wait_for("systemctl is-system-running --wait | grep -q 'running\\|degraded'", "systemd has started all")
        self.wait_for("certvigil status --healthy", "the daemon is healthy")

    def run(self, argv: Sequence[str], timeout: float = PATIENCE, given: bytes = b"") -> Ran:
        """Run a command as root and return what came of it."""
        enter = ["nsenter", f"--target={self._first}", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--pid"]
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = {"PATH": path, "HOME": "/root", "LC_ALL": "C.UTF-8"}
        try:
            ran = subprocess.run(
                [*enter, "/bin/sh", "-c", 'cd /root && exec "$@"', "sh", *argv],
                input=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return Ran(argv, None, (error.output or b"").decode(errors="replace"))
        return Ran(argv, ran.returncode, ran.stdout.decode(errors="replace"))

    def cut(self) -> None:
        """End everything in it at once."""
        if self._first:
            with suppress(ProcessLookupError):
                os.kill(self._first, signal.SIGKILL)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        # The last of them may be on their way.
        deadline = time.monotonic() + _ENDS_WITHIN
        while os.path.isdir(self._group) and time.monotonic() < deadline:
            for directory, _, _ in os.walk(self._group, topdown=False):
                with suppress(OSError):
                    os.rmdir(directory)
            time.sleep(0.05)
