"""How long `certvigil discover` takes on a host with fourteen servers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack

from monitor.lab.ca import Authority
from tests.bench.commands import median_seconds
from tests.bench.report import Measurement
from tests.kit.server_host import PROGRAMS, ServerHost


def measure() -> Iterator[Measurement]:
    """Measure `certvigil discover` with a handshake for each port and each site of these servers."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        # Most of these servers become users without rights.
        os.chmod(directory, 0o755)
        host = ServerHost(os.path.join(directory, "root"), Authority.root("Bench"))
        host.start(tuple(PROGRAMS), stack)
        ports = [word for each in host.servers.values() for word in ("--port", str(each.port))]
        yield Measurement("discover_s", median_seconds("discover", "--root", host.root, *ports), "s", 5)
