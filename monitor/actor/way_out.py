"""What an operator can do for a component that is frozen on half a pair: which kept file would complete it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from actions.backup import BackupError, read_copy
from actions.verdict import Old
from config.text import Printable, listed, printable, sentence
from monitor.actor.context import ActorContext


def way_out(context: ActorContext, name: str) -> Printable:
    """Say how the files of a frozen component become one whole set, without an end; empty where they are one."""
    world, worth = context.world, context.transaction.live.worth
    given = tuple(context.config.components[name].artefacts.files.values())
    if worth is None:
        return Printable("")
    try:
        files = {path: data for path in map(world.resolve, given) if (data := _data(context, path)) is not None}
    except OSError:
        return Printable("")

    def is_whole(path: str = "", data: bytes = b"") -> bool:
        changed = {**files, path: data} if path else files
        return worth((name,), changed, world.now()).old is not Old.BARRED

    if is_whole():
        return Printable("")
    then = sentence("then `certvigil recover --thaw {}`", printable(name))
    for path, kept, data in _kept(context, name):
        if data != files.get(path) and is_whole(path, data):
            return sentence("{} would complete its files: copy it over {}, {}", printable(kept), printable(path), then)
    into = listed(map(printable, given))
    return sentence(
        "no file that is kept would complete them: put a certificate and its own key into {}, {}", into, then
    )


def _data(context: ActorContext, path: str) -> bytes | None:
    """Return what a file holds, None where it is missing; raises OSError."""
    try:
        return context.world.read(path)[1]
    except FileNotFoundError:
        return None


def _kept(context: ActorContext, name: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield each file that is kept of a component: where it belongs, where it lies, and what it holds.

    First those beside its files, then its backup sets, the newest first. What cannot be read is passed over.
    """
    world, backups = context.world, context.transaction.backups
    for path in map(world.resolve, context.config.components[name].artefacts.files.values()):
        directory, base = os.path.split(path)
        for each in sorted(world.names(directory)):
            if each.startswith(f".{base}."):
                kept = os.path.join(directory, each)
                with suppress(OSError):
                    yield path, kept, world.read(kept)[1]
    for of in reversed(context.backup_sets(name)):
        for copy in (each for each in of.copies if each.name is not None):
            with suppress(OSError, BackupError):
                data = read_copy(world, backups, of, copy)
                yield copy.path, os.path.join(backups, of.component, of.transaction, copy.name or ""), data
