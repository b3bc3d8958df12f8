"""Certificate policies, as far as clients ask (RFC 5280, 6.1): whether one is left where one must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from probes.verify.facts import Facts

ANY_POLICY: Final = "2.5.29.32.0"


def has_no_policy(path: Sequence[Facts]) -> bool:
    """Whether a path, leaf first and without its anchor, must have a policy and is left without any.

    Any policy will do, and none is required from the outset.
    """
    count = len(path)
    explicit = mapping = any_left = count + 1
    valid: frozenset[str] | None = frozenset({ANY_POLICY})
    for number, facts in enumerate(reversed(path), 1):
        is_last = number == count
        takes_any = any_left > 0 or (not is_last and facts.self_issued)
        valid = _kept(valid, facts.policies, takes_any=takes_any)
        if not valid and explicit <= 0:
            return True
        if is_last:
            break
        valid = _mapped(valid, facts.policy_mappings, allowed=mapping > 0)
        if not facts.self_issued:
            explicit, mapping, any_left = explicit - 1, mapping - 1, any_left - 1
        explicit = _least(explicit, facts.explicit_policy)
        mapping = _least(mapping, facts.inhibit_mapping)
        any_left = _least(any_left, facts.inhibit_any)
    last = path[0]
    explicit -= 1
    if last.explicit_policy == 0:
        explicit = 0
    return not valid and explicit <= 0


def _kept(valid: frozenset[str] | None, own: frozenset[str], *, takes_any: bool) -> frozenset[str]:
    """Return the policies that hold after a certificate that has its `own` (RFC 5280, 6.1.3 d)."""
    if not valid or not own:
        return frozenset()
    found = own - {ANY_POLICY} if ANY_POLICY in valid else own & valid
    if ANY_POLICY in own and takes_any:
        found |= valid
    return found


def _mapped(valid: frozenset[str], mappings: Sequence[tuple[str, str]], *, allowed: bool) -> frozenset[str]:
    """Return the policies by the names that the subject's domain gives them (RFC 5280, 6.1.4 b)."""
    if not mappings:
        return valid
    sources = {source for source, _ in mappings}
    kept = valid - sources
    if allowed:
        kept |= {target for source, target in mappings if source in valid or ANY_POLICY in valid}
    return kept


def _least(counter: int, limit: int | None) -> int:
    return counter if limit is None else min(counter, limit)
