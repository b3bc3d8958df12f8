"""The state of every target as Prometheus text (exposition format 0.0.4), made again only where it changed.

Targets and certificates are spread over shards by a hash of their names. A shard keeps its text, compressed, until
one of its members changes; so a change costs next to nothing at its time, and the cost of a scrape depends on the
changes since the last one.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from config.vocabulary import ClientCertificateUse, Code
from monitor.metrics.family import Family, escape
from monitor.metrics.piece import PAUSE, Piece
from monitor.metrics.x509_cert import FileCertificates, ended
from monitor.metrics.x509_crl import OF_LISTS, stale
from monitor.state.target import TargetState
from probes.certificate import Certificate
from probes.judge.tls import SUPPORTED
from probes.observation import Presented
from probes.ocsp import OCSPAnswer, staple_of
from probes.tls.support import SupportedVersion

SHARDS: Final = 128

Member = TypeVar("Member")


def _target(state: TargetState) -> str:
    return f'target="{escape(state.target)}"'


def _not_after(state: TargetState) -> Iterator[tuple[str, object]]:
    target = _target(state)
    for position, each in enumerate(state.presented):
        if each.not_after is not None:
            yield f'{target},position="{position}"', each.not_after


def _not_before(state: TargetState) -> Iterator[tuple[str, object]]:
    if state.presented and state.presented[0].not_before is not None:
        yield _target(state), state.presented[0].not_before


def _expiry(state: TargetState) -> Iterator[tuple[str, object]]:
    if state.expiry is not None:
        yield _target(state), state.expiry


def _presented(state: TargetState) -> Iterator[tuple[str, object]]:
    target = _target(state) + _of_component(state)
    for position, each in enumerate(state.presented):
        yield f'{target},position="{position}",sha256="{each.sha256}"', 1


def _of_component(state: TargetState) -> str:
    # Without a component, the label is not there, which is the same as an empty one.
    return f',component="{escape(state.component)}"' if state.component else ""


def _findings(state: TargetState) -> Iterator[tuple[str, object]]:
    if state.findings:
        target = _target(state)
        counts = Counter((code, raised.finding.severity) for (code, _), raised in state.findings.items())
        for (code, severity), count in counts.items():
            yield f'{target},code="{code}",severity="{severity}"', count


def _pending(state: TargetState) -> Iterator[tuple[str, object]]:
    if state.pending:
        target = _target(state)
        for code, count in Counter(code for code, _ in state.pending).items():
            yield f'{target},code="{code}"', count


def _accepts(state: TargetState) -> Iterator[tuple[str, object]]:
    accepted = {edge.client: edge.accepted for edge in state.edges}
    for client, each in accepted.items():
        yield f'client="{escape(client)}",{_target(state)}', int(each)


def _negotiated(state: TargetState) -> Iterator[tuple[str, object]]:
    target = _target(state)
    for version, cipher, group in dict.fromkeys(_negotiation(each) for each in _answering(state)):
        yield f'{target},protocol="{escape(version)}",cipher="{escape(cipher)}",group="{escape(group)}"', 1


def _negotiation(presented: Presented) -> tuple[str, str, str]:
    return presented.version, presented.cipher, presented.group


def _client_certificate(state: TargetState) -> Iterator[tuple[str, object]]:
    uses = dict.fromkeys(each.client_certificate for each in _answering(state))
    for use in uses:
        if use is not ClientCertificateUse.NOT_REQUESTED:
            yield f'{_target(state)},use="{use}"', 1


def _staple_status(state: TargetState) -> Iterator[tuple[str, object]]:
    for status, verified in dict.fromkeys((each.status, each.signer is not None) for each in _staples(state)):
        yield f'{_target(state)},status="{status}",verified="{str(verified).lower()}"', 1


def _staple_end(state: TargetState) -> Iterator[tuple[str, object]]:
    ends = [each.next_update for each in _staples(state) if each.next_update is not None]
    if ends:
        yield _target(state), min(ends)


def _staples(state: TargetState) -> Iterator[OCSPAnswer]:
    for each in _answering(state):
        staple = staple_of(each, state.issuers)
        if isinstance(staple, OCSPAnswer):
            yield staple


def _negotiated_allowed(state: TargetState) -> Iterator[tuple[str, object]]:
    if any(each.version for each in _answering(state)):
        against = any(code in _OF_NEGOTIATION and subject != SUPPORTED for code, subject in state.findings)
        yield _target(state), int(not against)


def _supported(state: TargetState) -> Iterator[tuple[str, object]]:
    return _taken(state, "cipher", lambda one: one.suites)


def _supported_groups(state: TargetState) -> Iterator[tuple[str, object]]:
    return _taken(state, "group", lambda one: one.groups)


def _taken(
    state: TargetState, label: str, taken: Callable[[SupportedVersion], Iterable[str]]
) -> Iterator[tuple[str, object]]:
    """Yield a series for each thing that a server takes with a version of TLS."""
    if state.supported is not None:
        target = _target(state)
        for one in state.supported.versions:
            for each in taken(one):
                yield f'{target},protocol="{escape(one.version)}",{label}="{escape(each)}"', 1


def _supported_allowed(state: TargetState) -> Iterator[tuple[str, object]]:
    if state.supported is not None:
        yield _target(state), int(not any(subject == SUPPORTED for _, subject in state.findings))


def _supported_asked(state: TargetState) -> Iterator[tuple[str, object]]:
    if state.supported is not None:
        yield _target(state), f"{state.supported.at:.3f}"


_OF_NEGOTIATION: Final = frozenset({Code.OBSOLETE_PROTOCOL, Code.WEAK_CIPHER})


def _answering(state: TargetState) -> tuple[Presented, ...]:
    """Return the addresses of an endpoint that answered at the last look."""
    return state.addresses if state.failure is None else ()


def _up(state: TargetState) -> Iterator[tuple[str, object]]:
    if state.up is not None:
        yield _target(state), int(state.up)


def _info(state: TargetState) -> Iterator[tuple[str, object]]:
    component, location = escape(state.component or ""), escape(state.location)
    chosen = "".join(f',{name}="{escape(text)}"' for name, text in state.labels)
    yield f'{_target(state)},kind="{state.kind}",component="{component}",location="{location}"{chosen}', 1


def _last_look(state: TargetState) -> Iterator[tuple[str, object]]:
    if state.last_look is not None:
        yield _target(state), f"{state.last_look:.3f}"


def _certificate(certificate: Certificate) -> Iterator[tuple[str, object]]:
    subject, issuer = escape(certificate.subject), escape(certificate.issuer)
    labels = (
        f'sha256="{certificate.sha256}",subject="{subject}",issuer="{issuer}",serial="{certificate.serial}",'
        f'key="{certificate.key}",signature_hash="{certificate.signature_hash}",'
        f'signature="{certificate.signature}",ca="{str(certificate.is_ca).lower()}"'
    )
    yield labels, 1


OF_TARGETS: Final[tuple[Family[TargetState], ...]] = (
    Family("certvigil_target_info", "Targets that are looked at, with the labels of the configuration.", _info),
    Family("certvigil_target_up", "Whether the last look gave facts.", _up),
    Family(
        "certvigil_target_expiry_timestamp_seconds",
        "Earliest end on the verified path; without verification, of the presented certificates. Alert on this.",
        _expiry,
    ),
    Family(
        "certvigil_not_after_timestamp_seconds",
        "End of the validity of each certificate as presented; position 0 is the first.",
        _not_after,
    ),
    Family(
        "certvigil_not_before_timestamp_seconds",
        "Begin of the validity of the first certificate presented.",
        _not_before,
    ),
    Family("certvigil_presented_info", "Which certificates are presented.", _presented),
    Family("certvigil_findings", "How many things are wrong.", _findings),
    Family(
        "certvigil_findings_pending",
        "How many things may be wrong, and are told only when they stay: a state between two writes, or two looks.",
        _pending,
    ),
    Family(
        "certvigil_negotiated_info",
        "Which protocol versions, ciphers and groups the addresses of an endpoint negotiated at the last look.",
        _negotiated,
    ),
    Family(
        "certvigil_negotiated_allowed",
        "Whether all that an endpoint negotiated is allowed, by the configured list, or without one by RFC 9325.",
        _negotiated_allowed,
    ),
    Family(
        "certvigil_supported_info",
        "Which protocol versions and ciphers an endpoint takes, where the configuration has it asked for all of them.",
        _supported,
    ),
    Family(
        "certvigil_supported_group_info", "Which groups an endpoint takes for its key exchanges.", _supported_groups
    ),
    Family(
        "certvigil_supported_allowed",
        "Whether all that an endpoint takes is allowed, by the list of the configuration, or without one by RFC 9325.",
        _supported_allowed,
    ),
    Family(
        "certvigil_supported_last_inquiry_timestamp_seconds",
        "When an endpoint was last asked for all that it takes, and answered.",
        _supported_asked,
    ),
    Family("certvigil_client_accepts", "Whether a client accepts the presented chain.", _accepts),
    Family(
        "certvigil_client_certificate_info",
        "What came of the server's request for a certificate of the client, where it made one.",
        _client_certificate,
    ),
    Family(
        "certvigil_staple_info",
        "What OCSP responses in the handshake say of the certificate, and whether its issuer signed them.",
        _staple_status,
    ),
    Family(
        "certvigil_staple_next_update_timestamp_seconds",
        "When the first of these responses is out of date.",
        _staple_end,
    ),
)
OF_LOOKS: Final = Family(
    "certvigil_target_last_look_timestamp_seconds", "When the target was last looked at.", _last_look
)
"""Apart, since it changes at every look, and nothing else does."""
OF_CERTIFICATES: Final[tuple[Family[Certificate], ...]] = (
    Family("certvigil_certificate_info", "Facts of each certificate that some target presents.", _certificate),
)


@dataclass(slots=True)
class _Shard(Generic[Member]):
    """Some members, and their samples of each family; None where a member changed since those were made."""

    members: dict[str, Member] = field(default_factory=dict)
    pieces: tuple[Piece, ...] | None = None


class _Shards(Generic[Member]):
    """All members of some families."""

    def __init__(self, families: tuple[Family[Member], ...]) -> None:
        self._families = families
        self._heads = tuple(family.head() for family in families)
        self.shards: tuple[_Shard[Member], ...] = tuple(_Shard() for _ in range(SHARDS))

    def of(self, name: str) -> _Shard[Member]:
        """Return the shard of the member called `name`."""
        return self.shards[zlib.crc32(name.encode()) % SHARDS]

    def pieces(self) -> Iterator[Piece]:
        """Yield every family; each shard is shown as it was at one moment, in all families."""
        made: list[tuple[Piece, ...]] = []
        for shard in self.shards:
            if not shard.members:
                continue
            pieces = shard.pieces
            if pieces is None:
                members = shard.members.values()
                pieces = shard.pieces = tuple(family.lines(members) for family in self._families)
                yield PAUSE
            made.append(pieces)
        for index, head in enumerate(self._heads):
            yield head
            for pieces in made:
                if pieces[index] is not PAUSE:
                    yield pieces[index]


class Page:
    """The metrics of every target and of every certificate that one presents."""

    def __init__(
        self,
        *,
        x509_cert: FileCertificates | None = None,
        interval: Callable[[TargetState], float | None] = lambda _known: None,
    ) -> None:
        """Show certificates in files also as `x509_cert` does, where it is given.

        `interval` returns within how many seconds a target is due to be looked at again; None where it never is.
        """
        self._x509_cert = x509_cert
        self._interval = interval
        intervals = Family(
            "certvigil_target_interval_seconds",
            "Longest time that the configuration leaves between two looks at the target.",
            self._intervals,
        )
        families = (*OF_TARGETS, intervals)
        self._targets = _Shards((*families, *x509_cert.families, *OF_LISTS) if x509_cert is not None else families)
        self._certificates = _Shards(OF_CERTIFICATES)
        self._presenters: dict[str, int] = {}
        self._look_head = OF_LOOKS.head()

    def update(self, state: TargetState) -> None:
        """Show `state` in place of the earlier state of its target."""
        shard = self._targets.of(state.target)
        before = shard.members.get(state.target)
        shard.members[state.target] = state
        if before is None or self._shown(before) != self._shown(state):
            shard.pieces = None
            self._present(before.presented if before else (), state.presented)
            self._tell_files(before, state)

    def remove(self, target: str) -> None:
        """Show nothing of a target any more."""
        shard = self._targets.of(target)
        before = shard.members.pop(target, None)
        if before is not None:
            shard.pieces = None
            self._present(before.presented, ())
            self._tell_files(before, None)

    def reconfigure(self, interval: Callable[[TargetState], float | None] | None = None) -> None:
        """Make the text of all targets anew, with other intervals where these are given."""
        self._interval = interval or self._interval
        for shard in self._targets.shards:
            shard.pieces = None

    def _tell_files(self, before: TargetState | None, after: TargetState | None) -> None:
        if self._x509_cert is not None:
            for other in self._x509_cert.changed(before, after):
                self._targets.of(other).pieces = None

    def _intervals(self, state: TargetState) -> Iterator[tuple[str, object]]:
        seconds = self._interval(state)
        if seconds is not None:
            yield _target(state), f"{seconds:g}"

    def _present(self, before: tuple[Certificate, ...], after: tuple[Certificate, ...]) -> None:
        if before == after:
            return
        for each in set(after):
            presenters = self._presenters.get(each.sha256, 0)
            self._presenters[each.sha256] = presenters + 1
            if not presenters:
                shard = self._certificates.of(each.sha256)
                shard.members[each.sha256] = each
                shard.pieces = None
        for each in set(before):
            self._presenters[each.sha256] -= 1
            if not self._presenters[each.sha256]:
                del self._presenters[each.sha256]
                shard = self._certificates.of(each.sha256)
                del shard.members[each.sha256]
                shard.pieces = None

    def pieces(self) -> Iterator[Piece]:
        """Yield the whole page; between two steps, targets may change."""
        yield from self._targets.pieces()
        yield from self._certificates.pieces()
        yield self._look_head
        for shard in self._targets.shards:
            if shard.members:
                yield OF_LOOKS.lines(shard.members.values())
        for family in self._x509_cert.relative_to(time.time()) if self._x509_cert is not None else ():
            yield family.head()
            for shard in self._targets.shards:
                yield family.lines(shard.members.values())

    def _shown(self, state: TargetState) -> tuple[object, ...]:
        """Return the state on which the cached samples depend."""
        return (
            state.presented,
            state.findings,
            state.pending,
            state.edges,
            state.expiry,
            [(*_negotiation(each), each.client_certificate, each.staple) for each in _answering(state)],
            state.up,
            state.kind,
            state.component,
            state.location,
            (state.supported, state.supported and state.supported.at),
            state.labels,
            (ended(state), state.failure, state.last_look is None, state.lists, stale(state))
            if self._x509_cert is not None
            else None,
        )
