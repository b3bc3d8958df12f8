"""`certvigil demo --appliance`, as its user runs it, with real servers and without."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from tests.kit.daemon import begun
from tests.kit.demonstration import assert_ends_with_nothing_left, assert_left_nothing, assert_told, demonstrate


@pytest.mark.server("nginx")
@pytest.mark.server("lighttpd")
def test_every_procedure_on_an_appliance_does_what_it_should_and_touches_nothing_else(directory: Path) -> None:
    walk_through(directory, "single", servers=True)


@pytest.mark.slow
@pytest.mark.server("nginx")
@pytest.mark.server("lighttpd")
@pytest.mark.parametrize("role", ["primary", "secondary"])
def test_every_procedure_is_the_same_on_an_appliance_of_another_role(directory: Path, role: str) -> None:
    walk_through(directory, role, servers=True)


@pytest.mark.slow
def test_a_server_that_is_not_installed_has_a_stand_in_which_is_said(directory: Path) -> None:
    walk_through(directory, "single", servers=False)


def walk_through(directory: Path, role: str, *, servers: bool) -> None:
    ran = demonstrate(directory, "--appliance", role, servers=servers)
    said = ran.stdout
    assert ("(Lighttpd)" in said, "lighttpd is not installed" in said) == (servers, not servers)
    told = [
        *(r"raised +console/\S+: default_certificate", rf"\$ certvigil inventory {role}", rf"\tconsole\t{role}\t"),
        rf"\$ certvigil csr {role} --out \S+/{role}\.csr",
        rf"\$ certvigil replace {role} --from \S+ --dry-run",
        r"intermediate\.crt  \(missing\) -> ",
        r"answers the request for appliance\.example\.com",
        r"client     browser at console/\S+: rejects -> accepts",
        rf"\$ certvigil replace {role} --from \S+",
        rf"committed  {role} \(.*the files are in use",
        r"-> lighttpd-console\.conf .*the chain",
        rf"rolled_back {role} \(.*the old files are in place",
        "-> every member has its files of before, and serves them",
        rf"\$ certvigil backups {role}",
        r"of another program",
        rf"\$ certvigil rollback {role} --to \d{{8}}",
        r"-> every endpoint serves the certificate of \d{8}",
        rf"\$ certvigil reset-to-default {role}\n",
        r"refused    client_lost: console: browser",
        rf"\$ certvigil reset-to-default {role} --lose browser",
        "-> every endpoint serves the certificate from the installation",
        r"-> lighttpd-console\.conf .*no chain any more",
        "-> every file of the components is as it was after the installation",
        r"-> \d+ other files were never touched",
        "nothing is left behind",
    ]
    assert_told(ran, told)
    assert "MISSED" not in said
    assert_left_nothing(directory)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", [b"1. What is installed?", b"noted the intent"])
def test_nothing_is_left_behind_wherever_it_is_ended(directory: Path, number: signal.Signals, moment: bytes) -> None:
    start = partial(begun, "demo", "--appliance", "primary")
    assert_ends_with_nothing_left(directory, start, moment, number, status=1)
