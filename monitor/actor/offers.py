"""Offers of those without rights: taking one over the socket, and the candidates that all of them make up."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, NamedTuple

from actions.artefact import pem
from actions.candidate import Candidate, Candidates, Flaw, Given, NoCandidate, holds_key, read_certificates
from actions.csr import WaitingRequest
from actions.inbox import Inbox, TakenFile
from actions.journal import Event
from actions.journal_state import ActionRequest
from actions.offered import MOST_BYTES, Offer, Offers, Provenance, Way, a_key, of_user, open_offers, together
from actions.prepare import Prepared
from actions.world import Metadata, World, remove, write_new
from config.model import Config
from config.text import Printable, printable, sentence
from monitor.actor.answers import answers, in_place
from monitor.actor.context import ActorContext
from monitor.actor.documents import cannot
from monitor.actor.request import Document, Request
from monitor.actor.work import Work
from monitor.dialect import iso
from probes.certificate import Certificate
from probes.judge.client import judge_chain
from probes.judge.time import moment

MOST_CERTIFICATES: Final = 16
"""Certificates that one user offers for one component or group: each pair of them may have to be compared."""
MOST_OVER_SOCKET: Final = 4
"""Offers of one user for one component or group: another one takes the place of that user's oldest."""

_MOST_REMARKS: Final = 10
"""Offers that are not used, of which a plan tells each."""


def directory_of_socket(config: Config, subject: str) -> str:
    """Return where the offers that came over the socket lie, which only the actor's user can look into."""
    return os.path.join(config.settings.actor.directory, "offers", subject)


def directory_of_site(config: Config, subject: str) -> str | None:
    """Return where others may put offers; None where the site has no such directory."""
    where = config.settings.actor.offered_directory
    return None if where is None else os.path.join(where, subject)


def take_offer(work: Work, request: Request) -> Document:
    """Keep certificates that somebody has brought for one component or group; raises JournalError, OSError.

    1. Write them under a temporary name, and give the file to the user who brought them, as its provenance.
    2. Rename it: from here on it is an offer.
    3. Note it in the journal. A crash before that leaves an offer that the journal does not have; its owner is known.
    """
    context, world = work.context, work.context.world
    subjects = context.config.subjects_of(request.components)
    if len(subjects) != 1:
        return cannot(Printable("an offer is for one component, or for one group"))
    found = examined(() if work.files is None else work.files.files)
    if isinstance(found, str):
        return cannot(found)
    uid = work.uid
    directory = directory_of_socket(context.config, subjects[0])
    _make(world, context.config.settings.actor.directory, directory)
    data = pem(found)
    name = f"{hashlib.sha256(data).hexdigest()[:32]}-{uid}.pem"
    path, temporary = os.path.join(directory, name), os.path.join(directory, f".{name}.new")
    for each in world.names(directory):
        # A killed process left it; nobody else takes an offer in this turn.
        if each.startswith("."):
            remove(world, os.path.join(directory, each))
    # 1
    # The user cannot come to it; the actor reads it as the group, whatever its rights on files of others are.
    try:
        write_new(world, temporary, data, Metadata(0o640, uid, os.getegid()))
    except OSError:
        with suppress(OSError):
            remove(world, temporary)
        raise
    # 2
    world.rename(temporary, path)
    world.sync_directory(directory)
    mine = [each for each in of_user(world, directory, uid) if each.endswith(".pem") and each != path]
    for each in mine[: max(0, len(mine) - MOST_OVER_SOCKET + 1)]:
        remove(world, each)
    # 3
    shas = [each.sha256 for each in found]
    group, components = context.config.group_of_all(request.components), list(request.components)
    of = {"group": group} if group else {}
    work.note(Event.OFFERED, components, components=components, by=work.by, certificates=shas, **of)
    return {"offered": {"by": work.by, "at": iso(world.now()), "way": Way.SOCKET, "certificates": shas}}


def _make(world: World, root: str, directory: str) -> None:
    world.make_directory(os.path.dirname(directory))
    world.make_directory(directory)
    world.sync_directory(os.path.dirname(directory))
    world.sync_directory(root)


