"""How many examples hypothesis plays of a property: all of them with `--all`, else a share, other ones in each run."""

from __future__ import annotations

from typing import Final

from hypothesis import HealthCheck, settings

_ALL: Final = 100
_SHARE: Final = 40


def play(*, everything: bool) -> None:
    """Have all examples be played, or a share; to be called before tests are imported."""
    settings.register_profile(
        "certvigil",
        # A machine that is busy makes no test wrong.
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        max_examples=_ALL if everything else _SHARE,
    )
    settings.load_profile("certvigil")


def examples(number: int) -> int:
    """Return the number of examples to play of so many."""
    return max(1, number * settings().max_examples // _ALL)
