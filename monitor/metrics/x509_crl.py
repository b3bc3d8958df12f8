"""The revocation lists in files as x509-certificate-exporter has them, for those who have its dashboards and rules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final

from cryptography import x509

from config.vocabulary import TargetKind
from monitor.metrics.family import Family, escape
from monitor.metrics.names import ATTRIBUTES, value
from monitor.state.target import TargetState
from probes.remembered import Remembered
from probes.revocation.crl import RevocationList

Sample = tuple[str, object]
Fact = Callable[[TargetState, RevocationList], object]


def stale(state: TargetState) -> tuple[int | None, ...]:
    """Return of each list whether the next one was overdue when its file was looked at last.

    A file is looked at again when a list in it ends.
    """
    return tuple(_stale(state, each) for each in state.lists)


def _stale(state: TargetState, known: RevocationList) -> int | None:
    if state.last_look is None or known.next_update is None:
        return None
    return int(state.last_look >= known.next_update + 1)


_remembered: Final = Remembered[str](256)


# Each family asks for them.
def _labels(path: str, known: RevocationList) -> str:
    return _remembered.get((path, known.sha256), lambda: _labels_of(path, known))


def _labels_of(path: str, known: RevocationList) -> str:
    try:
        issuer = known.parsed().issuer
    except ValueError:
        issuer = x509.Name([])
    pairs = [
        ("filename", os.path.basename(path)),
        ("filepath", path),
        ("crl_number", "" if known.number is None else str(known.number)),
        *((f"issuer_{each}", value(issuer, each)) for each in ATTRIBUTES),
    ]
    # A label that is not there is the same as an empty one.
    return ",".join(f'{name}="{escape(text)}"' for name, text in pairs if text)


def _samples(fact: Fact) -> Callable[[TargetState], Iterator[Sample]]:
    def samples(state: TargetState) -> Iterator[Sample]:
        if state.kind is not TargetKind.FILE:
            return
        # Of lists with the same labels, the newest: there must be one sample alone.
        newest = {_labels(state.location, each): each for each in sorted(state.lists, key=lambda each: each.age_order)}
        for labels, each in newest.items():
            number = fact(state, each)
            if number is not None:
                yield labels, number

    return samples


OF_LISTS: Final[tuple[Family[TargetState], ...]] = (
    Family("x509_crl_this_update", "When the list was signed.", _samples(lambda _, each: each.this_update)),
    Family("x509_crl_next_update", "When the next list is due.", _samples(lambda _, each: each.next_update)),
    Family("x509_crl_number", "Number of the list; 0 without one.", _samples(lambda _, each: each.number or 0)),
    Family("x509_crl_stale", "Whether the next list is overdue.", _samples(_stale)),
)
