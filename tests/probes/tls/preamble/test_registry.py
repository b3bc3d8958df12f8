"""Each protocol of endpoints is spoken, to real servers, by each driver."""

from __future__ import annotations

import os
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import pytest

from config.model import Endpoint
from config.vocabulary import STARTTLS_PORTS, EndpointProtocol, UnreachableReason
from monitor.lab.ca import Authority
from monitor.lab.servers import write_site
from probes.tls.preamble.registry import NAMED_PREAMBLES, PREAMBLES, preamble_of
from tests.kit.drivers import DRIVERS, by_blocking
from tests.kit.peers import HELLO, playing
from tests.kit.starttls_servers import DOMAIN, server_of

PROGRAMS = {
    EndpointProtocol.SMTP: "postfix",
    EndpointProtocol.LMTP: "dovecot",
    EndpointProtocol.IMAP: "dovecot",
    EndpointProtocol.POP3: "dovecot",
    EndpointProtocol.SIEVE: "dovecot",
    EndpointProtocol.FTP: "vsftpd",
    EndpointProtocol.IRC: "inspircd",
    EndpointProtocol.LDAP: "slapd",
    EndpointProtocol.XMPP: "prosody",
    EndpointProtocol.XMPP_SERVER: "prosody",
    EndpointProtocol.POSTGRES: "pg_ctlcluster",
    EndpointProtocol.MYSQL: "mariadbd",
    EndpointProtocol.RDP: "xrdp",
}
"""A real server of each protocol; Debian's INN, for NNTP, is not installed without a host name of its own."""


def test_each_protocol_that_begins_in_the_clear_has_its_row() -> None:
    at_once = {EndpointProtocol.TLS, EndpointProtocol.POSTGRES_DIRECT}
    assert {*PREAMBLES, *NAMED_PREAMBLES} == set(STARTTLS_PORTS) == set(EndpointProtocol) - at_once
    assert all(preamble_of(each, DOMAIN) is None for each in at_once)
    assert set(PROGRAMS) == {*PREAMBLES, *NAMED_PREAMBLES} - {EndpointProtocol.NNTP}


@pytest.mark.skipif(os.getuid() != 0, reason="these servers are started by root")
@pytest.mark.parametrize(
    "protocol", [pytest.param(each, marks=pytest.mark.server(program)) for each, program in PROGRAMS.items()]
)
def test_a_server_that_begins_in_the_clear_is_seen_as_any_other(
    issuing_ca: Authority, cleanup: ExitStack, protocol: EndpointProtocol
) -> None:
    # Not pytest's, which is closed to users without rights, and most of these servers become one.
    directory = cleanup.enter_context(TemporaryDirectory())
    os.chmod(directory, 0o755)
    leaf = issuing_ca.issue(DOMAIN)
    server = cleanup.enter_context(server_of(protocol, f"{directory}/server", write_site(directory, leaf)))
    for by in DRIVERS:
        seen = by(Endpoint("it", server.host, server.port, DOMAIN, protocol=protocol))
        assert seen.failures == ()
        assert [[each.der for each in found.chain] for found in seen.presented] == [[each.der() for each in leaf.chain]]
        assert seen.presented[0].version == "TLSv1.3"
    (failure,) = by_blocking(Endpoint("it", server.host, server.port, DOMAIN, timeout=2.0)).failures
    assert failure.reason in {
        *(UnreachableReason.NOT_TLS, UnreachableReason.CONNECTION_CLOSED),
        *(UnreachableReason.TIMED_OUT, UnreachableReason.CONNECTION_RESET),
    }


@pytest.mark.parametrize(
    ("first", "then", "reason", "detail"),
    [
        (b"220 it\r\n", b"", UnreachableReason.CONNECTION_CLOSED, "the server closed the connection before TLS began"),
        (
            b"220 it\r\n",
            b"250 it\r\n",
            UnreachableReason.TLS_DECLINED,
            "the server speaks SMTP, and does not offer STARTTLS",
        ),
        (b"421 busy\r\n", b"", UnreachableReason.TLS_DECLINED, "the server answers a connection with the code 421"),
    ],
)
def test_each_driver_says_why_tls_did_not_begin(
    first: bytes, then: bytes, reason: UnreachableReason, detail: str
) -> None:
    with playing((first, HELLO, then)) as (host, port):
        for by in DRIVERS:
            (failure,) = by(Endpoint("it", host, port, DOMAIN, protocol=EndpointProtocol.SMTP)).failures
            assert (failure.reason, failure.detail) == (reason, detail)
