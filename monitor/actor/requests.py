"""Requests for certificates: making one, telling those that wait, withdrawing one. No service is touched.

The journal has each request; the key that was made for it lies in a directory of the actor (`actions.pending_keys`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from actions.candidate import PrivateKey
from actions.component_files import WITH_KEY, chain_on_disk, keys_at_hand, read_file
from actions.csr import (
    MOST_NAMES,
    CsrOrder,
    WaitingRequest,
    kind_like,
    new_key,
    signed_request,
    subject_of,
    wrong_name,
    young,
)
from actions.journal import Event
from actions.keystore import why_not_written
from actions.lock import Busy
from actions.pending_keys import locked
from config.address import is_ip_address
from config.model import DAY, Config
from config.text import Log, Printable, harmless, listed, printable, sentence
from config.vocabulary import FileRole, RequestKey
from monitor.actor.answers import known_certificates, pending_keys
from monitor.actor.context import ActorContext
from monitor.actor.documents import cannot
from monitor.actor.request import Document, Request
from monitor.actor.work import Work
from monitor.dialect import iso
from probes.certificate import Key
from probes.judge.client import leaf_first
from probes.judge.time import moment

log: Log = logging.getLogger("certvigil.actor")

MOST_WAITING: Final = 8
"""Requests that wait for one component or group."""


def make_request(work: Work, request: Request) -> Document:
    """Make a request for one component or group, and the key for it where that is wanted.

    1. Find the names, the subject and the key, and what is against them. A dry run ends here.
    2. Withdraw requests whose time is over, and remove keys that are done with.
    3. Make the key, note the request, and answer with it (`PendingKeys.store` has the order).

    Raises JournalError, OSError.
    """
    order = request.csr
    if order is None:
        return cannot(Printable("a request needs its names"))
    context = work.context
    # 1
    subjects = context.config.subjects_of(request.components)
    if len(subjects) != 1:
        return cannot(Printable("a request is for one component, or for one group"))
    if (useless := _use_of_no_answer(context, request.components)) is not None:
        return cannot(useless)
    names = _names(context.config, request.components, order)
    if isinstance(names, str):
        return cannot(names)
    with locked(context.world, _locks(work), sentence("a request, for {}", harmless(work.by))) as busy:
        if busy is not None:
            return _others(busy)
        installed = _installed_key(context, request.components) if order.installed else None
        if isinstance(installed, str):
            return cannot(installed)
        if (why := _objection(context, subjects[0], installed)) is not None:
            return cannot(why)
        kind = order.key or kind_like(_kind_in_use(context, request.components))
        if order.dry_run:
            public = "" if installed is None else installed.public_sha256
            return {"csr": _described(work, request.components, names, order, kind=kind, key=public)}
        # 2
        _clear(work)
        # 3
        key = installed or new_key(kind)
        return _made(work, request.components, names, order, key)


def _made(work: Work, components: Sequence[str], names: Sequence[str], order: CsrOrder, key: PrivateKey) -> Document:
    """Note a request, and keep its key where it was made for it; return the answer."""
    context, now = work.context, work.context.world.now()
    subject = subject_of(order.subject, names)
    if isinstance(subject, str):
        return cannot(subject)
    try:
        pem = signed_request(key, names, subject)
    except ValueError as error:
        return cannot(sentence("this key cannot sign a request: {}", printable(str(error))))
    group = context.config.group_of_all(components)
    seen = young(known_certificates(context, components), now) if order.installed else frozenset()

    def noted() -> None:
        work.note(
            Event.REQUESTED,
            components,
            key=key.public_sha256,
            components=sorted(components),
            names=list(names),
            installed=order.installed,
            pem=pem,
            by=work.by,
            until=now + order.days * DAY,
            seen=sorted(seen),
            **({"group": group} if group else {}),
        )

    if order.installed:
        noted()
    else:
        pending_keys(context).store(key, noted)
    made = context.journal_state().requests[key.public_sha256]
    return {"csr": {**request_document(made), "pem": made.pem, "made": True}}


def list_requests(work: Work, request: Request) -> Document:
    """Tell the requests that wait for these components, or for all, with each request itself."""
    wanted = set(request.components)
    now = work.context.world.now()
    found = (
        each for each in work.context.journal_state().requests.values() if not wanted or wanted & set(each.components)
    )
    return {"requests": [{**request_document(each), "pem": each.pem, "expired": now >= each.until} for each in found]}


def cancel_request(work: Work, request: Request) -> Document:
    """Withdraw the one request whose key begins so, with a key that was made for it; raises JournalError, OSError."""
    context = work.context
    if not request.key:
        return cannot(Printable("a request is named by its key, of which at least 8 digits are given"))
    with locked(
        context.world, _locks(work), sentence("the withdrawal of a request, for {}", harmless(work.by))
    ) as busy:
        if busy is not None:
            return _others(busy)
        waiting = context.journal_state().requests
        found = [each for key, each in waiting.items() if key.startswith(request.key)]
        if len(found) != 1:
            number = Printable("more than one request") if found else Printable("no request")
            there = listed((each.sentence for each in waiting.values()), "; ") or Printable("none")
            return cannot(
                sentence("{} has a key that begins with {}; there are: {}", number, printable(request.key), there)
            )
        _withdraw(work, found[0], "it was cancelled", request.why)
        _clear(work)
    return {"cancelled": found[0].key}


def clear_keys(work: Work) -> None:
    """Remove the keys that are done with; where that cannot be, it is logged, and done by the next request."""
    try:
        if not work.context.journal_state().spent_keys:
            return
        with locked(work.context.world, _locks(work), "") as busy:
            if busy is None:
                _clear(work)
    except OSError as error:
        log.warning("a key that was made for a request is not removed yet: %s", printable(str(error.strerror)))


def request_document(of: WaitingRequest) -> Document:
    """Return a request."""
    return {
        "key": of.key,
        "components": list(of.components),
        "group": of.group or None,
        "names": list(of.names),
        "installed": of.installed,
        "by": of.by,
        "at": iso(of.at),
        "until": iso(of.until),
    }


def _described(
    work: Work, components: Sequence[str], names: Sequence[str], order: CsrOrder, *, kind: RequestKey, key: str
) -> Document:
    """Return the request that would be made, with its installed `key` or else with a new key of a `kind`."""
    config, now = work.context.config, work.context.world.now()
    group = config.group_of_all(components)
    until = now + order.days * DAY
    would_be = WaitingRequest(
        key, tuple(sorted(components)), tuple(names), order.installed, "", work.by, now, until, group=group
    )
    return {**request_document(would_be), "made": False, **({} if key else {"kind": kind})}


def _locks(work: Work) -> str:
    work.transaction.prepare()
    return work.transaction.locks


def _others(busy: Busy) -> Document:
    return cannot(sentence("{}: ask again", harmless(busy.sentence)))


def _use_of_no_answer(context: ActorContext, components: Sequence[str]) -> Printable | None:
    """Say why no answer could be installed, a sentence; None where one could. Raises OSError."""
    for name in components:
        component = context.config.components[name]
        if not component.artefacts.files.keys() & set(WITH_KEY):
            return sentence(
                "the key of {} is not among its files: its request is made where that key is", printable(name)
            )
        if FileRole.KEYSTORE in component.artefacts.files:
            keystore = read_file(FileRole.KEYSTORE, component.artefacts, context.world)
            if (why := why_not_written(keystore.data)) is not None:
                return sentence("{} {}", printable(keystore.given), harmless(why))
    return None


def _names(config: Config, components: Sequence[str], order: CsrOrder) -> tuple[str, ...] | Printable:
    """Return the names that clients connect by, and those of the order; or why there are none, a sentence."""
    names = tuple(dict.fromkeys(each.lower() for each in (*configured_names(config, components), *order.names)))
    if not names:
        about = listed(map(printable, components))
        return sentence("no name of {} is known: give --name, or `server_name` to an endpoint", about)
    if len(names) > MOST_NAMES:
        return sentence("a request has at most {} names", MOST_NAMES)
    why = next(filter(None, map(wrong_name, names)), None)
    return names if why is None else why


def configured_names(config: Config, components: Sequence[str]) -> tuple[str, ...]:
    """Return the names by which clients connect to these components; an address that is only a location is no name."""
    found: dict[str, None] = {}
    for component in (config.components[each] for each in components):
        for endpoint in (config.endpoints[each] for each in component.endpoints):
            if endpoint.server_name is not None or not (is_ip_address(endpoint.host) or endpoint.host == "localhost"):
                found[endpoint.verified_name] = None
            clients = (config.clients[each] for each in endpoint.clients if each in config.clients)
            found.update(dict.fromkeys(name for client in clients for name in client.names))
    return tuple(found)


def _installed_key(context: ActorContext, components: Sequence[str]) -> PrivateKey | Printable:
    """Return the one key that all of these components have; or why there is none, a sentence. Raises OSError."""
    found: set[PrivateKey] = set()
    for name in components:
        keys = set(keys_at_hand(context.config.components[name], context.world))
        if not keys:
            return sentence("{} has no private key that can be read", printable(name))
        found |= keys
    if len(found) > 1:
        about = listed(map(printable, components))
        return sentence("{} have {} keys: a request is for one", about, len(found))
    key = found.pop()
    if why := context.journal_state().why_not((key.public_sha256,)):
        return sentence("the installed key is not used: {}", harmless(why))
    return key


def _kind_in_use(context: ActorContext, components: Sequence[str]) -> Key | None:
    """Return the kind of the installed key, of the first component that has a certificate."""
    for name in components:
        chain = chain_on_disk(context.config.components[name], context.world)
        if chain:
            return leaf_first(chain)[0].key
    return None


def _objection(context: ActorContext, subject: str, installed: PrivateKey | None) -> Printable | None:
    """Say why no other request can wait, a sentence; None where one can."""
    now = context.world.now()
    waiting = [each for each in context.journal_state().requests.values() if now < each.until]
    ours = [each for each in waiting if each.subject == subject]
    if len(ours) >= MOST_WAITING:
        there = listed((each.sentence for each in ours), "; ")
        return sentence("{} requests of {} wait already: cancel one of {}", len(ours), printable(subject), there)
    for each in waiting:
        if installed is not None and each.key == installed.public_sha256:
            return sentence(
                "a request for this key waits already, since {}: cancel it first, `certvigil csr --cancel {}`",
                moment(each.at),
                printable(each.key[:16]),
            )
    return None


def _clear(work: Work) -> None:
    """Withdraw requests whose time is over, and remove keys that are done with. Raises JournalError, OSError."""
    context, area = work.context, pending_keys(work.context)
    now = context.world.now()
    for each in tuple(context.journal_state().requests.values()):
        if now >= each.until:
            _withdraw(work, each, sentence("it was not answered until {}", moment(each.until)))
    area.clear(context.journal_state().requests.keys())
    for key in context.journal_state().given_up:
        area.remove(key)
    for key in tuple(context.journal_state().spent_keys):
        area.remove(key)
        work.note(Event.REQUEST_CLEARED, key=key)


def _withdraw(work: Work, request: WaitingRequest, reason: str, why: str = "") -> None:
    """Note that a request is no longer answered; its key is done with."""
    data = {"group": request.group} if request.group else {}
    said = f"{reason}: {printable(why)}" if why else reason
    work.note(
        Event.REQUEST_WITHDRAWN,
        request.components,
        key=request.key,
        components=list(request.components),
        by=work.by,
        reason=said,
        **data,
    )
