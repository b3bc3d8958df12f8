"""Advice on a problem: the catalogue's texts for its code, with the names, paths and commands of the place at hand.

A command is named only where it can be carried out: `replace` and `activate` need a component with a `service`. Else
the advice says what to do by hand, and where. The few codes whose advice depends on more than that are in `_SPECIAL`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cache, partial
from types import MappingProxyType
from typing import Final

from actions.ending import answers_again, answers_nobody
from actions.plan import Kind
from config.catalogue import CATALOGUE, IN_USE_STAYS, NOBODY_YET, OPEN_TRANSACTION, TAKES_NEW_KEY, CuringChange
from config.command_reach import command_line, completed_template
from config.immutable import immutable
from config.model import Component, Config, Endpoint, Settings
from config.text import printable, sentence
from config.vocabulary import Code, FileRole, TargetKind, UnreachableReason, UnreadableReason
from monitor.check_command import check_words, judging_words
from monitor.notify.problem import Member
from monitor.state.cure import cure, names_cure

_MOST: Final = 3
"""The most sentences of one kind; the rest is counted."""
_AT_ONCE: Final = 10
"""Components in one command."""


@immutable
class AdviceContext:
    """The facts for messages beside the problem: the host, its components, the place of its runbook."""

    host: str = ""
    """The name of the host; empty where none is configured."""
    components: Mapping[str, Component] = field(default_factory=lambda: MappingProxyType({}))
    runbook: str | None = None
    """The start of a URL that the code of a finding completes; None for no link."""
    state_directory: str = Settings().state_directory
    groups: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The group of each component that is in one: by its name the component is changed."""
    endpoints: Mapping[str, Endpoint] = field(default_factory=lambda: MappingProxyType({}))
    clock: str = ""
    """Why the clock of the host is suspect; empty where it is not."""
    mismatched: frozenset[str] = frozenset()
    """Components whose private key on disk does not belong to their certificate there: no service can load these."""
    console: str | None = None
    """How browsers reach the pages of this daemon, without a slash at the end; None for no link."""
    validating: frozenset[str] = frozenset()
    """The declared clients that validate, by name."""
    has_systemd: bool = False
    """Whether systemd runs on this host."""
    judging: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """By endpoint, the words by which `check` judges as its first client that validates."""

    @classmethod
    def of(cls, config: Config, *, has_systemd: bool = False) -> AdviceContext:
        """Return the facts in `config`, of a host with or without systemd."""
        runbook, state_directory = config.notifications.runbook, config.settings.state_directory
        return cls(
            config.host,
            config.components,
            runbook,
            state_directory,
            config.group_of,
            config.endpoints,
            console=config.settings.web.external_url,
            validating=frozenset(each.name for each in config.clients.values() if each.validates),
            has_systemd=has_systemd,
            judging=_judging(config),
        )

    def component(self, member: Member) -> Component | None:
        """Return the component of a member; None where it has none that is declared."""
        return None if member.component is None else self.components.get(member.component)

    def guide(self, name: str | None) -> str | None:
        """Return the runbook about a component, or about the members of a group; None where there is none."""
        members = [member for member, group in self.groups.items() if group == name] or [name or ""]
        found = (self.components[each].guide for each in members if each in self.components)
        return next(filter(None, found), None)

    def subject(self, component: str | None) -> str | None:
        """Return what is changed with a component: its group, or itself."""
        return None if component is None else self.groups.get(component, component)


def own_commands(members: Sequence[Member], site: AdviceContext) -> tuple[str, ...]:
    """Return the commands in the advice on `members` that are made of the configuration alone, without `certvigil`."""
    declared = (each for each in members if each.target in site.endpoints)
    return tuple(dict.fromkeys(_check(each, site) for each in declared))


def _judging(config: Config) -> Mapping[str, tuple[str, ...]]:
    """Return the words by which `check` judges each endpoint as its first client that validates."""
    first = {
        endpoint.name: next((config.clients[each] for each in endpoint.clients if config.clients[each].validates), None)
        for endpoint in config.endpoints.values()
    }
    return MappingProxyType(
        {
            name: judging_words(config.trust_stores[client.trusts].source, client.verifier)
            for name, client in first.items()
            if client is not None
        }
    )


def _of_host(*, has_systemd: bool) -> dict[str, str]:
    """Return where to look on a host with systemd or without it, for the steps of the catalogue."""
    if has_systemd:
        return {
            "actor_log": "systemctl status certvigil-actor",
            "daemon_log": "journalctl -u certvigil",
            "clock_state": "timedatectl",
        }
    return {
        "actor_log": sentence("in the log of `certvigil actor`"),
        "daemon_log": sentence("in the log of `certvigil run`"),
        "clock_state": "date -u, and the state of the service that sets it",
    }


