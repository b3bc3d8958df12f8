"""Where the rows of families and the real verifiers disagree on drawn chains."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from config.vocabulary import VerifierName
from probes.certificate import Certificate, certificate
from probes.trust import Trust
from probes.verify.engine import Judgement, verify
from probes.verify.families import FAMILIES
from tests.kit.chains import DrawnChain
from tests.kit.verifiers import Answer, Question, RealVerifier, ask_all


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A chain on which a row and the real verifier differ."""

    family: str
    chain: DrawnChain
    answer: Answer
    judged: Judgement | None

    def __str__(self) -> str:
        said = [] if self.judged is None else [f"{each.rule} at {each.index}" for each in self.judged.best.objections]
        return f"{self.family} {self.chain.number} {self.chain.deviations}: really {self.answer}, by its row {said}"


def disagreements(
    verifiers: Sequence[RealVerifier], chains: Sequence[DrawnChain], now: float | None = None
) -> list[Disagreement]:
    """Return each chain on which a row and its real verifier differ, in the order of the chains."""
    answers = ask_all(verifiers, [each.question for each in chains])
    return list(compared(answers, chains, time.time() if now is None else now))


def compared(
    answers: Mapping[str, Sequence[Answer]], chains: Sequence[DrawnChain], now: float
) -> Iterator[Disagreement]:
    """Yield where the `answers` of real verifiers, by the names of their families, differ from the rows."""
    for number, chain in enumerate(chains):
        known = read(chain.question)
        for family, given in answers.items():
            row = FAMILIES[VerifierName(family)]
            judged = None if known is None else verify(*known, row, chain.question.name, now, unstapled=True)
            if (judged is not None and judged.accepted) != given[number].accepts:
                yield Disagreement(family, chain, given[number], judged)


def read(question: Question) -> tuple[tuple[Certificate, ...], Trust] | None:
    """Return the chain and the store of a question; None where a certificate cannot be read at all."""
    try:
        return tuple(map(certificate, question.chain)), Trust("drawn", tuple(map(certificate, question.anchors)))
    except ValueError:
        return None
