"""What a message says, in plain text and in Markdown. Pure; everything that comes from outside is escaped for both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from actions.deliver import Message, Tone
from config.text import printable
from config.vocabulary import Code, Severity
from monitor.tell.advice import advice
from monitor.tell.lifecycle import Note, Step
from monitor.tell.problem import Member
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
_EVERYBODY: Final = re.compile(r"@(?=everyone|here|channel|all\b)", re.IGNORECASE)
_NOTHING: Final = "By itself nothing will change: somebody must act."


def shown(text: str, limit: int = _LONGEST) -> str:
    """Return hostile `text` as it may stand in a plain message: on one line, and calling nobody."""
    bare = text.replace("\\", "")
    if printable(bare, len(bare)) != bare:
        text = printable(text, limit)
    elif len(text) > limit:
        # What was made printable before keeps the backslashes that it was given then.
        text = f"{text[: limit - 1]}…"
    return _EVERYBODY.sub("@ ", text)


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


def compose(note: Note, outlook: Outlook, runbook: str | None, now: float) -> Message:
    """Return the message that says `note` at Unix time `now`."""
    title = _title(note)
    lines = [_Line(title, heading=True), *_body(note, outlook, runbook, now), _signature(note)]
    return _message(title, lines, note.alert.message_id, _tone(note))


def digest(notes: Sequence[Note], now: float) -> tuple[str, Message]:
    """Return one message, and its id, that says many `notes` on different problems at Unix time `now`."""
    name = blake2b("".join(note.alert.message_id for note in notes).encode(), digest_size=8).hexdigest()
    worst = max((note.alert.severity for note in notes if note.step is not Step.RESOLVED), default=None, key=_rank)
    word = "resolved" if worst is None else str(worst)
    title = f"[{word}] certvigil: {len(notes)} problems"
    lines = [_Line(title, heading=True), _Line(f"As of {moment(now)}:")]
    ordered = sorted(notes, key=lambda note: (note.step is Step.RESOLVED, -note.alert.severity.rank))
    lines += (
        _Line(f"{_title(each)}, since {moment(each.alert.since)} (problem {each.alert.problem})", item=True)
        for each in ordered[:_PROBLEMS]
    )
    if len(notes) > _PROBLEMS:
        lines.append(_Line(f"and {len(notes) - _PROBLEMS} more", item=True))
    lines += [_Line(""), _Line("To see them: certvigil status"), _Line(f"message {name}")]
    tones = [_tone(note) for note in notes]
    tone = next((each for each in (Tone.FAILURE, Tone.WARNING, Tone.INFO) if each in tones), Tone.SUCCESS)
    return name, _message(title, lines, name, tone)


def notice(name: str, channel: str, title: str, sentences: Iterable[str], tone: Tone) -> tuple[str, Message]:
    """Return a message, and its id, that says what happened; `name` tells it from anything else to that channel."""
    identifier = blake2b(f"{channel}\0{name}".encode(errors="surrogatepass"), digest_size=8).hexdigest()
    title = shown(title, 200)
    lines = [_Line(title, heading=True), *(_Line(shown(each, 1000)) for each in sentences)]
    return identifier, _message(title, [*lines, _Line(f"message {identifier}")], identifier, tone)


def test_message(channel: str, name: str, now: float) -> Message:
    """Return a message that says only that messages arrive."""
    title = f"[test] certvigil: a message to {channel}"
    text = f"Somebody had certvigil try the channel {channel} at {moment(now)}. Nothing is wrong."
    return _message(title, [_Line(title, heading=True), _Line(text), _Line(f"message {name}")], name, Tone.INFO)


def _message(title: str, lines: Sequence[_Line], name: str, tone: Tone) -> Message:
    brief = f"{title if len(title) <= _LONGEST_BRIEF else title[: _LONGEST_BRIEF - 1] + '…'} (message {name})"
    # The title is a service's own affair in plain text; in Markdown it may have none.
    text = "\n".join(line.plain for line in lines if not line.heading)
    return Message(title, text, "\n".join(line.markdown for line in lines), brief, tone)


def _rank(severity: Severity) -> int:
    return severity.rank


def _tone(note: Note) -> Tone:
    if note.step is Step.RESOLVED:
        return Tone.SUCCESS
    return {Severity.CRITICAL: Tone.FAILURE, Severity.WARNING: Tone.WARNING}.get(note.alert.severity, Tone.INFO)


def _title(note: Note) -> str:
    severity = note.alert.severity
    word = {
        Step.RAISED: f"{severity}",
        Step.WORSENED: f"{severity}, worse than before",
        Step.EASED: f"{severity}, less than before",
        Step.REMINDED: f"{severity}, still",
        Step.RESOLVED: "resolved",
    }[note.step]
    return f"[{word}] {shown(note.alert.headline, 200)}"


def _body(note: Note, outlook: Outlook, runbook: str | None, now: float) -> Iterator[_Line]:
    alert = note.alert
    if note.step is Step.RESOLVED:
        cleared = now if alert.cleared_at is None else alert.cleared_at
        yield _Line(f"It was so from {moment(alert.began)} until {moment(cleared)}; nothing of it is wrong any more.")
        yield from _recovered(note.recovered)
        return
    members = note.members
    reasons = [each for each in members if each.finding.code is not Code.CLIENT_REJECTS] or list(members)
    details = list(dict.fromkeys(f"{each.finding.code}: {shown(each.finding.detail)}" for each in reasons))
    for detail in details[:_DETAILS]:
        yield _Line(detail)
    if len(details) > _DETAILS:
        yield _Line(f"and {len(details) - _DETAILS} more like these")
    yield _Line(f"Since {moment(min(each.since for each in members))}.")
    yield from _targets(members)
    yield from _recovered(note.recovered)
    yield from _clients(members)
    sentences = list(dict.fromkeys(filter(None, map(outlook, members))))
    happens = "; ".join(shown(each) for each in sentences[:3])
    yield _Line(f"By itself will happen: {happens}." if happens else _NOTHING)
    yield from (_Line(f"To act: {each}") for each in advice(members))
    if runbook is not None:
        yield _Line(f"Runbook: {runbook}{members[0].finding.code}")


def _targets(members: Sequence[Member]) -> Iterator[_Line]:
    found: dict[str, list[Member]] = {}
    for each in members:
        found.setdefault(each.target, []).append(each)
    yield _Line("")
    yield _Line("It concerns " + ("one target:" if len(found) == 1 else f"{len(found)} targets:"))
    for target, those in list(found.items())[:LISTED]:
        codes = ", ".join(dict.fromkeys(str(each.finding.code) for each in those))
        component = f", component {shown(those[0].component)}" if those[0].component else ""
        yield _Line(f"{shown(target)}: {codes}{component}{_flapping(those[0])}", item=True)
    if len(found) > LISTED:
        yield _Line(f"and {len(found) - LISTED} more", item=True)
    yield _Line("")


def _flapping(member: Member) -> str:
    if not member.flaps:
        return ""
    now = "" if member.wrong_now else "; at this moment it is well"
    return f", flapping: {member.flaps} times since {moment(member.since)}{now}"


def _recovered(targets: Sequence[str]) -> Iterator[_Line]:
    if targets:
        more = f" and {len(targets) - LISTED} more" if len(targets) > LISTED else ""
        yield _Line(f"No longer concerned: {', '.join(map(shown, targets[:LISTED]))}{more}.")


def _clients(members: Iterable[Member]) -> Iterator[_Line]:
    refusing = Counter(
        each.finding.subject
        for each in members
        if each.finding.code is Code.CLIENT_REJECTS and each.finding.severity is not Severity.NOTICE
    )
    if refusing:
        many = ", ".join(f"{shown(name)} (at {count})" for name, count in refusing.most_common(10))
        more = f" and {len(refusing) - 10} more" if len(refusing) > 10 else ""
        yield _Line(f"Clients that do not accept it: {many}{more}.")


def _signature(note: Note) -> _Line:
    return _Line(f"problem {note.alert.problem}, message {note.alert.message_id}")
