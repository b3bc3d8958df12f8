"""A program that makes handshakes in memory by the library that is named: see `tests.kit.verifiers`.

It uses nothing but the standard library and the libraries that it is about.
"""

from __future__ import annotations

import base64
import ctypes
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

ACCEPTS = "accepts"


@dataclass(frozen=True)
class Asked:
    name: str
    anchors: Sequence[bytes]
    chain: Sequence[bytes]
    key: bytes

    @property
    def anchors_pem(self) -> str:
        return "".join(map(ssl.DER_cert_to_PEM_cert, self.anchors))

    def server(self, directory: str) -> ssl.SSLContext:
        """Return a server that presents the chain, whatever is wrong with it; raises ssl.SSLError."""
        body = base64.encodebytes(self.key).decode()
        path = os.path.join(directory, "served.pem")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n")
            file.write("".join(map(ssl.DER_cert_to_PEM_cert, self.chain)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(path)
        return context


def refused(error: object) -> str:
    return f"refuses {' '.join(str(error).split())}"


def by_python(prepare: Callable[[ssl.SSLContext], None]) -> Callable[[Asked, str], str]:
    """Return how a client of Python answers, prepared so."""

    def ask(asked: Asked, directory: str) -> str:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        prepare(client)
        try:
            server = asked.server(directory)
            client.load_verify_locations(cadata=asked.anchors_pem)
            to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
            ours = client.wrap_bio(to_client, to_server, server_hostname=asked.name)
            theirs = server.wrap_bio(to_server, to_client, server_side=True)
            for _ in range(4):
                for side in (ours, theirs):
                    with suppress(ssl.SSLWantReadError):
                        side.do_handshake()
            ours.do_handshake()
        except (ssl.SSLError, ValueError) as error:
            return refused(error)
        return ACCEPTS

    return ask


def as_openssl(context: ssl.SSLContext) -> None:
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
    context.set_ciphers("DEFAULT:@SECLEVEL=2")
    # By default Python allows no wildcard beside a part of a label.
    context._host_flags = 0  # type: ignore[attr-defined]


def as_python(context: ssl.SSLContext) -> None:
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST


def as_python_3_13(context: ssl.SSLContext) -> None:
    partial = getattr(ssl.VerifyFlags, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT | partial


class Datum(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_uint)]


class GnuTLS:
    """A client by libgnutls, which calls `gnutls_session_set_verify_cert`."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL("libgnutls.so.30")
        self.lib.gnutls_strerror.restype = ctypes.c_char_p

    def ask(self, asked: Asked, directory: str) -> str:
        try:
            server = asked.server(directory)
        except ssl.SSLError as error:
            return refused(error)
        near, far = socket.socketpair()
        far.settimeout(20)

        def serve() -> None:
            with suppress(OSError, ValueError):
                server.wrap_socket(far, server_side=True).close()
            far.close()

        other = threading.Thread(target=serve)
        other.start()
        try:
            return self._client(near, asked)
        finally:
            near.close()
            other.join()

    def _client(self, near: socket.socket, asked: Asked) -> str:
        lib, cred, session = self.lib, ctypes.c_void_p(), ctypes.c_void_p()
        lib.gnutls_certificate_allocate_credentials(ctypes.byref(cred))
        pem, name = asked.anchors_pem.encode(), asked.name.encode()
        lib.gnutls_certificate_set_x509_trust_mem(cred, ctypes.byref(Datum(pem, len(pem))), 1)
        lib.gnutls_init(ctypes.byref(session), 2)
        try:
            lib.gnutls_set_default_priority(session)
            lib.gnutls_credentials_set(session, 1, cred)
            if not _is_address(asked.name):
                lib.gnutls_server_name_set(session, 1, name, ctypes.c_size_t(len(name)))
            lib.gnutls_session_set_verify_cert(session, name, 0)
            lib.gnutls_transport_set_int2(session, near.fileno(), near.fileno())
            for _ in range(20):
                code = lib.gnutls_handshake(session)
                if code == 0 or lib.gnutls_error_is_fatal(code):
                    break
            if code == 0:
                return ACCEPTS
            status = lib.gnutls_session_get_verify_cert_status(session)
            return refused(f"{lib.gnutls_strerror(code).decode()} {status & 0xFFFFFFFF:#x}")
        finally:
            lib.gnutls_deinit(session)
            lib.gnutls_certificate_free_credentials(cred)


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def one_by_one(ask: Callable[[Asked, str], str]) -> Callable[[Sequence[Asked], str], list[str]]:
    return lambda asked, directory: [ask(each, directory) for each in asked]


_NO_VERDICT = frozenset({0, 1, 52, 56})
"""Of curl, when the handshake is over: done; no HTTP; an empty answer; an end in the middle."""


def by_curl(asked: Sequence[Asked], directory: str) -> list[str]:
    """Return how curl answers: one process for all, each with a port of its own."""
    found = [""] * len(asked)
    for first in range(0, len(asked), 200):
        _curl_some(range(first, min(first + 200, len(asked))), asked, directory, found)
    return found


def _curl_some(numbers: Sequence[int], asked: Sequence[Asked], directory: str, found: list[str]) -> None:
    lines: list[str] = []
    listening: list[tuple[socket.socket, ssl.SSLContext]] = []
    transfers: list[int] = []
    for number in numbers:
        each = asked[number]
        try:
            context = each.server(directory)
        except ssl.SSLError as error:
            found[number] = refused(error)
            continue
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append((listener, context))
        transfers.append(number)
        path = os.path.join(directory, f"anchors{number}.pem")
        with open(path, "w", encoding="ascii") as file:
            file.write(each.anchors_pem)
        host = f"[{each.name}]" if ":" in each.name else each.name
        port = listener.getsockname()[1]
        lines += [
            *(["next"] if lines else []),
            f'url = "https://{host}:{port}/"',
            f'connect-to = "{host}:{port}:127.0.0.1:{port}"',
            f'cacert = "{path}"',
            'write-out = "%{exitcode} %{errormsg}\\n"',
            'output = "/dev/null"',
            "silent",
            "max-time = 20",
        ]
    path = os.path.join(directory, "curl.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")

    def serve() -> None:
        for listener, context in listening:
            with suppress(OSError, ValueError):
                listener.settimeout(20)
                plain, _ = listener.accept()
                plain.settimeout(20)
                with context.wrap_socket(plain, server_side=True) as encrypted:
                    encrypted.recv(4096)
            listener.close()

    other = threading.Thread(target=serve, daemon=True)
    other.start()
    ran = subprocess.run(["curl", "--config", path], capture_output=True, text=True, check=False)
    said = ran.stdout.splitlines()
    if len(said) != len(transfers):
        raise RuntimeError(f"curl answers {len(said)} of {len(transfers)}: {ran.stderr[-500:]}")
    for number, line in zip(transfers, said, strict=True):
        code, _, message = line.partition(" ")
        found[number] = ACCEPTS if int(code) in _NO_VERDICT else refused(f"{code} {message}")


HOW: dict[str, Callable[[], Callable[[Sequence[Asked], str], list[str]]]] = {
    "openssl": lambda: one_by_one(by_python(as_openssl)),
    "python": lambda: one_by_one(by_python(as_python)),
    "python-3.13": lambda: one_by_one(by_python(as_python_3_13)),
    "gnutls": lambda: one_by_one(GnuTLS().ask),
    "curl": lambda: by_curl,
}


def read(line: bytes) -> Asked:
    name, anchors, chain, key = line.rstrip(b"\n").split(b"\t")
    both: list[Any] = [[base64.b64decode(each) for each in part.split(b",")] for part in (anchors, chain)]
    return Asked(name.decode(), both[0], both[1], base64.b64decode(key))


def main(kind: str) -> None:
    with tempfile.TemporaryDirectory(prefix="certvigil-verifier-") as directory:
        for each in HOW[kind]()([read(line) for line in sys.stdin.buffer], directory):
            sys.stdout.write(f"{each}\n")


if __name__ == "__main__":
    main(sys.argv[1])
