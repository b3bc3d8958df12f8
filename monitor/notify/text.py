"""What a message says, in plain text and in Markdown. Pure; everything that comes from outside is escaped for both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from config.text import printable
from config.vocabulary import Code, Severity
from monitor.notify.advice import AdviceContext, advice, by_itself, hurts
from monitor.notify.deliver import Message, Tone
from monitor.notify.lifecycle import AlertStep, Note
from monitor.notify.problem import Member
from probes.judge.time import moment

Outlook = Callable[[Member], str]
"""Says what will happen by itself about a finding, and when: a sentence, empty where nothing will."""

LISTED: Final = 50
"""Targets that a message lists; the rest is counted."""
_DETAILS: Final = 5
_PROBLEMS: Final = 50
_LONGEST: Final = 300
_LONGEST_BRIEF: Final = 150

_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~>])|^(?:([#+=-])|(\d{1,9})([.)]))")
"""What means something in Markdown anywhere, and what does at the begin of a line."""
_LINK: Final = re.compile(r"\bhttp(s?)://", re.IGNORECASE)
_SCHEME: Final = re.compile(r"\b(?!hxxps?:)([a-z][a-z0-9+.-]{1,30}):(?=//)", re.IGNORECASE)
_OPENING: Final = re.compile(r"@(?=\S)|<(?=\S)|\](?=[(\[])")
"""What calls somebody, opens a tag, or makes a link of what stands in brackets, in one Markdown or another.

An address of mail is no exception: behind an escaped character, what calls everybody looks like one.
"""


def shown(text: str, limit: int = _LONGEST) -> str:
    """Return hostile `text` as it may stand in a plain message: on one line, calling nobody and leading nowhere.

    `http://` becomes `hxxp://`, as such addresses are usually passed on, and a space stands behind what would call
    somebody, open a tag or make a link, so that whoever copies it sees what to put right. A bare name stays as it is:
    where a service makes a link of it, that leads to what can be read.
    """
    bare = text.replace("\\", "")
    if printable(bare, len(bare)) != bare:
        text = printable(text, limit)
    elif len(text) > limit:
        # What was made printable before keeps the backslashes that it was given then.
        text = f"{text[: limit - 1]}…"
    text = _SCHEME.sub(r"\1: ", _LINK.sub(r"hxxp\1://", text))
    return _OPENING.sub(r"\g<0> ", text)


def escaped(text: str) -> str:
    """Return shown `text` as it may stand in Markdown (CommonMark 0.31, 2.4): every character means itself."""
    return _SPECIAL.sub(
        lambda match: f"{match[3] or ''}\\{match[1] or match[2] or match[4]}",
        text.replace("&", "&amp;").replace("<", "&lt;"),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a message: a heading, an item of a list, or a sentence."""

    text: str
    heading: bool = False
    item: bool = False

    @property
    def plain(self) -> str:
        return f"  {self.text}" if self.item else self.text

    @property
    def markdown(self) -> str:
        if self.heading:
            return f"**{escaped(self.text)}**\n"
        return f"- {escaped(self.text)}" if self.item else f"{escaped(self.text)}\n" if self.text else ""


def compose(note: Note, outlook: Outlook, site: AdviceContext, now: float) -> Message:
    """Return the message that says `note` of a `site` at Unix time `now`."""
    title = _title(note, site.host)
    lines = [_Line(title, heading=True), *_body(note, outlook, site, now), _signature(note, site.host)]
    return _message(title, lines, note.alert.message_id, _tone(note))


