"""A machine that runs: QEMU with an image, driven over a port of virtio-serial, whose power can be cut."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.machine.host import PATIENCE, Host, MachineError, PowerIsCutError, Ran
from tests.machine.recipe import Image, cache

_QEMU: Final = "qemu-system-x86_64"
_MEMORY: Final = "1024"
"""MiB."""
STARTS_WITHIN: Final = 1800.0
"""Seconds until the guest answers, on a machine that emulates and is busy."""
_SECOND: Final = 12
"""Seconds of ours at most for one of an emulated machine, where this host is busy."""
_PROBE: Final = 10.0
"""Seconds in which a kernel must say its first word where the processor runs it itself."""
_APPEND: Final = "root=/dev/vda rw console=ttyS0 quiet mitigations=off nokaslr no_timer_check systemd.show_status=0"


def find_qemu() -> str | None:
    """Return the path of the emulator; None where it is not installed."""
    return shutil.which(_QEMU)


def accelerator(image: Image) -> str:
    """Return `kvm` where a kernel really starts with it within some seconds, else `tcg`; asked once a boot."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    note = os.path.join(cache(), f"accelerator-{boot}")
    with suppress(FileNotFoundError):
        return Path(note).read_text().strip()
    found = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and _speaks(image, "kvm") else "tcg"
    Path(note).write_text(f"{found}\n")
    return found


