"""The text of a message, plain and in Markdown. Pure; all text from outside is escaped for both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Final

from config.catalogue import CATALOGUE
from config.command_reach import spoken_for
from config.immutable import immutable
from config.model import DAY
from config.text import Printable, harmless, listed, printable, sentence
from config.vocabulary import Code, Severity
from monitor.notify.advice import AdviceContext, advice, by_itself, hurts, own_commands
from monitor.notify.deliver import Message, Tone
from monitor.notify.lifecycle import AlertStep, Note
from monitor.notify.problem import CERTIFICATE, Member
from monitor.state.cure import without_cure
from monitor.state.pending import BY_CLOCK, LATELY
from probes.judge.time import moment

FindingOutlook = Callable[[Member], str]
"""Returns the course of a finding by itself, with its time: a sentence; empty where nothing will happen."""

LISTED: Final = 50
"""Targets that a message lists; the rest is counted."""
_NOTHING: Final = Printable("")
_DETAILS: Final = 5
_FOLLOWING: Final = 3
_PROBLEMS: Final = 50
_LONGEST: Final = 300
_LONGEST_DETAIL: Final = 800
"""Who offered a certificate, and what it is, needs room."""
_LONGEST_BRIEF: Final = 150

_SPECIAL: Final = re.compile(r"([\\`*_\[\]|~>])|^(?:([#+=-])|(\d{1,9})([.)]))")
"""Characters with a meaning in Markdown: anywhere, or at the start of a line."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LINK: Final = re.compile(r"\bhttp(s?)://", re.IGNORECASE)
_SCHEME: Final = re.compile(r"\b(?!hxxps?:)([a-z][a-z0-9+.-]{1,30}):(?=//)", re.IGNORECASE)
_OPENING: Final = re.compile(r"@(?=\S)|<(?=\S)|\](?=[(\[])")
"""Characters that call somebody, open a tag, or make a link of brackets, in one Markdown or another.

A mail address is no exception: behind an escaped character, a call to everybody looks like an address.
"""


def shown(text: str, limit: int = _LONGEST) -> Printable:
    """Return hostile `text` for a plain message: on one line, without calls to people and without links.

    `http://` becomes `hxxp://`, as is usual for such addresses. A space comes behind a character that would call
    somebody, open a tag or make a link, so that a reader who copies the text sees it. A bare name stays as it is: where
    a service makes a link of it, the link leads to the visible name.
    """
    bare = text.replace("\\", "")
    if printable(bare, len(bare)) != bare:
        text = printable(text, limit)
    elif len(text) > limit:
        # Text that was made printable before keeps the backslashes that it got then.
        text = f"{text[: limit - 1]}…"
    text = _SCHEME.sub(r"\1: ", _LINK.sub(r"hxxp\1://", text))
    return harmless(_OPENING.sub(r"\g<0> ", text))


def _runnable(text: str, own: Sequence[str] = (), limit: int = 1000) -> Printable:
    """Return text for a plain message, in which `own`, and the options of our commands, stay as a shell takes them."""
    own = (*own, *spoken_for().spelt)
    if not own:
        return shown(text, limit)
    pieces = re.split(f"({'|'.join(map(re.escape, own))})", text)
    return listed((harmless(each) if index % 2 else shown(each, limit) for index, each in enumerate(pieces)), "")


def escaped(text: str) -> str:
    """Return shown `text` for Markdown (CommonMark 0.31, 2.4): every character means itself."""
    return _SPECIAL.sub(
        lambda match: f"{match[3] or ''}\\{match[1] or match[2] or match[4]}",
        text.replace("&", "&amp;").replace("<", "&lt;"),
    )


@immutable
class _Line:
    """A line of a message: a heading, an item of a list, or a sentence."""

    text: Printable
    heading: bool = False
    item: bool = False

    @property
    def plain(self) -> str:
        return f"  {self.text}" if self.item else self.text

    @property
    def markdown(self) -> str:
        if self.heading:
            return f"**{escaped(self.text)}**\n"
        return f"- {escaped(self.text)}" if self.item else f"{escaped(self.text)}\n" if self.text else _NOTHING


def compose(note: Note, outlook: FindingOutlook, site: AdviceContext, now: float) -> Message:
    """Return the message for `note` about a `site` at Unix time `now`."""
    title = _title(note, site.host)
    lines = [_Line(title, heading=True), *_body(note, outlook, site, now), _signature(note, site.host)]
    return _message(title, lines, note.alert.message_id, _tone(note))


