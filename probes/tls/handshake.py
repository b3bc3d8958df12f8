"""The client's side of a TLS handshake without I/O: bytes in, bytes out, and facts or a typed failure at its end."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL, crypto

from config.address import is_dns_name
from config.immutable import immutable
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import ClientCertificateUse, KeyKind, TLSVersion, UnreachableReason
from probes.certificate import certificate
from probes.observation import Presented, Unreachable
from probes.tls.client_certificate import Identity, Unusable, sends_certificate
from probes.tls.preamble.talk import MOST_BYTES as MOST_IN_CLEAR
from probes.tls.preamble.talk import Agreed, Declined, Preamble

MOST_BYTES: Final = 256 * 1024
"""That are taken from one server; OpenSSL itself takes a certificate message of 100 KiB at most."""
MOST_CERTIFICATES: Final = 32

_VERSION: Final = MappingProxyType(
    {
        TLSVersion.TLS1_0: SSL.TLS1_VERSION,
        TLSVersion.TLS1_1: SSL.TLS1_1_VERSION,
        TLSVersion.TLS1_2: SSL.TLS1_2_VERSION,
        TLSVersion.TLS1_3: SSL.TLS1_3_VERSION,
    }
)
_MORE_CIPHERS: Final = ":ALL:COMPLEMENTOFALL:!aNULL:!PSK:!SRP:@SECLEVEL=0"
"""All that come with a certificate; at level 0 weak keys, weak signatures and TLS 1.0 are seen as well."""
_SIGNATURES: Final = MappingProxyType(
    {
        KeyKind.RSA: (
            b"rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"
            b"rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:"
            b"RSA+SHA256:RSA+SHA384:RSA+SHA512:RSA+SHA224:RSA+SHA1"
        ),
        KeyKind.EC: b"ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ECDSA+SHA224:ECDSA+SHA1",
    }
)
"""The signature algorithms of such a key (RFC 8446, 4.2.3)."""
_OTHER_CIPHERS: Final = MappingProxyType({KeyKind.RSA: "!aECDSA:!aDSS:", KeyKind.EC: "!aRSA:!aDSS:"})
"""Takes away what before TLS 1.3 is signed by, or encrypted to, another kind of key."""
_FLIGHT: Final = 65_536
"""More than a client has to say at once."""
SAYS_NOTHING: Final = "it may not speak TLS on this port, or want STARTTLS first"
"""Of a server that takes a ClientHello and goes away without a word."""
SPEAKS_NOT_IN_THE_CLEAR: Final = "it may want TLS from the first byte (protocol tls, not STARTTLS)"
"""Of a server that says nothing where it should speak in the clear before TLS."""

_RECORD: Final = re.compile(rb"[\x14-\x17]\x03")
_LAST_RECORD_IS_ALERT: Final = re.compile(rb"\x15\x03[\x00-\x04]\x00\x02[\x01\x02](.)\Z", re.DOTALL)
_CLOSE_NOTIFY: Final = 0
_PROTOCOL_VERSION: Final = 70
_ALERTS: Final = MappingProxyType(
    {
        10: "unexpected_message",
        20: "bad_record_mac",
        21: "decryption_failed",
        22: "record_overflow",
        30: "decompression_failure",
        40: "handshake_failure",
        41: "no_certificate",
        42: "bad_certificate",
        43: "unsupported_certificate",
        44: "certificate_revoked",
        45: "certificate_expired",
        46: "certificate_unknown",
        47: "illegal_parameter",
        48: "unknown_ca",
        49: "access_denied",
        50: "decode_error",
        51: "decrypt_error",
        60: "export_restriction",
        _PROTOCOL_VERSION: "protocol_version",
        71: "insufficient_security",
        80: "internal_error",
        86: "inappropriate_fallback",
        90: "user_canceled",
        100: "no_renegotiation",
        109: "missing_extension",
        110: "unsupported_extension",
        112: "unrecognized_name",
        116: "certificate_required",
        120: "no_application_protocol",
    }
)
"""RFC 8446, 6, and those that only older versions knew."""
_WANTS_A_CERTIFICATE: Final = frozenset({40, 41, 42, 43, 46, 48, 49, 116})
"""Alerts by which servers of TLS 1.2 and older turn a client away that shows no certificate of its own."""

_ALERT_IN_WORDS: Final = re.compile(r"alert ([a-z ]{1,60})\Z")
"""In OpenSSL's own words for an alert that came encrypted."""
LAST_WORD: Final = 3.0
"""Seconds for which a server of TLS 1.3 may take to refuse a certificate, or its lack, after the handshake."""

_LIB: Final = Binding().lib
_FFI: Final = Binding().ffi

