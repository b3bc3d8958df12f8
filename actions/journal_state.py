"""The state of the journal: frozen components, unfinished transactions, waiting plans, keys given up, last endings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Self, TypedDict, TypeVar

from actions import aside
from actions.aside import Aside, Late
from actions.csr import WaitingRequest
from actions.ending import FROZEN_UNTIL_RECOVERY, Cause, Ending, Outcome
from actions.journal import ENDED, Event, Record
from actions.plan import Kind, plan_from_json
from config.immutable import immutable
from config.plain import text, texts
from config.text import printable
from probes.judge.time import moment

T = TypeVar("T")

Case = tuple[Kind, str, str]
"""Kind, component and object of an action: a rejection binds these in every plan.

The object is the SHA-256 of the server's certificate, or for a rollback the name of the backup set.
"""

RECENT: Final = 32
"""Endings that are kept for each component."""
DECLINED_FOR: Final = 86_400.0
"""Seconds for which a refusal before a transaction is remembered."""
IN_USE: Final = frozenset({Outcome.COMMITTED, Outcome.FAILED_FORWARD})
_OUTCOMES: Final = ENDED | {Event.REFUSED, Event.FROZEN, Event.DECLINED}


@immutable
class ActionRequest:
    """A requested action, in names only: the bytes are in an inbox, on disk or in a backup set."""

    kind: Kind
    components: tuple[str, ...]
    backup_set: str = ""
    """For a rollback: the name of a set, `default` for the first set ever, empty for the last."""
    losses: tuple[str, ...] = ()
    """Clients that may be lost."""
    allow_shorter: bool = False
    """The certificate may end at any time."""
    key_compromised: bool = False
    """The keys in use are given up for good."""
    force: bool = False
    """For an activation: the service takes up its files although it serves them already."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "kind": self.kind,
            "components": list(self.components),
            "backup_set": self.backup_set,
            "losses": list(self.losses),
            **({"allow_shorter": True} if self.allow_shorter else {}),
            **({"key_compromised": True} if self.key_compromised else {}),
            **({"force": True} if self.force else {}),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the action of `to_json`; raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            Kind(plain["kind"]),
            texts(plain["components"]),
            text(plain["backup_set"]),
            texts(plain["losses"]),
            allow_shorter=plain.get("allow_shorter", False) is True,
            key_compromised=plain.get("key_compromised", False) is True,
            force=plain.get("force", False) is True,
        )


@immutable
class Proposal:
    """A plan that waits for a person."""

    plan: str
    """Its hash."""
    action: ActionRequest
    at: float
    """Unix time."""
    case: Mapping[str, str] = field(default_factory=dict)
    """The object of the action, as in `Case`, by component."""
    shown: str = ""
    """The difference from another plan for the same components: a sentence without an end, printable."""
    group: str = ""
    """The group of which the components are; empty where they make none."""

    @property
    def cases(self) -> frozenset[Case]:
        """The cases of the plan."""
        return cases_of(self.action.kind, self.case)


def cases_of(kind: Kind, case: Mapping[str, str]) -> frozenset[Case]:
    """Return the cases of a plan; `case` gives the object of each component."""
    return frozenset((kind, component, what) for component, what in case.items())


@immutable
class GivenUp:
    """A declaration that a private key is compromised."""

    by: str
    """Who declared it; printable."""
    at: float
    """Unix time."""
    components: tuple[str, ...]
    """The components that had the key."""

    @property
    def sentence(self) -> str:
        """A sentence without an end; printable."""
        of = printable(", ".join(self.components), 500)
        return f"its private key, of {of}, was given up as compromised at {moment(self.at)} by {printable(self.by)}"


@immutable
class Ruling:
    """The answer of a person to a plan."""

    by: str
    """Who; printable."""
    at: float
    until: float
    """Unix time until which it is valid."""
    why: str = ""


@immutable
class Confirmation:
    """The word of an operator on a root in a trust store that nobody here can see."""

    has: bool
    """Whether the store has the root."""
    by: str
    """Who; printable."""
    at: float
    """Unix time."""

    @property
    def sentence(self) -> str:
        """A sentence without an end; printable."""
        said = "has it" if self.has else "does not have it"
        return f"{printable(self.by)} saw at {moment(self.at)} that it {said}"


Confirmations = Mapping[tuple[str, str], Confirmation]
"""By trust store and SHA-256 of a root, hexadecimal."""


