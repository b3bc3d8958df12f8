"""Any policy that the configuration can declare."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType

from hypothesis import strategies as st

from config.catalogue import GROUP_MEMBERS
from config.model import AllowedIssuer
from config.policy import (
    Activate,
    AllOf,
    AnyOf,
    CandidatePresent,
    Check,
    ClientRejects,
    DriftOlderThan,
    FailedAttempts,
    HasFinding,
    Not,
    Notify,
    Policy,
    PolicyMatch,
    Regressed,
    RemainingBelow,
    Replace,
    Rollback,
    Window,
    days_left,
    share_of_lifetime,
)
from config.vocabulary import Code, Group, Mode, Severity

CODES = st.sampled_from(Code)
DURATIONS = st.sampled_from([0.0, 60.0, 900.0, 3600.0, 86_400.0])
SPANS = st.sampled_from([60.0, 900.0, 3600.0, 86_400.0])
_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
_THRESHOLDS = st.integers(1, 100).map(lambda percent: share_of_lifetime(percent / 100)) | st.integers(1, 200).map(
    days_left
)


# A strategy is examined once, which takes longer than to draw from it: each is made once.
@cache
def leaves(codes: st.SearchStrategy[Code] = CODES) -> st.SearchStrategy[Check]:
    severities = st.sampled_from(Severity)
    return st.one_of(
        st.builds(RemainingBelow, _THRESHOLDS, DURATIONS),
        st.builds(
            lambda code, severity, lasting: HasFinding(frozenset({code}), str(code), severity, lasting),
            codes,
            severities,
            DURATIONS,
        ),
        st.builds(
            lambda group, severity, lasting: HasFinding(GROUP_MEMBERS[group], str(group), severity, lasting),
            st.sampled_from(Group),
            severities,
            DURATIONS,
        ),
        st.builds(ClientRejects, st.just(None) | st.just("default"), st.none(), DURATIONS),
        st.builds(DriftOlderThan, SPANS, DURATIONS),
        st.builds(CandidatePresent, DURATIONS),
        st.builds(FailedAttempts, st.integers(1, 4), DURATIONS),
        st.builds(Regressed, SPANS, DURATIONS),
    )


@cache
def checks(codes: st.SearchStrategy[Code] = CODES) -> st.SearchStrategy[Check]:
    def grown(inner: st.SearchStrategy[Check]) -> st.SearchStrategy[Check]:
        several = st.lists(inner, min_size=1, max_size=3).map(tuple)
        return st.builds(AnyOf, several) | st.builds(AllOf, several) | st.builds(Not, inner)

    return st.recursive(leaves(codes), grown, max_leaves=4)


WINDOWS = st.builds(
    Window,
    st.sampled_from(["0 2 * * *", "30 2 * * 2", "0 0 1 * *", "15 */6 * * *", "0 22 * * fri"]),
    st.sampled_from([1800.0, 7200.0, 10_800.0]),
    st.sampled_from(["UTC", "Europe/Zurich", "America/St_Johns", "Australia/Lord_Howe"]),
)


_ACTIONS = (
    st.none() | st.builds(Replace, st.just((AllowedIssuer("system"),))) | st.builds(Rollback) | st.builds(Activate)
)
_NOTIFY = st.just(Notify(("ops",)))
_NOTIFY_OR_NOT = st.none() | _NOTIFY
_SEVERAL_WINDOWS = st.lists(WINDOWS, max_size=2).map(tuple)
_LABELS = st.dictionaries(_NAMES, st.lists(_NAMES, max_size=2).map(tuple), max_size=1)
_MODES = st.none() | st.sampled_from(Mode)
_FALLBACK = st.booleans()


@cache
def _checks_or_none(codes: st.SearchStrategy[Code]) -> st.SearchStrategy[Check | None]:
    return st.none() | checks(codes)


@st.composite
def policies(draw: st.DrawFn, codes: st.SearchStrategy[Code] = CODES, match: bool = True) -> Policy:
    action = draw(_ACTIONS)
    notify = draw(_NOTIFY_OR_NOT if action else _NOTIFY)
    windows = draw(_SEVERAL_WINDOWS) if action else ()
    labels = draw(_LABELS) if match else {}
    return Policy(
        draw(_NAMES),
        draw(checks(codes)),
        action,
        notify,
        PolicyMatch(labels=MappingProxyType(labels)),
        windows,
        draw(_checks_or_none(codes)) if windows else None,
        draw(_MODES) if action else None,
        fallback=draw(_FALLBACK),
    )