_PLAIN_PROTOCOLS: Final = (
    (b"HTTP/", "HTTP"),
    (b"SSH-", "SSH"),
    (b"220", "SMTP or FTP"),
    (b"+OK", "POP3"),
    (b"* OK", "IMAP"),
)


@lru_cache
def _context(minimum: TLSVersion, key_type: KeyKind | None, identity: Identity | None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(_VERSION[minimum])
    # What every client offers stays in front, so that servers choose as they do for them.
    default = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None).get_cipher_list()
    others = "" if key_type is None else _OTHER_CIPHERS[key_type]
    context.set_cipher_list((others + ":".join(default) + _MORE_CIPHERS).encode())
    if key_type is not None:
        _ask_for(key_type, context)
    context.set_verify(SSL.VERIFY_NONE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Appliances from before RFC 5746 are to be seen as well.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_LEGACY_SERVER_CONNECT)
    if identity is not None:
        context.use_certificate(identity.chain[0])
        context.use_privatekey(identity.key)
        for each in identity.chain[1:]:
            context.add_extra_chain_cert(each)
    return context


def _ask_for(key_type: KeyKind, context: SSL.Context) -> None:
    """Offer only the signature algorithms of one kind of key, by which servers choose among their certificates.

    OpenSSL's own call is made, for which pyOpenSSL has no method: capping at TLS 1.2, whose ciphers name the key,
    would not see servers of TLS 1.3 alone, nor the version that clients get. OpenSSL sends no list of its own for the
    signatures of certificates (`signature_algorithms_cert`), so a server that minds who signed its certificate (the
    RFC lets it go on all the same) may refuse an EC one that an RSA CA signed.
    """
    if not _LIB.SSL_CTX_set1_sigalgs_list(context._context, _SIGNATURES[key_type]):
        raise RuntimeError(f"OpenSSL knows no signature algorithms of {key_type} keys")


@immutable
class Spoken:
    """What came over a connection that is secured, and what is to be sent."""

    received: bytes
    """In the clear."""
    to_send: bytes
    """Encrypted."""
    failed: str = ""
    """Why nothing more can come; empty where nothing is wrong."""
    ended: bool = False
    """The server has said that it sends nothing more."""


