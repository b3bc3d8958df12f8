"""A web server that gives revocation lists, or lies: each path has the bytes that are sent for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate

from monitor.lab.process import free_address

Behave = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ListServer:
    """The server, at a loopback address of its own."""

    host: str
    port: int
    answers: dict[str, bytes | Behave] = field(default_factory=dict)
    """By target, as it stands in the request: the whole answer, or what is done instead."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Target and whole head of each request, in the order of their arrival."""

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    def heads_of(self, target: str) -> list[str]:
        return [head for each, head in self.requests if each == target]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = head.split(" ")[1]
            self.requests.append((target, head))
            answer = self.answers.get(target, response(b"", "404 Not Found"))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def dated(body: bytes, modified: float, etag: str) -> bytes:
    """Return an answer by which the next request can be a conditional one."""
    return response(body, "200 OK", f'ETag: "{etag}"', f"Last-Modified: {formatdate(modified, usegmt=True)}")


def redirect(to: str) -> bytes:
    return response(b"", "302 Found", f"Location: {to}")


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, and never all."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"0")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(writer: asyncio.StreamWriter) -> None:
    """Send without an end, and without an announced length."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"\x30" * 65536)
        await writer.drain()


@asynccontextmanager
async def list_server(host: str = "") -> AsyncIterator[ListServer]:
    """Run a server."""
    own, port = free_address()
    kept = ListServer(host or own, port)
    server = await asyncio.start_server(kept.serve, kept.host, port)
    async with server:
        yield kept
