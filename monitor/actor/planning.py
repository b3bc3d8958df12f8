"""Making the plan that an action asks for, or saying why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from actions.candidate import Candidates, Flaw, NoCandidate, PrivateKey, read_candidates
from actions.component_files import keys_at_hand, keys_in_use, read_password, shared_paths
from actions.component_site import ComponentSite
from actions.csr import WaitingRequest
from actions.ending import Ground
from actions.inbox import Inbox, InboxUnsafe, open_inbox
from actions.journal_state import ActionRequest, GivenUp, JournalState
from actions.offered import Offer, Provenance
from actions.plan import Kind
from actions.plan_activation import plan_activation
from actions.plan_replacement import plan_replacement
from actions.precheck import Objection
from actions.prepare import Prepared, RefusedPlan, Remainder
from config.policy import Policy
from config.text import Printable, harmless, listed, printable, sentence
from monitor.actor.answers import answered_by, answering, keys_of, requests_of
from monitor.actor.contested import newest_in
from monitor.actor.context import ActorContext
from monitor.actor.handed import CandidateFiles
from monitor.actor.limit import LONGEST, TooSlowError, limit
from monitor.actor.offers import candidates_offered, installed_already, offer_of
from monitor.actor.rollback import rollback
from monitor.actor.work import Work

Made = Prepared | RefusedPlan | Printable
"""A plan, the objections to it, or a sentence that says why the action makes no sense."""
_LOCKED: Final = frozenset({Flaw.KEY_ENCRYPTED, Flaw.WRONG_PASSWORD})
Objector = Callable[[Work, ActionRequest, Prepared], Iterable[Objection]]
"""Yields objections to a plan."""


class Planned(NamedTuple):
    """A plan, and the inboxes or offers that it was made from."""

    made: Made
    inboxes: tuple[Inbox, ...] = ()
    policy: str = ""
    """The policy by which it may be carried out; empty where a person asks, or has approved it."""


def make(work: Work, action: ActionRequest, policy: Policy | None = None) -> Planned:
    """Return the plan for an action; raises JournalError, BackupError, OSError.

    `policy` is the one that calls for a replacement, where that is known: it limits the issuers.
    """
    if objections := led_astray(work.context, action):
        return Planned(RefusedPlan(objections))
    try:
        return _make(work, action, policy)
    except TooSlowError:
        return Planned(sentence("the plan takes longer than {:.0f} s to make: an operator may ask for it", LONGEST))


def _make(work: Work, action: ActionRequest, policy: Policy | None) -> Planned:
    match action.kind:
        case Kind.REPLACE:
            return _replacement(work, action, policy)
        case Kind.ACTIVATE:
            return Planned(_activation(work.context, action))
        case Kind.ROLLBACK:
            return Planned(rollback(work, action))
        case Kind.TRUST:
            return Planned(sentence("a trust store is changed by `certvigil trust` alone"))


def checked(work: Work, action: ActionRequest, made: Made, *checks: Objector) -> Made:
    """Return the plan, or the objections of the first of the checks that has any."""
    for check in checks:
        if isinstance(made, Prepared) and (objections := tuple(check(work, action, made))):
            return RefusedPlan(objections, made.effects, remarks=made.remarks)
    return made


def led_astray(context: ActorContext, action: ActionRequest) -> tuple[Objection, ...]:
    """Return why the files to which the configured paths of these components lead must not be touched."""
    try:
        return tuple(shared_paths(action.components, context.config.components, context.world))
    except OSError as error:
        why = f"{error.filename}: {error.strerror or 'it cannot be examined'}"
        return (Objection(Ground.UNREADABLE, printable(why)),)


def _activation(context: ActorContext, action: ActionRequest) -> Made:
    sites = [context.site(name, allow_shorter=action.allow_shorter) for name in action.components]
    return plan_activation(sites, context.world, context.world.now(), losses=action.losses)


def _replacement(work: Work, action: ActionRequest, policy: Policy | None) -> Planned:
    context, requests, go_on = work.context, requests_of(work.context, action.components), limit(work)
    taken = _taken(work, action, requests)
    if isinstance(taken, RefusedPlan):
        return Planned(taken)
    candidates, inboxes = taken.candidates, taken.inboxes
    if isinstance(candidates, NoCandidate):
        ground = Ground.NO_OFFER if taken.of_offers else Ground.NO_CANDIDATE
        return _refused(ground, f"{candidates.flaw}: {candidates.detail}", inboxes, taken.remarks)
    sites = [
        work.site_for_candidate(name, allow_shorter=action.allow_shorter, policy=policy) for name in action.components
    ]
    if action.key_compromised:
        sites = _with_their_keys_given_up(work, sites)
    quarantined = context.journal_state().quarantined
    made = plan_replacement(
        sites,
        candidates,
        context.world,
        context.world.now(),
        losses=action.losses,
        quarantined=quarantined,
        go_on=go_on,
    )
    if action.key_compromised and _is_installed(made):
        why = "that certificate is installed already, and its key is the one to be given up: it takes a new key"
        return _refused(Ground.KEY_GIVEN_UP, why, inboxes)
    if isinstance(made, Prepared):
        answered = answered_by(made, requests)
        offer = offer_of(context, made, candidates, taken.brought, requests)
        said = () if offer is None else (sentence("it was offered {}", offer.provenance.sentence),)
        remarks = (*made.remarks, *_to_do_first(context, action), *said, *taken.remarks, *_by_hand(context, action))
        made = replace(made, remarks=remarks, answers=answered, offer=offer, origin=_origin(work, action, offer))
    elif isinstance(made, RefusedPlan):
        made = replace(made, remarks=(*made.remarks, *taken.remarks))
        if taken.of_offers and made.remainder is not None:
            # Other offers may be of other users, and answer a request that waits.
            made = replace(made, remainder=Remainder())
            inboxes = installed_already(context, action.components, inboxes)
    return Planned(made, inboxes)


def _origin(work: Work, action: ActionRequest, offer: Offer | None) -> Printable:
    """Return who brought a candidate, and how, the end of a sentence."""
    if offer is not None:
        return sentence("offered {}", offer.provenance.sentence)
    if work.files is not None:
        return sentence("handed over by {}", harmless(work.by))
    inboxes = (work.context.inbox(name) for name in work.context.config.subjects_of(action.components))
    return sentence("from the inbox {}", listed(map(printable, inboxes)))


def _to_do_first(context: ActorContext, action: ActionRequest) -> tuple[Printable, ...]:
    """Return what must have been done before the first replacement of these components, sentences; raises OSError."""
    components = (context.config.components[name] for name in action.components)
    return tuple(
        sentence("{}: before its first replacement, {}", printable(each.name), printable(each.do_first, 1000))
        for each in components
        if each.do_first and not context.backup_sets(each.name)
    )


def _by_hand(context: ActorContext, action: ActionRequest) -> Iterator[str]:
    """Yield the ways to do a replacement by hand."""
    topics = (context.config.components[name].guide for name in action.components)
    for topic in dict.fromkeys(each for each in topics if each is not None):
        yield sentence("by hand: certvigil guide {}", printable(topic))


class _Taken(NamedTuple):
    """The candidates for a replacement, and where they come from."""

    candidates: Candidates | NoCandidate
    inboxes: tuple[Inbox, ...] = ()
    brought: Mapping[str, Provenance] = MappingProxyType({})
    """Who offered a certificate, by its SHA-256; empty where none was offered."""
    remarks: tuple[str, ...] = ()
    """Sentences, printable."""
    of_offers: bool = False


def _taken(work: Work, action: ActionRequest, requests: Mapping[str, WaitingRequest]) -> _Taken | RefusedPlan:
    """Return the candidates that a person hands over, or those of the inboxes, or where these are empty, the offers.

    An offer is never mixed with the content of an inbox: who may offer must not have a say in what root put there.
    """
    context = work.context
    if work.files is not None:
        return _Taken(_candidates(context, action, work.files, requests))
    found = _taken_from_inboxes(context, action)
    if not isinstance(found, RefusedPlan):
        files, inboxes = found
        remarks = tuple(misplaced_candidates(context, action))
        return _Taken(_candidates(context, action, files, requests), inboxes, remarks=remarks)
    if Ground.EMPTY_INBOX not in {each.ground for each in found.objections}:
        return found
    offered = candidates_offered(
        context, action, requests, lambda files: _candidates(context, action, CandidateFiles(files), requests)
    )
    return found if offered is None else _Taken(*offered, of_offers=True)


def _refused(ground: Ground, detail: str, inboxes: tuple[Inbox, ...], remarks: tuple[str, ...] = ()) -> Planned:
    return Planned(RefusedPlan((Objection(ground, detail),), remarks=remarks), inboxes)


def _is_installed(made: Prepared | RefusedPlan) -> bool:
    return isinstance(made, RefusedPlan) and Ground.NOTHING_TO_DO in {each.ground for each in made.objections}


def _taken_from_inboxes(
    context: ActorContext, action: ActionRequest
) -> tuple[CandidateFiles, tuple[Inbox, ...]] | RefusedPlan:
    """Return the files in the inboxes of these components, and the inboxes; raises OSError."""
    inboxes: list[Inbox] = []
    subjects = context.config.subjects_of(action.components)
    for opened in [open_inbox(context.world, context.inbox(name)) for name in subjects]:
        if isinstance(opened, InboxUnsafe):
            return RefusedPlan((Objection(Ground.INBOX_UNSAFE, opened.detail),))
        inboxes.append(opened)
    # Somebody may have put the same file into several inboxes.
    files = {each.data: each for inbox in inboxes for each in inbox.given()}
    if not files:
        if misplaced := tuple(misplaced_candidates(context, action)):
            return RefusedPlan(tuple(Objection(Ground.MEMBER_INBOX, each) for each in misplaced))
        where = ", ".join(printable(context.inbox(name)) for name in subjects)
        return RefusedPlan((Objection(Ground.EMPTY_INBOX, f"there is no candidate in {where}"),))
    return CandidateFiles(tuple(files.values())), tuple(inboxes)


def misplaced_candidates(context: ActorContext, action: ActionRequest) -> Iterator[str]:
    """Yield which inboxes of members of a group hold files, and where these belong: sentences, printable.

    Whoever put a file there may not have meant it for the other members.
    """
    for name in action.components:
        group = context.config.group_of.get(name)
        if group is not None and newest_in(context, context.inbox(name)):
            here, there = printable(context.inbox(name)), printable(context.inbox(group))
            yield f"{here} is not used, since {name} is changed with all of {group}: put what is for all into {there}"


def _candidates(
    context: ActorContext, action: ActionRequest, files: CandidateFiles, requests: Mapping[str, WaitingRequest]
) -> Candidates | NoCandidate:
    """Return the candidates that the files make up; a certificate for the key of a request must answer it.

    The key may be one that a component has, or that was made for one of the `requests`; the password of a keystore may
    be a component's.
    """
    components = [context.config.components[name] for name in action.components]
    at_hand: Sequence[PrivateKey] = [key for each in components for key in keys_at_hand(each, context.world)]
    requested = keys_of(context, requests.values())
    made = read_candidates(files.files, files.password, at_hand, requested=requested)
    for component in components if files.password is None else ():
        path = component.artefacts.password_file
        if path is None or not (isinstance(made, NoCandidate) and made.flaw in _LOCKED):
            continue
        # A password file that cannot be read is reported where the keystore on disk is read.
        with suppress(OSError):
            password, name = read_password(path, context.world), f"the password in {printable(path)}"
            made = read_candidates(files.files, password, at_hand, requested=requested, opened_with=name)
    return answering(context, made, requests, action.components)


def _with_their_keys_given_up(work: Work, sites: Sequence[ComponentSite]) -> list[ComponentSite]:
    """Return the sites as they are once the keys that they use are given up; raises OSError."""
    given_up, now = dict(work.context.journal_state().given_up), work.context.world.now()
    for site in sites:
        for key in keys_in_use(site, work.context.world):
            given_up.setdefault(key, GivenUp(work.by, now, (site.component.name,)))
    why_not = JournalState(given_up=given_up).why_not
    return [replace(site, given_up=why_not) for site in sites]
