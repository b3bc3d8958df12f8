"""Looking at an endpoint over real sockets: in an event loop, or blocking; both see the same."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import product
from threading import BoundedSemaphore, Thread
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar, cast

from config.address import is_ip_address
from config.model import Endpoint, Proxy
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import AddressChoice, EndpointProtocol, UnreachableReason
from probes.observation import EndpointObservation, Presented, Unreachable
from probes.tls.client_certificate import shown_beside
from probes.tls.handshake import SAYS_NOTHING, SPEAKS_NOT_IN_THE_CLEAR, Handshake
from probes.tls.own_files import OwnFiles, own_files, read_own_files
from probes.tls.preamble.registry import begins_in_the_clear, preamble_to

MOST_ADDRESSES: Final = 64

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

ALPN: Final = MappingProxyType({EndpointProtocol.POSTGRES_DIRECT: b"postgresql"})
"""By protocol: what is offered as the only application protocol, since the server takes nothing else."""

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

    Addresses are looked at at once, unless the first that answers is wanted; `now` is Unix time. Where one of them is
    given and not permitted, none is looked at; the name is resolved once only, so that what is looked at is what was
    permitted. `resolved` is called with the seconds that this took.
    """
    begun = asyncio.get_running_loop().time()
    deadline = begun + endpoint.timeout
    host = (endpoint.proxy or endpoint).host
    addresses = _chosen(await resolve(host, endpoint.timeout, deadline), endpoint)
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
    own = await own_files(endpoint, deadline)
    if endpoint.proxy is not None:
        # The proxy resolves the host.
        through = (_look_through(endpoint.proxy, addresses, each, own, deadline) for each in _by_key(endpoint))
        return _observation(endpoint, now, (endpoint.host,), await asyncio.gather(*through))
    if endpoint.addresses is AddressChoice.FIRST:
        return _observation(endpoint, now, (), await _look_at_first(addresses, endpoint, own, deadline))
    asked = product(addresses[:MOST_ADDRESSES], _by_key(endpoint))
    looks = [_look_at(address, each, own, deadline) for address, each in asked]
    # One alone needs no task of its own.
    return _observation(endpoint, now, addresses, [await looks[0]] if len(looks) == 1 else await asyncio.gather(*looks))


async def _look_at_first(
    addresses: Sequence[str], endpoint: Endpoint, own: OwnFiles, deadline: float
) -> Sequence[EndpointOutcome]:
    """Look at one address after the other until one presents something, each with an equal share of the time left."""
    outcomes: list[EndpointOutcome] = []
    tried = addresses[:MOST_ADDRESSES]
    for left, address in zip(range(len(tried), 0, -1), tried, strict=True):
        now = asyncio.get_running_loop().time()
        until = now + (deadline - now) / left
        found = await asyncio.gather(*(_look_at(address, each, own, until) for each in _by_key(endpoint)))
        if any(isinstance(each, Presented) for each in found):
            return found
        outcomes += found
    return outcomes


def look_blocking(endpoint: Endpoint, now: float) -> EndpointObservation:
    """Return what `look` does, without an event loop.

    Addresses are looked at one after the other, each with an equal share of the time that is left.
    """
    deadline = time.monotonic() + endpoint.timeout
    host = (endpoint.proxy or endpoint).host
    addresses = _chosen((host,) if is_ip_address(host) else _resolve_blocking(host, endpoint), endpoint)
    if isinstance(addresses, Unreachable):
        failed = addresses if endpoint.proxy is None else _of_proxy(endpoint.proxy, endpoint, addresses)
        return EndpointObservation(endpoint.name, now, (), (failed,))
    own = read_own_files(endpoint)
    if endpoint.proxy is not None:
        through = [_look_through_blocking(endpoint.proxy, addresses, each, own, deadline) for each in _by_key(endpoint)]
        return _observation(endpoint, now, (endpoint.host,), through)
    first = endpoint.addresses is AddressChoice.FIRST
    outcomes: list[EndpointOutcome] = []
    asked = tuple(product(addresses[:MOST_ADDRESSES], _by_key(endpoint)))
    for left, (address, each) in zip(range(len(asked), 0, -1), asked, strict=True):
        if first and any(isinstance(seen, Presented) and seen.address != address for seen in outcomes):
            break
        share = (deadline - time.monotonic()) / left
        outcomes.append(_look_at_blocking(address, each, own, time.monotonic() + share))
    if first:
        answering = [each.address for each in outcomes if isinstance(each, Presented)]
        outcomes = [each for each in outcomes if not answering or each.address in answering]
    return _observation(endpoint, now, () if first else addresses, outcomes)


