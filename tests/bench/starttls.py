"""CPU of looks at endpoints with STARTTLS, against looks at the same server that speaks TLS at once.

Both are measured in turn, several times, and the median of the ratios counts.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from config.address import join_address
from config.vocabulary import EndpointProtocol
from monitor.lab.ca import Authority, bundle
from monitor.lab.process import accepts, free_address
from monitor.lab.servers import Nginx, Site, replace_file, write_site
from tests.bench.look_cpu import SERVER_NAME, Monitored
from tests.bench.report import Measurement

LIMIT: Final = 1.3
LOOKS: Final = 1_000
ROUNDS: Final = 5


class MailProxy(Nginx):
    """nginx for SMTP: with STARTTLS at its own address, and within TLS at another."""

    def __init__(self, directory: str, site: Site) -> None:
        super().__init__(directory, [site])
        self.within = free_address()

    def _config(self) -> str:
        (site,) = self.sites
        return f"""\
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
pid {self.directory}/nginx.pid;
worker_processes 1;
events {{ worker_connections 512; }}
mail {{
    # Nobody signs in.
    auth_http 127.0.0.1:1;
    server_name {SERVER_NAME};
    ssl_certificate {site.certificate};
    ssl_certificate_key {site.key};
    server {{ listen {self.address}; protocol smtp; starttls on; }}
    server {{ listen {join_address(*self.within)} ssl; protocol smtp; }}
}}
"""


def measure() -> Iterator[Measurement]:
    """Yield the ratio of CPU times for `LOOKS` looks."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        issuing = (root := Authority.root()).intermediate()
        ca_file = os.path.join(directory, "ca.pem")
        replace_file(ca_file, bundle([root]))
        server = stack.enter_context(MailProxy(directory, write_site(directory, issuing.issue(SERVER_NAME))))
        if not accepts(*server.within):
            raise RuntimeError("nginx does not listen within TLS")
        plain = stack.enter_context(Monitored(ca_file, [server.within], looks=LOOKS))
        behind = stack.enter_context(
            Monitored(ca_file, [(server.host, server.port)], EndpointProtocol.SMTP, looks=LOOKS)
        )
        ratios = []
        # The first round is not counted: it learns the chains, and warms both up.
        for each in range(ROUNDS + 1):
            at_once, starttls = plain.look_at_all(), behind.look_at_all()
            sys.stderr.write(f"TLS {at_once / LOOKS * 1e6:.0f} us, STARTTLS {starttls / LOOKS * 1e6:.0f} us a look\n")
            if each:
                ratios.append(starttls / at_once)
    yield Measurement("starttls_extra_cpu", round(statistics.median(ratios), 3), "ratio", LIMIT)


if __name__ == "__main__":
    for measurement in measure():
        sys.stdout.write(f"{measurement.line()}\n")
