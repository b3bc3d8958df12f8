"""How often rows and real verifiers differ, and the time of a verdict: `python -m tests.bench.verdicts` draws 5,000."""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from monitor.lab.ca import Authority
from probes.certificate import Certificate, certificate
from probes.trust import Trust
from probes.verify.engine import verify
from probes.verify.families import FAMILIES
from tests.bench.report import Measurement
from tests.kit.agreement import disagreements
from tests.kit.chains import NAME, draws
from tests.kit.verifiers import ALL

DRAWN: Final = 1_000
DRAWN_IN_FULL: Final = 5_000
PORTION: Final = 500
"""Chains that are asked for at once."""
LIMIT: Final = 5
ROUNDS: Final = 200
LADDER: Final = 12
"""Levels of CAs of which each signs each of the next."""


def measure(drawn: int = DRAWN) -> Iterator[Measurement]:
    """Measure the agreement on that many chains, and the time of verdicts."""
    yield from _agreement(drawn)
    yield Measurement("verdict_us", round(_one_verdict() * 1e6), "us", 1500)
    yield Measurement("worst_path_ms", round(_worst_web() * 1e3, 1), "ms", 200)


def _agreement(drawn: int) -> Iterator[Measurement]:
    verifiers = [each for each in ALL if each.is_there]
    differ: Counter[str] = Counter()
    for first in range(0, drawn, PORTION):
        chains = list(draws(min(PORTION, drawn - first), first))
        for each in disagreements(verifiers, chains):
            differ[each.family] += 1
            sys.stderr.write(f"{each}\n")
    for verifier in verifiers:
        name = f"disagreements_{verifier.name.replace('-', '_').replace('.', '_')}_per_1000"
        yield Measurement(name, round(1000 * differ[verifier.name] / drawn, 2), "chains", LIMIT)


def _one_verdict() -> float:
    """Return the CPU seconds of one verdict on a chain of three that is new: the median of the slowest family."""
    root = Authority.root("Root")
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        issuing = root.intermediate(f"Issuing {number}")
        lower = issuing.intermediate(f"Lower {number}")
        chain = [each.der() for each in (lower.issue(NAME), lower, issuing)]
        family = list(FAMILIES.values())[number % len(FAMILIES)]
        trust = Trust("store", (certificate(root.der()),))
        known = [certificate(each) for each in chain]
        began = time.process_time()
        assert verify(known, trust, family, NAME, time.time()).accepted
        found.setdefault(family.name, []).append(time.process_time() - began)
    return max(map(statistics.median, found.values()))


def web(levels: int, width: int = 4) -> tuple[Sequence[Certificate], Trust]:
    """Return a chain that is a web of CAs, where each signs each of the next level, and a store without its roots."""
    tops = [Authority.root(f"Top {number}") for number in range(width)]
    above = tops
    presented: list[bytes] = []
    for level in range(levels):
        below = [above[0].intermediate(f"CA {level}", key=each.key) for each in tops]
        presented += [each.der() for each in below]
        presented += [other.cross_sign(each).der() for other in above[1:] for each in below]
        above = below
    chain = [above[0].issue(NAME).der(), *presented]
    return [certificate(each) for each in chain], Trust("store", (certificate(Authority.root("Other").der()),))


def _worst_web() -> float:
    """Return the CPU seconds of the slowest family for a web of CAs that leads nowhere."""
    known, trust = web(LADDER)
    slowest = 0.0
    for family in FAMILIES.values():
        began = time.process_time()
        assert not verify(known, trust, family, NAME, time.time()).accepted
        slowest = max(slowest, time.process_time() - began)
    return slowest


def main() -> int:
    """Print the numbers; return 1 where one is over its limit."""
    found = list(measure(DRAWN_IN_FULL))
    sys.stdout.write("".join(f"{each.line()}\n" for each in found))
    return 0 if all(each.ok for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
