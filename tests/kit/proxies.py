"""Proxies from Debian's packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.model import Proxy
from config.vocabulary import ProxyKind
from monitor.lab.process import ServerProcess, accepts, free_address


@contextmanager
def started(kind: ProxyKind, directory: Path) -> Iterator[Proxy]:
    """Run a proxy inside the block."""
    host, port = free_address()
    make = _tinyproxy if kind is ProxyKind.HTTP else _microsocks
    process = ServerProcess(make(directory, host, port), str(directory / f"{kind}.log"))
    try:
        process.wait_until(lambda: accepts(host, port), "listening")
        yield Proxy(kind, host, port)
    finally:
        process.stop()


def _tinyproxy(directory: Path, host: str, port: int) -> tuple[str, ...]:
    config = directory / "tinyproxy.conf"
    config.write_text(f"Port {port}\nListen {host}\nTimeout 60\nLogLevel Error\nMaxClients 20\n", encoding="ascii")
    return ("tinyproxy", "-d", "-c", str(config))


def _microsocks(_directory: Path, host: str, port: int) -> tuple[str, ...]:
    return ("microsocks", "-i", host, "-p", str(port))
