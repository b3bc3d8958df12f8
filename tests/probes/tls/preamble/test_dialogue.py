from __future__ import annotations

import pytest

from config.probing import ProbeTurn, split_turns
from probes.tls.preamble.dialogue import LONGEST_LINE, MOST_LINES, ProbeDialogue
from probes.tls.preamble.talk import MOST_BYTES, Agreed, Declined

SMTP = (
    ProbeTurn(expect="^220 ([^ ]+) ESMTP (.+)$", send="EHLO ${1}\r"),
    ProbeTurn(expect="^250-STARTTLS", send="STARTTLS\r"),
    ProbeTurn(expect="^220", starttls=True),
)


def test_turns_are_taken_line_by_line_with_the_groups_of_what_was_said() -> None:
    dialogue = ProbeDialogue(SMTP)
    assert dialogue.start() == b""
    assert dialogue.receive(b"220 mail.example.com ESM") == b""
    assert dialogue.receive(b"TP Postfix\r\n") == b"EHLO mail.example.com\r\n"
    assert dialogue.receive(b"250-mail.example.com\r\n250-STARTTLS\r\n250 HELP\r\n") == b"STARTTLS\r\n"
    assert dialogue.outcome is None
    dialogue.receive(b"220 go on\r\n")
    assert dialogue.outcome == Agreed()


def test_exact_bytes_are_awaited_without_a_line_end() -> None:
    turns = (ProbeTurn(send="go"), ProbeTurn(expect_bytes=b"S", starttls=True))
    agreed, refused = ProbeDialogue(turns), ProbeDialogue(turns)
    assert agreed.start() == refused.start() == b"go\n"
    agreed.receive(b"S")
    assert agreed.outcome == Agreed()
    refused.receive(b"N")
    assert refused.outcome == Declined("did not say what the module expects: S")


def test_bytes_behind_the_agreement_are_refused_before_tls_and_not_within_it() -> None:
    before, within = ProbeDialogue((ProbeTurn(expect="^ok"),)), ProbeDialogue((ProbeTurn(expect="^ok"),), secured=True)
    for each in (before, within):
        each.receive(b"ok\ninjected")
    assert isinstance(before.outcome, Declined)
    assert within.outcome == Agreed()


@pytest.mark.parametrize("said", [b"x" * (MOST_BYTES + 1), b"no\n" * (MOST_LINES + 1)])
def test_a_server_that_talks_on_and_on_is_left(said: bytes) -> None:
    dialogue = ProbeDialogue((ProbeTurn(expect="^220"),))
    dialogue.receive(said)
    assert dialogue.outcome == Declined("did not say what the module expects: ^220")


def test_a_server_that_closes_has_not_said_what_is_expected() -> None:
    dialogue = ProbeDialogue((ProbeTurn(expect="^220"),))
    dialogue.receive(b"220 no line end")
    assert dialogue.end() == Declined("did not say what the module expects: ^220")


def test_a_line_is_compared_no_further_than_expressions_are_quick() -> None:
    dialogue = ProbeDialogue((ProbeTurn(expect="end$", send="heard"),))
    assert dialogue.receive(b"x" * LONGEST_LINE + b"end\n") == b""
    assert dialogue.receive(b"the end\n") == b"heard\n"


def test_turns_are_split_where_tls_begins() -> None:
    begin, ask = ProbeTurn(expect="^220", starttls=True), ProbeTurn(send="QUIT")
    assert split_turns((begin, ask), tls=False) == ((begin,), (ask,))
    assert split_turns((ask,), tls=False) == split_turns((ask,), tls=True) == ((), (ask,))
