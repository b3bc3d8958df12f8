"""What to do about a problem, and whom it hurts: for each code of a finding, in the words of what is concerned.

A command is named only where it can be carried out: `replace` and `activate` need a component with a `service`. Else a
person is told what to do by hand, and where.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from config.model import Component, Config
from config.text import printable
from config.vocabulary import Code, FileRole, TargetKind
from monitor.tell.problem import Member

_MOST: Final = 3
"""Things that are named one by one; of more, it is said how many there are."""
_AT_ONCE: Final = 10
"""Components in one command."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a message may speak of beside the problem: the host, its components, and where its runbook lies."""

    host: str = ""
    """How people know the host; empty where nobody said."""
    components: Mapping[str, Component] = field(default_factory=lambda: MappingProxyType({}))
    runbook: str | None = None
    """The begin of a URL to which the code of a finding is appended."""

    @classmethod
    def of(cls, config: Config) -> Site:
        """Return the site that `config` describes."""
        return cls(config.host, config.components, config.telling.runbook)

    def component(self, member: Member) -> Component | None:
        """Return the component of what a finding is about."""
        return None if member.component is None else self.components.get(member.component)


Remedy = Callable[[Sequence[Member], Site], Iterator[str]]
"""Yields what to do about members that all have the code for which it is meant: sentences, printable."""


def advice(members: Sequence[Member], site: Site) -> list[str]:
    """Return what to do about what is wrong, the worst of which comes first: a few sentences, with commands in them."""
    remedy = _remedy(members[0])
    return list(dict.fromkeys(remedy([each for each in members if _remedy(each) is remedy], site)))


def _remedy(member: Member) -> Remedy:
    code = member.finding.code
    match member.kind:
        case TargetKind.SELF:
            return _OF_ITSELF.get(code, _ask_itself)
        case TargetKind.COMPONENT:
            return _OF_ACTIONS.get(code, _ask_history)
        case _:
            return _OF_TARGETS.get(code, _ask_history)


def hurts(member: Member) -> str:
    """Return whom a problem hurts of which `member` is the worst, and that no client was seen to reject."""
    if member.kind is TargetKind.COMPONENT:
        return "nobody: what is in use stays in use"
    by_code = _HURT_AT_ENDPOINTS if member.kind is TargetKind.ENDPOINT else _HURT
    return by_code.get(member.finding.code, "nobody yet")


_HURT: Final[Mapping[Code, str]] = {
    Code.EXPIRED: "no client that is watched; each to which it is presented",
    Code.KEY_MISMATCH: "nobody until the server reads its files again; then it fails, or goes on without TLS",
    Code.KEY_EXPOSED: "nobody yet; whoever reads the key can pose as the server",
    Code.UNREADABLE: "nobody yet; the server may not be able to read it either",
    Code.NO_CERTIFICATE: "nobody until the server reads its files again; then it may fail",
    Code.DELIVERY_FAILED: "those who should have been told",
    Code.CLOCK_SUSPECT: "nobody; nothing is replaced without a person meanwhile",
    Code.DATABASE_DEGRADED: "nobody; what happens meanwhile is not remembered",
    Code.CONFIG_REJECTED: "nobody; the configuration that was read before holds",
}
_HURT_AT_ENDPOINTS: Final[Mapping[Code, str]] = {
    Code.UNREACHABLE: "whoever connects there",
    Code.NO_CERTIFICATE: "whoever connects there",
    Code.EXPIRED: "no client that is watched; others that validate",
    Code.NOT_SERVED: "nobody before the certificate that is served ends",
    Code.ENDPOINTS_DISAGREE: "nobody yet; what a client is presented depends on the address",
    Code.OBSOLETE_PROTOCOL: "nobody yet; who can change the traffic may read it",
    Code.WEAK_CIPHER: "nobody yet; who can record the traffic may read it",
}


def by_itself(member: Member) -> str:
    """Return what happens by itself to a problem of which `member` is the worst, where no policy does anything."""
    return _BY_ITSELF.get(member.finding.code, "nothing; somebody must act")


_BY_ITSELF: Final[Mapping[Code, str]] = {
    Code.UNREACHABLE: "certvigil goes on looking, and tells when there is an answer again",
    Code.UNREADABLE: "certvigil looks again as soon as something changes there",
    Code.NOT_YET_VALID: "it becomes valid at the time given above",
    Code.ENDPOINTS_DISAGREE: "nothing, unless a replacement is under way there",
    Code.APPROVAL_PENDING: "nothing before somebody approves",
    Code.CLOCK_SUSPECT: "certvigil goes on once the clock can be believed again",
    Code.DATABASE_DEGRADED: "certvigil goes on in memory, and tries again",
    Code.DELIVERY_FAILED: "messages that wait are tried again, for about a day; what was given up is not",
    Code.CONFIG_REJECTED: "nothing; somebody must put it right",
}


# Remedies


