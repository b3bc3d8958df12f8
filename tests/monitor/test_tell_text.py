"""What a message says, and that nothing hostile in it means anything."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from actions.deliver import Message, Tone
from config.channel import Telling
from config.text import printable
from config.vocabulary import Code, Severity, TargetKind
from monitor.tell.lifecycle import Note, Reviewed, Step, review
from monitor.tell.problem import Member
from monitor.tell.telling import nothing_happens
from monitor.tell.text import LISTED, compose, digest, escaped, notice, shown
from probes.finding import finding
from tests.monitor.tell_kit import EXPIRED, REJECTED, UNREACHABLE, at, member

ABOUT = ("ops", "certificate ab")
NOW = 1_800_000_000.0


def raised(*members: Member) -> Note:
    reviewed = review(ABOUT, None, members, terms=Telling(), now=NOW)
    return noted(reviewed)


def noted(reviewed: Reviewed) -> Note:
    assert reviewed.note is not None
    return reviewed.note


def message(note: Note, **more: str) -> Message:
    return compose(note, lambda _: more.get("outlook", ""), more.get("runbook"), NOW)


def test_a_message_says_everything_that_somebody_woken_by_it_needs() -> None:
    members = [
        replace(member(f"web/{number}:443", found, since=NOW - 60), component="web")
        for number in (1, 2)
        for found in (EXPIRED, REJECTED)
    ]
    said = message(
        raised(*members),
        outlook="certvigil replaces it at 2027-01-15 02:00:00Z",
        runbook="https://wiki.example.com/certvigil/",
    )
    assert said.title == "[critical] expired: CN=a.example on 2 targets"
    assert said.text == "\n".join(
        [
            "expired: CN=a.example ended at 2026-11-01 00:00:00Z",
            "Since 2027-01-15 07:59:00Z.",
            "",
            "It concerns 2 targets:",
            "  web/1:443: expired, client_rejects, component web",
            "  web/2:443: expired, client_rejects, component web",
            "",
            "Clients that do not accept it: browser (at 2).",
            "By itself will happen: certvigil replaces it at 2027-01-15 02:00:00Z.",
            "To act: certvigil replace web --from NEW.pem",
            "Runbook: https://wiki.example.com/certvigil/expired",
            f"problem {raised(*members).alert.problem}, message {raised(*members).alert.message_id}",
        ]
    )
    assert said.brief == f"{said.title} (message {raised(*members).alert.message_id})"
    assert said.tone is Tone.FAILURE


def test_each_step_is_told_apart() -> None:
    note = raised(member("a", at(Severity.WARNING)))
    titles = {step: message(replace(note, step=step)).title for step in Step}
    assert titles == {
        Step.RAISED: "[warning] expiring: CN=a.example on a",
        Step.WORSENED: "[warning, worse than before] expiring: CN=a.example on a",
        Step.EASED: "[warning, less than before] expiring: CN=a.example on a",
        Step.REMINDED: "[warning, still] expiring: CN=a.example on a",
        Step.RESOLVED: "[resolved] expiring: CN=a.example on a",
    }
    tones = {step: message(replace(note, step=step)).tone for step in Step}
    assert (tones[Step.RAISED], tones[Step.RESOLVED]) == (Tone.WARNING, Tone.SUCCESS)
    resolved = message(replace(note, step=Step.RESOLVED, members=(), alert=replace(note.alert, cleared_at=NOW)))
    assert resolved.text.startswith("It was so from 1970-01-01 00:01:40Z until 2027-01-15 08:00:00Z;")


def test_a_thousand_targets_are_listed_up_to_a_bound_and_the_rest_is_counted() -> None:
    said = message(raised(*(member(f"web{number:04}", UNREACHABLE) for number in range(1000))))
    listed = re.findall(r"^  (web\d+): unreachable$", said.text, re.MULTILINE)
    assert listed == [f"web{number:04}" for number in range(LISTED)]
    assert "  and 950 more\n" in said.text
    assert len(said.text) < 3000


@pytest.mark.parametrize(
    ("found", "component", "command"),
    [
        (EXPIRED, "web", "certvigil replace web --from NEW.pem"),
        (EXPIRED, None, "certvigil history a"),
        (finding(Code.NOT_SERVED, "x", "192.0.2.1"), "web", "certvigil activate web"),
        (UNREACHABLE, "web", "certvigil history a"),
    ],
)
def test_the_command_that_helps_is_named(found: object, component: str | None, command: str) -> None:
    said = message(raised(replace(member("a"), finding=found, component=component)))  # type: ignore[arg-type]
    assert f"To act: {command}\n" in said.text


def test_what_is_wrong_with_certvigil_itself_is_asked_of_itself() -> None:
    itself = Member("certvigil", TargetKind.SELF, None, finding(Code.DATABASE_DEGRADED, "full"), 1.0)
    assert "To act: certvigil status\n" in message(raised(itself)).text


def test_a_name_with_a_quote_is_no_command() -> None:
    said = message(raised(replace(member("$(reboot); 'x'", UNREACHABLE))))
    assert """certvigil history '$(reboot); '"'"'x'"'"''""" in said.text


def test_many_problems_at_once_are_one_message() -> None:
    notes = [
        noted(review(("ops", f"key {number}"), None, [member(f"web{number:03}")], terms=Telling(), now=NOW))
        for number in range(300)
    ]
    name, said = digest(notes, NOW)
    assert said.title == "[critical] certvigil: 300 problems"
    assert len(re.findall(r"^  \[critical\] expired: ", said.text, re.MULTILINE)) == 50
    assert "  and 250 more\n" in said.text
    assert said.text.endswith(f"message {name}")
    assert digest(notes, NOW + 5)[0] == name
    assert digest(notes[1:], NOW)[0] != name


SPECIAL = "\\`*_{}[]()#+-.!|~<>&@:/\n\t\u202e\ud800"
HOSTILE = st.text(st.characters(codec="utf-8") | st.sampled_from(SPECIAL), max_size=40)
COMMONMARK = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def is_harmless(text: str) -> bool:
    bare = text.replace("\\", "")
    return printable(bare, len(bare)) == bare


@given(HOSTILE)
def test_in_markdown_every_character_means_itself(text: str) -> None:
    plain = shown(f"x{text}x")
    assert is_harmless(plain)
    page = COMMONMARK.render(f"- {escaped(shown(text))}\n\n**{escaped(plain)}**\n\n{escaped(plain)}")
    assert set(re.findall(r"<(/?\w+)", page)) == {"ul", "/ul", "li", "/li", "p", "/p", "strong", "/strong"}
    strong = re.search(r"<strong>(.*?)</strong>", page, re.DOTALL)
    assert strong is not None
    assert html.unescape(strong[1]).split() == plain.split()


@given(HOSTILE, HOSTILE, HOSTILE)
def test_whatever_a_finding_says_a_message_is_made_of_it(target: str, detail: str, about: str) -> None:
    found = finding(Code.EXPIRED, detail, "position 0")
    said = compose(raised(replace(member(target, found), about=about)), nothing_happens, None, NOW)
    for line in (said.title, said.brief, *said.text.split("\n"), *said.markdown.split("\n")):
        assert is_harmless(line)
    assert len(said.text.split("\n")) == 9


def test_what_else_happened_is_told_with_an_id_of_its_own() -> None:
    name, said = notice(
        "decision 7", "ops", "web was rolled back", ["java rejects it.", "The old set is served."], Tone.FAILURE
    )
    assert said.text == f"java rejects it.\nThe old set is served.\nmessage {name}"
    assert notice("decision 7", "ops", "web was rolled back", [], Tone.FAILURE)[0] == name
    assert notice("decision 7", "chat", "web was rolled back", [], Tone.FAILURE)[0] != name


def test_nobody_is_called_by_what_a_certificate_says() -> None:
    # Slack's own markup calls by what looks like a tag.
    assert escaped("<!everyone> & <b>") == r"&lt;!everyone\> &amp; &lt;b\>"
    assert shown("@everyone @HERE @channel mail@example.com") == "@ everyone @ HERE @ channel mail@example.com"
