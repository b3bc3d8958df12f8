"""What is wrong, by `certvigil status`, with a host on which certvigil was just installed as its units do it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.bench.report import Measurement
from tests.kit.installation import host, installed, wrong


def measure() -> Iterator[Measurement]:
    """Measure, as root, with the daemon as a user without rights and keys only for root or their services."""
    if os.getuid() != 0:
        return
    with host() as made, installed(made, made.document()) as (daemon, _):
        yield Measurement("status_clean_install", len(wrong(daemon)), "criticals and warnings", 0)
