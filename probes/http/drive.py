"""Asking an endpoint over a real socket, in an event loop."""

from __future__ import annotations

import asyncio

from config.immutable import immutable
from config.model import Endpoint
from probes.http.exchange import JUST_ASKING, MOST_BODY, Exchange, HTTPRequest, NoResponse, Response, Times
from probes.http.url import authority
from probes.observation import Presented
from probes.tls.drive import converse_with, handshake_with, why_of
from probes.tls.own_files import own_files


@immutable
class Fetched:
    """The answer of one address, its chain in the same connection, and the time of each part."""

    address: str
    presented: Presented | None
    answer: Response | NoResponse
    seconds: dict[str, float]
    """Of connect, tls, processing and transfer; parts that were not reached are absent."""


async def fetch(
    address: str,
    endpoint: Endpoint,
    target: str,
    seconds: float,
    *,
    keeps_body: bool = False,
    secured: bool = True,
) -> Fetched:
    """Return the answer of `address` of `endpoint` to a GET of `target`, a path and perhaps a query, within `seconds`.

    Through the endpoint's proxy, where it has one; without TLS unless it is `secured`. Raises ValueError where
    `target` cannot stand in a request.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    deadline = begun + max(0.0, seconds)
    own = await own_files(endpoint, deadline)
    request = HTTPRequest(keeps=MOST_BODY) if keeps_body else JUST_ASKING

    def begin() -> Exchange:
        handshake = handshake_with(endpoint, address, own, goes_on=True) if secured else None
        return Exchange(handshake, _host(endpoint, secured=secured), target, loop.time, request)

    exchange, error = await converse_with(endpoint, address, begin, deadline)
    answer = exchange.end() if error is None else exchange.outcome or exchange.end(why_no_answer(error, seconds))
    presented = exchange.presented
    return Fetched(
        address, presented if isinstance(presented, Presented) else None, answer, _parts(begun, exchange.times)
    )


def _host(endpoint: Endpoint, *, secured: bool) -> str:
    name, _, _zone = endpoint.verified_name.partition("%")
    return authority(name, endpoint.port, "https" if secured else "http")


def why_no_answer(error: OSError, seconds: float) -> str:
    """Return why there was no whole answer, for which there were so many seconds."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"no whole answer within {seconds:g} s"
    return why_of(error)


def _parts(begun: float, times: Times) -> dict[str, float]:
    moments = (begun, times.connected, times.secured, times.answering, times.over)
    parts: dict[str, float] = {}
    for name, start, end in zip(("connect", "tls", "processing", "transfer"), moments, moments[1:], strict=False):
        if start is None or end is None:
            break
        parts[name] = end - start
    return parts
