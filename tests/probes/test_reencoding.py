"""Certificates that strict DER refuses and OpenSSL reads: their facts, and the finding that names the rule."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from actions.backup import state_of
from actions.candidate import Given, NoCandidate, read_candidates
from actions.precheck import Objection
from actions.trust_change import AddAnchors, StoreFile, render
from actions.world import World
from config.model import Client, Endpoint, FileTarget, PemBundle, TrustStore
from config.text import Printable
from config.vocabulary import Code, FileRole, KeyKind, TLSVersion, VerifierName
from monitor.lab.ca import bundle
from monitor.lab.servers import Lighttpd, replace_file, write_site
from probes.assess import EndpointContext, FileContext, assess_endpoint, assess_file
from probes.certificate import certificate
from probes.chain import signed
from probes.file import look_at_file
from probes.judge.client import View
from probes.observation import EndpointObservation, Presented
from probes.store_content import read_store
from probes.tls.handshake import Handshake
from probes.trust import Trust
from tests.kit.authority import ISSUING, NAME, ROOT
from tests.kit.drivers import DRIVERS
from tests.kit.examples import examples
from tests.kit.odd_certificates import (
    DEFAULT_RULE,
    NO_TIME_RULE,
    ODDITIES,
    VERSION_RULE,
    Oddity,
    ends,
    odd_certificate,
    oddly,
)
from tests.kit.start import StartServer

NOW = time.time()
ODD = {name: odd_certificate(ISSUING, oddity, NAME) for name, oddity in ODDITIES.items()}
TRUST = Trust("store", (certificate(ROOT.der()),))


@pytest.mark.parametrize("name", ODDITIES)
def test_it_gives_its_facts_and_the_rule_that_it_breaks(name: str) -> None:
    issued = ODD[name]
    held = certificate(issued.der())
    assert held.failures == ()
    assert (held.der, held.issuer, held.key.bits) == (issued.der(), "CN=Lab Issuing CA", 256)
    assert held.subject.startswith("CN=")
    assert held.serial
    assert held.not_after is not None
    assert held.not_after > NOW
    assert held.names == (() if name == "version 1 written out" else (f"DNS:{NAME}",))
    assert not held.is_ca
    rule = ODDITIES[name].rule
    assert held.encoding_faults == (() if rule == VERSION_RULE else (rule,))


@pytest.mark.parametrize("name", ODDITIES)
def test_its_signature_is_verified_over_the_bytes_as_they_are_written(name: str) -> None:
    held, issuer = certificate(ODD[name].der()), certificate(ISSUING.der())
    assert signed(issuer, held)
    forged = certificate(held.der[:-1] + bytes([held.der[-1] ^ 1]))
    assert forged.subject == held.subject
    assert not signed(issuer, forged)


@pytest.mark.parametrize("name", ODDITIES)
def test_a_file_of_it_is_readable_and_nonconforming(name: str, tmp_path: Path) -> None:
    path = tmp_path / "site.crt"
    path.write_bytes(bundle(ODD[name].chain))
    target = FileTarget("site", str(path), FileRole.LISTED)
    seen = look_at_file(target, NOW)
    assert seen.failure is None
    assert len(seen.certificates) == 2
    view = View(Client("any", TRUST.name), TRUST)
    for context in (FileContext(target), FileContext(target, view=view)):
        found = [each for each in assess_file(seen, context, NOW).findings if each.code is Code.NONCONFORMING]
        told = bool(seen.certificates[0].encoding_faults) or context.view is not None
        assert [each.subject for each in found] == (["position 0"] if told else [])
        assert all(ODDITIES[name].rule in each.detail for each in found)
        assert Code.UNREADABLE not in {each.code for each in assess_file(seen, context, NOW).findings}


@pytest.mark.parametrize("name", [name for name, each in ODDITIES.items() if each.openssl_reads])
def test_a_server_that_presents_it_is_reached_and_judged_by_each_client(name: str, tmp_path: Path) -> None:
    chain = _served(name, tmp_path)
    assert [each.der for each in chain.chain] == [each.der() for each in ODD[name].chain]
    clients = [Client(each.value, TRUST.name, each) for each in VerifierName]
    context = EndpointContext(Endpoint("web", NAME, 443), tuple(View(each, TRUST) for each in clients))
    assessment = assess_endpoint(EndpointObservation("web", NOW, (chain,)), context, NOW)
    by_client = {each.client: each for each in assessment.edges}
    assert by_client["openssl"].accepted == ODDITIES[name].openssl_accepts
    if not certificate(ODD[name].der()).is_strict:
        assert not by_client["webpki"].accepted
    told = [each.detail for each in assessment.findings if each.code is Code.NONCONFORMING]
    assert any(ODDITIES[name].rule in each for each in told)
    assert Code.UNREACHABLE not in {each.code for each in assessment.findings}


def _served(name: str, directory: Path) -> Presented:
    """Return what is seen of a server that presents it, in memory."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    replace_file(str(directory / "site.crt"), bundle(ODD[name].chain))
    replace_file(str(directory / "site.key"), ODD[name].key_pem())
    context.use_certificate_chain_file(str(directory / "site.crt"))
    context.use_privatekey_file(str(directory / "site.key"))
    server = SSL.Connection(context, None)
    server.set_accept_state()
    ours = Handshake("192.0.2.1", NAME, TLSVersion.TLS1_2)
    to_server = ours.start()
    while ours.outcome is None:
        server.bio_write(to_server)
        with suppress(SSL.WantReadError):
            server.do_handshake()
        to_server = ours.receive(server.bio_read(65536))
    assert isinstance(ours.outcome, Presented), ours.outcome
    return ours.outcome