Remedy = Callable[[Sequence[Member], AdviceContext], Iterator[str]]
"""Yields the advice on members that all have the same remedy: sentences, printable."""


def advice(members: Sequence[Member], site: AdviceContext) -> list[str]:
    """Return the advice on the worst member, which comes first: a few sentences, with commands in them.

    Where a plan waits for a person, that is the advice on its component.
    """
    plans = [each for each in members if _remedy(each) is _show_plan]
    remedy, planned = _remedy(members[0]), {each.component for each in plans}
    others = [each for each in members if _remedy(each) is remedy and site.subject(each.component) not in planned]
    return list(dict.fromkeys([*(remedy(others, site) if others else ()), *_show_plan(plans, site)]))


def _remedy(member: Member) -> Remedy:
    entry = CATALOGUE[member.finding.code]
    if member.kind is TargetKind.FILE and _is_for_no_server(member):
        return _do_as_named
    if member.kind in entry.hurts:
        return _SPECIAL.get((entry.code, member.kind)) or _of_entry(entry.steps_on(member.kind), entry.change)
    return _ask_itself if member.kind is TargetKind.SELF else _ask_history


@cache
def _of_entry(steps: tuple[str, ...], change: CuringChange | None) -> Remedy:
    """Return the remedy of these steps and this change, the same for every code that has both."""

    def remedy(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
        for step in steps:
            yield from _each(members, site, partial(_filled, step))
        if change is not None:
            yield from _CHANGES[change](members, site)

    return remedy


def _is_for_no_server(member: Member) -> bool:
    """Whether the cure that a finding names gives no server another file, as at a certificate that a store trusts."""
    detail, by = member.finding.detail, CATALOGUE[member.finding.code].anchor_cure
    return names_cure(detail) and (member.component is None or cure(member.finding.code, detail) == by)


def _filled(step: str, member: Member, site: AdviceContext) -> str:
    """Return a step of the catalogue for one member."""
    return completed_template(step).format(
        component=_word(member.component or member.target),
        where=_word(_at_fault(member, site)),
        check=_check(member, site),
        target=_word(member.target),
        subject=_word(member.finding.subject),
        cure=_cure(member),
        state_directory=_word(site.state_directory),
        **_of_host(has_systemd=site.has_systemd),
    )


def hurts(members: Sequence[Member], site: AdviceContext) -> str:
    """Return whom a problem hurts, where no client was seen to reject; its worst member comes first."""
    code = members[0].finding.code
    if code is Code.UNREACHABLE and OPEN_TRANSACTION in members[0].finding.detail:
        return "whoever connects, where the service is between two sets of files; nothing is replaced meanwhile"
    if code is Code.COMPONENT_FROZEN and answers_nobody(members[0].finding.detail):
        return "whoever connects, unless its service was started since: it answered nobody"
    if code is Code.COMPONENT_FROZEN and answers_again(members[0].finding.detail):
        return "nobody, as far as is known: its service answers again"
    if all(map(_failed_at_proxy, members)):
        return "whoever connects through the proxy; of the server, nothing is known"
    # A fault that is served hurts more than the same fault on disk.
    served = (each for each in members if each.kind is TargetKind.ENDPOINT and each.finding.code is code)
    kind = next(served, members[0]).kind
    whom = CATALOGUE[code].hurts.get(kind, IN_USE_STAYS if kind is TargetKind.COMPONENT else NOBODY_YET)
    # Of a certificate that has ended, the clients that reject it are seen.
    return f"{whom}{_declared_clients(members, site)}" if code is Code.EXPIRING else whom


def _declared_clients(members: Sequence[Member], site: AdviceContext) -> str:
    """Return the declared clients that validate what these members serve, the end of a sentence."""
    names: dict[str, None] = {}
    for each in members:
        component = site.component(each)
        served = [each.target] if each.target in site.endpoints else component.endpoints if component else ()
        for name in served:
            endpoint = site.endpoints.get(name)
            names.update(dict.fromkeys(endpoint.clients if endpoint is not None else ()))
    told = sorted(names.keys() & site.validating)
    more = f" and {len(told) - _AT_ONCE} more" if len(told) > _AT_ONCE else ""
    return f"; of the declared clients: {', '.join(map(printable, told[:_AT_ONCE]))}{more}" if told else ""


def by_itself(member: Member) -> str:
    """Return the course of a problem with `member` as its worst, where no policy acts: a phrase."""
    return CATALOGUE[member.finding.code].by_itself


# Remedies


@immutable
class _Renewal:
    """Advice to give components other files: by `certvigil replace` where it is possible, else by hand."""

    what: str
    """The content of the file for the command."""
    by_hand: Callable[[Member, AdviceContext], str]
    file: str = "NEW.pem"
    options: tuple[str, ...] = ()
    """Of the command."""

    def __call__(self, members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
        changeable, others = _apart(members, site)
        if changeable:
            command = _command("replace", *changeable[:_AT_ONCE], *self.options, "--from", self.file)
            yield f"put {self.what} into {self.file}, then: {command}"
            if len(changeable) > _AT_ONCE:
                yield f"the same for {len(changeable) - _AT_ONCE} more components"
        yield from _each(others, site, self.by_hand)


def _new_by_hand(member: Member, site: AdviceContext) -> str:
    component = site.component(member)
    if component is not None:
        what = {
            FileRole.CERTIFICATE: "certificate",
            FileRole.KEY: "key",
            FileRole.CHAIN: "intermediates",
            FileRole.COMBINED: "certificate, its intermediates and its key",
            FileRole.KEYSTORE: "certificate, its intermediates and its key",
        }
        if FileRole.CHAIN not in component.artefacts.files:
            what[FileRole.CERTIFICATE] = "certificate and its intermediates"
        files = ((what[role], path) for role, path in component.artefacts.files.items() if role in what)
        puts = " and ".join(f"the new {each} into {_word(path)}" for each, path in files)
        return f"put {puts}, and reload the server of {_word(component.name)}"
    if member.kind is TargetKind.FILE:
        return f"put the new certificate into {_word(_where(member))}, and reload the server that uses it"
    return f"install the new certificate on the server that answers at {_word(_where(member))}"


def _chain_by_hand(member: Member, site: AdviceContext) -> str:
    component = site.component(member)
    files = {} if component is None else component.artefacts.files
    what = "the needed intermediates, and no others"
    for role in (FileRole.CHAIN, FileRole.COMBINED, FileRole.CERTIFICATE, FileRole.KEYSTORE):
        if role in files:
            return f"put {what}, into {_word(files[role])}, and reload the server"
    if member.kind is TargetKind.FILE:
        return f"put {what}, into {_word(_where(member))}, and reload the server that uses it"
    return f"have the server at {_word(_where(member))} present {what}"


def _key_by_hand(member: Member, site: AdviceContext) -> str:
    component = site.component(member)
    path = None if component is None else component.artefacts.files.get(FileRole.KEY)
    if path is None:
        return _new_by_hand(member, site)
    return f"put the key that belongs to the certificate into {_word(path)}, or give both anew, before a reload"


_replace: Final = _Renewal("the new certificate, its intermediates and its key", _new_by_hand)
_rechain: Final = _Renewal(
    "the certificate and its intermediates, in any order (the key may stay),", _chain_by_hand, "CHAIN.pem"
)
_rekey: Final = _Renewal("the certificate, its intermediates and the key that belongs to them", _key_by_hand)


_renew_key: Final = _Renewal(
    "the new certificate, its intermediates and its key, a new one,", _new_by_hand, options=("--key-compromised",)
)


def _replace_revoked(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    compromised = [each for each in members if TAKES_NEW_KEY in each.finding.detail]
    if compromised:
        yield "the private key is compromised: have the certificate issued for a new key"
        yield from _renew_key(compromised, site)
    yield from _replace([each for each in members if each not in compromised], site)


def _activate(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    mismatched = {site.subject(name) for name in site.mismatched}
    unusable = [each for each in members if site.subject(each.component) in mismatched]
    if unusable:
        yield "the key on disk does not belong to the certificate there, so that a reload would fail: cure that first"
        yield from _rekey(unusable, site)
    changeable, others = _apart([each for each in members if each not in unusable], site)
    for each in changeable[:_MOST]:
        yield f"have its service load its files from disk: {_command('activate', each)}"
    if len(changeable) > _MOST:
        yield f"the same for {len(changeable) - _MOST} more components"
    yield from _each(
        others, site, lambda member, _: f"reload or restart the server that answers at {_word(_where(member))}"
    )


def _look_at_file(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    (step,) = CATALOGUE[Code.UNREADABLE].steps

    def see(member: Member, site: AdviceContext) -> str:
        listed = f"; to see who may read it: ls -lL {_word(_where(member))}" if _reason(member) in _BY_RIGHTS else ""
        return _filled(step, member, site) + listed

    yield from _each(members, site, see)


_BY_RIGHTS: Final = frozenset({UnreadableReason.NOT_FOUND, UnreadableReason.PERMISSION_DENIED})


def _see_cause(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    """Point to the finding, which names the cure for the client; a replacement is the cure in most cases."""
    changeable, _ = _apart(members, site)
    if not changeable:
        yield "do as the finding says"
        return
    yield "do as the finding says; where that takes another certificate or chain:"
    yield from _replace(members, site)


def _show_plan(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        name = each.component or each.target
        words = ("activate", name, "--dry-run") if each.finding.subject == str(Kind.ACTIVATE) else ("plan", name)
        yield f"to see the plan first: {_command(*words)}"
        if names_cure(each.finding.detail):
            yield f"to decide on it: {_cure(each).replace('`', '')}"
    replaced = [each for each in members if each.finding.subject != str(Kind.ACTIVATE)]
    for topic in dict.fromkeys(site.guide(each.component) for each in replaced):
        if topic is not None:
            yield f"the way to do it by hand instead: {_command('guide', topic)}"


def _have_read(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    detail = members[0].finding.detail
    if names_cure(detail):
        yield cure(Code.KEYS_UNREAD, detail)
    else:
        yield from (_filled(each, members[0], site) for each in CATALOGUE[Code.KEYS_UNREAD].steps)


def _have_an_actor(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    """Yield how to have an actor again, once: a transaction that has no end needs the most."""
    halfway = [each for each in members if OPEN_TRANSACTION in each.finding.detail]
    worst = (halfway or members)[0]
    yield from (_filled(each, worst, site) for each in CATALOGUE[Code.UNREACHABLE].steps_on(TargetKind.COMPONENT))


def _do_as_named(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    """Yield the cures that the findings name, each with its file."""
    yield from _each(members, site, lambda member, _: f"{_word(_where(member))}: {_cure(member)}")


def _ask_history(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    yield f"{_cure(members[0])}; to see the events before: {_command('history', members[0].target)}"


def _ask_itself(_members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    yield _command("status")


_CHANGES: Final[Mapping[CuringChange, Remedy]] = {
    CuringChange.CERTIFICATE: _replace,
    CuringChange.CHAIN: _rechain,
    CuringChange.KEY: _rekey,
    CuringChange.ACTIVATION: _activate,
}
_SPECIAL: Final[Mapping[tuple[Code, TargetKind], Remedy]] = {
    (Code.CLIENT_REJECTS, TargetKind.ENDPOINT): _see_cause,
    (Code.UNREACHABLE, TargetKind.COMPONENT): _have_an_actor,
    (Code.UNREADABLE, TargetKind.FILE): _look_at_file,
    (Code.KEYS_UNREAD, TargetKind.FILE): _have_read,
    (Code.APPROVAL_PENDING, TargetKind.COMPONENT): _show_plan,
    (Code.REVOKED, TargetKind.ENDPOINT): _replace_revoked,
    (Code.REVOKED, TargetKind.FILE): _replace_revoked,
}
"""The remedies of codes whose advice depends on more than the names of the place."""


# Parts of remedies


def _apart(members: Sequence[Member], site: AdviceContext) -> tuple[list[str], list[Member]]:
    """Return the components and groups that certvigil can change, by name, and the members of none of them."""
    changeable: dict[str, None] = {}
    others: list[Member] = []
    for each in members:
        component = site.component(each)
        if component is not None and component.service is not None:
            changeable[site.groups.get(component.name, component.name)] = None
        else:
            others.append(each)
    return list(changeable), others


def _each(members: Sequence[Member], site: AdviceContext, say: Callable[[Member, AdviceContext], str]) -> Iterator[str]:
    sentences = list(dict.fromkeys(say(each, site) for each in members))
    yield from sentences[:_MOST]
    if len(sentences) > _MOST:
        yield f"the same in {len(sentences) - _MOST} more places"


def _reason(member: Member) -> str:
    """Return the reason with which the detail of a finding begins."""
    return member.finding.detail.partition(":")[0]


def _cure(member: Member) -> str:
    return printable(cure(member.finding.code, member.finding.detail), 600)


def _where(member: Member) -> str:
    """Return the path or the address of the target."""
    return member.location or member.target


def _at_fault(member: Member, site: AdviceContext) -> str:
    """Return the place at which the cure of a finding is: a proxy, or that of the target."""
    endpoint = site.endpoints.get(member.target)
    if endpoint is not None and endpoint.proxy is not None and _failed_at_proxy(member):
        return endpoint.proxy.url
    return _where(member)


def _failed_at_proxy(member: Member) -> bool:
    return member.finding.code is Code.UNREACHABLE and _reason(member) == UnreachableReason.PROXY_FAILED


def _check(member: Member, site: AdviceContext) -> str:
    """Return the command that looks at the target as it is configured, without `certvigil`."""
    endpoint = site.endpoints.get(member.target)
    words = (
        ("check", _where(member))
        if endpoint is None
        else (*check_words(endpoint), *site.judging.get(endpoint.name, ()))
    )
    return " ".join(map(_word, words))


def _command(*words: str) -> str:
    """Return a command of certvigil as a shell takes it."""
    return command_line(*(printable(each, 200) for each in words))


def _word(name: str) -> str:
    return shlex.quote(printable(name, 200))
