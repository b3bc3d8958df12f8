"""Somebody else who writes a component's files: `python foreign_writer.py FILE` with the steps as JSON.

It says `ready` once what it holds open is open, waits for a line, does its steps, and says of each when it was done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

_MODE: Final = 0o600


def main(file: str) -> None:
    """Do what the file says: steps with `do`, and what that takes."""
    with open(file, encoding="utf-8") as opened:
        steps = json.load(opened)
    held = {each["path"]: os.open(each["path"], os.O_WRONLY) for each in steps if each["do"] == "held"}
    _say("ready")
    sys.stdin.readline()
    for number, step in enumerate(steps):
        _do(step, held)
        _say(f"{number} {time.time():.3f}")


def _do(step: Mapping[str, Any], held: Mapping[str, int]) -> None:
    match step["do"]:
        case "held":
            _write(held[step["path"]], _content(step))
        case "in_place":
            descriptor = os.open(step["path"], os.O_WRONLY | os.O_CREAT, _MODE)
            _write(descriptor, _content(step))
            os.close(descriptor)
        case "rename":
            new = f"{step['path']}.foreign"
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
            _write(descriptor, _content(step))
            os.close(descriptor)
            os.rename(new, step["path"])
        case "pause":
            time.sleep(step["seconds"])
        case "run":
            subprocess.run(step["command"], stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _content(step: Mapping[str, Any]) -> bytes:
    with open(step["data"], "rb") as file:
        return file.read()


def _write(descriptor: int, data: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, data, 0)
    os.fsync(descriptor)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