def digest(notes: Sequence[Note], host: str, now: float) -> tuple[str, Message]:
    """Return one message, and its id, for many `notes` on different problems at Unix time `now`."""
    name = blake2b("".join(note.alert.message_id for note in notes).encode(), digest_size=8).hexdigest()
    worst = max((note.alert.severity for note in notes if note.step is not AlertStep.RESOLVED), default=None, key=_rank)
    word = Printable("resolved") if worst is None else worst
    title = sentence("[{}] {}{} problems", word, _of(host or "certvigil"), len(notes))
    where = sentence(" on {}", shown(host)) if host else _NOTHING
    lines = [_Line(title, heading=True), _Line(sentence("{} problems{}, as of {}:", len(notes), where, moment(now)))]
    ordered = sorted(notes, key=lambda note: (note.step is AlertStep.RESOLVED, -note.alert.severity.rank))
    lines += (
        _Line(
            sentence(
                "{}, since {} (problem {})", _title(each, ""), moment(each.alert.since), harmless(each.alert.problem)
            ),
            item=True,
        )
        for each in ordered[:_PROBLEMS]
    )
    if len(notes) > _PROBLEMS:
        lines.append(_Line(sentence("and {} more", len(notes) - _PROBLEMS), item=True))
    lines += [
        _Line(_NOTHING),
        _Line(sentence("To see them{}: certvigil status", where)),
        _Line(sentence("message {}", harmless(name))),
    ]
    tones = [_tone(note) for note in notes]
    tone = next((each for each in (Tone.FAILURE, Tone.WARNING, Tone.INFO) if each in tones), Tone.SUCCESS)
    return name, _message(title, lines, name, tone)


def notice(
    name: str,
    channel: str,
    title: str,
    sentences: Iterable[str],
    *,
    host: str,
    tone: Tone,
) -> tuple[str, Message]:
    """Return a message about an event, and its id; `name` tells the event from every other one for that channel."""
    identifier = blake2b(f"{channel}\0{name}".encode(errors="surrogatepass"), digest_size=8).hexdigest()
    heading = sentence("[{}] {}{}", _WORD[tone], _of(host), shown(title, 200))
    lines = [_Line(heading, heading=True), *(_Line(_runnable(each)) for each in sentences)]
    lines.append(_Line(sentence("message {}", harmless(identifier))))
    return identifier, _message(heading, lines, identifier, tone)


_WORD: Final = {
    Tone.INFO: Printable("notice"),
    Tone.SUCCESS: Printable("done"),
    Tone.WARNING: Printable("warning"),
    Tone.FAILURE: Printable("critical"),
}


def test_message(channel: str, host: str, name: str, now: float) -> Message:
    """Return a test message."""
    title = sentence("[test] {}a message to {}", _of(host or "certvigil"), harmless(channel))
    where = sentence(" on {}", shown(host)) if host else _NOTHING
    text = sentence(
        "Somebody had certvigil{} try the channel {} at {}. Nothing is wrong.", where, harmless(channel), moment(now)
    )
    return _message(
        title, [_Line(title, heading=True), _Line(text), _Line(sentence("message {}", harmless(name)))], name, Tone.INFO
    )


def _message(title: Printable, lines: Sequence[_Line], name: str, tone: Tone) -> Message:
    brief = f"{title if len(title) <= _LONGEST_BRIEF else title[: _LONGEST_BRIEF - 1] + '…'} (message {name})"
    # In plain text, each service shows the title itself; in Markdown, some do not.
    text = "\n".join(line.plain for line in lines if not line.heading)
    return Message(title, text, "\n".join(line.markdown for line in lines), brief, tone)


def _rank(severity: Severity) -> int:
    return severity.rank


def _tone(note: Note) -> Tone:
    if note.step is AlertStep.RESOLVED:
        return Tone.SUCCESS
    return {Severity.CRITICAL: Tone.FAILURE, Severity.WARNING: Tone.WARNING}.get(note.alert.severity, Tone.INFO)


def _of(host: str) -> Printable:
    return sentence("{}: ", shown(host)) if host else _NOTHING


def _title(note: Note, host: str) -> Printable:
    severity = note.alert.severity
    word = {
        AlertStep.RAISED: sentence("{}", severity),
        AlertStep.WORSENED: sentence("{}, worse than before", severity),
        AlertStep.CHANGED: sentence("{}, changed", severity),
        AlertStep.EASED: sentence("{}, less than before", severity),
        AlertStep.REMINDED: sentence("{}, still", severity),
        AlertStep.RESOLVED: Printable("resolved"),
    }[note.step]
    return sentence("[{}] {}{}", word, _of(host), shown(note.alert.headline, 200))


