"""The files of certvigil's own that a look needs: the client certificate, and the credentials for a proxy."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Final

from config.immutable import immutable
from config.model import ClientCertificate, Endpoint
from config.text import printable, sentence
from probes.tls.client_certificate import Identity, Unusable, identity_of
from probes.tls.preamble.credentials import Credentials, NoCredentials, read_credentials


@immutable
class OwnFiles:
    """Their contents, for one look."""

    identity: Identity | Unusable | None = None
    """None where no certificate is to be shown."""
    credentials: Credentials | NoCredentials | None = None
    """None where a proxy is given none."""


NOTHING: Final = OwnFiles()


@immutable
class _Paths:
    """Where they lie."""

    certificate: ClientCertificate | None
    credentials: str | None

    def read(self) -> OwnFiles:
        return OwnFiles(
            None if self.certificate is None else identity_of(self.certificate),
            None if self.credentials is None else read_credentials(self.credentials),
        )

    def missed(self) -> OwnFiles:
        """Return what is known where they are not read in time."""
        identity = credentials = None
        if self.certificate is not None:
            identity = Unusable(sentence("{}: it was not read in time", printable(self.certificate.certificate, 4096)))
        if self.credentials is not None:
            shown = printable(self.credentials, 4096)
            credentials = NoCredentials(f"was not asked: its credentials in {shown} were not read in time")
        return OwnFiles(identity, credentials)


def read_own_files(endpoint: Endpoint) -> OwnFiles:
    """Return the contents of the files for `endpoint`; it blocks as long as their file system does."""
    return _paths(endpoint).read()


async def own_files(endpoint: Endpoint, deadline: float) -> OwnFiles:
    """Return what `read_own_files` does, read in a thread for half of the time until the loop's clock says `deadline`.

    The other half is left for the look, which then says that they were not read.
    """
    paths = _paths(endpoint)
    if paths == _NO_PATHS:
        return NOTHING
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(now + (deadline - now) / 2):
            return await asyncio.wrap_future(_reading(paths))
    except TimeoutError:
        return paths.missed()


_NO_PATHS: Final = _Paths(None, None)


def _paths(endpoint: Endpoint) -> _Paths:
    return _Paths(endpoint.client_certificate, None if endpoint.proxy is None else endpoint.proxy.credentials_file)


_UNDER_WAY: Final[dict[_Paths, Future[OwnFiles]]] = {}
"""Readings that are not over: a file system that hangs holds one thread for the same files, and no more."""
_LOCK: Final = Lock()


def _reading(paths: _Paths) -> Future[OwnFiles]:
    """Return a reading in a thread that nobody waits for at exit: a read of a hanging file cannot be interrupted."""
    with _LOCK:
        future = _UNDER_WAY.get(paths)
        if future is None:
            future = _UNDER_WAY[paths] = Future()
            future.set_running_or_notify_cancel()
            Thread(target=_read, args=(paths, future), name="own files", daemon=True).start()
        return future


def _read(paths: _Paths, future: Future[OwnFiles]) -> None:
    try:
        found = paths.read()
    except BaseException as error:  # noqa: BLE001 (it is raised to whoever waits)
        _over(paths)
        future.set_exception(error)
    else:
        _over(paths)
        future.set_result(found)


def _over(paths: _Paths) -> None:
    """Have the next look read anew."""
    with _LOCK:
        del _UNDER_WAY[paths]
