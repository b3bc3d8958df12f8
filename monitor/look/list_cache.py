"""The revocation lists that were fetched, on disk: one file for each URL, and one beside it with what a request needs.

Bounded: a list that would make the whole too large is not kept. Each file is written beside itself and renamed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Final

from config.immutable import immutable
from probes.http.exchange import LATEST
from probes.ocsp import MOST_BYTES as MOST_OF_ANSWER
from probes.opening import read_as_ourselves
from probes.revocation.crl import MOST_BYTES, RevocationList, revocation_list
from probes.revocation.places import answer_file, list_file

MOST_IN_ALL: Final = 128 * 1024 * 1024
"""Bytes of all lists; they are in memory, too."""
_MOST_ABOUT: Final = 16 * 1024


@immutable
class FetchedFrom:
    """What is known of the last request for a list that gave one."""

    url: str
    at: float
    """Unix time of the last answer that the list is, or still is, this one."""
    etag: str | None = None
    modified: float | None = None
    """Last-Modified, Unix time."""


@immutable
class FetchedList:
    """A list, and where it came from."""

    known: RevocationList
    origin: FetchedFrom


class ListCache:
    """The lists on disk, by URL."""

    def __init__(self, state_directory: str) -> None:
        """Keep them in a directory of their own below the daemon's."""
        self._state_directory = state_directory
        self._directory = os.path.dirname(list_file(state_directory, ""))

    def read(self) -> Mapping[str, FetchedList]:
        """Return all lists; what is not as it was written is passed over, and lists beyond the bound are."""
        found: dict[str, FetchedList] = {}
        size = 0
        try:
            names = sorted(os.listdir(self._directory))
        except OSError:
            return {}
        for name in names:
            if not name.endswith(".json"):
                continue
            try:
                origin = _origin(read_as_ourselves(os.path.join(self._directory, name), _MOST_ABOUT))
                path = list_file(self._state_directory, origin.url)
                if os.path.basename(path) != name.removesuffix(".json") + ".crl":
                    continue
                data = read_as_ourselves(path, min(MOST_BYTES, MOST_IN_ALL - size))
                found[origin.url] = FetchedList(revocation_list(data), origin)
                size += len(data)
            except (OSError, ValueError, TypeError, AttributeError):
                continue
        return found

    def write(self, fetched: FetchedList, *, with_list: bool) -> None:
        """Keep a list, or only when it was last asked for; raises OSError."""
        path = list_file(self._state_directory, fetched.origin.url)
        os.makedirs(self._directory, mode=0o750, exist_ok=True)
        if with_list:
            _replace(path, fetched.known.der)
        _replace(f"{path.removesuffix('.crl')}.json", json.dumps(asdict(fetched.origin)).encode())

    def write_answer(self, key: str, der: bytes) -> None:
        """Keep an OCSP response, for the actor; raises OSError."""
        os.makedirs(self._directory, mode=0o750, exist_ok=True)
        _replace(answer_file(self._state_directory, key), der)

    def read_answer(self, key: str) -> tuple[bytes, float]:
        """Return an OCSP response, and the Unix time at which it was written; raises OSError and ValueError."""
        path = answer_file(self._state_directory, key)
        return read_as_ourselves(path, MOST_OF_ANSWER), os.stat(path).st_mtime

    def keep_only(self, keys: Collection[str]) -> None:
        """Remove the lists and answers of all other sources; raises nothing."""
        kept = {os.path.basename(list_file(self._state_directory, key)).removesuffix(".crl") for key in keys}
        try:
            names = os.listdir(self._directory)
        except OSError:
            return
        for name in names:
            if name.partition(".")[0] not in kept:
                try:
                    os.unlink(os.path.join(self._directory, name))
                except OSError:
                    continue


def _origin(data: bytes) -> FetchedFrom:
    """Return what stands beside a list; raises ValueError and TypeError where no request can be made of it."""
    found = FetchedFrom(**json.loads(data))
    times = [found.at] if found.modified is None else [found.at, found.modified]
    if not all(isinstance(each, int | float) and 0 <= each <= LATEST for each in times):
        raise ValueError("a time is none")
    if not isinstance(found.url, str) or not isinstance(found.etag, str | None):
        raise TypeError("a text is none")
    return found


def _replace(path: str, data: bytes) -> None:
    beside = f"{path}.new"
    with open(beside, "wb") as file:
        file.write(data)
    os.chmod(beside, 0o640)
    os.replace(beside, path)
