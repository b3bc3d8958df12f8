"""The unmodified command, in which the kernel makes one system call fail, or kills it there: strace injects.

Each call that a replacement or a rollback makes on the targets and on the actor's directory has its turn, as found in
the trace of a clean run; then `certvigil recover` runs untouched.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from monitor.lab.process import find_command, wait_for
from monitor.lab.servers import Nginx, write_site
from tests.lab.client import presented
from tests.monitor.running import CERTVIGIL
from tests.monitor.test_act import ROOT, Web, fresh

pytestmark = [pytest.mark.server("strace"), pytest.mark.server("nginx")]

_SHARDS: Final = 8
_FAULTS: Final[Mapping[str, Sequence[str]]] = {
    "openat": ("error=EACCES", "error=EROFS", "error=ENOSPC"),
    "pwrite64": ("error=ENOSPC", "error=EIO"),
    "fallocate": ("error=ENOSPC",),
    "ftruncate": ("error=EIO",),
    "fchown": ("error=EACCES",),
    "fchmod": ("error=EROFS",),
    "fsync": ("error=EIO", "error=ENOSPC"),
    "mkdir": ("error=ENOSPC", "error=EACCES"),
    "rename": ("error=EXDEV", "error=EBUSY", "error=EROFS"),
    "renameat2": ("error=EXDEV", "error=EBUSY", "error=EROFS", "error=EINVAL"),
    "linkat": ("error=EXDEV", "error=EACCES"),
    "unlink": ("error=EROFS", "error=EBUSY"),
    "flock": ("error=EIO",),
}
_KILL: Final = "signal=KILL"
_END: Final = ("signal=TERM", "signal=HUP")
"""What the command is told to end by; it does so by itself."""
States = tuple[tuple[bytes, int, int], ...]
_LINE: Final = re.compile(r"(\w+)\((.*)\) += ")


class Call(NamedTuple):
    """One system call of the command itself; what its children call is theirs."""

    name: str
    number: int
    """Among those of the same name, from 1 on."""
    given: str
    """Its arguments, in which each descriptor comes with its path."""


class Fault(NamedTuple):
    """What one system call does instead."""

    call: Call
    what: str

    def __str__(self) -> str:
        return f"{self.call.name} {self.call.number} {self.what} ({self.call.given[:160]})"


@pytest.fixture(scope="module")
def may_trace() -> None:
    ran = subprocess.run([find_command("strace") or "", "-o", os.devnull, "true"], capture_output=True, check=False)
    if ran.returncode:
        pytest.skip(f"this machine does not let a process be traced (ptrace): {ran.stderr.decode().strip()[-200:]}")


@contextmanager
def nginx(directory: Path) -> Iterator[Web]:
    old = fresh()
    (directory / "root.pem").write_bytes(ROOT.pem())
    site = write_site(str(directory / "tls"), old)
    with Nginx(str(directory / "nginx"), [site]) as server:
        web = Web(directory, server, site, old)
        web.declare()
        yield web


class Act:
    """Replacements of one component, each with a state of its own; `fails` has the new files fail the test."""

    def __init__(self, web: Web, *, fails: bool) -> None:
        self.web = web
        self._fails = fails
        self._log = web.directory / "strace.log"
        self.new = web.old

    def replace(self, *options: str) -> tuple[int, list[Call]]:
        """Run the command below strace; returns its exit status and the calls that concern what it changes."""
        web = self.web
        for each in web.aside():
            Path(each).unlink(missing_ok=True)
        shutil.rmtree(web.directory / "actor", ignore_errors=True)
        if self._fails:
            shutil.copy(web.site.certificate, web.directory / "good")
            web.declare(test=[find_command("cmp"), web.site.certificate, str(web.directory / "good")])
        self.new = fresh()
        ran = subprocess.run(
            [
                *(find_command("strace") or "", "-y", "-s", "0", "-o", str(self._log)),
                *("-e", f"trace={','.join(_FAULTS)}", *options),
                *(*CERTVIGIL, "replace", "web", *web.candidate(self.new), "--config", web.config),
            ],
            # What Python compiles would otherwise be written and counted, too.
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert b"PRIVATE KEY" not in ran.stdout + ran.stderr
        return ran.returncode, list(self._calls())

    def _calls(self) -> Iterator[Call]:
        counts: Counter[str] = Counter()
        ours = [f"{self.web.directory}/{each}" for each in ("tls", "actor")]
        for line in self._log.read_text().splitlines():
            if (found := _LINE.match(line)) is not None:
                name, given = found.groups()
                counts[name] += 1
                if any(each in given for each in ours):
                    yield Call(name, counts[name], given)

    def with_fault(self, fault: Fault) -> list[str]:
        """Replace with one call failing, then recover; returns what is wrong, as sentences."""
        web, before = self.web, self.states()
        options = ("-e", f"inject={fault.call.name}:{fault.what}:when={fault.call.number}")
        code, _ = self.replace(*options)
        sign = fault.what.replace("signal=", "SIG") if fault.what.startswith("signal=") else "INJECTED"
        wrong = [] if sign in self._log.read_text() else ["the call was not made"]
        wrong += [f"it ended with {code}"] if code not in (0, 1, 2, 4) and fault.what != _KILL else []
        told = {0: [self._as_new(before)], 1: [before], 2: [before], 4: [before]}
        recovered, said = web.act("recover")
        wrong += [f"recovery ended with {recovered}: {said}"] if recovered else []
        wrong += (
            []
            if self.states() in told.get(code, [before, self._as_new(before)])
            else ["neither all old nor all new, or not as was said"]
        )
        wrong += [f"left beside: {name}" for name in web.beside()]
        return [f"{fault}: {each} (exit {code})" for each in wrong + self._not_served()]

    def states(self) -> States:
        """Return content, mode and owner of each target."""
        paths = (self.web.site.certificate, self.web.site.key)
        return tuple((Path(each).read_bytes(), os.stat(each).st_mode, os.stat(each).st_uid) for each in paths)

    def _as_new(self, before: States) -> States:
        content = (self.new.chain_pem(), self.new.key_pem())
        return tuple((data, mode, owner) for data, (_, mode, owner) in zip(content, before, strict=True))

    def _not_served(self) -> list[str]:
        on_disk = Path(self.web.site.certificate).read_bytes()
        try:
            # A worker that leaves may accept a last connection after the new ones have been seen.
            wait_for(lambda: on_disk.startswith(self._served()), 5.0, "serving what is on disk")
        except TimeoutError as error:
            return [str(error)]
        return []

    def _served(self) -> bytes:
        return ssl.DER_cert_to_PEM_cert(presented(self.web.server)[0]).encode()


def _first(calls: Sequence[Call], name: str, given: str, which: int = 0) -> Call:
    return [each for each in calls if each.name == name and re.search(given, each.given)][which]


@pytest.mark.usefixtures("may_trace")
def test_a_call_that_fails_or_kills_ends_with_the_one_set_or_the_other_served(tmp_path: Path) -> None:
    with nginx(tmp_path) as web:
        act = Act(web, fails=False)
        code, calls = act.replace()
        assert code == 0
        telling = [
            Fault(_first(calls, "pwrite64", r"tls/\.site", 0), "error=ENOSPC"),
            Fault(_first(calls, "fsync", r"/tls>", 1), "error=EIO"),
            Fault(_first(calls, "renameat2", r"/tls/site", 1), "error=EROFS"),
            Fault(_first(calls, "renameat2", r"/tls/site", 1), _KILL),
            Fault(_first(calls, "linkat", r"/tls/", 0), _END[0]),
        ]
        assert [each for fault in telling for each in act.with_fault(fault)] == []


@pytest.mark.slow
@pytest.mark.usefixtures("may_trace")
@pytest.mark.parametrize("shard", range(_SHARDS))
@pytest.mark.parametrize("fails", [False, True])
def test_any_call_that_fails_or_kills_ends_with_the_one_set_or_the_other_served(
    fails: bool, shard: int, tmp_path: Path
) -> None:
    with nginx(tmp_path) as web:
        act = Act(web, fails=fails)
        code, calls = act.replace()
        assert code == (2 if fails else 0)
        if fails:
            calls = calls[calls.index(_first(calls, "renameat2", r"/tls/site")) :]
        faults = [Fault(call, what) for call in calls for what in (*_FAULTS[call.name], _KILL, _END[call.number % 2])]
        assert [each for fault in faults[shard::_SHARDS] for each in act.with_fault(fault)] == []
