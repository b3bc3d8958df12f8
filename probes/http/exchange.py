"""The client's side of one GET and its answer, over TLS or in the clear, without I/O (RFC 9112)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final

import h11

from config.immutable import immutable
from config.text import printable
from probes.observation import Presented, Unreachable
from probes.tls.handshake import Handshake

MOST_HEADERS: Final = 64 * 1024
"""Bytes of the head of one answer."""
MOST_INFORMATIONAL: Final = 8
"""Answers of the kind of `100 Continue` before the real one."""
MOST_BODY: Final = 1024 * 1024
"""Bytes that are read of a body; whatever comes after says nothing more about the server."""
MOST_CHUNKS: Final = 8192
"""Chunks of a body (RFC 9112, 7.1), whatever their size."""
LEAST_CHUNK: Final = 256
"""Bytes of the average chunk beyond that many: each one costs time, and no server means to send so little in it."""
_PIECE: Final = 4096
LONGEST_LOCATION: Final = 8 * 1024
LATEST: Final = 253_402_300_799
"""The last Unix time that a header can have: of the year 9999."""


@immutable
class Response:
    """The answer of a server; where its body is no longer than `MOST_BODY`, all of it has arrived."""

    status: int
    version: str
    """Of HTTP, as in `1.1`."""
    content_length: int | None
    """As the server announced it."""
    body_length: int | None
    """Bytes; None where there are more than `MOST_BODY`."""
    last_modified: float | None = None
    """Unix time."""
    location: str | None = None
    """Where a redirect leads, as the server wrote it: hostile text."""
    etag: str | None = None
    """As the server wrote it; hostile text."""
    body: bytes = field(default=b"", repr=False)
    """Empty where nobody asked for it."""


@immutable
class NoResponse:
    """There was no whole answer, and why."""

    why: str


@dataclass(slots=True)
class Times:
    """When each part of an exchange was over; None where it never was."""

    connected: float | None = None
    secured: float | None = None
    answering: float | None = None
    """The first byte of the answer came."""
    over: float | None = None


@immutable
class HTTPRequest:
    """The things that a request asks for, beside its target."""

    headers: tuple[tuple[str, str], ...] = ()
    """Beside those that each request has."""
    body: bytes | None = field(default=None, repr=False)
    """Of a POST; None for a GET."""
    keeps: int | None = None
    """The most bytes of the answer's body, which is kept: with more, there is no answer. None where it is not kept."""


JUST_ASKING: Final = HTTPRequest()