def _speaks(image: Image, by: str) -> bool:
    """Whether a kernel says its first word."""
    append = "console=ttyS0 earlyprintk=serial panic=-1"
    command = [_QEMU, "-accel", by, "-cpu", "host", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-kernel", image.kernel, "-append", append, "-serial", "stdio"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    timer = threading.Timer(_PROBE, process.kill)
    timer.start()
    try:
        return any(b"Linux version" in line for line in process.stdout)
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass(frozen=True, slots=True)
class Disk:
    """What a machine has as its disk: the file is changed, and flushes of the guest do not reach the medium of ours."""

    path: str
    form: str
    """raw or qcow2."""
    log: str | None = None
    """Where every write and every flush is noted, in the format of dm-log-writes."""


def overlay(path: str, on: Disk) -> Disk:
    """Make a disk that is another one, whose path is absolute or from `path` on, and keeps what changes for itself."""
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", on.form, "-b", on.path, path]
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    return Disk(path, "qcow2")


class Machine(Host):
    """A machine under power; leaving it cuts the power."""

    def __init__(self, directory: str, image: Image, disk: Disk, *, by: str, memory: str | None = None) -> None:
        """Prepare it, with its sockets and its console below `directory`; `memory` is a file by `save`."""
        self._directory = directory
        self._command = _command(directory, image, disk, by, memory)
        self._process: subprocess.Popen[bytes] | None = None
        self._port: socket.socket | None = None
        self._numbers = itertools.count()
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._gone = False

    def __enter__(self) -> Self:
        """Give it power, and return once it answers; raises MachineError."""
        for name in ("agent", "qmp"):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._directory, name))
        with open(os.path.join(self._directory, "qemu.log"), "ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._port = self._connect("agent")
            threading.Thread(target=self._listen, args=(self._port,), daemon=True).start()
            self.run(["true"], STARTS_WITHIN)
        except BaseException:
            self.cut()
            raise
        return self

    @property
    def has_power(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def run(self, argv: Sequence[str], timeout: float = PATIENCE, given: bytes = b"") -> Ran:
        """Run a command as root and return what came of it; raises MachineError where the guest does not answer."""
        number = next(self._numbers)
        request = {"id": number, "argv": list(argv), "timeout": timeout, "input": base64.b64encode(given).decode()}
        port = self._port
        if port is None:
            raise PowerIsCutError("the machine has no power")
        try:
            port.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise PowerIsCutError(f"the machine is gone: {error}") from None
        # An emulated machine's seconds are longer than ours.
        deadline = time.monotonic() + _SECOND * (timeout + 60)
        with self._changed:
            while number not in self._answers:
                if self._gone:
                    raise PowerIsCutError(f"the power was cut during `{' '.join(argv)[:200]}`")
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise MachineError(f"no answer within {timeout:.0f} s to `{' '.join(argv)[:200]}`")
            answer = self._answers.pop(number)
        output = base64.b64decode(answer["output"]).decode(errors="replace")
        return Ran(argv, answer["status"], output)

    def cut(self) -> None:
        """Take the power away, at once."""
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
        if self._port is not None:
            with suppress(OSError):
                self._port.shutdown(socket.SHUT_RDWR)
            self._port.close()
            self._port = None

    def shut_down(self, within: float = PATIENCE) -> None:
        """Have the guest end properly."""
        assert self._process is not None
        with suppress(MachineError):
            self.run(["systemctl", "--no-block", "poweroff"])
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise MachineError(f"the guest did not end within {within:.0f} s") from None
        self.cut()

    def save(self, path: str) -> None:
        """Write memory and devices to a file, with which `Machine` starts where it was, and take the power away."""
        with self._connect("qmp") as control:
            talk = _Control(control)
            talk.ask("qmp_capabilities")
            talk.ask("stop")
            talk.ask("migrate-set-parameters", {"max-bandwidth": 1 << 40})
            talk.ask("migrate", {"uri": f"exec:cat >{path}"})
            _until(lambda: talk.ask("query-migrate").get("status") == "completed", "that the memory is saved")
            talk.ask("quit")
        assert self._process is not None
        self._process.wait(60)
        self.cut()

    def _connect(self, name: str) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A path of a socket has 107 bytes at most.
        path = os.path.relpath(os.path.join(self._directory, name))

        def connected() -> bool:
            if not self.has_power:
                log = Path(self._directory, "qemu.log").read_text(errors="replace")
                raise MachineError(f"QEMU ended at its start: {log[-1000:]}")
            try:
                made.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            return True

        _until(connected, "the sockets of QEMU", 60)
        return made

    def _listen(self, port: socket.socket) -> None:
        rest = b""
        while True:
            try:
                data = port.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            with self._changed:
                for line in lines:
                    with suppress(ValueError):
                        answer = json.loads(line)
                        self._answers[answer["id"]] = answer
                self._changed.notify_all()
        with self._changed:
            self._gone = True
            self._changed.notify_all()


class _Control:
    """QEMU's own protocol (QMP)."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(120)
        self._file = connection.makefile("rwb")
        self._file.readline()

    def ask(self, command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        self._file.write(json.dumps({"execute": command, "arguments": arguments or {}}).encode() + b"\n")
        self._file.flush()
        while line := self._file.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise MachineError(f"QEMU refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return dict(answer["return"])
        raise MachineError(f"QEMU ended before it answered {command}")


def _until(holds: Callable[[], bool], what: str, within: float = 300.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise MachineError(f"not within {within:.0f} s: {what}")
        time.sleep(0.05)


def _command(directory: str, image: Image, disk: Disk, by: str, memory: str | None) -> list[str]:
    if by == "kvm":
        processor = ["-accel", "kvm", "-cpu", "host", "-smp", "2"]
    else:
        # Its clock counts instructions: time limits in the guest hold however busy the host is. Of several processors
        # only one would run at a time, and one with few extensions is emulated faster.
        processor = ["-accel", "tcg,thread=single,tb-size=512", "-icount", "shift=2,sleep=on", "-smp", "1"]
        processor += ["-cpu", "Nehalem,+aes,+pclmulqdq,+rdrand"]
    command = [_QEMU, "-M", "pc", *processor, "-m", _MEMORY, "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-kernel", image.kernel, "-initrd", image.initrd, "-append", _APPEND]
    command += ["-serial", f"file:{directory}/console", "-device", "virtio-rng-pci"]
    command += ["-qmp", f"unix:{directory}/qmp,server=on,wait=off"]
    command += ["-chardev", f"socket,id=agent,path={directory}/agent,server=on,wait=off"]
    command += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=machine"]
    kept = {"node-name": "disk", "driver": disk.form, "file": {"driver": "file", "filename": disk.path}}
    kept["cache"] = kept["file"]["cache"] = {"no-flush": True}  # type: ignore[index]
    command += ["-blockdev", json.dumps(kept)]
    drive = "disk"
    if disk.log is not None:
        Path(disk.log).write_bytes(b"")
        noted = {"node-name": "log", "driver": "file", "filename": disk.log}
        command += ["-blockdev", json.dumps(noted)]
        drive = "logged"
        command += [
            "-blockdev",
            json.dumps({"node-name": drive, "driver": "blklogwrites", "file": "disk", "log": "log"}),
        ]
    command += ["-device", f"virtio-blk-pci,drive={drive},write-cache=on"]
    return [*command, "-incoming", f"exec:cat {memory}"] if memory is not None else command
