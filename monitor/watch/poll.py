"""The facts to compare where the kernel gives no notices."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from typing import Final

Signature = tuple[int, ...]
ABSENT: Final[Signature] = ()


def names_in(directory: str) -> str:
    """Return the path whose signature changes with the names in `directory`; its own changes with what it is."""
    return os.path.join(directory, ".")


def signature(path: str) -> Signature:
    """Return a value that differs once another file is at `path`, or the file there has changed."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return ABSENT
    if stat.S_ISDIR(status.st_mode) and not path.endswith("/."):
        return (status.st_dev, status.st_ino, status.st_mode)
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def signatures(paths: Iterable[str]) -> dict[str, Signature]:
    """Return the signature of each path."""
    return {path: signature(path) for path in paths}


def differing(before: Mapping[str, Signature], after: Mapping[str, Signature]) -> frozenset[str]:
    """Return the paths of `after` that have changed, or were not compared before."""
    return frozenset(path for path, signed in after.items() if before.get(path) != signed)
