"""Answers to requests: the keys that were made for them, and whether a certificate for such a key is an answer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from actions.backup import BackupError
from actions.candidate import Candidate, Candidates, Flaw, Keyless, NoCandidate, PrivateKey, age_order
from actions.component_files import chain_on_disk
from actions.csr import WaitingRequest, why_no_answer
from actions.pending_keys import PendingKeys
from actions.prepare import Prepared
from config.text import Printable, listed, printable, sentence
from monitor.actor.context import ActorContext
from probes.certificate import Certificate
from probes.judge.client import leaf_first
from probes.judge.time import moment

_WITHOUT_KEY: Final = frozenset({Flaw.NO_KEY, Flaw.KEY_MISMATCH})
_NOTHING: Final = Printable("")


def pending_keys(context: ActorContext) -> PendingKeys:
    """Return the directory of the keys that were made for requests."""
    return PendingKeys(context.world, os.path.join(context.config.settings.actor.directory, "requests"))


def requests_of(context: ActorContext, components: Iterable[str]) -> Mapping[str, WaitingRequest]:
    """Return the requests that wait for these components, by their key; raises JournalError, OSError.

    A request of what is configured otherwise by now is answered by nothing: its certificate was for other components.
    """
    config, now = context.config, context.world.now()
    subjects = {name: set(config.members_of(name)) for name in config.subjects_of(components)}
    return {
        key: each
        for key, each in context.journal_state().requests.items()
        if now < each.until and subjects.get(each.subject) == set(each.components)
    }


def keys_of(context: ActorContext, requests: Iterable[WaitingRequest]) -> tuple[PrivateKey, ...]:
    """Return the keys that were made for these requests; raises OSError."""
    area = pending_keys(context)
    return tuple(key for each in requests if not each.installed and (key := area.key(each.key)) is not None)


def answering(
    context: ActorContext, made: Candidates | NoCandidate, requests: Mapping[str, WaitingRequest], names: Sequence[str]
) -> Candidates | NoCandidate:
    """Return the candidates without those that are for the key of a request and do not answer it.

    `requests` are those that wait for the components `names`, by their key. Raises OSError.
    """
    if not requests:
        return made
    if isinstance(made, NoCandidate):
        return replace(made, detail=made.detail + _waiting(requests)) if made.flaw in _WITHOUT_KEY else made
    usable: list[Candidate] = []
    keyless = [
        replace(each, why=replace(each.why, detail=each.why.detail + _waiting(requests)))
        if each.why.flaw in _WITHOUT_KEY
        else each
        for each in made.keyless
    ]
    for each in made.usable:
        request = requests.get(each.key.public_sha256)
        why = None if request is None else _why_not(context, each.certificate, request, names)
        if not why:
            usable.append(each if request is None or not answers(each.certificate, request) else _said(each, request))
        else:
            keyless.append(Keyless(each.certificate, each.chain, NoCandidate(Flaw.NO_ANSWER, why)))
    if not usable:
        return max(keyless, key=lambda each: age_order(each.certificate)).why
    return Candidates(tuple(usable), tuple(keyless))


def answers(leaf: Certificate, request: WaitingRequest) -> bool:
    """Whether a certificate for the key of a request answers the request."""
    return next(why_no_answer(leaf, request), None) is None


def answered_by(made: Prepared, requests: Mapping[str, WaitingRequest]) -> frozenset[str]:
    """Return the requests that the certificates of a plan answer, by their key."""
    leaves = {new for _, new in made.leaves.values()}
    found = ((leaf, requests.get(leaf.public_key_sha256())) for leaf in leaves)
    return frozenset(each.key for leaf, each in found if each is not None and answers(leaf, each))


def _said(answer: Candidate, request: WaitingRequest) -> Candidate:
    said = sentence("{} answers the request for {}", answer.certificate.title, request.sentence)
    return replace(answer, put_right=(*answer.put_right, said))


def _waiting(requests: Mapping[str, WaitingRequest]) -> Printable:
    """Return the end of a sentence that says which requests wait."""
    return sentence(
        "; it answers no request that waits: {}", listed((each.sentence for each in requests.values()), "; ")
    )


def _why_not(context: ActorContext, leaf: Certificate, request: WaitingRequest, names: Sequence[str]) -> Printable:
    """Say why a certificate is not the answer to the request with its key, a sentence; empty where it is.

    The certificate that is in place answers nothing, and is no wrong answer either: there is nothing to do with it.
    """
    why = listed(why_no_answer(leaf, request), "; ")
    if not why or (request.installed and all(leaf in in_place(context, name) for name in names)):
        return _NOTHING
    return sentence(
        "{} is for the key of the request of {} and does not answer it: {}; `certvigil csr --cancel {}` withdraws the "
        "request",
        leaf.title,
        moment(request.at),
        why,
        printable(request.key[:16]),
    )


def in_place(context: ActorContext, name: str) -> tuple[Certificate, ...]:
    """Return the server's certificate of a component on disk, the only one; raises OSError."""
    chain = chain_on_disk(context.config.components[name], context.world)
    return leaf_first(chain)[:1] if chain else ()


def known_certificates(context: ActorContext, names: Sequence[str]) -> frozenset[Certificate]:
    """Return the servers' certificates of these components on disk and in their backup sets; raises OSError."""
    found: set[Certificate] = set()
    for name in names:
        found.update(in_place(context, name))
        try:
            sets = context.backup_sets(name)
        except BackupError:
            continue
        for each in sets:
            try:
                chain = context.presented_with(each)
            except BackupError:
                # A damaged set gives nothing back.
                continue
            found.update(leaf_first(chain)[:1] if chain else ())
    return frozenset(found)
