"""How often a model and a real verifier agree on drawn chains, and on which they do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from probes.certificate import Certificate, certificate
from probes.trust import Trust
from probes.verify.engine import Judgement, verify
from probes.verify.families import FAMILIES
from tests.kit.chains import DrawnChain
from tests.kit.verifiers import Answer, Question

Model = Callable[[tuple[Certificate, ...], Trust, str, float], bool]
"""Whether the presented chain is accepted by who trusts the store, asks for the name, at that time."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A chain on which a model and a real verifier differ."""

    chain: DrawnChain
    answer: Answer
    judged: Judgement | None = None

    @property
    def shown(self) -> str:
        """What developers need in order to see why."""
        why = [] if self.judged is None else [f"{each.rule}@{each.index} {each.detail}" for each in self.judged.best.objections]
        return f"{self.chain.number} {', '.join(self.chain.deviations)}: real {self.answer}, model {why}"


def read(question: Question) -> tuple[tuple[Certificate, ...], Trust] | None:
    """Return the chain and the store of a question; None where a certificate cannot be read at all."""
    try:
        chain = tuple(map(certificate, question.chain))
        return chain, Trust("drawn", tuple(map(certificate, question.anchors)))
    except ValueError:
        return None


def disagreements(
    family: str, chains: Sequence[DrawnChain], answers: Sequence[Answer], now: float | None = None
) -> Iterator[Disagreement]:
    """Yield each chain on which the row of that family and the answers of its real verifier differ."""
    at = time.time() if now is None else now
    for chain, answer in zip(chains, answers, strict=True):
        known = read(chain.question)
        judged = None if known is None else verify(*known, FAMILIES[family], chain.question.name, at)
        if (judged is not None and judged.accepted) != answer.accepts:
            yield Disagreement(chain, answer, judged)
