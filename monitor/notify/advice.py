"""What to do about a problem, and whom it hurts: for each code of a finding, in the words of what is concerned.

A command is named only where it can be carried out: `replace` and `activate` need a component with a `service`. Else a
person is told what to do by hand, and where; where there is nothing better, in the words of `monitor.state.cure`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from actions.plan import Kind
from config.model import Component, Config, Settings
from config.text import printable
from config.vocabulary import Code, FileRole, TargetKind, UnreadableReason
from monitor.notify.problem import Member
from monitor.state.cure import cure, without_cure

_MOST: Final = 3
"""Things that are named one by one; of more, it is said how many there are."""
_AT_ONCE: Final = 10
"""Components in one command."""


@dataclass(frozen=True, slots=True)
class AdviceContext:
    """What a message may speak of beside the problem: the host, its components, and where its runbook lies."""

    host: str = ""
    """How people know the host; empty where nobody said."""
    components: Mapping[str, Component] = field(default_factory=lambda: MappingProxyType({}))
    runbook: str | None = None
    """The begin of a URL to which the code of a finding is appended."""
    state_directory: str = Settings().state_directory

    @classmethod
    def of(cls, config: Config) -> AdviceContext:
        """Return the site that `config` describes."""
        return cls(config.host, config.components, config.notifications.runbook, config.settings.state_directory)

    def component(self, member: Member) -> Component | None:
        """Return the component of what a finding is about."""
        return None if member.component is None else self.components.get(member.component)


Remedy = Callable[[Sequence[Member], AdviceContext], Iterator[str]]
"""Yields what to do about members that all have the code for which it is meant: sentences, printable."""


def advice(members: Sequence[Member], site: AdviceContext) -> list[str]:
    """Return what to do about what is wrong, the worst of which comes first: a few sentences, with commands in them."""
    remedies = [_remedy(members[0]), *(_show_plan for each in members if _remedy(each) is _show_plan)]
    found: dict[str, None] = {}
    for remedy in dict.fromkeys(remedies):
        found.update(dict.fromkeys(remedy([each for each in members if _remedy(each) is remedy], site)))
    return list(found)


def _remedy(member: Member) -> Remedy:
    code = member.finding.code
    match member.kind:
        case TargetKind.SELF:
            return _OF_ITSELF.get(code, _ask_itself)
        case TargetKind.COMPONENT:
            return _OF_ACTIONS.get(code, _ask_history)
        case _:
            return _OF_TARGETS.get(code, _ask_history)


def hurts(members: Sequence[Member]) -> str:
    """Return whom a problem hurts that no client was seen to reject, where its worst member comes first."""
    code = members[0].finding.code
    # What is served hurts more than what lies on disk.
    member = next(
        (each for each in members if each.kind is TargetKind.ENDPOINT and each.finding.code is code), members[0]
    )
    match member.kind:
        case TargetKind.COMPONENT:
            return _HURT_BY_ACTIONS.get(code, "nobody: what is in use stays in use")
        case TargetKind.ENDPOINT:
            return _HURT_AT_ENDPOINTS.get(code, _REJECTED_ELSEWHERE if code in _REJECTABLE else "nobody yet")
        case _:
            return _HURT.get(code, _REJECTED_WHERE_SERVED if code in _REJECTABLE else "nobody yet")


_REJECTABLE: Final = frozenset(
    {
        *(Code.EXPIRED, Code.NOT_YET_VALID, Code.INCOMPLETE_CHAIN, Code.UNTRUSTED_ISSUER, Code.SELF_SIGNED),
        *(Code.BAD_SIGNATURE, Code.INVALID_CA, Code.PATH_REJECTED, Code.HOSTNAME_MISMATCH),
    }
)
"""What clients that validate do not accept."""
_REJECTED_ELSEWHERE: Final = "no client that is watched; others that validate may reject it"
_REJECTED_WHERE_SERVED: Final = "nobody where it is not served; where it is, clients that validate reject it"
_HURT: Final[Mapping[Code, str]] = {
    Code.EXPIRING: "nobody yet; from its end on, every client that validates",
    Code.KEY_MISMATCH: "nobody until the server is reloaded; then it fails, or goes on without TLS",
    Code.KEY_EXPOSED: "nobody yet; whoever reads the key can pose as the server",
    Code.UNREADABLE: "nobody yet; perhaps the server cannot read it either",
    Code.NO_CERTIFICATE: "nobody until the server is reloaded; then it may fail",
    Code.NEXT_RELOAD_BREAKS: "nobody until the server is reloaded; then the clients that are named",
    Code.KEYS_UNREAD: "nobody; a key that does not match would not be noticed",
    Code.DAEMON_UNSTABLE: "those who would have been told meanwhile",
    Code.DELIVERY_FAILED: "those who should have been told",
    Code.CLOCK_SUSPECT: "nobody; nothing is replaced without a person meanwhile",
    Code.DATABASE_DEGRADED: "nobody; what happens meanwhile is not remembered",
    Code.CONFIG_REJECTED: "nobody; the configuration that was read before holds",
}
_HURT_AT_ENDPOINTS: Final[Mapping[Code, str]] = {
    Code.EXPIRING: "nobody yet; from its end on, every client that validates",
    Code.UNREACHABLE: "whoever connects there",
    Code.NO_CERTIFICATE: "whoever connects there",
    Code.NOT_SERVED: "nobody before the certificate that is served ends",
    Code.ENDPOINTS_DISAGREE: "nobody yet; what a client is presented depends on the address",
    Code.OBSOLETE_PROTOCOL: "nobody yet; who can change the traffic may read it",
    Code.WEAK_CIPHER: "nobody yet; who can record the traffic may read it",
}
_HURT_BY_ACTIONS: Final[Mapping[Code, str]] = {
    Code.COMPONENT_FROZEN: "perhaps whoever connects: whether its service is well is not known",
    Code.ACTION_FAILED: "nobody, as far as is known; what was to be mended is not",
    Code.WRITTEN_LATE: "nobody; but what was written is not in use",
    Code.UNREACHABLE: "nobody; nothing is replaced meanwhile",
}


def by_itself(member: Member) -> str:
    """Return what happens by itself to a problem of which `member` is the worst, where no policy does anything."""
    return _BY_ITSELF.get(member.finding.code, "nothing; somebody must act")


_BY_ITSELF: Final[Mapping[Code, str]] = {
    Code.EXPIRING: "nothing replaces it; it ends at the time given above",
    Code.UNREACHABLE: "certvigil goes on looking, and tells when there is an answer again",
    Code.UNREADABLE: "certvigil looks again as soon as something changes there",
    Code.NOT_YET_VALID: "it becomes valid at the time given above",
    Code.ENDPOINTS_DISAGREE: "nothing, unless a replacement is under way there",
    Code.NEXT_RELOAD_BREAKS: "it breaks with the next reload or restart, whoever asks for that",
    Code.UNSETTLED: "the files are judged once nobody writes to them any more",
    Code.KEYS_UNREAD: "the files are read as soon as an actor answers",
    Code.DAEMON_UNSTABLE: "the service manager starts the daemon again each time",
    Code.REVERTED_BY_ANOTHER: "nothing is changed there any more before somebody says so",
    Code.WRITTEN_LATE: "nothing; what was written is kept as a backup set",
    Code.APPROVAL_PENDING: "nothing before somebody approves",
    Code.CLOCK_SUSPECT: "certvigil goes on once the clock can be believed again",
    Code.DATABASE_DEGRADED: "certvigil goes on in memory, and tries again",
    Code.DELIVERY_FAILED: "messages that wait are tried again, for about a day; what was given up is not",
    Code.CONFIG_REJECTED: "nothing; somebody must put it right",
}


# Remedies


@dataclass(frozen=True, slots=True)
class _Renewal:
    """Gives a component other files: by `certvigil replace` where it may, else by hand."""

    what: str
    """What is to be in the file that the command is given."""
    by_hand: Callable[[Member, AdviceContext], str]
    file: str = "NEW.pem"

    def __call__(self, members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
        changeable, others = _apart(members, site)
        if changeable:
            names = " ".join(_word(each.name) for each in changeable[:_AT_ONCE])
            yield f"put {self.what} into {self.file}, then: certvigil replace {names} --from {self.file}"
            if len(changeable) > _AT_ONCE:
                yield f"the same for {len(changeable) - _AT_ONCE} more components"
        yield from _by_hand(others, site, self.by_hand)


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
        files = component.artefacts.files.items()
        puts = " and ".join(f"the new {what[role]} into {_word(path)}" for role, path in files)
        return f"put {puts}, and reload the server of {_word(component.name)}"
    if member.kind is TargetKind.FILE:
        return f"put the new certificate into {_word(_where(member))}, and reload the server that uses it"
    return f"install the new certificate on the server that answers at {_word(_where(member))}"


def _chain_by_hand(member: Member, site: AdviceContext) -> str:
    component = site.component(member)
    files = {} if component is None else component.artefacts.files
    what = "the intermediates that are needed, and no others"
    for role in (FileRole.CHAIN, FileRole.COMBINED, FileRole.CERTIFICATE, FileRole.KEYSTORE):
        if role in files:
            return f"put {what}, into {_word(files[role])}, and reload the server"
    if member.kind is TargetKind.FILE:
        return f"put {what}, into {_word(_where(member))}, and reload the server that uses it"
    return f"have the server that answers at {_word(_where(member))} present {what}"


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


def _reissue(_members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    yield "nothing on this host; whoever issues the certificate can mend it with the next one"


def _activate(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    changeable, others = _apart(members, site)
    for each in changeable[:_MOST]:
        yield f"have its service take up what is on disk: certvigil activate {_word(each.name)}"
    if len(changeable) > _MOST:
        yield f"the same for {len(changeable) - _MOST} more components"
    yield from _by_hand(
        others, site, lambda member, _: f"reload or restart the server that answers at {_word(_where(member))}"
    )


def _look_there(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    def see(member: Member, _: AdviceContext) -> str:
        where = _word(_where(member))
        return f"at {where}: {_cure(member)}; to look again at once: certvigil check {where}"

    yield from _by_hand(members, site, see)


def _look_at_file(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    def see(member: Member, _: AdviceContext) -> str:
        where = _word(_where(member))
        listed = f"; to see who may read it: ls -lL {where}" if _reason(member) in _BY_RIGHTS else ""
        return f"for {where}: {_cure(member)}{listed}"

    yield from _by_hand(members, site, see)


_BY_RIGHTS: Final = frozenset({UnreadableReason.NOT_FOUND, UnreadableReason.PERMISSION_DENIED})


def _close_key(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    yield from _by_hand(members, site, lambda member, _: f"chmod 0640 {_word(_where(member))}")
    yield "where somebody may have read the key, replace it together with its certificate"


def _configure_tls(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    yield from _by_hand(
        members,
        site,
        lambda member, _: f"have the server at {_word(_where(member))} offer only TLS 1.2 and 1.3, with modern ciphers",
    )


def _await_begin(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    yield "see whether the clock of this host is right: date -u; if it is, use the former certificate until then, or:"
    yield from _replace(members, site)


def _see_cause(members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    """Clients that reject say in their own sentence what would cure it."""
    changeable, _ = _apart(members, site)
    if not changeable:
        yield "do what is said above to cure it"
        return
    yield "do what is said above to cure it; where that takes another certificate or chain:"
    yield from _replace(members, site)


def _offer_again(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        name = _word(each.component or each.target)
        yield f"put a right one into {_word(_where(each))} or remove this one; all that is wrong: certvigil plan {name}"


def _own_inbox(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        yield f"see who owns it and who may write there: ls -la {_word(_where(each))}"


def _show_plan(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        name = _word(each.component or each.target)
        command = f"activate {name} --dry-run" if each.finding.subject == Kind.ACTIVATE else f"plan {name}"
        yield f"to see what it would do first: certvigil {command}"


def _see_actions(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        yield f"to see what was done: certvigil history {_word(each.target)}, and certvigil audit"


def _thaw(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        name = _word(each.component or each.target)
        yield f"see that its files and its service are right, then: certvigil recover --thaw {name}"


def _settle_with_the_other(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        name = _word(each.component or each.target)
        yield f"have one tool alone change these files, then: certvigil recover --thaw {name}"


def _see_what_was_written(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        name = _word(each.component or each.target)
        yield f"see who wrote, and whether the service needs it: certvigil backups {name}"
        yield f"once that is known: certvigil recover --thaw {name}"


def _find_writer(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        yield f"see who writes there: lsof {_word(each.location or each.target)}"


def _have_read(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    detail = members[0].finding.detail
    if without_cure(detail) != detail:
        yield cure(Code.KEYS_UNREAD, detail)
        return
    yield "see why the actor does not run: systemctl status certvigil-actor; without one, say `keys: unread`"


def _see_log(_members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    yield "see why the daemon ended: journalctl -u certvigil"


def _wake_actor(_members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    yield "see why the actor does not run: systemctl status certvigil-actor"


def _ask_history(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    yield f"{_cure(members[0])}; to see since when and what came before: certvigil history {_word(members[0].target)}"


def _ask_itself(_members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    yield "certvigil status"


def _set_clock(_members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    yield "see whether the clock is right and synchronised: timedatectl"


def _see_disk(_members: Sequence[Member], site: AdviceContext) -> Iterator[str]:
    yield f"see whether the disk is full or fails: df -h {_word(site.state_directory)}"


def _try_channels(members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    for each in members[:_MOST]:
        name = _word(each.finding.subject)
        yield f"see whether the channel works: certvigil notify test {name}"
        yield f"what was given up: certvigil notify retry {name} delivers it, certvigil notify drop {name} forgets it"


def _check_config(_members: Sequence[Member], _: AdviceContext) -> Iterator[str]:
    yield "mend what this names: certvigil config check; then: certvigil reload"


_OF_TARGETS: Final[Mapping[Code, Remedy]] = {
    **dict.fromkeys(
        (
            *(Code.EXPIRED, Code.EXPIRING, Code.UNTRUSTED_ISSUER, Code.SELF_SIGNED, Code.BAD_SIGNATURE),
            *(Code.INVALID_CA, Code.PATH_REJECTED, Code.HOSTNAME_MISMATCH, Code.COMMON_NAME_ONLY),
            *(Code.WEAK_KEY, Code.WEAK_SIGNATURE, Code.NO_CERTIFICATE),
        ),
        _replace,
    ),
    **dict.fromkeys(
        (Code.INCOMPLETE_CHAIN, Code.WRONG_ORDER, Code.UNNEEDED_CERTIFICATE, Code.ROOT_PRESENTED), _rechain
    ),
    **dict.fromkeys((Code.NOT_SERVED, Code.ENDPOINTS_DISAGREE), _activate),
    **dict.fromkeys((Code.VALIDITY_TOO_LONG, Code.NONCONFORMING), _reissue),
    Code.KEY_MISMATCH: _rekey,
    Code.NOT_YET_VALID: _await_begin,
    Code.CLIENT_REJECTS: _see_cause,
    Code.UNREACHABLE: _look_there,
    Code.UNREADABLE: _look_at_file,
    Code.KEY_EXPOSED: _close_key,
    Code.NEXT_RELOAD_BREAKS: _rechain,
    Code.UNSETTLED: _find_writer,
    Code.KEYS_UNREAD: _have_read,
    Code.OBSOLETE_PROTOCOL: _configure_tls,
    Code.WEAK_CIPHER: _configure_tls,
}
_OF_ACTIONS: Final[Mapping[Code, Remedy]] = {
    Code.CANDIDATE_REFUSED: _offer_again,
    Code.INBOX_UNSAFE: _own_inbox,
    Code.APPROVAL_PENDING: _show_plan,
    Code.ACTION_FAILED: _see_actions,
    Code.COMPONENT_FROZEN: _thaw,
    Code.REVERTED_BY_ANOTHER: _settle_with_the_other,
    Code.WRITTEN_LATE: _see_what_was_written,
    Code.UNREACHABLE: _wake_actor,
}
_OF_ITSELF: Final[Mapping[Code, Remedy]] = {
    Code.DAEMON_UNSTABLE: _see_log,
    Code.CLOCK_SUSPECT: _set_clock,
    Code.DATABASE_DEGRADED: _see_disk,
    Code.DELIVERY_FAILED: _try_channels,
    Code.CONFIG_REJECTED: _check_config,
}


# What they are made of


def _apart(members: Sequence[Member], site: AdviceContext) -> tuple[list[Component], list[Member]]:
    """Return the components that certvigil may change, and what is concerned beside them."""
    changeable: dict[str, Component] = {}
    others: list[Member] = []
    for each in members:
        component = site.component(each)
        if component is not None and component.service is not None:
            changeable[component.name] = component
        else:
            others.append(each)
    return list(changeable.values()), others


def _by_hand(
    members: Sequence[Member], site: AdviceContext, say: Callable[[Member, AdviceContext], str]
) -> Iterator[str]:
    sentences = list(dict.fromkeys(say(each, site) for each in members))
    yield from sentences[:_MOST]
    if len(sentences) > _MOST:
        yield f"the same in {len(sentences) - _MOST} more places"


def _reason(member: Member) -> str:
    """Return with what the detail of a finding begins."""
    return member.finding.detail.partition(":")[0]


def _cure(member: Member) -> str:
    return printable(cure(member.finding.code, member.finding.detail), 300)


def _where(member: Member) -> str:
    """Return the path or the address of what a finding is about."""
    return member.location or member.target


def _word(name: str) -> str:
    return shlex.quote(printable(name, 200))
