"""Backup sets that another program keeps in a folder, such as an appliance's own console; they are only read.

The date in the names of files is the name of the set, with the rest as the configuration says for each artefact. No
transaction has such a name: a set of a folder is never taken for one of certvigil's own.
"""

from __future__ import annotations

import calendar
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from actions.backup import BackupSet, Copy, state_of
from actions.world import Metadata, World
from config.immutable import immutable
from config.model import BackupFolder, Component
from config.vocabulary import FileRole

MOST_SETS: Final = 50
"""Dates whose sets are read for a list."""
MOST_BYTES: Final = 16 * 2**20
"""Bytes of the sets that are read for a list."""
_LARGEST_FILE: Final = 2**20
"""Bytes of a file: a larger one is none of a set."""
_DATE: Final = re.compile(r"[0-9](?:[-_T.]?[0-9]){7,13}")
_DATES: Final[Mapping[int, str]] = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""By the count of digits in a date: its form."""

DatedSets = Mapping[str, BackupSet]
"""The sets of one date, by component."""


@immutable
class FolderSets:
    """The newest sets of some components in their folders."""

    by_date: Mapping[str, DatedSets]
    """Oldest first."""
    left_out: int
    """Older dates that were not read."""


def is_date(name: str) -> bool:
    """Whether a name can be that of a set in a folder; the name of a transaction is none."""
    return _time_of(name) is not None


def dates_in_folders(world: World, components: Iterable[Component]) -> tuple[str, ...]:
    """Return the dates of all sets of these components in their folders, oldest first.

    No file is read: a date may turn out to have no set. A folder that cannot be read has none: whoever owns it must not
    be able to keep certvigil's own sets from being given back.
    """
    found: set[str] = set()
    for folder in filter(None, (each.backup_folder for each in components)):
        with suppress(OSError):
            for name in world.names(folder.directory):
                found.update(date for pattern in folder.names.values() if (date := _date_in(name, pattern)))
    return tuple(sorted(found, key=lambda date: (_time_of(date) or 0.0, date)))


def unreadable_folders(world: World, components: Iterable[Component]) -> Mapping[str, str]:
    """Return why folders of these components cannot be read, by path."""
    found: dict[str, str] = {}
    for folder in filter(None, (each.backup_folder for each in components)):
        try:
            world.names(folder.directory)
        except OSError as error:
            found[folder.directory] = error.strerror or "it cannot be read"
    return found


def newest_sets(world: World, components: Sequence[Component]) -> FolderSets:
    """Return the newest sets of these components in their folders, whole or not, within bounds."""
    read: dict[str, DatedSets] = {}
    size, dates = 0, dates_in_folders(world, components)
    for date in reversed(dates[-MOST_SETS:]):
        read[date] = sets_of_date(world, components, date)
        size += sum(len(copy.data or b"") for each in read[date].values() for copy in each.copies)
        if size > MOST_BYTES:
            break
    return FolderSets({date: read[date] for date in reversed(read)}, len(dates) - len(read))


def sets_of_date(world: World, components: Iterable[Component], date: str) -> DatedSets:
    """Return the sets of a date, whole or not, with their content.

    A file that is missing in a set is noted as missing. What is no regular file, or cannot be read, is none of a set.
    """
    at = _time_of(date)
    folders = [(each, each.backup_folder) for each in components if at is not None]
    made = (_made(world, each, folder, date, at or 0.0) for each, folder in folders if folder is not None)
    return {each.component: each for each in made if each is not None}


def _made(world: World, component: Component, folder: BackupFolder, date: str, at: float) -> BackupSet | None:
    copies: list[Copy] = []
    missing: list[str] = []
    changed = 0.0
    for role, path in component.artefacts.files.items():
        if role not in folder.names:
            continue
        file = f"{folder.directory}/{folder.names[role].replace('*', date)}"
        target = world.resolve(path)
        try:
            is_large = world.stat(file).st_size > _LARGEST_FILE
            found, data = (None, b"") if is_large else world.read(file)
        except OSError:
            found, data = None, b""
        if found is None:
            copies.append(Copy(target, None, None, None))
            # A set without a chain is of a time without one.
            if role is not FileRole.CHAIN or not component.artefacts.lines:
                missing.append(os.path.basename(file))
            continue
        state = state_of(found, data)
        changed = max(changed, found.st_ctime)
        metadata = Metadata(state.mode, state.owner, state.group, None, found.st_mtime_ns)
        copies.append(Copy(target, file, state, metadata, data))
    if not any(each.name for each in copies):
        return None
    return BackupSet(component.name, date, at, False, tuple(copies), False, folder.directory, changed, tuple(missing))


def _date_in(name: str, pattern: str) -> str:
    """Return the date of the set to which a file belongs; empty where it belongs to none."""
    before, _, behind = pattern.partition("*")
    date = name[len(before) : len(name) - len(behind)]
    fits = name.startswith(before) and name.endswith(behind) and len(name) > len(before) + len(behind)
    return date if fits and is_date(date) else ""


def _time_of(date: str) -> float | None:
    """Return the Unix time at which a date begins, in UTC; None for no date."""
    digits = re.sub(r"[-_T.]", "", date) if _DATE.fullmatch(date) else ""
    try:
        return float(calendar.timegm(time.strptime(digits, _DATES[len(digits)])))
    except (KeyError, ValueError):
        return None