def _replace(members: Sequence[Member], site: Site) -> Iterator[str]:
    changeable, others = _apart(members, site)
    if changeable:
        names = " ".join(_word(each.name) for each in changeable[:_AT_ONCE])
        yield (
            "put the new certificate, its intermediates and its key into NEW.pem, then: "
            f"certvigil replace {names} --from NEW.pem"
        )
        if len(changeable) > _AT_ONCE:
            yield f"the same for {len(changeable) - _AT_ONCE} more components"
    yield from _by_hand(others, site, _replace_by_hand)


def _replace_by_hand(member: Member, site: Site) -> str:
    component = site.component(member)
    if component is not None:
        files = component.artefacts.files
        return f"{_put(files)}, and have the server of {_word(component.name)} read its files again"
    if member.kind is TargetKind.FILE:
        return f"put the new certificate into {_word(_where(member))}, and have the server that uses it read it again"
    return f"install the new certificate on the server that answers at {_word(_where(member))}"


def _put(files: Mapping[FileRole, str]) -> str:
    """Return which files to give what, for people who do by hand what certvigil may not."""
    what = {
        FileRole.CERTIFICATE: "certificate" if FileRole.CHAIN in files else "certificate and its intermediates",
        FileRole.KEY: "key",
        FileRole.CHAIN: "intermediates",
        FileRole.COMBINED: "certificate, its intermediates and its key",
        FileRole.KEYSTORE: "certificate, its intermediates and its key",
    }
    return "put " + " and ".join(f"the new {what[role]} into {_word(path)}" for role, path in files.items())


def _complete(members: Sequence[Member], site: Site) -> Iterator[str]:
    changeable, others = _apart(members, site)
    if changeable:
        names = " ".join(_word(each.name) for each in changeable[:_AT_ONCE])
        yield (
            "put the certificate and all its intermediates, in any order, into CHAIN.pem (the key may stay), then: "
            f"certvigil replace {names} --from CHAIN.pem"
        )
        if len(changeable) > _AT_ONCE:
            yield f"the same for {len(changeable) - _AT_ONCE} more components"
    yield from _by_hand(others, site, _complete_by_hand)


def _complete_by_hand(member: Member, site: Site) -> str:
    component = site.component(member)
    files = {} if component is None else component.artefacts.files
    for role in (FileRole.CHAIN, FileRole.COMBINED, FileRole.CERTIFICATE, FileRole.KEYSTORE):
        if role in files:
            return f"put the right intermediates into {_word(files[role])}, and have the server read it again"
    if member.kind is TargetKind.FILE:
        return f"put the right intermediates into {_word(_where(member))}, and have the server that uses it read it"
    return f"have the server that answers at {_word(_where(member))} present the right intermediates"


def _activate(members: Sequence[Member], site: Site) -> Iterator[str]:
    changeable, others = _apart(members, site)
    yield from (f"certvigil activate {_word(each.name)}" for each in changeable[:_MOST])
    if len(changeable) > _MOST:
        yield f"the same for {len(changeable) - _MOST} more components"
    yield from _by_hand(
        others, site, lambda member, _: f"reload or restart the server that answers at {_word(_where(member))}"
    )


def _look_there(members: Sequence[Member], site: Site) -> Iterator[str]:
    def see(member: Member, _: Site) -> str:
        where = _word(_where(member))
        return f"see whether the server runs and listens at {where}; to look again at once: certvigil check {where}"

    yield from _by_hand(members, site, see)


def _look_at_file(members: Sequence[Member], site: Site) -> Iterator[str]:
    yield from _by_hand(
        members, site, lambda member, _: f"see whether it is there and may be read: ls -l {_word(_where(member))}"
    )


def _close_key(members: Sequence[Member], site: Site) -> Iterator[str]:
    yield from _by_hand(members, site, lambda member, _: f"chmod 0640 {_word(_where(member))}")
    yield "where somebody may have read the key, replace it together with its certificate"


def _configure_tls(members: Sequence[Member], site: Site) -> Iterator[str]:
    yield from _by_hand(
        members,
        site,
        lambda member, _: f"have the server at {_word(_where(member))} offer only TLS 1.2 and 1.3, with modern ciphers",
    )


def _await_begin(members: Sequence[Member], site: Site) -> Iterator[str]:
    yield "see whether the clock of this host is right (date -u); if it is, use the former certificate until then"
    yield from _replace(members, site)


def _see_cause(members: Sequence[Member], site: Site) -> Iterator[str]:
    """Clients that reject say in their own sentence what would cure it."""
    changeable, _ = _apart(members, site)
    if not changeable:
        yield "do what is said above to cure it"
        return
    yield "do what is said above to cure it; where that takes another certificate or chain:"
    yield from _replace(members, site)


