"""Messages beside problems, for sites that ask for them: committed transactions, and the digest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from actions.ending import Outcome
from actions.plan import Kind
from config.channel import NO_LABELS, FindingMatch, Notifications, Silence, ToldEvent
from config.immutable import immutable
from config.text import printable, sentence
from config.vocabulary import Code, Severity, TargetKind
from monitor.notify.problem import Member, members
from monitor.state.events import ActionEnded
from monitor.state.target import TargetState
from probes.assess_set import WITH_LEAF
from probes.chain import find_leaf
from probes.judge.time import moment

Labels = Mapping[str, Mapping[str, str]]
"""Those of each component."""

NEWS_FOR: Final = 3600.0
"""Seconds after which a committed transaction is no news: a journal that is read for the first time has old ones."""
_NAMED: Final = 3
_LISTED: Final = 50
_DONE: Final = {
    Kind.REPLACE: "the certificate of {} was replaced",
    Kind.ROLLBACK: "{} was rolled back to its former files",
    Kind.ACTIVATE: "{} was made to load its files from disk",
    Kind.TRUST: "the trust store {} was changed",
}
_DONE_TO_SEVERAL: Final = {
    Kind.REPLACE: "the certificates of {} were replaced",
    Kind.ROLLBACK: "{} were rolled back to their former files",
    Kind.ACTIVATE: "{} were made to load their files from disk",
    Kind.TRUST: "the trust stores {} were changed",
}
_GAVE_WAY: Final = "{}: another writer's whole set is in place, which is served and accepted"


@immutable
class News:
    """A message to one channel."""

    name: str
    """The same for the same news, on each channel."""
    channel: str
    title: str
    sentences: tuple[str, ...]


def committed(
    ended: Sequence[ActionEnded],
    component_of: Mapping[str, str],
    terms: Notifications,
    labels: Labels,
    in_use: Mapping[str, str],
) -> Iterator[News]:
    """Yield the news for each channel about transactions that were committed, or gave way.

    `component_of` gives the component of each target, `in_use` the certificate that a component uses now, where it is
    known. The news of a transaction has the same name each time.
    """
    if not terms.enabled:
        return
    wanted: dict[tuple[str, str], list[ActionEnded]] = {}
    for each in ended:
        if each.ending.outcome not in {Outcome.COMMITTED, Outcome.SUPERSEDED}:
            continue
        for route in terms.routes:
            if ToldEvent.COMMITTED in route.events and _is_meant(route.match, each.target, component_of, labels):
                for channel in route.channels:
                    those = wanted.setdefault((channel, each.ending.transaction), [])
                    if each not in those:
                        those.append(each)
    for (channel, transaction), those in wanted.items():
        names = list(dict.fromkeys(component_of.get(each.target, each.target) for each in those))
        first = those[0].ending
        what = "; ".join(dict.fromkeys(filter(None, (in_use.get(name, "") for name in names))))
        now = f"In use now: {what}. " if what else ""
        when = f"at {moment(first.at)} for {first.by}, transaction {transaction}."
        if first.outcome is Outcome.SUPERSEDED:
            sentence, title = f"{now}Begun by certvigil and left alone {when}", _GAVE_WAY.format(_named(names))
        else:
            done = _DONE if len(names) == 1 else _DONE_TO_SEVERAL
            sentence, title = f"{now}Done {when}", done[first.kind].format(_named(names))
        yield News(f"committed {transaction}", channel, title, (sentence,))


def _is_meant(match: FindingMatch, target: str, component_of: Mapping[str, str], labels: Labels) -> bool:
    component = component_of.get(target)
    # An event has no code: a route for some codes is for findings alone.
    return not match.codes and match.holds(
        target, component, TargetKind.COMPONENT, Code.ACTION_FAILED, labels.get(component or "", NO_LABELS)
    )


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(printable(each, 100) for each in names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown


def in_use(component: str, known: Mapping[str, TargetState], since: float) -> str | None:
    """Return subject and end of the certificate in the leaf's file of a component; empty where it has none.

    None where the file was not read at or after Unix time `since`: an earlier content may have been replaced.
    """
    for name in (f"{component}/{role}" for role in WITH_LEAF):
        if (file := known.get(name)) is None:
            continue
        if file.failure is not None or file.last_look is None or file.last_look < since:
            return None
        if not file.presented:
            return ""
        leaf = find_leaf(file.presented)
        end = "" if leaf.not_after is None else f", until {moment(leaf.not_after)}"
        return f"{leaf.subject}{end}"
    return ""


def digest_of(
    known: Iterable[TargetState], silences: Sequence[Silence], labels: Labels
) -> tuple[str, tuple[str, ...]] | None:
    """Return title and sentences of a digest of all that is informational; None where nothing is."""
    where: dict[str, list[str]] = {}
    for each in known:
        for _, member in members(each):
            if member.finding.severity is Severity.INFORMATIONAL and not _is_silenced(member, silences, labels):
                where.setdefault(f"{member.finding.code}: {member.finding.detail}", []).append(member.target)
    if not where:
        return None
    count = len(where)
    title = "one thing" if count == 1 else f"{count} things"
    sentences = ["Nobody on this host can change this, so nothing has to be done."]
    sentences += (f"{what} (at {_named(sorted(targets))})" for what, targets in sorted(where.items())[:_LISTED])
    if count > _LISTED:
        sentences.append(sentence("and {} more: certvigil status", count - _LISTED))
    return f"{title} to know", tuple(sentences)


def _is_silenced(member: Member, silences: Sequence[Silence], labels: Labels) -> bool:
    own = labels.get(member.component or "", NO_LABELS)
    return any(
        each.match.holds(member.target, member.component, member.kind, member.finding.code, own) for each in silences
    )
