"""Which finding the refusal of each family becomes, through all of judging, at two times in one process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from config.model import Client
from config.vocabulary import Code, VerifierName
from monitor.lab.ca import DAY, Authority, Issued, KeyType, new_key
from probes.certificate import certificate
from probes.judge.client import View, chain_boundaries, judge_chain
from probes.trust import Trust
from probes.verify.families import FAMILIES
from probes.verify.naming import fits
from tests.kit.authority import NAME, fresh

NOW: Final = time.time()
LATER: Final = NOW + 20 * DAY

Codes = tuple[Code | None, Code | None]
"""Of the first cause now and later; None where the chain is accepted."""

NEVER_REFUSED: Final[Codes] = (None, None)
ENDS: Final[Codes] = (None, Code.EXPIRED)
REFUSED: Final[Codes] = (Code.PATH_REJECTED, Code.PATH_REJECTED)
UNSUPPORTED: Final[Codes] = (Code.NONCONFORMING, Code.NONCONFORMING)
STRANGE: Final[Codes] = (Code.UNTRUSTED_ISSUER, Code.UNTRUSTED_ISSUER)


@dataclass(frozen=True)
class Fault:
    """A chain with one fault, and what comes of it."""

    chain: Sequence[Issued]
    store: Sequence[Issued]
    usual: Codes
    others: Mapping[str, Codes] = field(default_factory=dict)
    """By family, where it is not the usual."""
    unstapled: bool = False


ENDING: Final = Authority.root("Ending", not_after=NOW + 10 * DAY)
UNDER_ENDING: Final = ENDING.intermediate("Under Ending")
ROOT_KEY: Final = new_key(KeyType.P256)
LOWER: Final = Authority.root("root", key=ROOT_KEY)
UPPER: Final = Authority.root("ROOT", key=ROOT_KEY, not_after=NOW + 10 * DAY)
UNDER_LOWER: Final = LOWER.intermediate("Under root")
ROOT: Final = Authority.root("Root")
ISSUING: Final = ROOT.intermediate()
LIMITED: Final = ROOT.intermediate(
    "Limited", permitted=["example.com", x509.RFC822Name("c"), x509.UniformResourceIdentifier("c")]
)
NOT_AT_C: Final = ROOT.intermediate("Not at c", excluded=[x509.UniformResourceIdentifier("c")])
ODD_SUBJECT: Final = x509.Name(
    [x509.NameAttribute(NameOID.COMMON_NAME, NAME), x509.NameAttribute(NameOID.EMAIL_ADDRESS, "A <b@c>")]
)
GOOD_SUBJECT: Final = x509.Name(
    [x509.NameAttribute(NameOID.COMMON_NAME, NAME), x509.NameAttribute(NameOID.EMAIL_ADDRESS, "b@c")]
)


def promising(feature: x509.TLSFeatureType) -> Issued:
    promise = x509.TLSFeature([feature])
    return fresh(issuing=ISSUING, extensions=[x509.Extension(promise.oid, False, promise)])


def located(uri: str) -> Issued:
    return LIMITED.issue(NAME, x509.UniformResourceIdentifier(uri))


PROMISING: Final = promising(x509.TLSFeatureType.status_request)
FAULTS: Final[Mapping[str, Fault]] = {
    "none": Fault((fresh(issuing=ISSUING), ISSUING), (ROOT,), NEVER_REFUSED),
    "the root ends": Fault((fresh(issuing=UNDER_ENDING), UNDER_ENDING), (ENDING,), ENDS, {"java-17": NEVER_REFUSED}),
    "the root of a chain in another order ends": Fault(
        (fresh(issuing=UNDER_ENDING), ISSUING, UNDER_ENDING), (ENDING,), ENDS
    ),
    "the root above an intermediate of the store ends": Fault(
        (fresh(issuing=UNDER_ENDING),), (UNDER_ENDING, ENDING), NEVER_REFUSED, {"openssl": ENDS, "python": ENDS}
    ),
    "the root with a name in another case ends": Fault(
        (fresh(issuing=UNDER_LOWER), UNDER_LOWER),
        (UPPER,),
        ENDS,
        {"java-17": NEVER_REFUSED, "go": STRANGE, "gnutls": STRANGE, "webpki": STRANGE},
    ),
    "no staple comes": Fault((PROMISING, ISSUING), (ROOT,), NEVER_REFUSED, {"gnutls": REFUSED}, unstapled=True),
    "whether a staple comes is not known": Fault((PROMISING, ISSUING), (ROOT,), NEVER_REFUSED),
    "another feature is promised": Fault(
        (promising(x509.TLSFeatureType.status_request_v2), ISSUING), (ROOT,), NEVER_REFUSED, unstapled=True
    ),
    "an address for e-mail": Fault((LIMITED.issue(NAME, subject=GOOD_SUBJECT), LIMITED), (ROOT,), NEVER_REFUSED),
    "an odd address for e-mail": Fault(
        (LIMITED.issue(NAME, subject=ODD_SUBJECT), LIMITED),
        (ROOT,),
        REFUSED,
        {"go": NEVER_REFUSED, "java-17": NEVER_REFUSED, "webpki": NEVER_REFUSED},
    ),
    "a URI": Fault((located("http://c/"), LIMITED), (ROOT,), NEVER_REFUSED, {"webpki": UNSUPPORTED}),
    # Java itself passes over all names of such a certificate: its row is stricter.
    "an odd URI": Fault((located("http://["), LIMITED), (ROOT,), REFUSED, {"gnutls": NEVER_REFUSED}),
    "no URI where one is excluded": Fault((fresh(issuing=NOT_AT_C), NOT_AT_C), (ROOT,), NEVER_REFUSED),
    "another URI than is excluded": Fault(
        (NOT_AT_C.issue(NAME, x509.UniformResourceIdentifier("http://d/")), NOT_AT_C),
        (ROOT,),
        NEVER_REFUSED,
        {"gnutls": REFUSED, "webpki": UNSUPPORTED},
    ),
    "a URI without a host": Fault((located("urn:c"), LIMITED), (ROOT,), REFUSED, {"gnutls": NEVER_REFUSED}),
}


def view_of(fault: Fault, family: str) -> View:
    store = Trust("store", tuple(certificate(each.der()) for each in fault.store))
    return View(Client("client", "store", VerifierName(family)), store)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_by_each_family_that_minds_it(name: str, family: str) -> None:
    fault = FAULTS[name]
    view, chain = view_of(fault, family), tuple(certificate(each.der()) for each in fault.chain)
    judged = [judge_chain(chain, view, at, unstapled=fault.unstapled) for at in (NOW, LATER)]
    found = tuple(None if each.accepted else each.causes[0].code for each in judged)
    assert found == fault.others.get(family, fault.usual)


@pytest.mark.parametrize("name", FAULTS)
def test_a_store_that_is_read_later_leads_to_the_same(name: str) -> None:
    fault = FAULTS[name]
    chain = tuple(certificate(each.der()) for each in fault.chain)
    first = judge_chain(chain, view_of(fault, "openssl"), LATER).accepted
    assert first == (fault.others.get("openssl", fault.usual)[1] is None)


def test_the_end_of_an_anchor_above_an_anchor_is_a_moment_at_which_verdicts_change() -> None:
    fault = FAULTS["the root above an intermediate of the store ends"]
    times = list(chain_boundaries([certificate(each.der()) for each in fault.chain], view_of(fault, "openssl")))
    assert int(NOW + 10 * DAY) + 1 in {int(each) for each in times}


@pytest.mark.parametrize("family", FAMILIES)
def test_any_number_of_wildcards_costs_no_more_than_one(family: VerifierName) -> None:
    row = FAMILIES[family]
    began = time.process_time()
    assert not fits(f"{'*' * 60}!.example.com", f"{'a' * 63}.example.com", row.names)
    assert not fits(f"{'*a' * 60}!.example.com", f"{'a' * 63}.example.com", row.names)
    assert time.process_time() - began < 0.1
