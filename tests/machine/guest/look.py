"""Prints, as JSON, what lies in files and what is served at ports; run inside the guest. Only the standard library.

The argument is JSON: `files` (paths), `ports` (numbers, at loopback, of servers that speak TLS first), `name` (SNI).
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import stat
import sys
from typing import Any


def _file(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            found, data = os.fstat(file.fileno()), file.read()
    except FileNotFoundError:
        return None
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "mode": stat.S_IMODE(found.st_mode),
        "owner": f"{found.st_uid}:{found.st_gid}",
    }


def _served(port: int, name: str) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 20) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            return hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError as error:
        return f"nothing: {error}"


def main() -> None:
    """Look."""
    asked = json.loads(sys.argv[1])
    directories = {os.path.dirname(path) for path in asked["files"]}
    found = {
        "files": {path: _file(path) for path in asked["files"]},
        "beside": sorted(
            os.path.join(each, name)
            for each in directories
            for name in os.listdir(each)
            if name.startswith(".") and not name.endswith(".old")
        ),
        "served": {str(port): _served(port, asked["name"]) for port in asked["ports"]},
    }
    print(json.dumps(found))  # noqa: T201 (its output)


main()
