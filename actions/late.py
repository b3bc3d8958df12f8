"""Late writes: comparing replaced files that stay linked, until their time is over and they are removed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from actions import aside
from actions.aside import Aside, Late
from actions.backup import BackupError
from actions.journal import Event, Record
from actions.lock import Busy, acquire
from actions.transaction_state import TransactionContext
from config.immutable import immutable
from config.text import printable


@immutable
class Compared:
    """The result of comparing all files that stay linked."""

    late: tuple[Late, ...] = ()
    """Writes since the last comparison."""
    troubles: tuple[str, ...] = ()
    """Why a file could be neither compared nor kept, so that it stays linked: sentences, printable."""


def look_again(context: TransactionContext) -> Compared:
    """Compare the files that stay linked, keep late writes, and remove files whose time is over.

    Files of a component that another process is at work on are compared the next time. Raises JournalError where the
    journal cannot be trusted or written, OSError where the state directory cannot be used.
    """
    late: list[Late] = []
    troubles: list[str] = []
    for each in tuple(context.journal_state().aside.values()):
        context.prepare()
        locks = acquire(context.world, context.locks, each.components)
        if isinstance(locks, Busy):
            continue
        try:
            # The process that held the locks until now may have done it.
            if (still := context.journal_state().aside.get(each.transaction)) is not None:
                late.extend(map(Late.of, _look_at(context, still)))
        except (OSError, BackupError) as error:
            why = f"{error.strerror} ({error.filename})" if isinstance(error, OSError) else str(error)
            names = ", ".join(each.components)
            troubles.append(
                printable(
                    f"{names}: replaced files could not be compared, so late writes to them may be missed: {why}", 2000
                )
            )
        finally:
            with suppress(OSError):
                locks.release()
    return Compared(tuple(late), tuple(troubles))


def _look_at(context: TransactionContext, kept: Aside) -> list[Record]:
    def note(event: Event, data: Mapping[str, Any]) -> Record:
        record = Record(context.world.now(), kept.transaction, event, data)
        context.journal.append(record)
        context.told(record)
        return record

    found = [note(Event.WRITTEN_LATE, each) for each in aside.compare(context.world, context.backups, kept)]
    if kept.is_due(context.world.now()):
        aside.let_go(context.world, context.journal_state().aside[kept.transaction])
        note(Event.LET_GO, {"components": list(kept.components)})
    return found
