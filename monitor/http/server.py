"""Listeners, TCP and Unix, in the daemon's own event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from uvicorn import Config
from uvicorn.server import ServerState

from config.address import join_address
from config.model import Settings, Token
from config.text import Log, Printable
from config.version import own_version
from monitor.host.sockets import ListenError, listen_tcp, listen_unix
from monitor.http.console.switch import ConsoleSwitch, why_off
from monitor.http.front import Front
from monitor.http.guard import Application, Guard, HostNames
from monitor.http.protocol import KEEP_ALIVE_SECONDS, Connection
from monitor.http.view import DaemonView
from monitor.http.webconfig import WebConfig, read_web_config

log: Log = logging.getLogger("certvigil.http")

HANDSHAKE_SECONDS = 10.0


def _load(view: DaemonView, switch: ConsoleSwitch) -> Application:
    from monitor.http.app import create_app  # noqa: PLC0415 (dear, and few daemons are asked for more than metrics)

    return create_app(view, own_version(), switch)


class WebServer:
    """Answers for a daemon at `settings.web.listen` and `settings.socket`."""

    def __init__(self, view: DaemonView, settings: Settings) -> None:
        """Show `view`."""
        self._settings = settings
        self._feed = view.feed
        self._console = ConsoleSwitch(why_off(settings.web, WebConfig()))
        application = Front(view, partial(_load, view, self._console))
        outside = [urlsplit(each).hostname or "" for each in [settings.web.external_url] if each]
        self._guard = Guard(application, HostNames(settings.web.listen, [*settings.web.allowed_hosts, *outside]))
        self._config = Config(
            self._guard,
            http=Connection,
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._config.load()
        # Apart, so that a crowd at the ports leaves the administrator's way in free.
        self._over_tcp, self._over_unix = ServerState(), ServerState()
        self._tcp: dict[str, list[socket.socket]] = {}
        self._unix: socket.socket | None = None
        self._tcp_servers: list[asyncio.Server] = []
        self._unix_server: asyncio.Server | None = None
        self._unix_inode = (0, 0)
        self._unix_problems: tuple[str, ...] = ()
        self._said = Printable("")

    @property
    def addresses(self) -> Sequence[str]:
        """Where TCP connections are accepted, `host:port` each."""
        return [join_address(*each.getsockname()[:2]) for each in self._listening()]

    async def start(self) -> tuple[str, ...]:
        """Begin to answer; return a sentence for each listener that could not be brought up, and why.

        Where the web configuration has mistakes, nothing listens on TCP: it is there to protect that.
        """
        try:
            await self._start_unix()
        except ListenError as error:
            self._unix_problems = (str(error),)
        return await self.reload_web_config()

    async def reload_web_config(self) -> tuple[str, ...]:
        """Read the web configuration, its certificate and key again, for connections from now on.

        Return a sentence for each mistake, and for each listener that is not up. With mistakes, the earlier file stays
        in force. Those of TCP are tried again.
        """
        path = self._settings.web.config_file
        web = WebConfig() if path is None else await asyncio.to_thread(read_web_config, path)
        if not isinstance(web, WebConfig):
            return (*self._unix_problems, *map(str, web))
        problems = list(self._unix_problems)
        for address in self._settings.web.listen:
            if address not in self._tcp:
                try:
                    self._tcp[address] = await asyncio.to_thread(listen_tcp, address)
                except ListenError as error:
                    problems.append(str(error))
        await self._accept(web)
        return tuple(problems)

    def allow(self, tokens: tuple[Token, ...]) -> None:
        """Let the bearers of these tokens do more than read, from now on."""
        self._guard.tokens = tokens

    def call(self, host: str) -> None:
        """Say in each answer from now on that it is about `host`."""
        self._guard.host = host

    async def stop(self, within: float = 1.0) -> None:
        """Accept no more; end idle connections now, and busy ones when they are done or after `within` seconds."""
        for server in (*self._tcp_servers, self._unix_server):
            if server is not None:
                server.close()
        for listening in self._listening():
            listening.close()
        self._end_unix()
        self._feed.close()
        states = (self._over_tcp, self._over_unix)
        for connection in [each for state in states for each in state.connections]:
            connection.shutdown()
        end = asyncio.get_running_loop().time() + within
        while any(state.connections for state in states) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for connection in [each for state in states for each in state.connections]:
            connection.transport.abort()
        tasks = [task for state in states for task in state.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._guard.close()

    def _listening(self) -> list[socket.socket]:
        return [each for sockets in self._tcp.values() for each in sockets]

    async def _start_unix(self) -> None:
        path = self._settings.socket
        self._unix = await asyncio.to_thread(listen_unix, path)
        status = os.stat(path)
        self._unix_inode = (status.st_dev, status.st_ino)
        self._unix_server = await asyncio.get_running_loop().create_unix_server(
            lambda: self._connection(self._over_unix), sock=self._unix
        )

    def _end_unix(self) -> None:
        """Remove the socket, unless another process has put its own in its place."""
        if self._unix is None:
            return
        self._unix.close()
        with suppress(OSError):
            status = os.stat(self._settings.socket)
            if (status.st_dev, status.st_ino) == self._unix_inode:
                os.unlink(self._settings.socket)

    async def _accept(self, web: WebConfig) -> None:
        """Accept TCP connections by `web`, in place of the earlier settings."""
        before, self._tcp_servers = self._tcp_servers, []
        for server in before:
            server.close()
        self._guard.protect(web)
        self._switch_console(why_off(self._settings.web, web))
        loop = asyncio.get_running_loop()
        for listening in self._listening():
            # Of a duplicate, so that connections queue at the socket itself while one takes another's place.
            server = await loop.create_server(
                lambda: self._connection(self._over_tcp),
                sock=listening.dup(),
                ssl=web.tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if web.tls else None,
            )
            self._tcp_servers.append(server)

    def _switch_console(self, off: Printable) -> None:
        if off and off != self._said:
            log.info("the console is off: %s", off)
        self._console.off = self._said = off

    def _connection(self, state: ServerState) -> Connection:
        return Connection(config=self._config, server_state=state, app_state={})
