"""What the actor itself knows of revocation: lists and OCSP answers that the CAs on its own paths have signed.

It takes them from the files that its configuration names, and from the daemon's cache. The name of a file there
follows from the certificate, so that the daemon's word for it is not needed. Whatever is in a file, a list counts where

- a CA on the actor's own path, which ends in a configured trust store, has signed it,
- its dates fit the actor's own clock,
- it is not older than the newest list of this CA and scope that the actor has ever gone by: a daemon that was taken
  over could give back an earlier list, in which a certificate was on hold.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from actions.world import World, write_all
from config.model import Config, Watch
from config.text import Log, printable
from monitor.state.revocation import issued_pairs
from monitor.state.trust import TrustContext
from probes.certificate import Certificate
from probes.container.registry import open_unsealed
from probes.file import SIZE_LIMIT
from probes.find import find
from probes.judge.client import View
from probes.ocsp import MOST_BYTES as MOST_OF_ANSWER
from probes.ocsp import OCSPAnswer, ocsp_answer
from probes.opening import open_for_others
from probes.revocation.crl import MOST_LISTS, ListScope, RevocationList, lists_in
from probes.revocation.evidence import NO_EVIDENCE, Evidence, answers_about
from probes.revocation.places import answer_file, answer_key, delta_urls, list_file, list_urls, responder_urls
from probes.revocation.status import why_not

log: Log = logging.getLogger("certvigil.actor")

_MOST_FILES: Final = 256
"""Of the configuration, and as many of the daemon."""
_MOST_RESPONDERS: Final = 4
"""Of one certificate."""
_MOST_SEEN: Final = 10_000
"""CAs and scopes whose newest list is remembered."""
_FILE: Final = "lists.json"

AgeOrder = tuple[int, int]
_turn: Final = threading.Lock()
"""Held from reading what was seen until it is written."""


def evidence_about(
    trust_context: TrustContext,
    world: World,
    chains: Iterable[Sequence[Certificate]],
    views: Iterable[View],
    now: float,
) -> Evidence:
    """Return the lists about the certificates of these chains that the actor goes by at Unix time `now`.

    Each of them proves itself, as the module says; the newest ones are remembered. Raises nothing: a list that cannot
    be had is none.
    """
    settings = trust_context.config.settings.revocation
    if settings.fetch is None and not settings.crls:
        return NO_EVIDENCE
    pairs = dict.fromkeys(issued_pairs(chains, views, tuple(trust_context.trusts.values()), now))
    if not pairs:
        return NO_EVIDENCE
    fetched = Evidence(tuple(dict.fromkeys(_of_the_daemon(trust_context.config, pairs))))
    at_hand = fetched.with_lists(_configured(settings.crls))
    issuers = dict.fromkeys(issuer for _, issuer in pairs)
    for each in issuers:
        if each.outline().subject in at_hand.crowded:
            log.warning("the files of revocation.crls hold too many lists in the name of %s", each.subject)
    # Verified before others have to wait.
    valid = {issuer: [each for each in at_hand.lists if not why_not(each, issuer, now)] for issuer in issuers}
    counting: dict[RevocationList, None] = {}
    with _turn:
        seen = _Seen(world, trust_context.config.settings.actor.directory)
        for issuer in issuers:
            for known in _newest(valid[issuer]):
                if seen.is_newest(known, issuer):
                    counting[known] = None
        answers = answers_about(
            (certificate.sha256, der)
            for (certificate, issuer), der, answer in _answers(trust_context.config, pairs)
            if not answer.why_no_proof(now) and seen.is_newest_answer(certificate, issuer, answer)
        )
        seen.keep()
    return Evidence(tuple(counting), answers=answers)


def _newest(valid: Sequence[RevocationList]) -> Iterator[RevocationList]:
    """Yield the newest lists of one CA for each scope: old ones lie beside new ones in many folders."""
    newest: dict[object, AgeOrder] = {}
    for each in valid:
        newest[_kind(each)] = max(each.age_order, newest.get(_kind(each), each.age_order))
    return (each for each in valid if each.age_order == newest[_kind(each)])


def _kind(known: RevocationList) -> tuple[ListScope, bool]:
    return known.scope, known.base is None


def _configured(patterns: tuple[str, ...]) -> Iterator[tuple[RevocationList, ...]]:
    """Yield the lists of each file that the configuration names; a file with more than `MOST_LISTS` has none."""
    if patterns:
        for target in find([Watch(patterns)]).targets[:_MOST_FILES]:
            ders = open_unsealed(_content(target.path, SIZE_LIMIT)).lists
            if len(ders) > MOST_LISTS:
                log.warning("passed over %s: it has more than %d revocation lists", printable(target.path), MOST_LISTS)
                continue
            yield lists_in(ders)


def _of_the_daemon(config: Config, pairs: Iterable[tuple[Certificate, Certificate]]) -> Iterator[RevocationList]:
    """Yield the lists that the daemon has fetched from where the certificates say that they are."""
    fetch = config.settings.revocation.fetch
    if fetch is None:
        return
    urls = dict.fromkeys(url for each, _ in pairs for url in (*list_urls(each), *delta_urls(each)))
    for url in list(urls)[:_MOST_FILES]:
        data = _content(list_file(config.settings.state_directory, url), fetch.largest * 1024 * 1024)
        yield from lists_in([data] if data else [])


def _answers(
    config: Config, pairs: Iterable[tuple[Certificate, Certificate]]
) -> Iterator[tuple[tuple[Certificate, Certificate], bytes, OCSPAnswer]]:
    """Yield the OCSP responses about certificates that the daemon was given by the responders that these name."""
    fetch = config.settings.revocation.fetch
    if fetch is None or not fetch.ocsp:
        return
    for pair in pairs:
        for url in responder_urls(pair[0])[:_MOST_RESPONDERS]:
            path = answer_file(config.settings.state_directory, answer_key(url, pair[0]))
            der = _content(path, MOST_OF_ANSWER)
            told = ocsp_answer(der, pair[0], (pair[1],)) if der else None
            if isinstance(told, OCSPAnswer):
                yield pair, der, told


def _content(path: str, most: int) -> bytes:
    """Return the content of a regular file; empty where it cannot be read, or is larger than `most` bytes."""
    try:
        with open(open_for_others(os.path.abspath(path)), "rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError):
        return b""
    return data if len(data) <= most else b""


class _Seen:
    """The newest list of each CA and scope that the actor has gone by, in a file of its directory."""

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

    def is_newest_answer(self, certificate: Certificate, issuer: Certificate, answer: OCSPAnswer) -> bool:
        """Whether no newer answer about a certificate was gone by; it is remembered then."""
        kind = hashlib.sha256(repr((issuer.public_key_sha256(), certificate.serial)).encode()).hexdigest()
        return self._is_newest(kind, (answer.this_update, answer.produced_at))

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
