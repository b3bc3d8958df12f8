"""A disk that notes each write and each flush, for whoever mounts it here: QEMU's block layer behind a file of FUSE."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.machine.host import MachineError

_STARTS_WITHIN: Final = 60.0


class LoggedDisk:
    """A raw disk, under another path while it is open; its log is in the format of `lost_writes`."""

    def __init__(self, disk: str, directory: str) -> None:
        """Prepare it; the log and the other path lie in `directory`."""
        self.path = os.path.join(directory, "logged")
        self.log = os.path.join(directory, "log")
        self._disk = disk
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Open it; raises MachineError."""
        for path in (self.path, self.log):
            Path(path).write_bytes(b"")
        careless = {"no-flush": True}
        kept = {"driver": "file", "filename": self._disk, "cache": careless}
        nodes = (
            {"node-name": "disk", "driver": "raw", "cache": careless, "file": kept},
            {"node-name": "log", "driver": "file", "filename": self.log},
            {"node-name": "logged", "driver": "blklogwrites", "file": "disk", "log": "log"},
        )
        command = ["qemu-storage-daemon"]
        for each in nodes:
            command += ["--blockdev", json.dumps(each)]
        command += ["--export", f"type=fuse,id=it,node-name=logged,mountpoint={self.path},writable=on"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + _STARTS_WITHIN
        while os.path.getsize(self.path) == 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise MachineError("qemu-storage-daemon serves no file; it needs FUSE")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, once nobody has it mounted any more."""
        assert self._process is not None
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        self._process.kill()
        self._process.wait()
