"""The unmodified command, in which the kernel makes one system call fail, or kills it there: strace injects.

Each call that a replacement or a rollback makes on the targets and on the actor's directory has its turn, as found in
the trace of a clean run, by what it does and to what; then `certvigil recover` runs untouched.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from monitor.lab.process import find_command, wait_for
from tests.kit.authority import fresh
from tests.kit.daemon import CERTVIGIL
from tests.kit.matrix import Share, played
from tests.kit.openssl_client import presented
from tests.kit.web import WebComponent, serving
from tests.kit.worlds import NotReachedError

pytestmark = [pytest.mark.server("strace"), pytest.mark.server("nginx")]

_FAULTS: Final[Mapping[str, Sequence[Sequence[str]]]] = {
    "openat": (("error=EACCES", "error=EROFS", "error=ENOSPC"),),
    "pwrite64": (("error=ENOSPC", "error=EIO"),),
    "fallocate": (("error=ENOSPC",),),
    "ftruncate": (("error=EIO",),),
    "fchown": (("error=EACCES",),),
    "fchmod": (("error=EROFS",),),
    "fsync": (("error=EIO", "error=ENOSPC"),),
    "mkdir": (("error=ENOSPC", "error=EACCES"),),
    "rename": (("error=EXDEV", "error=EBUSY", "error=EROFS"),),
    "renameat2": (("error=EXDEV", "error=EBUSY", "error=EROFS"), ("error=EINVAL",)),
    "linkat": (("error=EXDEV",), ("error=EACCES",)),
    "unlink": (("error=EROFS", "error=EBUSY"),),
    "flock": (("error=EIO",),),
}
"""Errors of each call; of those that are met in the same way one is tried at each (`test_errors` tries all)."""
_SHARES: Final = ((False, 20), (True, 10))
_KILL: Final = "signal=KILL"
_END: Final = ("signal=TERM", "signal=HUP")
"""What the command is told to end by, one at each call; it does so by itself."""
States = tuple[tuple[bytes, int, int], ...]
_LINE: Final = re.compile(r"(\w+)\((.*?)(?:\) += |$)")
_PATH: Final = re.compile(r"""["<](/[^">]*)[">]""")
_TRANSACTION: Final = re.compile(r"\d{8}t\d{6}-[0-9a-f]{8}")
_LEAVES_NOTHING: Final = frozenset({"fsync", "flock", "fchown", "fchmod", "fallocate"})
"""Calls after which a kill leaves what it leaves before them."""


class Call(NamedTuple):
    """One system call of the command itself; what its children call is theirs."""

    name: str
    number: int
    """Among those of the same name, from 1 on: another in each run where something is polled."""
    given: str
    """Its arguments, in which each descriptor comes with its path."""
    what: str
    """The paths among them, as they are called in every run."""
    time: int
    """Among the calls of that name with the same, from 1 on."""

    def __str__(self) -> str:
        return f"{self.name} {self.what} #{self.time}"

    def faults(self) -> Iterator[Fault]:
        """Return what it may do instead."""
        chance = zlib.crc32(str(self).encode())
        yield from (Fault(self, alike[chance % len(alike)]) for alike in _FAULTS[self.name])
        # Where a kill leaves what it leaves before the next call, an order to end is met there as well.
        if self.name not in _LEAVES_NOTHING and (self.name != "openat" or "O_CREAT" in self.given):
            yield Fault(self, _KILL)
            yield Fault(self, _END[chance % len(_END)])


class Fault(NamedTuple):
    """What one system call does instead."""

    call: Call
    what: str

    def __str__(self) -> str:
        return f"{self.call} {self.what}"


@pytest.fixture(scope="module")
def may_trace() -> None:
    ran = subprocess.run([find_command("strace") or "", "-o", os.devnull, "true"], capture_output=True, check=False)
    if ran.returncode:
        pytest.skip(f"this machine does not let a process be traced (ptrace): {ran.stderr.decode().strip()[-200:]}")


