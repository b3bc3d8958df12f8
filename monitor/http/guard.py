"""The checks before each answer: the Host header, the password, the headers of the answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from email.utils import formatdate
from typing import Any, Final

from config.address import is_ip_address, split_address
from config.model import Token
from monitor.http.passwords import Passwords
from monitor.http.webconfig import WebConfig

ASGIScope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[ASGIMessage]]
Send = Callable[[ASGIMessage], Awaitable[None]]
Application = Callable[[ASGIScope, Receive, Send], Awaitable[None]]

HOST_HEADER: Final = b"certvigil-host"
"""Of every answer: the host that it is about."""
SECURITY_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


_HOST: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::[0-9]{0,5})?")


class HostNames:
    """By which names this server may be asked for, so that no page rebinds its own name to our address."""

    def __init__(self, listen: Iterable[str], allowed: Iterable[str]) -> None:
        """Accept the hosts of `listen`, every IP address, localhost, this host's own names and `allowed`."""
        own = socket.gethostname()
        hosts = (split_address(address)[0] for address in listen)
        self._names = {each.lower() for each in ("localhost", own, own.partition(".")[0], *hosts, *allowed)}
        # Asking for the full name may wait for a name server that does not answer.
        threading.Thread(target=self._learn_full_name, args=(own,), daemon=True).start()

    def _learn_full_name(self, own: str) -> None:
        self._names.add(socket.getfqdn(own).lower())

    def accepts(self, host: str) -> bool:
        """Whether the value of this `Host` header names us."""
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match[1] or match[2]
        return name.removesuffix(".") in self._names or is_ip_address(name)


class Guard:
    """Lets requests pass to an application; over the Unix socket, where the kernel checked who asks, all of them."""

    def __init__(self, application: Application, hosts: HostNames) -> None:
        self._application = application
        self._hosts = hosts
        self._passwords = Passwords()
        self._turn = asyncio.Lock()
        self._headers: list[tuple[bytes, bytes]] = []
        self.tokens: tuple[Token, ...] = ()
        """Whose bearers may come in, and may do more than read."""
        self.host = ""
        """Who answers, for whoever asks many: said in each answer of the application."""
        self.protect(WebConfig())

    def protect(self, web: WebConfig) -> None:
        """Ask for the passwords, and give the headers, of `web` from now on."""
        self._passwords.users = web.users
        headers = SECURITY_HEADERS | {name.lower(): value for name, value in web.headers.items()}
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    def close(self) -> None:
        """Hash no more passwords."""
        self._passwords.close()

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""

        async def send_guarded(message: ASGIMessage) -> None:
            if message["type"] == "http.response.start":
                date = (b"date", formatdate(usegmt=True).encode())
                given = message.get("headers", ())
                names = {name for name, _ in given}
                # What names its own content may be kept.
                message["headers"] = [*given, date, *(each for each in self._headers if each[0] not in names)]
            await send(message)

        async def send_answer(message: ASGIMessage) -> None:
            if message["type"] == "http.response.start" and self.host:
                message["headers"] = [*message.get("headers", ()), (HOST_HEADER, self.host.encode("ascii", "replace"))]
            await send_guarded(message)

        if scope["state"]["peer"] is not None:
            await self._application(scope, receive, send_answer)
            return
        async with self._turn:
            # One request begins in each round of the event loop, however many come at once.
            await asyncio.sleep(0)
        headers = list(scope["headers"])
        scope["state"]["token"] = token = self._token(_authorization(headers))
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            await refuse(send_guarded, 400, "one Host header is needed")
        elif not self._hosts.accepts(hosts[0]):
            await refuse(send_guarded, 421, "this host is not known by that name; web.allowed_hosts may name more")
        elif token is not None or not self._passwords.users or await self._passwords.accepts(_authorization(headers)):
            await self._application(scope, receive, send_answer)
        else:
            challenge = (b"www-authenticate", b'Basic realm="certvigil", charset="UTF-8"')
            await refuse(send_guarded, 401, "a user and a password are needed", challenge)

    def _token(self, authorization: str) -> Token | None:
        scheme, _, bearer = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        seen = hashlib.sha256(bearer.strip().encode()).hexdigest()
        return next((each for each in self.tokens if hmac.compare_digest(each.sha256, seen)), None)


def _authorization(headers: Iterable[tuple[bytes, bytes]]) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == b"authorization"), "")


async def refuse(send: Send, status: int, why: str, *headers: tuple[bytes, bytes]) -> None:
    """Answer with `status` and a line that says why."""
    body = f"{why}\n".encode()
    fixed = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
