"""Worker processes that share one port, and their master: `python worker_pool.py FILE` with the file of `Workers`.

On SIGHUP every worker takes up the files as they are now; on SIGUSR1, which is a lie, all but the last one do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, Final

from config.vocabulary import TLSVersion
from monitor.lab.process import LabError
from monitor.lab.servers import LocalServer, Site, TLSSettings

_SIGNALS: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM)


class _Worker(LocalServer):
    shares_port = True


def main(file: str) -> None:
    """Run until SIGTERM."""
    with open(file, encoding="utf-8") as opened:
        config = json.load(opened)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    orders = [_fork(config, number) for number in range(config["workers"])]
    while (told := signal.sigwait(_SIGNALS)) != signal.SIGTERM:
        for each in orders if told == signal.SIGHUP else orders[:-1]:
            os.write(each, b"!")
    for each in orders:
        os.close(each)
    for _ in orders:
        os.wait()


def _fork(config: dict[str, Any], number: int) -> int:
    """Start a worker; returns what its orders are written to, and that it ends with."""
    read, write = os.pipe()
    if os.fork():
        os.close(read)
        return write
    os.close(write)
    status = 1
    try:
        _work(config, number, read)
        status = 0
    finally:
        os._exit(status)


def _work(config: dict[str, Any], number: int, orders: int) -> None:
    tls = TLSSettings(TLSVersion(config["minimum"]), TLSVersion(config["maximum"]), config["ciphers"])
    with _Worker([Site(*each) for each in config["sites"]], tls, (config["host"], config["port"])) as server:
        _say(f"worker {number} serves")
        while os.read(orders, 1):
            try:
                server.reload()
            except LabError as error:
                _say(f"worker {number} keeps what it has: {error}")
            else:
                _say(f"worker {number} serves")


def _say(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1])