def examined(files: Sequence[Given]) -> Sequence[Certificate] | Printable:
    """Return the certificates that are offered, or why that is no offer, a sentence."""
    for each in files:
        if holds_key(each):
            return sentence("{} is not taken: {}", printable(each.name), a_key())
    found = read_certificates(files)
    if isinstance(found, NoCandidate):
        return sentence("{}: {}", found.flaw, printable(found.detail, 500))
    if len(found) > MOST_CERTIFICATES:
        return sentence("an offer has at most {} certificates, not {}", MOST_CERTIFICATES, len(found))
    if sum(len(each.der) for each in found) > MOST_BYTES:
        return sentence("an offer has at most {} bytes of certificates", MOST_BYTES)
    return found


class OfferedCandidates(NamedTuple):
    """The candidates among the offers."""

    candidates: Candidates | NoCandidate
    inboxes: tuple[Inbox, ...]
    brought: Mapping[str, Provenance]
    """Who offered a certificate, by its SHA-256."""
    remarks: tuple[str, ...]
    """Offers that are not used, and why: sentences, printable."""


def offers_for(context: ActorContext, components: Sequence[str]) -> Offers:
    """Return the offers for these components; raises OSError."""
    found: list[Offers] = []
    for subject in context.config.subjects_of(components):
        found.append(open_offers(context.world, directory_of_socket(context.config, subject), Way.SOCKET))
        if (directory := directory_of_site(context.config, subject)) is not None:
            found.append(open_offers(context.world, directory, Way.DIRECTORY))
    return together(found)


def candidates_offered(
    context: ActorContext,
    action: ActionRequest,
    requests: Mapping[str, WaitingRequest],
    read: Callable[[tuple[Given, ...]], Candidates | NoCandidate],
) -> OfferedCandidates | None:
    """Return the candidates among the offers for these components; None where there are no offers. Raises OSError.

    Where a candidate answers a request and its path leads to a trust store, the others are passed over: nobody keeps an
    answer out by an offer that looks newer. An answer on which a person must decide stands before the rest, too.
    """
    offers = offers_for(context, action.components)
    remarks: list[str] = list(offers.troubles)
    usable: dict[str, tuple[Candidate, Provenance]] = {}
    flaws: list[NoCandidate] = []
    for bundle in offers.bundles:
        certificates = read_certificates(bundle.files)
        if isinstance(certificates, tuple) and len(certificates) > MOST_CERTIFICATES:
            more = f"{len(certificates)} certificates, more than {MOST_CERTIFICATES}"
            made: Candidates | NoCandidate = NoCandidate(Flaw.TOO_LARGE, more)
        else:
            made = read(bundle.files)
        if isinstance(made, NoCandidate):
            flaws.append(made)
            remarks.append(sentence("the offer {} is not used: {}", bundle.provenance.sentence, printable(made.detail)))
            continue
        for each in made.usable:
            known = usable.get(each.certificate.sha256)
            if known is None or _is_better(context, action.components, each, known[0]):
                brought_by = replace(each, offered=bundle.provenance.sentence)
                usable[each.certificate.sha256] = (brought_by, bundle.provenance)
    if not offers.bundles:
        # Only files that cannot be used may lie there.
        return None if not remarks else OfferedCandidates(_none(remarks), (), {}, ())
    if not usable:
        flaw = flaws[0].flaw if len({each.flaw for each in flaws}) == 1 else Flaw.NO_CERTIFICATE
        return OfferedCandidates(NoCandidate(flaw, "; ".join(_some(remarks))), offers.inboxes, {}, ())
    every = tuple(each for each, _ in usable.values())
    verified = [each for each in every if not _unverified(context, action.components, each)]
    of = {each: requests.get(each.key.public_sha256) for each in verified}
    best = [each for each in verified if not _not_alone(each.certificate, of[each])]
    # The certificate in place may have begun on the day of the request; it answers nothing.
    for_a_person = [
        each
        for each, request in of.items()
        if request is not None
        and answers(each.certificate, request)
        and not is_in_place(context, action.components, each.certificate)
    ]
    chosen = tuple(best or for_a_person or every)
    brought = {sha256: provenance for sha256, (_, provenance) in usable.items()}
    return OfferedCandidates(Candidates(chosen), offers.inboxes, brought, _some(remarks))


def is_in_place(context: ActorContext, names: Sequence[str], leaf: Certificate) -> bool:
    """Whether a certificate is that of one of these components on disk; raises OSError."""
    return any(leaf in in_place(context, name) for name in names)


