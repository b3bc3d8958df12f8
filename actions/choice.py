"""The choice among several candidates for a component, and the fate of the others; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actions.candidate import Candidate, Keyless, Offered, age_order
from actions.ending import Ground
from actions.precheck import Demands, Objection, covers_names, unfit
from config.immutable import immutable
from probes.certificate import Certificate
from probes.judge.time import moment


@immutable
class PassedOverCandidate:
    """A candidate that is not used, although it is not older than the chosen candidate, or is for other names."""

    certificate: Certificate
    why: Objection


@immutable
class Choice:
    """The chosen candidate, and the others."""

    candidate: Candidate
    fit: bool = True
    """Whether it can be used, before its clients are asked; where no candidate can, the newest is chosen."""
    obsolete: tuple[Certificate, ...] = ()
    """Older certificates for the same names: they will never be used."""
    passed_over: tuple[PassedOverCandidate, ...] = ()

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """The servers' certificates that were compared."""
        return (self.candidate.certificate, *self.obsolete, *(each.certificate for each in self.passed_over))

    def remarks(self, component: str) -> tuple[str, ...]:
        """Return remarks on the others, sentences."""
        return (
            *(f"{component}: {_named(each)} is obsolete: a newer candidate is there" for each in self.obsolete),
            *(
                f"{component}: {_named(each.certificate)} is passed over: {each.why.detail}"
                for each in self.passed_over
            ),
        )


def choose(
    offered: Sequence[Offered],
    demands: Demands,
    now: float,
    barred: Callable[[Candidate], Objection | None] = lambda _candidate: None,
) -> Choice | Objection:
    """Return the newest of `offered` (not empty) that can be used at Unix time `now`, by begin, then by end.

    A candidate can be used where its key is at hand, it covers the names, is of an allowed issuer, is valid now, and
    `barred` gives no reason against it. Where none can be used, the newest is chosen, so that its faults are reported;
    where the key of that one is not at hand, an objection is returned.
    """

    def against(one: Offered) -> Objection | None:
        if isinstance(one, Keyless):
            return _without_key(one)
        reasons = unfit(one, demands, now)
        return next(iter(reasons), None) or barred(one)

    newest_first = sorted(offered, key=lambda each: age_order(each.certificate), reverse=True)
    reasons = {each.certificate: against(each) for each in newest_first}
    chosen = next((each for each in newest_first if reasons[each.certificate] is None), newest_first[0])
    if isinstance(chosen, Keyless):
        return _without_key(chosen)
    older = [each.certificate for each in newest_first[newest_first.index(chosen) + 1 :]]
    obsolete = tuple(each for each in older if covers_names(each, demands))
    passed_over = tuple(
        PassedOverCandidate(each, why)
        for each, why in reasons.items()
        if why and each not in {chosen.certificate, *obsolete}
    )
    return Choice(chosen, reasons[chosen.certificate] is None, obsolete, passed_over)


def _without_key(one: Keyless) -> Objection:
    return Objection(Ground.NO_CANDIDATE, f"{one.why.flaw}: {one.why.detail}")


def _named(certificate: Certificate) -> str:
    begin = "an unknown time" if certificate.not_before is None else moment(certificate.not_before)
    return f"{certificate.subject} (sha256 {certificate.sha256[:16]}), valid from {begin},"
