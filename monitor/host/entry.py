"""Whether the user of the daemon can enter the place where certvigil is installed.

Where a directory on the way is closed to it, systemd or Python gives up before any line of certvigil runs. So others
say it: `config units`, `config check`, and the actor at its start.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from config.immutable import immutable
from config.text import Printable, harmless, printable, sentence
from config.trusted import closed_to

_NOBODY_KNOWN: Final = -1
"""The id of a user that does not exist yet: for it, a directory is as for everybody else."""


@immutable
class HostUser:
    """A user with its groups."""

    name: Printable
    uid: int
    groups: tuple[int, ...]
    exists: bool = True

    @classmethod
    def named(cls, name: str) -> HostUser:
        """Return the user with that name or number; where there is none, one that belongs to no group."""
        with suppress(KeyError):
            found = pwd.getpwuid(int(name)) if name.isascii() and name.isdecimal() else pwd.getpwnam(name)
            return cls(printable(name), found.pw_uid, tuple(os.getgrouplist(found.pw_name, found.pw_gid)))
        return cls(printable(name), _NOBODY_KNOWN, (), exists=False)


def installed_at() -> Iterator[str]:
    """Yield the places that a process needs to run certvigil: the program, its packages, and the Python below it."""
    yield os.path.abspath(sys.argv[0])
    yield os.path.dirname(os.path.abspath(__file__))
    yield from (sys.executable, sys.prefix, sys.base_prefix)


def why_no_entry(user: HostUser, places: Iterable[str]) -> Printable | None:
    """Say which directory keeps a user from the places where certvigil is installed, a sentence; None without one."""
    for place in places:
        # A program that was started by another way than a path has no place.
        with suppress(OSError):
            if closed := closed_to(place, user.uid, user.groups):
                return sentence(
                    "the daemon cannot start as {}: that user may not enter {}, on the way to {}; install certvigil "
                    "where everybody may enter, such as /opt/certvigil, or open that directory",
                    user.name,
                    harmless(closed),
                    printable(place),
                )
    return None
