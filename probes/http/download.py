"""Fetching what lies at a URL, over a real socket, in an event loop: bounded, and only from where it is permitted.

Nothing is verified: whatever is fetched so must prove itself, as what a CA has signed does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urljoin, urlsplit

from config.address import is_dns_name, is_ip_address, join_address
from config.model import Endpoint, Proxy
from config.revocation import HTTPProxy
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import ProxyKind
from probes.http.exchange import Exchange, NoResponse, Request, Response
from probes.observation import Unreachable
from probes.tls.drive import MOST_ADDRESSES, converse, handshake_with, resolve

MOST_REDIRECTS: Final = 5
LONGEST_URL: Final = 2048
_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

Permits = Callable[[str, int], bool]
"""Whether an IP address and a port may be asked."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a download."""

    permits: Permits
    most: int
    """Bytes of the body."""
    seconds: float
    """For all of it, redirects included."""
    proxy: HTTPProxy | None = None
    """It resolves names, and decides about them itself; of a URL with an address, `permits` decides all the same."""


@dataclass(frozen=True, slots=True)
class Place:
    """The parts of a URL."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    @property
    def authority(self) -> str:
        """As in a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else join_address(self.host, self.port)

    @property
    def url(self) -> str:
        """All of it."""
        return f"{self.scheme}://{self.authority}{self.target}"


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was fetched, and why, a clause."""

    why: Printable


def place_at(url: str) -> Place | Refused:
    """Return the parts of an HTTP or HTTPS URL; hostile text."""
    shown = printable(url, 200)
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        return Refused(sentence("{} is no URL", shown))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return Refused(sentence("{} is no URL", shown))
    host = parts.hostname or ""
    if parts.scheme not in _PORTS:
        return Refused(sentence("{} is not at http:// or https://", shown))
    if not (is_dns_name(host) or is_ip_address(host)) or "%" in host or "@" in parts.netloc:
        return Refused(sentence("{} names no host", shown))
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, target)


async def download(url: str, terms: Terms, request: Request) -> Response | Refused:
    """Return the answer of the server at `url`, or why there is none; redirects are followed, each under the terms.

    Where a name has one address that is not permitted, none is asked; the name is resolved once only, so that what is
    asked is what was permitted.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + terms.seconds
    request = replace(request, keeps=terms.most)
    for _ in range(MOST_REDIRECTS + 1):
        place = place_at(url)
        if isinstance(place, Refused):
            return place
        answer = await _ask(place, terms, request, deadline)
        if isinstance(answer, NoResponse):
            return Refused(sentence("{}: {}", printable(place.authority), printable(answer.why, 300)))
        if isinstance(answer, Refused):
            return answer
        if answer.status not in _REDIRECTS or answer.location is None:
            return answer
        try:
            url = urljoin(place.url, answer.location)
        except ValueError:
            return Refused(sentence("{} redirects to no URL", printable(place.authority)))
    return Refused(sentence("{}: more than {} redirects", printable(url, 200), MOST_REDIRECTS))


async def _ask(place: Place, terms: Terms, request: Request, deadline: float) -> Response | NoResponse | Refused:
    """Ask at the first address that answers."""
    through = terms.proxy
    if is_ip_address(place.host) and not terms.permits(place.host, place.port):
        return _not_permitted(place)
    host, port = (place.host, place.port) if through is None else (through.host, through.port)
    addresses = await resolve(host, terms.seconds, deadline)
    if isinstance(addresses, Unreachable):
        return NoResponse(addresses.detail)
    if through is None and not all(terms.permits(each, port) for each in addresses):
        return _not_permitted(place)
    answer: Response | NoResponse = NoResponse("the name has no address")
    for left, address in zip(range(min(len(addresses), MOST_ADDRESSES), 0, -1), addresses, strict=False):
        # One that is silent leaves the others their share of the time.
        now = asyncio.get_running_loop().time()
        answer = await _ask_at(address, port, place, terms, request, now + (deadline - now) / left)
        if isinstance(answer, Response):
            break
    return answer


def _not_permitted(place: Place) -> Refused:
    return Refused(
        sentence("{} is at an address that revocation.fetch.allow does not have", printable(place.authority))
    )


async def _ask_at(  # noqa: PLR0917 (each is of one request)
    address: str, port: int, place: Place, terms: Terms, request: Request, deadline: float
) -> Response | NoResponse:
    loop = asyncio.get_running_loop()
    handshake, target = None, place.target
    if place.scheme == "https":
        proxy = None if terms.proxy is None else Proxy(ProxyKind.HTTP, terms.proxy.host, terms.proxy.port)
        handshake = handshake_with(Endpoint("", place.host, place.port, proxy=proxy), address, goes_on=True)
    elif terms.proxy is not None:
        target = place.url
    try:
        exchange = Exchange(handshake, place.authority, target, loop.time, request)
    except ValueError:
        return NoResponse("the URL cannot stand in a request")
    error = await converse(exchange, address, port, deadline)
    if exchange.outcome is not None or error is None:
        return exchange.end()
    if isinstance(error, TimeoutError) and error.errno is None:
        return NoResponse(f"no whole answer within {terms.seconds:g} s")
    return NoResponse(harmless(os.strerror(error.errno) if error.errno else type(error).__name__))
