"""The page of one certificate: its chain, the places where it lies or is served, and every client's verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from config.immutable import immutable
from config.vocabulary import TargetKind
from monitor.http.answers import CertificateAnswer
from monitor.http.console.drawing import LifeBar, life_bar
from monitor.http.console.table import PageFacts, Targets
from monitor.state.target import TargetState
from monitor.store import HistoryEntry, What
from probes.certificate import Certificate
from probes.chain import signed
from probes.judge.client import leaf_first
from probes.judge.time import moment
from probes.lifetime import has_ended

PLACES: Final = 100
"""Of a page; the rest is counted."""
TRACED: Final = 5
"""Targets whose history is read for what came before and after."""
_LONGEST_CHAIN: Final = 10
BOX_STEP: Final = 70


@immutable
class ChainBox:
    """A certificate in the drawing of a chain, the leaf at the top."""

    y: int
    title: str
    about: str
    """What it is in the chain, and until when."""
    state: str
    """`ok`, or `critical` where it has ended or is missing."""
    sha256: str
    """Empty where it is not at hand."""


@immutable
class Lying:
    """A target that presents the certificate."""

    target: str
    kind: TargetKind
    location: str
    component: str | None
    position: int
    """In what it presents, from 0."""
    since: float
    """Unix time since when it presents that."""


@immutable
class ClientVerdict:
    """The verdict of a client at one endpoint that presents the certificate as its own."""

    client: str
    target: str
    accepts: bool
    why: str
    unvalidated: str


@immutable
class PresentedTurn:
    """A certificate that one of the targets presented, the newest first."""

    at: float
    """Unix time since when."""
    target: str
    sha256: str
    said: str
    is_this: bool


@immutable
class CertificatePage:
    """All that the page shows."""

    facts: CertificateAnswer
    title: str
    bar: LifeBar | None
    chain: tuple[ChainBox, ...]
    lying: tuple[Lying, ...]
    places: int
    """The number of targets that present it."""
    verdicts: tuple[ClientVerdict, ...]
    turns: tuple[PresentedTurn, ...]


def holders(sha256: str, targets: Targets) -> tuple[Certificate, tuple[TargetState, ...]] | None:
    """Return a certificate by its SHA-256 with the targets that present it; None where there is none."""
    found: Certificate | None = None
    those = []
    for state in targets.values():
        for each in state.presented:
            if each.sha256 == sha256:
                found = each
                those.append(state)
                break
    return None if found is None else (found, tuple(those))


def certificate_page(
    certificate: Certificate,
    those: Sequence[TargetState],
    history: Iterable[HistoryEntry],
    known: PageFacts,
) -> CertificatePage:
    """Return the page; `those` are the targets that present it, with some of their `history`."""
    own = [each for each in those if leaf_first(each.presented)[0] == certificate]
    ordered = sorted(those, key=lambda each: (each.kind is not TargetKind.ENDPOINT, each.target))
    # An endpoint is judged by its clients, whose stores have the anchors.
    best = next((each for each in ordered if each in own), ordered[0])
    return CertificatePage(
        facts=CertificateAnswer.of(certificate),
        title=certificate.title,
        bar=life_bar(certificate, known.thresholds(best.target), known.now),
        chain=tuple(_boxes(chain_of(certificate, (*best.presented, *best.issuers)), known.now)),
        lying=tuple(_lying(each, certificate) for each in ordered[:PLACES]),
        places=len(those),
        verdicts=tuple(
            ClientVerdict(edge.client, state.target, edge.accepted, edge.why, edge.unvalidated)
            for state in own
            for edge in state.edges
        )[: 2 * PLACES],
        turns=tuple(_turns(history, certificate.sha256)),
    )


def chain_of(leaf: Certificate, pool: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """Return a certificate and its issuers among `pool`, each verified to have signed the one before."""
    path = [leaf]
    while not path[-1].self_issued and len(path) < _LONGEST_CHAIN:
        issuer = path[-1].outline().issuer
        candidates = (each for each in pool if each not in path and each.outline().subject == issuer)
        following = next((each for each in candidates if signed(each, path[-1])), None)
        if following is None:
            break
        path.append(following)
    return tuple(path)


def _boxes(chain: Sequence[Certificate], now: float) -> Iterator[ChainBox]:
    for number, each in enumerate(chain):
        role = "root" if each.self_issued else "leaf" if not each.is_ca else "intermediate"
        word, state = ("ended", "critical") if has_ended(each, now) else ("until", "ok")
        end = "" if each.not_after is None else f", {word} {moment(each.not_after)}"
        yield ChainBox(number * BOX_STEP, _cut(each.title), f"{role}{end}", state, each.sha256)
    if not chain[-1].self_issued:
        y = len(chain) * BOX_STEP
        yield ChainBox(y, _cut(chain[-1].issuer or "an issuer without a name"), "not at hand", "critical", "")


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def _lying(state: TargetState, certificate: Certificate) -> Lying:
    position = state.presented.index(certificate)
    return Lying(state.target, state.kind, state.location, state.component, position, state.since)


def _turns(history: Iterable[HistoryEntry], sha256: str) -> Iterator[PresentedTurn]:
    for each in history:
        if each.what is What.PRESENTED and each.certificates:
            yield PresentedTurn(
                each.at, each.target, each.certificates[0], each.sentence, each.certificates[0] == sha256
            )
