"""Fetching what CAs say of revocation: lists, once for each URL, and where it is wanted the answers of responders.

Only for certificates on a path that ends in a configured trust store. What is fetched counts once the CA on that path
has signed it. A failure is nobody's news while something valid is left.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import chain, islice
from typing import Final

from config.immutable import immutable
from config.reach import is_public
from config.revocation import Fetching
from config.text import Log, Printable, harmless
from config.vocabulary import LookOutcome, SourceState, TargetKind
from monitor.batched import batched
from monitor.host.schedule import spread
from monitor.look.job import UNFORESEEN
from monitor.look.list_cache import FetchedList, ListCache
from monitor.look.rounds import Rounds
from monitor.look.sources import AnswerSource, ListSource, Source
from monitor.state.events import PresentedChanged, StateEvent, TargetRemoved
from monitor.state.registry import TargetRegistry
from monitor.state.revocation import issued_pairs
from monitor.state.target import TargetState
from monitor.state.trust import TrustContext
from probes.certificate import Certificate
from probes.http.download import DownloadTerms, Refused, download
from probes.http.exchange import Response
from probes.judge.client import View
from probes.revocation.crl import RevocationList
from probes.revocation.evidence import Evidence, answers_about
from probes.revocation.places import answer_key, delta_urls, list_urls, responder_urls
from probes.revocation.status import is_revoked_by_nobody, tells_of, why_not

log: Log = logging.getLogger("certvigil.revocation")

AT_ONCE: Final = 4
"""Requests."""
MOST_SOURCES: Final = 4000
MOST_OF_ONE: Final = 4
"""URLs of lists in one certificate that are asked; and as many of delta lists, and of responders."""
MOST_ISSUERS: Final = 8
"""With the name and the place of one list."""
FIRST_AGAIN: Final = 60.0
"""Seconds from a failure to the next attempt; twice as many after each further one, up to `every`."""
TOLD_AFTER: Final = 3
"""Failures in a row, from which on it is told that nothing can be had."""
_WEB_PORTS: Final = frozenset({80, 443})
_SETTLE: Final = 1.0
"""Seconds in which further certificates may come before it is looked for what they name."""
BATCH: Final = 64
"""Targets that are seen to at once."""
TIDY_AFTER: Final = 3600.0
"""Seconds between two times at which lists are removed from the disk that nobody wants any more."""


@immutable
class Naming:
    """A certificate, with its CA, and a place that is to be asked about it."""

    url: str
    """Empty where the certificate names no list."""
    certificate: Certificate
    issuer: Certificate
    responder: bool
    """It is a responder's, not that of a list."""


