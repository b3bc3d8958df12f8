"""Files that somebody asks for at `/probe`, and which of them may be read."""

from __future__ import annotations

import os
from collections.abc import Iterator

from config.model import Config, FileTarget, Watch
from config.text import printable
from config.vocabulary import FileRole
from probes.file import look_at_file
from probes.find import find, is_pattern_of_paths
from probes.observation import FileObservation

MOST_FILES = 10_000
"""That are read for one request."""


def look_at_files(target: str, config: Config, now: float) -> tuple[FileObservation, ...] | None:
    """Return an observation of each file that `target` names, at Unix time `now`; None where it may name none.

    `target` is a pattern of `watch` or of `probe.files`, word for word, or the path of a file or a directory that one
    of these matches: a request must not make the daemon search elsewhere, nor tell what is there.
    """
    targets = sorted(_targets(target, config), key=lambda each: each.path)
    return tuple(look_at_file(each, now) for each in targets[:MOST_FILES]) or None


def _targets(target: str, config: Config) -> Iterator[FileTarget]:
    if not target.startswith("/") or "\0" in target or os.path.normpath(target) != target.rstrip("/"):
        return
    watches = (*config.watches, Watch(config.settings.probe_files))
    if is_pattern_of_paths(target):
        asked = [Watch((target,), each.exclude) for each in watches if target in each.patterns]
        yield from find(asked[:1]).targets
        return
    own = (each for each in config.files if each.path == target and each.role in _WITH_CERTIFICATES)
    yield from (FileTarget(printable(each.path, 4096), each.path, FileRole.LISTED) for each in own)
    # A path that is named on its own is there even if nothing lies at it.
    yield from find(watches, target).targets


_WITH_CERTIFICATES = frozenset({FileRole.CERTIFICATE, FileRole.CHAIN, FileRole.COMBINED, FileRole.KEYSTORE})
