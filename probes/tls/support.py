"""Everything that a server takes: versions, cipher suites and groups, found out by asking, without I/O.

The classic way: all is offered, the choice is taken away, and the rest is offered again until the server turns away.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Final

from config.immutable import immutable
from config.text import Printable, harmless, sentence
from config.vocabulary import TLSVersion
from probes.tls.hello import Choice, Chosen, ClientProposal, Unclear
from probes.tls.names import (
    CURVES,
    GROUPS,
    HYBRID_GROUPS,
    SIGNATURES,
    SUITES,
    SUITES_1_3,
    VERSIONS,
    is_on_curve,
)

_AT_ONCE: Final = 120
"""Suites of one ClientHello: some old servers fail with more than 128."""
_RARE: Final = re.compile(r"PSK|ARIA|CAMELLIA|SEED|IDEA|EXP|RC2|NULL|DSS|OLD|(^|-)(A?EC)?A?DH-")


@immutable
class SupportedVersion:
    """A version that a server takes, and with it what."""

    version: str
    """As OpenSSL spells it, such as `TLSv1.3`; or `SSLv3`."""
    suites: tuple[str, ...]
    """In OpenSSL's spelling, in the order in which the server chose them."""
    groups: tuple[str, ...] = ()
    """For the key exchange; in this order, too."""
    prime_bits: int = 0
    """The shortest prime of a Diffie-Hellman exchange that is in no named group; 0 where there is none."""
    signatures: tuple[str, ...] = ()
    """Schemes by which it signed, of TLS 1.2 and 1.3: older versions do not say it."""


@immutable
class Supported:
    """Everything that one address of an endpoint takes."""

    address: Printable
    versions: tuple[SupportedVersion, ...]
    """Newest first."""
    unclear: tuple[Printable, ...] = ()
    """Why it may take more than that, each a sentence's end whose subject is the server; empty where that is all."""
    connections: int = field(default=0, compare=False)
    """For which the server was asked."""
    at: float = field(default=0.0, compare=False)
    """Unix time at which it was asked."""

    @property
    def hybrid_groups(self) -> tuple[str, ...]:
        """The groups of post-quantum cryptography."""
        return tuple(dict.fromkeys(each for one in self.versions for each in one.groups if each in _HYBRID))

    @property
    def is_classical_fallback(self) -> bool:
        """Whether a client without post-quantum cryptography gets a connection, too."""
        return any(one.version != TLSVersion.TLS1_3 or not _HYBRID.issuperset(one.groups) for one in self.versions)


_HYBRID: Final = frozenset(HYBRID_GROUPS.values())

Questions = Generator[ClientProposal, Choice, tuple[tuple[SupportedVersion, ...], tuple[Printable, ...]]]
"""Yields what is to be offered, takes the choice of the server, returns what it takes and why that may not be all."""
_Part = Generator[ClientProposal, Choice, SupportedVersion | None]


def questions() -> Questions:
    """Ask a server for everything, each version by itself, the newest first."""
    versions: list[SupportedVersion] = []
    unclear: list[Printable] = []
    for version in reversed(tuple(VERSIONS)):
        asked = _OneVersion(version)
        found = yield from asked.questions()
        if found is not None:
            versions.append(found)
        if asked.unclear is not None:
            unclear.append(sentence("{}, when asked for {}", asked.unclear, harmless(version)))
    return tuple(versions), tuple(unclear)


def with_signature(supported: Supported, scheme: int | None) -> Supported:
    """Return the same with the scheme by which a server signed with its newest version, where it is known."""
    if scheme is None or not supported.versions:
        return supported
    newest, *others = supported.versions
    return replace(supported, versions=(replace(newest, signatures=(_scheme(scheme),)), *others))


def _scheme(number: int) -> str:
    return SIGNATURES.get(number, f"0x{number:04x}")


class _OneVersion:
    """What is found out of one version.

    Each choice takes something away, and any other answer ends a row of questions: no server makes them endless.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._modern = version == TLSVersion.TLS1_3
        self._suites: list[int] = []
        self._groups: list[int] = []
        self._signatures: list[int] = []
        self._primes: list[int] = []
        self.unclear: Printable | None = None
        """Why not all is found out; a clause without its subject, which is the server."""

    def questions(self) -> _Part:
        known = SUITES_1_3 if self._modern else SUITES
        groups = tuple(GROUPS if self._modern else CURVES)
        for batch in _batches(known):
            if (yield from self._ask_for_suites(batch, groups)):
                break
        if not self._suites:
            return None
        yield from self._ask_for_groups(groups)
        return SupportedVersion(
            self._version,
            tuple(known[each] for each in self._suites),
            tuple(GROUPS[each] for each in dict.fromkeys(self._groups)),
            min(self._primes, default=0),
            tuple(map(_scheme, dict.fromkeys(self._signatures))),
        )

    def _ask_for_suites(self, batch: Sequence[int], groups: tuple[int, ...]) -> Generator[ClientProposal, Choice, bool]:
        """Return whether nothing more can be said of the version."""
        left = list(batch)
        while left:
            chosen = yield from self._ask(ClientProposal(self._version, tuple(left), groups))
            if chosen is None:
                return self.unclear is not None
            if chosen.suite not in left:
                # An older version, too: there it chooses among the same suites.
                return True
            left.remove(chosen.suite)
            self._suites.append(chosen.suite)
        return False

    def _ask_for_groups(self, groups: Sequence[int]) -> Generator[ClientProposal, Choice, None]:
        suites = tuple(each for each in self._suites if self._modern or is_on_curve(SUITES[each]))
        if not suites:
            return
        found: list[int] = []
        left, beside = list(groups), False
        while left and self.unclear is None:
            # An EC key is taken before TLS 1.3 only where its own curve is offered, too: so that stays, at the end.
            kept = tuple(found) if beside else ()
            chosen = yield from self._ask(ClientProposal(self._version, suites, (*left, *kept)))
            group = None if chosen is None else chosen.group
            if group is not None and group in left:
                left.remove(group)
                found.append(group)
            elif beside or self._modern or not found:
                return
            else:
                beside = True

    def _ask(self, proposal: ClientProposal) -> Generator[ClientProposal, Choice, Chosen | None]:
        """Return the choice, where it is of this version, and note all that it says."""
        choice = yield proposal
        if isinstance(choice, Unclear):
            self.unclear = choice.why
        if not isinstance(choice, Chosen) or choice.version != VERSIONS[self._version]:
            return None
        if choice.group is not None and choice.group in GROUPS:
            self._groups.append(choice.group)
        if choice.signature is not None:
            self._signatures.append(choice.signature)
        if choice.prime_bits:
            self._primes.append(choice.prime_bits)
        return choice


def _batches(suites: Mapping[int, str]) -> Iterator[Sequence[int]]:
    """Yield all suites, so many at once, those first that most servers take."""
    ordered = sorted(suites, key=lambda each: _RARE.search(suites[each]) is not None)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]
