"""Which package of the system owns a file, asked of dpkg and rpm by their exit status; their words are not read."""

from __future__ import annotations

import os
from typing import Final

from actions.world import World

_TIME_LIMIT: Final = 20.0
_ASKED: Final = (("/usr/bin/dpkg", "-S"), ("/usr/bin/rpm", "-qf"))
_PATTERN: Final = frozenset("*?[]\\")
"""dpkg takes a path with one of these for a pattern."""
_MADE_BY_HOOKS: Final = ("/etc/ssl/certs/java/", "/etc/pki/")
"""Where hooks of packages write trust stores that no package lists."""


def is_of_package(path: str, world: World) -> bool:
    """Whether a package of the system owns the file at `path`, or its hooks write it."""
    if path.startswith(_MADE_BY_HOOKS):
        return True
    if _PATTERN & set(path):
        return False
    return any(world.run((*command, path), _TIME_LIMIT).ok for command in _ASKED if os.access(command[0], os.X_OK))
