"""A request to the actor: names of components, clients and backup sets, and hashes of plans.

Beyond these, a request for a certificate has the names that the certificate is to have. An operator's request may
announce the files of a candidate, and an offer announces certificates: their bytes follow its line (`handed.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NoReturn

from actions.candidate import MOST_BYTES
from actions.csr import CsrOrder, wrong_order
from actions.journal_state import ActionRequest
from actions.offered import MOST_WRITTEN
from actions.plan import Kind
from actions.trust_order import TrustDeed, TrustOrder
from config.immutable import immutable
from config.plain import items, members, text, texts, whole
from config.text import Printable, printable, sentence

Document = dict[str, Any]
"""An answer: plain values."""

LONGEST: Final = 8192
"""Bytes of a request, without the files that follow it."""
MOST_OFFERED: Final = 16
"""Files of one offer."""
MOST_NAMES: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_HASH: Final = re.compile(r"[0-9a-f]{8,64}")
_DIGITS: Final = 64
"""Of a SHA-256, hexadecimal."""
_EPOCH: Final = re.compile(r"[0-9a-f]{8}-[0-9]{1,9}")
_KEYS: Final = frozenset(
    {"verb", "action", "plan", "components", "why", "epoch", "after", "key", "files", "password", "csr", "trust"}
)
LONGEST_REASON: Final = 500
"""Characters."""
MOST_FILES: Final = 32
"""Files that a request may announce."""
_LONGEST_FILE_NAME: Final = 200
_LONGEST_PASSWORD: Final = 4096


class Verb(StrEnum):
    """The kind of a request."""

    STATE = "state"
    """Tell the state."""
    FOLLOW = "follow"
    """Tell every record of the journal behind number `after` of `epoch`, and then each as it comes.

    Where the journal is in another epoch, "anew" is told, and then every record that it has.
    """
    AUDIT = "audit"
    """Tell the segments of the audit, as they are."""
    PLAN = "plan"
    """Tell the plan, or why there is none."""
    PROPOSE = "propose"
    """Plan, and have the plan wait for approval."""
    CARRY_OUT = "carry_out"
    APPROVE = "approve"
    REJECT = "reject"
    RECOVER = "recover"
    """Finish or undo interrupted transactions; `components` are right now and no longer frozen, `plan` is released."""
    BACKUPS = "backups"
    READ = "read"
    """Tell facts about the files of one component."""
    CSR = "csr"
    """Make a request for a certificate for one component or group."""
    REQUESTS = "requests"
    """Tell the requests that wait."""
    CANCEL = "cancel"
    """Withdraw the request whose key begins with `key`; a key that was made for it is removed."""
    CONFIRM = "confirm"
    """An operator has seen the root with the SHA-256 `key` in one trust store of other machines."""
    CONFIRM_GONE = "confirm_gone"
    """An operator has seen that such a store does not have that root."""
    OFFER = "offer"
    """Keep certificates for one component or group, which are used as `offers` says."""
    OFFERS = "offers"
    """Tell the offers that lie there."""
    TRUST = "trust"
    """Change one trust store, or a client of it, as `trust` says."""
    WITHDRAW = "withdraw"
    """Take out the offer whose name begins with `key`."""


WITH_ACTION: Final = frozenset({Verb.PLAN, Verb.PROPOSE, Verb.CARRY_OUT})
"""Verbs with a wanted action."""
CONFIRMS: Final = frozenset({Verb.CONFIRM, Verb.CONFIRM_GONE})
"""Verbs about a root in a trust store of other machines."""
_WITH_KEY: Final = frozenset({Verb.RECOVER, Verb.CANCEL, Verb.WITHDRAW}) | CONFIRMS


@immutable
class HandedFile:
    """A file of a person's candidate, which follows the request."""

    name: str
    """For sentences about it."""
    size: int
    """Bytes."""


