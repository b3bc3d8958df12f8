"""The certificates in files as x509-certificate-exporter has them, for those who have its dashboards and rules."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from config.vocabulary import TargetKind
from monitor.metrics.family import Family, escape
from monitor.metrics.names import ATTRIBUTES, NameLabels, decimal_serial, value
from monitor.state.target import TargetState
from probes.certificate import Certificate
from probes.lifetime import has_ended

Sample = tuple[str, object]


def ended(state: TargetState) -> tuple[bool, ...]:
    """Return of each certificate whether it had ended when its target was looked at last.

    A target is looked at again when one of its certificates ends.
    """
    return tuple(state.last_look is not None and has_ended(each, state.last_look) for each in state.presented)


# Each family asks for them: as many as a shard of the page has are kept until the next one does.
@lru_cache(maxsize=1024)
def _labels(path: str, certificate: Certificate) -> str:
    names = NameLabels.of(certificate)
    pairs = [
        ("filename", os.path.basename(path)),
        ("filepath", path),
        ("serial_number", decimal_serial(certificate)),
        *((f"issuer_{each}", value(names.issuer, each)) for each in ATTRIBUTES),
        *((f"subject_{each}", value(names.subject, each)) for each in ATTRIBUTES),
    ]
    # A label that is not there is the same as an empty one.
    return ",".join(f'{name}="{escape(text)}"' for name, text in pairs if text)


def _labelled(state: TargetState) -> Iterator[tuple[str, Certificate]]:
    """Yield the certificates of a file, each once; where several have the same labels, those with one more."""
    if state.kind is not TargetKind.FILE:
        return
    labelled = [(_labels(state.location, each), each) for each in dict.fromkeys(state.presented)]
    times = Counter(labels for labels, _ in labelled)
    for labels, each in labelled:
        yield f'{labels},discriminator="{each.sha256[:8]}"' if times[labels] > 1 else labels, each


def _samples(fact: Callable[[TargetState, Certificate], object]) -> Callable[[TargetState], Iterator[Sample]]:
    def samples(state: TargetState) -> Iterator[Sample]:
        for labels, each in _labelled(state):
            number = fact(state, each)
            if number is not None:
                yield labels, number

    return samples


def _expired(state: TargetState, certificate: Certificate) -> int | None:
    if state.last_look is None or certificate.not_after is None:
        return None
    return int(has_ended(certificate, state.last_look))


OF_FILES: Final[tuple[Family[TargetState], ...]] = (
    Family("x509_cert_not_after", "End of the validity.", _samples(lambda _, each: each.not_after)),
    Family("x509_cert_not_before", "Begin of the validity.", _samples(lambda _, each: each.not_before)),
    Family("x509_cert_expired", "Whether the validity has ended.", _samples(_expired)),
)
