"""Fetching what lies at a URL, over a real socket, in an event loop: bounded, and only from where it is permitted.

Nothing is verified: whatever is fetched so must prove itself, as what a CA has signed does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urljoin

from config.address import is_ip_address
from config.immutable import immutable
from config.model import Endpoint, Proxy
from config.text import Printable, printable, sentence
from probes.http.drive import why_no_answer
from probes.http.exchange import Exchange, HTTPRequest, NoResponse, Response
from probes.http.url import MOST_REDIRECTS, REDIRECTS, NoURL, URLParts, url_parts
from probes.observation import Unreachable
from probes.tls.drive import MOST_ADDRESSES, converse, handshake_with, resolve
from probes.tls.own_files import own_files
from probes.tls.preamble.credentials import NoCredentials
from probes.tls.preamble.proxy import PROXY_WANTS_A_USER, basic, why_unwanted

Permits = Callable[[str, int], bool]
"""Whether an IP address and a port may be asked."""


@immutable
class DownloadTerms:
    """The terms of a download."""

    permits: Permits
    most: int
    """Bytes of the body."""
    seconds: float
    """For all of it, redirects included."""
    proxy: Proxy | None = None
    """It resolves names, and decides about them itself; of a URL with an address, `permits` decides all the same."""


@immutable
class Refused:
    """Nothing was fetched, and why, a clause."""

    why: Printable


async def download(url: str, terms: DownloadTerms, request: HTTPRequest) -> Response | Refused:
    """Return the answer of the server at `url`, or why there is none.

    Redirects of a GET are followed, each under the terms; another host is not told the headers of the request.
    Where a name has one address that is not permitted, none is asked; the name is resolved once only, so that what is
    asked is what was permitted.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + terms.seconds
    request = replace(request, keeps=terms.most)
    for _ in range(MOST_REDIRECTS + 1):
        place = url_parts(url)
        if isinstance(place, NoURL):
            return Refused(place.why)
        answer = await _ask(place, terms, request, deadline)
        if isinstance(answer, NoResponse):
            return Refused(sentence("{}: {}", printable(place.authority), printable(answer.why, 300)))
        if isinstance(answer, Refused):
            return answer
        # A question is for the one that it was put to.
        if answer.status not in REDIRECTS or answer.location is None or request.body is not None:
            return answer
        try:
            url = urljoin(place.url, answer.location)
        except ValueError:
            return Refused(sentence("{} redirects to no URL", printable(place.authority)))
        if isinstance(next_place := url_parts(url), URLParts) and next_place.host != place.host:
            # They are about what the other host has.
            request = replace(request, headers=())
    return Refused(sentence("{}: more than {} redirects", printable(url, 200), MOST_REDIRECTS))


async def _ask(
    place: URLParts, terms: DownloadTerms, request: HTTPRequest, deadline: float
) -> Response | NoResponse | Refused:
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


def _not_permitted(place: URLParts) -> Refused:
    return Refused(
        sentence("{} is at an address that revocation.fetch.allow does not have", printable(place.authority))
    )


async def _ask_at(  # noqa: PLR0917 (each is of one request)
    address: str, port: int, place: URLParts, terms: DownloadTerms, request: HTTPRequest, deadline: float
) -> Response | NoResponse:
    loop = asyncio.get_running_loop()
    handshake, target = None, place.target
    endpoint = Endpoint("", place.host, place.port, proxy=terms.proxy)
    own = await own_files(endpoint, deadline)
    if isinstance(own.credentials, NoCredentials):
        return NoResponse(f"the proxy {own.credentials.why}")
    in_the_clear = terms.proxy is not None and place.scheme != "https"
    if place.scheme == "https":
        handshake = handshake_with(endpoint, address, own, goes_on=True)
    elif in_the_clear:
        target = place.url
        if own.credentials is not None:
            # For the proxy alone, which does not pass it on (RFC 9110, 11.7.2).
            request = replace(request, headers=(*request.headers, ("Proxy-Authorization", basic(own.credentials))))
    try:
        exchange = Exchange(handshake, place.authority, target, loop.time, request)
    except ValueError:
        return NoResponse("the URL cannot stand in a request")
    error = await converse(exchange, address, port, deadline)
    if exchange.outcome is None and error is not None:
        return NoResponse(why_no_answer(error, terms.seconds))
    answer = exchange.end()
    # Another code may be the server's own.
    if in_the_clear and isinstance(answer, Response) and answer.status == PROXY_WANTS_A_USER:
        return NoResponse(f"the proxy {why_unwanted(own.credentials)}")
    return answer
