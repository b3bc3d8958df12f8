"""What to do about a problem: the command that helps, for each code of a finding."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from config.text import printable
from config.vocabulary import Code, TargetKind
from monitor.tell.problem import Member

_REPLACE: Final = frozenset(
    {
        *(Code.EXPIRED, Code.EXPIRING, Code.NOT_YET_VALID, Code.VALIDITY_TOO_LONG),
        *(Code.INCOMPLETE_CHAIN, Code.WRONG_ORDER, Code.UNTRUSTED_ISSUER, Code.SELF_SIGNED, Code.BAD_SIGNATURE),
        *(Code.INVALID_CA, Code.PATH_REJECTED, Code.HOSTNAME_MISMATCH, Code.COMMON_NAME_ONLY, Code.KEY_MISMATCH),
        *(Code.WEAK_KEY, Code.WEAK_SIGNATURE, Code.CLIENT_REJECTS, Code.NO_CERTIFICATE),
    }
)
_ACTIVATE: Final = frozenset({Code.NOT_SERVED})
_MOST: Final = 3


def advice(members: Sequence[Member]) -> list[str]:
    """Return a command or two that help with what is wrong, the worst of which comes first."""
    worst = members[0]
    components = list(dict.fromkeys(each.component for each in members if each.component is not None))
    if worst.kind is TargetKind.SELF:
        commands = ["certvigil status"]
    elif worst.finding.code in _ACTIVATE and components:
        commands = [f"certvigil activate {_word(each)}" for each in components]
    elif worst.finding.code in _REPLACE and components:
        commands = [f"certvigil replace {' '.join(map(_word, components[:10]))} --from NEW.pem"]
    else:
        commands = [f"certvigil history {_word(worst.target)}"]
    if len(commands) > _MOST:
        commands = [*commands[:_MOST], f"and so for {len(components) - _MOST} more components"]
    return commands


def _word(name: str) -> str:
    return shlex.quote(printable(name, 200))
