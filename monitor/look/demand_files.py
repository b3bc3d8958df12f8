"""Files that somebody asks for at `/probe`, and which of them may be read."""

from __future__ import annotations

import os
from collections.abc import Iterator

from config.document import parse
from config.model import Config, FileTarget, Watch
from config.text import Printable, printable, sentence
from config.vocabulary import FileRole, ProbeKind, UnreadableReason
from monitor.metrics.probed import FoundInFile
from probes.certificate import Certificate
from probes.container.document import LARGEST, MOST_NODES
from probes.file import look_at_file, read_whole
from probes.find import find, is_pattern_of_paths
from probes.kubeconfig import KubeconfigEntry, kubeconfig_entries
from probes.observation import Unreadable

MOST_FILES = 10_000
"""That are read for one request."""

_PASSED_OVER = frozenset({UnreadableReason.NOT_FOUND, UnreadableReason.PERMISSION_DENIED})
"""As ssl_exporter passes over them."""
_WITH_CERTIFICATES = frozenset({FileRole.CERTIFICATE, FileRole.CHAIN, FileRole.COMBINED, FileRole.KEYSTORE})


def look_at_files(target: str, kind: ProbeKind, config: Config, now: float) -> tuple[FoundInFile, ...] | None:
    """Return what is in the files that `target` names, at Unix time `now`; None where it may name none.

    `target` is a pattern of `watch` or of `probe.files`, word for word, or the path of a file or a directory that one
    of these matches: a request must not make the daemon search elsewhere, nor tell what is there.
    """
    targets = sorted(_targets(target, config), key=lambda each: each.path)[:MOST_FILES]
    if kind is ProbeKind.KUBECONFIG:
        named = _NamedFiles(config, now)
        return tuple(found for each in targets for found in _in_kubeconfig(each, named)) or None
    return tuple(_in_file(each, now) for each in targets) or None


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


def _in_file(target: FileTarget, now: float) -> FoundInFile:
    seen = look_at_file(target, now)
    fault = seen.failure.detail if seen.failure is not None else Printable("")
    damaged = seen.failure is not None and seen.failure.reason not in _PASSED_OVER
    return FoundInFile({"file": target.name}, seen.certificates, fault, damaged)


class _NamedFiles:
    """The files that kubeconfigs name, each read once for a request."""

    def __init__(self, config: Config, now: float) -> None:
        self._config = config
        self._now = now
        self._read: dict[str, tuple[Certificate, ...]] = {}

    def certificates(self, path: str) -> tuple[Certificate, ...]:
        """Return the certificates in one file; none where it may not be read, or is a directory.

        What a kubeconfig names is no more allowed than what a request names, and it is no pattern.
        """
        if path not in self._read:
            self._read[path] = ()
            if len(self._read) <= MOST_FILES and not is_pattern_of_paths(path) and not os.path.isdir(path):
                found = look_at_files(path, ProbeKind.FILE, self._config, self._now) or ()
                self._read[path] = tuple(certificate for each in found for certificate in each.certificates)
        return self._read[path]


def _in_kubeconfig(target: FileTarget, named: _NamedFiles) -> Iterator[FoundInFile]:
    entries = _entries(target.path)
    if isinstance(entries, str):
        yield FoundInFile({"kubeconfig": target.name}, (), entries, damaged=True)
        return
    for each in entries:
        yield _of_entry(each, {"kubeconfig": target.name, "name": each.name, "type": each.kind}, named)


def _entries(path: str) -> tuple[KubeconfigEntry, ...] | Printable:
    """Return the entries of the kubeconfig at `path`, or why there are none."""
    data = read_whole(path)
    if isinstance(data, Unreadable):
        return data.detail
    if len(data) > LARGEST:
        return Printable("it is larger than a kubeconfig may be")
    document, _ = parse(data, "", MOST_NODES)
    if document is None:
        return Printable("it is no YAML that can be read")
    return kubeconfig_entries(document.values, os.path.dirname(path))


def _of_entry(entry: KubeconfigEntry, labels: dict[str, str], named: _NamedFiles) -> FoundInFile:
    if not entry.path:
        return FoundInFile(labels, entry.certificates, entry.fault, damaged=bool(entry.fault))
    certificates = named.certificates(entry.path)
    fault = sentence("neither a watch nor probe.files has {}", printable(entry.path, 4096))
    return FoundInFile(labels, certificates, Printable("") if certificates else fault, damaged=not certificates)
