"""What the tests of the memory share: values to record, and an owner that remembers what it was told of health."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from config.text import Printable, harmless, sentence
from config.vocabulary import Code, KeyKind, Severity, TargetKind
from monitor.state.events import (
    FileJudged,
    FindingChanged,
    FindingCleared,
    FindingRaised,
    LookFailed,
    LookRecovered,
    PresentedChanged,
    StateEvent,
    SupportedChanged,
    TargetAdded,
    TargetRemoved,
)
from monitor.state.target import Raised, TargetState
from monitor.store import Degraded, DegradedReason, Store, load
from monitor.store.database import prepare
from monitor.store.writer import RowWriter
from probes.certificate import Certificate, Key
from probes.finding import Finding

DEADLINE = 30.0


def make_certificate(name: str, size: int = 200) -> Certificate:
    """Return a certificate that nothing has to decode."""
    der = name.encode() * (size // len(name) + 1)
    return Certificate(
        der,
        hashlib.sha256(der).hexdigest(),
        sentence("CN={}", harmless(name)),
        Printable("CN=Issuing CA"),
        "1f",
        1_700_000_000,
        1_800_000_000,
        (f"DNS:{name}", f"DNS:www.{name}"),
        Key(KeyKind.EC, 256),
        Printable("sha256"),
        is_ca=False,
        self_issued=False,
    )


LEAF, OTHER, ISSUER = make_certificate("a.example"), make_certificate("b.example"), make_certificate("ca.example")
EXPIRING = Finding(Code.EXPIRING, Severity.WARNING, Printable("0"), Printable("ends on 2027-01-15"))
EXPIRING_SOON = replace(EXPIRING, severity=Severity.CRITICAL)


def added(target: str, at: float = 1.0) -> TargetAdded:
    """Return the event that a file is watched."""
    return TargetAdded(target, at, TargetKind.FILE, f"/etc/{target}.pem", None)


def presented(target: str, at: float, *after: Certificate) -> PresentedChanged:
    """Return the event that a target presents those certificates."""
    return PresentedChanged(target, at, (), after)


def write(path: str, *batches: Sequence[StateEvent]) -> None:
    """Record each batch in a transaction of its own."""
    prepare(path, 0.0)
    writer = RowWriter(path)
    try:
        for batch in batches:
            writer.write(batch)
    finally:
        writer.close()


def loaded(path: str) -> Mapping[str, TargetState]:
    """Return what is recorded."""
    result = load(path)
    assert not isinstance(result, Degraded), result
    return result


def believe(registry: dict[str, TargetState], event: StateEvent) -> None:
    """Keep in a dictionary what the database has to keep: the model it is compared with."""
    known = registry.get(event.target)
    if isinstance(event, TargetAdded):
        known = known or TargetState(event.target, event.kind, event.location)
        registry[event.target] = replace(known, kind=event.kind, location=event.location, component=event.component)
    elif isinstance(event, TargetRemoved):
        registry.pop(event.target, None)
    elif known is not None:
        registry[event.target] = _changed(known, event)


def _changed(known: TargetState, event: StateEvent) -> TargetState:
    match event:
        case PresentedChanged() if known.since == 0.0 or known.presented != event.after:
            return replace(known, presented=event.after, since=event.at)
        case SupportedChanged():
            return replace(known, supported=event.supported)
        case FileJudged(verdict=kept):
            expiry = None if kept is None else kept.expiry
            return replace(known, identity=event.identity, kept=kept, expiry=expiry)
        case FindingRaised() | FindingChanged():
            key = (event.finding.code, event.finding.subject)
            since = known.findings[key].since if key in known.findings else event.at
            return replace(known, findings={**known.findings, key: Raised(event.finding, since)})
        case FindingCleared():
            key = (event.finding.code, event.finding.subject)
            return replace(known, findings={each: known.findings[each] for each in known.findings if each != key})
        case LookFailed():
            return replace(known, failure=(event.reason, event.detail))
        case LookRecovered():
            return replace(known, failure=None)
        case _:
            return known


class Owner:
    """Believes what it publishes, as the daemon does, and has a store record it."""

    def __init__(self, path: str, *, limit: int = 1000) -> None:
        self.registry: dict[str, TargetState] = {}
        self.told: list[Degraded | None] = []
        self._news = threading.Condition()
        self.store = Store(path, snapshot=self.snapshot, on_health=self.on_health, clock=lambda: 1e9, limit=limit)

    def publish(self, *events: StateEvent) -> None:
        """Believe `events`, then record them."""
        for event in events:
            believe(self.registry, event)
        self.store.record(events)

    def snapshot(self) -> Iterable[TargetState]:
        """Return everything believed."""
        return tuple(self.registry.values())

    def on_health(self, health: Degraded | None) -> None:
        """Keep what was told."""
        with self._news:
            self.told.append(health)
            self._news.notify_all()

    @property
    def reasons(self) -> list[DegradedReason | None]:
        """The reasons told so far."""
        return [None if health is None else health.reason for health in self.told]

    def wait_until_told(self, expected: Callable[[DegradedReason | None], bool]) -> None:
        """Wait until the newest thing told is as expected."""
        with self._news:
            assert self._news.wait_for(lambda: bool(self.told) and expected(self.reasons[-1]), DEADLINE), self.told

    def close(self) -> bool:
        """Close the store, with time enough."""
        return self.store.close(DEADLINE)
