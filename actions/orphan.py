"""Commands that outlive the process that ran them: waited for, or ended at their time limit, before a recovery."""

from __future__ import annotations

import re
from contextlib import suppress
from enum import StrEnum
from typing import Final

from actions.journal import Event, JournalError, Record
from actions.lock import Busy, acquire
from actions.service import Running
from actions.transaction_state import TransactionContext
from actions.world import World
from config.text import printable

_BETWEEN: Final = 0.05
"""Seconds between two looks at a command."""
_PATIENCE: Final = 5.0
"""Seconds for systemd to say whether a unit has a job."""
_JOB: Final = re.compile(r"\bJob=[1-9][0-9]*")
"""The output of `systemctl show -p Job` for a unit with a job; without a job, the number is missing or 0."""


class OrphanFate(StrEnum):
    """The fate of a command that a killed process left."""

    GONE = "gone"
    """It no longer ran, or the machine was started since."""
    ENDED = "ended"
    """By itself, within its time limit."""
    KILLED = "killed"
    """At its time limit, with its session, as its transaction would have done."""
    SERVES = "serves"
    """It is the server by now, and was left alone."""
    QUEUED = "queued"
    """Its job of systemd is not done at its time limit: the next request to systemd replaces it or waits for it."""


_SAID: Final = {
    OrphanFate.GONE: "it ran no more",
    OrphanFate.ENDED: "it was waited for until it ended",
    OrphanFate.KILLED: "it did not end in its time limit, and was killed",
    OrphanFate.SERVES: "it is the server by now, and was left alone",
    OrphanFate.QUEUED: "systemd has not done its job in its time limit",
}


def settle_commands(context: TransactionContext) -> None:
    """Return once no command that a killed process left is under way.

    It takes at most the rest of the time limit of each command. A command of a transaction under way is not touched.
    Raises JournalError, OSError.
    """
    world = context.world
    for name, left in tuple(context.journal_state().commands.items()):
        held = acquire(world, context.locks, map(str, left.data["components"]))
        if isinstance(held, Busy):
            continue
        try:
            # The process that held the locks until now may have gone on, or have waited for it already.
            last = context.journal_state().commands.get(name)
            if last is not None:
                over = _over(world, last)
                context.journal.append(over)
                context.told(over)
        finally:
            with suppress(OSError):
                held.release()


def _over(world: World, last: Record) -> Record:
    """Wait for a command, and return the record of its fate."""
    try:
        running = Running.from_json(last.data)
    except (KeyError, TypeError, ValueError) as error:
        raise JournalError(f"a command of transaction {last.transaction} cannot be read") from error
    fate = _wait(world, running)
    # Its process was killed, or could write no record.
    said = printable(f"the journal has no end of `{' '.join(running.command)}`: {_SAID[fate]}")
    data = {"components": last.data["components"], "fate": fate, "reason": said}
    return Record(world.now(), last.transaction, Event.COMMAND_OVER, data)


def _wait(world: World, running: Running) -> OrphanFate:
    fate = OrphanFate.GONE
    while (age := world.age(running.process)) is not None:
        runs = world.runs(running.process)
        # systemd goes on with a job when the process that asked for it is gone.
        if not runs and not _has_job(world, running):
            return fate
        fate = OrphanFate.ENDED
        if age >= running.limit:
            if not runs:
                return OrphanFate.QUEUED
            spared = world.kill(running.process, spare_server=running.may_become_the_server)
            return OrphanFate.SERVES if spared else OrphanFate.KILLED
        world.sleep(min(_BETWEEN, running.limit - age))
    return fate


def _has_job(world: World, running: Running) -> bool:
    """Whether systemd is still at work on the job of a command."""
    job = running.job
    if job is None:
        return False
    ran = world.run((job.systemctl, "show", "-p", "Job", job.unit), _PATIENCE)
    return ran.ok and _JOB.search(ran.output) is not None
