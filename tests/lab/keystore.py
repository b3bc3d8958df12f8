"""PKCS#12 keystores as various tools write them, and a server that reads them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat, pkcs12

from monitor.lab.ca import Issued
from monitor.lab.process import ServerProcess, accepts
from monitor.lab.servers import Server
from tests.lab import keystore_server

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

    def element(tag: int, *contents: bytes) -> bytes:
        content = b"".join(contents)
        length = len(content)
        return bytes([tag, length] if length < 0x80 else [tag, 0x81, length]) + content

    hashed = element(0x30, element(0x30, element(0x06, bytes.fromhex(digest)), b"\5\0"), element(0x04, bytes(64)))
    number = element(0x02, rounds.to_bytes(rounds.bit_length() // 8 + 1, "big"))
    safe = element(0x30, element(0x06, bytes.fromhex("2a864886f70d010701")), element(0xA0, element(0x04, b"\x30\0")))
    return element(0x30, b"\2\1\3", safe, element(0x30, hashed, element(0x04, b"saltsalt"), number))


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
        command = (sys.executable, keystore_server.__file__, self.host, str(self.port), *self._files)
        self._process = ServerProcess(command, self._log)
        self._process.wait_until(lambda: accepts(self.host, self.port), f"listening on {self.address}")

    def reload(self) -> None:
        raise NotImplementedError("the tests let certvigil do that")

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
