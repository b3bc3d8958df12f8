"""What is remembered of lists and answers: results by short keys, and never the bytes that they were made from."""

from __future__ import annotations

import gc
import sys
import time
import weakref

from config.vocabulary import TargetKind
from monitor.lab.ca import Authority
from monitor.metrics.x509_crl import OF_LISTS
from monitor.state.target import TargetState
from probes.certificate import certificate
from probes.ocsp import MOST_BYTES, OCSPAnswer, OCSPFault, ocsp_answer
from probes.remembered import Remembered
from probes.revocation.crl import RevocationList, revocation_list, signed_by
from tests.kit.crl import crl
from tests.kit.responder import answer

NOW = float(int(time.time()))
CA = Authority.root("Root")
LEAF = CA.issue("www.example.com")


class Weak(RevocationList):
    """A list of which it can be told whether somebody holds it still."""


def test_the_results_used_last_are_kept() -> None:
    kept, made = Remembered[str](2), list[str]()

    def get(key: str) -> str:
        return kept.get(key, lambda: made.append(key) or key.upper())  # type: ignore[func-returns-value]

    assert [get(each) for each in "abacab"] == list("ABACAB")
    assert made == list("abcb")


def test_a_list_that_was_judged_and_shown_is_not_held() -> None:
    plain = revocation_list(crl(CA, NOW))
    known = Weak(**{each: getattr(plain, each) for each in RevocationList.__slots__})
    assert signed_by(known, certificate(CA.der()))
    state = TargetState("file", TargetKind.FILE, "/a.crl", lists=(known,))
    assert all(list(each.samples(state)) for each in OF_LISTS[:1])
    held = weakref.ref(known)
    del known, state
    gc.collect()
    assert held() is None


def test_an_answer_that_was_read_is_not_held_and_a_large_one_is_not_read() -> None:
    body, large = answer(CA, LEAF, NOW), bytes(MOST_BYTES + 1)
    before = [sys.getrefcount(each) for each in (body, large)]
    issuers = (certificate(CA.der()),)
    assert isinstance(ocsp_answer(body, certificate(LEAF.der()), issuers), OCSPAnswer)
    assert isinstance(ocsp_answer(large, certificate(LEAF.der()), issuers), OCSPFault)
    assert [sys.getrefcount(each) for each in (body, large)] == before
