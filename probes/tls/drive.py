"""Looking at an endpoint over real sockets: in an event loop, or blocking; both see the same."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from threading import BoundedSemaphore, Thread
from types import MappingProxyType
from typing import Final, Protocol, cast

from config.address import is_ip_address
from config.model import Endpoint, Proxy
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import UnreachableReason
from probes.observation import EndpointObservation, Presented, Unreachable
from probes.tls.handshake import SAYS_NOTHING, Handshake
from probes.tls.preamble.registry import preamble_to

MOST_ADDRESSES: Final = 16

_CHUNK: Final = 65_536

_REASONS: Final = MappingProxyType(
    {
        errno.ECONNREFUSED: UnreachableReason.CONNECTION_REFUSED,
        errno.ENETUNREACH: UnreachableReason.NO_ROUTE,
        errno.EHOSTUNREACH: UnreachableReason.NO_ROUTE,
        errno.ENETDOWN: UnreachableReason.NO_ROUTE,
        errno.EADDRNOTAVAIL: UnreachableReason.NO_ROUTE,
        errno.EAFNOSUPPORT: UnreachableReason.NO_ROUTE,
        errno.ETIMEDOUT: UnreachableReason.TIMED_OUT,
        errno.ECONNRESET: UnreachableReason.CONNECTION_RESET,
        errno.EPIPE: UnreachableReason.CONNECTION_RESET,
    }
)

_LOOKUPS: Final = BoundedSemaphore(256)
"""Names looked up at once: a name server that is silent holds each of them longer than anybody waits."""

EndpointOutcome = Presented | Unreachable
Addresses = tuple[str, ...] | Unreachable
"""Of a name, or why there are none."""


async def look(
    endpoint: Endpoint,
    now: float,
    permits: Callable[[str], bool] | None = None,
    resolved: Callable[[float], None] = lambda _seconds: None,
) -> EndpointObservation:
    """Return what every address of `endpoint` presents, or why it does not, within `endpoint.timeout` seconds in all.

    Addresses are looked at at once; `now` is Unix time. Where one of them is given and not permitted, none is looked
    at; the name is resolved once only, so that what is looked at is what was permitted. `resolved` is called with the
    seconds that this took.
    """
    begun = asyncio.get_running_loop().time()
    deadline = begun + endpoint.timeout
    host = (endpoint.proxy or endpoint).host
    addresses = (host,) if is_ip_address(host) else await _resolve(host, endpoint, deadline)
    resolved(asyncio.get_running_loop().time() - begun)
    if isinstance(addresses, Unreachable):
        failed = addresses if endpoint.proxy is None else _of_proxy(endpoint.proxy, endpoint, addresses)
        return EndpointObservation(endpoint.name, now, (), (failed,))
    refused = [each for each in addresses if permits is not None and not permits(each)]
    if refused:
        why = UnreachableReason.NOT_PERMITTED
        failures = (
            Unreachable(harmless(each), why, Printable("this address may not be looked at")) for each in refused
        )
        return EndpointObservation(endpoint.name, now, (), tuple(failures))
    if endpoint.proxy is not None:
        # The proxy resolves the host.
        outcome = await _look_through(endpoint.proxy, addresses, endpoint, deadline)
        return _observation(endpoint, now, (endpoint.host,), (outcome,))
    looks = (_look_at(address, endpoint, deadline) for address in addresses[:MOST_ADDRESSES])
    return _observation(endpoint, now, addresses, await asyncio.gather(*looks))


async def addresses_of(endpoint: Endpoint) -> Addresses:
    """Return the addresses of `endpoint.host`, or why there are none, within `endpoint.timeout` seconds."""
    if is_ip_address(endpoint.host):
        return (endpoint.host,)
    return await _resolve(endpoint.host, endpoint, asyncio.get_running_loop().time() + endpoint.timeout)


def look_blocking(endpoint: Endpoint, now: float) -> EndpointObservation:
    """Return what `look` does, without an event loop.

    Addresses are looked at one after the other, each with an equal share of the time that is left.
    """
    deadline = time.monotonic() + endpoint.timeout
    host = (endpoint.proxy or endpoint).host
    addresses = (host,) if is_ip_address(host) else _resolve_blocking(host, endpoint)
    if isinstance(addresses, Unreachable):
        failed = addresses if endpoint.proxy is None else _of_proxy(endpoint.proxy, endpoint, addresses)
        return EndpointObservation(endpoint.name, now, (), (failed,))
    if endpoint.proxy is not None:
        outcome = _look_through_blocking(endpoint.proxy, addresses, endpoint, deadline)
        return _observation(endpoint, now, (endpoint.host,), (outcome,))
    outcomes = []
    for left, address in zip(range(min(len(addresses), MOST_ADDRESSES), 0, -1), addresses, strict=False):
        share = (deadline - time.monotonic()) / left
        outcomes.append(_look_at_blocking(address, endpoint, time.monotonic() + share))
    return _observation(endpoint, now, addresses, outcomes)


def _observation(
    endpoint: Endpoint, now: float, addresses: tuple[str, ...], outcomes: Iterable[EndpointOutcome]
) -> EndpointObservation:
    presented = tuple(each for each in outcomes if isinstance(each, Presented))
    failures = [each for each in outcomes if isinstance(each, Unreachable)]
    if presented:
        # Clients on a host without IPv6 pass over such addresses too: that is no fault of the server.
        failures = [each for each in failures if ":" not in each.address or each.reason != UnreachableReason.NO_ROUTE]
    if len(addresses) > MOST_ADDRESSES:
        detail = sentence("has {} addresses, only {} of them are looked at", len(addresses), MOST_ADDRESSES)
        failures.append(Unreachable(printable(endpoint.host), UnreachableReason.TOO_MUCH_DATA, detail))
    return EndpointObservation(endpoint.name, now, presented, tuple(failures))


async def _resolve(host: str, endpoint: Endpoint, deadline: float) -> Addresses:
    try:
        async with asyncio.timeout_at(deadline):
            return await asyncio.wrap_future(_lookup_aside(host))
    except TimeoutError:
        return _unresolved(host, endpoint.timeout)


def _resolve_blocking(host: str, endpoint: Endpoint) -> Addresses:
    try:
        return _lookup_aside(host).result(endpoint.timeout)
    except TimeoutError:
        return _unresolved(host, endpoint.timeout)


def _unresolved(host: str, timeout: float) -> Unreachable:
    detail = sentence("the name was not resolved within {:g} s", timeout)
    return Unreachable(printable(host), UnreachableReason.TIMED_OUT, detail)


def _lookup_aside(host: str) -> Future[Addresses]:
    """Look `host` up in a thread that nobody waits for at exit: a resolver cannot be interrupted."""
    future: Future[Addresses] = Future()
    future.set_running_or_notify_cancel()
    if not _LOOKUPS.acquire(blocking=False):
        future.set_result(
            Unreachable(printable(host), UnreachableReason.TIMED_OUT, Printable("too many names wait for an answer"))
        )
        return future

    def work() -> None:
        try:
            future.set_result(_lookup(host))
        finally:
            _LOOKUPS.release()

    Thread(target=work, name="resolver", daemon=True).start()
    return future


def _lookup(host: str) -> Addresses:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except ValueError:
        return Unreachable(printable(host), UnreachableReason.NAME_NOT_FOUND, Printable("this is not a host name"))
    except socket.gaierror as error:
        return Unreachable(printable(host), UnreachableReason.NAME_NOT_FOUND, harmless(str(error.strerror)))
    except OSError as error:
        return Unreachable(printable(host), UnreachableReason.IO_ERROR, harmless(str(error.strerror)))
    # Name servers rotate their answers, and the same addresses must make the same observation.
    return tuple(sorted({str(sockaddr[0]) for *_, sockaddr in found}))


class Talk(Protocol):
    """The client's side of a conversation without I/O; it is over once `outcome` is not None."""

    @property
    def outcome(self) -> object:
        """What came of it."""

    def start(self) -> bytes:
        """Return what is to be sent first."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""


class _Conversation(asyncio.Protocol):
    """One conversation over one connection, which is closed as soon as it is over."""

    _transport: asyncio.Transport

    def __init__(self, talk: Talk, lost: asyncio.Future[Exception | None]) -> None:
        self._talk = talk
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports are none of asyncio's by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._talk.start())

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._talk.receive(data))
        if self._talk.outcome is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(exc)


async def converse(talk: Talk, address: str, port: int, deadline: float) -> OSError | None:
    """Lead a conversation over a connection of its own until it, or the connection, is over.

    Returns why it ended before; TimeoutError where the loop's clock came to `deadline`.
    """
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[Exception | None] = loop.create_future()
    try:
        async with asyncio.timeout_at(deadline):
            transport, _ = await loop.create_connection(lambda: _Conversation(talk, lost), address, port)
            try:
                error = await lost
            finally:
                transport.abort()
    except OSError as failure:
        return failure
    if error is None or isinstance(error, OSError):
        return error
    raise error


def converse_blocking(talk: Talk, address: str, port: int, deadline: float) -> OSError | None:
    """Do what `converse` does, without an event loop; `deadline` is of the monotonic clock."""
    try:
        with socket.create_connection((address, port), _time_left(deadline)) as connection:
            connection.sendall(talk.start())
            while talk.outcome is None:
                connection.settimeout(_time_left(deadline))
                data = connection.recv(_CHUNK)
                if not data:
                    break
                connection.sendall(talk.receive(data))
    except OSError as error:
        return error
    return None


def handshake_with(endpoint: Endpoint, address: str, *, goes_on: bool = False) -> Handshake:
    """Return a handshake with `endpoint` at one address, behind all that is said before it."""
    return Handshake(
        address,
        endpoint.verified_name,
        endpoint.minimum_version,
        endpoint.key_type,
        preamble=preamble_to(endpoint),
        goes_on=goes_on,
    )


async def _look_at(address: str, endpoint: Endpoint, deadline: float) -> EndpointOutcome:
    handshake = handshake_with(endpoint, address)
    error = await converse(handshake, address, endpoint.port, deadline)
    return _outcome(handshake, address, endpoint, error)


def _look_at_blocking(address: str, endpoint: Endpoint, deadline: float) -> EndpointOutcome:
    handshake = handshake_with(endpoint, address)
    error = converse_blocking(handshake, address, endpoint.port, deadline)
    return _outcome(handshake, address, endpoint, error)


async def _look_through(proxy: Proxy, addresses: Sequence[str], endpoint: Endpoint, deadline: float) -> EndpointOutcome:
    """Look through the first address of a proxy that answers."""
    outcomes: list[EndpointOutcome] = []
    for address in addresses[:MOST_ADDRESSES]:
        handshake = handshake_with(endpoint, endpoint.host)
        error = await converse(handshake, address, proxy.port, deadline)
        outcomes.append(_outcome_through(proxy, handshake, endpoint, error))
        if handshake.answered:
            break
    return outcomes[-1]


def _look_through_blocking(
    proxy: Proxy, addresses: Sequence[str], endpoint: Endpoint, deadline: float
) -> EndpointOutcome:
    outcomes: list[EndpointOutcome] = []
    for address in addresses[:MOST_ADDRESSES]:
        handshake = handshake_with(endpoint, endpoint.host)
        error = converse_blocking(handshake, address, proxy.port, deadline)
        outcomes.append(_outcome_through(proxy, handshake, endpoint, error))
        if handshake.answered:
            break
    return outcomes[-1]


def _outcome_through(proxy: Proxy, handshake: Handshake, endpoint: Endpoint, error: OSError | None) -> EndpointOutcome:
    outcome = _outcome(handshake, endpoint.host, endpoint, error)
    if isinstance(outcome, Presented) or handshake.answered:
        return outcome
    return _of_proxy(proxy, endpoint, outcome)


def _of_proxy(proxy: Proxy, endpoint: Endpoint, failed: Unreachable) -> Unreachable:
    """Return a failure as that of the proxy, which did not say anything."""
    detail = sentence("the proxy {}: {}", harmless(proxy.url), failed.detail)
    return Unreachable(harmless(endpoint.host), UnreachableReason.PROXY_FAILED, detail)


def _outcome(handshake: Handshake, address: str, endpoint: Endpoint, error: OSError | None) -> EndpointOutcome:
    if error is None:
        return handshake.end()
    return handshake.outcome or _unreachable(address, endpoint, error, answered=handshake.answered)


def _time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _unreachable(address: str, endpoint: Endpoint, error: OSError, *, answered: bool) -> Unreachable:
    if isinstance(error, TimeoutError) and error.errno is None:
        detail = sentence("no complete handshake within {:g} s", endpoint.timeout)
        return Unreachable(harmless(address), UnreachableReason.TIMED_OUT, detail)
    reason = _REASONS.get(error.errno or 0, UnreachableReason.IO_ERROR)
    detail = harmless(os.strerror(error.errno) if error.errno else type(error).__name__)
    if reason is UnreachableReason.CONNECTION_RESET and not answered:
        detail = sentence("{}: the server took a TLS hello and said nothing; {}", detail, harmless(SAYS_NOTHING))
    return Unreachable(harmless(address), reason, detail)
