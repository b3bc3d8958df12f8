"""A policy as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from config.catalogue import GROUP_MEMBERS
from config.fields import duration_text, share_text
from config.model import DAY, Threshold
from config.policy import (
    LEAST_OF_CODE,
    LEAST_OF_GROUP,
    Activate,
    AllOf,
    AnyOf,
    CandidatePresent,
    Check,
    ClientRejects,
    DriftOlderThan,
    FailedAttempts,
    HasFinding,
    Leaf,
    Not,
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
from config.vocabulary import Group


def given(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of `section` that are given."""
    return {key: value for key, value in section.items() if value is not None}


def show_policy(policy: Policy) -> dict[str, Any]:
    """Return the section from which `policy` is built."""
    override = policy.override_window_when
    return given(
        {
            "name": policy.name,
            "match": _match(policy.match) or None,
            "when": show_check(policy.when),
            "windows": [_window(each) for each in policy.windows] or None,
            "override_window_when": show_check(override) if override is not None else None,
            "mode": str(policy.mode) if policy.mode is not None else None,
            "fallback": True if policy.fallback else None,
            "do": _do(policy),
        }
    )


def _match(match: PolicyMatch) -> dict[str, Any]:
    section = {
        "component": list(match.components),
        "group": list(match.groups),
        "target": list(match.targets),
        "label": {name: list(values) for name, values in match.labels.items()},
        "profile": list(match.profiles),
    }
    return {key: value for key, value in section.items() if value}


def _window(window: Window) -> dict[str, Any]:
    return {"cron": window.cron, "duration": duration_text(window.duration), "timezone": window.timezone}


def _do(policy: Policy) -> list[Any]:
    steps: list[Any] = []
    match policy.action:
        case Replace(issuers, min_lifetime):
            replacement: dict[str, Any] = {"from": "inbox"}
            replacement["allowed_issuers"] = [given(asdict(each)) for each in issuers]
            if min_lifetime is not None:
                replacement["min_lifetime"] = duration_text(min_lifetime)
            steps.append({"replace": replacement})
        case Rollback():
            steps.append("rollback")
        case Activate():
            steps.append("activate")
        case None:
            pass
    if policy.notify is not None:
        steps.append({"notify": list(policy.notify.channels)})
    return steps


def show_check(check: Check) -> dict[str, Any]:
    """Return the section from which `check` is built."""
    match check:
        case AnyOf(checks):
            return {"any": [show_check(each) for each in checks]}
        case AllOf(checks):
            return {"all": [show_check(each) for each in checks]}
        case Not(inner):
            return {"not": show_check(inner)}
        case _:
            return {**_leaf(check), **({"for": duration_text(check.lasting)} if check.lasting else {})}


def _leaf(check: Leaf) -> dict[str, Any]:
    match check:
        case RemainingBelow(threshold):
            return {"remaining_below": _remaining(threshold)}
        case HasFinding(codes, named, severity):
            is_group = named in {*map(str, Group)} and codes == GROUP_MEMBERS[Group(named)]
            severe = {} if severity is (LEAST_OF_GROUP if is_group else LEAST_OF_CODE) else {"severity": str(severity)}
            return {"group" if is_group else "finding": named, **severe}
        case ClientRejects(client, target):
            return {"client_rejects": given({"client": client, "target": target})}
        case DriftOlderThan(age):
            return {"drift_older_than": duration_text(age)}
        case CandidatePresent():
            return {"candidate_present": True}
        case FailedAttempts(count):
            return {"failed_attempts": count}
        case Regressed(within):
            return {"regressed_within": duration_text(within)}


def _remaining(threshold: Threshold) -> Any:
    # Days first: a third, which is their share, cannot be written in full.
    if threshold == days_left(threshold.days):
        return duration_text(threshold.days * DAY)
    if threshold == share_of_lifetime(threshold.share):
        return share_text(threshold.share)
    return {"share": share_text(threshold.share), "days": threshold.days}
