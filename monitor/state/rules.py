"""The rules by which files are judged, as a digest: a verdict that was remembered holds only by the same ones."""

from __future__ import annotations

import hashlib
import os
import ssl
import sys
from collections.abc import Iterator
from functools import cache
from typing import Final

import cryptography

import config
import monitor.state
import probes
from config.version import own_version
from monitor.state.trust import TrustContext

_JUDGING: Final = (config, probes, monitor.state)
"""The packages with the code that judges."""
_DIGITS: Final = 32


def rules_of(trust_context: TrustContext, code: str) -> str:
    """Return the digest of everything but time, a file and revocation by which files that a pattern matches are judged.

    That is the code, the watches with their trust stores, and the waivers.
    """
    config = trust_context.config
    stores = sorted({watch.trust_store for watch in config.watches if watch.trust_store is not None})
    held = [(name, _content(trust_context, name)) for name in stores]
    return _digest((code, config.watches, config.waivers, held))


def _content(trust_context: TrustContext, store: str) -> object:
    """Return a value that differs once a trust store has other anchors; None where it could not be read."""
    trust = trust_context.trusts.get(store)
    if trust is None:
        return None
    public = sorted(each.sha256 for each in trust.public_anchors)
    return trust.public, [each.sha256 for each in trust.anchors], public


@cache
def code_digest() -> str:
    """Return the digest of the code that judges in this process: versions, and the status of each of its files.

    A file that was installed anew has another status, also where the version is the same.
    """
    versions = own_version(), cryptography.__version__, ssl.OPENSSL_VERSION, sys.version
    return _digest((versions, [list(_statuses(os.path.dirname(each.__file__ or ""))) for each in _JUDGING]))


def _statuses(directory: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield path, size and times of each module at or beneath a directory."""
    for place, _, names in sorted(os.walk(directory)):
        for path in (os.path.join(place, name) for name in sorted(names) if name.endswith((".py", ".yaml"))):
            status = os.stat(path)
            yield path, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode(errors="surrogatepass")).hexdigest()[:_DIGITS]