def digest(notes: Sequence[Note], host: str, now: float) -> tuple[str, Message]:
    """Return one message, and its id, that says many `notes` on different problems at Unix time `now`."""
    name = blake2b("".join(note.alert.message_id for note in notes).encode(), digest_size=8).hexdigest()
    worst = max((note.alert.severity for note in notes if note.step is not AlertStep.RESOLVED), default=None, key=_rank)
    word = "resolved" if worst is None else str(worst)
    title = f"[{word}] {_of(host or 'certvigil')}{len(notes)} problems"
    where = f" on {shown(host)}" if host else ""
    lines = [_Line(title, heading=True), _Line(f"{len(notes)} problems{where}, as of {moment(now)}:")]
    ordered = sorted(notes, key=lambda note: (note.step is AlertStep.RESOLVED, -note.alert.severity.rank))
    lines += (
        _Line(f"{_title(each, '')}, since {moment(each.alert.since)} (problem {each.alert.problem})", item=True)
        for each in ordered[:_PROBLEMS]
    )
    if len(notes) > _PROBLEMS:
        lines.append(_Line(f"and {len(notes) - _PROBLEMS} more", item=True))
    lines += [_Line(""), _Line(f"To see them{where}: certvigil status"), _Line(f"message {name}")]
    tones = [_tone(note) for note in notes]
    tone = next((each for each in (Tone.FAILURE, Tone.WARNING, Tone.INFO) if each in tones), Tone.SUCCESS)
    return name, _message(title, lines, name, tone)


def notice(
    name: str, channel: str, title: str, sentences: Iterable[str], *, host: str, tone: Tone
) -> tuple[str, Message]:
    """Return a message about an event, and its id; `name` tells the event from every other one for that channel."""
    identifier = blake2b(f"{channel}\0{name}".encode(errors="surrogatepass"), digest_size=8).hexdigest()
    title = f"[{_WORD[tone]}] {_of(host)}{shown(title, 200)}"
    lines = [_Line(title, heading=True), *(_Line(shown(each, 1000)) for each in sentences)]
    return identifier, _message(title, [*lines, _Line(f"message {identifier}")], identifier, tone)


_WORD: Final = {Tone.INFO: "notice", Tone.SUCCESS: "done", Tone.WARNING: "warning", Tone.FAILURE: "critical"}


def test_message(channel: str, host: str, name: str, now: float) -> Message:
    """Return a message that says only that messages arrive."""
    title = f"[test] {_of(host or 'certvigil')}a message to {channel}"
    where = f" on {shown(host)}" if host else ""
    text = f"Somebody had certvigil{where} try the channel {channel} at {moment(now)}. Nothing is wrong."
    return _message(title, [_Line(title, heading=True), _Line(text), _Line(f"message {name}")], name, Tone.INFO)


def _message(title: str, lines: Sequence[_Line], name: str, tone: Tone) -> Message:
    brief = f"{title if len(title) <= _LONGEST_BRIEF else title[: _LONGEST_BRIEF - 1] + '…'} (message {name})"
    # The title is a service's own affair in plain text; in Markdown it may have none.
    text = "\n".join(line.plain for line in lines if not line.heading)
    return Message(title, text, "\n".join(line.markdown for line in lines), brief, tone)


def _rank(severity: Severity) -> int:
    return severity.rank


def _tone(note: Note) -> Tone:
    if note.step is AlertStep.RESOLVED:
        return Tone.SUCCESS
    return {Severity.CRITICAL: Tone.FAILURE, Severity.WARNING: Tone.WARNING}.get(note.alert.severity, Tone.INFO)


def _of(host: str) -> str:
    return f"{shown(host)}: " if host else ""


def _title(note: Note, host: str) -> str:
    severity = note.alert.severity
    word = {
        AlertStep.RAISED: f"{severity}",
        AlertStep.WORSENED: f"{severity}, worse than before",
        AlertStep.CHANGED: f"{severity}, changed",
        AlertStep.EASED: f"{severity}, less than before",
        AlertStep.REMINDED: f"{severity}, still",
        AlertStep.RESOLVED: "resolved",
    }[note.step]
    return f"[{word}] {_of(host)}{shown(note.alert.headline, 200)}"


