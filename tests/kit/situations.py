"""Situations: one by hand, and any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from actions.plan import Kind
from config.catalogue import CATALOGUE
from config.model import DAY
from config.policy import Action, Activate, Check, HasFinding, Policy, Replace, Rollback
from config.vocabulary import Code, Mode, Severity
from monitor.decide.decision import Decision
from monitor.decide.engine import decide
from monitor.decide.situation import Accepts, Attempt, FindingState, KnownCandidate, Result, Situation, Validity

NOW: Final = 1_800_000_000.0
"""A Friday, 2027-01-15 08:00 UTC."""
HOUR: Final = 3600.0

CODES: Final = (
    Code.EXPIRING,
    Code.EXPIRED,
    Code.NOT_SERVED,
    Code.INCOMPLETE_CHAIN,
    Code.CLIENT_REJECTS,
    Code.ENDPOINTS_DISAGREE,
    Code.WEAK_KEY,
)


def situation(**facts: Any) -> Situation:
    """Return a component `web` halfway through 90 days, on which nothing is wrong, with other facts where given."""
    given = {
        "subject": "web",
        "mode": Mode.AUTO,
        "targets": ("web/certificate", "web/443"),
        "is_component": True,
        "certificate": validity(),
        "on_disk": "old",
        "allowed_issuers": True,
        **facts,
    }
    return Situation(**given)


def validity(days: float = 90, left: float | None = None, sha256: str = "old") -> Validity:
    """Return a certificate that is valid for `days`, of which `left` remain now, by default half of them."""
    end = NOW + (days / 2 if left is None else left) * DAY
    return Validity(sha256, end - days * DAY, end)


def found(code: Code, since: float = NOW - HOUR, severity: Severity | None = None) -> FindingState:
    return FindingState("web/443", code, severity or CATALOGUE[code].severity, since, at_endpoint=True)


def has(code: Code, lasting: float = 0.0) -> HasFinding:
    return HasFinding(frozenset({code}), str(code), lasting=lasting)


def policy(when: Check, action: Action | None = None, name: str = "p", **more: Any) -> Policy:
    return Policy(name, when, action, **{"mode": Mode.AUTO, **more})


def candidate(identity: str = "new", since: float = NOW - HOUR, **more: Any) -> KnownCandidate:
    return KnownCandidate(identity, since, **more)


def attempt(kind: Kind = Kind.REPLACE, what: str = "new", ended: float = NOW - HOUR, **more: Any) -> Attempt:
    given = {"began": ended - 10, "result": Result.TRANSIENT, "transaction": f"t{ended:.0f}", **more}
    return Attempt(kind, what, ended=ended, **given)


def one(situation: Situation, *policies: Policy, now: float = NOW) -> Decision:
    """Return the only decision."""
    (decision,) = decide(situation, policies, now).decisions
    return decision


REPLACE: Final = Replace()
ROLLBACK: Final = Rollback()
ACTIVATE: Final = Activate()

_PAST: Final = st.integers(0, 40 * 24).map(lambda hours: NOW - hours * HOUR)


def findings() -> st.SearchStrategy[FindingState]:
    return st.builds(
        FindingState,
        st.sampled_from(["web/443", "web/certificate"]),
        st.sampled_from(CODES),
        st.sampled_from(Severity),
        _PAST,
    )


def attempts() -> st.SearchStrategy[Attempt]:
    return st.builds(
        lambda kind, what, ended, result: attempt(
            kind, what, ended, result=result, leaf="old", accepted=frozenset({("default", "web/443")})
        ),
        st.sampled_from(Kind),
        st.sampled_from(["new", "old", ""]),
        _PAST,
        st.sampled_from(Result),
    )


def certificates() -> st.SearchStrategy[Validity]:
    return st.builds(
        lambda days, share: validity(days, share * days),
        st.sampled_from([6, 47, 200, 3650]),
        st.floats(-0.1, 1.0),
    )


# A strategy is examined once, which takes longer than to draw from it: each is made once.
_MODES = st.none() | st.sampled_from(Mode)
_FINDINGS = st.lists(findings(), max_size=3)
_EDGES = st.lists(st.builds(Accepts, st.just("default"), st.just("web/443"), st.booleans(), _PAST), max_size=1)
_CERTIFICATE_OR_NOT = st.none() | certificates()
_PAST_OR_NEVER = st.none() | _PAST
_CANDIDATE_OR_NOT = st.none() | st.builds(KnownCandidate, st.sampled_from(["new", "newer"]), _PAST, st.just(""))
_ATTEMPTS = st.lists(attempts(), max_size=4)
_HELD = st.sampled_from(["", "", "", "frozen"])


@st.composite
def situations(draw: st.DrawFn, subject: str = "web") -> Situation:
    """Return any situation of the past and present: nothing in it lies in the future."""
    tried = sorted(draw(_ATTEMPTS), key=lambda each: each.ended)
    return replace(
        situation(subject=subject),
        mode=draw(_MODES),
        findings=tuple(draw(_FINDINGS)),
        edges=tuple(draw(_EDGES)),
        certificate=draw(_CERTIFICATE_OR_NOT),
        drift_since=draw(_PAST_OR_NEVER),
        candidate=draw(_CANDIDATE_OR_NOT),
        attempts=tuple(tried),
        held=draw(_HELD),
    )
