"""Looking on behalf of a change of a trust store: the servers of its clients, judged by what the store has on disk.

Each server is asked once for its chain, and the old and the new store are judged by the same answer: a network that
fails in between undoes no change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

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
from probes.validation import SwitchReading, read_switch

Switches = Mapping[str, tuple[bool, bool]]
"""By client: whether it validated, and whether it will."""
NO_SWITCHES: Final[Switches] = MappingProxyType({})


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

    def look_with_services(self, stores: tuple[str, ...], components: Live, now: float) -> LiveView:
        """Return the same, with what the components serve whose services are started anew with a change."""
        of_clients, beside = self.look(stores, now), self.components_beside(stores)
        if not beside:
            return of_clients
        served = components.look(beside, now)
        return replace(served, accepted=served.accepted | of_clients.accepted)

    def whole(self, stores: tuple[str, ...]) -> tuple[Serving, ...] | None:
        """Return that no chain is served of a store, or None where one cannot be read."""
        return None if any(map(self.why_not_whole, stores)) else ()

    def why_not_whole(self, store: str) -> str:
        """Return why a store on disk is none, a sentence; empty where it is one."""
        try:
            content = self.content(store)
        except OSError as error:
            return printable(f"the trust store {store} cannot be read: {error.strerror}")
        return "" if content.entries else printable(f"the trust store {store} holds nothing that can be read")

    def edges(self, store: str) -> Iterator[tuple[Client, Endpoint]]:
        """Yield the clients that trust a store, as they are configured now, each with each of its endpoints.

        The configuration of a client may be part of a change.
        """
        config = self.trust_context.config
        for endpoint in config.endpoints.values():
            for client in (config.clients[each] for each in endpoint.clients):
                if client.trusts == store:
                    yield _as_it_validates(client), endpoint

    def components_beside(self, stores: tuple[str, ...]) -> tuple[str, ...]:
        """Return the components of the services that are started anew with a change: they must answer after it, too."""
        config = self.trust_context.config
        services = [each.service for each in map(config.trust_stores.__getitem__, stores) if each.service is not None]
        restarts = {each.restart for each in services}
        return tuple(
            name
            for name, each in config.components.items()
            if each.service is not None and each.service.restart in restarts
        )

    def effects(
        self, store: str, before: StoreContent, after: StoreContent, now: float, switches: Switches = NO_SWITCHES
    ) -> tuple[tuple[Effect, ...], tuple[str, ...]]:
        """Return the effect on each client that validates, and remarks on others and on servers without an answer.

        The clients of `switches` begin or cease to validate by the same change.
        """
        effects: list[Effect] = []
        remarks: list[str] = []
        old, new = self._trust(store, before), self._trust(store, after)
        for client, endpoint in self.edges(store):
            validated, validates = switches.get(client.name, (True, True))
            was = self._edge(replace(client, validates=validated), endpoint, old, now)
            will = self._edge(replace(client, validates=validates), endpoint, new, now)
            if will is None:
                remarks.append(self._unanswered(client, endpoint, now))
            elif client.validates or client.name in switches:
                effects.append(Effect(endpoint.name, was, will))
            else:
                verdicts = f"{_verdict(was)} -> {_verdict(will)}"
                remarks.append(f"{client.name} does not validate; if it did, at {printable(endpoint.name)}: {verdicts}")
        return tuple(effects), tuple(remarks)

    def switched(
        self, store: str, client_name: str, now: float, *, validated: bool, validates: bool
    ) -> tuple[tuple[Effect, ...], tuple[str, ...]]:
        """Return the effect on a client that begins or ceases to validate, and remarks; raises OSError."""
        effects: list[Effect] = []
        remarks: list[str] = []
        trust = self._trust(store, self.content(store))
        for client, endpoint in self.edges(store):
            if client.name != client_name:
                continue
            was = self._edge(replace(client, validates=validated), endpoint, trust, now)
            will = self._edge(replace(client, validates=validates), endpoint, trust, now)
            if will is None:
                remarks.append(self._unanswered(client, endpoint, now))
            else:
                effects.append(Effect(endpoint.name, was, will))
        return tuple(effects), tuple(remarks)

    def _unanswered(self, client: Client, endpoint: Endpoint, now: float) -> str:
        why = self._answer(endpoint, now).failures
        because = f": {why[0].detail}" if why else ""
        unknown = f"whether {client.name} will accept it is not known"
        return f"{printable(endpoint.name)} does not answer{because}; {unknown}"

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


def _as_it_validates(client: Client) -> Client:
    """Return a client; whether it validates is as its own configuration says now, where that can be read."""
    read = None if client.validation_switch is None else read_switch(client.validation_switch)
    return replace(client, validates=read.validates) if isinstance(read, SwitchReading) else client


def _verdict(edge: Edge | None) -> str:
    if edge is None:
        return "unknown"
    return "accepts" if edge.accepted else sentence("rejects ({})", edge.why)


def with_stores(components: Live, eyes: StoreEyes, stores: Collection[str]) -> Live:
    """Return how to look at components, and at trust stores: a transaction is of the ones or of the others."""

    def of_stores(names: Iterable[str]) -> bool:
        return not stores_known.isdisjoint(names)

    def look(names: tuple[str, ...], now: float) -> LiveView:
        return eyes.look_with_services(names, components, now) if of_stores(names) else components.look(names, now)

    def judge(names: tuple[str, ...], files: Mapping[str, bytes], now: float) -> frozenset[Acceptance]:
        return frozenset() if of_stores(names) else components.judge(names, files, now)

    def whole(names: tuple[str, ...]) -> tuple[Serving, ...] | None:
        return eyes.whole(names) if of_stores(names) else components.whole(names)

    def worth(names: tuple[str, ...], files: Mapping[str, bytes], now: float) -> Worth:
        of_components = None if of_stores(names) else components.worth
        return Worth() if of_components is None else of_components(names, files, now)

    def fit(name: str, now: float) -> str:
        of_components = None if of_stores((name,)) else components.fit
        return eyes.why_not_whole(name) if of_components is None else of_components(name, now)

    stores_known = frozenset(stores)
    return Live(
        look,
        judge,
        whole,
        None if components.worth is None else worth,
        None if components.fit is None else fit,
    )
