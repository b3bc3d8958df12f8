"""Asking the actor over its Unix socket, on the event loop."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from config.text import Log, printable
from monitor.actor.client import longest_act
from monitor.actor.request import Document, Request, Verb, encode
from monitor.state.registry import TargetRegistry

log: Log = logging.getLogger("certvigil.act")

LONGEST_ANSWER: Final = 4 * 2**20
"""Bytes of a document."""
LONGEST_ANSWER_AFTER: Final = 120.0
"""Seconds until the last document of an answer, unless something is carried out: other acts may hold it up."""


async def talk(socket: str, request: Request, *, silence: float | None = None) -> AsyncGenerator[Document]:
    """Yield each document with which the actor at a socket answers; raises OSError, ValueError.

    It counts as gone after so many seconds of silence.
    """
    reader, writer = await asyncio.open_unix_connection(socket, limit=LONGEST_ANSWER)
    try:
        writer.write(encode(request))
        await writer.drain()
        while True:
            async with asyncio.timeout(silence):
                line = await reader.readline()
            if not line:
                return
            yield json.loads(line)
    finally:
        writer.close()


class ActorConnection:
    """The actor that the configuration in force names: one connection for each request."""

    def __init__(self, registry: TargetRegistry) -> None:
        self._registry = registry

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return self._registry.config.settings.actor.socket

    async def ask(self, request: Request) -> Document | None:
        """Return the last document of the actor's answer; None where it gives none."""
        answer, acts = None, request.verb is Verb.CARRY_OUT
        patience = longest_act(self._registry.config) if acts else LONGEST_ANSWER_AFTER
        try:
            async with asyncio.timeout(patience) as limit, aclosing(talk(self.socket, request)) as documents:
                async for document in documents:
                    answer = document
                    if acts:
                        # Of a transaction, each step has its time.
                        limit.reschedule(asyncio.get_running_loop().time() + patience)
        except (OSError, ValueError) as error:
            log.warning("the actor gave no answer: %s", printable(str(error)))
        return answer
