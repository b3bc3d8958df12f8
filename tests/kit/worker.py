"""Python for a worker of pytest-xdist: `python -m tests.kit.worker SOCKET -u -c CODE`, forked off from another process.

That process is `tests.kit.worker_server`, which has imported what a worker imports.
"""

from __future__ import annotations

import os
import sys

from monitor.lab.process import wait_for
from tests.kit.forks import Forked, Start


def main(address: str, *arguments: str) -> int:
    """Have the code be run there, with the descriptors of this process, and return how it ended."""
    wait_for(lambda: os.path.exists(address), 300.0, "what workers are forked from")
    return Forked(address, arguments, 1, 2, start=Start("tests.kit.worker", input=0)).wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
