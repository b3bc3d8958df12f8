"""Files beside those of a component with certificates that a change replaces: no transaction writes to them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from typing import Final

from actions.component_files import FileReader
from config.text import printable
from probes.certificate import Certificate, decodable
from probes.container.registry import open_unsealed

MOST_FILES: Final = 64
"""Files of one directory that are read."""
MOST_BYTES: Final = 256 * 1024
_MOST_NAMED: Final = 4
_ENDINGS: Final = (".pem", ".crt", ".cer", ".cert")


def left_beside(own: Set[str], old: Set[Certificate], new: Set[Certificate], reader: FileReader) -> Iterator[str]:
    """Yield a sentence with the names of the files beside the components' `own` that have replaced certificates.

    These hold certificates of the `old` chains alone, not all of which are `new`: certbot has cert.pem and chain.pem
    beside fullchain.pem. Printable; a file that cannot be read is passed over.
    """
    held = list(_holding(own, old, new, reader))
    if held:
        named = ", ".join(map(printable, held[:_MOST_NAMED])) + (", ..." if held[_MOST_NAMED:] else "")
        yield f"files that are not changed, though they hold certificates of the old set: {named}"


def _holding(own: Set[str], old: Set[Certificate], new: Set[Certificate], reader: FileReader) -> Iterator[str]:
    for path in _beside(sorted(own), reader):
        with suppress(OSError, ValueError):
            resolved = reader.resolve(path)
            if path in own or resolved in own or reader.stat(resolved).st_size > MOST_BYTES:
                continue
            found = set(decodable(open_unsealed(reader.read(resolved)[1]).certificates))
            if found and found <= old and not found <= new:
                yield path


def _beside(paths: Sequence[str], reader: FileReader) -> Iterator[str]:
    """Yield the files, by their names for certificates, in the directories of these."""
    for directory in dict.fromkeys(map(os.path.dirname, paths)):
        with suppress(OSError):
            names = [each for each in reader.names(directory) if each.lower().endswith(_ENDINGS) and each[0] != "."]
            yield from (os.path.join(directory, each) for each in names[:MOST_FILES])
