"""The certificates that a kubeconfig names: each with its cluster or user, in its text or in a file of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

from config.immutable import immutable
from config.model import FileTarget
from config.text import Printable, printable
from config.vocabulary import FileRole
from probes.certificate import Certificate
from probes.container.document import CERTIFICATES_OF_KUBECONFIG, NO_CONTENT, content_of
from probes.file import look_into

MOST_ENTRIES: Final = 1_000

NO_FAULT: Final = Printable("")


@immutable
class KubeconfigEntry:
    """A cluster or a user with a certificate."""

    kind: str
    """`cluster` or `user`."""
    name: Printable
    certificates: tuple[Certificate, ...] = ()
    path: str = ""
    """Of the file that has them; empty where they are in the kubeconfig."""
    fault: Printable = NO_FAULT
    """Why there are none; empty where nothing is wrong."""


def kubeconfig_entries(document: Any, directory: str) -> tuple[KubeconfigEntry, ...]:
    """Return the entries of a kubeconfig, which was read as YAML, in their order; it raises nothing.

    Files are named relative to its `directory`.
    """
    return tuple(_entries(document, directory))[:MOST_ENTRIES]


def _entries(document: Any, directory: str) -> Iterator[KubeconfigEntry]:
    for plural, kind, key in CERTIFICATES_OF_KUBECONFIG:
        listed = document.get(plural) if isinstance(document, dict) else None
        for each in listed if isinstance(listed, list) else ():
            inside = each.get(kind) if isinstance(each, dict) else None
            if not isinstance(inside, dict):
                continue
            name = printable(str(each.get("name", "")), 200)
            encoded, path = inside.get(f"{key}-data"), inside.get(key)
            if isinstance(encoded, str) and encoded:
                yield _within(kind, name, encoded)
            elif isinstance(path, str) and path:
                yield KubeconfigEntry(kind, name, path=os.path.normpath(os.path.join(directory, path)))


def _within(kind: str, name: Printable, encoded: str) -> KubeconfigEntry:
    data = content_of(encoded)
    if data is None:
        return KubeconfigEntry(kind, name, fault=NO_CONTENT)
    seen = look_into(data, FileTarget("", "", FileRole.LISTED), 0.0)
    if seen.failure is not None:
        return KubeconfigEntry(kind, name, fault=seen.failure.detail)
    return KubeconfigEntry(kind, name, seen.certificates)
