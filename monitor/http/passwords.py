"""Basic authentication (RFC 7617) against bcrypt hashes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt

REMEMBERED: Final = 100
"""Right passwords that need not be hashed again."""
_SIGNIFICANT: Final = 72
"""Bytes of a password that bcrypt takes into account."""


class Passwords:
    """Says who may come in."""

    def __init__(self) -> None:
        self.users: Mapping[str, bytes] = {}
        """The bcrypt hash of each user's password."""
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        # One thread: whoever guesses passwords must not take more than one processor.
        self._hasher = ThreadPoolExecutor(1, "passwords")

    async def accepts(self, authorization: str) -> bool:
        """Whether the value of this `Authorization` header names one of `users`, who must be some, and the password."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        user, password = credentials
        # An unknown user takes as long as a known one with a wrong password.
        stored = self.users.get(user) or next(iter(self.users.values()))
        seen = hmac.digest(self._key, b"\0".join((user.encode(), stored, password)), "sha256")
        if user in self.users and seen in self._right:
            self._right.move_to_end(seen)
            return True
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._hasher, _matches, password, stored) and user in self.users
        if right:
            self._right[seen] = None
            if len(self._right) > REMEMBERED:
                self._right.popitem(last=False)
        return right

    def close(self) -> None:
        """Hash no more."""
        self._hasher.shutdown(wait=False, cancel_futures=True)


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _matches(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_SIGNIFICANT], stored)
    except ValueError:
        return False