class EndingFacts(TypedDict):
    """The facts of a recorded ending that are shown, logged and stored."""

    transaction: str
    action: Kind
    outcome: Outcome
    cause: Cause
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEnding(Ending):
    """An ending in the journal, with its request and its plan."""

    at: float
    """Unix time."""
    began: float
    """Unix time; of the end where the transaction was refused."""
    kind: Kind
    plan: str
    """The hash of the plan."""
    by: str
    """On whose behalf; printable."""
    why: str = ""
    """The reason of the request; printable."""
    action: ActionRequest | None = None
    """The requested action, where it is recorded."""
    candidate: str = ""
    """Identifies the candidate, as `candidate_of` does."""
    leaf: str = ""
    """SHA-256 of the server's certificate that was to be served."""
    approved: bool = False
    """A person approved the plan that a policy had proposed."""
    handed: bool = False
    """A person handed the candidate over: it was in no inbox."""
    accepted: frozenset[tuple[str, str]] = frozenset()
    """Each client, and the endpoint that it accepted at the validation."""

    @classmethod
    def read(cls, end: Record, begin: Record, accepted: frozenset[tuple[str, str]]) -> Self | None:
        """Return the ending that `end` records, of the transaction that `begin` begins; None where no kind is recorded.

        A refusal is its own beginning.
        """
        begun = begin.data
        plan = begun.get("plan", begun)
        if "kind" not in plan:
            return None
        return cls(
            transaction=end.transaction,
            components=tuple(map(str, plan["components"])),
            outcome=Outcome(end.data["outcome"]),
            cause=Cause(end.data["cause"]),
            reason=str(end.data["reason"]),
            consequence=FROZEN_UNTIL_RECOVERY if end.data.get("again") else None,
            at=end.at,
            began=begin.at,
            kind=Kind(plan["kind"]),
            plan=str(begun.get("hash", "")),
            by=str(begun.get("by", "")),
            why=str(begun.get("why", "")),
            action=ActionRequest.from_json(begun["action"]) if "action" in begun else None,
            candidate=str(begun.get("candidate", "")),
            leaf=str(begun.get("leaf", "")),
            approved=bool(begun.get("approved")),
            handed=bool(begun.get("handed")),
            accepted=accepted,
            group=str(plan.get("group", "")),
        )

    def facts(self) -> EndingFacts:
        """Return the facts that are shown, logged and stored; the time is left to each of them."""
        return {
            "transaction": self.transaction,
            "action": self.kind,
            "outcome": self.outcome,
            "cause": self.cause,
            "reason": self.reason,
            "by": self.by,
        }


