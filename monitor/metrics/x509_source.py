"""The sources of certificates in files, and what is wrong with them, as x509-certificate-exporter counts it.

A source is an entry of `watch`, called by its first pattern, or a component.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from config.immutable import immutable
from config.model import Config
from config.text import printable
from config.vocabulary import Code, FileFormat, Severity, TargetKind, UnreadableReason
from monitor.state.target import TargetState
from probes.file import NOT_FOR_US
from probes.find import tree_of
from probes.finding import Finding

KIND: Final = "file"
"""Of every source."""
AGAIN: Final = 30.0
"""Seconds after which x509-certificate-exporter, as it is by default, meets an error that lasts once more."""

PASSPHRASE: Final = "bad_passphrase"  # noqa: S105 (a reason, not a secret)
NO_CERTIFICATE: Final = "no_certificate_found"
WALK: Final = "walk_error"
_BAD_DER: Final[Mapping[FileFormat | None, str]] = {
    FileFormat.PKCS12: "bad_pkcs12",
    FileFormat.JKS: "bad_jks",
    FileFormat.JCEKS: "bad_jks",
}
_READ_FAILED: Final = "read_failed"
_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(UnreadableReason, _READ_FAILED),
    UnreadableReason.NOT_FOUND: "not_found",
    UnreadableReason.PERMISSION_DENIED: "permission_denied",
    UnreadableReason.NO_READER: "permission_denied",
    UnreadableReason.UNSAFE_LINK: "out_of_scope_symlink",
    UnreadableReason.BROKEN_SYMLINK: "broken_symlink",
    UnreadableReason.SYMLINK_LOOP: "broken_symlink",
    UnreadableReason.BAD_PEM: "bad_pem",
    UnreadableReason.BAD_DER: "bad_der",
    UnreadableReason.NO_PASSWORD: PASSPHRASE,
    UnreadableReason.WRONG_PASSWORD: PASSPHRASE,
    UnreadableReason.LOCKED: PASSPHRASE,
}
"""By reasons of certvigil."""
_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
REASONS: Final = tuple(sorted({*_REASONS.values(), *_BAD_DER.values(), NO_CERTIFICATE, WALK}))


def error_of(state: TargetState) -> str | None:
    """Return why a file gives no certificate, as a reason of x509-certificate-exporter; None where it gives some.

    Neither a state between two writes is an error, nor a private key that the daemon need not read.
    """
    severities = {code: raised.finding.severity for (code, _), raised in state.findings.items()}
    if state.failure is not None and Code.UNREADABLE in severities:
        reason = state.failure[0]
        if reason in NOT_FOR_US and severities[Code.UNREADABLE] is Severity.NOTICE:
            return None
        return _BAD_DER.get(state.format, reason) if reason == UnreadableReason.BAD_DER else _REASONS[reason]
    return NO_CERTIFICATE if Code.NO_CERTIFICATE in severities else None


@immutable
class _Error:
    """An error that lasts."""

    source: str
    reason: str
    keystore: str
    """The kind of keystore whose password is wrong; else empty."""
    since: float
    """Monotonic time."""

    def times(self, now: float) -> int:
        """Return how often it was met until monotonic time `now`."""
        return 1 + int((now - self.since) / AGAIN)


class Sources(Collector):
    """Counts the files of each source, and their errors: once when they come, and again while they last."""

    def __init__(self, config: Config, version: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic."""
        self._version = version
        self._clock = clock
        self._files: Counter[str] = Counter()
        self._errors: dict[str, _Error] = {}
        """By target; of a tree that is not searched, by its path."""
        self._ended: Counter[tuple[str, str]] = Counter()
        """Errors of the past, by source and reason."""
        self._ended_passphrases: Counter[tuple[str, str]] = Counter()
        """By kind of keystore and source."""
        self._colliding: dict[str, int] = {}
        """Certificates that share issuer, serial number and subject with others of their file, by target."""
        self._collisions = 0
        self._source_of: dict[str, str] = {}
        """By target, while it is one."""
        self._scrapes = Histogram(
            "x509_scrape_duration_seconds", "Time in which a scrape was answered.", registry=None, buckets=_BUCKETS
        )
        self._is_searched = False
        self._unsearched: frozenset[str] = frozenset()
        """Trees."""
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Go by another configuration; a file belongs to the source in which it was found."""
        names = {each: printable(each.patterns[0], 4096) for each in config.watches}
        self._trees: dict[str, str] = {}
        for watch, name in names.items():
            for pattern in watch.patterns:
                self._trees.setdefault(tree_of(pattern), name)
        self._names: tuple[str, ...] = tuple(dict.fromkeys((*names.values(), *config.components)))

    def scraped(self, seconds: float) -> None:
        """Count a scrape that took so long."""
        self._scrapes.observe(seconds)

    def searched(self, findings: Iterable[Finding]) -> None:
        """Take the findings about trees that are not searched: every file was looked at once."""
        self._is_searched = True
        unsearched = frozenset(each.subject for each in findings if each.severity is Severity.WARNING)
        for tree in self._unsearched - unsearched:
            self._end(tree)
        for tree in unsearched - self._unsearched:
            self._errors[tree] = _Error(self._trees.get(tree, tree), WALK, "", self._clock())
        self._unsearched = unsearched

    def changed(self, before: TargetState | None, after: TargetState | None) -> None:
        """Take the change of a target."""
        state = after or before
        if state is None or state.kind is not TargetKind.FILE:
            return
        target = state.target
        source = self._source_of.get(target)
        if source is None:
            source = self._source_of[target] = state.component or self._found_in(state.location)
            self._files[source] += 1
        if after is None:
            del self._source_of[target]
            self._files[source] -= 1
            self._colliding.pop(target, None)
            self._end(target)
            return
        if before is None or before.presented != after.presented:
            self._note_collisions(after)
        self._note_error(after, source)

    def _note_collisions(self, state: TargetState) -> None:
        self._colliding.pop(state.target, None)
        if len(state.presented) > 1:
            names = Counter((each.issuer, each.serial, each.subject) for each in dict.fromkeys(state.presented))
            colliding = sum(count for count in names.values() if count > 1)
            if colliding:
                self._colliding[state.target] = colliding

    def _note_error(self, state: TargetState, source: str) -> None:
        reason = error_of(state)
        known = self._errors.get(state.target)
        if reason == (known.reason if known is not None else None):
            return
        self._end(state.target)
        if reason is not None:
            kind = {FileFormat.PKCS12: "pkcs12", FileFormat.JKS: "jks", FileFormat.JCEKS: "jks"}.get(
                state.format or FileFormat.OTHER, ""
            )
            keystore = kind if reason == PASSPHRASE else ""
            self._errors[state.target] = _Error(source, reason, keystore, self._clock())

    def _end(self, name: str) -> None:
        error = self._errors.pop(name, None)
        if error is not None:
            times = error.times(self._clock())
            self._ended[error.source, error.reason] += times
            if error.keystore:
                self._ended_passphrases[error.keystore, error.source] += times

    def _found_in(self, path: str) -> str:
        place = path
        while place != "/":
            if place in self._trees:
                return self._trees[place]
            place = place.rpartition("/")[0] or "/"
        return self._trees.get("/", "")

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        now = self._clock()
        yield from self._of_sources()
        yield from self._of_errors(now)
        self._collisions += sum(self._colliding.values())
        for name, about, count in (
            ("x509_cert_collision", "Certificates with the labels of another one, at every scrape.", self._collisions),
            ("x509_cert_collision_dropped", "Certificates that are not shown for that: none ever is.", 0),
        ):
            collisions = CounterMetricFamily(name, about, labels=("source_kind",))
            collisions.add_metric((KIND,), count)
            yield collisions
        failing = sum(each.reason != WALK for each in self._errors.values())
        yield GaugeMetricFamily("x509_read_errors", "Files that give no certificate now.", failing)
        build = GaugeMetricFamily("x509_exporter_build_info", "The version that runs.", labels=("version",))
        build.add_metric((self._version,), 1)
        yield build
        yield from self._scrapes.collect()

    def _of_sources(self) -> Iterator[Metric]:
        labels = ("source_kind", "source_name")
        up = GaugeMetricFamily("x509_source_up", "Whether all of it can be searched.", labels=labels)
        bundles = GaugeMetricFamily("x509_source_bundles", "Files in it.", labels=labels)
        down = {self._trees.get(each, each) for each in self._unsearched}
        for name in self._names:
            bundles.add_metric((KIND, name), self._files[name])
            if self._is_searched:
                up.add_metric((KIND, name), name not in down)
        yield up
        yield bundles

    def _of_errors(self, now: float) -> Iterator[Metric]:
        met, passphrases = Counter(self._ended), Counter(self._ended_passphrases)
        for each in self._errors.values():
            times = each.times(now)
            met[each.source, each.reason] += times
            if each.keystore:
                passphrases[each.keystore, each.source] += times
        errors = CounterMetricFamily(
            "x509_source_errors",
            f"Files that give no certificate: each once, and again every {AGAIN:g} s while that lasts.",
            labels=("source_kind", "source_name", "reason"),
        )
        # A source that the configuration has no more stays as it was: a counter does not go.
        for source in dict.fromkeys((*self._names, *(source for source, _ in met))):
            for reason in REASONS:
                errors.add_metric((KIND, source, reason), met[source, reason])
        yield errors
        for keystore in ("pkcs12", "jks"):
            wrong = CounterMetricFamily(
                f"x509_{keystore}_passphrase_failures",
                f"Keystores that no known password opens: each once, and again every {AGAIN:g} s while that lasts.",
                labels=("source_name",),
            )
            for source in dict.fromkeys((*self._names, *(source for _, source in passphrases))):
                wrong.add_metric((source,), passphrases[keystore, source])
            yield wrong
