"""Signatures of revocation lists in files of which there are too many: they are verified beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from concurrent.futures import Executor

from monitor.state.registry import TargetRegistry
from monitor.state.revocation import try_all
from probes.certificate import Certificate


async def try_lists(registry: TargetRegistry, chains: Iterable[Collection[Certificate]], worker: Executor) -> None:
    """Verify in `worker` some signatures of such lists about these chains, before these are judged."""
    if trials := registry.revocations.untried(chains):
        tried = await asyncio.get_running_loop().run_in_executor(worker, try_all, trials)
        registry.revocations.note_tried(tried)
