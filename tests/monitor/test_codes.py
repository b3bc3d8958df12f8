"""The closed list of findings, against the code that raises them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.vocabulary import NOT_RAISED_YET, Code, Group

ROOT = Path(__file__).parents[2]
READERS = ("monitor/commands", "monitor/decide", "monitor/lab", "monitor/decide/gather.py", "monitor/notify")
"""What only asks whether there is a finding; these in there raise some of their own."""
RAISERS = ("monitor/notify/outbox.py", "monitor/notify/notifier.py")


def raising() -> Iterator[str]:
    """Yield the source that raises findings."""
    for room in ("probes", "actions", "monitor"):
        for path in (ROOT / room).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if name in RAISERS or not name.startswith(READERS):
                yield path.read_text()


RAISED = frozenset(re.findall(r"\bCode\.([A-Z_]+)\b", "\n".join(raising())))


@pytest.mark.parametrize("code", Code)
def test_what_can_be_named_is_raised(code: Code) -> None:
    assert code.name in RAISED


def test_what_is_raised_is_not_called_planned() -> None:
    assert NOT_RAISED_YET.keys().isdisjoint((*Code, *Group))
    assert {near for near in NOT_RAISED_YET.values() if near} <= {*Code, *Group}
