"""What a message says, and that nothing hostile in it means anything."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from config.channel import Notifications
from config.text import Printable, harmless, printable, sentence
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.advice import AdviceContext
from monitor.notify.deliver import Message, Tone
from monitor.notify.lifecycle import AlertStep, AlertUpdate, Note, next_note
from monitor.notify.problem import Member
from monitor.notify.text import LISTED, compose, digest, escaped, notice, shown
from monitor.notify.text import test_message as trial
from monitor.state.cure import curable
from probes.finding import Finding, finding
from tests.kit.outbox import EXPIRED, REJECTED, UNREACHABLE, WITH_SERVICE, Office, at, known, member, nothing_happens

ABOUT = ("ops", "certificate ab")
NOW = 1_800_000_000.0
SITE = AdviceContext("web1.example.com", {"web": WITH_SERVICE})
REPLACE = (
    "put the new certificate, its intermediates and its key into NEW.pem, then: certvigil replace web --from NEW.pem"
)
RUNBOOK = "https://wiki.example.com/certvigil/"


def raised(*members: Member) -> Note:
    reviewed = next_note(ABOUT, None, members, terms=Notifications(), now=NOW)
    return noted(reviewed)


def noted(reviewed: AlertUpdate) -> Note:
    assert reviewed.note is not None
    return reviewed.note


def message(note: Note, outlook: str = "", site: AdviceContext = SITE) -> Message:
    return compose(note, lambda _: outlook, site, NOW)


def test_a_message_says_everything_that_somebody_woken_by_it_needs() -> None:
    members = [
        replace(member(name, found, since=NOW - 60), component="web", location=location)
        for name, location in (("web/127.0.0.1:443", "127.0.0.1:443"), ("intranet", "127.0.0.1:8443"))
        for found in (EXPIRED, REJECTED)
    ]
    note = raised(*members)
    said = message(
        note,
        "certvigil will replace the certificate of web; that waits for a candidate",
        replace(SITE, runbook=RUNBOOK),
    )
    assert said.title == "[critical] web1.example.com: expired: CN=a.example on 2 targets"
    assert said.text == "\n".join(
        [
            "expired: CN=a.example ended at 2026-11-01 00:00:00Z",
            "Since 2027-01-15 07:59:00Z.",
            "",
            "It concerns 2 targets on web1.example.com:",
            "  intranet (127.0.0.1:8443): expired, client_rejects, component web",
            "  web/127.0.0.1:443: expired, client_rejects, component web",
            "",
            "Whom it hurts: browser (at 2), which rejects it.",
            "By itself: certvigil will replace the certificate of web; that waits for a candidate.",
            f"To act: {REPLACE}",
            "Runbook: https://wiki.example.com/certvigil/expired",
            f"problem {note.alert.problem} on web1.example.com, message {note.alert.message_id}",
        ]
    )
    assert said.brief == f"{said.title} (message {note.alert.message_id})"
    assert said.tone is Tone.FAILURE


def test_a_member_is_told_with_its_group_and_what_is_done_to_a_group_by_the_groups_name() -> None:
    site = replace(SITE, groups={"web": "primary"})
    told = message(
        raised(member("web/443", component="web"), member("primary/actions", component="primary")), site=site
    )
    body = told.text.replace("\\", "")
    assert "web/443: expired, component web of group primary" in body
    assert "primary/actions: expired, group primary" in body
    assert "certvigil replace primary --from" in body


def test_the_cure_of_a_failed_transaction_is_never_cut_off_with_its_long_reason() -> None:
    detail = curable(
        harmless("the replace was rolled_back: " + "x" * 400), Printable("run `certvigil recover --thaw web`")
    )
    failed = replace(
        member("web/actions", finding(Code.ACTION_FAILED, detail), component="web"), kind=TargetKind.COMPONENT
    )
    text = message(raised(failed)).text
    assert (
        "To act: to settle it: run `certvigil recover --thaw web`; to see each attempt: certvigil history web/actions"
        in text
    )
    assert text.count("--thaw") == 1


def test_by_default_a_message_names_the_command_that_explains_its_code() -> None:
    note = raised(member("web/127.0.0.1:443", EXPIRED))
    said = message(note, site=replace(SITE, runbook=Notifications().runbook))
    assert "More: certvigil explain expired\n" in said.text
    assert "Runbook" not in said.text


def test_every_message_says_which_host() -> None:
    note = raised(replace(member("web", UNREACHABLE), location="192.0.2.1:443"))
    resolved = replace(note, step=AlertStep.RESOLVED, members=())
    for said in (
        *(message(replace(note, step=step)) for step in AlertStep),
        message(resolved),
        digest([note, resolved], SITE.host, NOW)[1],
        notice("x", "ops", "web: policy renew holds", [], host=SITE.host, tone=Tone.WARNING)[1],
        trial("ops", SITE.host, "0123456789abcdef", NOW),
    ):
        assert re.match(r"\[[^]]+\] web1\.example\.com: ", said.title), said.title
        assert "web1.example.com" in said.brief
    assert "  web (192.0.2.1:443): unreachable\n" in message(note).text


def test_what_is_resolved_says_from_when_until_when_and_where_it_was() -> None:
    note = raised(member("a"), member("b"))
    cleared = replace(note.alert, cleared_at=NOW)
    said = message(replace(note, step=AlertStep.RESOLVED, members=(), alert=cleared, recovered=("a", "b")))
    assert said.text.split("\n")[:5] == [
        "The problem lasted from 1970-01-01 00:01:40Z until 2027-01-15 08:00:00Z. There is nothing to do.",
        "",
        "It concerned 2 targets on web1.example.com:",
        "  a",
        "  b",
    ]


def test_a_target_that_was_removed_is_never_said_to_be_well() -> None:
    office = Office()
    office.believe(*(known(name, UNREACHABLE) for name in ("a", "b")))
    office.at(1000.0)
    office.forget(["a"])
    office.believe(known("b", presented=()))
    office.at(1001.0)
    office.at(1100.0)
    texts = [each.message.text for each in office.deliveries if "[resolved]" in each.message.title]
    assert ["nothing to do" in each for each in texts] == [False], texts
    assert "Not watched any more, so whether all is well there is not known: a.\n" in texts[0]


def test_what_is_resolved_says_since_when_what_is_right_now_was_wrong() -> None:
    """Others that were part of the problem before have times of their own."""
    alert = raised(member("app", since=NOW - 500.0)).alert
    changed = noted(next_note(ABOUT, alert, [member("light", since=NOW + 10.0)], terms=Notifications(), now=NOW + 20.0))
    gone = next_note(ABOUT, changed.alert, [], terms=Notifications(), now=NOW + 100.0)
    note = noted(next_note(ABOUT, gone.alert, [], terms=Notifications(), now=NOW + 200.0))
    assert message(note).text.startswith("The problem lasted from 2027-01-15 08:00:10Z until 2027-01-15 08:01:40Z.")


def test_what_is_resolved_was_wrong_since_it_was_so_in_any_way() -> None:
    alert = raised(member("a", at(Severity.WARNING), since=NOW - 10.0)).alert
    worse = noted(
        next_note(ABOUT, alert, [member("a", EXPIRED, since=NOW + 10.0)], terms=Notifications(), now=NOW + 20.0)
    )
    gone = next_note(ABOUT, worse.alert, [], terms=Notifications(), now=NOW + 100.0)
    note = noted(next_note(ABOUT, gone.alert, [], terms=Notifications(), now=NOW + 200.0))
    assert message(note).text.startswith("The problem lasted from 2027-01-15 07:59:50Z until")


def test_each_step_is_told_apart() -> None:
    note = raised(member("a", at(Severity.WARNING)))
    titles = {step: message(replace(note, step=step)).title for step in AlertStep}
    assert titles == {
        AlertStep.RAISED: "[warning] web1.example.com: expiring: CN=a.example on a",
        AlertStep.WORSENED: "[warning, worse than before] web1.example.com: expiring: CN=a.example on a",
        AlertStep.CHANGED: "[warning, changed] web1.example.com: expiring: CN=a.example on a",
        AlertStep.EASED: "[warning, less than before] web1.example.com: expiring: CN=a.example on a",
        AlertStep.REMINDED: "[warning, still] web1.example.com: expiring: CN=a.example on a",
        AlertStep.RESOLVED: "[resolved] web1.example.com: expiring: CN=a.example on a",
    }
    tones = {step: message(replace(note, step=step)).tone for step in AlertStep}
    assert (tones[AlertStep.RAISED], tones[AlertStep.RESOLVED]) == (Tone.WARNING, Tone.SUCCESS)


def test_a_thousand_targets_are_listed_up_to_a_bound_and_the_rest_is_counted() -> None:
    said = message(raised(*(member(f"web{number:04}", UNREACHABLE) for number in range(1000))))
    listed = re.findall(r"^  (web\d+): unreachable$", said.text, re.MULTILINE)
    assert listed == [f"web{number:04}" for number in range(LISTED)]
    assert "  and 950 more\n" in said.text
    assert len(said.text) < 3000


def test_a_name_with_a_quote_is_no_command() -> None:
    said = message(raised(replace(member("$(reboot); 'x'", UNREACHABLE))))
    assert """certvigil check '$(reboot); '"'"'x'"'"''""" in said.text


def test_many_problems_at_once_are_one_message() -> None:
    notes = [
        noted(next_note(("ops", f"key {number}"), None, [member(f"web{number:03}")], terms=Notifications(), now=NOW))
        for number in range(300)
    ]
    name, said = digest(notes, SITE.host, NOW)
    assert said.title == "[critical] web1.example.com: 300 problems"
    assert len(re.findall(r"^  \[critical\] expired: ", said.text, re.MULTILINE)) == 50
    assert "  and 250 more\n" in said.text
    assert said.text.endswith(f"message {name}")
    assert digest(notes, SITE.host, NOW + 5)[0] == name
    assert digest(notes[1:], SITE.host, NOW)[0] != name


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
    found = finding(Code.EXPIRED, harmless(detail), Printable("position 0"))
    said = compose(raised(replace(member(target, found), about=about)), nothing_happens, SITE, NOW)
    for line in (said.title, said.brief, *said.text.split("\n"), *said.markdown.split("\n")):
        assert is_harmless(line)
    assert len(said.text.split("\n")) == 11


def test_what_else_happened_is_told_with_an_id_of_its_own() -> None:
    name, said = notice(
        "decision 7",
        "ops",
        "web was rolled back",
        ["java rejects it.", "The old set is served."],
        host="web1",
        tone=Tone.FAILURE,
    )
    assert said.title == "[critical] web1: web was rolled back"
    assert said.text == f"java rejects it.\nThe old set is served.\nmessage {name}"
    assert notice("decision 7", "ops", "web was rolled back", [], host="web1", tone=Tone.FAILURE)[0] == name
    assert notice("decision 7", "chat", "web was rolled back", [], host="web1", tone=Tone.FAILURE)[0] != name


def test_nobody_is_called_by_what_a_certificate_says() -> None:
    # Slack's own markup calls by what looks like a tag.
    assert escaped("<!everyone> & <b>") == r"&lt;!everyone\> &amp; &lt;b\>"
    assert shown("@everyone @HERE @channel mail@example.com") == "@ everyone @ HERE @ channel mail@ example.com"


@pytest.mark.parametrize("before", ["```\n", "\\0a", "\\x0a", "\u202e", "_", "x", "\0", "@", "٣"])
@pytest.mark.parametrize("called", ["everyone", "here", "channel", "all", "room", "Müller"])
def test_nobody_is_called_whatever_stands_before(before: str, called: str) -> None:
    """What is escaped ends in a letter or a digit, behind which services call people all the same."""
    hostile = sentence("{}@{}", harmless(before), harmless(called))
    name = finding(Code.EXPIRED, hostile, Printable("position 0"))
    said = compose(raised(replace(member(hostile, name), about=hostile)), lambda _: hostile, SITE, NOW)
    for line in (shown(hostile), said.title, said.brief, said.text, said.markdown):
        assert f"@{called}" not in line
        assert f"@ {called}" in line


@pytest.mark.parametrize(("found", "warns"), [(EXPIRED, True), (REJECTED, True), (UNREACHABLE, False)])
def test_a_verdict_by_a_suspect_clock_says_that_it_may_be_wrong(found: Finding, warns: bool) -> None:
    text = message(raised(member("web", found)), site=replace(SITE, clock="it jumped by 100 days")).text
    assert ("clock of this host is suspect, so that this may be wrong: it jumped by 100 days" in text) is warns
    assert "suspect" not in message(raised(member("web", found))).text


def test_no_problem_is_told_to_have_ended_before_it_began() -> None:
    note = raised(member("web", EXPIRED, since=NOW + 1000))
    early = message(replace(note, step=AlertStep.RESOLVED, members=(), alert=replace(note.alert, cleared_at=NOW))).text
    assert "The problem lasted until 2027-01-15 08:00:00Z; it began while the clock of this host was ahead." in early


def test_what_goes_dark_again_and_again_is_told_with_the_times_before() -> None:
    dark = replace(member("web", UNREACHABLE, since=NOW - 1), went_dark=(NOW - 5000, NOW - 60, NOW - 30, NOW - 1))
    assert "web went dark 3 times since 2027-01-15 07:59:00Z." in message(raised(dark)).text
    once = replace(dark, went_dark=(NOW - 5000, NOW - 1))
    assert "went dark" not in message(raised(once)).text


@pytest.mark.parametrize(("left", "said"), [(20.9, "20 days are left."), (1.9, "45 hours are left."), (-1.0, "")])
def test_what_is_left_of_a_certificate_is_said(left: float, said: str) -> None:
    text = message(raised(replace(member("web", at(Severity.WARNING)), ends=int(NOW + left * 86400)))).text
    assert said in text
    assert ("are left" in text) is bool(said)