def _body(note: Note, outlook: FindingOutlook, site: AdviceContext, now: float) -> Iterator[_Line]:
    alert = note.alert
    if note.step is AlertStep.RESOLVED:
        cleared = now if alert.cleared_at is None else alert.cleared_at
        if note.unwatched:
            yield from _not_watched(note)
        else:
            yield _Line(_how_long(alert.began, cleared))
        yield from _were_concerned(note.recovered, site.host)
        return
    members = note.members
    told = problem_text(members, outlook, site)
    for code, detail in told.details[:_DETAILS]:
        yield _Line(sentence("{}: {}", code, _runnable(detail, limit=_LONGEST_DETAIL)))
    if len(told.details) > _DETAILS:
        yield _Line(sentence("and {} more like these", len(told.details) - _DETAILS))
    ends = told.ends
    if ends is not None and ends > now:
        yield _Line(sentence("{} are left.", _days(ends - now)))
    yield _Line(sentence("Since {}.", moment(told.since)))
    yield from _often_dark(members, now)
    if site.clock and any(each.finding.code in BY_CLOCK for each in members):
        yield _Line(sentence("The clock of this host is suspect, so that this may be wrong: {}.", shown(site.clock)))
    yield from _other_certificates(note)
    yield from _concerned([each for each in members if each.target in alert.wrong], site)
    yield from _recovered(note.recovered)
    yield _Line(sentence("Whom it hurts: {}.", told.hurts))
    yield _Line(sentence("By itself: {}.", listed((shown(each) for each in told.by_itself), "; ")))
    own = own_commands(members, site)
    yield from (_Line(sentence("To act: {}", _runnable(each, own))) for each in told.to_act)
    code = members[0].finding.code
    if site.runbook is not None:
        yield _Line(sentence("Runbook: {}{}", harmless(site.runbook), code))
    else:
        yield _Line(sentence("More: certvigil explain {}", code))
    if site.console is not None:
        yield _Line(sentence("Page: {}/#problem-{}", harmless(site.console), harmless(alert.problem)))


@immutable
class ProblemText:
    """What people are told of an open problem, whichever way: printable, and not yet escaped for a chat."""

    details: tuple[tuple[Code, str], ...]
    """The code and the sentence of each finding, the worst first; without the rejections that follow from others."""
    ends: int | None
    """Unix time of the earliest end of a certificate that is expiring."""
    since: float
    """Unix time."""
    hurts: Printable
    """Whom it hurts, a phrase."""
    by_itself: tuple[str, ...]
    """What happens without a person, and when: phrases."""
    to_act: tuple[str, ...]
    """What cures it, sentences with commands in them."""


def problem_text(members: Sequence[Member], outlook: FindingOutlook, site: AdviceContext) -> ProblemText:
    """Return the text of a problem with these members, the worst first."""
    reasons = [each for each in members if each.finding.code is not Code.CLIENT_REJECTS] or list(members)
    advised = members[0].finding.code
    follows = list(dict.fromkeys(filter(None, map(outlook, members))))[:_FOLLOWING]
    return ProblemText(
        details=tuple(dict.fromkeys((each.finding.code, _detail(each, advised)) for each in reasons)),
        ends=min((each.ends for each in members if each.ends is not None), default=None),
        since=min(each.since for each in members),
        hurts=_clients(members) or harmless(hurts(members, site)),
        by_itself=tuple(follows or [by_itself(members[0])]),
        to_act=tuple(advice(members, site)),
    )


def _detail(member: Member, advised: Code) -> str:
    """Return the detail of a finding, without the cure that it names where the advice on the code `advised` has it."""
    found = member.finding
    has_cure = found.code is advised and any("{cure}" in step for step in CATALOGUE[advised].steps_on(member.kind))
    return without_cure(found.detail) if has_cure else found.detail


