"""What a server presents, seen by a client that shares no code with the prober."""

from __future__ import annotations

import re
import ssl
import subprocess
from typing import Final

from monitor.lab.process import find_command
from monitor.lab.servers import Server

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def presented(server: Server, name: str | None = None, *options: str) -> list[bytes]:
    """Return the chain as DER, in the order presented, by `openssl s_client` with `options`; empty without one."""
    sni = ["-servername", name] if name else ["-noservername"]
    command = find_command("openssl")
    assert command is not None
    said = subprocess.run(
        [command, "s_client", "-connect", server.address, "-showcerts", *sni, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=10,
        check=False,
    ).stdout.decode(errors="replace")
    chain, _, _ = said.partition("\nServer certificate\n")
    return [ssl.PEM_cert_to_DER_cert(pem) for pem in _CERTIFICATE.findall(chain)]
