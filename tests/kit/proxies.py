"""Proxies from Debian's packages: tinyproxy and microsocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from config.model import Proxy
from config.vocabulary import ProxyKind
from monitor.lab.process import ServerProcess, accepts, free_address

USER: Final = "prober"
PASSWORD: Final = "s3cret"


def _tinyproxy(directory: str, host: str, port: int, *, for_users: bool) -> tuple[str, ...]:
    config = Path(directory, "tinyproxy.conf")
    lines = f"Port {port}\nListen {host}\nTimeout 60\nLogLevel Error\nMaxClients 20\n"
    config.write_text(lines + (f"BasicAuth {USER} {PASSWORD}\n" if for_users else ""), encoding="ascii")
    return ("tinyproxy", "-d", "-c", str(config))


def _microsocks(_directory: str, host: str, port: int, *, for_users: bool) -> tuple[str, ...]:
    return ("microsocks", "-i", host, "-p", str(port), *(("-u", USER, "-P", PASSWORD) if for_users else ()))


@contextmanager
def started(kind: ProxyKind, directory: Path, *, for_users: bool = False) -> Iterator[Proxy]:
    """Run a proxy, which lets in everybody, or one user alone."""
    host, port = free_address()
    make = _tinyproxy if kind is ProxyKind.HTTP else _microsocks
    command = make(str(directory), host, port, for_users=for_users)
    process = ServerProcess(command, str(directory / f"{kind}.log"))
    try:
        process.wait_until(lambda: accepts(host, port), "listening")
        yield Proxy(kind, host, port)
    finally:
        process.stop()


@contextmanager
def for_users(kind: ProxyKind, directory: Path) -> Iterator[Proxy]:
    """Run a proxy that lets in one user alone, whose credentials are in a file."""
    secret = directory / "credentials"
    secret.write_text(f"{USER}:{PASSWORD}\n", encoding="ascii")
    with started(kind, directory, for_users=True) as proxy:
        yield replace(proxy, credentials_file=str(secret))
