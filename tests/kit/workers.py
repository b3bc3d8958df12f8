"""A TLS server of several processes that share one port, as those do that scale by SO_REUSEPORT."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import astuple
from typing import Final

from monitor.lab.process import ServerProcess, accepts
from monitor.lab.servers import BackgroundServer, Site

WORKERS: Final = 4
_PROGRAM: Final = os.path.join(os.path.dirname(__file__), "worker_pool.py")
_SERVES: Final = b" serves\n"
_LOADS: Final = """\
import ssl, sys
for pair in zip(sys.argv[1::2], sys.argv[2::2]):
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*pair)
"""


def loads(sites: Sequence[Site]) -> tuple[str, ...]:
    """Return the command that tests a server's files by loading them as the server would."""
    pairs = (path for site in sites for path in (site.certificate, site.key))
    return (sys.executable, "-I", "-S", "-c", _LOADS, *pairs)


class Workers(BackgroundServer):
    """Four workers, each with a socket of its own on the one port: the kernel chooses who answers."""

    workers = WORKERS

    @property
    def _command(self) -> tuple[str, ...]:
        # Without its own directory on the path: modules here have the names of rooms.
        return (sys.executable, "-P", _PROGRAM, self.config_file)

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that loads the files as a worker would."""
        return loads(self.sites)

    @property
    def lying_command(self) -> tuple[str, ...]:
        """The command that says it did so and leaves one worker as it was."""
        return ("/bin/kill", "-USR1", str(self.pid))

    def _config(self) -> str:
        return json.dumps(
            {
                "host": self.host,
                "port": self.port,
                "workers": self.workers,
                "sites": [astuple(site) for site in self.sites],
                "minimum": self.tls.minimum,
                "maximum": self.tls.maximum,
                "ciphers": self.tls.ciphers,
            }
        )

    def start(self) -> None:
        """Return once every worker accepts."""
        super().start()
        self._running().wait_until(lambda: self._loads() == self.workers, "serving with every worker")

    def _activate(self, process: ServerProcess) -> None:
        before = self._loads()
        process.signal(signal.SIGHUP)
        process.wait_until(
            lambda: self._loads() == before + self.workers and accepts(self.host, self.port), "reloading every worker"
        )

    def _loads(self) -> int:
        """Return how often a worker has loaded the files, by its log."""
        with open(self.log_file, "rb") as file:
            return file.read().count(_SERVES)
