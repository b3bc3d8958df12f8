"""A daemon that is asked, and answers without end, or slowly, or nonsense: the commands of root go on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from monitor.commands.client import NoDaemonAnswer, ask

HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answering(path: Path, first: bytes, then: bytes) -> Iterator[str]:
    """Answer one request with `first`, and then with `then` each 10 ms for as long as somebody listens."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(first)
            while then:
                connection.sendall(then)
                time.sleep(0.01)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield str(path)
        thread.join(5)


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" ", "timed out"),
        (HEAD, b"X", "timed out"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", "timed out"),
        (HEAD + b"\r\n[", b"0," * 50_000, "has more than 1000000 bytes"),
        (HEAD + b"\r\n" + b"[" * 200_000, b"", "maximum recursion depth exceeded"),
    ],
    ids=["slow body", "slow head", "slow chunks", "endless", "deep"],
)
def test_a_daemon_that_does_not_come_to_an_end_is_left_in_time(
    tmp_path: Path, first: bytes, then: bytes, why: str
) -> None:
    began = time.monotonic()
    with answering(tmp_path / "s", first, then) as path:
        answer = ask(path, "/api/v1/status", timeout=0.5, most=1_000_000)
    assert time.monotonic() - began < 3
    assert isinstance(answer, NoDaemonAnswer)
    assert why in answer.why