def _body(note: Note, outlook: Outlook, site: AdviceContext, now: float) -> Iterator[_Line]:
    alert = note.alert
    if note.step is AlertStep.RESOLVED:
        cleared = now if alert.cleared_at is None else alert.cleared_at
        yield _Line(f"It was wrong from {moment(alert.began)} until {moment(cleared)}. There is nothing to do.")
        yield from _were_concerned(note.recovered, site.host)
        return
    members = note.members
    reasons = [each for each in members if each.finding.code is not Code.CLIENT_REJECTS] or list(members)
    details = list(dict.fromkeys(f"{each.finding.code}: {shown(each.finding.detail)}" for each in reasons))
    for detail in details[:_DETAILS]:
        yield _Line(detail)
    if len(details) > _DETAILS:
        yield _Line(f"and {len(details) - _DETAILS} more like these")
    yield _Line(f"Since {moment(min(each.since for each in members))}.")
    yield from _concerned(members, site.host)
    yield from _recovered(note.recovered)
    yield _Line(f"Whom it hurts: {_clients(members) or hurts(members)}.")
    sentences = list(dict.fromkeys(filter(None, map(outlook, members))))
    happens = "; ".join(shown(each) for each in sentences[:3])
    yield _Line(f"By itself: {happens or by_itself(members[0])}.")
    yield from (_Line(f"To act: {shown(each, 1000)}") for each in advice(members, site))
    if site.runbook is not None:
        yield _Line(f"Runbook: {site.runbook}{members[0].finding.code}")


def _concerned(members: Sequence[Member], host: str) -> Iterator[_Line]:
    """Yield where it is wrong: each target, its path or address, what is wrong there, and its component."""
    found: dict[str, list[Member]] = {}
    for each in members:
        found.setdefault(each.target, []).append(each)
    yield _Line("")
    yield _Line(_how_many(len(found), host, "It concerns"))
    for target, those in list(found.items())[:LISTED]:
        codes = ", ".join(dict.fromkeys(str(each.finding.code) for each in those))
        component = f", component {shown(those[0].component)}" if those[0].component else ""
        yield _Line(f"{shown(target)}{_at(those[0])}: {codes}{component}{_flapping(those[0])}", item=True)
    if len(found) > LISTED:
        yield _Line(f"and {len(found) - LISTED} more", item=True)
    yield _Line("")


def _at(member: Member) -> str:
    """Return the path or the address of a target, where its name does not say it."""
    return "" if not member.location or member.location in member.target else f" ({shown(member.location)})"


def _were_concerned(targets: Sequence[str], host: str) -> Iterator[_Line]:
    if targets:
        yield _Line("")
        yield _Line(_how_many(len(targets), host, "It concerned"))
        yield from (_Line(shown(each), item=True) for each in targets[:LISTED])
        if len(targets) > LISTED:
            yield _Line(f"and {len(targets) - LISTED} more", item=True)
        yield _Line("")


def _how_many(count: int, host: str, verb: str) -> str:
    where = f" on {shown(host)}" if host else ""
    return f"{verb} one target{where}:" if count == 1 else f"{verb} {count} targets{where}:"


def _flapping(member: Member) -> str:
    if not member.flaps:
        return ""
    now = "" if member.wrong_now else "; at this moment it is well"
    return f", flapping: {member.flaps} times since {moment(member.since)}{now}"


def _recovered(targets: Sequence[str]) -> Iterator[_Line]:
    if targets:
        more = f" and {len(targets) - LISTED} more" if len(targets) > LISTED else ""
        yield _Line(f"No longer concerned: {', '.join(map(shown, targets[:LISTED]))}{more}.")


def _clients(members: Iterable[Member]) -> str:
    """Return which clients do not accept it, and at how many endpoints; empty where none was seen not to."""
    refusing = Counter(
        each.finding.subject
        for each in members
        if each.finding.code is Code.CLIENT_REJECTS and each.finding.severity.rank > Severity.NOTICE.rank
    )
    if not refusing:
        return ""
    many = ", ".join(f"{shown(name)} (at {count})" for name, count in refusing.most_common(10))
    more = f" and {len(refusing) - 10} more clients" if len(refusing) > 10 else ""
    return f"{many}{more}, which {'does' if len(refusing) == 1 else 'do'} not accept it"


def _signature(note: Note, host: str) -> _Line:
    where = f" on {shown(host)}" if host else ""
    return _Line(f"problem {note.alert.problem}{where}, message {note.alert.message_id}")
