"""Looking at a set: the files of one component, read as one value."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from config.immutable import immutable
from config.model import FileTarget
from config.text import Printable
from config.vocabulary import FileContent, FileRole, UnreadableReason
from probes.file import identify, look_at_file, look_into
from probes.line.use import is_missing, may_chain_be_missing
from probes.observation import FileIdentity, FileObservation, Unreadable

ATTEMPTS: Final = 3
"""Times that a member is read before the set counts as moving."""

Signature = tuple[FileIdentity | Unreadable, ...]
"""How a member resolves: its file, and the file with its password where it has one."""


@immutable
class SetReading:
    """One reading of a set."""

    observations: tuple[FileObservation, ...]
    """Of each member, in the order of the targets."""
    moved: bool = False
    """A member changed while the others were read, at each attempt: the observations are not of one moment."""
    unsure: frozenset[str] = frozenset()
    """Targets whose facts are of an earlier reading, while it cannot be seen whether a file is another by now: they are
    shown, and nothing new follows from them."""


def read_set(
    targets: Sequence[FileTarget],
    now: float,
    look: Callable[[FileTarget, float], FileObservation] = look_at_file,
    *,
    examined: Callable[[str], os.stat_result] = os.stat,
    again: Callable[[], bool] = lambda: True,
) -> SetReading:
    """Return the content of the files of `targets` at Unix time `now`, all of one moment unless `moved` says no.

    After the reading every member is resolved and examined once more, and read again where it moved (`..data` swapped
    by kubelet, a file renamed by a writer), as long as `again` permits. `examined` gives the status of the file at a
    path, and raises OSError, ValueError.
    """
    signatures: list[Signature | None] = [None] * len(targets)
    observations: list[FileObservation | None] = [None] * len(targets)
    moved: Sequence[int] = range(len(targets))
    for attempt in range(ATTEMPTS):
        if attempt and not again():
            break
        for index in moved:
            signatures[index] = signature(targets[index], examined)
            observations[index] = look(targets[index], now)
        moved = [index for index, target in enumerate(targets) if signature(target, examined) != signatures[index]]
        if not moved:
            break
    return SetReading(tuple(each for each in observations if each is not None), bool(moved))


def reading_of(
    targets: Sequence[FileTarget], held: Mapping[str, bytes | None], now: float, password: bytes | None = None
) -> SetReading:
    """Return the reading of files that hold this, by target; None is a file that is not there. It may be on no disk.

    `password` opens a keystore among them.
    """

    def look(target: FileTarget) -> FileObservation:
        data = held.get(target.name)
        if data is None:
            missing = Unreadable(UnreadableReason.NOT_FOUND, Printable("there is no such file"))
            return FileObservation(target.name, now, None, FileContent.NOTHING, failure=missing)
        return look_into(data, target, now, () if password is None else (password,), mode=0o600)

    return with_absence(SetReading(tuple(map(look, targets))), targets)


def with_absence(reading: SetReading, targets: Sequence[FileTarget]) -> SetReading:
    """Return the reading of `targets` in which a chain that is rightly missing is absent, and no fault."""
    by_name = {each.target: each for each in reading.observations}
    chains = {each.name for each in targets if each.role is FileRole.CHAIN and is_missing(by_name[each.name])}
    if not chains or not may_chain_be_missing(targets, by_name):
        return reading
    return replace(
        reading,
        observations=tuple(
            replace(each, failure=None, absent=True) if each.target in chains else each for each in reading.observations
        ),
    )


def signature(target: FileTarget, examined: Callable[[str], os.stat_result] = os.stat) -> Signature:
    """Return a value that differs where a member must be read again."""
    return identify(target.path, examined), *(identify(each, examined) for each in target.password_files)
