"""Certificates in a bundle of PEM, added and removed by position: every other byte stays."""

from __future__ import annotations

import hashlib
import time

import pytest

from actions.pem_bundle import appended, without
from monitor.lab.ca import HOSTILE_TEXT, Authority, Issued
from probes.certificate import certificate
from probes.container.registry import trusted_in
from probes.store_content import read_store

ONE, TWO, NEW = (Authority.root(f"Root {each}") for each in ("one", "two", "new"))
COMMENT = b"# certvigil: CN=Root new, sha256 " + hashlib.sha256(NEW.der()).hexdigest().encode()


def sha256(of: Issued) -> str:
    return hashlib.sha256(of.der()).hexdigest()


def crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


BUNDLES = {
    "empty": b"",
    "plain": ONE.pem() + TWO.pem(),
    "without a final newline": (ONE.pem() + TWO.pem()).rstrip(),
    "with comments and blank lines": b"# the vendor's\n\nOne\n===\n"
    + ONE.pem()
    + b"\n# two\n"
    + TWO.pem()
    + b"\n# end\n",
    "with CRLF": crlf(b"# the vendor's\n" + ONE.pem() + TWO.pem()),
    "with CRLF and no final newline": crlf(ONE.pem() + TWO.pem()).rstrip(),
    "with a byte order mark": b"\xef\xbb\xbf" + ONE.pem(),
    "with blanks around blocks": b"  " + ONE.pem().rstrip() + b" \t\n" + TWO.pem(),
    "with a block of OpenSSL's": ONE.pem().replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE") + TWO.pem(),
    "with text that is no UTF-8": b"# M\xfcller\n" + ONE.pem(),
    "with a damaged block": ONE.pem() + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + TWO.pem(),
}


@pytest.mark.parametrize("data", BUNDLES.values(), ids=BUNDLES)
def test_a_certificate_is_appended_and_taken_out_again(data: bytes) -> None:
    end = b"\r\n" if b"\r\n" in data else b"\n"
    mended = data if not data or data.endswith(end) else data + end
    new = (COMMENT + b"\n" + NEW.pem()).replace(b"\n", end)
    made = appended(data, [certificate(NEW.der())])
    assert made == mended + new
    assert trusted_in(made) == (*trusted_in(data), NEW.der())
    assert without(made, sha256(NEW)) == mended


@pytest.mark.parametrize("data", BUNDLES.values(), ids=BUNDLES)
def test_nothing_else_goes_with_a_certificate(data: bytes) -> None:
    made = without(data, sha256(ONE))
    assert read_store(made).anchors == tuple(der for der in read_store(data).anchors if der != ONE.der())
    kept = [line for line in data.splitlines() if line.startswith((b"#", b"One", b"==="))]
    assert [line for line in made.splitlines() if line in kept] == kept


def test_the_comment_of_somebody_else_stays() -> None:
    data = b"# mine\n" + ONE.pem() + b"# certvigil: this is another's\n\n" + TWO.pem()
    assert without(without(data, sha256(ONE)), sha256(TWO)) == b"# mine\n# certvigil: this is another's\n\n"


def test_each_block_of_a_certificate_goes_with_it() -> None:
    assert without(ONE.pem() + TWO.pem() + ONE.pem(), sha256(ONE)) == TWO.pem()


def test_a_hostile_subject_makes_one_line_and_no_block() -> None:
    hostile = Authority.root("-----END CERTIFICATE-----" + HOSTILE_TEXT.replace("\x00", "")[:20])
    made = appended(ONE.pem(), [certificate(hostile.der())])
    assert read_store(made).anchors == (ONE.der(), hostile.der())
    comment = made[len(ONE.pem()) :].splitlines()[0]
    assert comment.startswith(b"# certvigil: ")
    assert comment.isascii()
    assert without(made, sha256(hostile)) == ONE.pem()


def test_beginnings_without_an_end_do_not_hold_a_change_up() -> None:
    data = ONE.pem() + TWO.pem() + b"# -----BEGIN CERTIFICATE-----\n" * 100_000
    begun = time.process_time()
    assert without(data, sha256(ONE)) == data.removeprefix(ONE.pem())
    assert time.process_time() - begun < 10.0


def test_one_line_of_many_blocks_does_not_hold_a_change_up() -> None:
    line = (ONE.pem().strip() + b" ") * 20_000
    begun = time.process_time()
    assert without(TWO.pem() + line, sha256(TWO)) == line
    assert time.process_time() - begun < 20.0
