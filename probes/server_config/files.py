"""The files of a host as servers' configurations name them: read within bounds, with a note of who could change each.

All is beneath a root directory. A path that lies beneath it already is taken as it is.
"""

from __future__ import annotations

import errno
import glob
import os
from typing import Final

from config.text import Printable, harmless, printable, sentence
from config.trusted import changeable
from probes.opening import read_as_ourselves

LARGEST: Final = 1024 * 1024
"""Bytes of a configuration file."""
MOST_FILES: Final = 2_000
"""And listings of directories, for which one search for servers asks."""
MOST_BYTES: Final = 8 * 1024 * 1024
"""That one search for servers reads: a file that is included again counts again."""
_MOST_LINKS: Final = 10
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


class HostFiles:
    """Reads configuration files beneath a root; nothing raises, and a fault is noted.

    Links are followed as by `probes.opening.read_as_ourselves`: no other user chooses what root reads.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.abspath(root).rstrip("/")
        self.unread: dict[str, Printable] = {}
        """Why a file that is there gave nothing, by its path."""
        self.doubts: dict[str, Printable] = {}
        """Why others than root could change a file that was read, or its way, by its path."""
        self._numbers = 0
        self._bytes = 0
        self.is_full = False
        """There is no room for more, and nothing more is read."""

    def located(self, path: str, base: str = "/") -> str:
        """Return the path on this host of a path in a configuration file, which may be relative to `base`."""
        path = os.path.normpath(os.path.join(base, path))
        if not self.root or path == self.root or path.startswith(f"{self.root}/"):
            return path
        return f"{self.root}{path}"

    def read(self, path: str) -> str | None:
        """Return the text of a file, its bytes in UTF-8 with surrogates for others; None where it gives none."""
        if not self._may_ask(path):
            return None
        path = self._followed(path)
        try:
            data = read_as_ourselves(path, LARGEST)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                self.unread[path] = harmless(error.strerror or "it cannot be read")
            return None
        self._bytes += len(data)
        if why := self.doubt(path):
            self.doubts[path] = why
        return data.decode("utf-8", "surrogateescape")

    def _may_ask(self, path: str) -> bool:
        """Whether there is room for one more file or directory; noted at the first for which there is none."""
        self._numbers += 1
        if self._numbers <= MOST_FILES and self._bytes <= MOST_BYTES:
            return True
        if not self.is_full:
            self.is_full = True
            what = sentence("more than {} files and directories, or {} bytes, were to be read", MOST_FILES, MOST_BYTES)
            self.unread[path] = what
        return False

    def exists(self, path: str) -> bool:
        """Whether a file or a directory is there, as far as this user sees."""
        return os.path.exists(self._followed(path)) if "\0" not in path else False

    def is_directory(self, path: str) -> bool:
        """Whether a directory is there, as far as this user sees."""
        return os.path.isdir(self._followed(path)) if "\0" not in path else False

    def names(self, directory: str) -> list[str]:
        """Return the sorted paths of a directory's entries; none where it cannot be listed."""
        if not self._may_ask(directory):
            return []
        try:
            return sorted(os.path.join(directory, name) for name in os.listdir(directory))[:MOST_FILES]
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            if number not in _NOT_THERE:
                self.unread[directory] = harmless(os.strerror(number) if number else "its path is no path")
            return []

    def matching(self, pattern: str) -> list[str]:
        """Return the sorted paths that a pattern of a shell matches; without a wildcard the path itself."""
        if not glob.has_magic(pattern):
            return [pattern]
        directory = os.path.dirname(pattern)
        if not glob.has_magic(directory):
            self.names(directory)  # notes why it cannot be listed
        elif not self._may_ask(pattern):
            return []
        try:
            return sorted(glob.glob(pattern))[:MOST_FILES]
        except (OSError, ValueError):
            return []

    @staticmethod
    def doubt(path: str) -> Printable | None:
        """Say why others than root could change a file or its way; None where nobody could, or nothing is there."""
        try:
            why = changeable(path)
        except (OSError, ValueError):
            return None
        return printable(why, 4096) if why else None

    def _followed(self, path: str) -> str:
        """Return where a link of root or of this user leads beneath the root."""
        for _ in range(_MOST_LINKS if self.root else 0):
            try:
                target, owner = os.readlink(path), os.lstat(path).st_uid
            except (OSError, ValueError):
                break
            if owner not in {0, os.geteuid()}:
                break
            path = self.located(target, os.path.dirname(path))
        return path
