"""Everything that a server takes is found out, whatever it prefers; and no server makes the questions endless."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from config.expected import ANY_MODERN, AllowedTLS
from config.text import Printable
from config.vocabulary import Code, Severity, TLSVersion
from monitor.lab.ca import Authority, Issued, KeyType
from probes.judge.tls import SUPPORTED, judge_supported
from probes.tls.hello import Choice, Chosen, ClientProposal, TurnedAway, Unclear
from probes.tls.names import GROUPS, SUITES, SUITES_1_3, VERSIONS
from probes.tls.support import Supported, SupportedVersion, questions
from tests.kit.examples import examples
from tests.kit.memory_server import by_version, context_of, everything, with_ml_dsa

ROOT = Authority.root("Root")
HERE = Printable("192.0.2.1")


@pytest.fixture(scope="module")
def pair() -> dict[KeyType, Issued]:
    return {each: ROOT.issue("www.example.com", key=each) for each in (KeyType.RSA2048, KeyType.P256)}


def ciphers_of(context: SSL.Context) -> set[str]:
    return set(SSL.Connection(context, None).get_cipher_list())


@pytest.mark.parametrize("prefers_its_own", [False, True])
def test_a_server_with_both_kinds_of_key_is_seen_with_all_that_openssl_can(
    pair: dict[KeyType, Issued], prefers_its_own: bool
) -> None:
    context = context_of(*pair.values(), ciphers=b"ALL:COMPLEMENTOFALL:!PSK:!SRP:!DSS:!DHE:!ADH:@SECLEVEL=0")
    if prefers_its_own:
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    found = by_version(everything(context))
    assert set(found) == set(TLSVersion)
    modern = {each for each in ciphers_of(context) if each.startswith("TLS_")}
    # IDEA is none of TLS 1.2's.
    older = (TLSVersion.TLS1_1, TLSVersion.TLS1_2)
    assert {suite for each in older for suite in found[each].suites} == ciphers_of(context) - modern
    # OpenSSL enables three of the five by default.
    assert set(found[TLSVersion.TLS1_3].suites) == modern
    assert found[TLSVersion.TLS1_3].groups[0] == "X25519MLKEM768"
    assert {"x25519", "secp256r1", "secp384r1", "ffdhe2048"} <= set(found[TLSVersion.TLS1_3].groups)
    assert {"x25519", "secp256r1", "secp384r1"} <= set(found[TLSVersion.TLS1_2].groups)


@pytest.mark.parametrize("prefers_its_own", [False, True])
def test_an_ec_key_whose_curve_is_taken_away_hides_no_other_group(
    pair: dict[KeyType, Issued], prefers_its_own: bool
) -> None:
    context = context_of(pair[KeyType.P256])
    if prefers_its_own:
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    assert {"secp256r1", "secp384r1"} <= set(by_version(everything(context))[TLSVersion.TLS1_2].groups)


def test_a_server_of_one_version_is_seen_with_that_alone(pair: dict[KeyType, Issued]) -> None:
    context = context_of(pair[KeyType.RSA2048], ciphers=b"AES128-SHA:@SECLEVEL=0")
    context.set_max_proto_version(SSL.TLS1_1_VERSION)
    context.set_min_proto_version(SSL.TLS1_1_VERSION)
    assert everything(context) == (SupportedVersion(TLSVersion.TLS1_1, ("AES128-SHA",)),)


def test_a_server_with_a_post_quantum_key_speaks_tls_1_3_alone() -> None:
    assert [each.version for each in everything(with_ml_dsa())] == [TLSVersion.TLS1_3]


class Model:
    """A server that takes so much, by a preference of its own."""

    def __init__(self, version: str, suites: Sequence[int], groups: Sequence[int]) -> None:
        self.version, self.suites, self.groups = version, suites, groups
        self.asked = 0

    def choose(self, proposal: ClientProposal) -> Choice:
        self.asked += 1
        suite = next((each for each in self.suites if each in proposal.suites), None)
        group = next((each for each in self.groups if each in proposal.groups), None)
        if proposal.version != self.version or suite is None or (group is None and self.groups):
            return TurnedAway(40)
        return Chosen(VERSIONS[self.version], suite, group)


def answers(model: Model) -> tuple[tuple[SupportedVersion, ...], tuple[Printable, ...]]:
    asked = questions()
    proposal = next(asked)
    while True:
        try:
            proposal = asked.send(model.choose(proposal))
        except StopIteration as over:
            found: tuple[tuple[SupportedVersion, ...], tuple[Printable, ...]] = over.value
            return found


@settings(max_examples=examples(25))
@given(
    st.lists(st.sampled_from(sorted(SUITES_1_3)), min_size=1, unique=True),
    st.lists(st.sampled_from(sorted(GROUPS)), min_size=1, unique=True),
)
def test_a_modelled_server_of_tls_1_3_is_found_as_it_is(suites: list[int], groups: list[int]) -> None:
    (found,), unclear = answers(Model(TLSVersion.TLS1_3, suites, groups))
    assert unclear == ()
    assert set(found.suites) == {SUITES_1_3[each] for each in suites}
    assert set(found.groups) == {GROUPS[each] for each in groups}


@settings(max_examples=examples(25))
@given(st.lists(st.sampled_from(sorted(SUITES)), min_size=1, unique=True))
def test_a_modelled_server_of_an_old_version_is_found_as_it_is(suites: list[int]) -> None:
    (found,), _ = answers(Model("SSLv3", suites, ()))
    assert set(found.suites) == {SUITES[each] for each in suites}


@settings(max_examples=examples(25))
@given(st.lists(st.integers(0, 0xFFFF), min_size=1), st.sampled_from(sorted(VERSIONS.values())))
def test_no_server_makes_the_questions_endless(chosen: list[int], version: int) -> None:
    class Liar(Model):
        def choose(self, proposal: ClientProposal) -> Choice:
            self.asked += 1
            number = chosen[self.asked % len(chosen)]
            suite = proposal.suites[number % len(proposal.suites)] if number & 1 else number
            return Chosen(version, suite, number)

    liar = Liar("", (), ())
    answers(liar)
    assert liar.asked < 2 * (len(SUITES) + len(GROUPS)) + 40


def test_a_server_that_cannot_be_reached_meanwhile_is_unclear_and_not_said_to_take_less() -> None:
    class Fading(Model):
        def choose(self, proposal: ClientProposal) -> Choice:
            return super().choose(proposal) if self.asked < 2 else Unclear(Printable("does not answer in time"))

    found, unclear = answers(Fading(TLSVersion.TLS1_3, (0x1301, 0x1302, 0x1303), (29,)))
    assert [each.suites for each in found] == [("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384")]
    assert unclear[0] == "does not answer in time, when asked for TLSv1.3"
    assert len(unclear) == len(VERSIONS)


def takes(version: str = TLSVersion.TLS1_2, *suites: str, groups: tuple[str, ...] = (), bits: int = 0) -> Supported:
    return Supported(HERE, (SupportedVersion(version, suites or ("AES128-SHA",), groups, bits),))


@pytest.mark.parametrize(
    ("supported", "allowed", "expected"),
    [
        (takes(), ANY_MODERN, []),
        (
            takes("SSLv3"),
            ANY_MODERN,
            [(Code.OBSOLETE_PROTOCOL, Severity.WARNING, "192.0.2.1 supports SSLv3, allowed are TLSv1.2, TLSv1.3")],
        ),
        (
            takes(TLSVersion.TLS1_2, "RC4-SHA"),
            ANY_MODERN,
            [(Code.WEAK_CIPHER, Severity.NOTICE, "192.0.2.1 supports RC4-SHA")],
        ),
        (
            takes(TLSVersion.TLS1_2, "AES128-SHA", "AES256-SHA"),
            AllowedTLS(ciphers=("AES256-*",)),
            [(Code.WEAK_CIPHER, Severity.WARNING, "192.0.2.1 supports AES128-SHA, allowed are AES256-*")],
        ),
        (
            takes(TLSVersion.TLS1_2, "AECDH-AES128-SHA", "RC4-SHA"),
            ANY_MODERN,
            [
                (
                    Code.WEAK_CIPHER,
                    Severity.WARNING,
                    (
                        "192.0.2.1 supports AECDH-AES128-SHA, which protects nobody: it does not encrypt, or knows no "
                        "certificate; RC4-SHA"
                    ),
                )
            ],
        ),
        (
            takes(TLSVersion.TLS1_2, "DHE-RSA-AES128-SHA", bits=1024),
            ANY_MODERN,
            [
                (
                    Code.WEAK_CIPHER,
                    Severity.NOTICE,
                    "192.0.2.1 supports a Diffie-Hellman exchange with a prime of 1024 bits",
                )
            ],
        ),
    ],
    ids=["modern", "version", "weak", "list", "anonymous", "prime"],
)
def test_what_is_supported_and_not_allowed_is_a_finding(
    supported: Supported, allowed: AllowedTLS, expected: list[tuple[Code, Severity, str]]
) -> None:
    found = list(judge_supported(supported, allowed))
    assert [(each.code, each.severity, each.detail) for each in found] == expected
    assert {each.subject for each in found} <= {SUPPORTED}


@pytest.mark.parametrize(
    ("supported", "hybrid", "fallback"),
    [
        (takes(TLSVersion.TLS1_3, groups=("X25519MLKEM768", "x25519")), ("X25519MLKEM768",), True),
        (takes(TLSVersion.TLS1_3, groups=("X25519MLKEM768",)), ("X25519MLKEM768",), False),
        (takes(TLSVersion.TLS1_3, groups=("x25519",)), (), True),
        (takes(TLSVersion.TLS1_2), (), True),
    ],
    ids=["both", "post-quantum alone", "classical alone", "tls 1.2"],
)
def test_whether_a_classical_fallback_is_supported(
    supported: Supported, hybrid: tuple[str, ...], fallback: bool
) -> None:
    assert (supported.hybrid_groups, supported.is_classical_fallback) == (hybrid, fallback)