@dataclass(slots=True)
class JournalState:
    """The state that the records so far make, taken in one after the other."""

    frozen: dict[str, str] = field(default_factory=dict)
    """The reason, by component."""
    froze: dict[str, str] = field(default_factory=dict)
    """The transaction for which it is frozen, by component."""
    quarantined: dict[str, str] = field(default_factory=dict)
    """The reason, by the identifier of the candidate (`candidate_of`)."""
    unfinished: dict[str, Record] = field(default_factory=dict)
    """The beginning of each transaction that neither closed nor froze for good, by its name, oldest first."""
    under_way: dict[str, Record] = field(default_factory=dict)
    """The unfinished transactions that have not ended: their files may be a mixed set. Only tidying follows an end."""
    commands: dict[str, Record] = field(default_factory=dict)
    """The command by which the records of a transaction end, so that it may still run, by the transaction's name."""
    proposals: dict[str, Proposal] = field(default_factory=dict)
    """By hash, approved or not, oldest first: plans that were not rejected, withdrawn, begun or outdated by a later
    change."""
    approved: dict[str, Ruling] = field(default_factory=dict)
    """By hash: approvals of plans that were not carried out yet."""
    rejected: dict[Case, Ruling] = field(default_factory=dict)
    """Cases that a person rejected; without a person, no plan with such a case is carried out or proposed."""
    given_up: dict[str, GivenUp] = field(default_factory=dict)
    """Private keys that never return, by the SHA-256 of their public half (SubjectPublicKeyInfo), hexadecimal. No other
    place has them."""
    last: dict[str, RecordedEnding] = field(default_factory=dict)
    """The last ending, by component."""
    recent: dict[str, deque[RecordedEnding]] = field(default_factory=dict)
    """The recent endings, by component, oldest first."""
    thawed: dict[str, float] = field(default_factory=dict)
    """Unix time at which an operator last declared a component right, by component."""
    newest: dict[str, float] = field(default_factory=dict)
    """Unix time of the latest begin of a certificate that was ever committed, by component."""
    aside: dict[str, Aside] = field(default_factory=dict)
    """Replaced files that stay linked, by transaction, oldest first."""
    late: dict[str, Late] = field(default_factory=dict)
    """The last late write to replaced files, by component, until an operator confirms it."""
    requests: dict[str, WaitingRequest] = field(default_factory=dict)
    """The requests for certificates that wait, by the SHA-256 of their public key, oldest first."""
    spent_keys: dict[str, str] = field(default_factory=dict)
    """Why the key of a request is done with, by its SHA-256, until it is not in the directory of made keys."""
    confirmed: dict[tuple[str, str], Confirmation] = field(default_factory=dict)
    """The last word on each root in each trust store of other machines, by the store and the SHA-256 of the root."""
    undone: dict[str, float] = field(default_factory=dict)
    """The transactions without an end whose former files are being put back, and the Unix time since when."""
    unneeded: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Unix time at which a candidate was last removed from an inbox unused, and the reason, by component."""
    changes: dict[str, deque[str]] = field(default_factory=dict)
    """The last transactions that changed its files, since an operator last declared it right, by component."""
    in_use: dict[str, str] = field(default_factory=dict)
    """The last transaction whose files, or service on them, stayed in use, by component."""
    counts: dict[tuple[str, Kind, Outcome], int] = field(default_factory=dict)
    """The number of endings since the journal began, by component, kind and outcome."""
    declined: dict[tuple[str, str], float] = field(default_factory=dict)
    """Unix time of each refusal before a transaction, since the last change of its component and within a day, by the
    component and what identifies the refusal."""
    _begun: dict[str, Record] = field(default_factory=dict)
    _accepted: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Return the state that `records` make."""
        journal_state = cls()
        for record in records:
            journal_state.take(record)
        return journal_state

    def take(self, record: Record) -> RecordedEnding | None:
        """Take in the next record; returns the ending that it records, if any."""
        self._run(record)
        aside.note(self.aside, self.late, record)
        self._take_request(record)
        self._take_confirmation(record)
        match record.event:
            case Event.BEGIN:
                self._begin(record)
            case Event.CLOSED:
                for each in (self.unfinished, self.under_way, self._begun, self._accepted, self.undone):
                    each.pop(record.transaction, None)
            case Event.VALIDATED:
                accepted = record.data.get("accepted", ())
                self._accepted[record.transaction] = frozenset((str(client), str(at)) for client, at in accepted)
            case Event.FROZEN | Event.THAWED:
                self._freeze(record)
            case Event.QUARANTINED | Event.RELEASED:
                self._quarantine(record)
            case Event.UNNEEDED:
                for component in record.data["components"]:
                    self.unneeded[str(component)] = (record.at, str(record.data.get("reason", "")))
            case Event.PROPOSED | Event.WITHDRAWN | Event.APPROVED | Event.REJECTED:
                self._word(record)
            case Event.COMPACTED:
                # These are the totals, not only the counts of the records left out.
                counts = record.data["counts"]
                self.counts = {(str(name), Kind(kind), Outcome(how)): int(count) for name, kind, how, count in counts}
            case Event.KEY_GIVEN_UP | Event.KEY_REINSTATED:
                self._give_up(record)
        return self._ended(record) if record.event in _OUTCOMES else None

    def _decline(self, record: Record) -> RecordedEnding | None:
        """Take in a refusal; it is no ending of a transaction, so that no decision depends on it."""
        for component in map(str, record.data["components"]):
            # By the times of two records, and not by a count: a compacted journal must forget the same.
            self._forget_declined(component, record.at - DECLINED_FOR)
            self.declined[component, str(record.data.get("said", ""))] = record.at
        return RecordedEnding.read(record, record, frozenset())

    def _run(self, record: Record) -> None:
        # A process that runs a command writes no record before the command is over.
        self.commands.pop(record.transaction, None)
        if record.event is Event.COMMAND:
            self.commands[record.transaction] = record
        elif record.event is Event.ROLLING_BACK:
            self.undone[record.transaction] = record.at

    def _begin(self, record: Record) -> None:
        for each in (self.unfinished, self.under_way, self._begun):
            each[record.transaction] = record
        plan = str(record.data.get("hash", ""))
        for waiting in (self.proposals, self.approved):
            waiting.pop(plan, None)

    def _quarantine(self, record: Record) -> None:
        candidate = str(record.data["candidate"])
        if record.event is Event.QUARANTINED:
            self.quarantined[candidate] = str(record.data.get("reason", ""))
        else:
            self.quarantined.pop(candidate, None)

    def _freeze(self, record: Record) -> None:
        for component in record.data.get("components", ()):
            if record.event is Event.FROZEN:
                self.frozen[component] = str(record.data.get("reason", ""))
                self.froze[component] = record.transaction
            else:
                self.frozen.pop(component, None)
                self.froze.pop(component, None)
                self.thawed[component] = record.at
                self.changes.pop(component, None)
        # The obstacle may pass: then recovery tries again.
        if not record.data.get("again"):
            for each in (self.unfinished, self.under_way, self.undone):
                each.pop(record.transaction, None)

    def _melt(self, transaction: str) -> None:
        """Thaw the components that froze for a transaction that recovery has ended after all."""
        for component in [name for name, each in self.froze.items() if each == transaction]:
            self.frozen.pop(component, None)
            del self.froze[component]

    def _word(self, record: Record) -> None:
        plan = str(record.data["hash"])
        if record.event is Event.WITHDRAWN:
            # An answer to the plan does not outlive it, should the same plan come again.
            self._drop([plan])
            return
        if record.event is Event.PROPOSED:
            action = ActionRequest.from_json(record.data["action"])
            self.proposals[plan] = Proposal(
                plan,
                action,
                record.at,
                _case(record),
                printable(str(record.data.get("shown", "")), 500),
                str(record.data.get("group", "")),
            )
            return
        said = Ruling(
            str(record.data.get("by", "")),
            record.at,
            float(record.data.get("until", float("inf"))),
            str(record.data.get("reason", "")),
        )
        if record.event is Event.APPROVED:
            self.approved[plan] = said
            return
        cases = cases_of(Kind(record.data["kind"]), _case(record))
        self.rejected |= dict.fromkeys(cases, said)
        # Other plans with the same case are not wanted either.
        self._drop({plan} | {each.plan for each in self.proposals.values() if each.cases & cases})

    def _drop(self, plans: Iterable[str]) -> None:
        for each in tuple(plans):
            self.proposals.pop(each, None)
            self.approved.pop(each, None)

    def _outdate(self, ended: RecordedEnding) -> None:
        """Drop the plans that a change outdates: a plan contains the state of the files before it."""
        touched = set(ended.components)
        kinds = {Kind.ACTIVATE} if ended.kind is Kind.ACTIVATE else set(Kind)
        waiting = self.proposals.values()
        self._drop(
            [each.plan for each in waiting if each.action.kind in kinds and touched & set(each.action.components)]
        )

    def _give_up(self, record: Record) -> None:
        for key in map(str, record.data["keys"]):
            if record.event is Event.KEY_REINSTATED:
                self.given_up.pop(key, None)
            else:
                of = tuple(map(str, record.data.get("components", ())))
                self.given_up.setdefault(key, GivenUp(str(record.data.get("by", "")), record.at, of))
                self.requests.pop(key, None)

    def _take_confirmation(self, record: Record) -> None:
        if record.event not in {Event.ROOT_CONFIRMED, Event.ROOT_GONE}:
            return
        has, by = record.event is Event.ROOT_CONFIRMED, str(record.data.get("by", ""))
        for store in map(str, record.data["components"]):
            self.confirmed[store, str(record.data["root"])] = Confirmation(has, by, record.at)

    def _take_request(self, record: Record) -> None:
        match record.event:
            case Event.REQUESTED:
                request = _request(record)
                self.requests[request.key] = request
                # The installed key may be asked about again and again.
                self.spent_keys.pop(request.key, None)
            case Event.REQUEST_WITHDRAWN:
                self._close_request(str(record.data["key"]), str(record.data.get("reason", "")))
            case Event.REQUEST_CLEARED:
                self.spent_keys.pop(str(record.data["key"]), None)

    def _close_request(self, key: str, why: str) -> None:
        # Whether a key was made for it is not asked: its own record may be left out of a journal by now.
        self.requests.pop(key, None)
        self.spent_keys[key] = why

    def is_our_doing(self, component: str) -> bool:
        """Whether a transaction gave a component's files their content: it is under way, or froze the component."""
        plans = (plan_from_json(begin.data["plan"]) for begin in self.under_way.values())
        return component in self.frozen or any(each.component == component for plan in plans for each in plan.changes)

    def is_unfinished(self, component: str) -> bool:
        """Whether a transaction of a component has begun and neither closed nor froze it."""
        plans = (begin.data.get("plan", begin.data) for begin in self.unfinished.values())
        return component not in self.frozen and any(component in plan.get("components", ()) for plan in plans)

    def why_not(self, keys: Iterable[str]) -> str:
        """Return that one of these keys, by the SHA-256 of their public halves, was given up; empty where none was."""
        return next((self.given_up[each].sentence for each in keys if each in self.given_up), "")

    def no_to(self, cases: Iterable[Case]) -> Ruling | None:
        """Return the rejection of one of these cases; None where none was rejected."""
        return next((self.rejected[each] for each in sorted(cases) if each in self.rejected), None)

    def _ended(self, record: Record) -> RecordedEnding | None:
        """Take in the end of a transaction, or its refusal."""
        if record.event is Event.DECLINED:
            return self._decline(record)
        if record.event in ENDED:
            self.under_way.pop(record.transaction, None)
            self._melt(record.transaction)
        begin = self._begun.get(record.transaction, record)
        ended = RecordedEnding.read(record, begin, self._accepted.get(record.transaction, frozenset()))
        if ended is None:
            return None
        for component in ended.components:
            self.last[component] = ended
            counted = (component, ended.kind, ended.outcome)
            self.counts[counted] = self.counts.get(counted, 0) + 1
            self.recent.setdefault(component, deque(maxlen=RECENT)).append(ended)
        if ended.outcome in IN_USE:
            self._put_into_use(ended, begin)
        return ended

    def _forget_declined(self, component: str, before: float) -> None:
        for key in [key for key, at in self.declined.items() if key[0] == component and at < before]:
            del self.declined[key]

    def _put_into_use(self, ended: RecordedEnding, begin: Record) -> None:
        """Take in that the files of a transaction, or services on them, stayed in use."""
        self._outdate(ended)
        for key in map(str, begin.data.get("answers", ())):
            self._close_request(key, f"it was answered by the transaction {ended.transaction}")
        begins = begin.data.get("begins", {})
        for component in ended.components:
            self.in_use[component] = ended.transaction
            self._forget_declined(component, float("inf"))
            if component in begins:
                self.newest[component] = max(float(begins[component]), self.newest.get(component, 0.0))
        for component in {str(each[0]) for each in begin.data.get("plan", {}).get("changes", ())}:
            self.changes.setdefault(component, deque(maxlen=RECENT)).append(ended.transaction)