class Handshake:
    """One handshake that verifies nothing and resumes nothing, so that whatever is presented is seen.

    Send what each method returns; the handshake is over once `outcome` is set. It ends with close_notify, and does
    not wait for the server's.
    """

    def __init__(
        self,
        address: str,
        server_name: str,
        minimum: TLSVersion,
        key_type: KeyKind | None = None,
        *,
        preamble: Preamble | None = None,
        goes_on: bool = False,
        own: Identity | Unusable | None = None,
        alpn: bytes = b"",
        agrees: bool = False,
    ) -> None:
        """Ask for `server_name`, unless that is an address, and for a certificate with that type of key, RSA or EC.

        `address` is only what the outcome is about. The handshake begins once the `preamble` is over. With `goes_on`,
        no close_notify is sent, and `speak` may follow. `own` is shown to a server that asks for a certificate; `alpn`
        is the one protocol that is offered (RFC 7301); with `agrees`, the preamble ends with the server's agreement.
        """
        self._preamble = preamble
        """What is said in the clear; None once it is over."""
        self._in_clear = 0
        """Bytes received meanwhile."""
        self._goes_on = goes_on
        self.outcome: Presented | Unreachable | None = None
        self.presented: Presented | None = None
        """What a server presented whose last word is awaited."""
        self._awaited = 0
        """Bytes received meanwhile."""
        self._address = address
        self._minimum = minimum
        self._key_type = key_type
        self._received = bytearray()
        self.is_asked = False
        """Whether the server asked for a certificate."""
        self._own = own
        self._agrees = agrees
        self._started = False
        identity = own if isinstance(own, Identity) else None
        self._connection = SSL.Connection(_context(minimum, key_type, identity), None)
        self._connection.set_connect_state()
        self._connection.request_ocsp()
        if alpn:
            self._connection.set_alpn_protos([alpn])
        if is_dns_name(server_name):
            self._connection.set_tlsext_host_name(server_name.encode("ascii"))

    def start(self) -> bytes:
        """Return the ClientHello, or what comes before it."""
        self._started = True
        if self._preamble is None:
            return self._advance()
        return self._begin_after(self._preamble, self._preamble.start())

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        if self._preamble is not None:
            self._in_clear += len(data)
            return self._begin_after(self._preamble, self._preamble.receive(data))
        if self.presented is not None:
            self._take_last_word(self.presented, data)
            return b""
        self._received += data
        if len(self._received) >= 2 and not _RECORD.match(self._received):
            if self._agrees:
                return self._fail(UnreachableReason.NOT_TLS, "the server agreed to begin TLS, and goes on in the clear")
            return self._fail(UnreachableReason.NOT_TLS, _what_is_spoken(self._received))
        if len(self._received) > MOST_BYTES:
            return self._fail(UnreachableReason.TOO_MUCH_DATA, f"no handshake within {MOST_BYTES} bytes")
        if data:
            # pyOpenSSL takes a write of nothing for a wish to read.
            self._connection.bio_write(data)
        return self._advance()

    def _begin_after(self, preamble: Preamble, to_send: bytes) -> bytes:
        """Return what is to be sent, the ClientHello behind it once the server agreed to it."""
        match preamble.outcome:
            case Agreed():
                self._preamble = None
                return to_send + self._advance()
            case Declined(why, by_proxy=True):
                return self._fail(preamble.outcome.reason or UnreachableReason.PROXY_FAILED, f"the proxy {why}")
            case Declined(why):
                return self._fail(preamble.outcome.reason or UnreachableReason.NOT_TLS, f"the server {why}")
        if self._in_clear > MOST_IN_CLEAR:
            return self._fail(UnreachableReason.TOO_MUCH_DATA, f"no TLS within {MOST_IN_CLEAR} bytes in the clear")
        return to_send

    @property
    def patience(self) -> float | None:
        """The seconds for which the server's last word is awaited; None before that."""
        return None if self.presented is None else LAST_WORD

    def end(self) -> Presented | Unreachable:
        """Return the outcome, now that the connection is closed; where that came too early, it says so."""
        if self.outcome is None and self.is_asked:
            # Some servers turn a client away without a word.
            self.outcome = self.presented or self._turned_away("without an alert")
        detail = Printable("the server closed the connection in the middle of the handshake")
        if self._preamble is not None:
            said = "" if self._in_clear else f", and said nothing: {SPEAKS_NOT_IN_THE_CLEAR}"
            detail = sentence("the server closed the connection before TLS began{}", harmless(said))
        elif not self.answered:
            detail = sentence(
                "the server closed the connection when it was sent a TLS hello, and said nothing: {}",
                harmless(SAYS_NOTHING),
            )
        self.outcome = self.outcome or Unreachable(harmless(self._address), UnreachableReason.CONNECTION_CLOSED, detail)
        return self.outcome

    @property
    def is_unheard(self) -> bool:
        """Whether the server was connected to, and said nothing in the clear, where TLS begins behind that."""
        return self._started and self._preamble is not None and not self._in_clear

    @property
    def answered(self) -> bool:
        """Whether the server sent anything."""
        return bool(self._received) or bool(self._in_clear)

    def speak(self, to_send: bytes, received: bytes) -> Spoken:
        """Go on after a handshake that presented something: encrypt what is to be sent, decrypt what was received."""
        plain = bytearray()
        failed, ended = "", False
        try:
            if received:
                self._connection.bio_write(received)
            if to_send:
                self._connection.sendall(to_send)
            while True:
                plain += self._connection.recv(_FLIGHT)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            ended = True
        except SSL.Error as error:
            failed = _why(error)
        return Spoken(bytes(plain), self._to_send(), failed, ended)

    def _advance(self) -> bytes:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return self._flight()
        except SSL.Error as error:
            to_send = self._to_send()
            self._end_with(error, to_send)
            return to_send
        last = self._flight()
        if not self._goes_on:
            self._connection.shutdown()
        presented = self._presented()
        if isinstance(presented, Presented) and self._waits_for_last_word():
            self.presented = presented
        else:
            self.outcome = presented
        return last + self._to_send()

    def _flight(self) -> bytes:
        """Return the records of the handshake that are to be sent, and note what they tell of the server's wishes."""
        records = self._to_send()
        self.is_asked = self.is_asked or sends_certificate(records)
        return records

    def _waits_for_last_word(self) -> bool:
        """Whether the server has yet to say what it makes of our certificate, or of its lack (RFC 8446, 4.4.2.4)."""
        return self.is_asked and not self._goes_on and self._connection.get_protocol_version() >= SSL.TLS1_3_VERSION

    def _take_last_word(self, presented: Presented, data: bytes) -> None:
        self._awaited += len(data)
        spoken = self.speak(b"", data)
        alert = _ALERT_IN_WORDS.search(spoken.failed)
        if alert is not None:
            self.outcome = self._turned_away(f"with the alert {alert[1].replace(' ', '_')}")
        elif spoken.failed or spoken.ended or spoken.received or self._awaited > MOST_BYTES:
            self.outcome = presented

    def _to_send(self) -> bytes:
        try:
            return self._connection.bio_read(_FLIGHT)
        except SSL.WantReadError:
            return b""

    def _end_with(self, error: SSL.Error, sent: bytes) -> None:
        """Tell failures apart by the alert that either side has sent (RFC 8446, 6)."""
        theirs, ours = _alert(self._received), _alert(sent)
        if theirs is None:
            if ours == _PROTOCOL_VERSION:
                self._fail(UnreachableReason.PROTOCOL_VERSION, f"the server does not speak {self._minimum} or newer")
            else:
                self._fail(UnreachableReason.HANDSHAKE_FAILED, _why(error))
        elif (theirs in _WANTS_A_CERTIFICATE or self.is_asked) and self._connection.get_peer_cert_chain():
            self.outcome = self._turned_away(f"with the alert {_ALERTS.get(theirs, theirs)}")
        elif theirs == _CLOSE_NOTIFY:
            self.end()
        else:
            reason = UnreachableReason.HANDSHAKE_FAILED
            if theirs == _PROTOCOL_VERSION:
                reason = UnreachableReason.PROTOCOL_VERSION
            asking = f" a client that takes {self._key_type} keys only" if self._key_type else ""
            self._fail(reason, f"the server refused{asking} with the alert {_ALERTS.get(theirs, theirs)}")

    def _fail(self, reason: UnreachableReason, detail: str) -> bytes:
        self.outcome = Unreachable(harmless(self._address), reason, harmless(detail))
        return b""

    def _turned_away(self, how: str) -> Presented | Unreachable | None:
        """Return what was presented by a server that goes no further without a better certificate of ours."""
        if not self._connection.get_peer_cert_chain():
            return None
        presented = self._presented()
        if not (self.is_asked and isinstance(presented, Presented)):
            return presented
        use, fault = ClientCertificateUse.REFUSED, sentence("the server refused it {}", harmless(how))
        if not isinstance(self._own, Identity):
            use, fault = ClientCertificateUse.REQUIRED, presented.client_certificate_fault
        return replace(presented, client_certificate=use, client_certificate_fault=fault)

    def _presented(self) -> Presented | Unreachable:
        stack = self._connection.get_peer_cert_chain() or []
        if len(stack) > MOST_CERTIFICATES:
            detail = sentence("presents {} certificates, at most {} are looked at", len(stack), MOST_CERTIFICATES)
            return Unreachable(harmless(self._address), UnreachableReason.TOO_MUCH_DATA, detail)
        try:
            chain = tuple(certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, each)) for each in stack)
        except ValueError as error:
            detail = sentence("presents a certificate that cannot be decoded: {}", printable(str(error), 200))
            return Unreachable(harmless(self._address), UnreachableReason.HANDSHAKE_FAILED, detail)
        return Presented(
            harmless(self._address),
            chain,
            self._connection.get_protocol_version_name(),
            self._connection.get_cipher_name() or "",
            self._connection.get_group_name() or "",
            _staple(self._connection),
            *self._use_of_own(),
            handshake_bytes=len(self._received),
        )

    def _use_of_own(self) -> tuple[ClientCertificateUse, Printable]:
        """Return what a server that goes on makes of our certificate, and why that cannot be used."""
        if isinstance(self._own, Unusable):
            return ClientCertificateUse.UNUSABLE, self._own.why
        if not self.is_asked:
            return ClientCertificateUse.NOT_REQUESTED, Printable("")
        accepted = self._own is not None
        return ClientCertificateUse.ACCEPTED if accepted else ClientCertificateUse.REQUESTED, Printable("")


def _staple(connection: SSL.Connection) -> bytes:
    """Return the OCSP response that came in the handshake, for which pyOpenSSL has a callback alone."""
    response = _FFI.new("unsigned char **")
    length = _LIB.SSL_get_tlsext_status_ocsp_resp(connection._ssl, response)
    return bytes(_FFI.buffer(response[0], length)) if length > 0 else b""


def _alert(records: bytes | bytearray) -> int | None:
    """Return the number of the alert that `records` end in; None where they do not, or it is encrypted."""
    match = _LAST_RECORD_IS_ALERT.search(records, max(0, len(records) - 7))
    return match[1][0] if match else None


def _why(error: SSL.Error) -> str:
    """Return OpenSSL's own words, for people only."""
    queue = error.args[0] if error.args else None
    if isinstance(queue, list) and queue:
        return printable(f"OpenSSL says: {queue[-1][-1]}", 200)
    return "the handshake failed"


def _what_is_spoken(received: bytearray) -> str:
    """Name the protocol, not what was said: that may have the time in it, and the same facts must read the same."""
    for start, protocol in _PLAIN_PROTOCOLS:
        if received.startswith(start):
            return f"the server speaks {protocol} without TLS"
    return "the server does not speak TLS"
