"""PKCS#12 keystores as various tools write them, and a server that reads them."""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from monitor.lab.ca import Issued
from monitor.lab.process import ServerProcess, accepts
from monitor.lab.servers import Server
from tests.kit import keystore_server

PASSWORD: Final = b"correct horse"


def keystore(
    issued: Issued,
    password: bytes | None = PASSWORD,
    *,
    name: bytes | None = b"site",
    old: bool = False,
    chain: Sequence[Issued] | None = None,
    rounds: int = 1000,
) -> bytes:
    """Return key, certificate and chain, encrypted as today or as Java did until 2021, so `old`."""
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(rounds)
    if old:
        way = builder.key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(SHA1())
    else:
        way = builder.key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC).hmac_hash(SHA256())
    return pkcs12.serialize_key_and_certificates(
        name,
        issued.key,
        issued.certificate,
        [each.certificate for each in (issued.chain[1:] if chain is None else chain)],
        way.build(password) if password else NoEncryption(),
    )


def sealed(rounds: int, digest: str = "608648016503040203") -> bytes:
    """Return a keystore with nothing in it and a MAC that no password fits, by the hash of that identifier: SHA-512."""
    hashed = _element(0x30, _element(0x30, _identifier(digest), b"\5\0"), _element(0x04, bytes(64)))
    safe = _element(0x30, _identifier(_DATA), _element(0xA0, _element(0x04, b"\x30\0")))
    return _element(0x30, b"\2\1\3", safe, _element(0x30, hashed, _element(0x04, b"saltsalt"), _number(rounds)))


def hiding(issued: Issued, rounds: int) -> bytes:
    """Return a keystore whose key is encrypted twice, so that only the outer encryption tells the rounds of the inner.

    It takes `rounds`, or says so where they are too many to be done here.
    """
    salt, vector = os.urandom(8), os.urandom(16)
    inner = encrypted_key(issued, rounds)
    bag = _element(0x30, _identifier("2a864886f70d010c0a0102"), _element(0xA0, inner))
    outer = _element(0x80, _encrypted(_element(0x30, bag), 1, salt, vector))
    content = _element(0x30, b"\2\1\0", _element(0x30, _identifier(_DATA), _scheme(1, salt, vector), outer))
    safe = _element(0x30, _element(0x30, _identifier("2a864886f70d010706"), _element(0xA0, content)))
    digest = hmac.new(_mac_key(salt), safe, "sha1").digest()
    mac = _element(0x30, _element(0x30, _identifier("2b0e03021a"), b"\5\0"), _element(0x04, digest))
    data = _element(0x30, _identifier(_DATA), _element(0xA0, _element(0x04, safe)))
    return _element(0x30, b"\2\1\3", data, _element(0x30, mac, _element(0x04, salt), b"\2\1\1"))


def encrypted_key(issued: Issued, rounds: int) -> bytes:
    """Return the key as PKCS#8 under the password; it takes `rounds`, or says so where they are too many."""
    key = issued.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, vector = os.urandom(8), os.urandom(16)
    return _element(0x30, _scheme(rounds, salt, vector), _element(0x04, _encrypted(key, min(rounds, 2), salt, vector)))


_DATA: Final = "2a864886f70d010701"


def _element(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, len(content)] if len(content) < 0x80 else [tag, 0x80 | len(size), *size]) + content


def _identifier(content: str) -> bytes:
    return _element(0x06, bytes.fromhex(content))


def _number(value: int) -> bytes:
    return _element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _scheme(rounds: int, salt: bytes, vector: bytes) -> bytes:
    """Return PBES2 (RFC 8018, 6.2) with HMAC by SHA-256 and AES-256."""
    function = _element(0x30, _identifier("2a864886f70d0209"), b"\5\0")
    derived = _element(0x30, _element(0x04, salt), _number(rounds), function)
    derivation = _element(0x30, _identifier("2a864886f70d01050c"), derived)
    cipher = _element(0x30, _identifier("60864801650304012a"), _element(0x04, vector))
    return _element(0x30, _identifier("2a864886f70d01050d"), _element(0x30, derivation, cipher))


def _encrypted(data: bytes, rounds: int, salt: bytes, vector: bytes) -> bytes:
    key = hashlib.pbkdf2_hmac("sha256", PASSWORD, salt, rounds, 32)
    encryptor = Cipher(AES(key), CBC(vector)).encryptor()
    missing = 16 - len(data) % 16
    return encryptor.update(data + bytes([missing] * missing)) + encryptor.finalize()


def _mac_key(salt: bytes) -> bytes:
    """Return the key of a MAC by SHA-1 in one round (RFC 7292, appendix B)."""
    password = PASSWORD.decode().encode("utf-16-be") + b"\0\0"
    repeated = (password * (64 // len(password) + 1))[: 64 * ((len(password) + 63) // 64)]
    return hashlib.sha1(b"\3" * 64 + salt * 8 + repeated, usedforsecurity=False).digest()


def indefinite(der: bytes) -> bytes:
    """Return a SEQUENCE of 256 to 65535 octets with its length left open, as BER may."""
    return b"\x30\x80" + der[4:] + b"\0\0"


class KeystoreServer(Server):
    """A process that serves what is in a keystore."""

    def __init__(self, directory: str, path: str, password_file: str) -> None:
        super().__init__(())
        self._files = path, password_file
        self._log = os.path.join(directory, "server.log")
        self._process: ServerProcess | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = (sys.executable, "-P", keystore_server.__file__, self.host, str(self.port), *self._files)
        self._process = ServerProcess(command, self._log)
        self._process.wait_until(lambda: accepts(self.host, self.port), f"listening on {self.address}")

    def reload(self) -> None:
        raise NotImplementedError("the tests let certvigil do that")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
