"""Processes that help with the very first look at all files: decoding their certificates is work for every core."""

from __future__ import annotations

import copyreg
import ctypes
import gc
import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import fields
from multiprocessing import active_children, get_context
from operator import attrgetter
from typing import Any

from config.model import FileTarget
from monitor.look.job import FileJob
from probes.assess import FileContext
from probes.certificate import Certificate, remember
from probes.finding import Assessment, Finding
from probes.observation import FileIdentity, FileObservation

_PR_SET_PDEATHSIG = 1


def hire() -> Executor | None:
    """Return an executor of forked processes, None where there is one core only.

    To be called while there is no other thread, whose locks the processes would inherit.
    """
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        return None
    helpers = ProcessPoolExecutor(min(cores, 4), get_context("fork"), _begin, (os.getpid(),))
    # The first task starts them all.
    helpers.submit(os.getpid)
    return helpers


def dismiss(helpers: Executor) -> None:
    """End the processes, also one that hangs."""
    helpers.shutdown(wait=False, cancel_futures=True)
    for each in active_children():
        each.kill()


def _send_by_fields(kind: type[Any], build: Callable[..., object]) -> None:
    """Have values of a dataclass sent as the arguments of `build`, in half the time that its own way takes."""
    values = attrgetter(*(each.name for each in fields(kind)))
    copyreg.pickle(kind, lambda value: (build, values(value)))


def _certificate(*facts: Any) -> Certificate:
    return remember(Certificate(*facts))


for _kind in (FileJob, FileContext, FileTarget, FileObservation, FileIdentity, Assessment, Finding):
    _send_by_fields(_kind, _kind)
_send_by_fields(Certificate, _certificate)


def _begin(parent: int) -> None:
    """Prepare a process that ends with its parent, and leaves it to that to be interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    gc.freeze()
