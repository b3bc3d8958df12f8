"""What the actor itself knows of revocation: lists and OCSP answers that the CAs on its own paths have signed.

It takes them from the files that its configuration names, and from the daemon's cache. The name of a file there
follows from the certificate, so that the daemon's word for it is not needed; for a certificate that names no list, all
of its CA's lists there are taken. Whatever is in a file, a list counts where

- a CA on the actor's own path, which ends in a configured trust store, has signed it,
- its dates fit the actor's own clock,
- it is not older than the newest list of this CA and scope that the actor has ever gone by: a daemon that was taken
  over could give back an earlier list, in which a certificate was on hold.

OCSP answers, of the daemon and of handshakes, count alike: by their signer, their dates, and the newest one about that
certificate. Whoever stands between the actor and a server could staple an earlier one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from actions.world import World, write_all
from config.immutable import immutable
from config.model import Config, Watch
from config.text import Log, printable
from monitor.state.revocation import MOST_AT_ONCE, issued_pairs
from monitor.state.trust import TrustContext
from probes.certificate import Certificate
from probes.container.registry import open_unsealed
from probes.file import SIZE_LIMIT
from probes.find import find
from probes.judge.client import View
from probes.ocsp import MOST_BYTES as MOST_OF_ANSWER
from probes.ocsp import OCSPAnswer, ocsp_answer
from probes.opening import open_for_others
from probes.revocation.crl import MOST_BYTES, MOST_LISTS, ListScope, RevocationList, lists_in, signed_by
from probes.revocation.evidence import NO_EVIDENCE, Evidence, answers_about, sha256_of
from probes.revocation.places import answer_file, answer_key, delta_urls, list_file, list_urls, responder_urls
from probes.revocation.status import why_not

log: Log = logging.getLogger("certvigil.actor")

_MOST_FILES: Final = 10_000
"""Of the configuration, of all that one request reads; so are the next three."""
_MOST_READ: Final = 256 * 1024 * 1024
"""Bytes."""
_MOST_DECODED: Final = 10_000
"""Lists."""
_MOST_SIGNATURES: Final = MOST_AT_ONCE
"""Of lists in the name of a CA on the actor's own path."""
_MOST_FETCHED: Final = 256
"""Lists of the daemon, and as many at places that no certificate here names."""
_MOST_CACHED: Final = 4000
"""Files of the daemon in which those are looked for."""
_MOST_OF_CACHE: Final = 128 * 1024 * 1024
"""Bytes of those files."""
_MOST_REMEMBERED: Final = 1000
"""Files of the configuration that are read first, because a list in them counted before."""
_MOST_RESPONDERS: Final = 4
"""Of one certificate."""
_MOST_SEEN: Final = 10_000
"""CAs and scopes whose newest list is remembered, and certificates about whom the newest answer is."""
_FILE: Final = "lists.json"

AgeOrder = tuple[int, int]
_turn: Final = threading.Lock()
"""Held from reading what was seen until it is written."""
_useful: Final[dict[str, None]] = {}
"""Paths of those files, the one that was useful last at the end."""
_reached: Final[dict[tuple[str, ...], str]] = {}
"""By the patterns of a configuration: the last one of the other files that was read, where there are too many."""


def evidence_about(
    trust_context: TrustContext,
    world: World,
    chains: Iterable[Sequence[Certificate]],
    views: Iterable[View],
    now: float,
    *,
    staples: Iterable[tuple[Certificate, bytes]] = (),
) -> Evidence:
    """Return the lists and answers about the certificates of these chains that the actor goes by at Unix time `now`.

    Each of them proves itself, as the module says; the newest ones are remembered. `staples` are OCSP responses of
    handshakes, each with its certificate: those that are older than an answer before are told as outdated. Raises
    nothing: what cannot be had is not there.
    """
    settings = trust_context.config.settings.revocation
    stapled = tuple(dict.fromkeys(staples))
    if settings.fetch is None and not settings.crls and not stapled:
        return NO_EVIDENCE
    pairs = dict.fromkeys(issued_pairs(chains, views, tuple(trust_context.trusts.values()), now))
    if not pairs:
        return NO_EVIDENCE
    issuers = tuple(dict.fromkeys(issuer for _, issuer in pairs))
    at_hand = dict.fromkeys((*_of_the_daemon(trust_context.config, pairs), *_configured(settings.crls, issuers)))
    # Verified before others have to wait.
    valid = {issuer: [each for each in at_hand if not why_not(each, issuer, now)] for issuer in issuers}
    fetched = [each for each in _answers(trust_context.config, pairs) if not each.told.why_no_proof(now)]
    shown = [each for each in _of_handshakes(stapled, pairs) if not each.told.why_no_proof(now)]
    counting: dict[RevocationList, None] = {}
    with _turn:
        seen = _Seen(world, trust_context.config.settings.actor.directory)
        for issuer in issuers:
            for known in _newest(valid[issuer]):
                if seen.is_newest(known, issuer):
                    counting[known] = None
        # The newest of one look counts, whichever it is.
        newest = {each: seen.is_newest_answer(each) for each in sorted((*fetched, *shown), key=_age, reverse=True)}
        seen.keep()
    return Evidence(
        tuple(counting),
        answers=answers_about((each.about.sha256, each.der) for each in fetched if newest[each]),
        outdated=frozenset(sha256_of(each.der) for each in shown if not newest[each]),
    )


