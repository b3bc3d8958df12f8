"""Looking on behalf of a change of a trust store: the servers of its clients, judged by what the store has on disk.

Each server is asked once for its chain, and the old and the new store are judged by the same answer: a network that
fails in between undoes no change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from actions.plan import Serving
from actions.rehearse import Effect
from actions.validate import Acceptance, Live, LiveView, Worth
from actions.world import World
from config.model import Client, Endpoint
from config.text import printable, sentence
from monitor.state.trust import TrustContext
from probes.assess import EndpointContext, assess_endpoint
from probes.certificate import decodable
from probes.finding import Edge
from probes.judge.client import View
from probes.observation import EndpointObservation
from probes.store_content import StoreContent, read_store
from probes.tls.drive import look_blocking
from probes.trust import Trust


@dataclass(slots=True)
class StoreEyes:
    """The answers of servers so far, and how they are judged."""

    trust_context: TrustContext
    world: World
    passwords: Callable[[str], Sequence[bytes | None]]
    """Those that a store is tried with, by its name; raises OSError."""
    planned: bool = False
    """A plan was made by these answers. Else, as in a recovery, a server that does not answer is nobody's loss."""
    _answers: dict[str, EndpointObservation] = field(default_factory=dict)

    def content(self, name: str) -> StoreContent:
        """Return what a store has on disk now; raises OSError."""
        path = self.trust_context.config.trust_stores[name].path or ""
        return read_store(self.world.read(self.world.resolve(path))[1], self.passwords(name))

    def look(self, stores: tuple[str, ...], now: float) -> LiveView:
        """Return which clients of these stores accept their servers, by what the stores have on disk."""
        accepted: set[Acceptance] = set()
        for name in stores:
            trust = self._trust(name, self.content(name))
            for client, endpoint in self.edges(name):
                edge = self._edge(client, endpoint, trust, now)
                if edge.accepted if edge is not None else not self.planned:
                    accepted.add(Acceptance(client.name, endpoint.name))
        return LiveView(accepted=frozenset(accepted))

    def edges(self, store: str) -> Iterator[tuple[Client, Endpoint]]:
        """Yield the clients that trust a store, each with each of its endpoints."""
        config = self.trust_context.config
        for endpoint in config.endpoints.values():
            for client in (config.clients[each] for each in endpoint.clients):
                if client.trusts == store:
                    yield client, endpoint

    def effects(
        self, store: str, before: StoreContent, after: StoreContent, now: float
    ) -> tuple[tuple[Effect, ...], tuple[str, ...]]:
        """Return the effect on each client that validates, and remarks on others and on servers without an answer."""
        effects: list[Effect] = []
        remarks: list[str] = []
        old, new = self._trust(store, before), self._trust(store, after)
        for client, endpoint in self.edges(store):
            strict = replace(client, validates=True)
            was, will = self._edge(strict, endpoint, old, now), self._edge(strict, endpoint, new, now)
            if will is None:
                why = self._answer(endpoint, now).failures
                because = f": {why[0].detail}" if why else ""
                unknown = f"whether {client.name} will accept it is not known"
                remarks.append(f"{printable(endpoint.name)} does not answer{because}; {unknown}")
            elif client.validates:
                effects.append(Effect(endpoint.name, was, will))
            else:
                verdicts = f"{_verdict(was)} -> {_verdict(will)}"
                remarks.append(f"{client.name} does not validate; if it did, at {printable(endpoint.name)}: {verdicts}")
        return tuple(effects), tuple(remarks)

    def _trust(self, name: str, content: StoreContent) -> Trust:
        return Trust(name, decodable(content.anchors))

    def _answer(self, endpoint: Endpoint, now: float) -> EndpointObservation:
        if endpoint.name not in self._answers:
            self._answers[endpoint.name] = look_blocking(endpoint, now)
        return self._answers[endpoint.name]

    def _edge(self, client: Client, endpoint: Endpoint, trust: Trust, now: float) -> Edge | None:
        """Return the verdict of a client; None where its server does not answer."""
        answer = self._answer(endpoint, now)
        if not any(each.chain for each in answer.presented):
            return None
        view = View(client, trust, self.trust_context.held.get(client.name, ()))
        return assess_endpoint(answer, EndpointContext(endpoint, (view,)), now).edges[0]


def _verdict(edge: Edge | None) -> str:
    if edge is None:
        return "unknown"
    return "accepts" if edge.accepted else sentence("rejects ({})", edge.why)


def with_stores(components: Live, eyes: StoreEyes, stores: Collection[str]) -> Live:
    """Return how to look at components, and at trust stores: a transaction is of the ones or of the others."""

    def of_stores(names: Iterable[str]) -> bool:
        return any(name in stores for name in names)

    def look(names: tuple[str, ...], now: float) -> LiveView:
        return eyes.look(names, now) if of_stores(names) else components.look(names, now)

    def judge(names: tuple[str, ...], files: Mapping[str, bytes], now: float) -> frozenset[Acceptance]:
        return frozenset() if of_stores(names) else components.judge(names, files, now)

    def whole(names: tuple[str, ...]) -> tuple[Serving, ...] | None:
        if not of_stores(names):
            return components.whole(names)
        return None if any(map(_why_not_whole, names)) else ()

    def worth(names: tuple[str, ...], files: Mapping[str, bytes], now: float) -> Worth:
        if of_stores(names) or components.worth is None:
            return Worth()
        return components.worth(names, files, now)

    def fit(name: str, now: float) -> str:
        if name in stores:
            return _why_not_whole(name)
        return components.fit(name, now) if components.fit is not None else ""

    def _why_not_whole(name: str) -> str:
        try:
            content = eyes.content(name)
        except OSError as error:
            return printable(f"the trust store {name} cannot be read: {error.strerror}")
        return "" if content.entries else printable(f"the trust store {name} holds nothing that can be read")

    more: dict[str, Any] = {} if components.worth is None else {"worth": worth}
    return Live(look, judge, whole, fit=None if components.fit is None else fit, **more)