def installed_already(context: ActorContext, names: Sequence[str], inboxes: Sequence[Inbox]) -> tuple[Inbox, ...]:
    """Return the offers of what is in place already; none that holds the certificate of another server.

    Intermediates in files of their own go with it, where their owner offers nothing else. Raises OSError.
    """
    return tuple(filter(lambda each: each.files, (_installed_of(context, names, inbox) for inbox in inboxes)))


def _installed_of(context: ActorContext, names: Sequence[str], inbox: Inbox) -> Inbox:
    """Return the part of the offers of one user that `installed_already` is about."""
    old: dict[TakenFile, bool] = {}
    others: dict[TakenFile, bool] = {}
    for file, given in zip(inbox.files, inbox.given(), strict=True):
        found = read_certificates((given,))
        certificates = () if isinstance(found, NoCandidate) else found
        old[file] = any(is_in_place(context, names, each) for each in certificates)
        others[file] = any(not each.is_ca and not is_in_place(context, names, each) for each in certificates)
    if any(old.values()) and not any(others.values()):
        return inbox
    return Inbox(tuple(file for file in inbox.files if old[file] and not others[file]))


def _is_better(context: ActorContext, names: Sequence[str], one: Candidate, known: Candidate) -> bool:
    """Whether an offer of the same certificate has the better chain: whoever has a copy may leave the chain out."""
    if not _unverified(context, names, known):
        return False
    return not _unverified(context, names, one) or len(one.presented) > len(known.presented)


def _none(remarks: Sequence[str]) -> NoCandidate:
    return NoCandidate(Flaw.NO_CERTIFICATE, "; ".join(_some(remarks)))


def _some(remarks: Sequence[str]) -> tuple[str, ...]:
    """Return a bounded number of remarks, and how many there are beyond."""
    more = len(remarks) - _MOST_REMARKS
    beyond = (sentence("and {} more offers or files are not used", more),) if more > 0 else ()
    return (*remarks[:_MOST_REMARKS], *beyond)


def offer_of(
    context: ActorContext,
    made: Prepared,
    candidates: Candidates,
    brought: Mapping[str, Provenance],
    requests: Mapping[str, WaitingRequest],
) -> Offer | None:
    """Return the offer that a plan is from; None where its certificates were not offered."""
    leaves = {new.sha256: new for _, new in made.leaves.values()}
    provenance = next((brought[each] for each in leaves if each in brought), None)
    if provenance is None:
        return None
    for leaf in leaves.values():
        if why := _not_alone(leaf, requests.get(leaf.public_key_sha256())):
            return Offer(provenance, sentence("{} was offered {}, and {}", leaf.title, provenance.sentence, why))
    for each in candidates.usable:
        if each.certificate.sha256 in leaves and (why := _unverified(context, tuple(made.leaves), each)):
            return Offer(
                provenance, sentence("{} was offered {}: {}", each.certificate.title, provenance.sentence, why)
            )
    return Offer(provenance)


def _not_alone(leaf: Certificate, request: WaitingRequest | None) -> Printable:
    """Say why only a person can tell whether a certificate is the answer to a request; empty where it surely is.

    There is a day of grace for CAs that let a certificate begin with the day. For an installed key, a certificate of
    that day may have been issued before the request, and nobody may want it any more.
    """
    if request is None or not answers(leaf, request):
        return Printable("answers no request that waits")
    # A certificate begins with a second.
    if request.installed and (leaf.not_before or 0) < int(request.at):
        return sentence("begins before the request of {} for the installed key", moment(request.at))
    return Printable("")


def _unverified(context: ActorContext, names: Sequence[str], candidate: Candidate) -> Printable:
    """Say for which of the components no named trust store vouches for a candidate; empty where one does for each.

    The trust stores of the allowed issuers count; where a component names none, those of its clients.
    """
    config, now = context.config, context.world.now()
    for name in names:
        component = config.components[name]
        stores = {each.trust_store for each in component.allowed_issuers if each.trust_store is not None}
        clients = {
            client
            for each in component.endpoints
            for client in config.endpoints[each].clients or component.clients
            if client in config.clients
        }
        stores = stores or {config.clients[each].trusts for each in (*clients, *component.clients)}
        views = [view for each in sorted(stores) if (view := context.trust_context.store_view(each)) is not None]
        if not any(judge_chain(candidate.presented, view, now).accepted for view in views):
            where = printable(", ".join(sorted(stores))) or Printable("none is named")
            return sentence("its path leads to no trust store that {} names ({})", printable(name), where)
    return Printable("")
