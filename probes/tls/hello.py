"""A ClientHello of one's own, and what a server chooses of it, without I/O and without a library of TLS.

A library offers what it knows itself, and no more; a server that takes older or newer things is to be seen as well.
Nothing is computed: the conversation ends once the choice is known (RFC 8446, 4.1; RFC 5246, 7.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from config.address import is_dns_name
from config.immutable import immutable
from config.text import Printable, sentence
from config.vocabulary import TLSVersion
from probes.tls.names import SIGNATURES, SUITES, VERSIONS, is_ephemeral, is_on_curve, is_signed

MOST_BYTES: Final = 256 * 1024
"""That are taken from a server in one conversation."""
NO_RENEGOTIATION: Final = 0x00FF
"""Stands for the extension of RFC 5746 where there are no extensions."""

_ALERT: Final = 21
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_HELLO: Final = 2
_SERVER_KEY_EXCHANGE: Final = 12
_SERVER_HELLO_DONE: Final = 14
_FATAL: Final = 2
_CLOSE_NOTIFY: Final = 0
_NAMED_CURVE: Final = 3
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a ServerHello that asks for another ClientHello (RFC 8446, 4.1.3)."""
_SERVER_NAME: Final = 0
_SUPPORTED_GROUPS: Final = 10
_POINT_FORMATS: Final = 11
_SIGNATURE_ALGORITHMS: Final = 13
_APPLICATION_PROTOCOLS: Final = 16
_SUPPORTED_VERSIONS: Final = 43
_KEY_SHARE: Final = 51
_RENEGOTIATION: Final = 0xFF01


@immutable
class ClientProposal:
    """What a ClientHello offers, by numbers."""

    version: str
    """One of `VERSIONS`, and up to TLS 1.2 every older one with it: there it is only the newest."""
    suites: tuple[int, ...]
    groups: tuple[int, ...] = ()


@immutable
class Chosen:
    """What a server chose, by numbers."""

    version: int
    suite: int
    group: int | None = None
    """None where none was needed, or it is no named one."""
    prime_bits: int = 0
    """Length of the prime of a Diffie-Hellman exchange in a field of the server's own; else 0."""
    signature: int | None = None
    """The scheme by which it signed; None where it did not, or where the version does not say."""


@immutable
class TurnedAway:
    """The server takes nothing of it."""

    alert: int | None = None
    """None where it ended the connection without a word."""


@immutable
class Unclear:
    """The server said nothing from which that could be told."""

    why: Printable
    """A clause without its subject, which is the server."""


Choice = Chosen | TurnedAway | Unclear


def client_hello(proposal: ClientProposal, server_name: str, random: bytes, alpn: bytes = b"") -> bytes:
    """Return the record with a ClientHello; `random` are 32 bytes, `alpn` is the protocol that is offered (RFC 7301).

    For TLS 1.3 it has no key share, so that the server answers with the group that it wants (RFC 8446, 4.2.8).
    """
    number = VERSIONS[proposal.version]
    oldest, modern = number == VERSIONS["SSLv3"], proposal.version == TLSVersion.TLS1_3
    suites = (*proposal.suites, NO_RENEGOTIATION) if oldest else proposal.suites
    body = _two(min(number, 0x0303)) + random + b"\x00"
    body += _sized(2, b"".join(map(_two, suites))) + b"\x01\x00"
    if not oldest:
        body += _sized(2, b"".join(_extensions(proposal, server_name, alpn, modern=modern)))
    message = bytes([_CLIENT_HELLO]) + _sized(3, body)
    return bytes([_HANDSHAKE]) + _two(0x0300 if oldest else 0x0301) + _sized(2, message)


def _extensions(proposal: ClientProposal, server_name: str, alpn: bytes, *, modern: bool) -> Iterator[bytes]:
    if is_dns_name(server_name):
        yield _extension(_SERVER_NAME, _sized(2, b"\x00" + _sized(2, server_name.encode("ascii"))))
    if alpn:
        yield _extension(_APPLICATION_PROTOCOLS, _sized(2, _sized(1, alpn)))
    if proposal.groups:
        yield _extension(_SUPPORTED_GROUPS, _sized(2, b"".join(map(_two, proposal.groups))))
    if modern or proposal.version == TLSVersion.TLS1_2:
        yield _extension(_SIGNATURE_ALGORITHMS, _sized(2, b"".join(map(_two, SIGNATURES))))
    if modern:
        yield _extension(_SUPPORTED_VERSIONS, _sized(1, _two(VERSIONS[proposal.version])))
        yield _extension(_KEY_SHARE, _sized(2, b""))
    else:
        yield _extension(_POINT_FORMATS, _sized(1, b"\x00\x01\x02"))
        yield _extension(_RENEGOTIATION, _sized(1, b""))


