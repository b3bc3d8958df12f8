"""Whether the clock of this host may be believed."""

from __future__ import annotations

import ctypes
from typing import Final

_TIMEX_SIZE: Final = 512
"""More than a struct timex takes on any platform; all zeros asks and sets nothing."""
_TIME_ERROR: Final = 5
"""Of linux/timex.h."""


def is_synchronised() -> bool | None:
    """Return whether the kernel counts the wall clock as synchronised (adjtimex); None where that is not known.

    The kernel does not after each step of the clock, until the service that sets it says so anew.
    """
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE))
    except AttributeError:
        return None
    return None if state < 0 else state != _TIME_ERROR
