"""`certvigil check` tells the same of servers and faults as other programs do, fact by fact.

Each fact that one of them tells otherwise has its row in `DIFFERENCES`, with the reason.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from config.vocabulary import EndpointProtocol
from monitor.lab.process import find_command
from tests.kit.compared_servers import ROWS, Address, Ground, Row, ground
from tests.kit.other_programs import SSLYZE, Facts, by_check, by_s_client, by_sslyze, by_testssl, differences

S_CLIENT, SSLYZE_NAME, TESTSSL = "s_client", "sslyze", "testssl"
DIFFERENCES: Mapping[tuple[str, str, str], str] = {
    (S_CLIENT, "an intermediate that is no CA", "cause"): "it calls it an unsuitable purpose",
    (S_CLIENT, "NUL in a name", "names"): "it prints no name of such a certificate",
    (S_CLIENT, "Diffie-Hellman without curves", "group"): "no curve; `--supported` has the prime's length",
    (S_CLIENT, "a staple that says revoked", "accepted"): "it shows the staple, and does not go by it",
    (S_CLIENT, "a staple that says revoked", "cause"): "it shows the staple, and does not go by it",
    (S_CLIENT, "injects text before TLS", "failure"): "it goes on with what was injected",
    (S_CLIENT, "declines STARTTLS", "failure"): "it does not read the answer",
    (SSLYZE_NAME, "a common name alone", "accepted"): "it judges as browsers do, which read no common name",
    (SSLYZE_NAME, "RSA 1024", "accepted"): "it judges no length of a key",
    (SSLYZE_NAME, "a negative serial number", "accepted"): "it judges as browsers do",
    (SSLYZE_NAME, "version 1", "accepted"): "it judges as browsers do",
    (SSLYZE_NAME, "a staple that says revoked", "accepted"): "it shows the staple, and does not go by it",
    (TESTSSL, "SHA-1", "accepted"): "it judges the strength apart from the trust",
}
"""By the other program, the row and the fact: why it tells something else than certvigil."""

A_DOZEN = (
    *("as it should be", "RSA 2048", "SHA-1", "expired", "another name", "self-signed", "in the wrong order"),
    *("an intermediate is missing", "TLSv1 alone", "one cipher alone", "by name, without SNI"),
    *("a staple that says good", "refuses", "resets", "speaks HTTP", "agrees and goes on in the clear"),
)
BY_TESTSSL = (
    *("as it should be", "SHA-1", "another name", "an intermediate is missing"),
    *("TLSv1 alone", "a staple that says good", "refuses", "speaks HTTP"),
)
"""It takes a quarter of a minute for each on a quiet machine."""
BY_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="some of these servers are started by root")
ALL_PROGRAMS = pytest.mark.server("openssl", *sorted({each for row in ROWS.values() for each in row.programs}))
FOR_EVERYBODY, FOR_SILENCE = 20.0, 2.0
"""Seconds for one look; servers that never answer are waited for less long."""


@dataclass(frozen=True)
class Compared:
    """Servers that run, and what certvigil tells of them."""

    on: Ground
    at: Mapping[str, tuple[Row, Address]]
    ours: Mapping[str, Facts]

    def differing(self, program: str, theirs: Iterable[tuple[str, Facts]]) -> Mapping[tuple[str, str, str], object]:
        """Return each fact that a program tells otherwise, with both."""
        return {
            (program, name, fact): pair
            for name, facts in theirs
            for fact, pair in differences(self.ours[name], facts).items()
        }


def patience(row: Row) -> float:
    return FOR_SILENCE if row.hangs else FOR_EVERYBODY


@contextmanager
def running(names: Iterable[str]) -> Iterator[Compared]:
    """Start the servers of these rows, and have `certvigil check` look at them."""
    with ExitStack() as stack:
        on = stack.enter_context(ground())
        at = {name: (ROWS[name], stack.enter_context(ROWS[name].serve(on))) for name in names}
        alike: dict[tuple[tuple[str, ...], bool], dict[str, tuple[Row, Address]]] = defaultdict(dict)
        for name, (row, address) in at.items():
            alike[row.words, row.hangs][name] = row, address
        ours: dict[str, Facts] = {}
        for some in alike.values():
            ours |= by_check(some, on.roots, patience(next(iter(some.values()))[0]))
        yield Compared(on, at, ours)


@pytest.fixture(scope="module")
def everything() -> Iterator[Compared]:
    with running(ROWS) as compared:
        yield compared


def reasons(program: str, names: Iterable[str]) -> set[tuple[str, str, str]]:
    return {each for each in DIFFERENCES if each[0] == program and each[1] in names}


def told_by_s_client(compared: Compared) -> Iterator[tuple[str, Facts]]:
    for name, (row, address) in compared.at.items():
        yield name, by_s_client(row, address, compared.on.roots, patience(row))


@pytest.mark.server("openssl")
def test_a_dozen_servers_and_faults_are_told_as_s_client_tells_them() -> None:
    with running(A_DOZEN) as compared:
        assert {name for name, facts in compared.ours.items() if facts.reached} == set(A_DOZEN[:-4])
        assert compared.differing(S_CLIENT, told_by_s_client(compared)) == {}


@BY_ROOT
@ALL_PROGRAMS
@pytest.mark.slow
def test_every_server_and_fault_is_told_as_s_client_tells_it(everything: Compared) -> None:
    assert len(everything.ours) == len(ROWS) > 60
    found = everything.differing(S_CLIENT, told_by_s_client(everything))
    assert set(found) == reasons(S_CLIENT, ROWS), found


@BY_ROOT
@ALL_PROGRAMS
@pytest.mark.slow
@pytest.mark.skipif(SSLYZE is None, reason="sslyze is not installed; `tests/kit/install compared` installs it")
def test_every_server_is_told_as_sslyze_tells_it(everything: Compared) -> None:
    alike: dict[tuple[tuple[str, ...], EndpointProtocol], dict[str, tuple[Row, Address]]] = defaultdict(dict)
    for name, (row, address) in everything.at.items():
        # It would wait for ever.
        if not row.hangs:
            alike[row.words, row.protocol][name] = row, address
    theirs = [each for some in alike.values() for each in by_sslyze(some, everything.on.roots).items()]
    assert len(theirs) > 60
    found = everything.differing(SSLYZE_NAME, theirs)
    assert set(found) == reasons(SSLYZE_NAME, ROWS), found


@pytest.mark.server("openssl")
@pytest.mark.slow
@pytest.mark.skipif(
    find_command("testssl") is None, reason="testssl.sh is not installed; `tests/kit/install compared` installs it"
)
def test_some_servers_are_told_as_testssl_tells_them() -> None:
    with running(BY_TESTSSL) as compared:
        theirs = [(name, by_testssl(row, address, compared.on.roots)) for name, (row, address) in compared.at.items()]
        found = compared.differing(TESTSSL, theirs)
        assert set(found) == reasons(TESTSSL, BY_TESTSSL), found
