"""STARTTLS in XMPP (RFC 6120, 5), of clients and of servers: a stream is opened, TLS is asked for, the server proceeds.

What the server says is searched for the few elements that count, and never parsed as a document: it needs no entities,
and nobody's are expanded.
"""

from __future__ import annotations

import re
from typing import Final

from config.address import is_dns_name
from probes.tls.preamble.talk import Agreed, Declined, agreed, declines

CLIENT: Final = "jabber:client"
SERVER: Final = "jabber:server"

_NAMESPACE: Final = b"urn:ietf:params:xml:ns:xmpp-tls"
_STREAM: Final = re.compile(rb"<stream:stream[\s>]")
_FEATURES_END: Final = re.compile(rb"</stream:features\s*>|<stream:features\s*/>")
_OFFER: Final = re.compile(rb"<starttls\s[^<>]*" + re.escape(_NAMESPACE))
# The namespace is looked for ahead, so that a tag that has it very often is gone through once.
_PROCEED: Final = re.compile(
    rb"<proceed\s(?=[^<>]*" + re.escape(_NAMESPACE) + rb")[^<>]*(?:/>|>\s*</proceed\s*>)",
)
_FAILURE: Final = re.compile(rb"<failure\s[^<>]*" + re.escape(_NAMESPACE))
_ERROR: Final = re.compile(rb"<stream:error[\s>]")
_BEGINNING: Final = re.compile(rb"\s*<")


class XMPP:
    """The client's side, on behalf of a client or of another server."""

    def __init__(self, namespace: str, domain: str) -> None:
        """`domain` is what the stream is to: what is no name of the DNS is left out."""
        self.outcome: Agreed | Declined | None = None
        to = f" to='{domain}'" if is_dns_name(domain) else ""
        self._opening = (
            f"<?xml version='1.0'?><stream:stream xmlns='{namespace}' "
            f"xmlns:stream='http://etherx.jabber.org/streams'{to} version='1.0'>"
        ).encode()
        self._received = bytearray()
        self._asked = False

    def start(self) -> bytes:
        """Return the opening of a stream."""
        return self._opening

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        self._received += data
        received = bytes(self._received)
        if not _BEGINNING.match(received) and received.strip():
            self.outcome = Declined("does not speak XMPP")
        elif _ERROR.search(received):
            self.outcome = declines("answers with an error of the stream")
        elif self._asked:
            self._take_answer(received)
        elif (end := _FEATURES_END.search(received)) is not None:
            return self._take_features(received[: end.end()], received[end.end() :])
        return b""

    def _take_features(self, features: bytes, left: bytes) -> bytes:
        if not _STREAM.search(features):
            self.outcome = Declined("does not speak XMPP")
            return b""
        if not _OFFER.search(features):
            self.outcome = declines("speaks XMPP, and does not offer STARTTLS")
            return b""
        self._asked = True
        self._received = bytearray(left)
        return b"<starttls xmlns='" + _NAMESPACE + b"'/>"

    def _take_answer(self, received: bytes) -> None:
        if (proceed := _PROCEED.search(received)) is not None:
            self.outcome = agreed(received[proceed.end() :])
        elif _FAILURE.search(received):
            self.outcome = declines("speaks XMPP, and takes no TLS")