@pytest.mark.server("lighttpd")
def test_every_driver_sees_what_a_real_server_presents(tmp_path: Path, start_lighttpd: StartServer[Lighttpd]) -> None:
    odd = ODD["an extension that says it is not critical"]
    server = start_lighttpd(write_site(str(tmp_path), odd))
    for look_by in DRIVERS:
        seen = look_by(Endpoint("web", server.host, server.port, NAME))
        assert seen.failures == ()
        assert [each.der for each in seen.presented[0].chain] == [each.der() for each in odd.chain]


def test_an_anchor_that_strict_clients_cannot_read_is_one_for_all_others() -> None:
    odd = certificate(oddly(ROOT, ROOT, ODDITIES["an extension that says it is not critical"]))
    trust = Trust("odd", (odd,))
    views = tuple(View(Client(each.value, "odd", each), trust) for each in VerifierName)
    chain = tuple(certificate(each.der()) for each in ISSUING.issue(NAME).chain)
    presented = Presented(Printable("192.0.2.1"), chain, "TLSv1.3", "", "")
    context = EndpointContext(Endpoint("web", NAME, 443), views)
    edges = assess_endpoint(EndpointObservation("web", NOW, (presented,)), context, NOW).edges
    assert {each.client for each in edges if not each.accepted} == {"webpki"}


@pytest.mark.parametrize(
    ("written", "at"),
    [
        (b"\x17\x0b2611010000Z", "20261101000000"),
        (b"\x17\x11261101000000+0100", "20261031230000"),
        (b"\x17\x0d991101000000Z", "19991101000000"),
        (b"\x18\x0d202611010000Z", "20261101000000"),
        (b"\x18\x1120551101000000.5Z", "20551101000000"),
        (b"\x18\x13" + b"20551101000000-0130", "20551101013000"),
    ],
)
def test_a_time_is_read_in_whatever_way_it_is_written(written: bytes, at: str) -> None:
    held = certificate(odd_certificate(ISSUING, Oddity(ends(written), ""), NAME).der())
    assert held.not_after is not None
    assert time.strftime("%Y%m%d%H%M%S", time.gmtime(held.not_after)) == at


@pytest.mark.parametrize(
    "written", [b"\x17\x0d261399000000Z", b"\x17\x03abc", b"\x18\x0f99991231235959+", b"\x04\x01x"]
)
def test_a_time_that_nobody_can_read_is_unknown_and_the_rest_is_known(written: bytes) -> None:
    held = certificate(odd_certificate(ISSUING, Oddity(ends(written), ""), NAME).der())
    assert (held.not_after, held.names) == (None, (f"DNS:{NAME}",))
    assert held.not_before == 1_577_836_800
    assert held.failures == ("notAfter cannot be decoded: it is no time",)
    assert held.encoding_faults == (NO_TIME_RULE,)


def test_a_key_that_nobody_can_read_is_unknown_and_the_rest_is_known() -> None:
    def edit(fields: list[bytes]) -> list[bytes]:
        curve = bytes.fromhex("06082a8648ce3d030107")
        return [*fields[:6], fields[6].replace(curve, b"\x04" + curve[1:]), *fields[7:]]

    held = certificate(odd_certificate(ISSUING, Oddity(edit, ""), NAME).der())
    assert (held.key.kind, held.key.bits, held.names) == (KeyKind.UNKNOWN, 0, (f"DNS:{NAME}",))
    assert held.failures == ("public key cannot be decoded: it is not well-formed",)
    assert not held.is_strict
    assert signed(certificate(ISSUING.der()), held)


def test_one_extension_that_cannot_be_decoded_hides_no_other() -> None:
    value = x509.UnrecognizedExtension(ExtensionOID.CRL_DISTRIBUTION_POINTS, b"\x30\x03\x01\x02")
    held = certificate(ISSUING.issue(NAME, extensions=[x509.Extension(value.oid, False, value)]).der())
    assert held.failures == ("the extension 2.5.29.31 cannot be decoded: it is not well-formed",)
    assert held.names == (f"DNS:{NAME}",)
    assert held.is_strict
    assert signed(certificate(ISSUING.der()), held)


@settings(max_examples=examples(200), deadline=None)
@given(st.sampled_from(sorted(ODDITIES)), st.data())
def test_no_damage_to_it_raises_anything_but_value_error(name: str, data: st.DataObject) -> None:
    der = bytearray(ODD[name].der())
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        held = certificate(bytes(der))
    except ValueError:
        return
    assert all(each.isprintable() for each in (held.subject, *held.failures, *held.encoding_faults, *held.names))
    held.extensions()
    held.common_names()
    signed(certificate(ISSUING.der()), held)


def test_strict_clients_could_not_read_it_so_it_is_no_candidate_and_no_new_anchor(tmp_path: Path) -> None:
    odd = ODD["an extension that says it is not critical"]
    none = read_candidates([Given("site.pem", odd.pem() + odd.key_pem())])
    assert isinstance(none, NoCandidate)
    assert none.detail == "site.pem: a certificate cannot be decoded: it is not in strict DER"
    root = certificate(oddly(ROOT, ROOT, ODDITIES["an extension that says it is not critical"]))
    path = tmp_path / "corp.pem"
    path.write_bytes(ISSUING.pem())
    store, state = TrustStore("corp", PemBundle(str(path))), state_of(*World().read(str(path)))
    file = StoreFile(store, str(path), state, ISSUING.pem(), read_store(ISSUING.pem()))
    refused = render(file, AddAnchors((root,)), None, NOW)
    assert isinstance(refused, Objection)
    assert refused.detail == f"CN=Lab Root CA cannot be read by strict clients: it breaks {DEFAULT_RULE}"
