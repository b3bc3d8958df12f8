"""Files as they should not be: each is told by its exact words, and those that can be judged are."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from config.model import FileTarget
from config.vocabulary import FileRole
from monitor.lab.ca import DAY, HOSTILE_TEXT, Authority
from probes.assess import FileContext, assess_file
from probes.file import look_at_file
from tests.kit.authority import ISSUING, NAME
from tests.kit.keystore import PASSWORD, keystore
from tests.kit.odd_certificates import Oddity, ends, odd_certificate

NOW = time.time()
LEAF = ISSUING.issue(NAME)
ENDED = 1_795_000_000
Said = list[tuple[str, str, str]]
"""Code, severity and detail of each finding."""


def judged(directory: Path, data: bytes, password: bytes | None = None) -> Said:
    path, secret = directory / "file", directory / "secret"
    path.write_bytes(data)
    path.chmod(0o640)
    secret.write_bytes(password or b"")
    target = FileTarget("file", str(path), FileRole.LISTED, password_files=(str(secret),) if password else ())
    begun = time.process_time()
    findings = assess_file(look_at_file(target, NOW), FileContext(target), NOW).findings
    assert time.process_time() - begun < 2
    return [(each.code, each.severity, each.detail.replace(str(secret), "SECRET")) for each in findings]


def hostile() -> bytes:
    return Authority.root(HOSTILE_TEXT).issue(NAME, subject=HOSTILE_TEXT, not_before=ENDED - DAY, not_after=ENDED).pem()


CUT = LEAF.pem()[:400] + b"\n-----END CERTIFICATE-----\n"
ONE_BAD = "bad_pem: the PEM block at line {} cannot be decoded: {}"
FILES: dict[str, tuple[Callable[[], bytes], Said]] = {
    "empty": (lambda: b"", [("no_certificate", "critical", "holds no certificate: it is empty")]),
    "text": (lambda: b"hello\n", [("no_certificate", "critical", "holds no certificate")]),
    "binary": (lambda: bytes(range(256)) * 16, [("no_certificate", "critical", "holds no certificate")]),
    "zeros": (lambda: bytes(4096), [("no_certificate", "critical", "holds no certificate")]),
    "torn": (
        lambda: LEAF.pem()[:300],
        [("unreadable", "critical", ONE_BAD.format(1, "END CERTIFICATE is missing"))],
    ),
    "torn DER": (
        lambda: LEAF.der()[:300],
        [("unreadable", "critical", "bad_der: the DER data is cut short or damaged")],
    ),
    "a broken block among good ones": (
        lambda: LEAF.pem() + CUT + ISSUING.pem(),
        [("unreadable", "critical", ONE_BAD.format(LEAF.pem().count(b"\n") + 1, "Incorrect padding"))],
    ),
    "UTF-16": (
        lambda: LEAF.pem().decode().encode("utf-16"),
        [
            (
                "unreadable",
                "critical",
                "bad_pem: it is PEM in UTF-16, which no server reads: write it in ASCII",
            )
        ],
    ),
    "a key alone": (LEAF.key_pem, []),
    "a locked keystore": (
        lambda: keystore(LEAF),
        [("unreadable", "warning", "locked: a PKCS#12 keystore that needs a password")],
    ),
    "a certificate with 10,000 names": (
        lambda: ISSUING.issue(*(f"host{each}.example.com" for each in range(10_000))).pem(),
        [],
    ),
    "a negative serial number": (lambda: ISSUING.issue(NAME, serial=-5).pem(), []),
    "the year 9999": (lambda: ISSUING.issue(NAME, not_after=253_402_300_799).pem(), []),
    "an end before the begin": (
        lambda: odd_certificate(ISSUING, Oddity(ends(b"\x17\x0d190101000000Z"), ""), NAME).pem(),
        [("expired", "critical", f"CN={NAME} ended at 2019-01-01 00:00:00Z")],
    ),
    "a begin after the end": (
        lambda: ISSUING.issue(NAME, not_before=NOW + 40 * DAY, not_after=NOW + 41 * DAY).pem(),
        [
            (
                "not_yet_valid",
                "critical",
                f"CN={NAME} is valid only from {time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime(int(NOW + 40 * DAY)))}",
            )
        ],
    ),
    "NUL, newline, ANSI, quotes and HTML": (
        hostile,
        [
            (
                "expired",
                "critical",
                r"""CN=\00 \0a\0d\1b[31m\1b]0\;t\07 \"'\\ \<script\>alert(1)\</script\> \e2\80\ae{} ended at """
                + time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(ENDED)),
            )
        ],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_each_says_in_these_words_what_is_wrong(name: str, tmp_path: Path) -> None:
    make, said = FILES[name]
    assert judged(tmp_path, make()) == said


def test_a_wrong_password_is_said_with_its_file(tmp_path: Path) -> None:
    why = "wrong_password: a PKCS#12 keystore that this password does not open (password of SECRET)"
    assert judged(tmp_path, keystore(LEAF), b"wrong") == [("unreadable", "critical", why)]
    assert judged(tmp_path, keystore(LEAF), PASSWORD) == []


def test_a_directory_that_vanishes_leaves_its_file_missing(tmp_path: Path) -> None:
    inside = tmp_path / "gone"
    inside.mkdir()
    judged(inside, LEAF.pem())
    for each in inside.iterdir():
        each.unlink()
    inside.rmdir()
    target = FileTarget("file", str(inside / "file"), FileRole.LISTED)
    findings = assess_file(look_at_file(target, NOW), FileContext(target), NOW).findings
    assert [each.detail for each in findings] == ["not_found: there is no such file"]
