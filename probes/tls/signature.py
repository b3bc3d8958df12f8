"""By which algorithm a server of TLS 1.3 signs its handshake: it says so encrypted, and the library does not tell it.

The library tells the secret by which the server encrypts its part of the handshake, so its records are read once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from config.address import is_dns_name

MOST_BYTES: Final = 256 * 1024
"""That are taken from a server."""

_FLIGHT: Final = 65_536
_SECRET: Final = b"SERVER_HANDSHAKE_TRAFFIC_SECRET"
_APPLICATION_DATA: Final = 23
"""The type that encrypted records have, whatever is in them."""
_HANDSHAKE: Final = 22
_CERTIFICATE_VERIFY: Final = 15
_IV_BYTES: Final = 12


class SignedHandshake:
    """One handshake of TLS 1.3 that verifies nothing; its outcome is the scheme of the server's signature."""

    def __init__(self, server_name: str, alpn: bytes = b"") -> None:
        """Ask for `server_name`, unless that is an address; `alpn` is the protocol that is offered."""
        self.outcome: int | None = None
        """None where it is not known."""
        self._records = bytearray()
        secrets: list[bytes] = []
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        context.set_verify(SSL.VERIFY_NONE)
        context.set_keylog_callback(lambda _connection, line: secrets.append(line))
        self._secrets = secrets
        self._connection = SSL.Connection(context, None)
        self._connection.set_connect_state()
        if alpn:
            self._connection.set_alpn_protos([alpn])
        if is_dns_name(server_name):
            self._connection.set_tlsext_host_name(server_name.encode("ascii"))

    def start(self) -> bytes:
        """Return the ClientHello."""
        return self._advance()

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the server, return those for it."""
        self._records += data
        if len(self._records) > MOST_BYTES or not data:
            return b""
        self._connection.bio_write(data)
        return self._advance()

    def _advance(self) -> bytes:
        with suppress(SSL.Error):
            self._connection.do_handshake()
            self.outcome = self._signature()
        try:
            return self._connection.bio_read(_FLIGHT)
        except SSL.WantReadError:
            return b""

    def _signature(self) -> int | None:
        for line in self._secrets:
            label, _, rest = line.partition(b" ")
            if label == _SECRET:
                secret = bytes.fromhex(rest.rpartition(b" ")[2].decode("ascii"))
                return signature_in(bytes(self._records), secret, self._connection.get_cipher_name() or "")
        return None


def signature_in(records: bytes, secret: bytes, cipher: str) -> int | None:
    """Return the scheme in the CertificateVerify among a server's `records` (RFC 8446, 4.4.3), if it is there.

    `secret` is that of the server's handshake traffic, and `cipher` the name of the suite.
    """
    messages = bytearray()
    for plain in _decrypted(records, secret, cipher):
        messages += plain
        while len(messages) >= 4:
            end = 4 + int.from_bytes(messages[1:4], "big")
            if len(messages) < end:
                break
            if messages[0] == _CERTIFICATE_VERIFY:
                return int.from_bytes(messages[4:6], "big")
            del messages[:end]
    return None


def _decrypted(records: bytes, secret: bytes, cipher: str) -> Iterator[bytes]:
    """Yield the content of each encrypted record of the handshake (RFC 8446, 5.2)."""
    algorithm: hashes.HashAlgorithm = hashes.SHA384() if cipher.endswith("SHA384") else hashes.SHA256()
    key = _expanded(secret, algorithm, b"key", 16 if "AES_128" in cipher else 32)
    iv = int.from_bytes(_expanded(secret, algorithm, b"iv", _IV_BYTES), "big")
    if "CHACHA20" in cipher:
        aead: ChaCha20Poly1305 | AESCCM | AESGCM = ChaCha20Poly1305(key)
    elif "CCM" in cipher:
        aead = AESCCM(key, tag_length=8 if "CCM_8" in cipher else 16)
    else:
        aead = AESGCM(key)
    at = number = 0
    while at + 5 <= len(records):
        end = at + 5 + int.from_bytes(records[at + 3 : at + 5], "big")
        if records[at] == _APPLICATION_DATA:
            nonce = (iv ^ number).to_bytes(_IV_BYTES, "big")
            try:
                inner = aead.decrypt(nonce, records[at + 5 : end], records[at : at + 5]).rstrip(b"\x00")
            except InvalidTag:
                # The rest is encrypted by the secret of what follows the handshake.
                return
            number += 1
            if inner[-1:] == bytes([_HANDSHAKE]):
                yield inner[:-1]
        at = end


def _expanded(secret: bytes, algorithm: hashes.HashAlgorithm, label: bytes, length: int) -> bytes:
    """Return HKDF-Expand-Label without a context (RFC 8446, 7.1)."""
    name = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(name)]) + name + b"\x00"
    return HKDFExpand(algorithm, length, info).derive(secret)
