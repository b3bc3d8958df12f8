"""A daemon that is asked, and answers without end, or slowly, or nonsense: the commands of root go on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from monitor.commands.client import NoDaemonAnswer, ask, listing
from tests.kit.peers import answering

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" ", "timed out"),
        (HEAD, b"X", "timed out"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", "timed out"),
        (HEAD + b"\r\n[", b"0," * 50_000, "has more than 1000000 bytes"),
        (HEAD + b"\r\n" + b"[" * 200_000, b"", "has more than 62500 values"),
        (HEAD + b"\r\n" + b"[" * 60_000, b"", "maximum recursion depth exceeded"),
        (HEAD + b"\r\n[" + b"[]," * 100_000 + b"0]", b"", "has more than 62500 values"),
        (HEAD + b"\r\n[]", b"", "is no JSON object"),
    ],
    ids=["slow body", "slow head", "slow chunks", "endless", "of brackets", "deep", "of lists", "a list"],
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


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (b'{"items": [{}], "total": 1000000}', "timed out"),
        (b'{"items": [{}], "total": 1000001}', "gave no list"),
        (b'{"items": [{}], "total": "1"}', "gave no list"),
        (b'{"total": 1}', "gave no list"),
    ],
)
def test_a_listing_without_end_is_left_in_time(tmp_path: Path, page: bytes, why: str) -> None:
    began = time.monotonic()
    with answering(tmp_path / "s", HEAD + b"\r\n" + page) as path:
        answer = listing(path, "targets", patience=0.3)
    assert time.monotonic() - began < 3
    assert isinstance(answer, NoDaemonAnswer)
    assert why in answer.why