def _request(record: Record) -> WaitingRequest:
    data = record.data
    return WaitingRequest(
        key=str(data["key"]),
        components=tuple(map(str, data["components"])),
        names=tuple(map(str, data["names"])),
        installed=bool(data.get("installed")),
        # Whoever follows the journal elsewhere is not told this part.
        pem=str(data.get("pem", "")),
        by=str(data["by"]),
        at=record.at,
        until=float(data["until"]),
        seen=frozenset(map(str, data.get("seen", ()))),
        group=str(data.get("group", "")),
    )


def _case(record: Record) -> dict[str, str]:
    return {str(name): str(what) for name, what in dict(record.data.get("case", {})).items()}


class TakenIn(Generic[T]):
    """A value made of the records of one journal, made anew only where the journal has other records."""

    def __init__(self, make: Callable[[Sequence[Record]], T]) -> None:
        self._make = make
        self._last: tuple[Sequence[Record], int, T] | None = None

    def of(self, records: Sequence[Record]) -> T:
        """Return the value of `records`, not to be changed; a value that was returned stays as it is."""
        # The journal adds to the same sequence, and takes another where its file is replaced.
        last, number = self._last, len(records)
        if last is None or last[0] is not records or last[1] != number:
            self._last = last = (records, number, self._make(records))
        return last[2]


def frozen(records: Sequence[Record]) -> Mapping[str, str]:
    """Return the reason of each frozen component, by component."""
    return JournalState.of(records).frozen


def installed(state: JournalState) -> Mapping[str, frozenset[str]]:
    """Return the server's certificates that replacements put into use, by component, by SHA-256: people chose them."""
    recent = {name: [*state.recent.get(name, ()), last] for name, last in state.last.items()}
    return {
        name: frozenset(
            each.leaf for each in those if each.kind is Kind.REPLACE and each.outcome in IN_USE and each.leaf
        )
        for name, those in recent.items()
    }
