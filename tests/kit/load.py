"""Clients that shake hands with a server all the time, and keep what they see."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from collections import Counter
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL

from monitor.lab.ca import Issued
from monitor.lab.process import wait_for
from monitor.lab.servers import Server

_CLIENTS: Final = 3
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.015
"""Seconds between two handshakes of one client, so that the machine has time for something else: a test shows with two
hundred handshakes what it shows with a thousand."""

Chain = tuple[str, ...]
"""SHA-256 of each DER certificate as presented, hexadecimal."""


def chain_of(issued: Issued) -> Chain:
    """Return what a server presents that serves the whole of `issued`."""
    return tuple(hashlib.sha256(each.der()).hexdigest() for each in issued.chain)


class Load:
    """A few clients under way inside the block, which begins and ends with a whole handshake of each.

    Every handshake completed proves the key to the certificate that came with it (RFC 8446, 4.4.3).
    """

    def __init__(self, server: Server, name: str, pause: float = _PAUSE) -> None:
        self._server, self._name, self._pause = server, name, pause
        self._ending = threading.Event()
        # Nothing is kept from one handshake to the next: no connection takes up a session.
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._completed = [0] * _CLIENTS
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(_CLIENTS)]
        self._chains: list[Chain] = []
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        try:
            self._await_all()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._await_all()
        finally:
            self._end()

    @property
    def seen(self) -> Counter[Chain]:
        """How often each chain was presented."""
        return Counter(self._chains)

    def strange(self, *known: Issued) -> dict[Chain, int]:
        """Return what was seen and is none of the sets `known`, whole."""
        whole = set(map(chain_of, known))
        return {chain: times for chain, times in self.seen.items() if chain not in whole}

    def _end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _await_all(self) -> None:
        before = list(self._completed)
        # Two, for one may have begun before.
        wait_for(
            lambda: all(now >= then + 2 for now, then in zip(self._completed, before, strict=True)), 20.0, "a handshake"
        )

    def _run(self, number: int) -> None:
        while not self._ending.is_set():
            try:
                chain = self._handshake()
            except (SSL.Error, OSError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                self._chains.append(chain)
                self._completed[number] += 1
            time.sleep(self._pause)

    def _handshake(self) -> Chain:
        connection = SSL.Connection(self._context, self._connected())
        try:
            connection.set_tlsext_host_name(self._name.encode())
            connection.set_connect_state()
            connection.do_handshake()
            chain = connection.get_peer_cert_chain(as_cryptography=True) or ()
            return tuple(each.fingerprint(SHA256()).hex() for each in chain)
        finally:
            connection.close()

    def _connected(self) -> socket.socket:
        raw = socket.create_connection((self._server.host, self._server.port), _PATIENCE)
        # OpenSSL reads from a socket that blocks, but not for ever.
        raw.settimeout(None)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(_PATIENCE), 0))
        return raw
