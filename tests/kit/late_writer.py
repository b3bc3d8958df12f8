"""Somebody who writes to a file that was replaced since it was opened."""

from __future__ import annotations

import os

LATE = b"GOOD late certificate\n" * 11


class Writer:
    """Somebody who had a file open before it was replaced."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR)

    def write(self, data: bytes = LATE) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, data, 0)

    def close(self) -> None:
        os.close(self._descriptor)
