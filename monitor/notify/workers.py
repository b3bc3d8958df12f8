"""A bounded number of workers: a delivery that hangs occupies one of them for a while, and never all."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from monitor.notify.deliver import Message, Receipt, SendOutcome
from monitor.notify.worker import DeliveryWorker

MOST: Final = 8
"""Deliveries at the same time, one to each URL."""
_DOUBTFUL: Final = 4
"""Of these, deliveries to URLs that did not take their last message."""
_SOON: Final = 0.3
"""Seconds to wait for a busy worker: the start of another worker takes longer."""
TIMEOUT: Final = 30.0
"""Seconds for a delivery, and for a heartbeat."""
_STARTING: Final = 60.0
"""Seconds in which a worker loads its modules, on a busy host."""
_IDLE: Final = 60.0
"""Seconds after which the workers are let go, each of which holds 50 MB."""


class DeliveryWorkers:
    """Delivers beside the event loop, on which its methods are called."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MOST + 1, "deliver")
        self._all: list[DeliveryWorker] = []
        self._idle: asyncio.LifoQueue[DeliveryWorker] = asyncio.LifoQueue()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._places_for_doubtful = asyncio.Semaphore(_DOUBTFUL)
        self._doubtful: set[str] = set()
        self._pacemaker = DeliveryWorker()
        self._tidying: asyncio.TimerHandle | None = None
        self._preparing: asyncio.Task[None] | None = None

    async def deliver(self, message: Message, url: str) -> Receipt:
        """Deliver `message` to `url`, and return the result."""
        async with self._turns[url]:
            if url not in self._doubtful:
                receipt = await self._deliver(message, url)
            else:
                async with self._places_for_doubtful:
                    receipt = await self._deliver(message, url)
            (self._doubtful.discard if receipt.outcome is SendOutcome.DELIVERED else self._doubtful.add)(url)
            return receipt

    def make_ready(self) -> None:
        """Have one worker load its modules meanwhile, where none has: something will soon be delivered."""
        idle = self._preparing is None or self._preparing.done()
        if idle and not any(worker.pid for worker in self._all):
            self._preparing = asyncio.get_running_loop().create_task(
                self._send(lambda worker: worker.prepare(_STARTING))
            )

    async def beat(self, url: str) -> Receipt:
        """Call the URL of a heartbeat, also while all workers are busy."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._pacemaker.beat, url, TIMEOUT)

    def end(self) -> None:
        """End every delivery, and begin none any more."""
        for waiting in (self._tidying, self._preparing):
            if waiting is not None:
                waiting.cancel()
        for each in (*self._all, self._pacemaker):
            each.end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _deliver(self, message: Message, url: str) -> Receipt:
        receipts: list[Receipt] = []
        await self._send(lambda worker: receipts.append(worker.deliver(message, url, TIMEOUT)))
        return receipts[0]

    async def _send(self, work: Callable[[DeliveryWorker], object]) -> None:
        worker = await self._free()
        # A worker whose work nobody waits for any more is not free.
        await asyncio.get_running_loop().run_in_executor(self._threads, work, worker)
        self._idle.put_nowait(worker)
        if self._tidying is not None:
            self._tidying.cancel()
        self._tidying = asyncio.get_running_loop().call_later(_IDLE, self._tidy)

    async def _free(self) -> DeliveryWorker:
        if self._all:
            try:
                async with asyncio.timeout(_SOON):
                    return await self._idle.get()
            except TimeoutError:
                pass
        if len(self._all) >= MOST:
            return await self._idle.get()
        self._all.append(DeliveryWorker())
        return self._all[-1]

    def _tidy(self) -> None:
        if self._idle.qsize() == len(self._all):
            for each in self._all:
                each.rest()
