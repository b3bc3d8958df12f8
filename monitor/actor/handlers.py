"""The handler of each verb: a request that its user may make is answered here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from actions.plan import Kind
from actions.prepare import Prepared
from config.likeness import perhaps
from config.model import Config
from config.text import Printable, listed, printable, sentence
from monitor.actor.carry_out import carry_out
from monitor.actor.confirm import confirm, why_not_confirmed
from monitor.actor.documents import cannot, plan_document
from monitor.actor.hindrances import fails_its_test, held_back, served_already
from monitor.actor.offer_list import counted, list_offers, withdraw_offer
from monitor.actor.offers import take_offer
from monitor.actor.planning import checked, make
from monitor.actor.proposals import approve, contested_document, propose, reject, under_way, waiting_plans
from monitor.actor.recovery import recover_all
from monitor.actor.request import CONFIRMS, WITH_ACTION, Document, Request, Verb
from monitor.actor.requests import cancel_request, list_requests, make_request
from monitor.actor.set_list import list_sets
from monitor.actor.trust import change_trust, why_not_changed
from monitor.actor.unattended import left_to_person, tried_before
from monitor.actor.work import Work


def handle(work: Work, request: Request) -> Document:
    """Return the answer to a request, once it is done; raises JournalError, BackupError, OSError."""
    too_often = work.asks_too_often(request.names) if request.verb in _WRITES_RECORDS else None
    if (wrong := unusable(work.context.config, request) or too_often) is not None:
        return cannot(wrong)
    handler = HANDLERS.get(request.verb)
    if handler is None:
        return cannot(sentence("'{}' is answered only by an actor that runs", request.verb))
    return handler(work, request)


def show_plan(work: Work, request: Request) -> Document:
    """Answer with the plan, or why there is none, and with waiting plans and other writers.

    While a transaction is under way, files and inbox are partly those of before.
    """
    action = request.wanted
    made = checked(work, action, make(work, action).made, served_already, held_back, fails_its_test)
    if isinstance(made, Prepared):
        said = (*left_to_person(work, action, made), *tried_before(work, action, made))
        made = replace(made, remarks=(*made.remarks, *said))
    return {
        **plan_document(work, made),
        **contested_document(work.context, action),
        **waiting_plans(work.context, action),
        **under_way(work.context, action),
        **(counted(work.context, action.components) if action.kind is Kind.REPLACE else {}),
    }


HANDLERS: Final[Mapping[Verb, Callable[[Work, Request], Document]]] = MappingProxyType(
    {
        Verb.PLAN: show_plan,
        Verb.PROPOSE: propose,
        Verb.APPROVE: approve,
        Verb.REJECT: reject,
        Verb.CARRY_OUT: carry_out,
        Verb.RECOVER: recover_all,
        Verb.BACKUPS: list_sets,
        Verb.CSR: make_request,
        Verb.REQUESTS: list_requests,
        Verb.CANCEL: cancel_request,
        Verb.OFFER: take_offer,
        Verb.OFFERS: list_offers,
        Verb.TRUST: change_trust,
        Verb.WITHDRAW: withdraw_offer,
        Verb.CONFIRM: confirm,
        Verb.CONFIRM_GONE: confirm,
    }
)
"""A verb without a row is answered where no act is done: `dispatch` has STATE and READ, `conversation` the others."""
_OF_STORES: Final = frozenset({Verb.RECOVER, Verb.BACKUPS})
"""Verbs that a trust store may be named to."""
_OF_SERVICES: Final = WITH_ACTION | {Verb.RECOVER, Verb.CSR, Verb.OFFER}
"""Verbs that change a service or plan to: they need components that have one."""
_WRITES_RECORDS: Final = frozenset({Verb.PROPOSE, Verb.CARRY_OUT, Verb.OFFER})
"""Verbs by which the daemon has records written."""


def unknown(config: Config, components: Iterable[str]) -> Printable | None:
    """Say which of `components` the configuration does not have, a sentence; None where it has all."""
    for name in components:
        if name not in config.components and name not in config.changeable_stores:
            # Whoever asks by the name of a group names its members.
            what = Printable("component or group" if config.groups else "component")
            near = perhaps(name, [*config.groups, *config.components])
            return sentence("there is no {} '{}'{}", what, printable(name, 200), near)
    return None


def unusable(config: Config, request: Request) -> Printable | None:
    """Say why nothing can be done to one of the components that a request names, a sentence; None where it can.

    An act is for all members of a group, or for none: they are changed, thawed and given back as one. A list may be of
    one.
    """
    components = request.names
    if request.verb in CONFIRMS:
        return why_not_confirmed(config, request)
    if request.verb is Verb.TRUST:
        return why_not_changed(config, components[0])
    if (wrong := unknown(config, components)) is not None:
        return wrong
    stores = [name for name in components if name in config.changeable_stores]
    if stores and request.verb not in _OF_STORES:
        return sentence("{} is a trust store: `certvigil trust` changes it", printable(stores[0]))
    for name in components if request.verb is not Verb.BACKUPS else ():
        group = config.subject_of(name)
        if not set(config.members_of(group)) <= set(components):
            return sentence(
                "component {} is changed only with all members of group {} ({}): name {}",
                printable(name),
                printable(group),
                listed(map(printable, config.members_of(group))),
                printable(group),
            )
    for name in components if request.verb in _OF_SERVICES else ():
        if name in config.components and config.components[name].service is None:
            return sentence(
                "component {} has no 'service' in the configuration: certvigil only watches it", printable(name)
            )
    return None
