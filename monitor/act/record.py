"""The actor's records for people who look: they are read when somebody asks, and not kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from actions.audit import STEPS
from config.text import printable
from monitor.act.connection import talk
from monitor.actor.request import Request, Verb
from monitor.audit import AuditEntry, entries
from monitor.dialect import undated

MOST: Final = 500
"""Records that are given; older ones are told by `certvigil audit`."""
_MOST_READ: Final = 50_000
"""Records of a journal that are read for them; it is compacted before it has so many."""
_WITHIN: Final = 5.0
"""Seconds."""


async def read_audit(socket: str) -> Sequence[AuditEntry] | str:
    """Return the newest records of the actor's journal, the newest first, without single steps; or why not."""
    records = deque[dict[str, object]](maxlen=_MOST_READ)
    try:
        async with asyncio.timeout(_WITHIN), aclosing(talk(socket, Request(Verb.FOLLOW))) as documents:
            async for document in documents:
                if "cannot" in document:
                    return printable(str(document["cannot"]))
                if "here" in document:
                    break
                if "record" in document:
                    records.append(undated(document["record"]))
        told = deque((each for each in entries(records) if each.record["event"] not in STEPS), maxlen=MOST)
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        return printable(f"the actor gave no answer: {error}")
    return tuple(reversed(told))