@immutable
class _Answer:
    """An OCSP response that its issuer stands behind."""

    about: Certificate
    issuer: Certificate
    der: bytes
    told: OCSPAnswer


def _age(answer: _Answer) -> AgeOrder:
    return answer.told.this_update, answer.told.produced_at


def _newest(valid: Sequence[RevocationList]) -> Iterator[RevocationList]:
    """Yield the newest lists of one CA for each scope: old ones lie beside new ones in many folders."""
    newest: dict[object, AgeOrder] = {}
    for each in valid:
        newest[_kind(each)] = max(each.age_order, newest.get(_kind(each), each.age_order))
    return (each for each in valid if each.age_order == newest[_kind(each)])


def _kind(known: RevocationList) -> tuple[ListScope, bool]:
    return known.scope, known.base is None


def _configured(patterns: tuple[str, ...], issuers: Collection[Certificate]) -> Iterator[RevocationList]:
    """Yield the lists that these issuers have signed, of the files that the configuration names.

    Lists that nobody has signed keep no other out, however many there are: files that were useful before have at most
    half of what a request may cost, and the next request goes on with the others where this one ends. A file with more
    than `MOST_LISTS` has none.
    """
    if not patterns:
        return
    found = {each.path for each in find([Watch(patterns)]).targets}
    first = [path for path in reversed(tuple(_useful)) if path in found]
    cost = _Cost()
    for path in cost.within(first, 0.5):
        found.remove(path)
        yield from _signed_in(path, issuers, cost)
    others = sorted(found)
    begin = bisect_right(others, _reached.get(patterns, ""))
    for path in cost.within((*others[begin:], *others[:begin])):
        _reached[patterns] = path
        yield from _signed_in(path, issuers, cost)


@dataclass(slots=True)
class _Cost:
    """What one request has read: others wait for it, and whoever writes the files decides what is in them."""

    files: int = 0
    bytes: int = 0
    lists: int = 0
    signatures: int = 0

    def within(self, paths: Sequence[str], share: float = 1.0) -> Iterator[str]:
        """Yield paths until that share of a request is spent; the last file is read to its end."""
        for number, path in enumerate(paths):
            spent = max(
                *(self.files / _MOST_FILES, self.bytes / _MOST_READ),
                *(self.lists / _MOST_DECODED, self.signatures / _MOST_SIGNATURES),
            )
            if spent >= share:
                left = len(paths) - number
                log.warning("read %d files of revocation lists; %d others wait for the next request", number, left)
                return
            yield path


def _signed_in(path: str, issuers: Collection[Certificate], cost: _Cost) -> Iterator[RevocationList]:
    """Yield the lists in a file that one of these issuers has signed."""
    content = _content(path, SIZE_LIMIT)
    ders = open_unsealed(content).lists
    cost.files += 1
    cost.bytes += len(content)
    cost.lists += min(len(ders), MOST_LISTS)
    if len(ders) > MOST_LISTS:
        log.warning("passed over %s: it has more than %d revocation lists", printable(path), MOST_LISTS)
        return
    for each in lists_in(ders):
        namesakes = [issuer for issuer in issuers if issuer.outline().subject == each.issuer_name]
        cost.signatures += len(namesakes)
        if any(signed_by(each, issuer) for issuer in namesakes):
            _note_useful(path)
            yield each


def _note_useful(path: str) -> None:
    _useful.pop(path, None)
    _useful[path] = None
    if len(_useful) > _MOST_REMEMBERED:
        del _useful[next(iter(_useful))]


def _of_the_daemon(config: Config, pairs: Iterable[tuple[Certificate, Certificate]]) -> Iterator[RevocationList]:
    """Yield the lists that the daemon has fetched from where the certificates say that they are.

    Where a certificate names no list, all lists of its CA count that the daemon has: others of that CA named them.
    """
    fetch = config.settings.revocation.fetch
    if fetch is None:
        return
    urls = dict.fromkeys(url for each, _ in pairs for url in (*list_urls(each), *delta_urls(each)))
    for url in list(urls)[:_MOST_FETCHED]:
        data = _content(list_file(config.settings.state_directory, url), fetch.largest * 1024 * 1024)
        yield from lists_in([data] if data else [])
    nameless = {each.outline().issuer for each, _ in pairs if not list_urls(each)}
    of_them = (each for each in _cached(config.settings.state_directory) if each.issuer_name in nameless)
    yield from islice(of_them, _MOST_FETCHED)