class Act:
    """Replacements of one component, each with a state of its own; `fails` has the new files fail the test."""

    def __init__(self, web: WebComponent, *, fails: bool) -> None:
        self.web = web
        self._fails = fails
        self._log = web.directory / "strace.log"
        self.new = web.old
        self.said = ""

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
            timeout=180,
            check=False,
        )
        assert b"PRIVATE KEY" not in ran.stdout + ran.stderr
        self.said = (ran.stdout + ran.stderr).decode()
        ours = [f"{self.web.directory}/{each}" for each in ("tls", "actor")]
        return ran.returncode, [each for each in self._calls() if any(place in each.given for place in ours)]

    def _calls(self) -> Iterator[Call]:
        """Return every call in the log."""
        counts: Counter[str] = Counter()
        times: Counter[tuple[str, str]] = Counter()
        for line in self._log.read_text().splitlines():
            if (found := _LINE.match(line)) is not None:
                name, given = found.groups()
                paths = " ".join(_PATH.findall(re.sub("AT_FDCWD<[^>]*>", "", given)))
                what = _TRANSACTION.sub("*", paths.replace(f"{self.web.directory}/", ""))
                counts[name] += 1
                times[name, what] += 1
                yield Call(name, counts[name], given, what, times[name, what])

    def _reached(self, fault: Fault) -> bool:
        """Whether the call that had the fault is the one that was to have it."""
        sign = fault.what.replace("signal=", "SIG") if fault.what.startswith("signal=") else "INJECTED"
        made = (each for each in self._calls() if (each.name, each.number) == (fault.call.name, fault.call.number))
        return sign in self._log.read_text() and any(str(each) == str(fault.call) for each in made)

    def with_fault(self, fault: Fault) -> list[str]:
        """Replace with one call failing, then recover; returns what is wrong, as sentences."""
        web, before = self.web, self.states()
        options = ("-e", f"inject={fault.call.name}:{fault.what}:when={fault.call.number}")
        code, _ = self.replace(*options)
        if not self._reached(fault):
            web.act("recover")
            raise NotReachedError(f"{fault}: {self.said}")
        wrong = []
        # Amid the way back it is left for the next recovery, which is to bring it to its end.
        deferred = self._fails and code == 3 and "the next recovery tries again" in self.said
        wrong += [f"it ended with {code}"] if code not in (0, 1, 2, 4) and not deferred and fault.what != _KILL else []
        told = {0: [self._as_new(before)], 1: [before], 2: [before], 3: [before], 4: [before]}
        recovered, said = web.act("recover")
        wrong += [f"recovery ended with {recovered}: {said}"] if recovered else []
        wrong += (
            []
            if self.states() in told.get(code, [before, self._as_new(before)])
            else ["neither all old nor all new, or not as was said"]
        )
        wrong += [f"left beside: {name}" for name in web.beside()]
        return [f"{each} (exit {code})" for each in wrong + self._not_served()]

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
            wait_for(lambda: on_disk.startswith(self._served()), 30.0, "serving what is on disk")
        except TimeoutError as error:
            return [str(error)]
        return []

    def _served(self) -> bytes:
        return ssl.DER_cert_to_PEM_cert(presented(self.web.server)[0]).encode()


def _first(calls: Sequence[Call], name: str, given: str, which: int = 0) -> Call:
    return [each for each in calls if each.name == name and re.search(given, each.given)][which]


@pytest.mark.usefixtures("may_trace")
def test_a_call_that_fails_or_kills_ends_with_the_one_set_or_the_other_served(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        act = Act(web, fails=False)

        def telling() -> list[Fault]:
            code, calls = act.replace()
            assert code == 0
            return [
                Fault(_first(calls, "fsync", r"/tls>", 1), "error=EIO"),
                Fault(_first(calls, "renameat2", r"/tls/site", 1), _KILL),
            ]

        assert played(telling, act.with_fault) == []


@pytest.mark.slow
@pytest.mark.usefixtures("may_trace")
@pytest.mark.parametrize(
    ("fails", "share"),
    [pytest.param(fails, Share(shard, of), id=f"{fails}-{shard}") for fails, of in _SHARES for shard in range(of)],
)
def test_any_call_that_fails_or_kills_ends_with_the_one_set_or_the_other_served(
    fails: bool, share: Share, tmp_path: Path
) -> None:
    with serving(tmp_path) as web:
        act = Act(web, fails=fails)

        def faults() -> list[Fault]:
            code, calls = act.replace()
            assert code == (2 if fails else 0), act.said
            if fails:
                calls = calls[calls.index(_first(calls, "renameat2", r"/tls/site")) :]
            return [fault for call in calls for fault in call.faults()]

        assert played(faults, act.with_fault, share) == []