@immutable
class Request:
    """One request."""

    verb: Verb
    action: ActionRequest | None = None
    plan: str = ""
    """A hash; APPROVE and REJECT take an unambiguous beginning of it."""
    components: tuple[str, ...] = ()
    why: str = ""
    """For the record: a sentence of whoever asks."""
    epoch: str = ""
    after: int = 0
    key: str = ""
    """The beginning of the SHA-256 of the public half of a key: of one given up by mistake, or of one of a request.

    WITHDRAW: the beginning of the name of an offer. CONFIRM and CONFIRM_GONE: the SHA-256 of a root.
    """
    files: tuple[HandedFile, ...] = ()
    """The files of the candidate, in place of those in the inbox; of an offer, its certificates."""
    password: int | None = None
    """Bytes of the password that follows the files; None where none does."""
    csr: CsrOrder | None = None
    """CSR: the request that is to be made."""
    trust: TrustOrder | None = None
    """TRUST: what is to be done to the store."""

    @property
    def wanted(self) -> ActionRequest:
        """The action, of a verb that has one; raises ValueError for another."""
        if self.action is None:
            raise ValueError(f"'{self.verb}' names no action")
        return self.action

    @property
    def names(self) -> tuple[str, ...]:
        """The components that it is about."""
        return self.action.components if self.action is not None else self.components


def encode(request: Request) -> bytes:
    """Return the line that says it."""
    plain: dict[str, Any] = {"verb": request.verb}
    if request.action is not None:
        plain["action"] = request.action.to_json()
    for name in ("plan", "components", "why", "epoch", "after", "key"):
        if value := getattr(request, name):
            plain[name] = value
    if request.csr is not None:
        plain["csr"] = request.csr.to_json()
    if request.trust is not None:
        plain["trust"] = request.trust.to_json()
    if request.files:
        plain["files"] = [[each.name, each.size] for each in request.files]
    if request.password is not None:
        plain["password"] = request.password
    return json.dumps(plain).encode() + b"\n"


def decode(line: bytes) -> Request | Printable:
    """Return the request, or why it is none, a sentence; raises nothing, whatever a peer has written."""
    try:
        plain = json.loads(line, parse_float=_refuse_number, parse_constant=_refuse_number)
        if not isinstance(plain, dict) or not plain.keys() <= _KEYS:
            return Printable("a request is an object with 'verb' and the keys of that verb")
        request = _request(plain)
        # Half a character beyond the basic plane is no text that could be shown or kept.
        json.dumps(plain, ensure_ascii=False).encode()
        return _objection(request) or request
    except (ValueError, KeyError, TypeError, RecursionError):
        return Printable("this is no request that the actor knows")


def _refuse_number(_written: str) -> NoReturn:
    raise ValueError("every number of a request is whole")


def _request(plain: Mapping[str, Any]) -> Request:
    """Return the request of plain values; raises KeyError, TypeError or ValueError."""
    action, csr, password, trust = (plain.get(each) for each in ("action", "csr", "password", "trust"))
    return Request(
        Verb(plain["verb"]),
        None if action is None else ActionRequest.from_json(members(action)),
        text(plain.get("plan", "")),
        texts(plain.get("components", [])),
        text(plain.get("why", "")),
        text(plain.get("epoch", "")),
        whole(plain.get("after", 0)),
        text(plain.get("key", "")),
        tuple(HandedFile(text(name), whole(size)) for name, size in map(items, items(plain.get("files", [])))),
        None if password is None else whole(password),
        None if csr is None else CsrOrder.from_json(members(csr)),
        None if trust is None else TrustOrder.from_json(members(trust)),
    )


def _objection(request: Request) -> Printable | None:
    """Return the first objection: to its action, its names, its key, what follows its line, or its other values."""
    checks = (
        _objection_to_action,
        _objection_to_names,
        _objection_to_key,
        _objection_to_csr,
        _objection_to_trust,
        _objection_to_files,
        _objection_to_values,
    )
    return next((wrong for check in checks if (wrong := check(request)) is not None), None)


def _objection_to_action(request: Request) -> Printable | None:
    action, verb = request.action, request.verb
    if (verb in WITH_ACTION) is (action is None):
        return sentence("'{}' needs action" if action is None else "'{}' takes no action", verb)
    if action is None:
        return None
    if not action.components or len(set(action.components)) < len(action.components):
        return Printable("an action names components, each once")
    if action.kind is Kind.TRUST:
        return sentence("a trust store is changed by `certvigil trust` alone")
    if action.backup_set and action.kind is not Kind.ROLLBACK:
        return Printable("only a rollback names a backup set")
    if action.force and action.kind is not Kind.ACTIVATE:
        return Printable("only an activation is forced")
    if action.key_compromised and (action.kind is not Kind.REPLACE or verb is Verb.PROPOSE):
        return Printable("a key is given up by an operator who replaces it at once")
    return None


