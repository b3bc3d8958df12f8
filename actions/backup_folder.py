"""Backup sets that another program keeps in a folder, such as an appliance's own console; they are only read.

A name in the folder is the name of the set, its date, with the rest as the configuration says for each artefact.
"""

from __future__ import annotations

import calendar
import os
import re
import time
from collections.abc import Mapping
from typing import Final

from actions.backup import BackupSet, Copy, state_of
from actions.world import Metadata, World
from config.model import BackupFolder, Component
from config.vocabulary import FileRole

_SET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""A name of a set: others could not be named in a command."""
_DATES: Final[Mapping[int, tuple[str, int]]] = {8: ("%Y%m%d", 86_400), 12: ("%Y%m%d%H%M", 60), 14: ("%Y%m%d%H%M%S", 1)}
"""By the count of digits in the name of a set: its form, and the seconds for which it stands."""


def sets_in_folder(world: World, component: Component) -> tuple[BackupSet, ...]:
    """Return the sets of a component in its folder, whole or not, oldest first; raises OSError.

    A file that is missing in a set is noted as missing. What is no regular file, or cannot be read, is none of a set.
    """
    folder = component.backup_folder
    if folder is None:
        return ()
    names = world.names(folder.directory)
    found = {date for name in names for pattern in folder.names.values() if (date := _date_in(name, pattern))}
    made = (_made(world, component, folder, date) for date in found)
    return tuple(sorted((each for each in made if each is not None), key=lambda each: (each.at, each.transaction)))


def _made(world: World, component: Component, folder: BackupFolder, date: str) -> BackupSet | None:
    copies: list[Copy] = []
    missing: list[str] = []
    changed = 0.0
    for role, path in component.artefacts.files.items():
        if role not in folder.names:
            continue
        file = f"{folder.directory}/{folder.names[role].replace('*', date)}"
        target = world.resolve(path)
        try:
            found, data = world.read(file)
        except OSError:
            copies.append(Copy(target, None, None, None))
            # A set without a chain is of a time without one.
            if role is not FileRole.CHAIN or not component.artefacts.lines:
                missing.append(os.path.basename(file))
            continue
        state = state_of(found, data)
        changed = max(changed, found.st_ctime)
        metadata = Metadata(state.mode, state.owner, state.group, None, found.st_mtime_ns)
        copies.append(Copy(target, file, state, metadata))
    if not any(each.name for each in copies):
        return None
    at, until = _time_of(date) or (changed, changed)
    made_before = min(until, changed)
    return BackupSet(
        component.name, date, at, False, tuple(copies), False, folder.directory, made_before, tuple(missing)
    )


def _date_in(name: str, pattern: str) -> str:
    """Return the name of the set to which a file belongs; empty where it belongs to none."""
    before, _, behind = pattern.partition("*")
    date = name[len(before) : len(name) - len(behind)]
    fits = name.startswith(before) and name.endswith(behind) and len(name) > len(before) + len(behind)
    return date if fits and _SET.fullmatch(date) else ""


def _time_of(date: str) -> tuple[float, float] | None:
    """Return the Unix times at which the time that a name stands for begins and ends, in UTC; None for no time."""
    digits = re.sub(r"[-_T.]", "", date)
    form, seconds = _DATES.get(len(digits), ("", 0))
    try:
        begin = calendar.timegm(time.strptime(digits, form)) if form else None
    except ValueError:
        return None
    return None if begin is None else (float(begin), float(begin + seconds))
