"""The table of preambles: what is spoken before the handshake, by the protocol of an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from config.vocabulary import EndpointProtocol
from probes.tls.preamble.postgres import Postgres
from probes.tls.preamble.smtp import SMTP
from probes.tls.preamble.talk import Preamble

PREAMBLES: Final[Mapping[EndpointProtocol, Callable[[], Preamble]]] = MappingProxyType(
    {
        EndpointProtocol.SMTP: SMTP,
        EndpointProtocol.POSTGRES: Postgres,
    }
)
"""Without that of TLS from the first byte on, which needs none."""


def preamble_of(protocol: EndpointProtocol) -> Preamble | None:
    """Return a new preamble of `protocol`; None where TLS begins at once."""
    begin = PREAMBLES.get(protocol)
    return None if begin is None else begin()
