"""Looking at files in batches, away from the event loop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from config.immutable import immutable
from config.text import Log, harmless
from config.vocabulary import FileContent, UnreadableReason
from probes.assess import FileContext, assess_file
from probes.file import identify, look_at_file
from probes.finding import Assessment
from probes.judge.source import judge_file_source
from probes.observation import FileIdentity, FileObservation, Unreadable

log: Log = logging.getLogger("certvigil.files")

UNFORESEEN: Final = "certvigil failed at it, its log tells where"


@immutable
class FileJob:
    """A file to look at, and the facts that may make reading it unnecessary."""

    context: FileContext
    identity: FileIdentity | None = None
    """The identity of the file when it was read last: a file with this identity is not read again."""
    judged: bool = False
    """The verdict on the content that was read then still holds."""


JobResult = tuple[FileObservation, Assessment] | None
"""None where neither the file nor the verdict can have changed."""


def run(jobs: Sequence[FileJob], now: float) -> list[JobResult]:
    """Return the result of each job at Unix time `now`, in order.

    One that fails for no foreseen reason is logged and gives a file that cannot be read.
    """
    return [_run(job, now) for job in jobs]


def _run(job: FileJob, now: float) -> JobResult:
    try:
        return _look(job, now)
    except BaseException:  # a panic in Rust is no Exception
        log.exception("looking at %s failed for no foreseen reason", harmless(job.context.target.name))
    target = job.context.target
    why = Unreadable(UnreadableReason.UNFORESEEN, harmless(UNFORESEEN))
    observation = FileObservation(target.name, now, None, FileContent.NOTHING, failure=why)
    had_certificate = bool(job.context.last_known)
    return observation, Assessment(tuple(judge_file_source(observation, target.role, had_certificate=had_certificate)))


def _look(job: FileJob, now: float) -> JobResult:
    target = job.context.target
    if job.identity is not None and identify(target.path) == job.identity:
        if job.judged:
            return None
        observation = FileObservation(
            target.name, now, job.identity, FileContent.LEAF, certificates=job.context.last_known
        )
    else:
        observation = look_at_file(target, now)
    return observation, assess_file(observation, job.context, now)
