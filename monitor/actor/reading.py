"""The reader: a process that may read any file, and has no other right. It tells facts about a component's files.

It is told which files over its standard input, by the actor alone, and answers on its standard output. Each component
is read by a process of its own, begun for that and ended after it: a file that takes it over, or costs much, concerns
no other file, and the bytes of a key are gone.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from config.model import ConfigLine, FileTarget
from config.vocabulary import FileRole, LineSyntax
from monitor.actor.confine import Limits, confine, other_user, renounce
from monitor.actor.facts import LONGEST_LINE, MOST_CERTIFICATES, facts_of, to_document
from probes.container.pkcs12 import unlock
from probes.container.registry import open_container
from probes.file import look_at_file
from probes.opening import examine_for_others, open_for_others
from probes.set import read_set
from probes.trial import this_process_is_limited

_READ_AGAIN: Final = 0.5
"""Seconds of work after which a set that is written to is not read once more."""
_REAPED_WITHIN: Final = 1.0
"""Seconds for a process that was killed to be gone: one that waits for a file system that hangs may take for ever."""


def main() -> int:
    """Serve until the standard input ends."""
    seconds, limits = float(sys.argv[1]), Limits(cpu=int(sys.argv[2]))
    this_process_is_limited()
    _warm_up()
    try:
        left = renounce(*other_user())
    except OSError as error:
        # It reads nothing with more rights than it must have.
        _say({"refused": error.strerror or str(error)})
        return 1
    # The message of an error may contain bytes that were read: from here on it goes nowhere.
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 2)
    gc.freeze()
    _say({"ready": list(left)})
    for line in sys.stdin.buffer:
        answer, work = _answer(line, seconds, limits)
        _say({"work": work})
        _say_line(answer)
    return 0


def _warm_up() -> None:
    """Have everything loaded that reading needs, for each process that is begun from this one."""
    key = ec.generate_private_key(ec.SECP256R1())
    unlock(pkcs12.serialize_key_and_certificates(None, key, None, None, BestAvailableEncryption(b"x")), b"x")
    open_container(b'{"kind": "Config", "clusters": []}')


def _answer(line: bytes, seconds: float, limits: Limits) -> tuple[bytes, float]:
    """Return the line of a reading process within `seconds`, or why there is none; and its CPU time."""
    theirs, ours = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            # Nothing but the pipe is left to it.
            os.dup2(ours, 1)
            os.closerange(3, 256)
            os.close(0)
            confine(limits, parent)
            _write(1, _look(line))
            code = 0
        finally:
            os._exit(code)
    os.close(ours)
    said, over = _collect(theirs, seconds)
    os.close(theirs)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    work = _reap(child)
    # A second line would pass for the answer about another component.
    if said.find(b"\n") == len(said) - 1 and said and len(said) <= LONGEST_LINE:
        return said, work
    # A busy host or a file system that hangs is no fault of a file; work without end is.
    slow = {"slow": f"reading it took longer than {seconds:g} s"}
    much = {"overrun": f"reading it takes more than {limits.cpu} s of work or {limits.memory >> 20} MiB of memory"}
    return json.dumps(slow if over else much).encode() + b"\n", work


def _collect(descriptor: int, seconds: float) -> tuple[bytes, bool]:
    """Return the bytes up to the end, and whether time ran out before it."""
    said, end = bytearray(), time.monotonic() + seconds
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(said) <= LONGEST_LINE:
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            return bytes(said), True
        more = os.read(descriptor, 1 << 16)
        if not more:
            break
        said += more
    return bytes(said), False


def _reap(child: int) -> float:
    """Wait for a process that was killed, and for those before it that took longer to be gone; return its CPU time.

    One that is not gone by then waits for something else, and works for nothing more.
    """
    end = time.monotonic() + _REAPED_WITHIN
    while time.monotonic() < end:
        gone, _, usage = os.wait4(-1, os.WNOHANG)
        if gone == child:
            return usage.ru_utime + usage.ru_stime
        time.sleep(0 if gone else 0.0005)
    return 0.0


def _look(line: bytes) -> bytes:
    plain = json.loads(line)
    targets = [_target(each) for each in plain["targets"]]
    look = partial(look_at_file, opened=open_for_others, most_certificates=MOST_CERTIFICATES)
    reading = read_set(
        targets,
        plain["now"],
        look,
        examined=examine_for_others,
        # A file that asks for much work is not read again because somebody writes to it all the time.
        again=lambda: time.process_time() < _READ_AGAIN,
    )
    return json.dumps(to_document(facts_of(reading, targets))).encode() + b"\n"


def _target(plain: Any) -> FileTarget:
    line = plain["line"]
    return FileTarget(
        plain["name"],
        plain["path"],
        FileRole(plain["role"]),
        password_files=tuple(plain["password_files"]),
        line=None if line is None else ConfigLine(**{**line, "syntax": LineSyntax(line["syntax"])}),
    )


def plain_target(target: FileTarget) -> dict[str, object]:
    """Return the request for a file in the words of the reader."""
    return {
        "name": target.name,
        "path": target.path,
        "role": str(target.role),
        "password_files": list(target.password_files),
        "line": None if target.line is None else asdict(target.line),
    }


def _say(document: dict[str, Any]) -> None:
    _say_line(json.dumps(document).encode() + b"\n")


def _say_line(line: bytes) -> None:
    _write(1, line)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


if __name__ == "__main__":
    sys.exit(main())
