"""One request and its answer, without I/O: what a server may send, and what it may cost."""

from __future__ import annotations

import pytest

from probes.http.exchange import MOST_CHUNKS, Exchange, HTTPRequest, NoResponse, Response

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(size: int, number: int) -> bytes:
    return (b"%x\r\n" % size + b"a" * size + b"\r\n") * number


def asked(answer: bytes, keeps: int | None) -> Response | NoResponse | None:
    exchange = Exchange(None, "www.example.com", "/", lambda: 0.0, HTTPRequest(keeps=keeps))
    exchange.start()
    exchange.receive(answer)
    return exchange.outcome


@pytest.mark.parametrize(("size", "number"), [(1, MOST_CHUNKS), (65, 10_000)])
def test_a_body_in_small_chunks_is_read(size: int, number: int) -> None:
    outcome = asked(HEAD + chunks(size, number) + b"0\r\n\r\n", 1 << 20)
    assert isinstance(outcome, Response)
    assert outcome.body_length == size * number


@pytest.mark.parametrize("keeps", [None, 1 << 20])
def test_a_body_of_chunks_that_are_nearly_all_tiny_is_no_answer(keeps: int | None) -> None:
    outcome = asked(HEAD + chunks(1, MOST_CHUNKS + 40), keeps)
    assert outcome == NoResponse("the answer comes in more than 8192 chunks, nearly all of them tiny")
