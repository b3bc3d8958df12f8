"""Findings about a bundle: a file of CA certificates that somebody trusts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from config.model import Thresholds
from config.text import sentence
from config.vocabulary import Code
from probes.certificate import Certificate
from probes.finding import Finding, finding
from probes.judge.conformance import judge_encoding
from probes.judge.time import judge_time


def judge_bundle(
    certificates: Sequence[Certificate], now: float, thresholds: Thresholds | None = None
) -> Iterator[Finding]:
    """Yield what is wrong with the entries of a bundle at Unix time `now`: notices, by the names of the entries.

    No server presents them, and their places change with each entry before them. Whoever removes a root that is there
    twice goes on trusting it.
    """
    for each, times in Counter(certificates).items():
        yield from judge_time(each, each.title, now, thresholds, anchor=True)
        yield from judge_encoding(each, each.title)
        if times > 1:
            detail = sentence("{} is in the bundle {} times", each.title, times)
            yield finding(Code.UNNEEDED_CERTIFICATE, detail, each.title)
