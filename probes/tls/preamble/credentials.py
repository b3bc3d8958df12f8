"""The user and the password for a proxy, from a file; no message, no log and no process list shows them."""

from __future__ import annotations

from dataclasses import field
from typing import Final

from config.immutable import immutable
from config.text import printable
from probes.opening import read_as_ourselves
from probes.tls.preamble.talk import Agreed, Declined

MOST_BYTES: Final = 1024
_MOST_IN_SOCKS: Final = 255
"""Of a user, and of a password (RFC 1929)."""


@immutable
class Credentials:
    """A user and a password."""

    user: bytes = field(repr=False)
    password: bytes = field(repr=False)


@immutable
class NoCredentials:
    """The file does not give them."""

    why: str
    """A clause without its subject, which is a proxy; printable."""


def read_credentials(path: str) -> Credentials | NoCredentials:
    """Return the user and the password in a file that has `USER:PASSWORD` in its only line."""
    shown = printable(path, 4096)
    try:
        data = read_as_ourselves(path, MOST_BYTES)
    except OSError as error:
        return NoCredentials(f"was not asked: its credentials in {shown} cannot be read: {error.strerror}")
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    user, colon, password = line.partition(b":")
    good = all(0 < len(each) <= _MOST_IN_SOCKS for each in (user, password)) and not any(each < 0x20 for each in line)
    if not colon or not good:
        return NoCredentials(f"was not asked: {shown} is not one line of USER:PASSWORD, each of 255 bytes at most")
    return Credentials(user, password)


class NotAsked:
    """The preamble of a proxy that cannot be asked."""

    def __init__(self, why: NoCredentials) -> None:
        self.outcome: Agreed | Declined | None = Declined(why.why, by_proxy=True)

    def start(self) -> bytes:
        """Return nothing."""
        return b""

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 (it is over before anything comes)
        """Take nothing."""
        return b""
