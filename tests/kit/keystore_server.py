"""A TLS server that reads a PKCS#12 keystore when it starts and on SIGHUP, as many in Java do.

Its arguments are HOST PORT KEYSTORE PASSWORD_FILE.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12
from OpenSSL import SSL


def read(keystore: str, password_file: str) -> SSL.Context:
    """Return what to serve by; raises OSError or ValueError where the keystore cannot be opened."""
    with open(keystore, "rb") as file, open(password_file, "rb") as secret:
        held = pkcs12.load_pkcs12(file.read(), secret.read().strip())
    if held.cert is None or not isinstance(held.key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise ValueError("there is no key with a certificate")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(held.cert.certificate)
    context.use_privatekey(held.key)
    for each in held.additional_certs:
        context.add_extra_chain_cert(each.certificate)
    return context


class JavaTlsServer:
    """Listens at one address, by whatever was read last."""

    def __init__(self, host: str, port: int, keystore: str, password_file: str) -> None:
        self._files = keystore, password_file
        self._context = read(*self._files)
        self._listener = socket.create_server((host, port), backlog=128)

    def reload(self) -> None:
        """Serve what is on disk now, or else go on with what was."""
        try:
            self._context = read(*self._files)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"the keystore is not read again: {type(error).__name__}\n")

    def run(self) -> None:
        """Serve until killed."""
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection, self._context), daemon=True).start()

    @staticmethod
    def _serve(connection: socket.socket, context: SSL.Context) -> None:
        with connection, suppress(OSError, SSL.Error):
            connection.settimeout(None)
            tls = SSL.Connection(context, connection)
            tls.set_accept_state()
            tls.do_handshake()
            tls.recv(1)


def main() -> None:
    """Run by the command line's arguments."""
    host, port, keystore, password_file = sys.argv[1:]
    server = JavaTlsServer(host, int(port), keystore, password_file)
    signal.signal(signal.SIGHUP, lambda *_: server.reload())
    server.run()


if __name__ == "__main__":
    main()
