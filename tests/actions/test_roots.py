"""Which trust stores lack the root of a candidate: each lack is said once."""

from __future__ import annotations

import hashlib

from actions import roots
from actions.candidate import Candidate, Candidates, Given, read_candidates
from config.model import Client
from monitor.lab.ca import Authority
from probes.certificate import certificate
from probes.judge.client import View
from probes.trust import Trust
from tests.kit.authority import NAME, ROOT

NOW = 1_800_000_000.0


def read(data: bytes) -> Candidate:
    made = read_candidates([Given("given.pem", data)])
    assert isinstance(made, Candidates), made
    (found,) = made.usable
    return found


def test_a_root_that_one_candidate_brings_and_another_names_is_one_lack() -> None:
    own = Authority.root("A root that nobody has")
    issued = own.issue(NAME)
    store = Trust("outsiders", (certificate(ROOT.der()),))
    browser, finder = (View(Client(name, "outsiders"), store) for name in ("browser", "finder"))
    bare, whole = read(issued.pem() + issued.key_pem()), read(issued.pem() + issued.key_pem() + own.pem())
    title, sha256 = own.certificate.subject.rfc4514_string(), hashlib.sha256(own.der()).hexdigest()
    one = f"the trust store outsiders lacks {title} (sha256 {sha256}), so browser and finder would not accept it"
    for both in ([(bare, [browser]), (whole, [finder])], [(whole, [browser]), (bare, [finder])]):
        (said,) = roots.of_all(both, NOW)
        assert said.replace("finder and browser", "browser and finder") == one
    (said,) = roots.of_all([(bare, [browser])], NOW)
    assert f"lacks the issuer of CN={NAME}, {title}" in said