def _cached(state_directory: str) -> Iterator[RevocationList]:
    """Yield the lists in the daemon's cache, whatever certificate names them; the newest files come first."""
    try:
        with os.scandir(os.path.dirname(list_file(state_directory, ""))) as entries:
            named = [each for each in islice(entries, _MOST_CACHED) if each.name.endswith(".crl")]
            found = [(each.stat(follow_symlinks=False).st_mtime, each.path) for each in named]
    except OSError:
        return
    left = _MOST_OF_CACHE
    for _, path in sorted(found, reverse=True):
        data = _content(path, min(left, MOST_BYTES))
        left -= len(data)
        yield from lists_in([data] if data else [])


def _answers(config: Config, pairs: Iterable[tuple[Certificate, Certificate]]) -> Iterator[_Answer]:
    """Yield the OCSP responses about certificates that the daemon was given by the responders that these name."""
    fetch = config.settings.revocation.fetch
    if fetch is None or not fetch.ocsp:
        return
    for about, issuer in pairs:
        for url in responder_urls(about)[:_MOST_RESPONDERS]:
            path = answer_file(config.settings.state_directory, answer_key(url, about))
            yield from _told(_content(path, MOST_OF_ANSWER), about, issuer)


def _of_handshakes(
    staples: Iterable[tuple[Certificate, bytes]], pairs: Iterable[tuple[Certificate, Certificate]]
) -> Iterator[_Answer]:
    """Yield the OCSP responses of handshakes, by the issuers on the actor's own paths."""
    issuers: dict[Certificate, list[Certificate]] = {}
    for about, issuer in pairs:
        issuers.setdefault(about, []).append(issuer)
    for about, der in staples:
        for issuer in issuers.get(about, ()):
            yield from _told(der, about, issuer)


def _told(der: bytes, about: Certificate, issuer: Certificate) -> Iterator[_Answer]:
    told = ocsp_answer(der, about, (issuer,)) if der else None
    if isinstance(told, OCSPAnswer):
        yield _Answer(about, issuer, der, told)


def _content(path: str, most: int) -> bytes:
    """Return the content of a regular file; empty where it cannot be read, or is larger than `most` bytes."""
    try:
        with open(open_for_others(os.path.abspath(path)), "rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError):
        return b""
    return data if len(data) <= most else b""


class _Seen:
    """The newest list of each CA and scope that the actor has gone by, and the newest answer about each certificate.

    They are in a file of its directory.
    """

    def __init__(self, world: World, directory: str) -> None:
        self._world = world
        self._directory = directory
        self._path = os.path.join(directory, _FILE)
        self._newest = dict(self._read())
        self._changed = False

    def is_newest(self, known: RevocationList, issuer: Certificate) -> bool:
        """Whether no newer list of its kind was gone by; it is remembered then."""
        kind = hashlib.sha256(repr((issuer.public_key_sha256(), *_kind(known))).encode()).hexdigest()
        if not self._is_newest(kind, known.age_order):
            log.warning("passed over a revocation list of %s that is older than one before", known.issuer)
            return False
        return True

    def is_newest_answer(self, answer: _Answer) -> bool:
        """Whether no newer answer about a certificate was gone by; it is remembered then."""
        kind = hashlib.sha256(repr((answer.issuer.public_key_sha256(), answer.about.serial)).encode()).hexdigest()
        if not self._is_newest(kind, _age(answer)):
            log.info("passed over an OCSP answer about %s that is older than one before", answer.about.title)
            return False
        return True

    def _is_newest(self, kind: str, order: AgeOrder) -> bool:
        before = self._newest.get(kind)
        if before is not None and order < before:
            return False
        if before != order:
            # The last ones are kept, where there are too many.
            self._newest.pop(kind, None)
            self._newest[kind] = order
            self._changed = True
        return True

    def keep(self) -> None:
        """Write down what was seen; what cannot be written is only logged."""
        if not self._changed:
            return
        newest = dict(list(self._newest.items())[-_MOST_SEEN:])
        beside = f"{self._path}.new"
        try:
            if os.path.lexists(beside):
                self._world.unlink(beside)
            descriptor = self._world.create(beside)
            try:
                write_all(self._world, descriptor, 0, json.dumps(newest).encode())
                self._world.sync(descriptor)
            finally:
                self._world.close(descriptor)
            self._world.rename(beside, self._path)
            self._world.sync_directory(self._directory)
        except OSError as error:
            why = printable(error.strerror or str(error), 200)
            log.warning("cannot remember the newest revocation lists: %s", why)

    def _read(self) -> Mapping[str, AgeOrder]:
        try:
            found = json.loads(self._world.read(self._path)[1])
            return {str(kind): (int(update), int(number)) for kind, (update, number) in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError):
            log.warning("cannot read which revocation lists were the newest: %s", printable(self._path))
            return {}
