"""stunnel, from Debian's package: TLS in front of a service that need not be there for a handshake."""

from __future__ import annotations

import signal
from typing import Final

from monitor.lab.process import LabError, ServerProcess, accepts
from monitor.lab.servers import BackgroundServer
from tests.kit.workers import loads

_CONFIGURED: Final = b"Configuration successful"


class Stunnel(BackgroundServer):
    """stunnel with one site, whose connections it closes after the handshake, for there is nothing behind it."""

    @property
    def _command(self) -> tuple[str, ...]:
        return ("stunnel4", self.config_file)

    @property
    def test_command(self) -> tuple[str, ...]:
        """The command that loads the files as it would; it has none of its own."""
        return loads(self.sites)

    def _config(self) -> str:
        if len(self.sites) > 1:
            raise LabError("this stunnel serves one site")
        (site,) = self.sites
        return f"""\
foreground = yes
pid =
debug = notice
[site]
accept = {self.address}
connect = 127.0.0.1:1
cert = {site.certificate}
key = {site.key}
sslVersionMin = {self.tls.minimum}
sslVersionMax = {self.tls.maximum}
ciphers = {self.tls.ciphers}
"""

    def _activate(self, process: ServerProcess) -> None:
        before = self._configured()
        process.signal(signal.SIGHUP)
        process.wait_until(
            lambda: self._configured() > before and accepts(self.host, self.port), "taking up its configuration again"
        )

    def _configured(self) -> int:
        with open(self.log_file, "rb") as file:
            return file.read().count(_CONFIGURED)