def _objection_to_names(request: Request) -> Printable | None:
    names, action = request.components, request.action
    if action is not None:
        names += (*action.components, *action.losses, *((action.backup_set,) if action.backup_set else ()))
    if len(names) > MOST_NAMES or not all(map(_NAME.fullmatch, names)):
        return Printable("names are letters, digits, '_', '.' and '-', at most 64 of them")
    if request.verb is Verb.READ and len(request.components) != 1:
        return Printable("'read' is of one component")
    return None


def _objection_to_key(request: Request) -> Printable | None:
    if request.key and request.verb not in _WITH_KEY:
        return sentence("'{}' takes no key", request.verb)
    if request.key and not _HASH.fullmatch(request.key):
        said = printable(request.key, 64)
        return sentence("a key is named by its SHA-256, of which at least 8 digits are given, and not '{}'", said)
    if request.verb in CONFIRMS and (len(request.components) != 1 or len(request.key) != _DIGITS):
        return sentence("'{}' names one trust store, and a root by all {} digits of its SHA-256", request.verb, _DIGITS)
    return None


def _objection_to_csr(request: Request) -> Printable | None:
    if (request.verb is Verb.CSR) is (request.csr is None):
        return sentence("'{}' takes no request" if request.csr is not None else "'{}' needs a request", request.verb)
    if request.csr is None:
        return None
    return wrong_order(request.csr) if request.components else Printable("'csr' names a component or a group")


def _objection_to_trust(request: Request) -> Printable | None:
    order = request.trust
    if (request.verb is Verb.TRUST) is (order is None):
        return sentence("'{}' takes no change of a trust store" if order else "'{}' needs a change", request.verb)
    if order is None:
        return None
    if len(request.components) != 1 or len(order.named) > _LONGEST_FILE_NAME:
        return Printable("'trust' names one trust store, and what is changed in it")
    if len(order.losses) > MOST_NAMES or not all(map(_NAME.fullmatch, order.losses)):
        return Printable("clients that may be lost are named as the configuration names them")
    if bool(request.files) is not (order.deed is TrustDeed.ADD):
        return Printable("certificates follow where they are to be trusted, and only there")
    if (request.password is not None) is not (order.deed is TrustDeed.PASSWORD):
        return Printable("a password follows where a keystore gets it, and only there")
    return None


def _objection_to_files(request: Request) -> Printable | None:
    if request.verb is Verb.OFFER:
        return _objection_to_offer(request)
    if request.verb is Verb.TRUST:
        if not 0 <= (request.password or 0) <= _LONGEST_PASSWORD:
            return sentence("a password has at most {} bytes", _LONGEST_PASSWORD)
        return _objection_to_sizes(request.files, MOST_FILES, MOST_BYTES) if request.files else None
    if not request.files and request.password is None:
        return None
    action = request.action
    if not request.files or action is None or action.kind is not Kind.REPLACE or request.verb is Verb.PROPOSE:
        return Printable("files are handed over for a replacement, or for the plan of it")
    if not 0 <= (request.password or 0) <= _LONGEST_PASSWORD:
        return sentence("a password has at most {} bytes", _LONGEST_PASSWORD)
    return _objection_to_sizes(request.files, MOST_FILES, MOST_BYTES)


def _objection_to_offer(request: Request) -> Printable | None:
    if not request.components:
        return Printable("'offer' names a component or a group")
    if not request.files or request.password is not None:
        return Printable("'offer' needs certificates, and takes no password")
    return _objection_to_sizes(request.files, MOST_OFFERED, MOST_WRITTEN)


def _objection_to_sizes(files: Sequence[HandedFile], most: int, most_bytes: int) -> Printable | None:
    names = [each.name for each in files]
    if len(names) > most or max(map(len, names)) > _LONGEST_FILE_NAME:
        return sentence(
            "at most {} files are handed over, with names of at most {} characters", most, _LONGEST_FILE_NAME
        )
    sizes = [each.size for each in files]
    if min(sizes) < 0 or sum(sizes) > most_bytes:
        return sentence("the files hold more than {} bytes together", most_bytes)
    return None


def _objection_to_values(request: Request) -> Printable | None:
    if request.plan and not _HASH.fullmatch(request.plan):
        return Printable("a plan is named by its hash, of which at least 8 digits are given")
    if request.epoch and not _EPOCH.fullmatch(request.epoch):
        return Printable("an epoch is named as the journal names it")
    if len(request.why) > LONGEST_REASON or request.after < 0:
        return sentence("a reason has at most {} characters, and a number is not negative", LONGEST_REASON)
    return None
