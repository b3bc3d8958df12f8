"""The small families: the work of certvigil, counted by prometheus_client in a registry of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from actions.plan import Kind
from config.vocabulary import ComponentState, DeliveryOutcome, LookOutcome, SourceState, TargetKind
from monitor.decide.decision import DecisionMade, action_name
from monitor.state.events import CountedAction, Queue
from monitor.state.messages import DatabaseHealthChanged, Looked

LOOKED_AT: Final = (TargetKind.FILE, TargetKind.ENDPOINT)

_LOOK_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LAG_SECONDS: Final = (0.001, 0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900)
_EVENT_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 5)


_OF_ACTIONS: Final = ("component", "action", "outcome")


class _Actions(Collector):
    """How often actions ended how, as the actor's journal counts them: from its beginning, not from ours."""

    def __init__(self) -> None:
        self.ended: Mapping[CountedAction, int] = {}
        self.last: Mapping[CountedAction, float] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        ended = CounterMetricFamily(
            "certvigil_actions", "Transactions that ended, since the journal began.", labels=_OF_ACTIONS
        )
        for labels, count in self.ended.items():
            ended.add_metric(labels, count)
        yield ended
        last = GaugeMetricFamily(
            "certvigil_action_last_timestamp_seconds", "When a component's last transaction ended.", labels=_OF_ACTIONS
        )
        for labels, at in self.last.items():
            last.add_metric(labels, at)
        yield last


