"""Asking an endpoint for everything that it takes, over real sockets, one connection after the other."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from config.immutable import immutable
from config.model import Endpoint
from config.text import Printable, harmless, sentence
from config.vocabulary import TLSVersion
from probes.tls.drive import ALPN, converse_with, why_of
from probes.tls.hello import Choice, Hello, Unclear
from probes.tls.own_files import OwnFiles, own_files
from probes.tls.preamble.behind import Behind, TLSTalk
from probes.tls.preamble.registry import preamble_to
from probes.tls.signature import SignedHandshake
from probes.tls.support import Supported, questions, with_signature

T = TypeVar("T", bound=TLSTalk)

_ENDED: Final = frozenset({errno.ECONNRESET, errno.EPIPE})
"""So some servers end a connection with a client from whom they take nothing."""


@immutable
class Bounds:
    """At most so much for one address."""

    connections: int = 500
    seconds: float = 120.0
    bytes: int = 16 * 1024 * 1024
    """From the server."""
    pause: float = 0.02
    """Seconds between two connections, at least."""


USUAL_BOUNDS: Final = Bounds()


async def inquire(endpoint: Endpoint, address: str, now: float, bounds: Bounds = USUAL_BOUNDS) -> Supported:
    """Return everything that `endpoint` takes at one address, asked from Unix time `now` on within the bounds.

    No connection lasts longer than `endpoint.timeout`, and none but the last completes a handshake.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + bounds.seconds
    name, alpn = endpoint.verified_name if endpoint.sni else "", ALPN.get(endpoint.protocol, b"")
    asked = questions()
    own = await own_files(endpoint, loop.time() + min(endpoint.timeout, bounds.seconds))
    proposal = next(asked)
    connections = received = 0
    while True:
        exhausted = _exhausted(bounds, connections, received, deadline - loop.time())
        if exhausted is not None:
            choice: Choice = Unclear(exhausted)
        else:
            connections += 1
            hello = partial(Hello, proposal, name, os.urandom(32), alpn)
            talk, error = await _converse(hello, own, endpoint, address, deadline)
            choice = _choice(talk, error)
            received += talk.received
            await asyncio.sleep(bounds.pause)
        try:
            proposal = asked.send(choice)
        except StopIteration as over:
            versions, unclear = over.value
            break
    supported = Supported(harmless(address), versions, tuple(dict.fromkeys(unclear)), connections, now)
    modern = bool(versions) and versions[0].version == TLSVersion.TLS1_3
    if modern and _exhausted(bounds, connections, received, deadline - loop.time()) is None:
        signed, _ = await _converse(partial(SignedHandshake, name, alpn), own, endpoint, address, deadline)
        return with_signature(replace(supported, connections=connections + 1), signed.talk.outcome)
    return supported


def _exhausted(bounds: Bounds, connections: int, received: int, seconds: float) -> Printable | None:
    if connections >= bounds.connections:
        return sentence("is not asked in more than {} connections", bounds.connections)
    if received >= bounds.bytes:
        return sentence("is not heard for more than {} bytes", bounds.bytes)
    if seconds <= 0:
        return sentence("is not asked for longer than {:g} s", bounds.seconds)
    return None


async def _converse(
    begin: Callable[[], T], own: OwnFiles, endpoint: Endpoint, address: str, deadline: float
) -> tuple[Behind[T], OSError | None]:
    until = min(deadline, asyncio.get_running_loop().time() + endpoint.timeout)
    return await converse_with(
        endpoint, address, lambda: Behind(preamble_to(endpoint, own.credentials), begin()), until
    )


def _choice(talk: Behind[Hello], error: OSError | None) -> Choice:
    if talk.declined:
        return Unclear(harmless(talk.declined))
    if talk.talk.outcome is not None:
        return talk.talk.outcome
    if not talk.has_begun:
        return Unclear(Printable("ends the connection before TLS begins"))
    if error is None or error.errno in _ENDED:
        return talk.talk.end()
    if isinstance(error, TimeoutError) and error.errno is None:
        return Unclear(Printable("does not answer in time"))
    return Unclear(sentence("cannot be reached ({})", why_of(error)))
