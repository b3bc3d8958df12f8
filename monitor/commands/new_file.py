"""A new file for a person: nothing that is there is written over, and nothing half is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from actions.world import Metadata, World, remove, write_new
from config.text import Printable, harmless, printable, sentence
from config.trusted import changeable, unsafe


def why_not_new(path: str, what: str) -> Printable | None:
    """Say why `what`, such as "a request", cannot be written to a new file at a path; None where it can, so far.

    Root writes nothing where others could change it before it is used.
    """
    if os.path.lexists(path):
        return sentence("{} exists: {} is written to a new file", printable(path, 4096), printable(what))
    directory = os.path.dirname(path) or "."
    if not os.access(directory, os.W_OK | os.X_OK):
        return sentence("{} is no directory that this user may write to", printable(directory, 4096))
    if (why := why_changeable(directory)) is not None:
        return sentence(
            "others could change {} there ({}): write it where nobody but root can, or to standard output",
            printable(what),
            why,
        )
    return None


def why_changeable(directory: str) -> Printable | None:
    """Say why others could replace what root writes into a directory; None where nobody could, and for other users.

    In a directory with the sticky bit, such as /tmp, nobody could. Of one that is missing, the one above counts.
    """
    if os.geteuid():
        return None
    while not os.path.lexists(directory):
        directory = os.path.dirname(os.path.abspath(directory))
    try:
        return harmless(changeable(os.path.abspath(directory), os.geteuid())) or None
    except OSError as error:
        return printable(error.strerror or str(error))


def why_not_ours(directory: str) -> Printable | None:
    """Say why others than root and this user could change what is written into a directory; None where nobody could.

    One that is missing is judged by the way to it: in a directory with the sticky bit, such as /tmp, a new one is one's
    own. Raises OSError where it cannot be looked at.
    """
    user, path = os.geteuid(), os.path.abspath(directory)
    try:
        if why := changeable(path, user):
            return harmless(why)
        if why := unsafe(os.stat(path), user=user, sticky_is_safe=False):
            return sentence("{}: {}", printable(path, 4096), harmless(why))
    except FileNotFoundError:
        # Links included that lead nowhere: making the directory fails there.
        pass
    return None


def make_directory(path: str) -> None:
    """Make a directory that others may read, and those above that are missing; raises OSError."""
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(os.path.abspath(path))
    for each in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(each, 0o755)


def write_new_file(path: str, data: bytes) -> None:
    """Write a file that all may read, as a whole and on the medium; raises OSError about `path`, also where it exists.

    A medium that knows no links, as a stick does, takes it too.
    """
    world, (directory, name) = World(), os.path.split(path)
    whole = os.path.join(directory, f".{name}.{os.getpid()}")
    try:
        with _gone_after_failure(world, whole):
            write_new(world, whole, data, Metadata(0o644, os.geteuid(), os.getegid()))
            # A rename takes the place of any file: this one is certainly our own.
            world.close(world.create(path))
            with _gone_after_failure(world, path):
                world.rename(whole, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


@contextmanager
def _gone_after_failure(world: World, path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            remove(world, path)
        raise