def _by_key(endpoint: Endpoint) -> tuple[Endpoint, ...]:
    """Return the endpoint once for each kind of key that is to be asked for."""
    return tuple(replace(endpoint, key_types=(each,)) for each in endpoint.key_types) or (endpoint,)


def _chosen(addresses: Addresses, endpoint: Endpoint) -> Addresses:
    """Return the addresses that are to be looked at, of those that can be reached from the address given."""
    if isinstance(addresses, Unreachable):
        return addresses
    six = {AddressChoice.IPV4: False, AddressChoice.IPV6: True}.get(endpoint.addresses)
    found = addresses if six is None else tuple(each for each in addresses if (":" in each) is six)
    if not found:
        detail = sentence("the name has no {} address", Printable("IPv6" if six else "IPv4"))
        return Unreachable(printable(endpoint.host), UnreachableReason.NAME_NOT_FOUND, detail)
    source = endpoint.source_address
    reached = found if source is None else tuple(each for each in found if (":" in each) is (":" in source))
    if not reached:
        detail = sentence("it has no address of the kind of the source address {}", harmless(source or ""))
        return Unreachable(printable(endpoint.host), UnreachableReason.NO_ROUTE, detail)
    return reached


def _observation(
    endpoint: Endpoint, now: float, addresses: tuple[str, ...], outcomes: Iterable[EndpointOutcome]
) -> EndpointObservation:
    presented = tuple(each for each in outcomes if isinstance(each, Presented))
    failures = list(dict.fromkeys(each for each in outcomes if isinstance(each, Unreachable)))
    if presented:
        # Clients on a host without IPv6 pass over such addresses too: that is no fault of the server.
        failures = [each for each in failures if ":" not in each.address or each.reason != UnreachableReason.NO_ROUTE]
    if len(addresses) > MOST_ADDRESSES:
        detail = sentence("has {} addresses, only {} of them are looked at", len(addresses), MOST_ADDRESSES)
        failures.append(Unreachable(printable(endpoint.host), UnreachableReason.TOO_MUCH_DATA, detail))
    return EndpointObservation(endpoint.name, now, presented, tuple(failures))


async def resolve(host: str, seconds: float, deadline: float) -> Addresses:
    """Return the addresses of a name or address, by the loop's clock until `deadline`, which is in so many seconds."""
    if is_ip_address(host):
        return (host,)
    try:
        async with asyncio.timeout_at(deadline):
            return await asyncio.wrap_future(_lookup_aside(host))
    except TimeoutError:
        return _unresolved(host, seconds)


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
    return tuple(sorted({str(sockaddr[0]) for *_, sockaddr in found}, key=lambda each: (":" in each, each)))


class Talk(Protocol):
    """The client's side of a conversation without I/O; it is over once `outcome` is not None."""

    @property
    def outcome(self) -> object:
        """What came of it."""

    def start(self) -> bytes:
        """Return what is to be sent first."""

    @property
    def patience(self) -> float | None:
        """Seconds from now on after which no more is expected, as the rest need not come; None as long as it must."""

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""


T = TypeVar("T", bound=Talk)


