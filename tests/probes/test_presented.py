"""One verdict: a file and the same chain over a socket, judged for the same client and names, are the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.address import split_address
from config.model import Client, Endpoint, FileTarget
from config.text import Printable
from config.vocabulary import Code, FileContent, FileRole, Severity, VerifierName
from monitor.lab.ca import DAY, UNKNOWN_CRITICAL, Authority, Issued, KeyType, bundle, self_signed
from monitor.lab.servers import LocalServer, Site
from probes.assess import EndpointContext, FileContext, assess_endpoint, assess_file
from probes.certificate import certificate
from probes.file import look_at_file
from probes.finding import Finding
from probes.judge.client import View
from probes.observation import EndpointObservation, FileObservation, Presented
from probes.tls.drive import look
from probes.trust import Trust
from tests.kit.examples import examples
from tests.kit.start import StartServer

NOW = float(int(time.time()))
NAME = "www.example.com"
ROOT = Authority.root("Root")
ISSUING = ROOT.intermediate("Issuing")
LOWER = ISSUING.intermediate("Lower")
OLD = ROOT.intermediate("Old", key=KeyType.RSA2048)
STRANGER = Authority.root("Stranger")
LEAF = ISSUING.issue(NAME)

CHAINS: dict[str, Sequence[Issued]] = {
    "good": (LEAF, ISSUING),
    "incomplete": (LEAF,),
    "upper intermediate missing": (LOWER.issue(NAME), LOWER),
    "wrong order": (LEAF, LOWER, ISSUING),
    "leaf last": (ISSUING, LEAF),
    "with root": (LEAF, ISSUING, ROOT),
    "with a stranger": (LEAF, ISSUING, STRANGER),
    "stranger's": (STRANGER.issue(NAME),),
    "other name": (ISSUING.issue("other.example.com"), ISSUING),
    "common name alone": (ISSUING.issue(subject=NAME), ISSUING),
    "no authority key identifier": (ISSUING.issue(NAME, authority_key_identifier=False), ISSUING),
    "no purpose": (ISSUING.issue(NAME, purposes=()), ISSUING),
    "expired": (ISSUING.issue(NAME, not_before=NOW - 90 * DAY, not_after=NOW - DAY), ISSUING),
    "expiring": (ISSUING.issue(NAME, not_before=NOW - 90 * DAY, not_after=NOW + DAY), ISSUING),
    "not yet valid": (ISSUING.issue(NAME, not_before=NOW + DAY), ISSUING),
    "unknown critical extension": (ISSUING.issue(NAME, extensions=[UNKNOWN_CRITICAL]), ISSUING),
    "corrupt signature": (ISSUING.issue(NAME, corrupt_signature=True), ISSUING),
    "sha1": (OLD.issue(NAME, signature_hash="sha1"), OLD),
    "rsa 1024": (ISSUING.issue(NAME, key=KeyType.RSA1024), ISSUING),
    "self-signed": (self_signed(NAME),),
}


def trust(*anchors: Issued) -> Trust:
    return Trust("store", tuple(certificate(each.der()) for each in anchors))


def view(verifier: VerifierName, store: Trust) -> View:
    return View(Client("client", "store", verifier), store)


def in_file(chain: Sequence[Issued], seen: View, names: tuple[str, ...] = (NAME,)) -> list[Finding]:
    certificates = tuple(certificate(each.der()) for each in chain)
    observation = FileObservation("it", NOW, None, FileContent.LEAF, certificates)
    target = FileTarget("it", "/it.pem", FileRole.LISTED)
    return ordered(assess_file(observation, FileContext(target, seen, names=names), NOW).findings)


def over_a_socket(chain: Sequence[Issued], seen: View, name: str = NAME) -> list[Finding]:
    certificates = tuple(certificate(each.der()) for each in chain)
    presented = Presented(Printable("192.0.2.1"), certificates, "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519")
    context = EndpointContext(Endpoint("it", name, 443), (seen,))
    return ordered(assess_endpoint(EndpointObservation("it", NOW, (presented,)), context, NOW).findings)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda each: (each.code, each.subject, each.detail))


@pytest.mark.parametrize("verifier", VerifierName)
@pytest.mark.parametrize("chain", CHAINS)
def test_a_file_and_a_socket_get_the_same_verdict(chain: str, verifier: VerifierName) -> None:
    seen = view(verifier, trust(ROOT))
    assert in_file(CHAINS[chain], seen) == over_a_socket(CHAINS[chain], seen)


@settings(max_examples=examples(60), deadline=None)
@given(
    chain=st.lists(st.sampled_from([LEAF, LOWER.issue(NAME), LOWER, ISSUING, ROOT, STRANGER]), min_size=1, max_size=5),
    verifier=st.sampled_from(VerifierName),
    anchors=st.sets(st.sampled_from([ROOT, STRANGER]), min_size=1),
)
def test_any_mixture_with_a_servers_certificate_gets_the_same_verdict(
    chain: list[Issued], verifier: VerifierName, anchors: set[Issued]
) -> None:
    seen = view(verifier, trust(*anchors))
    assert in_file((LEAF, *chain), seen) == over_a_socket((LEAF, *chain), seen)


def test_a_refusal_by_the_chosen_verifier_is_critical_in_a_file() -> None:
    """Only strict verifiers refuse this, and what they refuse is a notice to all others."""
    chain = CHAINS["no authority key identifier"]
    worst = {verifier: {each.code for each in in_file(chain, view(verifier, trust(ROOT)))} for verifier in VerifierName}
    assert all(Code.NONCONFORMING in each or Code.PATH_REJECTED in each for each in worst.values())
    refusing = {verifier for verifier, codes in worst.items() if Code.CLIENT_REJECTS in codes}
    assert refusing == {VerifierName.WEBPKI, VerifierName.PYTHON_3_13}
    rejects = [each for each in in_file(chain, view(VerifierName.WEBPKI, trust(ROOT))) if each.code == "client_rejects"]
    assert [each.severity for each in rejects] == [Severity.CRITICAL]


def test_without_names_those_of_a_file_are_not_judged() -> None:
    found = in_file(CHAINS["other name"], view(VerifierName.OPENSSL, trust(ROOT)), ())
    assert found == []


def test_names_count_for_a_file_without_a_client() -> None:
    certificates = (certificate(LEAF.der()),)
    observation = FileObservation("it", NOW, None, FileContent.LEAF, certificates)
    context = FileContext(FileTarget("it", "/it.pem", FileRole.LISTED), names=("other.example.com",))
    assert [each.code for each in assess_file(observation, context, NOW).findings] == [Code.HOSTNAME_MISMATCH]


@pytest.mark.parametrize("chain", ["good", "incomplete", "other name", "no authority key identifier"])
def test_a_real_file_and_the_server_that_serves_it_get_the_same_verdict(
    chain: str, start_local: StartServer[LocalServer], tmp_path: Path
) -> None:
    site = Site(str(tmp_path / "site.crt"), str(tmp_path / "site.key"))
    Path(site.certificate).write_bytes(bundle(CHAINS[chain]))
    Path(site.key).write_bytes(CHAINS[chain][0].key_pem())
    endpoint = Endpoint("it", *split_address(start_local(site).address), server_name=NAME)
    target = FileTarget("it", site.certificate, FileRole.LISTED)
    live, on_disk = asyncio.run(look(endpoint, NOW)), look_at_file(target, NOW)
    for verifier in VerifierName:
        seen = view(verifier, trust(ROOT))
        by_socket = assess_endpoint(live, EndpointContext(endpoint, (seen,)), NOW).findings
        by_file = assess_file(on_disk, FileContext(target, seen, names=(NAME,)), NOW).findings
        assert ordered(by_file) == ordered(by_socket)
