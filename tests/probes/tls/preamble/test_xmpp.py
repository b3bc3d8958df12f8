"""STARTTLS in XMPP, without I/O."""

from __future__ import annotations

import time

import pytest

from probes.tls.preamble import xmpp
from probes.tls.preamble.talk import MOST_BYTES, Agreed, Declined
from probes.tls.preamble.xmpp import XMPP

TLS = b"urn:ietf:params:xml:ns:xmpp-tls"
STREAM = b"<?xml version='1.0'?><stream:stream id='1' from='example.com' version='1.0'>"
OFFER = b"<stream:features><starttls xmlns='" + TLS + b"'><required/></starttls></stream:features>"
PROCEED = b'<proceed xmlns="' + TLS + b'"/>'
ASKED = b"<starttls xmlns='" + TLS + b"'/>"


@pytest.mark.parametrize("proceed", [PROCEED, PROCEED[:-2] + b"></proceed>"])
def test_a_stream_is_opened_tls_is_asked_for_and_the_server_proceeds(proceed: bytes) -> None:
    client = XMPP(xmpp.CLIENT, "example.com")
    assert client.start() == (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
        b"to='example.com' version='1.0'>"
    )
    whole = STREAM + OFFER + b" "
    assert b"".join(client.receive(whole[at : at + 1]) for at in range(len(whole))) == ASKED
    assert client.receive(b"\n") == b""
    assert client.outcome is None
    assert client.receive(proceed) == b""
    assert client.outcome == Agreed()


def test_a_server_speaks_in_the_namespace_of_servers_and_an_odd_name_is_not_sent() -> None:
    said = XMPP(xmpp.SERVER, "a'/><x y='").start()
    assert (b"'jabber:server'" in said, b" to=" in said) == (True, False)


@pytest.mark.parametrize(
    "filling",
    [b"a", b">", b"<", b"<>", b" ", b"<proceed >", b"<proceed xmlns='" + TLS + b"'>"],
)
@pytest.mark.parametrize("before", [STREAM, STREAM + OFFER])
def test_the_size_of_the_pieces_does_not_make_a_stream_dearer(before: bytes, filling: bytes) -> None:
    client, said = XMPP(xmpp.CLIENT, "example.com"), (filling * MOST_BYTES)[:MOST_BYTES]
    client.receive(before)
    began = time.process_time()
    for at in range(len(said)):
        if client.outcome is None:
            client.receive(said[at : at + 1])
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([b"220 mail.example.com\r\n"], "does not speak XMPP"),
        ([b"<html></html><stream:features/>"], "does not speak XMPP"),
        ([STREAM + b"<stream:features/>"], "speaks XMPP, and does not offer STARTTLS"),
        ([STREAM + b"<stream:features><starttls xmlns='other'/></stream:features>"], "speaks XMPP, and does not offer"),
        ([STREAM + b"<stream:error><host-unknown/></stream:error>"], "answers with an error of the stream"),
        ([STREAM + OFFER, b"<failure xmlns='" + TLS + b"'/></stream:stream>"], "speaks XMPP, and takes no TLS"),
        ([STREAM + OFFER, PROCEED + b"<iq/>"], "sent more in the clear behind its agreement to begin TLS"),
        ([STREAM + OFFER + PROCEED + b"<iq/>", b" "], "sent more in the clear behind its agreement to begin TLS"),
    ],
)
def test_a_server_that_does_not_is_said(said: list[bytes], why: str) -> None:
    client = XMPP(xmpp.CLIENT, "example.com")
    for each in said:
        client.receive(each)
    assert isinstance(client.outcome, Declined)
    assert client.outcome.why.startswith(why)
