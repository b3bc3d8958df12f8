"""certvigil where no server is installed: `python -m tests.kit.bare_machine COMMAND...`."""

from __future__ import annotations

import os
import sys
from typing import Final

from monitor.demo import story
from monitor.lab import process
from monitor.main import main

HURRY: Final = "CERTVIGIL_TESTS_HURRY"
"""The variable of the environment with which no process of a demonstration is given any time to begin."""

if __name__ == "__main__":
    process._SERVER_DIRECTORIES = ""  # type: ignore[misc]
    if HURRY in os.environ:
        story.SLOW_START = story.START = 0.0  # type: ignore[misc]
    sys.argv[0] = "certvigil"
    main()
