"""The table of preambles: what is spoken before the handshake, by the protocol of an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from config.model import Endpoint
from config.vocabulary import EndpointProtocol
from probes.tls.preamble import lines, xmpp
from probes.tls.preamble.chained import Chained
from probes.tls.preamble.credentials import Credentials, NoCredentials
from probes.tls.preamble.dialogue import ProbeDialogue
from probes.tls.preamble.ldap import LDAP
from probes.tls.preamble.lines import LineDialogue
from probes.tls.preamble.mysql import MySQL
from probes.tls.preamble.postgres import Postgres
from probes.tls.preamble.proxy import proxy_preamble
from probes.tls.preamble.proxy_protocol import ProxyHeader
from probes.tls.preamble.rdp import RDP
from probes.tls.preamble.talk import Preamble
from probes.tls.preamble.xmpp import XMPP

PREAMBLES: Final[Mapping[EndpointProtocol, Callable[[], Preamble]]] = MappingProxyType(
    {
        EndpointProtocol.SMTP: partial(LineDialogue, lines.SMTP),
        EndpointProtocol.LMTP: partial(LineDialogue, lines.LMTP),
        EndpointProtocol.IMAP: partial(LineDialogue, lines.IMAP),
        EndpointProtocol.POP3: partial(LineDialogue, lines.POP3),
        EndpointProtocol.SIEVE: partial(LineDialogue, lines.SIEVE),
        EndpointProtocol.FTP: partial(LineDialogue, lines.FTP),
        EndpointProtocol.NNTP: partial(LineDialogue, lines.NNTP),
        EndpointProtocol.IRC: partial(LineDialogue, lines.IRC),
        EndpointProtocol.LDAP: LDAP,
        EndpointProtocol.POSTGRES: Postgres,
        EndpointProtocol.MYSQL: MySQL,
        EndpointProtocol.RDP: RDP,
    }
)
"""Those that are the same whatever the server is called."""

NAMED_PREAMBLES: Final[Mapping[EndpointProtocol, Callable[[str], Preamble]]] = MappingProxyType(
    {
        EndpointProtocol.XMPP: partial(XMPP, xmpp.CLIENT),
        EndpointProtocol.XMPP_SERVER: partial(XMPP, xmpp.SERVER),
    }
)
"""Those that name the server."""


def preamble_to(endpoint: Endpoint, credentials: Credentials | NoCredentials | None) -> Preamble | None:
    """Return a new preamble of all that comes before the handshake with `endpoint`; None where TLS begins at once.

    `credentials` are for its proxy.
    """
    parts = (
        None if endpoint.proxy is None else proxy_preamble(endpoint.proxy, endpoint.host, endpoint.port, credentials),
        None if endpoint.proxy_protocol is None else ProxyHeader(endpoint.proxy_protocol),
        ProbeDialogue(endpoint.dialogue)
        if endpoint.dialogue
        else preamble_of(endpoint.protocol, endpoint.verified_name),
    )
    present = [each for each in parts if each is not None]
    return Chained(present) if present else None


def begins_in_the_clear(protocol: EndpointProtocol) -> bool:
    """Whether the server is asked for TLS, to which it has to agree."""
    return protocol in PREAMBLES or protocol in NAMED_PREAMBLES


def preamble_of(protocol: EndpointProtocol, server_name: str) -> Preamble | None:
    """Return a new preamble of `protocol`; None where TLS begins at once."""
    if (named := NAMED_PREAMBLES.get(protocol)) is not None:
        return named(server_name)
    begin = PREAMBLES.get(protocol)
    return None if begin is None else begin()
