"""The writer of a file: its owner, the time, and its package, where a package manager knows it."""

from __future__ import annotations

import pwd
import shutil
from collections.abc import Iterable
from typing import Final

from actions.contest import OtherWriter
from actions.world import World
from config.text import printable

_PATIENCE: Final = 10.0
"""Seconds for a package manager to answer."""
_ASK: Final = (("dpkg-query", "-S"), ("rpm", "-qf"))


def writer_of(world: World, paths: Iterable[str]) -> OtherWriter | None:
    """Return the writer of the file that changed last; None where no file is there."""
    found: list[tuple[float, str, int]] = []
    for path in paths:
        try:
            status = world.stat(path)
        except OSError:
            continue
        # Copying keeps the time of the content, so the time of the status counts.
        found.append((status.st_ctime, path, status.st_uid))
    if not found:
        return None
    at, path, uid = max(found)
    return OtherWriter(path, at, _user(uid), _package(world, path))


def _user(uid: int) -> str:
    try:
        return printable(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return f"uid {uid}"


def _package(world: World, path: str) -> str:
    for name, option in _ASK:
        if (command := shutil.which(name)) is None:
            continue
        ran = world.run((command, option, path), _PATIENCE)
        if ran.ok and ran.output:
            # `dpkg-query` answers with `package: path`, `rpm` with the package alone.
            return printable(ran.output.split(" / ")[0].partition(": ")[0], 100)
    return ""