def _days(seconds: float) -> Printable:
    """Return a time to come: days, or hours where it is less than two days; rounded down."""
    if seconds >= 2 * DAY:
        return sentence("{} days", int(seconds // DAY))
    return sentence("{} hours", int(seconds // 3600))


def _often_dark(members: Sequence[Member], now: float) -> Iterator[_Line]:
    """Yield how often the target that failed most did lately, with the times that were over before they were told."""
    times = (
        (each.target, [at for at in each.went_dark if 0 <= now - at <= LATELY]) for each in members if not each.flaps
    )
    target, often = max(times, key=lambda each: len(each[1]), default=("", []))
    if len(often) > 1:
        yield _Line(sentence("{} went dark {} times since {}.", shown(target), len(often), moment(often[0])))


def _concerned(members: Sequence[Member], site: AdviceContext) -> Iterator[_Line]:
    """Yield a line for each target: its path or address, its codes, its component and its group."""
    found: dict[str, list[Member]] = {}
    for each in members:
        found.setdefault(each.target, []).append(each)
    yield _Line(_NOTHING)
    yield _Line(_how_many(len(found), site.host, Printable("It concerns")))
    for target, those in list(found.items())[:LISTED]:
        codes = listed(dict.fromkeys(each.finding.code for each in those))
        of = _belonging(those[0].component, site)
        yield _Line(sentence("{}{}: {}{}{}", shown(target), _at(those[0]), codes, of, _flapping(those[0])), item=True)
    if len(found) > LISTED:
        yield _Line(sentence("and {} more", len(found) - LISTED), item=True)
    yield _Line(_NOTHING)


def _belonging(component: str | None, site: AdviceContext) -> Printable:
    """Return the component of a target and its group, or the group, as the end of a sentence."""
    if not component:
        return _NOTHING
    if component in site.groups.values():
        return sentence(", group {}", shown(component))
    group = site.groups.get(component)
    of_group = sentence(" of group {}", shown(group)) if group else _NOTHING
    return sentence(", component {}{}", shown(component), of_group)


def _at(member: Member) -> Printable:
    """Return the path or the address of a target, where its name does not contain it.

    A plan that waits need not come from the inbox, which is the place of actions: its detail says where it is from.
    """
    return (
        _NOTHING
        if not member.location or member.location in member.target or member.finding.code is Code.APPROVAL_PENDING
        else sentence(" ({})", shown(member.location))
    )


def _how_long(began: float, cleared: float) -> Printable:
    """Return how long a problem lasted that is over."""
    if began <= cleared:
        return sentence("The problem lasted from {} until {}. There is nothing to do.", moment(began), moment(cleared))
    return sentence(
        "The problem lasted until {}; it began while the clock of this host was ahead. There is nothing to do.",
        moment(cleared),
    )


def _not_watched(note: Note) -> Iterator[_Line]:
    """Yield that targets were removed rather than mended."""
    names = sorted(note.unwatched)
    which = listed(map(shown, names[:_DETAILS]))
    more = sentence(" and {} more", len(names) - _DETAILS) if len(names) > _DETAILS else _NOTHING
    yield _Line(sentence("Not watched any more, so whether all is well there is not known: {}{}.", which, more))


def _were_concerned(targets: Sequence[str], host: str) -> Iterator[_Line]:
    if targets:
        yield _Line(_NOTHING)
        yield _Line(_how_many(len(targets), host, Printable("It concerned")))
        yield from (_Line(shown(each), item=True) for each in targets[:LISTED])
        if len(targets) > LISTED:
            yield _Line(sentence("and {} more", len(targets) - LISTED), item=True)
        yield _Line(_NOTHING)


def _how_many(count: int, host: str, verb: Printable) -> Printable:
    where = sentence(" on {}", shown(host)) if host else _NOTHING
    return sentence("{} one target{}:", verb, where) if count == 1 else sentence("{} {} targets{}:", verb, count, where)


def _flapping(member: Member) -> Printable:
    if not member.flaps:
        return _NOTHING
    now = _NOTHING if member.wrong_now else Printable("; at this moment it is well")
    return sentence(", flapping: {} times since {}{}", member.flaps, moment(member.since), now)


def _other_certificates(note: Note) -> Iterator[_Line]:
    """Yield which certificate a target presents in place of the one that a message named."""
    found = {each.target: each for each in note.members if each.base.startswith(CERTIFICATE)}
    for target in sorted(note.replaced & found.keys())[:_DETAILS]:
        sha256 = _SHA256.fullmatch(found[target].base.removeprefix(CERTIFICATE))
        hashed = sentence(" (sha256 {})", harmless(sha256[0])) if sha256 else _NOTHING
        yield _Line(
            sentence(
                "{} presents another certificate than the messages before have named: {}{}.",
                shown(target),
                shown(found[target].about),
                hashed,
            )
        )
    if len(note.replaced) > _DETAILS:
        yield _Line(sentence("and {} more like this", len(note.replaced) - _DETAILS))
    if note.restless:
        yield _Line(
            sentence(
                "The certificate changes again and again on {}.", listed(map(shown, sorted(note.restless)[:LISTED]))
            )
        )


def _recovered(targets: Sequence[str]) -> Iterator[_Line]:
    if targets:
        more = sentence(" and {} more", len(targets) - LISTED) if len(targets) > LISTED else _NOTHING
        yield _Line(sentence("No longer concerned: {}{}.", listed(map(shown, targets[:LISTED])), more))


def _clients(members: Iterable[Member]) -> Printable:
    """Return the clients that reject, each with the number of endpoints; empty where no client rejects."""
    refusing = Counter(each.client for each in members if each.client)
    if not refusing:
        return _NOTHING
    many = listed(sentence("{} (at {})", shown(name), count) for name, count in refusing.most_common(10))
    more = sentence(" and {} more clients", len(refusing) - 10) if len(refusing) > 10 else _NOTHING
    return sentence("{}{}, which rejects it" if len(refusing) == 1 else "{}{}, which reject it", many, more)


def _signature(note: Note, host: str) -> _Line:
    where = sentence(" on {}", shown(host)) if host else _NOTHING
    return _Line(
        sentence("problem {}{}, message {}", harmless(note.alert.problem), where, harmless(note.alert.message_id))
    )