def _offer_again(members: Sequence[Member], _: Site) -> Iterator[str]:
    for each in members[:_MOST]:
        name = _word(each.component or each.target)
        yield f"put a right one into {_word(_where(each))} or remove this one; all that is wrong: certvigil plan {name}"


def _own_inbox(members: Sequence[Member], _: Site) -> Iterator[str]:
    for each in members[:_MOST]:
        yield f"see who owns it and who may write there: ls -la {_word(_where(each))}"


def _show_plan(members: Sequence[Member], _: Site) -> Iterator[str]:
    for each in members[:_MOST]:
        yield f"to see what it would do first: certvigil plan {_word(each.component or each.target)}"


def _see_actions(members: Sequence[Member], _: Site) -> Iterator[str]:
    for each in members[:_MOST]:
        yield f"to see what was done: certvigil history {_word(each.target)}, and certvigil audit"


def _thaw(members: Sequence[Member], _: Site) -> Iterator[str]:
    for each in members[:_MOST]:
        name = _word(each.component or each.target)
        yield f"see that its files and its service are right, then: certvigil recover --thaw {name}"


def _wake_actor(_members: Sequence[Member], _: Site) -> Iterator[str]:
    yield "see why the actor does not run: systemctl status certvigil-actor"


def _ask_history(members: Sequence[Member], _: Site) -> Iterator[str]:
    yield f"to see since when and what came before: certvigil history {_word(members[0].target)}"


def _ask_itself(_members: Sequence[Member], _: Site) -> Iterator[str]:
    yield "certvigil status"


def _set_clock(_members: Sequence[Member], _: Site) -> Iterator[str]:
    yield "see whether the clock is right and synchronised: timedatectl"


def _see_disk(_members: Sequence[Member], _: Site) -> Iterator[str]:
    yield "see whether the disk with the state directory is full or fails; which it is: certvigil config show"


def _try_channels(members: Sequence[Member], _: Site) -> Iterator[str]:
    for each in members[:_MOST]:
        name = _word(each.finding.subject)
        yield f"certvigil notify test {name}; then certvigil notify retry {name}, or drop {name}"


def _check_config(_members: Sequence[Member], _: Site) -> Iterator[str]:
    yield "put it right, then: certvigil config check && certvigil reload"


_OF_TARGETS: Final[Mapping[Code, Remedy]] = {
    **dict.fromkeys(
        (
            *(Code.EXPIRED, Code.EXPIRING, Code.UNTRUSTED_ISSUER, Code.SELF_SIGNED, Code.BAD_SIGNATURE),
            *(Code.INVALID_CA, Code.PATH_REJECTED, Code.HOSTNAME_MISMATCH, Code.COMMON_NAME_ONLY, Code.KEY_MISMATCH),
            *(Code.WEAK_KEY, Code.WEAK_SIGNATURE, Code.NO_CERTIFICATE),
        ),
        _replace,
    ),
    **dict.fromkeys(
        (Code.INCOMPLETE_CHAIN, Code.WRONG_ORDER, Code.UNNEEDED_CERTIFICATE, Code.ROOT_PRESENTED), _complete
    ),
    **dict.fromkeys((Code.NOT_SERVED, Code.ENDPOINTS_DISAGREE), _activate),
    Code.NOT_YET_VALID: _await_begin,
    Code.CLIENT_REJECTS: _see_cause,
    Code.UNREACHABLE: _look_there,
    Code.UNREADABLE: _look_at_file,
    Code.KEY_EXPOSED: _close_key,
    Code.OBSOLETE_PROTOCOL: _configure_tls,
    Code.WEAK_CIPHER: _configure_tls,
}
_OF_ACTIONS: Final[Mapping[Code, Remedy]] = {
    Code.CANDIDATE_REFUSED: _offer_again,
    Code.INBOX_UNSAFE: _own_inbox,
    Code.APPROVAL_PENDING: _show_plan,
    Code.ACTION_FAILED: _see_actions,
    Code.COMPONENT_FROZEN: _thaw,
    Code.UNREACHABLE: _wake_actor,
}
_OF_ITSELF: Final[Mapping[Code, Remedy]] = {
    Code.CLOCK_SUSPECT: _set_clock,
    Code.DATABASE_DEGRADED: _see_disk,
    Code.DELIVERY_FAILED: _try_channels,
    Code.CONFIG_REJECTED: _check_config,
}


# What they are made of


def _apart(members: Sequence[Member], site: Site) -> tuple[list[Component], list[Member]]:
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


def _by_hand(members: Sequence[Member], site: Site, say: Callable[[Member, Site], str]) -> Iterator[str]:
    sentences = list(dict.fromkeys(say(each, site) for each in members))
    yield from sentences[:_MOST]
    if len(sentences) > _MOST:
        yield f"the same in {len(sentences) - _MOST} more places"


def _where(member: Member) -> str:
    """Return the path or the address of what a finding is about."""
    return member.location or member.target


def _word(name: str) -> str:
    return shlex.quote(printable(name, 200))
