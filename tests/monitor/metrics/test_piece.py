from __future__ import annotations

import gzip

import httpx
from hypothesis import given
from hypothesis import strategies as st

from monitor.metrics import PAUSE, gzipped, piece, plain_text
from monitor.metrics.piece import CHUNK

Texts = st.lists(st.binary(max_size=2000), max_size=20)


@given(Texts)
def test_pieces_give_their_text_back(texts: list[bytes]) -> None:
    assert b"".join(plain_text(map(piece, texts))) == b"".join(texts)


@given(Texts)
def test_pieces_are_put_together_to_gzip_without_compressing_again(texts: list[bytes]) -> None:
    assert gzip.decompress(b"".join(gzipped(map(piece, texts)))) == b"".join(texts)


def test_clients_that_know_only_one_gzip_member_read_all() -> None:
    body = b"".join(gzipped([piece(b"first\n"), piece(b"second\n")]))
    response = httpx.Response(200, headers={"content-encoding": "gzip"}, content=body)
    assert response.text == "first\nsecond\n"


def test_chunks_are_bounded_however_many_pieces_there_are() -> None:
    pieces = [piece(b"x" * 10_000)] * 200
    sizes = [len(chunk) for chunk in plain_text(pieces)]
    assert sum(sizes) == 2_000_000
    assert max(sizes) <= CHUNK + 10_000


def test_a_pause_ends_a_chunk_and_adds_nothing() -> None:
    assert list(plain_text([piece(b"a"), PAUSE, piece(b"b")])) == [b"a", b"b"]
