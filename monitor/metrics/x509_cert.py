"""The certificates in files as x509-certificate-exporter has them, for those who have its dashboards and rules."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final

from config.model import X509CertSettings
from config.vocabulary import TargetKind
from monitor.metrics.family import Family, escape
from monitor.metrics.names import ATTRIBUTES, NameLabels, decimal_serial, value
from monitor.metrics.x509_source import Sources, error_of
from monitor.state.target import TargetState
from probes.certificate import Certificate
from probes.lifetime import has_ended

Sample = tuple[str, object]


def ended(state: TargetState) -> tuple[bool, ...]:
    """Return of each certificate whether it had ended when its target was looked at last.

    A target is looked at again when one of its certificates ends.
    """
    return tuple(state.last_look is not None and has_ended(each, state.last_look) for each in state.presented)


class FileCertificates:
    """The families of each file and of each certificate in it."""

    def __init__(self, settings: X509CertSettings, sources: Sources) -> None:
        """Show them by `settings`, and tell `sources` of each change."""
        self.sources = sources
        self._trimmed = settings.trim_path_components
        self._at: dict[str, set[str]] = {}
        """The files that are shown at one path, by that path."""
        self.families: Final[tuple[Family[TargetState], ...]] = (
            Family("x509_cert_not_after", "End of the validity.", self._samples(lambda _, each: each.not_after)),
            Family("x509_cert_not_before", "Begin of the validity.", self._samples(lambda _, each: each.not_before)),
            Family("x509_cert_expired", "Whether the validity has ended.", self._samples(_expired)),
            Family("x509_cert_error", "Whether the file gives no certificate.", self._error),
        )
        self._relative = settings.relative

    def relative_to(self, now: float) -> tuple[Family[TargetState], ...]:
        """Return the families that change with the time; none where they are not wanted.

        They are made at every scrape, which takes time in proportion to the certificates.
        """
        if not self._relative:
            return ()

        def left(_: TargetState, each: Certificate) -> object:
            return None if each.not_after is None else round(each.not_after - now)

        def since(_: TargetState, each: Certificate) -> object:
            return None if each.not_before is None else round(now - each.not_before)

        return (
            Family("x509_cert_expires_in_seconds", "Seconds until the end of the validity.", self._samples(left)),
            Family("x509_cert_valid_since_seconds", "Seconds since its begin.", self._samples(since)),
        )

    def changed(self, before: TargetState | None, after: TargetState | None) -> Iterable[str]:
        """Take the change of a target, and return the other targets whose labels it changes."""
        self.sources.changed(before, after)
        if not self._trimmed or (before is None) == (after is None):
            return ()
        state = before or after
        if state is None or state.kind is not TargetKind.FILE:
            return ()
        together = self._at.setdefault(self._path(state), set())
        if before is None:
            others = set(together)
            together.add(state.target)
        else:
            together.discard(state.target)
            others = set(together)
            if not together:
                del self._at[self._path(state)]
        # With two or more others, these have been told apart already.
        return others if len(others) == 1 else ()

    def _path(self, state: TargetState) -> str:
        return trimmed(state.location, self._trimmed)

    def _error(self, state: TargetState) -> Iterator[Sample]:
        if state.kind is TargetKind.FILE and state.last_look is not None:
            yield self._of_path(state), int(error_of(state) is not None)

    def _of_path(self, state: TargetState) -> str:
        path = self._path(state)
        pairs = [("filename", os.path.basename(state.location)), ("filepath", path)]
        if self._is_shared(path):
            pairs.append(("discriminator", _short_hash(state.location.encode())))
        return _text(pairs)

    def _is_shared(self, path: str) -> bool:
        return len(self._at.get(path, ())) > 1

    def _labelled(self, state: TargetState) -> Iterator[tuple[str, Certificate]]:
        """Yield the certificates of a file, each once; where several have the same labels, those with one more."""
        if state.kind is not TargetKind.FILE:
            return
        path = self._path(state)
        labelled = [(_labels(state.location, path, each), each) for each in dict.fromkeys(state.presented)]
        if self._is_shared(path):
            for labels, each in labelled:
                yield f'{labels},discriminator="{_short_hash(state.location.encode() + each.der)}"', each
            return
        times = Counter(labels for labels, _ in labelled)
        for labels, each in labelled:
            yield f'{labels},discriminator="{each.sha256[:8]}"' if times[labels] > 1 else labels, each

    def _samples(self, fact: Callable[[TargetState, Certificate], object]) -> Callable[[TargetState], Iterator[Sample]]:
        def samples(state: TargetState) -> Iterator[Sample]:
            for labels, each in self._labelled(state):
                number = fact(state, each)
                if number is not None:
                    yield labels, number

        return samples


def trimmed(path: str, components: int) -> str:
    """Return an absolute path without so many of its first components, empty where it has no more."""
    parts = path.split("/")[1:]
    if not components:
        return path
    return "/" + "/".join(parts[components:]) if components < len(parts) else ""


# Each family asks for them: as many as a shard of the page has are kept until the next one does.
@lru_cache(maxsize=1024)
def _labels(location: str, path: str, certificate: Certificate) -> str:
    names = NameLabels.of(certificate)
    pairs = [
        ("filename", os.path.basename(location)),
        ("filepath", path),
        ("serial_number", decimal_serial(certificate)),
        *((f"issuer_{each}", value(names.issuer, each)) for each in ATTRIBUTES),
        *((f"subject_{each}", value(names.subject, each)) for each in ATTRIBUTES),
    ]
    return _text(pairs)


def _text(pairs: Iterable[tuple[str, str]]) -> str:
    # A label that is not there is the same as an empty one.
    return ",".join(f'{name}="{escape(text)}"' for name, text in pairs if text)


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def _expired(state: TargetState, certificate: Certificate) -> int | None:
    if state.last_look is None or certificate.not_after is None:
        return None
    return int(has_ended(certificate, state.last_look))
