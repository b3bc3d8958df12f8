"""The way out for a component that is frozen on half a pair: the kept files that would make it whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from actions.backup import BackupError, read_copy
from actions.verdict import Old
from config.text import Printable, listed, printable, sentence
from monitor.actor.context import ActorContext


class _Kept(NamedTuple):
    """A file that is kept of a component."""

    path: str
    """Where it belongs."""
    kept: str
    """Where it lies."""
    data: bytes


def way_out(context: ActorContext, name: str) -> Printable:
    """Say how the files of a frozen component become one whole set, without an end.

    Empty where they are one, and where that cannot be told.
    """
    try:
        return _way_out(context, name)
    except (OSError, BackupError):
        return Printable("")


def _way_out(context: ActorContext, name: str) -> Printable:
    world, worth = context.world, context.transaction.live.worth
    given = tuple(context.config.components[name].artefacts.files.values())
    if worth is None:
        return Printable("")
    files = {path: data for path in map(world.resolve, given) if (data := _data(context, path)) is not None}

    def is_whole(copied: Sequence[_Kept] = ()) -> bool:
        changed = {**files, **{each.path: each.data for each in copied}}
        return worth((name,), changed, world.now()).old is not Old.BARRED

    if is_whole():
        return Printable("")
    then = sentence("then `certvigil recover --thaw {}`", printable(context.config.subject_of(name)))
    # One file that stays beside the others is less to do than a set that takes the place of all.
    sets = list(_backup_sets(context, name))
    single = [[each] for each in (*_beside(context, name), *(each for of in sets for each in of))]
    copied = next(filter(is_whole, (*single, *sets)), None)
    if copied is None:
        into = listed(map(printable, given))
        return sentence("no kept file makes them whole: put a certificate and its own key into {}, {}", into, then)
    copies = listed((sentence("{} over {}", printable(each.kept), printable(each.path)) for each in copied), " and ")
    return sentence("kept files make them whole: copy {}, {}", copies, then)


def _data(context: ActorContext, path: str) -> bytes | None:
    """Return the content of a file, None where it is missing; raises OSError."""
    try:
        return context.world.read(path)[1]
    except FileNotFoundError:
        return None


def _beside(context: ActorContext, name: str) -> Iterator[_Kept]:
    """Yield each file that is kept beside one of a component's; a file that cannot be read is passed over."""
    world = context.world
    for path in map(world.resolve, context.config.components[name].artefacts.files.values()):
        directory, base = os.path.split(path)
        for kept in (os.path.join(directory, each) for each in sorted(world.names(directory))):
            if os.path.basename(kept).startswith(f".{base}."):
                with suppress(OSError):
                    yield _Kept(path, kept, world.read(kept)[1])


def _backup_sets(context: ActorContext, name: str) -> Iterator[list[_Kept]]:
    """Yield the files of each backup set, the newest first; a set that cannot be read is passed over."""
    world, backups = context.world, context.transaction.backups
    for of in reversed(context.backup_sets(name)):
        directory = os.path.join(backups, of.component, of.transaction)
        with suppress(OSError, BackupError):
            yield [
                _Kept(copy.path, os.path.join(directory, copy.name), read_copy(world, backups, of, copy))
                for copy in of.copies
                if copy.name is not None
            ]
