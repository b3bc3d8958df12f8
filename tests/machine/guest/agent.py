"""The program inside the guest: it runs commands for the host, at a port of virtio-serial. Only the standard library.

Each line from the host is a request in JSON: `id`, `argv`, `timeout` in seconds, `input` in base64. Each line to it is
an answer: `id`, `status` (None where the time was over), `output` in base64. Requests run side by side.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from typing import Any, BinaryIO

_MOST = 4_000_000
"""Bytes of an output that are sent."""


def main() -> None:
    """Answer until the port is gone."""
    port = open(sys.argv[1], "r+b", buffering=0)  # noqa: SIM115 (as long as the program)
    lock = threading.Lock()
    rest = b""
    while True:
        data = port.read(65536)
        if not data:
            # Nobody is at the other end: the read returns at once.
            threading.Event().wait(0.2)
            rest = b""
            continue
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            threading.Thread(target=_do, args=(port, lock, line), daemon=True).start()


def _do(port: BinaryIO, lock: threading.Lock, line: bytes) -> None:
    try:
        request = json.loads(line)
    except ValueError:
        return
    status, output = _run(request)
    answer = {"id": request["id"], "status": status, "output": base64.b64encode(output[-_MOST:]).decode()}
    data = json.dumps(answer).encode() + b"\n"
    with lock:
        while data:
            data = data[port.write(data) or 0 :]


def _run(request: dict[str, Any]) -> tuple[int | None, bytes]:
    given = base64.b64decode(request.get("input", ""))
    environment = {**os.environ, "HOME": "/root", "LC_ALL": "C.UTF-8"}
    environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        ran = subprocess.run(
            request["argv"],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=request["timeout"],
            env=environment,
            cwd="/root",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return None, error.output or b""
    except OSError as error:
        return 127, str(error).encode()
    return ran.returncode, ran.stdout


if __name__ == "__main__":
    main()
