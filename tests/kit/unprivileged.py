"""A stretch without the rights of root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unprivileged(tmp_path: Path) -> Iterator[None]:
    """Be a user who may read what others may, and no more; whoever is not root is one already."""
    if os.geteuid() != 0:
        yield
        return
    for each in (tmp_path, *tmp_path.parents[:-1]):
        each.chmod(each.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
