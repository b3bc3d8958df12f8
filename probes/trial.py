"""Trials in a process of its own, before this one opens by a password what may ask for work without end.

The number of rounds by which a key is derived from a password may itself be encrypted, so that it is not known before
the first layer is open; and whoever derives it can neither be interrupted nor does any other thread run meanwhile.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections import OrderedDict
from contextlib import suppress
from enum import StrEnum
from hashlib import sha256
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs12

from probes.private_key import load_private_key

WORK: Final = 3
"""Seconds of processor time for a trial, the start of its process included; opening it again takes less."""
_MEMORY: Final = 1 << 30
"""Bytes of address space."""
_PATIENCE: Final = 60.0
"""Seconds for a trial on a busy host."""
_REMEMBERED: Final = 1024
"""Results that are kept, by the hash of content and password."""
_DONE: Final = 0


class Sealed(StrEnum):
    """What a password opens."""

    KEYSTORE = "keystore"
    KEY = "key"


class _Results:
    """The last results, of whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, str] = OrderedDict()

    def get(self, what: bytes) -> str | None:
        with self._lock:
            return self._known.get(what)

    def put(self, what: bytes, result: str) -> None:
        with self._lock:
            self._known[what] = result
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


_results: Final = _Results()
_limited = False


def this_process_is_limited() -> None:
    """Have no trials made in this process, which is ended by others if it works for too long."""
    global _limited  # noqa: PLW0603 (a process is limited as a whole)
    _limited = True


def too_much_work(sealed: Sealed, data: bytes, password: bytes | None) -> str:
    """Say why something is not to be opened in this process, as the rest of "it ..."; empty where it may be."""
    if _limited:
        return ""
    what = sha256(b"%d:%b:%b" % (-1 if password is None else len(password), password or b"", data)).digest()
    if (known := _results.get(what)) is not None:
        return known
    try:
        result = _tried(sealed, data, password)
    except OSError as error:
        # That may pass.
        return f"cannot be tried in a process of its own: {error.strerror}"
    _results.put(what, result)
    return result


def _tried(sealed: Sealed, data: bytes, password: bytes | None) -> str:
    said = b"-" if password is None else b64encode(password)
    command = [sys.executable, "-P", "-m", "probes.trial", sealed]
    try:
        ended = subprocess.run(
            command,
            input=said + b"\n" + data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"was not opened within {_PATIENCE:.0f} s by a process of its own"
    if ended.returncode != _DONE:
        return f"takes more than {WORK} s of work or {_MEMORY >> 20} MiB of memory to open"
    return ""


def main() -> int:
    """Open what is given on the standard input, within limits; whether the password is right does not matter."""
    # The daemon's unit permits no other limits than its own; the timer ends this process whatever it is about to do.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.setitimer(signal.ITIMER_PROF, WORK)
    said, _, data = sys.stdin.buffer.read().partition(b"\n")
    password = None if said == b"-" else b64decode(said)
    # Another than these is no answer: too little memory, or a fault of the library, that must not come up elsewhere.
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        if sys.argv[1] == Sealed.KEYSTORE:
            pkcs12.load_pkcs12(data, password)
        else:
            load_private_key(data, password)
    return _DONE


if __name__ == "__main__":
    sys.exit(main())
