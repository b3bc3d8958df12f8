"""When a source of revocation is asked again, and which certificates it tells of."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from monitor.lab.ca import DAY, Authority
from monitor.look import sources
from monitor.look.list_cache import FetchedFrom, FetchedList, ListCache
from monitor.look.sources import AnswerSource, ListSource, newest_valid
from probes.certificate import certificate
from probes.http.exchange import Response
from probes.revocation.crl import RevocationList, lists_in
from probes.revocation.places import answer_file
from tests.kit.crl import crl, crl_pem, lists_at
from tests.kit.responder import answer

NOW = float(int(time.time()))
CA = Authority.root("Root").intermediate("Issuing")
LEAF = CA.issue("www.example.com")
HOUR = 3600.0
EVERY = 4 * HOUR


def held(at: float, begin: float, end: float, cache: ListCache) -> ListSource:
    (known,) = lists_in([crl(CA, NOW, this_update=begin, next_update=end)])
    fetched = FetchedList(known, FetchedFrom("http://x/", at))
    return ListSource("http://x/", (certificate(CA.der()),), cache, fetched)


@pytest.mark.parametrize(
    ("begin", "end", "pause"),
    [
        (-DAY, 9 * DAY, EVERY),
        # most of its time is over, and a good deal is left
        (-300 * DAY, 60 * DAY, EVERY),
        (-9 * DAY, 2 * HOUR, 1.5 * HOUR),
        (-60, HOUR, 0.75 * HOUR),
        (-DAY, 100, 75),
        (-DAY, 10, 60),
        (-DAY, -DAY / 2, 60),
    ],
)
def test_a_list_is_asked_for_again_after_a_share_of_the_time_left(
    tmp_path: Path, begin: float, end: float, pause: float
) -> None:
    source = held(NOW, NOW + begin, NOW + end, ListCache(str(tmp_path)))
    assert source.due(EVERY) == NOW + pause


@pytest.mark.parametrize(("lasts", "pause"), [(9 * DAY, EVERY), (2 * HOUR, 1.5 * HOUR), (10, 60)])
def test_so_is_an_answer(tmp_path: Path, lasts: float, pause: float) -> None:
    source = AnswerSource("http://x/", certificate(LEAF.der()), certificate(CA.der()), ListCache(str(tmp_path)))
    assert source.due(EVERY) is None
    body = answer(CA, LEAF, NOW, lasts=lasts)
    taken = source.read(Response(200, "1.1", len(body), len(body), body=body), NOW)
    assert isinstance(taken, tuple)
    source.keep(taken)
    assert source.due(EVERY) == NOW + pause


def test_a_list_concerns_the_certificates_of_its_ca_that_name_it_and_those_that_name_none(tmp_path: Path) -> None:
    source = held(NOW, NOW - 60, NOW + DAY, ListCache(str(tmp_path)))
    own, shard = (CA.issue("www.example.com", extensions=[lists_at(each)]) for each in ("http://x/", "http://y/"))
    foreign = Authority.root("Other").issue("www.example.com", extensions=[lists_at("http://x/")])
    told = [source.tells_of(certificate(each.der())) for each in (own, shard, LEAF, foreign)]
    assert told == [True, False, True, False]


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        (answer(CA, LEAF, NOW), True),
        (answer(CA, LEAF, NOW, lasts=-1000), False),
        (answer(Authority.root("Other"), LEAF, NOW), False),
        (b"damaged", False),
        (None, False),
    ],
)
def test_an_answer_on_disk_counts_after_a_restart_while_it_proves_something(
    tmp_path: Path, body: bytes | None, counts: bool
) -> None:
    cache = ListCache(str(tmp_path))
    source = AnswerSource("http://x/", certificate(LEAF.der()), certificate(CA.der()), cache)
    if body is not None:
        cache.write_answer(source.key, body)
        os.utime(answer_file(str(tmp_path), source.key), (NOW - 60, NOW - 60))
    source.recall(NOW)
    assert source.held == (body if counts else b"")
    assert source.due(EVERY) == (NOW - 60 + 0.75 * (HOUR + 60) if counts else None)


def test_an_answer_with_too_many_lists_is_none_and_none_of_them_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_LISTS", 2)
    ders = [crl(CA, NOW, number=each) for each in range(1, 4)]
    own = (certificate(CA.der()),)
    newest = newest_valid(b"".join(map(crl_pem, ders[:2])), own, NOW)
    assert isinstance(newest, RevocationList)
    assert newest.der == ders[1]
    told = newest_valid(b"".join(map(crl_pem, ders)), own, NOW)
    assert told == "the answer holds 3 revocation lists, at most 2 are looked at"