class _Conversation(asyncio.Protocol):
    """One conversation over one connection, which is closed as soon as it is over."""

    _transport: asyncio.Transport

    def __init__(self, talk: Talk, lost: asyncio.Future[Exception | None]) -> None:
        self._talk = talk
        self._lost = lost
        self._awaits = False
        """Whether the end of the talk's patience is set."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports are none of asyncio's by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._talk.start())
        if self._talk.outcome is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._talk.receive(data))
        if self._talk.outcome is not None:
            self._transport.close()
        elif self._talk.patience is not None and not self._awaits:
            self._awaits = True
            asyncio.get_running_loop().call_later(self._talk.patience, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._lost.done():
            self._lost.set_result(exc)


async def converse(talk: Talk, address: str, port: int, deadline: float, source: str | None = None) -> OSError | None:
    """Lead a conversation over a connection of its own, from `source`, until it, or the connection, is over.

    Returns why it ended before; TimeoutError where the loop's clock came to `deadline`.
    """
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[Exception | None] = loop.create_future()
    try:
        async with asyncio.timeout_at(deadline):
            local = None if source is None else (source, 0)
            transport, _ = await loop.create_connection(
                lambda: _Conversation(talk, lost), address, port, local_addr=local
            )
            try:
                error = await lost
            finally:
                transport.abort()
    except OSError as failure:
        return failure
    if error is None or isinstance(error, OSError):
        return error
    raise error


def converse_blocking(
    talk: Talk, address: str, port: int, deadline: float, source: str | None = None
) -> OSError | None:
    """Do what `converse` does, without an event loop; `deadline` is of the monotonic clock."""
    local = None if source is None else (source, 0)
    try:
        with socket.create_connection((address, port), _time_left(deadline), local) as connection:
            connection.sendall(talk.start())
            until = None
            while talk.outcome is None:
                if until is None and talk.patience is not None:
                    until = min(deadline, time.monotonic() + talk.patience)
                connection.settimeout(_time_left(deadline if until is None else until))
                data = connection.recv(_CHUNK)
                if not data:
                    break
                connection.sendall(talk.receive(data))
    except OSError as error:
        return error
    return None


class NotResolvedError(OSError):
    """A name has no address that may be connected to."""

    def __init__(self, why: Unreachable) -> None:
        super().__init__(why.detail)
        self.why = why


def why_of(error: OSError) -> Printable:
    """Return why a connection failed, a clause."""
    if isinstance(error, NotResolvedError):
        return error.why.detail
    return harmless(os.strerror(error.errno) if error.errno else type(error).__name__)


class _Heard(Generic[T]):
    """A conversation, and whether anything came from the server."""

    def __init__(self, talk: T) -> None:
        self.answered = False
        self._talk = talk

    @property
    def outcome(self) -> object:
        return self._talk.outcome

    @property
    def patience(self) -> float | None:
        return self._talk.patience

    def start(self) -> bytes:
        return self._talk.start()

    def receive(self, data: bytes) -> bytes:
        self.answered = True
        return self._talk.receive(data)


async def converse_with(
    endpoint: Endpoint, address: str, begin: Callable[[], T], deadline: float
) -> tuple[T, OSError | None]:
    """Lead a conversation with `endpoint` at one address, or through its proxy, until the loop's clock says `deadline`.

    It comes from the source address. Of a proxy, one address after the other is tried until one answers; at each,
    `begin` begins it anew. Returns the last one, and what `converse` does.
    """
    if endpoint.proxy is None:
        talk = begin()
        return talk, await converse(talk, address, endpoint.port, deadline, endpoint.source_address)
    left = deadline - asyncio.get_running_loop().time()
    addresses = _chosen(await resolve(endpoint.proxy.host, left, deadline), endpoint)
    if isinstance(addresses, Unreachable):
        return begin(), NotResolvedError(addresses)
    return await _converse_through(endpoint.proxy, addresses, endpoint.source_address, begin, deadline)


async def _converse_through(
    proxy: Proxy, addresses: Sequence[str], source: str | None, begin: Callable[[], T], deadline: float
) -> tuple[T, OSError | None]:
    """Try the addresses of a proxy, at least one, each with an equal share of the time left."""
    tried = addresses[:MOST_ADDRESSES]
    for left, address in zip(range(len(tried), 0, -1), tried, strict=True):
        now, talk = asyncio.get_running_loop().time(), begin()
        heard = _Heard(talk)
        error = await converse(heard, address, proxy.port, now + (deadline - now) / left, source)
        if heard.answered:
            break
    return talk, error


def handshake_with(endpoint: Endpoint, address: str, own: OwnFiles, *, goes_on: bool = False) -> Handshake:
    """Return a handshake with `endpoint` at one address, behind all that is said before it."""
    return Handshake(
        address,
        endpoint.verified_name if endpoint.sni else "",
        endpoint.minimum_version,
        endpoint.key_type,
        preamble=preamble_to(endpoint, own.credentials),
        goes_on=goes_on,
        own=shown_beside(own.identity, endpoint.key_type),
        alpn=ALPN.get(endpoint.protocol, b""),
        agrees=begins_in_the_clear(endpoint.protocol),
    )


async def _look_at(address: str, endpoint: Endpoint, own: OwnFiles, deadline: float) -> EndpointOutcome:
    handshake = handshake_with(endpoint, address, own)
    error = await converse(handshake, address, endpoint.port, deadline, endpoint.source_address)
    return _outcome(handshake, address, endpoint, error)


def _look_at_blocking(address: str, endpoint: Endpoint, own: OwnFiles, deadline: float) -> EndpointOutcome:
    handshake = handshake_with(endpoint, address, own)
    error = converse_blocking(handshake, address, endpoint.port, deadline, endpoint.source_address)
    return _outcome(handshake, address, endpoint, error)


async def _look_through(
    proxy: Proxy, addresses: Sequence[str], endpoint: Endpoint, own: OwnFiles, deadline: float
) -> EndpointOutcome:
    """Look through the first address of a proxy that answers."""
    begin = partial(handshake_with, endpoint, endpoint.host, own)
    handshake, error = await _converse_through(proxy, addresses, endpoint.source_address, begin, deadline)
    return _outcome_through(proxy, handshake, endpoint, error)


def _look_through_blocking(
    proxy: Proxy, addresses: Sequence[str], endpoint: Endpoint, own: OwnFiles, deadline: float
) -> EndpointOutcome:
    tried = addresses[:MOST_ADDRESSES]
    for left, address in zip(range(len(tried), 0, -1), tried, strict=True):
        now, handshake = time.monotonic(), handshake_with(endpoint, endpoint.host, own)
        until = now + (deadline - now) / left
        error = converse_blocking(handshake, address, proxy.port, until, endpoint.source_address)
        if handshake.answered:
            break
    return _outcome_through(proxy, handshake, endpoint, error)


def _outcome_through(proxy: Proxy, handshake: Handshake, endpoint: Endpoint, error: OSError | None) -> EndpointOutcome:
    outcome = _outcome(handshake, endpoint.host, endpoint, error)
    if isinstance(outcome, Presented) or handshake.answered or outcome.reason is UnreachableReason.PROXY_FAILED:
        return outcome
    return _of_proxy(proxy, endpoint, outcome)


def _of_proxy(proxy: Proxy, endpoint: Endpoint, failed: Unreachable) -> Unreachable:
    """Return a failure as that of the proxy, which did not say anything."""
    detail = sentence("the proxy {}: {}", harmless(proxy.url), failed.detail)
    return Unreachable(harmless(endpoint.host), UnreachableReason.PROXY_FAILED, detail)


def _outcome(handshake: Handshake, address: str, endpoint: Endpoint, error: OSError | None) -> EndpointOutcome:
    if error is None or (handshake.is_asked and not isinstance(error, TimeoutError)):
        return handshake.end()
    return handshake.outcome or handshake.presented or _unreachable(address, endpoint, error, handshake)


def _time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _unreachable(address: str, endpoint: Endpoint, error: OSError, handshake: Handshake) -> Unreachable:
    if isinstance(error, TimeoutError) and error.errno is None:
        hint = f": the server said nothing; {SPEAKS_NOT_IN_THE_CLEAR}" if handshake.is_unheard else ""
        detail = sentence("no complete handshake within {:g} s{}", endpoint.timeout, harmless(hint))
        return Unreachable(harmless(address), UnreachableReason.TIMED_OUT, detail)
    reason = _REASONS.get(error.errno or 0, UnreachableReason.IO_ERROR)
    detail = why_of(error)
    if error.errno == errno.EADDRNOTAVAIL and endpoint.source_address is not None:
        detail = sentence("this host does not have the source address {}", harmless(endpoint.source_address))
    if reason is UnreachableReason.CONNECTION_RESET and handshake.is_unheard:
        detail = sentence("{}: the server said nothing; {}", detail, harmless(SPEAKS_NOT_IN_THE_CLEAR))
    elif reason is UnreachableReason.CONNECTION_RESET and not handshake.answered:
        detail = sentence("{}: the server took a TLS hello and said nothing; {}", detail, harmless(SAYS_NOTHING))
    return Unreachable(harmless(address), reason, detail)