class RevocationFetcher:
    """Asks what the certificates that are presented name, where the configuration lets it."""

    def __init__(
        self,
        registry: TargetRegistry,
        worker: Executor,
        hasten: Callable[[Iterable[str]], None],
        fetched: Callable[[LookOutcome], None] = lambda _outcome: None,
        counted: Callable[[Mapping[SourceState, int]], None] = lambda _numbers: None,
    ) -> None:
        """Read, write and verify in `worker`; `hasten` has endpoints looked at that an answer is about.

        `fetched` counts requests, and `counted` is told how many sources are in each state.
        """
        self._registry = registry
        self._worker = worker
        self._hasten = hasten
        self._fetched = fetched
        self._counted = counted
        self._cache = ListCache(registry.config.settings.state_directory)
        self._sources: dict[str, Source] = {}
        """By key."""
        self._kept: dict[str, FetchedList] | None = None
        """Of the disk, until it is known that somebody names their URL; None before they are read."""
        self._tidied = time.monotonic()
        self._named: dict[str, tuple[Naming, ...]] = {}
        """By target."""
        self._nameless = frozenset[str]()
        """URLs that no certificate names any more, of lists that tell of a certificate still."""
        self._left_out = 0
        """Sources that are not asked, because there are too many."""
        self._changed: set[str] | None = None
        """Targets that present others than before; None where all are to be seen anew."""
        self._rounds = Rounds(self._begin, lambda _key: FIRST_AGAIN)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._wake = asyncio.Event()
        self._wake.set()

    @property
    def _fetching(self) -> Fetching | None:
        fetching = self._registry.config.settings.revocation.fetch
        return fetching if fetching is not None and (fetching.crls or fetching.ocsp) else None

    def take(self, events: Iterable[StateEvent]) -> None:
        """See what is to be asked now that other certificates are presented."""
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
        """Ask when it is due, until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._rounds.run())
            both.create_task(self._keep_seeing())

    async def _keep_seeing(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._see()
            except Exception:
                log.exception("finding the named revocation lists failed for no foreseen reason; it is tried again")
                self.reconfigure()
                await asyncio.sleep(FIRST_AGAIN)
            await asyncio.sleep(_SETTLE)

    async def _see(self) -> None:
        """See which places the targets name that present others than before."""
        registry, loop, fetching = self._registry, asyncio.get_running_loop(), self._fetching
        changed, self._changed = self._changed, set()
        if changed is None or fetching is None:
            self._named.clear()
        for each in changed or ():
            self._named.pop(each, None)
        if fetching is not None:
            if self._kept is None:
                self._kept = dict(await loop.run_in_executor(self._worker, self._cache.read))
            names = tuple(registry.targets) if changed is None else changed
            states = [registry.targets[each] for each in names if each in registry.targets]
            for batch in batched(states, BATCH):
                found = await loop.run_in_executor(self._worker, _named_by_all, batch, registry.trust_context)
                self._named.update((name, named) for name, named in found.items() if name in registry.targets)
        await self._go_by(tuple(dict.fromkeys(chain.from_iterable(self._named.values()))), fetching)
        await self._tidy()

    async def _tidy(self) -> None:
        """Remove lists from the disk that nobody has wanted for long."""
        now = time.monotonic()
        if self._sources and now - self._tidied >= TIDY_AFTER:
            self._tidied, self._kept = now, {}
            keys = frozenset(self._sources)
            await asyncio.get_running_loop().run_in_executor(self._worker, self._cache.keep_only, keys)

    async def _go_by(self, named: Sequence[Naming], fetching: Fetching | None) -> None:
        """Ask the sources that are named, and those whose list counts still; what the configuration lets be asked."""
        held = await self._still_telling(named)
        self._nameless, named = frozenset(each.url for each in held), (*named, *held)
        made: dict[str, Source] = {}
        for source in () if fetching is None else (self._source(each, fetching) for each in named):
            if source is not None:
                made.setdefault(source.key, source)
        # Those that are asked already go on being asked.
        wanted = dict(islice(sorted(made.items(), key=self._rank), MOST_SOURCES))
        self._note_left_out(len(made) - len(wanted))
        for url, issuers in _issuers(named).items():
            source = wanted.get(url)
            if isinstance(source, ListSource) and source.issuers != issuers:
                source.issuers = issuers
                if source.held is None:
                    self._rounds.hasten([url])
        await self._recall([wanted[key] for key in wanted if key not in self._sources])
        for key in self._sources.keys() - wanted.keys():
            self._rounds.forget(key)
            left = self._sources[key]
            if self._kept is not None and isinstance(left, ListSource) and left.held is not None:
                self._kept[key] = left.held
        new = [key for key in wanted if key not in self._sources]
        self._sources = wanted
        for key in new:
            self._rounds.hasten([key], time.monotonic() + self._pause(wanted[key]))
        self._show()

    async def _still_telling(self, named: Sequence[Naming]) -> Sequence[Naming]:
        """Return the lists that are held, and that nobody names, as places of certificates of which they tell."""
        held = {url: each.known for url, each in (self._kept or {}).items()}
        held |= {
            key: each.held.known
            for key, each in self._sources.items()
            if isinstance(each, ListSource) and each.held is not None
        }
        for each in named:
            held.pop(each.url, None)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, _telling, held, named, time.time()) if held else ()

    def _rank(self, made: tuple[str, Source]) -> tuple[bool, bool]:
        """Order sources where there are too many: those first that are named, and are asked already."""
        key, _ = made
        return key in self._nameless, key not in self._sources

    def _note_left_out(self, number: int) -> None:
        if number > self._left_out:
            log.warning("%d revocation lists and responders are asked and no more; %d are not", MOST_SOURCES, number)
        self._left_out = number

    async def _recall(self, new: Iterable[Source]) -> None:
        """Read the answers of before a restart."""
        loop, now = asyncio.get_running_loop(), time.time()
        for batch in batched([each for each in new if isinstance(each, AnswerSource)], BATCH):
            await loop.run_in_executor(self._worker, _recall_all, batch, now)

    def _source(self, naming: Naming, fetching: Fetching) -> Source | None:
        """Return the source that a certificate names, as it is known already or new; None where it is not asked."""
        if not naming.url or not (fetching.ocsp if naming.responder else fetching.crls):
            return None
        if naming.responder and not (naming.certificate.is_strict and naming.issuer.is_strict):
            # The library makes no question about what it cannot read.
            return None
        key = answer_key(naming.url, naming.certificate) if naming.responder else naming.url
        if (known := self._sources.get(key)) is not None:
            return known
        if naming.responder:
            return AnswerSource(naming.url, naming.certificate, naming.issuer, self._cache)
        held = self._kept.pop(naming.url, None) if self._kept is not None else None
        return ListSource(naming.url, (naming.issuer,), self._cache, held)

    def _show(self) -> None:
        """Let everybody judge by what is at hand."""
        sources = tuple(each for each in self._sources.values() if not self._has_ended(each))
        self._counted({**Counter(map(_state_of, sources)), SourceState.LEFT_OUT: self._left_out})
        lists = [(each.held.known, each) for each in sources if isinstance(each, ListSource) and each.held is not None]
        told = [each for each in sources if isinstance(each, AnswerSource) and each.held]
        answers = answers_about((each.certificate.sha256, each.held) for each in told)
        failed = {each.key: each.why for each in sources if each.failures >= TOLD_AFTER}
        # One that nobody names is left out once it has ended: a certificate that names no list lacks none.
        awaited = {known.sha256 for known, each in lists if each.failures < TOLD_AFTER or each.key in self._nameless}
        awaited |= {each.sha256 for each in told if each.failures < TOLD_AFTER}
        known = tuple(each for each, _ in lists)
        self._registry.revocations.take(Evidence(known, failed, answers, frozenset(awaited)))

    def _has_ended(self, source: Source) -> bool:
        """Whether it is a list that nobody names, and that should have been followed by another."""
        if source.key not in self._nameless or not isinstance(source, ListSource) or source.held is None:
            return False
        end = source.held.known.next_update
        return end is None or time.time() >= end + 1

    def _pause(self, source: Source) -> float:
        """Return the seconds until a source is asked: each has its own, so that requests do not come all at once."""
        fetching = self._fetching
        if fetching is None:
            return 0.0
        name = f"{self._registry.config.host} {source.key} {source.failures}"
        if source.failures:
            again: float = min(FIRST_AGAIN * 2 ** min(source.failures - 1, 20), fetching.every)
            return again / 2 + spread(name, again)
        due = source.due(fetching.every)
        if due is None or (whole := due - time.time()) <= 0:
            return spread(name, min(5.0, len(self._sources) / AT_ONCE))
        return 0.9 * whole + spread(name, 0.1 * whole)

    def _begin(self, key: str, _due: float) -> Coroutine[None, None, None] | None:
        source, fetching = self._sources.get(key), self._fetching
        return None if source is None or fetching is None else self._fetch(source, fetching)

    async def _fetch(self, source: Source, fetching: Fetching) -> None:
        try:
            outcome = await self._ask(source, fetching)
        except Exception:
            log.exception("%s: failed for no foreseen reason", source.shown)
            outcome = UNFORESEEN
        if self._sources.get(source.key) is not source:
            return
        try:
            changed = self._learn(source, outcome)
            self._show()
            if changed:
                self._hasten(self._concerned(source))
            if self._has_ended(source):
                self._wake.set()
        finally:
            # Whatever happens, it is asked again.
            self._rounds.hasten([source.key], time.monotonic() + self._pause(source))

    async def _ask(self, source: Source, fetching: Fetching) -> object:
        """Return what a source gives now, or why it gives nothing, a text."""
        terms = terms_of(fetching)
        if source.most is not None:
            terms = replace(terms, most=source.most)
        async with self._places:
            answer = await download(source.url, terms, source.request())
        if isinstance(source, ListSource):
            source.others = self._bytes_beside(source)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, _read, source, answer, time.time())

    def _learn(self, source: Source, outcome: object) -> bool:
        """Take up the outcome of a request; return whether the source has something else to tell now."""
        if isinstance(outcome, str):
            source.failures, source.why = source.failures + 1, harmless(outcome)
            level = logging.WARNING if source.failures == TOLD_AFTER else logging.DEBUG
            log.log(level, "%s cannot be had: %s", source.shown, source.why)
            self._fetched(LookOutcome.FAILED)
            return False
        source.failures, source.why = 0, Printable("")
        changed = source.keep(outcome)  # type: ignore[arg-type]
        self._fetched(LookOutcome.CHANGED if changed else LookOutcome.UNCHANGED)
        if changed:
            log.debug("fetched %s", source.shown)
        return changed

    def _bytes_beside(self, source: Source) -> int:
        return sum(
            len(each.held.known.der)
            for each in self._sources.values()
            if isinstance(each, ListSource) and each.held is not None and each is not source
        )

    def _concerned(self, source: Source) -> Iterator[str]:
        """Yield the endpoints that present a certificate that a source tells of."""
        for state in tuple(self._registry.targets.values()):
            if state.kind is TargetKind.ENDPOINT and any(map(source.tells_of, state.presented)):
                yield state.target


def _read(source: Source, answer: Response | Refused, now: float) -> object:
    """Return what an answer gives, or why it gives nothing, a text."""
    return answer.why if isinstance(answer, Refused) else source.read(answer, now)


def _state_of(source: Source) -> SourceState:
    if source.failures >= TOLD_AFTER:
        return SourceState.FAILED
    return SourceState.HELD if source.held else SourceState.AWAITED


def _recall_all(sources: Iterable[AnswerSource], now: float) -> None:
    for each in sources:
        each.recall(now)


def terms_of(fetching: Fetching) -> DownloadTerms:
    """Return the terms of each download: public addresses at the ports of the web, and those that are allowed."""

    def permits(address: str, port: int) -> bool:
        if port in _WEB_PORTS and is_public(address):
            return True
        return any(each.covers(address, port) for each in fetching.allow)

    return DownloadTerms(permits, fetching.largest * 1024 * 1024, fetching.timeout, fetching.proxy)


def _issuers(named: Iterable[Naming]) -> Mapping[str, tuple[Certificate, ...]]:
    """Return the CAs that may have signed the list at each URL."""
    found: dict[str, dict[Certificate, None]] = {}
    for each in named:
        if each.url and not each.responder:
            found.setdefault(each.url, {})[each.issuer] = None
    return {url: tuple(islice(issuers, MOST_ISSUERS)) for url, issuers in found.items()}


def _telling(held: Mapping[str, RevocationList], named: Iterable[Naming], now: float) -> Sequence[Naming]:
    """Return each list that is valid at Unix time `now`, as a place of a certificate that names no list.

    `held` are lists by their URL. A certificate that names another one has that one.
    """
    by_name: dict[bytes, dict[tuple[Certificate, Certificate], None]] = {}
    for each in named:
        if not each.url:
            by_name.setdefault(each.certificate.outline().issuer, {})[each.certificate, each.issuer] = None
    found: list[Naming] = []
    for url, known in held.items():
        issuers: dict[Certificate, Certificate] = {}
        for certificate, issuer in by_name.get(known.issuer_name, ()):
            if issuer not in issuers and tells_of(known, certificate):
                issuers[issuer] = certificate
        found += (
            Naming(url, certificate, issuer, responder=False)
            for issuer, certificate in issuers.items()
            if not why_not(known, issuer, now)
        )
    return found


def _named_by_all(states: Iterable[TargetState], trust_context: TrustContext) -> Mapping[str, tuple[Naming, ...]]:
    now = time.time()
    return {each.target: tuple(dict.fromkeys(named_by(each, trust_context, now))) for each in states}


def named_by(state: TargetState, trust_context: TrustContext, now: float) -> Iterator[Naming]:
    """Yield the places that certificates of a target name, of those on paths that end in a trust store."""
    elsewhere = tuple(trust_context.trusts.values())
    chains = (state.presented, *(each.chain for each in state.addresses))
    for certificate, issuer in issued_pairs(chains, _views(state, trust_context), elsewhere, now):
        if not is_revoked_by_nobody(certificate):
            for url in (*(list_urls(certificate)[:MOST_OF_ONE] or ("",)), *delta_urls(certificate)[:MOST_OF_ONE]):
                yield Naming(url, certificate, issuer, responder=False)
            for url in responder_urls(certificate)[:MOST_OF_ONE]:
                yield Naming(url, certificate, issuer, responder=True)


def _views(state: TargetState, trust_context: TrustContext) -> tuple[View, ...]:
    """Return the clients by whose trust stores the certificates of a target are judged."""
    config = trust_context.config
    if state.kind is TargetKind.ENDPOINT:
        endpoint = config.endpoints.get(state.target)
        return () if endpoint is None else trust_context.views(endpoint.clients)
    component = config.components.get(state.component or "")
    return () if component is None else trust_context.views(component.clients)