class Exchange:
    """Handshake, request and answer; the exchange is over once `outcome` is set. Nothing is verified."""

    def __init__(
        self,
        handshake: Handshake | None,
        host: str,
        target: str,
        clock: Callable[[], float],
        request: HTTPRequest = JUST_ASKING,
    ) -> None:
        """Ask `host`, as it stands in a Host header, for `target`: a path and perhaps a query, of a proxy a URL.

        `handshake` is one that goes on; None asks in the clear. Raises ValueError where `host` or `target` cannot stand
        in a request.
        """
        self.outcome: Response | NoResponse | None = None
        self.times = Times()
        self._handshake = handshake
        self._clock = clock
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEADERS)
        headers = [("Host", host), ("User-Agent", "certvigil"), ("Accept", "*/*"), ("Connection", "close")]
        headers += request.headers
        if request.body is not None:
            headers.append(("Content-Length", str(len(request.body))))
        try:
            method = "GET" if request.body is None else "POST"
            self._request = self._http.send(h11.Request(method=method, target=target, headers=headers)) or b""
            if request.body:
                self._request += self._http.send(h11.Data(data=request.body)) or b""
            self._request += self._http.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as error:
            raise ValueError(str(error)) from error
        self._keeps = request.keeps
        self._kept: list[bytes] = []
        self._informational = 0
        self._response: h11.Response | None = None
        self._body = 0
        self._chunks = 0

    @property
    def presented(self) -> Presented | Unreachable | None:
        """The chain of the server, or why there is none."""
        return None if self._handshake is None else self._handshake.outcome

    @property
    def patience(self) -> float | None:
        """None: an answer has no part that need not come."""
        return None

    def start(self) -> bytes:
        """Return the ClientHello, or in the clear the request."""
        self.times.connected = self._clock()
        return self._request if self._handshake is None else self._handshake.start()

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        if self._handshake is None:
            self._take_bytes(data)
            return b""
        if self._handshake.outcome is not None:
            return self._speak(b"", data)
        to_send = self._handshake.receive(data)
        presented = self.presented
        if isinstance(presented, Unreachable):
            self._end(NoResponse(presented.detail))
        elif presented is not None:
            self.times.secured = self._clock()
            to_send += self._speak(self._request, b"")
        return to_send

    def end(self, why: str = "") -> Response | NoResponse:
        """Return the outcome, now that the connection is closed, or that it is over for the reason given."""
        is_open = self._handshake is None or isinstance(self._handshake.outcome, Presented)
        if self.outcome is None and is_open and not why:
            # An answer of no announced length ends with the connection.
            self._read(b"")
        if self.outcome is None:
            unreached = self._handshake.end() if self._handshake is not None and not why else None
            detail = unreached.detail if isinstance(unreached, Unreachable) else ""
            self._end(NoResponse(why or detail or "the server closed the connection before its answer was complete"))
        assert self.outcome is not None  # noqa: S101 (it was just set)
        return self.outcome

    def _take_bytes(self, data: bytes) -> None:
        if self.times.answering is None:
            self.times.answering = self._clock()
        self._read(data)

    def _speak(self, to_send: bytes, received: bytes) -> bytes:
        assert self._handshake is not None  # noqa: S101 (in the clear, nothing is to be sealed)
        spoken = self._handshake.speak(to_send, received)
        if spoken.received:
            self._take_bytes(spoken.received)
        if spoken.ended and self.outcome is None:
            self._read(b"")
        if spoken.failed and self.outcome is None:
            self._end(NoResponse(f"before the answer was complete: {spoken.failed}"))
        return spoken.to_send

    def _read(self, data: bytes) -> None:
        """Take some of the answer; nothing means its end."""
        try:
            # By pieces: h11 minds the length of a head only while that is not complete.
            for start in range(0, max(1, len(data)), _PIECE):
                self._http.receive_data(data[start : start + _PIECE])
                self._take_events()
                if self.outcome is not None:
                    return
        except h11.RemoteProtocolError as error:
            self._end(NoResponse(f"this is no answer in HTTP: {printable(str(error), 200)}"))

    def _take_events(self) -> None:
        while self.outcome is None:
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return
            self._take(event)

    def _take(self, event: object) -> None:
        if isinstance(event, h11.InformationalResponse):
            self._informational += 1
            if self._informational > MOST_INFORMATIONAL:
                self._end(NoResponse(f"more than {MOST_INFORMATIONAL} informational answers before the real one"))
        elif isinstance(event, h11.Response):
            self._response = event
        elif isinstance(event, h11.Data):
            self._body += len(event.data)
            self._chunks += event.chunk_start
            if self._chunks > MOST_CHUNKS + self._body // LEAST_CHUNK:
                self._end(NoResponse(f"the answer comes in more than {MOST_CHUNKS} chunks, nearly all of them tiny"))
            elif self._keeps is not None and self._body > self._keeps:
                self._end(NoResponse(f"the answer has more than {self._keeps} bytes"))
            elif self._keeps is not None:
                self._kept.append(bytes(event.data))
            elif self._body > MOST_BODY:
                self._answer(None)
        elif isinstance(event, h11.EndOfMessage):
            self._answer(self._body)

    def _answer(self, body_length: int | None) -> None:
        response = self._response
        assert response is not None  # noqa: S101 (h11 gives it before any body)
        self._end(
            Response(
                response.status_code,
                response.http_version.decode("ascii"),
                _length(_header(response, b"content-length")),
                body_length,
                _moment(_header(response, b"last-modified")),
                _location(_header(response, b"location")),
                _header(response, b"etag"),
                b"".join(self._kept),
            )
        )

    def _end(self, outcome: Response | NoResponse) -> None:
        self.times.over = self._clock()
        self.outcome = outcome


def _header(response: h11.Response, name: bytes) -> str | None:
    for each, value in response.headers:
        if each == name:
            return value.decode("utf-8", errors="replace")
    return None


def _length(text: str | None) -> int | None:
    # h11 refuses one that is no number, or that differs from another.
    return int(text) if text is not None else None


def _moment(text: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
    # One that UTC has no date for cannot be sent back.
    return moment if moment is not None and 0 <= moment <= LATEST else None


def _location(text: str | None) -> str | None:
    return text if text is not None and len(text) <= LONGEST_LOCATION else None