class Counters:
    """Counts looks, delays and the state of the daemon; every series of a closed list exists from the start."""

    def __init__(self, version: str, loaded_at: float) -> None:
        """Begin at zero with a configuration that was read at Unix time `loaded_at`."""
        # In Prometheus text 0.0.4 they would be gauges of their own.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._add_looks()
        self._add_own_state(version)
        self._add_components()
        self._add_notifications()
        self.config_loaded(loaded_at)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"certvigil_{name}", documentation, labels, registry=self._registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"certvigil_{name}", documentation, labels, registry=self._registry)

    def _histogram(self, name: str, documentation: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"certvigil_{name}", documentation, labels, registry=self._registry, buckets=buckets)

    def _add_looks(self) -> None:
        looks = self._counter("looks", "Looks that ended.", "kind", "outcome")
        self._looks = {pair: looks.labels(*pair) for pair in product(LOOKED_AT, LookOutcome)}
        durations = self._histogram("look_duration_seconds", "Duration of a look.", "kind", buckets=_LOOK_SECONDS)
        self._durations = {kind: durations.labels(kind) for kind in LOOKED_AT}
        late = "Time by which a look started later than it was due."
        self._lag = self._histogram("look_lag_seconds", late, buckets=_LAG_SECONDS)
        latency = "Time from the notice that a file changed until that showed in the metrics."
        self._event_latency = self._histogram("event_latency_seconds", latency, buckets=_EVENT_SECONDS)
        self._overflows = self._counter("event_queue_overflows", "Notices of changes that the kernel lost.")
        asked = self._counter(
            "revocation_fetches", "Requests for revocation lists and to OCSP responders that ended.", "outcome"
        )
        self._revocation_fetches = {outcome: asked.labels(outcome) for outcome in LookOutcome}
        named = "Revocation lists and OCSP responders that certificates name, by how they stand."
        sources = self._gauge("revocation_sources", named, "state")
        self._revocation_sources = {state: sources.labels(state) for state in SourceState}
        watched = self._gauge("watched_directories", "Directories in which changes are noticed.", "mode")
        self._notified, self._polled = watched.labels("inotify"), watched.labels("polling")

    def _add_own_state(self, version: str) -> None:
        self._waivers = self._gauge("waivers", "Waivers in force.")
        good = "Whether the configuration was good when it was last read."
        self._reload_succeeded = self._gauge("config_last_reload_successful", good)
        loaded = "When the configuration in force was read."
        self._loaded_at = self._gauge("config_last_reload_success_timestamp_seconds", loaded)
        stale = "Whether the configuration on disk differs from that in force."
        self._stale = self._gauge("config_stale", stale)
        self._degraded = self._gauge("database_degraded", "Whether history is not being recorded.")
        left_out = "Changes of targets that history leaves out, because too many were on one day."
        self._left_out = self._counter("history_changes_left_out", left_out)
        self._left_out_before = 0
        self._gauge("build_info", "The version that runs.", "version").labels(version).set(1)
        self._host = self._gauge("host_info", "The name of this host in the configuration.", "host")

    def _add_components(self) -> None:
        state = "The state of a component that may be changed: 1 for the state it is in."
        self._states = self._gauge("component_state", state, "component", "state")
        waiting = "Plans for a component that wait for a person, or for their window."
        self._plans = self._gauge("plans_waiting", waiting, "component", "action")
        given_up = "Private keys of a component that were compromised and never return."
        self._given_up = self._gauge("keys_given_up", given_up, "component")
        requests = "Requests for a certificate of a component that wait for their answer."
        since = "When the oldest request that waits for its answer was made."
        offers = "Offers for a component that lie there."
        offered = "When the oldest offer that lies there was brought."
        self._requests = self._gauge("requests_waiting", requests, "component")
        self._requests_since = self._gauge("requests_oldest_timestamp_seconds", since, "component")
        self._offers = self._gauge("offers_waiting", offers, "component")
        self._offers_since = self._gauge("offers_oldest_timestamp_seconds", offered, "component")
        self._actor_up = self._gauge("actor_up", "Whether the one with the rights to act answers.")
        self._decisions = self._counter("decisions", "Decisions that were new.", "policy", "action")
        self._actions = _Actions()
        self._registry.register(self._actions)

    def _add_notifications(self) -> None:
        delivered = "Messages that were delivered or given up, and attempts that failed."
        self._notifications = self._counter("notifications", delivered, "channel", "outcome")
        pending = "Messages that are to be delivered."
        self._notifications_pending = self._gauge("notifications_pending", pending, "channel")

    def add(self, families: Collector) -> None:
        """Show further families beside these."""
        self._registry.register(families)

    def host(self, name: str) -> None:
        """Set the name of this host."""
        self._host.clear()
        self._host.labels(name).set(1)

    def looked(self, look: Looked) -> None:
        """Count a look."""
        self._looks[look.kind, look.outcome].inc()
        self._durations[look.kind].observe(look.seconds)
        self._lag.observe(look.lag)

    def revocation_fetched(self, outcome: LookOutcome) -> None:
        """Count a request for a revocation list, or to a responder."""
        self._revocation_fetches[outcome].inc()

    def revocation_sources(self, numbers: Mapping[SourceState, int]) -> None:
        """Note how many lists and responders there are in each state; a state without any need not be there."""
        for state, shown in self._revocation_sources.items():
            shown.set(numbers.get(state, 0))

    def event_latency(self, seconds: float) -> None:
        """Count a change that was noticed and has been shown `seconds` after."""
        self._event_latency.observe(seconds)

    def overflowed(self) -> None:
        """Count an overflow of the kernel's queue."""
        self._overflows.inc()

    def watching(self, notified: int, polled: int) -> None:
        """Say in how many directories the kernel notices changes, and how many are polled."""
        self._notified.set(notified)
        self._polled.set(polled)

    def waivers(self, active: int) -> None:
        """Say how many waivers are in force."""
        self._waivers.set(active)

    def config_loaded(self, now: float) -> None:
        """Say that the configuration was read, is good and in force since Unix time `now`."""
        self._reload_succeeded.set(1)
        self._loaded_at.set(now)

    def config_rejected(self) -> None:
        """Say that the configuration was read and is not good."""
        self._reload_succeeded.set(0)

    def config_stale(self, *, stale: bool) -> None:
        """Say whether the configuration on disk differs from that in force."""
        self._stale.set(stale)

    def database_health_changed(self, message: DatabaseHealthChanged) -> None:
        """Say whether history is not being recorded."""
        self._degraded.set(bool(message.problem))

    def history_left_out(self, total: int) -> None:
        """Say how many changes history has left out in this run."""
        self._left_out.inc(total - self._left_out_before)
        self._left_out_before = total

    def components(self, states: Mapping[str, ComponentState], *, actor: bool) -> None:
        """Set the state of each component, and whether an actor answers."""
        self._actor_up.set(actor)
        self._states.clear()
        for component, state in states.items():
            for each in ComponentState:
                self._states.labels(component, each).set(each is state)

    def waiting(self, plans: Mapping[str, Mapping[Kind, int]], given_up: Mapping[str, int]) -> None:
        """Say how many plans of each kind wait for each component, and how many of its keys were given up."""
        self._plans.clear()
        for component, counted in plans.items():
            # No plan for a trust store waits: a person has it carried out at once.
            for kind in (each for each in Kind if each is not Kind.TRUST):
                self._plans.labels(component, kind).set(counted.get(kind, 0))
        self._given_up.clear()
        for component, count in given_up.items():
            self._given_up.labels(component).set(count)

    def certificates(self, requests: Mapping[str, Queue], offers: Mapping[str, Queue]) -> None:
        """Say how many requests and offers wait for each component, and since when the oldest of each."""
        of_each = ((requests, self._requests, self._requests_since), (offers, self._offers, self._offers_since))
        for queues, number, since in of_each:
            number.clear()
            since.clear()
            for component, (count, oldest) in queues.items():
                number.labels(component).set(count)
                if oldest is not None:
                    since.labels(component).set(oldest)

    def actions(self, ended: Mapping[CountedAction, int], last: Mapping[CountedAction, float]) -> None:
        """Say how often each component's actions ended how, and when the last one of each did."""
        self._actions.ended, self._actions.last = ended, last

    def notified(self, channel: str, outcome: DeliveryOutcome) -> None:
        """Count a message that was delivered or given up, or an attempt that failed."""
        self._notifications.labels(channel, outcome).inc()

    def notifications_pending(self, pending: Mapping[str, int]) -> None:
        """Say how many messages wait for each channel; `pending` has every channel."""
        self._notifications_pending.clear()
        for channel, count in pending.items():
            self._notifications_pending.labels(channel).set(count)
            for outcome in DeliveryOutcome:
                self._notifications.labels(channel, outcome)

    def decision_made(self, made: DecisionMade) -> None:
        """Count a decision that is new."""
        self._decisions.labels(made.decision.policy, action_name(made.decision.action)).inc()

    def text(self) -> bytes:
        """Return all of it in Prometheus text format 0.0.4."""
        return generate_latest(self._registry)