def _two(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _sized(octets: int, content: bytes) -> bytes:
    return len(content).to_bytes(octets, "big") + content


def _extension(kind: int, content: bytes) -> bytes:
    return _two(kind) + _sized(2, content)


class Hello:
    """The client's side of one conversation: a ClientHello, and the server's choice."""

    def __init__(self, proposal: ClientProposal, server_name: str, random: bytes, alpn: bytes = b"") -> None:
        """`random` are 32 bytes, and `alpn` is the protocol that is offered."""
        self.outcome: Choice | None = None
        self._received = 0
        self._hello = client_hello(proposal, server_name, random, alpn)
        self._records = bytearray()
        self._messages = bytearray()
        self._chosen: Chosen | None = None

    def start(self) -> bytes:
        """Return the ClientHello."""
        return self._hello

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server; there are none for it."""
        self._received += len(data)
        self._records += data
        try:
            self._read()
        except (IndexError, _OddError):
            self.outcome = Unclear(Printable("says what is no TLS"))
        if self.outcome is None and self._received > MOST_BYTES:
            self.outcome = Unclear(sentence("says nothing of use within {} bytes", MOST_BYTES))
        return b""

    def end(self) -> Choice:
        """Return the outcome, now that the connection is closed."""
        if self.outcome is None:
            self.outcome = self._chosen or TurnedAway()
        return self.outcome

    def _read(self) -> None:
        """Read whole records, and the messages in them, until the choice is known."""
        while self.outcome is None and len(self._records) >= 5:
            kind, length = self._records[0], int.from_bytes(self._records[3:5], "big")
            if not 20 <= kind <= 23 or self._records[1] != 3:
                raise _OddError
            if len(self._records) < 5 + length:
                return
            content = bytes(self._records[5 : 5 + length])
            del self._records[: 5 + length]
            if kind == _ALERT:
                self._take_alert(content)
            elif kind == _HANDSHAKE:
                self._messages += content
                self._read_messages()

    def _take_alert(self, content: bytes) -> None:
        level, alert = content[0], content[1]
        # A warning, such as that the name is not known, does not end the handshake.
        if level == _FATAL or alert == _CLOSE_NOTIFY:
            self.outcome = self._chosen or TurnedAway(alert)

    def _read_messages(self) -> None:
        while self.outcome is None and len(self._messages) >= 4:
            kind, length = self._messages[0], int.from_bytes(self._messages[1:4], "big")
            if length > MOST_BYTES:
                raise _OddError
            if len(self._messages) < 4 + length:
                return
            body = bytes(self._messages[4 : 4 + length])
            del self._messages[: 4 + length]
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        if kind == _SERVER_HELLO:
            self._chosen = chosen = _server_hello(body)
            if not is_ephemeral(SUITES.get(chosen.suite, "")):
                self.outcome = chosen
        elif self._chosen is None:
            raise _OddError
        elif kind == _SERVER_KEY_EXCHANGE:
            self.outcome = _with_key_exchange(self._chosen, body)
        elif kind == _SERVER_HELLO_DONE:
            self.outcome = self._chosen


class _OddError(Exception):
    """The bytes are not those of a server of TLS."""


class _Bytes:
    """Bytes that are read from the front; raises _OddError where there are too few."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise _OddError
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, octets: int) -> int:
        """Return the next number, of so many bytes."""
        return int.from_bytes(self.take(octets), "big")

    def sized(self, octets: int) -> bytes:
        """Return the next bytes whose length stands before them, in so many bytes."""
        return self.take(self.number(octets))

    @property
    def left(self) -> int:
        """How many bytes there are yet."""
        return len(self._data) - self._at


def _server_hello(body: bytes) -> Chosen:
    reader = _Bytes(body)
    version, random = reader.number(2), reader.take(32)
    reader.sized(1)
    suite = reader.number(2)
    reader.take(1)
    group: int | None = None
    extensions = _Bytes(reader.sized(2) if reader.left else b"")
    while extensions.left:
        kind, content = extensions.number(2), _Bytes(extensions.sized(2))
        if kind == _SUPPORTED_VERSIONS:
            version = content.number(2)
        elif kind == _KEY_SHARE:
            group = content.number(2)
    if random == _RETRY and version < VERSIONS[TLSVersion.TLS1_3]:
        raise _OddError
    return Chosen(version, suite, group)


def _with_key_exchange(chosen: Chosen, body: bytes) -> Chosen:
    """Return the choice with the group, or the prime, and the signature of a ServerKeyExchange (RFC 8422, 5.4)."""
    reader, suite = _Bytes(body), SUITES[chosen.suite]
    if "PSK" in suite:
        reader.sized(2)  # the hint
    group, bits = None, 0
    if is_on_curve(suite):
        if reader.number(1) != _NAMED_CURVE:
            return chosen
        group = reader.number(2)
        reader.sized(1)
    else:
        bits = int.from_bytes(reader.sized(2), "big").bit_length()
        reader.sized(2)
        reader.sized(2)
    signed = chosen.version == VERSIONS[TLSVersion.TLS1_2] and is_signed(suite) and reader.left >= 2
    return Chosen(chosen.version, chosen.suite, group, bits, reader.number(2) if signed else None)
