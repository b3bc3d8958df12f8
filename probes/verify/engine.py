"""The verdict of a family on a presented chain: the first acceptable path, or the best failed one with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from config.immutable import immutable
from probes.certificate import Certificate
from probes.trust import Trust
from probes.verify.building import End, TriedPath, tried_paths
from probes.verify.constraints import NameComparisons
from probes.verify.facts import facts_of
from probes.verify.family import ClientFamily
from probes.verify.rules import PathObjection, Rule, objections, unreadable

MOST_ASTRAY: Final = 8
"""Paths that lead to no anchor and are judged all the same, to say why."""


@immutable
class JudgedPath:
    """A path that was tried, and why it was refused."""

    path: TriedPath
    objections: tuple[PathObjection, ...]


@immutable
class Judgement:
    """The verdict of a family on a chain."""

    accepted: bool
    attempts: tuple[JudgedPath, ...]
    """In the order in which the family tries; the last one is that which it accepts, if any."""

    @property
    def best(self) -> JudgedPath:
        """The accepted path; where there is none, that with the fewest objections."""
        return self.attempts[-1] if self.accepted else min(self.attempts, key=_merit)


def _merit(attempt: JudgedPath) -> tuple[bool, int, int]:
    return (attempt.path.end is not End.ANCHOR, len(attempt.objections), -len(attempt.path.certificates))


def verify(
    presented: Sequence[Certificate],
    trust: Trust,
    family: ClientFamily,
    name: str | None,
    now: float,
    *,
    unstapled: bool = False,
) -> Judgement:
    """Return the verdict of `family` on the chain (not empty) at Unix time `now`, for a client that asks for `name`.

    The leaf is the first of it, as in TLS. Without a name, names are not judged. `unstapled` says that it came in a
    handshake without an OCSP response; else a promised one is not asked for.
    """
    attempts: list[JudgedPath] = []
    broken = _unreadable(presented, family)
    comparisons = NameComparisons(family)
    astray = 0
    for path in tried_paths(presented, trust, family, now):
        if path.end is not End.ANCHOR:
            astray += 1
            if astray > MOST_ASTRAY:
                continue
        against = (*broken, *objections(path, family, name, now, comparisons, unstapled=unstapled))
        attempts.append(JudgedPath(path, against))
        if not against:
            return Judgement(True, tuple(attempts))
    return Judgement(False, tuple(attempts))


def _unreadable(presented: Sequence[Certificate], family: ClientFamily) -> tuple[PathObjection, ...]:
    """Return that the handshake ends since a certificate cannot be read, wherever it stands."""
    if not family.reads_all:
        return ()
    found = (unreadable(each, facts_of(each), family) for each in presented)
    return tuple(PathObjection(Rule.ENCODING, 0, why) for why in found if why)[:1]
