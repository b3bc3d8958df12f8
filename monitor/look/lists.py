"""Fetching revocation lists: one request for each URL, whatever the number of certificates that name it.

Only certificates on a path that ends in a configured trust store have their lists fetched. A list counts once the CA
on that path has signed it. A failure is nobody's news while a valid list is left.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from itertools import chain, islice, pairwise, product
from typing import Final

from config.reach import is_public
from config.revocation import Fetching
from config.text import Log, Printable, printable, sentence
from config.vocabulary import TargetKind
from monitor.batched import batched
from monitor.host.schedule import spread
from monitor.look.list_cache import MOST_IN_ALL, FetchedFrom, FetchedList, ListCache
from monitor.look.rounds import Rounds
from monitor.state.events import PresentedChanged, StateEvent, TargetRemoved
from monitor.state.registry import TargetRegistry
from monitor.state.target import TargetState
from monitor.state.trust import TrustContext
from probes.certificate import Certificate
from probes.container.registry import open_unsealed
from probes.http.download import Refused, Terms, download
from probes.http.exchange import Request, Response
from probes.judge.client import View, judge_chain, leaf_first
from probes.revocation.crl import RevocationList, lists_in
from probes.revocation.evidence import Evidence
from probes.revocation.places import delta_urls, list_urls
from probes.revocation.status import is_revoked_by_nobody, why_not

log: Log = logging.getLogger("certvigil.revocation")

AT_ONCE: Final = 4
"""Requests."""
MOST_URLS: Final = 2000
MOST_OF_ONE: Final = 4
"""URLs of lists in one certificate that are fetched; and as many of delta lists."""
MOST_ISSUERS: Final = 8
"""With the name and the place of one list."""
FIRST_AGAIN: Final = 60.0
"""Seconds from a failure to the next attempt; twice as many after each further one, up to `every`."""
TOLD_AFTER: Final = 3
"""Failures in a row, from which on it is told that no list can be had."""
SHARE: Final = 0.75
"""Of the time that a list is valid, after which the next one is asked for."""
_WEB_PORTS: Final = frozenset({80, 443})
_SETTLE: Final = 1.0
"""Seconds in which further certificates may come before their lists are looked for."""

BATCH: Final = 64
"""Targets whose lists are looked for at once."""
TIDY_AFTER: Final = 3600.0
"""Seconds between two times at which lists are removed from the disk that nobody wants any more."""

Wanted = tuple[tuple[str, Certificate], ...]
"""URLs of lists, each with a CA that may have signed the list there."""


@dataclass(slots=True)
class _Source:
    """One URL, and how fetching from it went."""

    issuers: tuple[Certificate, ...]
    held: FetchedList | None = None
    failures: int = 0
    """In a row."""
    why: Printable = field(default_factory=lambda: Printable(""))
    """Of the last failure."""


class ListFetcher:
    """Fetches the lists of the certificates that are presented, where the configuration lets it."""

    def __init__(self, registry: TargetRegistry, worker: Executor, hasten: Callable[[Iterable[str]], None]) -> None:
        """Read, write and verify in `worker`; `hasten` has endpoints judged anew that a list is about."""
        self._registry = registry
        self._worker = worker
        self._hasten = hasten
        self._cache = ListCache(registry.config.settings.state_directory)
        self._sources: dict[str, _Source] = {}
        self._kept: dict[str, FetchedList] | None = None
        """Of the disk, until it is known that somebody names their URL; None before they are read."""
        self._tidied = time.monotonic()
        self._wanted: dict[str, Wanted] = {}
        """By target."""
        self._changed: set[str] | None = None
        """Targets that present others than before; None where all are to be seen anew."""
        self._rounds = Rounds(self._begin, lambda _url: FIRST_AGAIN)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def _fetching(self) -> Fetching | None:
        fetching = self._registry.config.settings.revocation.fetch
        return fetching if fetching is not None and fetching.crls else None

    def take(self, events: Iterable[StateEvent]) -> None:
        """See which lists are wanted now that other certificates are presented."""
        if self._fetching is None:
            return
        changed = {each.target for each in events if isinstance(each, PresentedChanged | TargetRemoved)}
        if changed and self._changed is not None:
            self._changed |= changed
            self._wake.set()

    def reconfigure(self) -> None:
        """Go by another configuration, or other trust stores."""
        self._changed = None
        self._wake.set()

    async def run(self) -> None:
        """Fetch lists when they are due, until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._rounds.run())
            both.create_task(self._keep_wanting())

    async def _keep_wanting(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._see()
            await asyncio.sleep(_SETTLE)

    async def _see(self) -> None:
        """See which lists the targets want that present others than before."""
        registry, loop = self._registry, asyncio.get_running_loop()
        changed, self._changed = self._changed, set()
        if self._fetching is None:
            self._wanted.clear()
        else:
            if self._kept is None:
                self._kept = dict(await loop.run_in_executor(self._worker, self._cache.read))
            if changed is None:
                self._wanted.clear()
            states = [
                registry.targets[each]
                for each in (registry.targets if changed is None else changed)
                if each in registry.targets
            ]
            for each in changed or ():
                self._wanted.pop(each, None)
            for batch in batched(states, BATCH):
                found = await loop.run_in_executor(self._worker, _wanted_by_all, batch, registry.trust_context)
                self._wanted.update((name, wanted) for name, wanted in found.items() if name in registry.targets)
        self._go_by(joined(self._wanted.values()))
        await self._tidy()

    async def _tidy(self) -> None:
        """Remove lists from the disk that nobody has wanted for long."""
        now = time.monotonic()
        if self._sources and now - self._tidied >= TIDY_AFTER:
            self._tidied, self._kept = now, {}
            urls = frozenset(self._sources)
            await asyncio.get_running_loop().run_in_executor(self._worker, self._cache.keep_only, urls)

    def _go_by(self, found: Mapping[str, tuple[Certificate, ...]]) -> None:
        for url in tuple(self._sources):
            if url not in found:
                del self._sources[url]
                self._rounds.forget(url)
        for url, issuers in found.items():
            source = self._sources.get(url)
            if source is None:
                held = self._kept.pop(url, None) if self._kept is not None else None
                self._sources[url] = source = _Source(issuers, held)
                self._rounds.hasten([url], time.monotonic() + self._pause(url, source))
            elif source.issuers != issuers:
                source.issuers = issuers
                if source.held is None:
                    self._rounds.hasten([url])
        self._show()

    def _show(self) -> None:
        """Let everybody judge by what is at hand."""
        lists = tuple(each.held.known for each in self._sources.values() if each.held is not None)
        failed = {url: each.why for url, each in self._sources.items() if each.failures >= TOLD_AFTER}
        self._registry.revocations.take(Evidence(lists, failed))

    def _pause(self, url: str, source: _Source) -> float:
        """Return the seconds until a list is asked for: each has its own, so that requests do not come all at once."""
        fetching = self._fetching
        if fetching is None:
            return 0.0
        if source.failures:
            again: float = min(FIRST_AGAIN * 2 ** (source.failures - 1), fetching.every)
            return again / 2 + spread(f"{self._registry.config.host} {url} {source.failures}", again)
        if source.held is None:
            return spread(f"{self._registry.config.host} {url}", min(5.0, len(self._sources) / AT_ONCE))
        known, now = source.held.known, time.time()
        lasts = (known.next_update or now) - (known.this_update or now)
        until = min(source.held.origin.at + fetching.every, (known.this_update or now) + max(SHARE * lasts, 1.0))
        whole = max(until - now, min(FIRST_AGAIN, fetching.every))
        return 0.9 * whole + spread(f"{self._registry.config.host} {url}", 0.1 * whole)

    def _begin(self, url: str, _due: float) -> Coroutine[None, None, None] | None:
        source, fetching = self._sources.get(url), self._fetching
        return None if source is None or fetching is None else self._fetch(url, source, fetching)

    async def _fetch(self, url: str, source: _Source, fetching: Fetching) -> None:
        async with self._places:
            answer = await download(url, terms_of(fetching), _request(source.held))
        loop, now = asyncio.get_running_loop(), time.time()
        taken = await loop.run_in_executor(self._worker, self._taken, url, source, answer, now)
        if self._sources.get(url) is not source:
            return
        if isinstance(taken, FetchedList):
            self._take(source, taken)
        else:
            source.failures, source.why = source.failures + 1, taken
            level = logging.WARNING if source.failures == TOLD_AFTER else logging.DEBUG
            log.log(level, "the revocation list at %s cannot be had: %s", printable(url, 200), taken)
        self._show()
        self._rounds.hasten([url], time.monotonic() + self._pause(url, source))

    def _taken(self, url: str, source: _Source, answer: Response | Refused, now: float) -> FetchedList | Printable:
        """Return the list that an answer gives, or why it gives none; the list is on disk then."""
        held = source.held
        if isinstance(answer, Refused):
            return answer.why
        if answer.status == 304 and held is not None:
            taken = FetchedList(held.known, replace(held.origin, at=now))
        elif answer.status != 200:
            return sentence("the server answers with the status {}", answer.status)
        else:
            known = newest_valid(answer.body, source.issuers, now)
            if not isinstance(known, RevocationList):
                return known
            if held is not None and known.age_order < held.known.age_order:
                return Printable("the server gives an older list than before")
            taken = FetchedList(known, FetchedFrom(url, now, answer.etag, answer.last_modified))
        if why := self._why_unusable(taken.known, source, now):
            return why
        changed = held is None or held.known != taken.known
        others = sum(len(each.held.known.der) for each in self._sources.values() if each.held and each is not source)
        if changed and others + len(taken.known.der) > MOST_IN_ALL:
            return sentence("all revocation lists together would have more than {} bytes", MOST_IN_ALL)
        try:
            self._cache.write(taken, with_list=changed)
        except OSError as error:
            log.warning("a revocation list cannot be kept on disk: %s", printable(error.strerror or str(error), 200))
        return taken

    @staticmethod
    def _why_unusable(known: RevocationList, source: _Source, now: float) -> Printable:
        """Say why a list is of no use; empty where one of the CAs has signed it, and it is valid."""
        whys = [why_not(known, each, now) for each in source.issuers]
        return Printable("") if not all(whys) else whys[0]

    def _take(self, source: _Source, taken: FetchedList) -> None:
        before = source.held
        source.held, source.failures, source.why = taken, 0, Printable("")
        if before is None or before.known != taken.known:
            log.debug("fetched the revocation list of %s", taken.known.issuer)
            self._show()
            self._hasten(self._concerned(taken.known))

    def _concerned(self, known: RevocationList) -> Iterator[str]:
        """Yield the endpoints that present a certificate of a list's issuer."""
        for state in tuple(self._registry.targets.values()):
            if state.kind is TargetKind.ENDPOINT and any(
                each.outline().issuer == known.issuer_name for each in state.presented
            ):
                yield state.target


def terms_of(fetching: Fetching) -> Terms:
    """Return the terms of each download: public addresses at the ports of the web, and those that are allowed."""

    def permits(address: str, port: int) -> bool:
        if port in _WEB_PORTS and is_public(address):
            return True
        return any(each.covers(address, port) for each in fetching.allow)

    return Terms(permits, fetching.largest * 1024 * 1024, fetching.timeout, fetching.proxy)


def _request(held: FetchedList | None) -> Request:
    """Return a request that is answered shortly where the list is the same as before (RFC 9110, 13)."""
    if held is None:
        return Request()
    headers: list[tuple[str, str]] = []
    if held.origin.etag is not None:
        headers.append(("If-None-Match", held.origin.etag))
    if held.origin.modified is not None:
        headers.append(("If-Modified-Since", formatdate(held.origin.modified, usegmt=True)))
    return Request(tuple(headers))


def newest_valid(body: bytes, issuers: Iterable[Certificate], now: float) -> RevocationList | Printable:
    """Return the newest list in the body of an answer that one of the CAs has signed and that is valid, or why not."""
    found = lists_in(open_unsealed(body).lists)
    if not found:
        return Printable("the answer is no revocation list")
    why = Printable("")
    for each in sorted(found, key=lambda known: known.age_order, reverse=True):
        whys = [why_not(each, issuer, now) for issuer in issuers]
        if not all(whys):
            return each
        why = why or whys[0]
    return why


def joined(wanted: Iterable[Wanted]) -> Mapping[str, tuple[Certificate, ...]]:
    """Return the CAs that may have signed the list at each URL, of at most `MOST_URLS`."""
    found: dict[str, dict[Certificate, None]] = {}
    for url, issuer in dict.fromkeys(chain.from_iterable(wanted)):
        if url in found or len(found) < MOST_URLS:
            found.setdefault(url, {})[issuer] = None
    return {url: tuple(islice(issuers, MOST_ISSUERS)) for url, issuers in found.items()}


def _wanted_by_all(states: Iterable[TargetState], trust_context: TrustContext) -> Mapping[str, Wanted]:
    now = time.time()
    return {each.target: wanted_by(each, trust_context, now) for each in states}


def wanted_by(state: TargetState, trust_context: TrustContext, now: float) -> Wanted:
    """Return the lists about the certificates that a target presents, on paths that end in a trust store."""
    elsewhere = tuple(trust_context.trusts.values())
    found: dict[tuple[str, Certificate], None] = {}
    presented = dict.fromkeys(leaf_first(each) for each in (state.presented, *(one.chain for one in state.addresses)))
    for view, shown in product(_views(state, trust_context), filter(None, presented)):
        path = judge_chain(shown, view, now, elsewhere).path
        if not view.trust.holds(path[-1]):
            continue
        for certificate, issuer in pairwise(path):
            if not is_revoked_by_nobody(certificate):
                urls = (*islice(list_urls(certificate), MOST_OF_ONE), *islice(delta_urls(certificate), MOST_OF_ONE))
                found |= {(url, issuer): None for url in urls}
    return tuple(found)


def _views(state: TargetState, trust_context: TrustContext) -> tuple[View, ...]:
    """Return the clients by whose trust stores the certificates of a target are judged."""
    config = trust_context.config
    if state.kind is TargetKind.ENDPOINT:
        endpoint = config.endpoints.get(state.target)
        return () if endpoint is None else trust_context.views(endpoint.clients)
    component = config.components.get(state.component or "")
    return () if component is None else trust_context.views(component.clients)
